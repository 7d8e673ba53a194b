//! The two moves of a trial on disk, forward and back, for whoever finds a record.
//!
//! Forward is what `install::switch` does for a run of its own. Back is its mirror: the link first, so that it never
//! leads to nothing, then the file under its pending name, whole and ready to be installed again. Both may be repeated
//! at any point: what is done already is left as it is.
//!
//! What is written into partitions is not moved here: which one, and what it is called then, is in the plan of the run
//! that was cut off, and the next update makes the same. A kernel must not get its name before that.

use std::ffi::{OsStr, OsString};
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
    /// It goes on with the next update: what it is started from may not be installed yet.
    Left,
}

/// Finishes the switch of a member; nothing is moved when one of its files is neither here nor there (`Lost`), or has
/// no name yet and belongs to a partition (`Left`).
pub(super) fn forward(
    root: &Root,
    member: &Member,
    durability: Durability,
) -> Result<Step, SwitchError> {
    let waits = |part: &Part| part.pending.as_ref().is_some_and(|path| exists(root, path));
    let stands = |part: &Part| part.partition || installed(root, &part.target).is_some();
    if !member.parts.iter().all(|part| stands(part) || waits(part)) {
        return Ok(Step::Lost);
    }
    if member.has_partition() && !member.parts.iter().all(stands) {
        return Ok(Step::Left);
    }
    let mut step = Step::Stood;
    for part in &member.parts {
        if let Some(pending) = &part.pending
            && !stands(part)
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
            && let Some(target) = installed(root, &part.target)
        {
            rename(root, &target, pending, durability)?;
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

/// Where the file of a target is: there, or beside it with another boot counter, or none any more, as boot loader and
/// systemd-bless-boot leave it (UAPI.1, Boot Counting).
fn installed(root: &Root, target: &Path) -> Option<PathBuf> {
    if exists(root, target) {
        return Some(target.to_owned());
    }
    let (counter, entry) = without_counter(target.file_name()?);
    if !counter {
        return None;
    }
    let directory = root.directory(target.parent()?).ok()?;
    let entries = directory.entries().ok()?;
    let same = entries
        .into_iter()
        .find(|other| without_counter(&other.name).1 == entry)?;
    Some(target.with_file_name(same.name))
}

/// Whether a boot entry has a counter, `+LEFT` or `+LEFT-DONE` before its suffix, and its name without it.
fn without_counter(name: &OsStr) -> (bool, OsString) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let entry = name.to_str().and_then(|name| {
        let (stem, suffix) = name.rsplit_once('.')?;
        let (stem, counter) = stem.rsplit_once('+')?;
        let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
        (is_number(left) && is_number(done)).then(|| format!("{stem}.{suffix}"))
    });
    entry.map_or_else(|| (false, name.to_owned()), |entry| (true, entry.into()))
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
