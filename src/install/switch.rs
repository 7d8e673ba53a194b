//! The second pass for one transfer: what is pending gets its final name, the current symlink leads to it.

use std::io;
use std::path::{Path, PathBuf};

use super::{Executor, Verified, slot, tree};
use crate::definition::transfer::{Activation, Place, Source, Transfer};
use crate::fetch;
use crate::inventory::Location;
use crate::inventory::link::{self, LinkError, LinkState};
use crate::plan::{Action, Step};
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};
use crate::storage::disk::DiskError;
use crate::storage::tree as storage;
use crate::version::Version;

/// A transfer whose artifact, as its users see it, has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The transfer's id.
    pub transfer: String,
    /// The version that is seen now.
    pub version: String,
    /// The installed file's inner path.
    pub target: PathBuf,
    /// What is to happen then.
    pub activation: Activation,
    /// The inner path of the symlink that leads to it now, if the transfer has one.
    pub link: Option<PathBuf>,
}

/// A switch that failed.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The file system refused.
    #[error(transparent)]
    Storage(#[from] AtomicError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The link's place cannot be examined.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Something that is no symlink stands where the link belongs, or a symlink or a directory where the file belongs.
    #[error("'{}' is in the way and is left alone", path.display())]
    Occupied {
        /// Its outer path.
        path: PathBuf,
    },
    /// The directory of something that the machine is started with is not there, so nobody knows whether that is.
    #[error("directory '{}' is not there", path.display())]
    Absent {
        /// Its outer path.
        path: PathBuf,
    },
    /// Two names of one file, which a power cut has left on FAT: to rename one over the other would free its blocks.
    #[error("'{}' and '{}' share their blocks since a renaming was cut off", path.display(), other.display())]
    Twin {
        /// Its outer path.
        path: PathBuf,
        /// The outer path by the other name.
        other: PathBuf,
    },
}

impl SwitchError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Occupied { .. } => Some(
                "move it away, or choose another `CurrentSymlink=` or `MatchPattern=`; the next run goes on",
            ),
            Self::Absent { .. } => {
                Some("mount the file system that it lies on; the next run goes on")
            }
            Self::Twin { .. } => Some(
                "unmount the file system and run `fsck.vfat -a` on it, which parts them; the next run goes on",
            ),
            Self::Storage(_) | Self::Disk(_) | Self::Link(_) => None,
        }
    }
}

/// Gives a verified file its final name and moves the link. Returns what changed, if anything did.
///
/// # Errors
/// When the file system refuses; the artifact is then what it was, or the next run moves the link.
pub(super) fn install(
    executor: &Executor<'_>,
    version: &Version,
    step: &Step<'_>,
    verified: Option<Verified>,
) -> Result<Option<Moved>, SwitchError> {
    let root = executor.root;
    let renamed = verified.is_some();
    let path = match verified {
        None => {
            // A run that was cut off after its rename has left it changeable; its link is not moved yet.
            protect(executor, step, &step.path)?;
            step.path.clone()
        }
        Some(verified) => {
            let pending = verified.path();
            let path = match (step.transfer.target().place, &step.slot) {
                (Place::Slots(target), Some(slot)) => {
                    slot::install(executor, target, slot)?;
                    step.path.clone()
                }
                (place, _) => rename(executor, step, place, pending)?,
            };
            executor.say(format!(
                "Successfully installed {} as '{}' ({}).",
                describe(executor, step, pending),
                root.outer(&path).display(),
                step.transfer.target().place.word()
            ));
            path
        }
    };
    let link = point(executor, step.transfer, &path)?;
    let relinked = matches!(link, Some((_, Pointing::Moved)));
    // New bytes under a name that a link led to already are a change as well.
    Ok((relinked || renamed).then(|| Moved {
        transfer: step.transfer.id.clone(),
        version: version.to_string(),
        activation: step.transfer.activation.clone(),
        target: path,
        link: link.map(|(link, _)| link),
    }))
}

/// Gives what waits in a directory its final name.
fn rename(
    executor: &Executor<'_>,
    step: &Step<'_>,
    place: Place<'_>,
    pending: &Path,
) -> Result<PathBuf, SwitchError> {
    let Executor {
        root, durability, ..
    } = *executor;
    let parent = pending.parent().unwrap_or(Path::new("/"));
    let directory = atomic::create_directory(root, parent, durability)?;
    let (from, to) = (
        pending.file_name().unwrap_or_default(),
        step.path.file_name().unwrap_or_default(),
    );
    let path = directory.path().join(to);
    if matches!(directory.read_link(to), Ok(Some(_))) {
        // Some link of another's: a file must not take its place.
        return Err(SwitchError::Occupied {
            path: root.outer(&path),
        });
    }
    let Place::Trees(..) = place else {
        return match atomic::rename(root, &directory, from, to, durability) {
            // A directory of somebody's, which is not ours to remove.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(SwitchError::Occupied {
                    path: root.outer(&path),
                })
            }
            other => other.map(|()| path).map_err(SwitchError::from),
        };
    };
    // The original may have left its mark at one that waits, which could not be renamed then.
    storage::unseal(root, &directory, from)?;
    tree::forget(&directory, from);
    atomic::rename(root, &directory, from, to, durability)?;
    // Only now: what is immutable cannot be renamed.
    protect(executor, step, &path)?;
    Ok(path)
}

/// Makes an installed tree unchangeable, if it is to be.
fn protect(executor: &Executor<'_>, step: &Step<'_>, path: &Path) -> Result<(), SwitchError> {
    if !step.is_sealed() {
        return Ok(());
    }
    seal(executor.root, path, executor.durability)
}

/// Makes an installed tree unchangeable.
pub(crate) fn seal(root: &Root, path: &Path, durability: Durability) -> Result<(), SwitchError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let directory = atomic::create_directory(root, parent, durability)?;
    let name = path.file_name().unwrap_or_default();
    Ok(storage::seal(root, &directory, name, durability)?)
}

enum Pointing {
    Moved,
    Right,
}

/// Lets the current symlink lead to `path`; one that does is left as it is.
fn point(
    executor: &Executor<'_>,
    transfer: &Transfer,
    path: &Path,
) -> Result<Option<(PathBuf, Pointing)>, SwitchError> {
    let Executor {
        root, durability, ..
    } = *executor;
    let own = transfer.target();
    let Some(written) = own.link() else {
        return Ok(None);
    };
    let directory =
        atomic::create_directory(root, written.parent().unwrap_or(Path::new("/")), durability)?;
    let name = written.file_name().unwrap_or_default();
    let place = directory.path().join(name);
    match link::examine(root, own)?.map(|link| link.state) {
        Some(LinkState::To(destination)) if destination == path => {
            return Ok(Some((place, Pointing::Right)));
        }
        // Nobody looks through it, and it is not ours to say that somebody should again.
        Some(LinkState::Masked) => {
            executor.say(format!(
                "'{}' is masked (a link to /dev/null) and stays so.",
                root.outer(&place).display()
            ));
            return Ok(None);
        }
        Some(LinkState::Occupied) => {
            return Err(SwitchError::Occupied {
                path: root.outer(&place),
            });
        }
        _ => {}
    }
    let text = link::text(&place, path);
    atomic::replace_symlink(root, &directory, name, &text, durability)?;
    executor.say(format!(
        "Updated symlink '{}' → '{}'.",
        root.outer(&place).display(),
        text.display()
    ));
    Ok(Some((place, Pointing::Moved)))
}

/// Where an installed version came from, as the message names it.
fn describe(executor: &Executor<'_>, step: &Step<'_>, pending: &Path) -> String {
    let outer = |path: &Path| executor.root.outer(path).display().to_string();
    let Action::Acquire { source, .. } = &step.action else {
        let word = step.transfer.target().place.word();
        return format!("'{}' ({word})", outer(pending));
    };
    let from = match (&source.location, step.transfer.source()) {
        (Location::Asset { url, .. }, _) => url.clone(),
        (Location::Remote { name }, Source::Url(from)) => {
            fetch::url::join(&from.base, name).unwrap_or_else(|_| name.clone())
        }
        _ => outer(source.path().unwrap_or(pending)),
    };
    format!("'{from}' ({})", step.transfer.source_word())
}
