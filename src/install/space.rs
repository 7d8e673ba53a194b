//! Is there room? Asked before the first byte is fetched.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Executor;
use crate::definition::transfer::Source;
use crate::fetch;
use crate::inventory::{Instance, Location};
use crate::plan::{Action, Plan, Removal, RemovalKind, Step};
use crate::root::Root;

/// Left free on every file system, in bytes: directories and the journal want to go on.
pub const RESERVE: u64 = 1024 * 1024;

/// There is not enough room.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Even without the old versions that may go.
    #[error("not enough space in '{}': {needed} bytes are needed, {free} are free", path.display())]
    Short {
        /// The target directory's outer path.
        path: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes at hand.
        free: u64,
    },
    /// The kernel does not tell.
    #[error("cannot ask for the free space of '{}'", path.display())]
    Unknown {
        /// The target directory's outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Bytes wanted, by file system.
pub struct Needs {
    /// By device number: a directory on it, and how many bytes will be written there.
    volumes: BTreeMap<u64, (PathBuf, u64)>,
}

/// A file system that has too little room.
pub struct Shortage {
    device: u64,
    path: PathBuf,
    needed: u64,
    free: u64,
}

impl Needs {
    /// Adds up what a plan will write; sizes that no source tells count as nothing.
    ///
    /// # Errors
    /// When a target directory's file system cannot be examined.
    pub fn of(executor: &Executor<'_>, plan: &Plan<'_>) -> Result<Self, SpaceError> {
        let mut volumes: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
        for step in &plan.steps {
            let Action::Acquire {
                source: instance, ..
            } = &step.action
            else {
                continue;
            };
            // A partition has its room already.
            let Some(directory) = step.transfer.target().place.directory() else {
                continue;
            };
            let bytes = announced(executor, step, instance).unwrap_or_default();
            let place = existing(executor.root, directory);
            let stat = executor
                .root
                .stat(&place)
                .map_err(|source| unknown(executor.root, &place, source))?;
            // What a cut-off download left under the same name is overwritten: its blocks are at hand.
            let there = leftover(executor.root, &step.path);
            let (_, wanted) = volumes.entry(stat.st_dev).or_insert((place, 0));
            *wanted = wanted.saturating_add(bytes.saturating_sub(there));
        }
        Ok(Self { volumes })
    }

    /// The first file system that has too little room now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn shortage(&mut self, root: &Root) -> Result<Option<Shortage>, SpaceError> {
        for (device, (path, needed)) in &self.volumes {
            if *needed == 0 {
                continue;
            }
            let free = free(root, path).map_err(|source| unknown(root, path, source))?;
            if free < needed.saturating_add(RESERVE) {
                return Ok(Some(Shortage {
                    device: *device,
                    path: root.outer(path),
                    needed: *needed,
                    free,
                }));
            }
        }
        Ok(None)
    }
}

/// How many bytes a source says that an artifact has; `None` when it does not tell.
#[must_use]
pub fn announced(executor: &Executor<'_>, step: &Step<'_>, instance: &Instance) -> Option<u64> {
    match (step.transfer.source(), &instance.location) {
        (Source::Url(url), Location::Remote { name }) => {
            let url = fetch::url::join(&url.base, name).ok()?;
            executor.fetch.size(&url).ok().flatten()
        }
        // What a directory says of its own size tells nothing of what is in it.
        (_, Location::File { .. }) if step.transfer.copies_trees() => None,
        (_, Location::File { path, .. }) => {
            let stat = executor.root.stat(path).ok()?;
            u64::try_from(stat.st_size).ok()
        }
        (_, Location::Asset { size, .. }) => Some(*size),
        (Source::Directory(_) | Source::Github(_), Location::Remote { .. })
        | (_, Location::Slot(_)) => None,
    }
}

impl Shortage {
    /// Whether removing this instance helps, and is allowed before the new version stands: what a current symlink
    /// resolves to never is.
    #[must_use]
    pub fn is_relieved_by(&self, root: &Root, removal: &Removal<'_>) -> bool {
        let same = root
            .stat(removal.path)
            .is_ok_and(|stat| stat.st_dev == self.device);
        let link = removal.transfer.target().link();
        let linked = link.and_then(|link| root.canonicalize(&link).ok());
        // Without a link, the newest complete version is all that the host has.
        let free_to_go = match linked {
            Some(linked) => linked != removal.path,
            None => removal.kind != RemovalKind::Old || !removal.is_newest,
        };
        same && free_to_go
    }

    /// Whether it would be over with so many bytes more.
    #[must_use]
    pub fn would_end_with(&self, gained: u64) -> bool {
        self.free.saturating_add(gained) >= self.needed.saturating_add(RESERVE)
    }

    /// The refusal, with what is needed and what is free.
    #[must_use]
    pub fn into_error(self) -> SpaceError {
        SpaceError::Short {
            path: self.path,
            needed: self.needed,
            free: self.free,
        }
    }
}

fn unknown(root: &Root, path: &Path, source: io::Error) -> SpaceError {
    SpaceError::Unknown {
        path: root.outer(path),
        source,
    }
}

/// The nearest directory that exists.
fn existing(root: &Root, directory: &Path) -> PathBuf {
    directory
        .ancestors()
        .find(|path| root.stat(path).is_ok())
        .unwrap_or(Path::new("/"))
        .to_path_buf()
}

/// What a file occupies on its disk, in bytes; nothing when it is not there.
#[must_use]
pub fn occupied(root: &Root, path: &Path) -> u64 {
    root.stat(path).map_or(0, |stat| {
        u64::try_from(stat.st_blocks).unwrap_or_default() * 512
    })
}

fn leftover(root: &Root, path: &Path) -> u64 {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return 0;
    };
    let partial = parent.join(super::acquire::partial_name(name));
    occupied(root, &partial)
}

fn free(root: &Root, path: &Path) -> io::Result<u64> {
    let directory = root.directory(path)?;
    Ok(available(&rustix::fs::fstatvfs(&directory)?))
}

/// Bytes that we may still write. A file system without blocks (ramfs, the root of some initrds) has no size of its own:
/// memory is its limit, and nobody can tell how much of that will be free.
pub(super) fn available(volume: &rustix::fs::StatVfs) -> u64 {
    match volume.f_blocks {
        0 => u64::MAX,
        _ => volume.f_bavail.saturating_mul(volume.f_frsize),
    }
}

/// Bytes that can still be written below a directory; `None` when that cannot be told.
#[must_use]
pub fn free_at(root: &Root, directory: &Path) -> Option<u64> {
    let opened = root.directory(directory).ok()?;
    let volume = rustix::fs::fstatvfs(&opened).ok()?;
    Some(available(&volume))
}

/// Bytes that can still be written to the file system of an open file, less the reserve.
pub(super) fn free_beside(file: &std::fs::File) -> io::Result<u64> {
    free_in(file)
}

/// The same of any open file or directory.
pub(super) fn free_in(file: impl std::os::fd::AsFd) -> io::Result<u64> {
    let free = available(&rustix::fs::fstatvfs(file)?);
    Ok(free.saturating_sub(RESERVE))
}
