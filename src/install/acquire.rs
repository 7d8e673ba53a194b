//! The first pass for one transfer: bytes from the source into a pending file, verified and synced.
//!
//! Nothing gets the pending name that is not whole: the name is given by a rename after digest, metadata and sync.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, Timespec, Timestamps, XattrFlags};

use super::Executor;
use super::origin::{Origin, Source};
use super::partial::{self, Found, Mark, Slate};
use super::sink::{self, Shape, SinkError};
use super::stream::{Failure, Pour, persist, read_error};
use super::tree::{self, ArchiveError, CopyError};
use super::{slot, space};
use crate::definition::transfer as definition;
use crate::definition::transfer::Place;
use crate::event::Event;
use crate::fetch::FetchError;
use crate::inventory::{Instance, Provenance, State};
use crate::metadata::{Metadata, Sha256};
use crate::plan::{Action, Step};
use crate::root::Directory;
use crate::storage::atomic::{self, AtomicError};
use crate::storage::disk::DiskError;
use crate::verify::reader::Hashing;

/// Nothing larger is fetched, packed or unpacked, in bytes (compat 2, B8.1).
pub(super) const LARGEST: u64 = 64 << 30;

/// A file that is whole, checked against its manifest (or marked so by the run that checked it), and waits under its
/// pending name. Only this module makes one; installation accepts nothing else.
#[derive(Debug)]
pub struct Verified {
    /// Its inner path.
    path: PathBuf,
}

impl Verified {
    /// The inner path of the pending file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// One artifact could not be acquired.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// The source did not deliver.
    #[error("Failed to retrieve image file.{}", if .0.is_not_found() { " (Wrong URL?)" } else { "" })]
    Fetch(#[source] FetchError),
    /// The source announces more than is ever fetched.
    #[error("Content too large. ('{from}' is announced with more than 64 GiB)")]
    Announced {
        /// URL or path.
        from: String,
    },
    /// More comes than is ever fetched.
    #[error("File overly large, refusing. ('{from}' has more than 64 GiB)")]
    TooLarge {
        /// URL or path.
        from: String,
    },
    /// It grows beyond what the disk can hold while it is unpacked.
    #[error(
        "File overly large, refusing. ('{from}' unpacks to more than the {limit} bytes that are free)"
    )]
    Bomb {
        /// URL or path.
        from: String,
        /// What is free, less a reserve.
        limit: u64,
    },
    /// What arrived is not what the manifest names.
    #[error(
        "Checksum of downloaded resource does not match expected checksum, yikes. ('{url}' has SHA-256 {actual}, its \
         manifest says {expected})"
    )]
    Digest {
        /// Where it came from.
        url: String,
        /// What the manifest says.
        expected: Sha256,
        /// What arrived.
        actual: Sha256,
    },
    /// The manifest names no digest, so nothing can be verified.
    #[error("'{0}' has no SHA-256 in its manifest")]
    NoDigest(String),
    /// The source file cannot be read.
    #[error("cannot read '{from}'")]
    Read {
        /// URL or path.
        from: String,
        /// The cause.
        source: io::Error,
    },
    /// The staging file cannot be written.
    #[error("cannot write '{}'", path.display())]
    Write {
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Somebody else has put another file in the place of the staging file.
    #[error("'{}' was replaced while it was written", path.display())]
    Replaced {
        /// Its outer path.
        path: PathBuf,
    },
    /// The partition is smaller than what is to be written to it.
    #[error("'{from}' does not fit into '{}', which has {size} bytes", path.display())]
    SlotTooSmall {
        /// URL or path.
        from: String,
        /// The partition's outer path.
        path: PathBuf,
        /// The partition's size, in bytes.
        size: u64,
    },
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An archive cannot be unpacked.
    #[error("cannot unpack '{from}'")]
    Unpack {
        /// URL or path.
        from: String,
        /// The cause.
        source: ArchiveError,
    },
    /// A directory cannot be copied.
    #[error("cannot copy '{from}'")]
    Copy {
        /// Its outer path.
        from: String,
        /// The cause.
        source: CopyError,
    },
    /// A step on the file system failed.
    #[error(transparent)]
    Storage(#[from] AtomicError),
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
}

impl From<FetchError> for AcquireError {
    fn from(error: FetchError) -> Self {
        if error.is_cancelled() {
            Self::Cancelled
        } else {
            Self::Fetch(error)
        }
    }
}

impl AcquireError {
    /// Whether it comes from putting together what does not belong together. A digest may be wrong anyway, unless
    /// something was pieced together.
    pub(super) fn is_of_a_seam(&self, is_pieced: bool) -> bool {
        match self {
            Self::Digest { .. } => is_pieced,
            Self::Fetch(error) => matches!(
                error,
                FetchError::Changed { .. }
                    | FetchError::OutOfRange { .. }
                    | FetchError::WrongRange { .. }
            ),
            _ => false,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Digest { .. } => Some(
                "the server and its manifest disagree; nothing was changed, and the next run tries again. \
                 If it stays so, tell the publisher",
            ),
            Self::SlotTooSmall { .. } => Some(
                "nothing was written; make the partitions larger (systemd-repart(8) grows them), or publish smaller images",
            ),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or keep fewer versions with `InstancesMax=`")
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => Some(
                "the file system of the target has no file of that size (FAT ends at 4 GiB); nothing was changed",
            ),
            _ => None,
        }
    }
}

/// Makes one part of a version ready for installation; `None` when it stands already.
pub(super) fn step(
    executor: &Executor<'_>,
    step: &Step<'_>,
) -> Option<Result<Verified, AcquireError>> {
    match &step.action {
        Action::Keep => None,
        // Whoever gave it the pending name had verified and synced it first.
        Action::Install(path) => Some(Ok(Verified {
            path: path.to_path_buf(),
        })),
        Action::Acquire { source, metadata } => {
            let path = match (step.transfer.target().place, &step.slot) {
                (Place::Slots(target), Some(slot)) => {
                    slot::acquire(executor, step, target, slot, source, metadata)
                }
                (Place::Trees(_, kind), _) => tree::acquire(executor, step, kind, source),
                _ => acquire(executor, step, source, metadata),
            };
            Some(path.map(|path| Verified { path }))
        }
    }
}

/// The name under which `name` is written.
#[must_use]
pub fn partial_name(name: &OsStr) -> OsString {
    prefixed(State::Partial, name)
}

pub(super) fn prefixed(state: State, name: &OsStr) -> OsString {
    let mut marked = OsString::from(state.prefix());
    marked.push(name);
    marked
}

/// Fetches one artifact: what is left of a download that was cut off first, and all of it when that does not fit.
fn acquire(
    executor: &Executor<'_>,
    step: &Step<'_>,
    instance: &Instance,
    metadata: &Metadata,
) -> Result<PathBuf, AcquireError> {
    let Executor {
        root, durability, ..
    } = *executor;
    let (Some(parent), Some(name)) = (step.path.parent(), step.path.file_name()) else {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(AcquireError::Write {
            path: root.outer(&step.path),
            source,
        });
    };
    let origin = Origin::of(executor, step, instance)?;
    let partial = partial_name(name);
    let transfer = Transfer {
        executor,
        origin: &origin,
        parent,
        name,
        partial: &partial,
    };
    let found = transfer.begun();
    let Received {
        file,
        directory,
        source,
    } = persist(
        executor,
        &origin,
        found,
        |found| transfer.attempt(found),
        || transfer.begun(),
    )?;
    let path = directory.path().join(&partial);
    describe(&file, metadata, step.transfer, &origin, &source).map_err(|source| {
        AcquireError::Write {
            path: root.outer(&path),
            source,
        }
    })?;
    partial::settle(root, &directory, &partial, &file, durability)?;
    Mark::remove(&file, Slate::new(root, &path));
    let pending = prefixed(State::Pending, name);
    if !atomic::is_named(&file, &directory, &partial) {
        return Err(AcquireError::Replaced {
            path: root.outer(&path),
        });
    }
    atomic::rename(root, &directory, &partial, &pending, durability)?;
    executor.say(format!("Successfully acquired '{}'.", origin.name()));
    Ok(directory.path().join(pending))
}

/// The way of one artifact into its partial file.
struct Transfer<'a> {
    executor: &'a Executor<'a>,
    origin: &'a Origin,
    /// The inner path of the target's directory.
    parent: &'a Path,
    /// The target's name, and what progress is told under.
    name: &'a OsStr,
    /// The partial file's name.
    partial: &'a OsStr,
}

/// All bytes are in the file, and are the right ones.
struct Received {
    file: File,
    directory: Directory,
    source: Source,
}

impl Transfer<'_> {
    /// What has come of it by now.
    fn begun(&self) -> Option<Found> {
        let Executor { root, cancel, .. } = *self.executor;
        let Origin::Remote { sha256, .. } = self.origin else {
            return None;
        };
        let directory = root.directory(self.parent).ok()?;
        partial::find(root, &directory, self.partial, *sha256, cancel)
    }

    /// Fetches what is missing.
    fn attempt(&self, found: Option<Found>) -> Result<Received, Failure> {
        let mut is_pieced = found.is_some();
        self.fetch(found, &mut is_pieced)
            .map_err(|error| Failure { error, is_pieced })
    }

    fn fetch(&self, found: Option<Found>, is_pieced: &mut bool) -> Result<Received, AcquireError> {
        let Executor {
            root, durability, ..
        } = *self.executor;
        let mut source = Source::open(self.executor, self.origin, found.as_ref())?;
        let directory = atomic::create_directory(root, self.parent, durability)?;
        let target = root.outer(&directory.path().join(self.name));
        if let Some(found) = &found
            && found.is_whole
        {
            let file = found.file.try_clone();
            self.executor
                .say(format!("{} is here already.", self.origin.name()));
            return Ok(Received {
                file: file.map_err(|source| self.write_error(source))?,
                directory,
                source,
            });
        }
        let (file, digest) = if let Some(found) = found.filter(|_| source.start > 0) {
            self.executor.say(format!(
                "Resuming {} at byte {} → {}...",
                self.origin.name(),
                source.start,
                target.display()
            ));
            (found.file, found.digest)
        } else {
            // Nothing was found, or the server sends everything although only the rest was asked for.
            *is_pieced = false;
            self.executor.say(format!(
                "Acquiring {} → {}...",
                self.origin.name(),
                target.display()
            ));
            let file = atomic::create_file(root, &directory, self.partial)?;
            (file, Hashing::new(io::empty()))
        };
        let name = self.name.to_string_lossy();
        let received = self.receive(&mut source, &file, &directory, digest);
        *is_pieced |= source.seams.any();
        self.executor
            .reporter
            .report(&Event::TransferEnded { name: &name });
        let path = directory.path().join(self.partial);
        match received {
            Ok(()) => Ok(Received {
                file,
                directory,
                source,
            }),
            Err(error) => {
                self.leave(&error, &file, &directory, &path)?;
                Err(error)
            }
        }
    }

    /// Leaves what can be gone on with, and no more.
    fn leave(
        &self,
        error: &AcquireError,
        file: &File,
        directory: &Directory,
        path: &Path,
    ) -> Result<(), AcquireError> {
        let root = self.executor.root;
        match error {
            // A full disk is worse than a second download, and what is too large cannot be gone on with.
            AcquireError::Write { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge
                ) =>
            {
                atomic::remove(root, directory, self.partial)?;
            }
            // Nothing can be continued from it: the name stays, the bytes go.
            AcquireError::Digest { .. }
            | AcquireError::TooLarge { .. }
            | AcquireError::Bomb { .. }
            | AcquireError::Read { .. } => {
                Mark::remove(file, Slate::new(root, path));
                file.set_len(0).map_err(|source| AcquireError::Write {
                    path: root.outer(path),
                    source,
                })?;
            }
            AcquireError::Fetch(_) | AcquireError::Cancelled => {
                let durability = self.executor.durability;
                partial::settle(root, directory, self.partial, file, durability)?;
                Mark::settle(file, Slate::new(root, path));
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves everything from the source into the file.
    fn receive(
        &self,
        source: &mut Source,
        file: &File,
        directory: &Directory,
        digest: Hashing<io::Empty>,
    ) -> Result<(), AcquireError> {
        let from = self.origin.name();
        let (start, length) = (source.start, source.length);
        let (validators, modified) = (source.validators.clone(), source.modified);
        let name = self.name.to_string_lossy();
        let pour = Pour {
            executor: self.executor,
            origin: self.origin,
            name: &name,
        };
        pour.run(source, digest, |stream| {
            // Of what is unpacked on its way, the file is no beginning.
            if let Origin::Remote { url, sha256 } = self.origin
                && stream.is_plain()
            {
                let path = directory.path().join(self.partial);
                let slate = Slate::new(self.executor.root, &path);
                Mark::new(*sha256, url, validators, modified).put(file, slate);
            }
            let largest = LARGEST - start;
            // Zeros take no room, and may be packed to next to nothing: they alone could go on for ever.
            let limit = if stream.is_plain() {
                largest
            } else {
                let free = space::free_beside(file).map_err(|error| self.write_error(error))?;
                largest.min(free)
            };
            let shape = Shape::Sparse { start };
            let filled = sink::fill(file, shape, stream, length, limit);
            filled.map(drop).map_err(|error| match error {
                SinkError::Read(error) => read_error(from, error),
                SinkError::Write(error) => self.write_error(error),
                SinkError::TooLarge if limit < largest => AcquireError::Bomb {
                    from: from.to_owned(),
                    limit,
                },
                SinkError::TooLarge => AcquireError::TooLarge {
                    from: from.to_owned(),
                },
            })
        })
    }

    fn write_error(&self, source: io::Error) -> AcquireError {
        AcquireError::Write {
            path: self.executor.root.outer(&self.parent.join(self.partial)),
            source,
        }
    }
}

/// Sets mode and modification time, and notes where the file came from (compat 2, B8.4).
fn describe(
    file: &File,
    metadata: &Metadata,
    transfer: &definition::Transfer,
    origin: &Origin,
    source: &Source,
) -> io::Result<()> {
    let mode = metadata.mode.unwrap_or(0o644);
    let read_only = metadata.read_only == Some(true);
    rustix::fs::fchmod(
        file,
        Mode::from_raw_mode(if read_only { mode & !0o222 } else { mode }),
    )?;
    if let Some(modified) = metadata.mtime.or(source.modified) {
        let stamp = Timespec {
            tv_sec: i64::try_from(modified / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(modified % 1_000_000 * 1000).unwrap_or_default(),
        };
        rustix::fs::futimens(
            file,
            &Timestamps {
                last_access: stamp,
                last_modification: stamp,
            },
        )?;
    }
    // Courtesies that not every file system offers.
    let note = |name: &str, text: &str| {
        let _ = rustix::fs::fsetxattr(file, name, text.as_bytes(), XattrFlags::empty());
    };
    if let Origin::Remote { url, sha256 } = origin {
        note("user.source_url", url);
        let validators = source.validators.as_ref();
        if let Some(etag) = validators.and_then(|validators| validators.etag.as_ref()) {
            note("user.source_etag", etag);
        }
        let provenance = Provenance {
            sha256: *sha256,
            verification: transfer.verification,
        };
        note(Provenance::ATTRIBUTE, &provenance.to_string());
    }
    Ok(())
}
