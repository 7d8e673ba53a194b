//! One run at a time on a root.
//!
//! The lock is `flock` on a file below the root's /run, so the kernel releases it with the process, however that ends.
//! The file's text names the holder for those who wait. Nobody but its owner can open it: whoever may read a file may lock
//! it (flock(2)), and could keep every update from the host.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::event::{Event, Reporter, Severity};
use crate::fetch::Cancel;
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

const DIRECTORY: &str = "/run/sysupdate";
const FILE: &str = "lock";
/// How often a waiting run tries again.
const INTERVAL: Duration = Duration::from_millis(100);

/// The lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A courtesy to those who ask later; the kernel releases the lock in any case.
        let _ = self.file.set_len(0);
    }
}

/// How long to wait for another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// This long.
    For(Duration),
    /// Until it ends.
    Forever,
}

/// The lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else works on this root.
    #[error("another run holds the lock '{}': {holder}", path.display())]
    Held {
        /// The lock file's outer path.
        path: PathBuf,
        /// Who it is.
        holder: String,
    },
    /// The directory of the lock cannot be made.
    #[error(transparent)]
    Directory(#[from] AtomicError),
    /// The lock file cannot be opened or locked.
    #[error("cannot lock '{}'", path.display())]
    Open {
        /// The lock file's outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The user gave up.
    #[error("interrupted while waiting for another run")]
    Cancelled,
}

impl LockError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Held { .. } => {
                Some("`--wait=SECONDS` (or `--wait=infinity`) waits longer for it to end")
            }
            Self::Directory(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(
                "changing this root needs its owner: run as root, or name a root of your own with `--root=`",
            ),
            Self::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "changing this root needs its owner: run as root, or name a root of your own with `--root=`",
            ),
            _ => None,
        }
    }
}

impl Lock {
    /// Takes the lock of a root. `command` is what others are told about the holder.
    ///
    /// # Errors
    /// When it stays held for longer than the patience lasts, or cannot be opened.
    pub fn acquire(
        root: &Root,
        patience: Patience,
        command: &str,
        reporter: &dyn Reporter,
        cancel: &Cancel,
    ) -> Result<Self, LockError> {
        let path = Path::new(DIRECTORY).join(FILE);
        let open_error = |source| LockError::Open {
            path: root.outer(&path),
            source,
        };
        let directory = atomic::create_directory(root, Path::new(DIRECTORY), Durability::Unsynced)?;
        let mode = Mode::from_raw_mode(0o600);
        let mut file = directory
            .open(OsStr::new(FILE), OFlags::RDWR | OFlags::CREATE, mode)
            .map_err(open_error)?;
        // One that an earlier release has left, or somebody else.
        if file.metadata().is_ok_and(|found| found.mode() & 0o077 != 0) {
            rustix::fs::fchmod(&file, mode).map_err(|error| open_error(error.into()))?;
        }
        let started = Instant::now();
        let mut announced = false;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(open_error(error.into())),
            }
            let holder = holder(&mut file);
            if let Patience::For(limit) = patience
                && started.elapsed() >= limit
            {
                return Err(LockError::Held {
                    path: root.outer(&path),
                    holder,
                });
            }
            if cancel.is_cancelled() {
                return Err(LockError::Cancelled);
            }
            if !announced {
                let text = format!("Waiting for another run to end: {holder}");
                reporter.report(&Event::Message(Severity::Info, text));
                announced = true;
            }
            std::thread::sleep(INTERVAL);
        }
        // Who holds it is a courtesy; the lock itself is what counts.
        let process = rustix::process::getpid().as_raw_nonzero();
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("PID {process} ({command})").as_bytes()));
        Ok(Self { file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(256).read_to_string(&mut text));
    let printable = !text.is_empty() && text.chars().all(|character| !character.is_control());
    if read.is_ok() && printable {
        text
    } else {
        "unknown process".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::event::Silent;

    #[test]
    fn nobody_but_its_owner_can_open_the_lock_and_so_hold_it() {
        let outer = tempfile::tempdir().expect("a directory");
        let root = Root::open(outer.path()).expect("it opens");
        let path = outer.path().join("run/sysupdate/lock");
        for left_behind in [None, Some(0o644), Some(0o666)] {
            if let Some(mode) = left_behind {
                let loose = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(&path, loose).expect("it is there");
            }
            let patience = Patience::For(Duration::ZERO);
            let lock = Lock::acquire(&root, patience, "update", &Silent, &Cancel::new());
            let _lock = lock.expect("nobody holds it");
            let mode = std::fs::metadata(&path).expect("it is there").mode();
            assert_eq!(mode & 0o7777, 0o600, "{left_behind:?}");
        }
    }
}
