//! What happened to this host's components: one JSON object a line, appended, bounded.
//!
//! A courtesy to people and their tools; nothing is decided by it. A line that a crash has torn is passed over.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

const FILE: &str = "/var/lib/sysupdate/history.jsonl";
/// Beyond this size the older half goes, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// One thing that happened to a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended (RFC 3339).
    pub time: String,
    /// The component; the default one has no name.
    pub component: Option<String>,
    /// What happened.
    pub event: Happening,
    /// The version in use before.
    pub from: Option<String>,
    /// The version in use after.
    pub to: Option<String>,
    /// What was seen, where that is worth a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last lines of the logs of the units that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// What was asked for.
    pub command: String,
    /// Who asked for it.
    pub user: String,
    /// How long the run had taken by then, in seconds.
    pub seconds: f64,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// A version was installed, and stands.
    Installed,
    /// A version was installed, and takes effect with the next boot.
    Staged,
    /// A version failed its trial; the one before is back.
    Reverted,
    /// The operator went back.
    RolledBack,
    /// An installation failed.
    Failed,
    /// The component was held.
    Held,
    /// The component's holds and marks were lifted.
    Unheld,
}

impl Happening {
    /// The word of listings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Staged => "staged",
            Self::Reverted => "reverted",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Unheld => "unheld",
        }
    }
}

/// The history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A step on the file system failed.
    #[error(transparent)]
    Storage(#[from] AtomicError),
    /// Reading or writing failed.
    #[error("cannot use the history '{FILE}'")]
    File(#[from] io::Error),
}

/// Appends entries, and tells the journal of them.
///
/// # Errors
/// When the file cannot be written; nothing depends on it.
pub fn append(root: &Root, entries: &[Entry]) -> Result<(), HistoryError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut text = Vec::new();
    for entry in entries {
        super::journal::tell(root, entry);
        serde_json::to_writer(&mut text, entry).map_err(io::Error::from)?;
        text.push(b'\n');
    }
    shorten(root)?;
    let path = Path::new(FILE);
    let (parent, name) = (
        path.parent().unwrap_or(Path::new("/")),
        path.file_name().unwrap_or(OsStr::new("history")),
    );
    let directory = atomic::create_directory(root, parent, Durability::Unsynced)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let mut file = directory.open(name, flags, Mode::from_raw_mode(0o644))?;
    // One write: a line is whole or torn, never mixed with another.
    file.write_all(&text)?;
    Ok(())
}

/// Every entry, oldest first.
///
/// # Errors
/// When there is a history and it cannot be read.
pub fn read(root: &Root) -> Result<Vec<Entry>, HistoryError> {
    // Twice the limit: what is appended in one go may exceed it once.
    match root.read(Path::new(FILE), 2 * LIMIT) {
        Ok(bytes) => Ok(bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn shorten(root: &Root) -> Result<(), HistoryError> {
    let path = Path::new(FILE);
    let size = root
        .stat(path)
        .map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or_default());
    if size <= LIMIT {
        return Ok(());
    }
    let bytes = root.read(path, 4 * LIMIT).unwrap_or_default();
    let half = bytes.len() / 2;
    let start = bytes[half..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |end| half + end + 1);
    Ok(atomic::write(root, path, &bytes[start..], 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize) -> Entry {
        Entry {
            time: "2026-01-01T00:00:00Z".to_owned(),
            component: Some(format!("c{number}")),
            event: Happening::Reverted,
            from: Some("1".to_owned()),
            to: None,
            reason: Some("x".repeat(1000)),
            log: Vec::new(),
            command: "update -A".to_owned(),
            user: "root".to_owned(),
            seconds: 0.5,
        }
    }

    #[test]
    fn entries_come_back_in_order_past_torn_lines_and_the_file_stays_bounded() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        assert_eq!(read(&root).expect("no file"), []);
        append(&root, &[entry(1), entry(2)]).expect("appended");
        let file = directory.path().join("var/lib/sysupdate/history.jsonl");
        let mut text = std::fs::read(&file).expect("readable");
        text.extend_from_slice(b"{\"time\":\n");
        std::fs::write(&file, text).expect("written");
        append(&root, &[entry(3)]).expect("appended");
        assert_eq!(
            read(&root).expect("readable"),
            [entry(1), entry(2), entry(3)]
        );
        for number in 4..2000 {
            append(&root, &[entry(number)]).expect("appended");
        }
        assert!(std::fs::metadata(&file).expect("there").len() < LIMIT + 4096);
        let last = read(&root).expect("readable").pop();
        assert_eq!(last, Some(entry(1999)));
    }
}
