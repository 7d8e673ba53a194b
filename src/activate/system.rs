//! The seam to the running system: what activation asks of its service manager and of its extension tools.
//!
//! [`super::dbus::SystemBus`] is the real one; tests bring a recording one. Everything here is synchronous and bounded
//! in time.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::extension::ExtensionKind;

/// A service manager (systemd) and the programs of its host.
pub trait SystemManager {
    /// Whether the unit exists and could be loaded (`LoadState=loaded`): neither missing nor masked nor broken.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn is_loaded(&self, unit: &str) -> Result<bool, SystemError>;

    /// Whether the unit is up: active, reloading, or being started; neither inactive, failed nor going down.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn is_active(&self, unit: &str) -> Result<bool, SystemError>;

    /// Restarts the unit, or starts it, however often it was started lately, and waits for the job's result.
    ///
    /// # Errors
    /// When no job could be queued, or none ended in time. A job that ended badly is an `Ok` value.
    fn restart(&self, unit: &str) -> Result<JobResult, SystemError>;

    /// Restarts the unit if it is up, and waits for the job's result; one that is not up stays down (`Done`).
    ///
    /// # Errors
    /// As [`SystemManager::restart`].
    fn try_restart(&self, unit: &str) -> Result<JobResult, SystemError>;

    /// Asks the unit to reload its configuration and waits for the job's result.
    ///
    /// # Errors
    /// As [`SystemManager::restart`].
    fn reload_unit(&self, unit: &str) -> Result<JobResult, SystemError>;

    /// Stops the unit and waits for the job's result; one that is not up is `Done`.
    ///
    /// # Errors
    /// As [`SystemManager::restart`].
    fn stop(&self, unit: &str) -> Result<JobResult, SystemError>;

    /// What the unit is doing.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn state(&self, unit: &str) -> Result<UnitState, SystemError>;

    /// The units that are up and whose names match the shell pattern.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn active_units(&self, pattern: &str) -> Result<Vec<String>, SystemError>;

    /// The units that have failed.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn failed_units(&self) -> Result<BTreeSet<String>, SystemError>;

    /// The manager's version, as far as its number can be read: `257`.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn version(&self) -> Result<Option<u32>, SystemError>;

    /// Whether the system is being shut down: then nothing that stops says anything of a version.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    fn is_going_down(&self) -> Result<bool, SystemError> {
        Ok(false)
    }

    /// Whether an image can be attached at all: asked before anything moves for the sake of a merge.
    ///
    /// # Errors
    /// [`SystemError::NoLoopDevice`] when the kernel refuses one.
    fn can_attach_images(&self) -> Result<(), SystemError> {
        Ok(())
    }

    /// Makes the manager read all unit files again, and waits until it has.
    ///
    /// # Errors
    /// When the manager refuses or does not answer.
    fn reload_manager(&self) -> Result<(), SystemError>;

    /// Runs a program of the host to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time. A failing program is an `Ok` value.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<CommandOutcome, SystemError>;

    /// Runs a command in a unit of its own, out of this program's sandbox and control group.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time; it is killed then.
    fn run_transient(
        &self,
        command: &[String],
        limit: Duration,
    ) -> Result<CommandOutcome, SystemError> {
        let bound = format!("--property=RuntimeMaxSec={}", limit.as_secs());
        let mut arguments = vec![
            "--quiet",
            "--collect",
            "--wait",
            "--pipe",
            "--service-type=exec",
            bound.as_str(),
            "--",
        ];
        arguments.extend(command.iter().map(String::as_str));
        self.run("systemd-run", &arguments)
    }

    /// The last lines of the unit's log of this boot.
    ///
    /// # Errors
    /// When journalctl cannot be run.
    fn journal_tail(&self, unit: &str, lines: usize) -> Result<Vec<String>, SystemError> {
        let unit = format!("--unit={unit}");
        let lines = format!("--lines={lines}");
        let arguments = [
            "--quiet",
            "--no-pager",
            "--boot",
            "--output=cat",
            &unit,
            &lines,
        ];
        let outcome = self.run("journalctl", &arguments)?;
        let text = String::from_utf8_lossy(&outcome.stdout);
        let printable = |line: &str| -> String {
            line.chars()
                .filter(|sign| !sign.is_control())
                .take(TALK_LIMIT)
                .collect()
        };
        Ok(text.lines().map(printable).collect())
    }

    /// The names of the extensions that are merged now, each once, sorted.
    ///
    /// # Errors
    /// When the host's tool fails or answers something else than its listing.
    fn merged(&self, kind: ExtensionKind) -> Result<Vec<String>, SystemError> {
        let arguments = ["status", "--json=short", "--no-pager"];
        let outcome = self.run(kind.program(), &arguments)?;
        if outcome.code != Some(0) {
            return Err(SystemError::Program {
                command: format!("{} status", kind.program()),
                outcome,
            });
        }
        merged_names(&outcome.stdout).map_err(|source| SystemError::Listing {
            command: format!("{} status", kind.program()),
            source,
        })
    }
}

/// What a unit is doing (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// The state of its type: `running`, `auto-restart`, …
    pub sub: String,
    /// What tells one start from the next.
    pub invocation: Vec<u8>,
    /// How often the manager has restarted it by itself since somebody started it (`NRestarts`).
    pub restarts: u32,
    /// Why it ended: `success`, `exit-code`, `signal`, …; empty for units that have no such thing.
    pub result: String,
}

impl UnitState {
    /// Whether it runs, or is being started.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(
            self.active.as_str(),
            "active" | "reloading" | "refreshing" | "activating"
        )
    }
}

/// How a job of the manager ended (org.freedesktop.systemd1(5), `JobRemoved`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// It succeeded. A start that an unmet condition of the unit turned into nothing is "done" as well.
    Done,
    /// The unit failed.
    Failed,
    /// It was replaced or cancelled by another one.
    Canceled,
    /// The job waited longer than the unit allows (`JobTimeoutSec=`); a start that takes too long is "failed".
    Timeout,
    /// A unit that it depends on failed.
    Dependency,
    /// It did not apply to the unit's present state.
    Skipped,
    /// Any other result, as the manager spells it.
    Other(String),
}

impl FromStr for JobResult {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "done" => Self::Done,
            "failed" => Self::Failed,
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        })
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Other(text) => text,
        })
    }
}

/// How a program ended and what it said, each stream cut at 1 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl CommandOutcome {
    /// How it ended, and the last line of talk that says why, fit for one line of text.
    #[must_use]
    pub fn summary(&self) -> String {
        let end = match self.code {
            Some(code) => format!("exit status {code}"),
            None => "ended by a signal".to_owned(),
        };
        let talk = String::from_utf8_lossy(&self.stderr);
        match talk
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
        {
            Some(line) => {
                let line: String = line
                    .chars()
                    .filter(|sign| !sign.is_control())
                    .take(TALK_LIMIT)
                    .collect();
                format!("{end}: {line}")
            }
            None => end,
        }
    }
}

/// Why the system could not be asked or did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// There is no service manager to talk to.
    #[error("cannot connect to the system bus")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, and so did the one that was made in its place.
    #[error("cannot {operation} '{object}': the connection to the system bus was lost")]
    Lost {
        /// What was asked, as a verb.
        operation: &'static str,
        /// Of which unit, or of whom.
        object: String,
        /// How it broke.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The manager refused a call or did not answer.
    #[error("cannot {operation} '{object}'")]
    Call {
        /// What was asked, as a verb.
        operation: &'static str,
        /// Of which unit, or of whom.
        object: String,
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A job was queued and did not end.
    #[error("the job to {operation} '{unit}' did not end within {seconds} s")]
    JobTimeout {
        /// What was asked, as a verb.
        operation: &'static str,
        /// The unit.
        unit: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The kernel gives out no loop device.
    #[error("no loop device is to be had, so no image can be merged")]
    NoLoopDevice(#[source] io::Error),
    /// A program could not be started or watched.
    #[error("cannot run '{program}'")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program did not end and was killed.
    #[error("'{program}' did not end within {seconds} s and was killed")]
    RunTimeout {
        /// The program.
        program: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A program that had to succeed failed.
    #[error("'{command}' failed with {}", .outcome.summary())]
    Program {
        /// The command.
        command: String,
        /// How it ended.
        outcome: CommandOutcome,
    },
    /// A program answered something else than its listing.
    #[error("cannot understand the answer of '{command}'")]
    Listing {
        /// The command.
        command: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl SystemError {
    /// Whether nobody was there to be asked: then the answer says nothing of what was asked about.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Lost { .. })
    }
}

/// The extension names in the JSON of `systemd-sysext status`, each once, sorted.
fn merged_names(json: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Hierarchy {
        extensions: Extensions,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Extensions {
        List(Vec<String>),
        // systemd 257 and older say "none" where 262 has an empty list.
        Text(String),
        Absent(()),
    }

    let hierarchies: Vec<Hierarchy> = serde_json::from_slice(json)?;
    let mut names: Vec<String> = hierarchies
        .into_iter()
        .flat_map(|hierarchy| match hierarchy.extensions {
            Extensions::List(names) => names,
            Extensions::Text(text) if text == "none" => Vec::new(),
            Extensions::Text(text) => vec![text],
            Extensions::Absent(()) => Vec::new(),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Characters of a program's last line that an error shows.
const TALK_LIMIT: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_results_round_trip() {
        for text in [
            "done",
            "failed",
            "canceled",
            "timeout",
            "dependency",
            "skipped",
            "collected",
        ] {
            let Ok(result) = text.parse::<JobResult>();
            assert_eq!(result.to_string(), text);
            assert_eq!(
                matches!(result, JobResult::Other(_)),
                text == "collected",
                "{text}"
            );
        }
    }

    #[test]
    fn the_listings_of_all_systemd_versions_are_understood() {
        let cases: [(&str, &[&str]); 6] = [
            // 262, reference/10-sysext.txt
            (
                r#"[{"hierarchy":"/opt","extensions":[],"since":null},
                    {"hierarchy":"/usr","extensions":["rawext","relext"],"since":1795416195136754}]"#,
                &["rawext", "relext"],
            ),
            // 257
            (
                r#"[{"hierarchy":"/opt","extensions":"none","since":null}]"#,
                &[],
            ),
            (r#"[{"hierarchy":"/usr","extensions":null}]"#, &[]),
            // Merged into both hierarchies: one extension.
            (
                r#"[{"hierarchy":"/opt","extensions":["b","a"]},{"hierarchy":"/usr","extensions":["a"]}]"#,
                &["a", "b"],
            ),
            (r#"[{"hierarchy":"/usr","extensions":"one"}]"#, &["one"]),
            ("[]", &[]),
        ];
        for (json, names) in cases {
            assert_eq!(merged_names(json.as_bytes()).expect(json), names, "{json}");
        }
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for json in [
            "",
            "{}",
            "[1]",
            r#"[{"hierarchy":"/usr"}]"#,
            r#"[{"extensions":[1]}]"#,
            "[",
            "\u{0}",
        ] {
            assert!(merged_names(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_summary_is_one_line_without_control_characters() {
        let outcome = |code, stderr: &str| CommandOutcome {
            code,
            stdout: Vec::new(),
            stderr: stderr.into(),
        };
        let cases = [
            (
                outcome(Some(1), "first\nsecond \u{1b}[31mred\n\n"),
                "exit status 1: second [31mred",
            ),
            (outcome(Some(1), " \n"), "exit status 1"),
            (outcome(None, ""), "ended by a signal"),
        ];
        for (outcome, text) in cases {
            assert_eq!(outcome.summary(), text);
        }
        assert!(outcome(Some(1), &"x".repeat(10_000)).summary().len() < 500);
    }
}
