//! Small files that several runs may replace at once: no run-wide lock protects what a mere look at a source writes.
//!
//! Owns the replacing alone: the temporary file itself is the lock of its entry, and its name is moved over the old one.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

/// Replaces the file `name` in `directory`, which is created if it is missing. Another run that is about to do the same
/// is left to it; so is one that has just done it, when `still_wanted` says so under the lock.
///
/// # Errors
/// When the file cannot be written; the old one stands then.
pub(super) fn replace(
    root: &Root,
    directory: &Path,
    name: &OsStr,
    parts: &[&[u8]],
    access: (u32, Durability),
    still_wanted: impl FnOnce() -> bool,
) -> Result<(), SharedError> {
    let (mode, durability) = access;
    let temporary: OsString = atomic::temporary_name(name);
    let directory = atomic::create_directory(root, directory, durability)?;
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let mut file = directory.open(&temporary, flags, Mode::from_raw_mode(0o600))?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    if !atomic::is_named(&file, &directory, &temporary) {
        // It became an entry between the opening and the lock: somebody else has stored the same.
        return Ok(());
    }
    if !still_wanted() {
        atomic::remove(root, &directory, &temporary)?;
        return Ok(());
    }
    file.set_len(0)?;
    for part in parts {
        file.write_all(part)?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(io::Error::from)?;
    let path = directory.path().join(&temporary);
    atomic::sync_file(root, &file, &path, durability)?;
    atomic::rename(root, &directory, &temporary, name, durability)?;
    Ok(())
}

/// An entry could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// A step on the file system failed.
    #[error(transparent)]
    Storage(#[from] AtomicError),
    /// Writing failed.
    #[error("cannot write it: {0}")]
    Write(#[from] io::Error),
}

impl SharedError {
    /// Whether this user may not write there, or nobody may.
    pub(super) fn is_forbidden(&self) -> bool {
        let kind = match self {
            Self::Storage(error) => error.kind(),
            Self::Write(error) => error.kind(),
        };
        matches!(
            kind,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }
}
