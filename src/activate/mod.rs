//! Makes what was installed take effect: merge extensions, reload the manager, reload and restart units.
//!
//! Runs last, after all links have moved. [`plan()`] decides (pure), [`activate()`] obeys through a [`SystemManager`],
//! and [`require_reboot`] leaves the note for whoever reboots the host. Never moves a link and never decides what is
//! installed. With `--root=` and the like there is no running system to activate: the caller does not come here.

pub mod dbus;
pub mod effects;
pub mod health;
pub mod plan;
pub mod system;

mod command;
mod loops;
mod notify;
mod reboot;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::event::{Event, Reporter, Severity, chain};
use crate::storage::atomic::AtomicError;

pub use crate::extension::ExtensionKind;
pub use notify::{Installed, notify};
pub use plan::{ActivationPlan, Dependent, Moved, plan};
pub use reboot::{REBOOT_REQUIRED, require_reboot};
use system::{CommandOutcome, JobResult, SystemError, SystemManager};

/// Carries out the plan: the merges, one reload of the manager, then the units; waits for each result.
///
/// Whatever fails, the rest is still tried, with one exception: units whose extension is not merged are left alone,
/// since their running processes may be all that is left of them. Units that are not up stay down, and this is told.
/// What is staged or waits for a reboot is told, too; [`require_reboot`] is the caller's to call.
///
/// # Errors
/// [`ActivateError::Failed`] with all that failed, in the order in which it was tried.
pub fn activate(
    plan: &ActivationPlan,
    system: &dyn SystemManager,
    reporter: &dyn Reporter,
) -> Result<(), ActivateError> {
    let mut run = Activation::new(plan, system, reporter);
    for line in plan.staged.iter().chain(&plan.reboot) {
        run.tell(Severity::Info, format!("{line}."));
    }
    let merged = run.merge_all();
    let units_alone = plan.merge.is_empty()
        && !(plan.reload.is_empty() && plan.restart.is_empty() && plan.revive.is_empty());
    if merged || units_alone {
        // Without it the manager would go on with the unit files of before, or with none.
        run.reload_manager();
    }
    for unit in &plan.reload {
        run.unit(unit, Verb::Reload);
    }
    for unit in &plan.restart {
        run.unit(unit, Verb::Restart);
    }
    for unit in &plan.revive {
        if !plan.restart.contains(unit) {
            run.unit(unit, Verb::Start);
        }
    }
    run.end()
}

/// Looks whether what the plan needs is merged, without doing anything.
///
/// # Errors
/// [`ActivateError::Failed`] with all that is not.
pub fn confirm(
    plan: &ActivationPlan,
    system: &dyn SystemManager,
    reporter: &dyn Reporter,
) -> Result<(), ActivateError> {
    let mut run = Activation::new(plan, system, reporter);
    for kind in plan.merge.iter().copied() {
        run.verify(kind);
    }
    run.end()
}

/// Asks a program of the host something.
///
/// # Errors
/// When it cannot be started, or does not end in time. A program that fails is an `Ok` value.
pub fn ask(program: &str, arguments: &[&str]) -> std::io::Result<CommandOutcome> {
    command::run(program, arguments, ASK_LIMIT).map_err(|error| match error {
        SystemError::Run { source, .. } => source,
        other => std::io::Error::other(other),
    })
}

/// Asks the kernel for a free loop device, without taking it.
///
/// # Errors
/// When it has none to give.
pub fn loop_device() -> std::io::Result<()> {
    loops::ask()
}

/// How long a program may take for an answer.
const ASK_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// What happens to a unit that a definition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reload its configuration.
    Reload,
    /// Stop it and start it again.
    Restart,
    /// Start it if it is down.
    Start,
}

impl std::fmt::Display for Verb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Start => "start",
        })
    }
}

struct Activation<'a> {
    plan: &'a ActivationPlan,
    system: &'a dyn SystemManager,
    reporter: &'a dyn Reporter,
    failures: Vec<Failure>,
    /// Units that must not be touched, because what they run was not merged.
    held_back: BTreeSet<&'a str>,
}

impl<'a> Activation<'a> {
    fn new(
        plan: &'a ActivationPlan,
        system: &'a dyn SystemManager,
        reporter: &'a dyn Reporter,
    ) -> Self {
        Self {
            plan,
            system,
            reporter,
            failures: Vec::new(),
            held_back: BTreeSet::new(),
        }
    }

    fn end(self) -> Result<(), ActivateError> {
        match self.failures {
            failures if failures.is_empty() => Ok(()),
            failures => Err(ActivateError::Failed { failures }),
        }
    }

    fn tell(&self, severity: Severity, text: String) {
        self.reporter.report(&Event::Message(severity, text));
    }

    /// Merges each kind once; whether one of them was merged.
    fn merge_all(&mut self) -> bool {
        let mut merged = false;
        for kind in self.plan.merge.iter().copied() {
            match self.merge(kind) {
                Ok(()) => {
                    merged = true;
                    self.verify(kind);
                }
                Err(failure) => {
                    self.failures.push(failure);
                    let lost = self
                        .plan
                        .dependents
                        .iter()
                        .filter(|dependent| dependent.kind == kind);
                    self.held_back.extend(
                        lost.flat_map(|dependent| &dependent.units)
                            .map(String::as_str),
                    );
                }
            }
        }
        merged
    }

    /// By the service where there is one (others are bound to it, and it decides what is undone at shutdown), else
    /// by the tool.
    fn merge(&self, kind: ExtensionKind) -> Result<(), Failure> {
        let unit = kind.unit();
        let ask = |source| Failure::Manager {
            operation: "merge with",
            object: unit.to_owned(),
            source,
        };
        if !self.system.is_loaded(unit).map_err(ask)? {
            return self.refresh(kind);
        }
        self.tell(
            Severity::Info,
            format!("Merging {kind}s: restarting '{unit}'."),
        );
        let result = self.system.restart(unit).map_err(ask)?;
        if result != JobResult::Done {
            return Err(Failure::Job {
                verb: Verb::Restart,
                unit: unit.to_owned(),
                result,
            });
        }
        // An unmet condition of the unit ends in a job that is "done" with nothing merged.
        let expected = self
            .plan
            .dependents
            .iter()
            .any(|dependent| dependent.kind == kind && dependent.extension.is_some());
        if !expected || self.system.is_active(unit).map_err(ask)? {
            Ok(())
        } else {
            Err(Failure::Inactive {
                unit: unit.to_owned(),
            })
        }
    }

    fn refresh(&self, kind: ExtensionKind) -> Result<(), Failure> {
        let command = format!("{} refresh", kind.program());
        self.tell(Severity::Info, format!("Merging {kind}s with '{command}'."));
        match self.system.run(kind.program(), &["refresh"]) {
            Ok(outcome) if outcome.code == Some(0) => Ok(()),
            Ok(outcome) => Err(Failure::Refresh { command, outcome }),
            Err(source) => Err(Failure::Manager {
                operation: "merge with",
                object: command,
                source,
            }),
        }
    }

    /// Looks whether the merge took what moved: an extension that does not fit is skipped silently.
    fn verify(&mut self, kind: ExtensionKind) {
        let expected: Vec<_> = self
            .plan
            .dependents
            .iter()
            .filter(|dependent| dependent.kind == kind)
            .filter_map(|dependent| dependent.extension.as_deref().map(|name| (dependent, name)))
            .collect();
        if expected.is_empty() {
            return;
        }
        let merged = match self.system.merged(kind) {
            Ok(merged) => merged,
            Err(error) => {
                let why = chain(&error);
                self.tell(
                    Severity::Warning,
                    format!("Cannot tell which {kind}s are merged: {why}"),
                );
                return;
            }
        };
        for (dependent, name) in expected {
            if merged.iter().any(|one| one == name) {
                continue;
            }
            self.held_back
                .extend(dependent.units.iter().map(String::as_str));
            self.failures.push(Failure::NotMerged {
                kind,
                extension: name.to_owned(),
                component: dependent.component.clone(),
                version: dependent.version.clone(),
            });
        }
    }

    fn reload_manager(&mut self) {
        self.tell(Severity::Info, "Reloading the service manager.".to_owned());
        if let Err(source) = self.system.reload_manager() {
            self.failures.push(Failure::Manager {
                operation: "reload",
                object: "systemd".to_owned(),
                source,
            });
        }
    }

    fn unit(&mut self, unit: &'a str, verb: Verb) {
        if self.held_back.contains(unit) {
            self.tell(
                Severity::Warning,
                format!(
                    "Unit '{unit}' is left as it is: the extension it belongs to was not merged."
                ),
            );
            return;
        }
        if let Err(failure) = self.try_unit(unit, verb) {
            self.failures.push(failure);
        }
    }

    fn try_unit(&self, unit: &str, verb: Verb) -> Result<(), Failure> {
        let operation = match verb {
            Verb::Reload => "reload",
            Verb::Restart => "restart",
            Verb::Start => "start",
        };
        let ask = |source| Failure::Manager {
            operation,
            object: unit.to_owned(),
            source,
        };
        let up = self.system.is_active(unit).map_err(ask)?;
        if !up && self.plan.revive.contains(unit) {
            return self.revive(unit).map_err(ask)?;
        }
        if up && verb == Verb::Start {
            return Ok(());
        }
        if !up {
            let (severity, text) = if self.system.is_loaded(unit).map_err(ask)? {
                (
                    Severity::Info,
                    format!("Unit '{unit}' is not active and stays so."),
                )
            } else {
                (
                    Severity::Warning,
                    format!("Unit '{unit}', to {verb}, does not exist or cannot be loaded."),
                )
            };
            self.tell(severity, text);
            return Ok(());
        }
        let result = match verb {
            Verb::Reload => {
                self.tell(Severity::Info, format!("Reloading '{unit}'."));
                self.system.reload_unit(unit)
            }
            Verb::Restart | Verb::Start => {
                self.tell(Severity::Info, format!("Restarting '{unit}'."));
                self.system.try_restart(unit)
            }
        };
        match result.map_err(ask)? {
            JobResult::Done => Ok(()),
            result => Err(Failure::Job {
                verb,
                unit: unit.to_owned(),
                result,
            }),
        }
    }
}

impl Activation<'_> {
    /// Starts a unit that was up before, however often it has failed since.
    fn revive(&self, unit: &str) -> Result<Result<(), Failure>, SystemError> {
        self.tell(Severity::Info, format!("Starting '{unit}' again."));
        Ok(match self.system.restart(unit)? {
            JobResult::Done => Ok(()),
            result => Err(Failure::Job {
                verb: Verb::Start,
                unit: unit.to_owned(),
                result,
            }),
        })
    }
}

/// Why what was installed did not take effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivateError {
    /// Something of the plan failed; the rest was done.
    #[error("cannot activate what was installed: {}", list(.failures))]
    Failed {
        /// All that failed, in order; never empty.
        failures: Vec<Failure>,
    },
    /// The system is being shut down, or nobody can tell that it is not.
    #[error("the system is going down: the trial goes on after the boot")]
    GoingDown,
    /// The way to the service manager cannot be prepared.
    #[error("cannot prepare the connection to the service manager")]
    Bus(#[source] std::io::Error),
    /// The reasons that stand already in the note cannot be read.
    #[error("cannot read '{}'", .path.display())]
    ReadReboot {
        /// The note, as the host names it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The note cannot be written.
    #[error("cannot note in '{}' that a reboot is required", .path.display())]
    WriteReboot {
        /// The note, as the host names it.
        path: PathBuf,
        /// Why.
        source: AtomicError,
    },
}

impl ActivateError {
    /// Whether the next run should try again. An extension that systemd does not take will not be taken then either, and
    /// every merge disturbs what runs.
    #[must_use]
    pub fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Failed { failures } => failures
                .iter()
                .any(|failure| !matches!(failure, Failure::NotMerged { .. })),
            Self::GoingDown | Self::Bus(_) | Self::ReadReboot { .. } | Self::WriteReboot { .. } => {
                true
            }
        }
    }

    /// The next steps, one line each, none twice.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if let Self::Failed { failures } = self {
            for hint in failures.iter().map(Failure::hint) {
                if !hints.contains(&hint) {
                    hints.push(hint);
                }
            }
        }
        hints
    }
}

/// One thing that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The service manager or a tool could not be asked.
    #[error("cannot {operation} '{object}': {}", chain(.source))]
    Manager {
        /// What was wanted, as a verb.
        operation: &'static str,
        /// The unit, the command, or the manager itself.
        object: String,
        /// Why.
        source: SystemError,
    },
    /// A job ended badly.
    #[error("cannot {verb} unit '{unit}': the job's result is '{result}'")]
    Job {
        /// What was wanted.
        verb: Verb,
        /// The unit.
        unit: String,
        /// How the job ended.
        result: JobResult,
    },
    /// The merging service was started and is not active: nothing is merged.
    #[error(
        "unit '{unit}' is not active after its restart, an unmet condition may have stopped it"
    )]
    Inactive {
        /// The unit.
        unit: String,
    },
    /// The tool that merges failed.
    #[error("'{command}' failed with {}", .outcome.summary())]
    Refresh {
        /// The command.
        command: String,
        /// How it ended.
        outcome: CommandOutcome,
    },
    /// The merge succeeded without the extension that moved.
    #[error(
        "{kind} '{extension}' ({component} {version}) is installed, but not merged: it may be built for another \
         system or architecture, lack 'extension-release.{extension}', or be masked"
    )]
    NotMerged {
        /// Its kind.
        kind: ExtensionKind,
        /// Its name.
        extension: String,
        /// The component's name.
        component: String,
        /// The version that is current now.
        version: String,
    },
}

impl Failure {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Manager { source, .. } if source.is_unreachable() => {
                "is the system bus running? see 'systemctl status dbus.service'".to_owned()
            }
            Self::Manager {
                source: SystemError::JobTimeout { .. },
                ..
            } => {
                "see what the job waits for with 'systemctl list-jobs --after --before'".to_owned()
            }
            Self::Manager { object, .. } if object.contains('.') => {
                format!("see 'systemctl status {object}'")
            }
            Self::Manager { .. } => "see 'journalctl -b'".to_owned(),
            Self::Job { unit, .. } | Self::Inactive { unit } => {
                format!("see 'journalctl -u {unit}'")
            }
            Self::Refresh { command, .. } => format!("run '{command}' by hand to see more"),
            Self::NotMerged { kind, .. } => {
                format!(
                    "run 'SYSTEMD_LOG_LEVEL=debug {} refresh' to see why it is skipped",
                    kind.program()
                )
            }
        }
    }
}

/// The failures in one line.
fn list(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
