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

use rustix::fs::FileType;

use crate::install::switch::{self, SwitchError};
use crate::install::twin;
use crate::inventory::State;
use crate::inventory::link;
use crate::root::Root;
use crate::storage::atomic::{self, Durability};
use crate::storage::tree;

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

/// Finishes the switch of a member; nothing is moved when one of its files is neither here nor there (`Lost`), or may
/// come before a partition that is not installed yet (`Left`).
pub(super) fn forward(
    root: &Root,
    member: &Member,
    durability: Durability,
) -> Result<Step, SwitchError> {
    let waits = |part: &Part| part.pending.as_ref().is_some_and(|path| exists(root, path));
    let mut found = Vec::new();
    for part in &member.parts {
        let place = place(root, member, part)?;
        if place.is_none() && !waits(part) {
            return Ok(Step::Lost);
        }
        found.push(place);
    }
    // They are installed in this order: where the last one has its name, all have.
    let mut moved = member.parts.iter().zip(&found).rev();
    let last = moved.find(|(part, _)| part.partition || part.pending.is_some());
    if member.has_partition() && last.is_some_and(|(part, place)| part.partition || place.is_none())
    {
        return Ok(Step::Left);
    }
    let mut step = Step::Stood;
    for (part, place) in member.parts.iter().zip(found) {
        let target = place.as_ref().unwrap_or(&part.target);
        if let (None, Some(pending)) = (&place, &part.pending) {
            rename(root, pending, target, durability)?;
            step = Step::Moved;
        }
        if part.read_only {
            switch::seal(root, target, durability)?;
        }
        if let Some(LinkMove { path, .. }) = &part.link
            && lead(root, path, target, durability)?
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
        let Some(pending) = &part.pending else {
            continue;
        };
        if let Some(target) = place(root, member, part)? {
            if twin::of(root, &target).as_ref() == Some(pending) {
                return Err(SwitchError::Twin {
                    path: root.outer(&target),
                    other: root.outer(pending),
                });
            }
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

/// Whether there is something, and not what a power cut leaves of a renaming.
fn exists(root: &Root, path: &Path) -> bool {
    let Ok(stat) = root.stat(path) else {
        return false;
    };
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    let is_cut_off = || {
        let parent = path.parent().unwrap_or(Path::new("/"));
        root.directory(parent)
            .is_ok_and(|directory| directory.is_cut_off(stat.st_size.cast_unsigned()))
    };
    !(is_file && is_cut_off())
}

/// Where an installed part is: under the name that it was given, or with another boot counter, or none any more. An
/// error where nobody can tell, because `$BOOT` is not mounted.
fn place(root: &Root, member: &Member, part: &Part) -> Result<Option<PathBuf>, SwitchError> {
    let target = &part.target;
    if part.partition || exists(root, target) {
        return Ok(Some(target.clone()));
    }
    if !part.counted && !member.has_partition() {
        return Ok(None);
    }
    let parent = target.parent().unwrap_or(Path::new("/"));
    let entries = root.directory(parent).and_then(|opened| opened.entries());
    let entries = entries.map_err(|_| SwitchError::Absent {
        path: root.outer(parent),
    })?;
    let name = target.file_name().filter(|_| part.counted);
    let Some(entry) = name.and_then(without_counter) else {
        return Ok(None);
    };
    let same = entries.into_iter().filter(|other| {
        other.name == entry || without_counter(&other.name).as_ref() == Some(&entry)
    });
    let mut paths = same.map(|other| target.with_file_name(other.name));
    Ok(paths.find(|path| exists(root, path)))
}

/// The name of a boot entry without its counter, `+LEFT` or `+LEFT-DONE` before the suffix (UAPI.1, Boot Counting).
fn without_counter(name: &OsStr) -> Option<OsString> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (stem, suffix) = name.to_str()?.rsplit_once('.')?;
    let (stem, counter) = stem.rsplit_once('+')?;
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    (is_number(left) && is_number(done)).then(|| format!("{stem}.{suffix}").into())
}

fn rename(root: &Root, from: &Path, to: &Path, durability: Durability) -> Result<(), SwitchError> {
    let parent = from.parent().unwrap_or(Path::new("/"));
    let directory = atomic::create_directory(root, parent, durability)?;
    let (from, to) = (
        from.file_name().unwrap_or_default(),
        to.file_name().unwrap_or_default(),
    );
    // An unchangeable tree cannot be renamed either.
    tree::unseal(root, &directory, from)?;
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
