//! Removes instances.

use std::path::PathBuf;

use super::Executor;
use crate::inventory::files::{self, FilesError};
use crate::plan::{Removal, target};
use crate::storage::atomic::{self, AtomicError};

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum VacuumError {
    /// The kernel refused.
    #[error(transparent)]
    Remove(#[from] AtomicError),
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
    let directory = &target(removal.transfer).directory;
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

/// Removes unfinished files in the target directories that no pattern covers (`RemoveTemporary=`).
///
/// # Errors
/// When a directory cannot be listed, or the kernel refuses a removal.
pub fn remove_unclaimed(
    executor: &Executor<'_>,
    transfers: &[&crate::definition::transfer::Transfer],
) -> Result<(), VacuumError> {
    for transfer in transfers
        .iter()
        .filter(|transfer| transfer.remove_temporary)
    {
        let own = target(transfer);
        for path in files::unclaimed_temporaries(executor.root, &own.directory, &own.patterns)? {
            // Another transfer may keep its files in the same directory.
            let claimed = transfers.iter().any(|other| claims(executor, other, &path));
            if !claimed {
                let top = path.parent().map(PathBuf::from).unwrap_or_default();
                atomic::remove_file_and_empty_parents(
                    executor.root,
                    &path,
                    &top,
                    executor.durability,
                )?;
            }
        }
    }
    Ok(())
}

fn claims(
    executor: &Executor<'_>,
    transfer: &crate::definition::transfer::Transfer,
    path: &std::path::Path,
) -> bool {
    let own = target(transfer);
    let directory = executor
        .root
        .canonicalize(&own.directory)
        .unwrap_or_else(|_| own.directory.clone());
    path.parent() == Some(&directory)
        && !files::unclaimed_temporaries(executor.root, &own.directory, &own.patterns)
            .is_ok_and(|unclaimed| unclaimed.iter().any(|other| other == path))
}
