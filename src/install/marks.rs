//! What is on record of a component's versions: holds, versions that were reverted, versions that were gone back from.
//!
//! One small JSON file per component, replaced in one step. It is the operator's word and the memory of failures: one
//! that cannot be read is an error, never an empty record.

use std::io;
use std::path::{Path, PathBuf};

use crate::definition::ComponentKey;
use crate::resolve::Marks;
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

const DIRECTORY: &str = "/var/lib/sysupdate/marks";
/// The largest record, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// A record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    /// It cannot be read.
    #[error("cannot read the record '{}'", path.display())]
    Read {
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no record.
    #[error("the record '{}' is damaged", path.display())]
    Damaged {
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("cannot keep the record of held and bad versions")]
    Write(#[from] AtomicError),
}

impl MarksError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => {
                "it says which versions are held or bad; make it readable, or run as root"
            }
            Self::Damaged { .. } => {
                "it says which versions are held or bad: mend it, or remove it and hold again what is to be held"
            }
            Self::Write(_) => "nothing was changed",
        }
    }
}

/// What is on record; nothing, when there is no file.
///
/// # Errors
/// When the file cannot be read or is no record.
pub fn read(root: &Root, component: &ComponentKey) -> Result<Marks, MarksError> {
    let inner = path(component);
    match root.read(&inner, LIMIT) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| MarksError::Damaged {
            path: root.outer(&inner),
            source,
        }),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Marks::default())
        }
        Err(source) => Err(MarksError::Read {
            path: root.outer(&inner),
            source,
        }),
    }
}

/// Puts the record in the place of the old one; an empty one leaves no file.
///
/// # Errors
/// When the file system refuses.
pub fn write(root: &Root, component: &ComponentKey, marks: &Marks) -> Result<(), MarksError> {
    let inner = path(component);
    if marks.is_empty() {
        return Ok(atomic::remove_file_if_any(
            root,
            &inner,
            Path::new(DIRECTORY),
            Durability::Synced,
        )?);
    }
    let mut text = serde_json::to_vec_pretty(marks).expect("texts and lists are always JSON");
    text.push(b'\n');
    Ok(atomic::write(root, &inner, &text, 0o644)?)
}

/// Reads the record, changes it, and writes it back if that changed anything.
///
/// # Errors
/// Those of [`read()`] and [`write()`].
pub fn change(
    root: &Root,
    component: &ComponentKey,
    change: impl FnOnce(&mut Marks),
) -> Result<(), MarksError> {
    let before = read(root, component)?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(());
    }
    write(root, component, &after)
}

fn path(component: &ComponentKey) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", component.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::ComponentName;
    use crate::resolve::{Hold, Mark, MarkKind};

    #[test]
    fn a_record_is_read_as_it_was_written_and_an_empty_one_leaves_no_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let key = ComponentKey::new(&ComponentName::Default, None);
        assert_eq!(
            read(&root, &key).expect("no file is no record"),
            Marks::default()
        );
        let mark = Mark {
            version: "1.0~rc1".parse().expect("a version"),
            kind: MarkKind::Bad,
            digests: [("app".to_owned(), "00ff".to_owned())].into(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            reason: "unit \"x\" failed".to_owned(),
        };
        let marks = Marks {
            hold: Some(Hold {
                since: "2026-01-01T00:00:00Z".to_owned(),
            }),
            versions: vec![mark],
        };
        write(&root, &key, &marks).expect("written");
        assert_eq!(read(&root, &key).expect("readable"), marks);
        change(&root, &key, |marks| *marks = Marks::default()).expect("changed");
        assert!(root.stat(&path(&key)).is_err());
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_an_empty_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let key = ComponentKey::new(&ComponentName::Default, None);
        for text in [
            "",
            "{",
            "[1]",
            r#"{"held":1}"#,
            r#"{"versions":[{"version":""}]}"#,
        ] {
            atomic::write(&root, &path(&key), text.as_bytes(), 0o644).expect("written");
            let error = read(&root, &key).expect_err(text);
            assert!(matches!(error, MarksError::Damaged { .. }), "{text}");
        }
    }
}
