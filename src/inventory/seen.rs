//! What each source has shown to this host, below /var/lib/sysupdate/seen: one file per manifest URL, way of
//! authentication and patterns, readable by everybody, so that a look at a source by anybody is judged by it.
//!
//! Owns the files. What follows from them is decided in [`crate::verify::memory`]. A file is only written when something has changed. It
//! lies in the root of the run, as everything does that the run decides upon.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::shared::{self, SharedError};
use crate::definition::transfer::Verification;
use crate::metadata::Sha256;
use crate::pattern::Patterns;
use crate::root::Root;
use crate::storage::atomic::Durability;
use crate::verify::memory::Record;

/// Where the files lie.
pub const DIRECTORY: &str = "/var/lib/sysupdate/seen";

/// The largest file that is read, in bytes: some times the largest that is written.
const LIMIT: u64 = 4 << 20;

/// What a root has seen of one source.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    root: &'a Root,
    source: Source,
}

/// What makes it one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    url: String,
    verification: String,
    patterns: String,
}

/// The text of a file.
#[derive(Serialize, Deserialize)]
struct Page {
    #[serde(flatten)]
    source: Source,
    #[serde(flatten)]
    record: Record,
}

/// What is known of a source: the record, and the bytes that it was read from.
pub(super) struct Remembered {
    pub(super) record: Option<Record>,
    bytes: Vec<u8>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        root: &'a Root,
        url: &str,
        verification: Verification,
        patterns: &Patterns,
    ) -> Self {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let source = Source {
            url: url.to_owned(),
            verification: verification.word().to_owned(),
            patterns: patterns.join(" "),
        };
        Self { root, source }
    }

    /// The path of the file as a process on the host names it.
    pub(super) fn path(&self) -> PathBuf {
        self.root.outer(&self.inner())
    }

    /// Reads what is known; nothing is, when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub(super) fn load(&self) -> io::Result<Remembered> {
        let bytes = match self.root.read(&self.inner(), LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            let record = None;
            return Ok(Remembered { record, bytes });
        }
        let page: Page = serde_json::from_slice(&bytes)?;
        Ok(Remembered {
            record: (page.source == self.source).then_some(page.record),
            bytes,
        })
    }

    /// Writes a record that follows from `before`. When another run has written one meanwhile, that one stands: what is
    /// missing in it is added by the next run.
    ///
    /// # Errors
    /// When it cannot be written; what was known stays.
    pub(super) fn store(&self, record: &Record, before: &Remembered) -> Result<(), SharedError> {
        let page = Page {
            source: self.source.clone(),
            record: record.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&page).map_err(io::Error::from)?;
        text.push(b'\n');
        let unchanged = || {
            let now = self.root.read(&self.inner(), LIMIT).unwrap_or_default();
            now == before.bytes
        };
        shared::replace(
            self.root,
            Path::new(DIRECTORY),
            &self.name(),
            &[&text],
            (0o644, Durability::Synced),
            unchanged,
        )
    }

    fn inner(&self) -> PathBuf {
        Path::new(DIRECTORY).join(self.name())
    }

    fn name(&self) -> OsString {
        let Source {
            url,
            verification,
            patterns,
        } = &self.source;
        let key = format!("{verification}\n{url}\n{patterns}");
        format!("{}.json", Sha256(sha2::Sha256::digest(key).into())).into()
    }
}

impl Remembered {
    /// What is known when the file cannot be used: nothing. A new record replaces it.
    pub(super) fn nothing(seen: &Seen<'_>) -> Self {
        Self {
            record: None,
            bytes: seen.root.read(&seen.inner(), LIMIT).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::verify::memory::{Acceptance, Offer, Standing, judge};

    fn patterns(text: &str) -> Patterns {
        Patterns::from(text.parse::<crate::pattern::Pattern>().expect("a pattern"))
    }

    fn unsigned(root: &Root) -> Seen<'_> {
        Seen::new(
            root,
            "http://x/SHA256SUMS",
            Verification::Skip,
            &patterns("app_@v"),
        )
    }

    fn record(digest: u8) -> Record {
        let offer = Offer {
            manifest: Sha256([digest; 32]),
            standing: Standing::Unsigned,
            files: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        let judgement = judge(None, &offer, Acceptance::Never).expect("nothing is known");
        judgement.record.expect("it is new")
    }

    #[test]
    fn a_record_comes_back_for_its_own_source_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("it opens");
        let seen = unsigned(&root);
        let before = seen.load().expect("no file is no error");
        assert!(before.record.is_none());
        seen.store(&record(1), &before).expect("stored");
        assert_eq!(seen.load().expect("readable").record, Some(record(1)));
        for (url, verification, pattern) in [
            ("http://y/SHA256SUMS", Verification::Skip, "app_@v"),
            ("http://x/SHA256SUMS", Verification::OpenPgp, "app_@v"),
            ("http://x/SHA256SUMS", Verification::Skip, "two_@v"),
        ] {
            let other = Seen::new(&root, url, verification, &patterns(pattern));
            assert!(other.load().expect("readable").record.is_none());
            // A file that was copied over another's is not taken for it.
            std::fs::copy(seen.path(), other.path()).expect("copied");
            assert!(other.load().expect("readable").record.is_none());
        }
    }

    #[test]
    fn what_another_run_has_written_meanwhile_stands() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("it opens");
        let seen = unsigned(&root);
        let before = seen.load().expect("readable");
        seen.store(&record(1), &before).expect("stored");
        seen.store(&record(2), &before).expect("left alone");
        assert_eq!(seen.load().expect("readable").record, Some(record(1)));
        let names: Vec<_> = std::fs::read_dir(directory.path().join(&DIRECTORY[1..]))
            .expect("the directory")
            .collect();
        assert_eq!(names.len(), 1, "no temporary name stays: {names:?}");
    }

    #[test]
    fn a_damaged_file_is_an_error_and_can_be_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("it opens");
        let seen = unsigned(&root);
        let before = seen.load().expect("readable");
        seen.store(&record(1), &before).expect("stored");
        let whole = std::fs::read(seen.path()).expect("readable");
        for cut in 1..whole.len() - 1 {
            std::fs::write(seen.path(), &whole[..cut]).expect("written");
            assert!(seen.load().is_err(), "cut at {cut}");
        }
        seen.store(&record(2), &Remembered::nothing(&seen))
            .expect("stored");
        assert_eq!(seen.load().expect("readable").record, Some(record(2)));
    }
}
