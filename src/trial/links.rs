//! The two moves of a trial on disk, forward and back, for whoever finds a record.
//!
//! Forward is what `install::switch` does for a run of its own. Back is its mirror: the link first, so that it never
//! leads to nothing, then the file under its pending name, whole and ready to be installed again. Both may be repeated
//! at any point: what is done already is left as it is.

use std::path::{Path, PathBuf};

use crate::install::switch::SwitchError;
use crate::inventory::State;
use crate::inventory::link;
use crate::root::Root;
use crate::storage::atomic::{self, Durability};

use super::record::{LinkMove, Member, Part};

/// What a move on disk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something changed.
    Moved,
    /// It was so already.
    Stood,
    /// The file is gone.
    Lost,
}

/// Finishes the switch of a member; `Lost` when one of its files is neither here nor there: nothing more is moved then.
pub(super) fn forward(
    root: &Root,
    member: &Member,
    durability: Durability,
) -> Result<Step, SwitchError> {
    let stands = |part: &Part| {
        exists(root, &part.target) || part.pending.as_ref().is_some_and(|path| exists(root, path))
    };
    if !member.parts.iter().all(stands) {
        return Ok(Step::Lost);
    }
    let mut step = Step::Stood;
    for part in &member.parts {
        if let Some(pending) = &part.pending
            && !exists(root, &part.target)
        {
            rename(root, pending, &part.target, durability)?;
            step = Step::Moved;
        }
        if let Some(LinkMove { path, .. }) = &part.link
            && lead(root, path, &part.target, durability)?
        {
            step = Step::Moved;
        }
    }
    Ok(step)
}

/// Takes a member back to what it was.
pub(super) fn back(
    root: &Root,
    member: &Member,
    durability: Durability,
) -> Result<(), SwitchError> {
    for part in &member.parts {
        if let Some(LinkMove { path, before }) = &part.link {
            match before {
                Some(before) if exists(root, before) => {
                    lead(root, path, before, durability)?;
                }
                // What the link led to is gone; it must not lead to the version that failed.
                _ => unlink(root, path, durability)?,
            }
        }
    }
    for part in &member.parts {
        if let Some(pending) = &part.pending
            && exists(root, &part.target)
        {
            rename(root, &part.target, pending, durability)?;
        }
    }
    Ok(())
}

/// The pending name of an installed file.
pub fn pending_path(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(State::Pending.prefix());
    name.push(target.file_name().unwrap_or_default());
    target.with_file_name(name)
}

fn exists(root: &Root, path: &Path) -> bool {
    root.stat(path).is_ok()
}

fn rename(root: &Root, from: &Path, to: &Path, durability: Durability) -> Result<(), SwitchError> {
    let parent = from.parent().unwrap_or(Path::new("/"));
    let directory = atomic::create_directory(root, parent, durability)?;
    let (from, to) = (
        from.file_name().unwrap_or_default(),
        to.file_name().unwrap_or_default(),
    );
    Ok(atomic::rename(root, &directory, from, to, durability)?)
}

/// Lets a link lead to a file; whether it had to be moved.
fn lead(
    root: &Root,
    link: &Path,
    target: &Path,
    durability: Durability,
) -> Result<bool, SwitchError> {
    if root.canonicalize(link).is_ok_and(|now| now == target) {
        return Ok(false);
    }
    let parent = link.parent().unwrap_or(Path::new("/"));
    let directory = atomic::create_directory(root, parent, durability)?;
    let text = link::text(link, target);
    let name = link.file_name().unwrap_or_default();
    atomic::replace_symlink(root, &directory, name, &text, durability)?;
    Ok(true)
}

/// Removes a link; anything else in its place is left alone.
fn unlink(root: &Root, link: &Path, durability: Durability) -> Result<(), SwitchError> {
    if !matches!(root.read_link(link), Ok(Some(_))) {
        return Ok(());
    }
    let parent = link.parent().unwrap_or(Path::new("/"));
    Ok(atomic::remove_file_and_empty_parents(
        root, link, parent, durability,
    )?)
}
