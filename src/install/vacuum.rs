//! Removes instances.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::acquire::partial_name;
use super::{Executor, slot, twin};
use crate::definition::transfer::{Place, Transfer};
use crate::inventory::files::{self, FilesError, Sort};
use crate::inventory::link::{self, Link, LinkError, LinkState};
use crate::pattern::Patterns;
use crate::plan::{Removal, RemovalKind};
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError};
use crate::storage::disk::DiskError;
use crate::storage::tree;

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum VacuumError {
    /// The kernel refused.
    #[error(transparent)]
    Remove(#[from] AtomicError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A current symlink cannot be examined.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A target directory cannot be listed.
    #[error(transparent)]
    List(#[from] FilesError),
}

/// Removes one instance, and the sub-directories that it was the last file of.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(executor: &Executor<'_>, removal: &Removal<'_>) -> Result<(), VacuumError> {
    let root = executor.root;
    let outer = root.outer(removal.path);
    executor.say(format!(
        "Removing {} '{}' ({}).",
        removal.kind.as_str(),
        outer.display(),
        removal.transfer.target().place.word()
    ));
    let own = removal.transfer.target();
    if removal.kind == RemovalKind::Disabled
        && let Some(Link {
            path,
            state: LinkState::To(destination),
        }) = link::examine(root, own)?
        && destination == removal.path
    {
        // The link of a disabled transfer goes first: it must not lead nowhere.
        let top = path.parent().unwrap_or(Path::new("/"));
        atomic::remove_file_and_empty_parents(root, &path, top, executor.durability)?;
    }
    discard(executor, removal.transfer, removal.path, removal.slot)
}

/// Removes what a transfer has at a path, whatever it is.
///
/// # Errors
/// When the kernel refuses.
pub fn discard(
    executor: &Executor<'_>,
    transfer: &Transfer,
    path: &Path,
    slot: Option<u32>,
) -> Result<(), VacuumError> {
    let root = executor.root;
    match (transfer.target().place, slot) {
        (Place::Slots(target), Some(number)) => Ok(slot::empty(executor, target, number)?),
        (Place::Slots(_), None) => Ok(()),
        (Place::Files(directory), _) => {
            let top = resolved(root, directory);
            Ok(remove_file(executor, path, &top)?)
        }
        (Place::Trees(directory, _), _) => {
            Ok(remove_tree(executor, path, &resolved(root, directory))?)
        }
    }
}

/// Removes a file, and the directories above it that it was the last in; one that may have two names stays.
pub(super) fn remove_file(
    executor: &Executor<'_>,
    path: &Path,
    top: &Path,
) -> Result<(), AtomicError> {
    let root = executor.root;
    let Some(other) = twin::of(root, path) else {
        return atomic::remove_file_and_empty_parents(root, path, top, executor.durability);
    };
    let (path, other) = (root.outer(path), root.outer(&other));
    let text = format!(
        "'{}' stays: it has the content of '{}', and a renaming that was cut off leaves two names of one file on FAT. \
         Unmount the file system and run fsck.vfat on it.",
        path.display(),
        other.display()
    );
    executor.warn(text);
    Ok(())
}

/// Removes a directory and all that is in it, and the directories above it that it was the last in. It first gets the
/// name of something unfinished: half of it is never taken for the whole, and a run that is cut off leaves what the next
/// one removes.
pub(super) fn remove_tree(
    executor: &Executor<'_>,
    path: &Path,
    top: &Path,
) -> Result<(), AtomicError> {
    let Executor {
        root, durability, ..
    } = *executor;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let Ok(directory) = root.directory(parent) else {
        return Ok(());
    };
    let bare = name
        .to_str()
        .map_or(name, |name| OsStr::new(files::split_state(name).1));
    let doomed = partial_name(bare);
    if *doomed != *name {
        tree::remove(root, &directory, &doomed)?;
        tree::unseal(root, &directory, name)?;
        atomic::rename(root, &directory, name, &doomed, durability)?;
    }
    tree::remove(root, &directory, &doomed)?;
    let doomed = directory.path().join(doomed);
    // It is gone; this is for the directories above.
    atomic::remove_file_and_empty_parents(root, &doomed, top, durability)
}

fn resolved(root: &Root, directory: &Path) -> PathBuf {
    root.canonicalize(directory)
        .unwrap_or_else(|_| directory.to_path_buf())
}

/// How much was removed, in the words of the original.
#[must_use]
pub fn summary(removed: usize, disabled: usize) -> String {
    match (removed, disabled) {
        (0, 0) => "Found nothing to remove.".to_owned(),
        (removed, 0) => format!("Removed {removed} instances."),
        (0, disabled) => format!("Removed {disabled} disabled transfers."),
        (removed, disabled) => {
            format!("Removed {removed} instances, and {disabled} disabled transfers.")
        }
    }
}

/// Removes unfinished files in the target directories that no pattern covers (`RemoveTemporary=`).
///
/// # Errors
/// When a directory cannot be listed, or the kernel refuses a removal.
pub fn remove_unclaimed(
    executor: &Executor<'_>,
    transfers: &[&Transfer],
) -> Result<(), VacuumError> {
    let root = executor.root;
    let places: Vec<(&Transfer, PathBuf)> = transfers
        .iter()
        .filter_map(|transfer| {
            let directory = transfer.target().place.directory()?;
            Some((*transfer, resolved(root, directory)))
        })
        .collect();
    let mut done: Vec<(&PathBuf, Sort)> = Vec::new();
    for (transfer, directory) in &places {
        let sort = match transfer.target().place {
            Place::Trees(..) => Sort::Trees,
            Place::Files(_) | Place::Slots(_) => Sort::Files,
        };
        if !transfer.remove_temporary || done.contains(&(directory, sort)) {
            continue;
        }
        done.push((directory, sort));
        // Several transfers may keep their files in one directory.
        let neighbours: Vec<&Patterns> = places
            .iter()
            .filter(|(_, other)| other == directory)
            .map(|(transfer, _)| transfer.target().patterns)
            .collect();
        for path in files::unclaimed_temporaries(root, directory, &neighbours, sort)? {
            match sort {
                Sort::Trees => remove_tree(executor, &path, directory)?,
                Sort::Files => remove_file(executor, &path, directory)?,
            }
        }
    }
    Ok(())
}
