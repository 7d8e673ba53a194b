//! A text file for the Prometheus node exporter (textfile collector): what this host's components are, and how their last
//! updates went.
//!
//! Rewritten as a whole from the history and the state on disk after each run that changes something, atomically: a scraper
//! sees the old file or the new one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::history::{Entry, Happening};
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError};

/// What is known of one component besides its history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Component {
    /// Its name, as listings show it.
    pub name: String,
    /// The version in use.
    pub current: Option<String>,
    /// How many of its versions are marked as bad.
    pub bad: usize,
    /// Whether it is held.
    pub held: bool,
}

/// Writes the file.
///
/// # Errors
/// When it cannot be replaced.
pub fn write(
    root: &Root,
    path: &Path,
    components: &[Component],
    history: &[Entry],
    reboot_required: bool,
    now: Timestamp,
) -> Result<(), AtomicError> {
    let text = render(components, history, reboot_required, now);
    atomic::write(root, path, text.as_bytes(), 0o644)
}

/// The last run's end and its last success, per component.
#[derive(Default)]
struct Last<'e> {
    entry: Option<&'e Entry>,
    success: Option<i64>,
    reverted: u64,
    failed: u64,
}

fn render(
    components: &[Component],
    history: &[Entry],
    reboot_required: bool,
    now: Timestamp,
) -> String {
    let mut text = states(components);
    text.push_str(&results(history));
    text.push_str(&family(
        "reboot_required",
        "Whether something waits for a reboot.",
        [format!(" {}", u8::from(reboot_required))],
    ));
    text.push_str(&family(
        "metrics_timestamp_seconds",
        "When this file was written.",
        [format!(" {}", now.as_second())],
    ));
    text
}

/// What the components are.
fn states(components: &[Component]) -> String {
    let each = |value: fn(&Component) -> String| components.iter().map(value);
    let info = family(
        "component_info",
        "The version in use of each component.",
        each(|one| {
            let version = escaped(one.current.as_deref().unwrap_or_default());
            format!("{{{},version=\"{version}\"}} 1", label(&one.name))
        }),
    );
    let bad = family(
        "bad_versions",
        "Versions that failed their trial and do not come back by themselves.",
        each(|one| format!("{{{}}} {}", label(&one.name), one.bad)),
    );
    let held = family(
        "held",
        "Whether the component is held.",
        each(|one| format!("{{{}}} {}", label(&one.name), u8::from(one.held))),
    );
    info + &bad + &held
}

/// How their last updates went.
fn results(history: &[Entry]) -> String {
    let mut all: BTreeMap<&str, Last<'_>> = BTreeMap::new();
    for entry in history {
        let name = entry.component.as_deref().unwrap_or("<default>");
        let one = all.entry(name).or_default();
        one.entry = Some(entry);
        match entry.event {
            Happening::Installed | Happening::Staged | Happening::RolledBack => {
                one.success = time(entry);
            }
            Happening::Reverted => one.reverted += 1,
            Happening::Failed => one.failed += 1,
            Happening::Held | Happening::Unheld => {}
        }
    }
    let families: [(&str, &str, Value); 5] = [
        (
            "last_success_timestamp_seconds",
            "When a version was installed last.",
            |name, one| Some(format!("{{{name}}} {}", one.success?)),
        ),
        (
            "last_result",
            "What happened last to the component; the label says what.",
            |name, one| {
                Some(format!(
                    "{{{name},result=\"{}\"}} 1",
                    one.entry?.event.as_str()
                ))
            },
        ),
        (
            "last_duration_seconds",
            "How long the last run had taken when it was done with the component.",
            |name, one| Some(format!("{{{name}}} {}", one.entry?.seconds)),
        ),
        (
            "reverted",
            "Versions that went back, as far as the history reaches.",
            |name, one| Some(format!("{{{name}}} {}", one.reverted)),
        ),
        (
            "failed",
            "Installations that failed, as far as the history reaches.",
            |name, one| Some(format!("{{{name}}} {}", one.failed)),
        ),
    ];
    let mut text = String::new();
    for (name, help, value) in families {
        let lines = all
            .iter()
            .filter_map(|(component, one)| value(&label(component), one));
        text.push_str(&family(name, help, lines));
    }
    text
}

/// The labels and the value of one component in one family.
type Value = fn(&str, &Last<'_>) -> Option<String>;

/// All samples of one name; nothing where there are none.
fn family(name: &str, help: &str, lines: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines {
        if text.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# HELP sysupdate_{name} {help}\n# TYPE sysupdate_{name} gauge"
            );
        }
        let _ = writeln!(text, "sysupdate_{name}{line}");
    }
    text
}

fn label(component: &str) -> String {
    format!("component=\"{}\"", escaped(component))
}

fn time(entry: &Entry) -> Option<i64> {
    let stamp: Timestamp = entry.time.parse().ok()?;
    Some(stamp.as_second())
}

/// A label's value (Prometheus exposition format).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: Happening, time: &str) -> Entry {
        Entry {
            time: time.to_owned(),
            component: Some("a\"b".to_owned()),
            event,
            from: None,
            to: Some("1".to_owned()),
            reason: None,
            log: Vec::new(),
            command: "update".to_owned(),
            user: "root".to_owned(),
            seconds: 1.5,
        }
    }

    #[test]
    fn the_file_says_what_is_and_how_it_went() {
        let components = [Component {
            name: "a\"b".to_owned(),
            current: Some("1".to_owned()),
            bad: 1,
            held: false,
        }];
        let history = [
            entry(Happening::Installed, "1970-01-01T00:01:00Z"),
            entry(Happening::Reverted, "1970-01-01T00:02:00Z"),
        ];
        let now = Timestamp::from_second(200).expect("a time");
        let text = render(&components, &history, true, now);
        for line in [
            "sysupdate_component_info{component=\"a\\\"b\",version=\"1\"} 1\n",
            "sysupdate_bad_versions{component=\"a\\\"b\"} 1\n",
            "sysupdate_last_success_timestamp_seconds{component=\"a\\\"b\"} 60\n",
            "sysupdate_last_result{component=\"a\\\"b\",result=\"reverted\"} 1\n",
            "sysupdate_last_duration_seconds{component=\"a\\\"b\"} 1.5\n",
            "sysupdate_reverted{component=\"a\\\"b\"} 1\n",
            "sysupdate_reboot_required 1\n",
            "sysupdate_metrics_timestamp_seconds 200\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let families = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .count();
        let helps = text
            .lines()
            .filter(|line| line.starts_with("# HELP"))
            .count();
        assert_eq!((families, helps), (10, 10));
    }
}
