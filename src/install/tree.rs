//! The way of a tree of files into a directory: unpacked from an archive, or copied from another directory.
//!
//! All of it is written below the partial name, which a run that is cut off leaves behind and the next one begins anew:
//! what is half there cannot be told from what is whole, and nothing else may look at it.

pub mod archive;
pub mod copy;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;

use super::Executor;
use super::acquire::{AcquireError, partial_name, prefixed};
use super::origin::{Origin, Source};
use super::space;
use super::stream::{Failure, Pour, persist, read_error};
use crate::definition::transfer::TreeKind;
use crate::event::Event;
use crate::inventory::{Instance, Provenance, State};
use crate::plan::Step;
use crate::root::Directory;
use crate::storage::atomic;
use crate::storage::tree::{self, TreeWriter};
use crate::verify::reader::Hashing;

pub use self::archive::ArchiveError;
pub use self::copy::CopyError;

/// Fetches one tree, which has the pending name then.
pub(super) fn acquire(
    executor: &Executor<'_>,
    step: &Step<'_>,
    kind: TreeKind,
    instance: &Instance,
) -> Result<PathBuf, AcquireError> {
    let Executor {
        root, durability, ..
    } = *executor;
    let (parent, name) = (step.path.parent(), step.path.file_name());
    let (Some(parent), Some(name)) = (parent, name) else {
        return Err(AcquireError::Write {
            path: root.outer(&step.path),
            source: io::Error::from(io::ErrorKind::InvalidInput),
        });
    };
    let growing = Growing {
        executor,
        step,
        origin: &Origin::of(executor, step, instance)?,
        kind,
        parent,
        name,
    };
    let grown = persist(
        executor,
        growing.origin,
        None,
        |_| growing.attempt(),
        || None,
    )?;
    note(&grown.top, step, growing.origin);
    tree::sync(root, &grown.top, durability)?;
    let (partial, pending) = (partial_name(name), prefixed(State::Pending, name));
    // An older tree by that name is one that is not wanted any more: a directory cannot be renamed over it.
    tree::remove(root, &grown.directory, &pending)?;
    atomic::rename(root, &grown.directory, &partial, &pending, durability)?;
    executor.say(format!(
        "Successfully acquired '{}'.",
        growing.origin.name()
    ));
    Ok(grown.directory.path().join(pending))
}

/// Notes where a tree came from, until it is installed. A courtesy that not every file system offers.
fn note(top: &Directory, step: &Step<'_>, origin: &Origin) {
    if let Origin::Remote { sha256, .. } = origin {
        let provenance = Provenance {
            sha256: *sha256,
            verification: step.transfer.verification,
        };
        let text = provenance.to_string();
        let flags = XattrFlags::empty();
        let _ = rustix::fs::fsetxattr(top, Provenance::ATTRIBUTE, text.as_bytes(), flags);
    }
}

/// Takes the note back: an installed tree is what its publisher has made of it.
pub(super) fn forget(directory: &Directory, name: &OsStr) {
    if let Ok(top) = directory.subdirectory(name) {
        let _ = rustix::fs::fremovexattr(&top, Provenance::ATTRIBUTE);
    }
}

/// A whole tree, and the directory that it is in.
struct Grown {
    directory: Directory,
    top: Directory,
}

struct Growing<'a> {
    executor: &'a Executor<'a>,
    step: &'a Step<'a>,
    origin: &'a Origin,
    kind: TreeKind,
    /// The inner path of the target's directory.
    parent: &'a Path,
    name: &'a OsStr,
}

impl Growing<'_> {
    fn attempt(&self) -> Result<Grown, Failure> {
        let mut is_pieced = false;
        self.grow(&mut is_pieced)
            .map_err(|error| Failure { error, is_pieced })
    }

    fn grow(&self, is_pieced: &mut bool) -> Result<Grown, AcquireError> {
        let Executor {
            root, durability, ..
        } = *self.executor;
        // Before anything of the last attempt is thrown away.
        let mut source = match (self.origin, self.step.transfer.copies_trees()) {
            (Origin::Local { .. }, true) => None,
            _ => Some(Source::open(self.executor, self.origin, None)?),
        };
        let directory = atomic::create_directory(root, self.parent, durability)?;
        let partial = partial_name(self.name);
        tree::remove(root, &directory, &partial)?;
        self.executor.say(format!(
            "Acquiring {} → {}...",
            self.origin.name(),
            root.outer(&directory.path().join(self.name)).display()
        ));
        let is_subvolume = self.kind == TreeKind::Subvolume;
        let top = tree::create(root, &directory, &partial, is_subvolume)?;
        let room = self.room(&top)?;
        let mut writer = TreeWriter::new(root, top, room);
        let name = self.name.to_string_lossy();
        let written = match &mut source {
            Some(source) => {
                let written = self.unpack(source, &mut writer, &name);
                *is_pieced |= source.seams.any();
                written
            }
            None => self.copy(&mut writer),
        };
        self.executor
            .reporter
            .report(&Event::TransferEnded { name: &name });
        // compat: of what a source's name says, trees take nothing; they bring their modes and times along.
        let mode = self.step.transfer.target().overrides.mode;
        let finished = written.and_then(|()| {
            writer.finish(mode).map_err(|source| AcquireError::Unpack {
                from: self.origin.name().to_owned(),
                source: source.into(),
            })
        });
        match finished {
            Ok(top) => Ok(Grown { directory, top }),
            Err(error) => {
                // The name stays, so that it is seen that something went wrong; what cannot be gone on with goes.
                self.clear(&directory, &partial);
                Err(error)
            }
        }
    }

    fn unpack(
        &self,
        source: &mut Source,
        writer: &mut TreeWriter,
        name: &str,
    ) -> Result<(), AcquireError> {
        let pour = Pour {
            executor: self.executor,
            origin: self.origin,
            name,
        };
        let from = self.origin.name();
        pour.run(source, Hashing::new(io::empty()), |stream| {
            archive::unpack(stream, writer).map_err(|error| match error {
                ArchiveError::Read(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    AcquireError::TooLarge {
                        from: from.to_owned(),
                    }
                }
                ArchiveError::Read(error) => read_error(from, error),
                source => AcquireError::Unpack {
                    from: from.to_owned(),
                    source,
                },
            })
        })
    }

    fn copy(&self, writer: &mut TreeWriter) -> Result<(), AcquireError> {
        let from = self.origin.name().to_owned();
        let failed = |source| match source {
            CopyError::Cancelled => AcquireError::Cancelled,
            source => AcquireError::Copy {
                from: from.clone(),
                source,
            },
        };
        let Origin::Local { path, .. } = self.origin else {
            return Err(AcquireError::NoDigest(from));
        };
        let opened = self.executor.root.directory(path);
        let opened = opened.map_err(|source| {
            failed(CopyError::Read {
                path: path.clone(),
                source,
            })
        })?;
        copy::copy(&opened, writer, self.executor.cancel).map_err(failed)
    }

    /// So many bytes may be written.
    fn room(&self, top: &Directory) -> Result<u64, AcquireError> {
        space::free_in(top).map_err(|source| AcquireError::Write {
            path: self.executor.root.outer(top.path()),
            source,
        })
    }

    /// Empties what was begun.
    fn clear(&self, directory: &Directory, partial: &OsStr) {
        let root = self.executor.root;
        let emptied = tree::remove(root, directory, partial);
        if emptied.is_ok() {
            let _ = tree::create(root, directory, partial, false);
        }
    }
}
