//! Removes instances.

use std::path::{Path, PathBuf};

use super::Executor;
use crate::definition::transfer::Transfer;
use crate::inventory::files::{self, FilesError};
use crate::inventory::link::{self, Link, LinkError, LinkState};
use crate::pattern::Patterns;
use crate::plan::{Removal, RemovalKind, target};
use crate::storage::atomic::{self, AtomicError};

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum VacuumError {
    /// The kernel refused.
    #[error(transparent)]
    Remove(#[from] AtomicError),
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
        "Removing {} '{}' (regular-file).",
        removal.kind.as_str(),
        outer.display()
    ));
    let own = target(removal.transfer);
    let directory = &own.directory;
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
    let top = root
        .canonicalize(directory)
        .unwrap_or_else(|_| directory.clone());
    Ok(atomic::remove_file_and_empty_parents(
        root,
        removal.path,
        &top,
        executor.durability,
    )?)
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
    let resolved = |transfer: &Transfer| {
        let directory = &target(transfer).directory;
        root.canonicalize(directory)
            .unwrap_or_else(|_| directory.clone())
    };
    let directories: Vec<PathBuf> = transfers
        .iter()
        .map(|transfer| resolved(transfer))
        .collect();
    let mut done: Vec<&PathBuf> = Vec::new();
    for (transfer, directory) in transfers.iter().zip(&directories) {
        if !transfer.remove_temporary || done.contains(&directory) {
            continue;
        }
        done.push(directory);
        // Several transfers may keep their files in one directory.
        let neighbours: Vec<&Patterns> = transfers
            .iter()
            .zip(&directories)
            .filter(|(_, other)| *other == directory)
            .map(|(transfer, _)| &target(transfer).patterns)
            .collect();
        for path in files::unclaimed_temporaries(root, directory, &neighbours)? {
            atomic::remove_file_and_empty_parents(root, &path, directory, executor.durability)?;
        }
    }
    Ok(())
}
