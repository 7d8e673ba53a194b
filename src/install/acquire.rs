//! The first pass for one transfer: bytes from the source into a pending file, verified and synced.
//!
//! Nothing gets the pending name that is not whole: the name is given by a rename after digest, metadata and sync.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps, XattrFlags};

use super::Executor;
use super::sink::{self, SinkError};
use crate::definition::transfer::{self as definition, BlobSource, UrlSource};
use crate::event::{Event, Reporter};
use crate::fetch::{self, Body, Cancel, FetchError, Request, Response};
use crate::inventory::{Instance, Location, Provenance, State};
use crate::metadata::{Metadata, Sha256};
use crate::plan::{Action, Step, source, target};
use crate::storage::atomic::{self, AtomicError};
use crate::unpack::Decoder;
use crate::verify::reader::{Hashing, Limited};

/// Nothing larger is fetched, packed or unpacked, in bytes (compat 2, B8.1).
const LARGEST: u64 = 64 << 30;
/// Progress is told at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

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
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Digest { .. } => Some(
                "the server and its manifest disagree; nothing was changed, and the next run tries again. \
                 If it stays so, tell the publisher",
            ),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or keep fewer versions with `InstancesMax=`")
            }
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
        Action::Acquire { source, metadata } => Some(acquire(executor, step, source, metadata)),
    }
}

/// The name under which `name` is written.
#[must_use]
pub fn partial_name(name: &OsStr) -> OsString {
    prefixed(State::Partial, name)
}

fn prefixed(state: State, name: &OsStr) -> OsString {
    let mut marked = OsString::from(state.prefix());
    marked.push(name);
    marked
}

fn acquire(
    executor: &Executor<'_>,
    step: &Step<'_>,
    instance: &Instance,
    metadata: &Metadata,
) -> Result<Verified, AcquireError> {
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
    let mut source = Source::open(executor, step, instance)?;
    let directory = atomic::create_directory(root, parent, durability)?;
    let partial = partial_name(name);
    let path = directory.path().join(&partial);
    let final_path = directory.path().join(name);
    executor.say(format!(
        "Acquiring {} → {}...",
        source.from,
        root.outer(&final_path).display()
    ));
    let file = atomic::create_file(root, &directory, &partial)?;
    let transfer = Transfer {
        executor,
        name: &name.to_string_lossy(),
        path: &path,
    };
    let received = transfer.receive(&mut source, &file);
    executor.reporter.report(&Event::TransferEnded {
        name: transfer.name,
    });
    match &received {
        // A full disk is worse than a second download.
        Err(AcquireError::Write { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
            atomic::remove(root, &directory, &partial)?;
        }
        // Nothing can be continued from it: the mark stays, the bytes go.
        Err(
            AcquireError::Digest { .. } | AcquireError::TooLarge { .. } | AcquireError::Read { .. },
        ) => {
            file.set_len(0).map_err(|source| AcquireError::Write {
                path: root.outer(&path),
                source,
            })?;
        }
        _ => {}
    }
    received?;
    describe(&file, metadata, step.transfer, &source).map_err(|source| AcquireError::Write {
        path: root.outer(&path),
        source,
    })?;
    atomic::sync_file(root, &file, &path, durability)?;
    let pending = prefixed(State::Pending, name);
    if !atomic::is_named(&file, &directory, &partial) {
        return Err(AcquireError::Replaced {
            path: root.outer(&path),
        });
    }
    atomic::rename(root, &directory, &partial, &pending, durability)?;
    executor.say(format!("Successfully acquired '{}'.", source.from));
    Ok(Verified {
        path: directory.path().join(pending),
    })
}

/// Bytes on their way in.
struct Source {
    /// URL or path, for messages.
    from: String,
    reader: Box<dyn Read + Send>,
    length: Option<u64>,
    /// What the bytes must hash to; local sources are taken as they are (compat 2, B8.2).
    expected: Option<Sha256>,
    /// When the source was last modified, in microseconds since the epoch.
    modified: Option<u64>,
    /// The URL, to be noted at the file.
    url: Option<String>,
    /// The entity-tag, likewise.
    etag: Option<String>,
}

impl Source {
    fn open(
        executor: &Executor<'_>,
        step: &Step<'_>,
        instance: &Instance,
    ) -> Result<Self, AcquireError> {
        match (source(step.transfer), &instance.location) {
            (BlobSource::Url(from), Location::Remote { name }) => {
                Self::remote(executor, from, name, instance)
            }
            (_, Location::File { path, .. }) => Self::local(executor, path, instance),
            (BlobSource::Directory(_), Location::Remote { name }) => {
                Err(AcquireError::NoDigest(name.clone()))
            }
        }
    }

    fn remote(
        executor: &Executor<'_>,
        source: &UrlSource,
        name: &str,
        instance: &Instance,
    ) -> Result<Self, AcquireError> {
        let url = fetch::url::join(&source.base, name)?;
        let expected = instance
            .metadata
            .sha256
            .ok_or_else(|| AcquireError::NoDigest(url.clone()))?;
        match executor.fetch.open(&Request::new(&url))? {
            Response::Body(Body {
                reader,
                length,
                modified,
                validators,
                ..
            }) => Ok(Self {
                from: url.clone(),
                reader,
                length,
                expected: Some(expected),
                modified,
                url: Some(url),
                etag: validators.and_then(|validators| validators.etag),
            }),
            // Nothing conditional was asked.
            Response::NotModified => Err(FetchError::Status { url, code: 304 }.into()),
        }
    }

    fn local(
        executor: &Executor<'_>,
        path: &Path,
        instance: &Instance,
    ) -> Result<Self, AcquireError> {
        let from = executor.root.outer(path).display().to_string();
        let failed = |source| AcquireError::Read {
            from: from.clone(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::from(
            executor
                .root
                .open_with(path, flags, Mode::empty())
                .map_err(failed)?,
        );
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let length = metadata.len();
        let reader = Box::new(file);
        let modified = instance.metadata.mtime;
        Ok(Self {
            from,
            reader,
            length: Some(length),
            expected: None,
            modified,
            url: None,
            etag: None,
        })
    }
}

/// One download.
struct Transfer<'a> {
    executor: &'a Executor<'a>,
    /// The name that progress is told under.
    name: &'a str,
    /// The staging file's inner path.
    path: &'a Path,
}

impl Transfer<'_> {
    /// Moves everything from the source into the file: counted, hashed as it comes, decompressed, written.
    fn receive(&self, source: &mut Source, file: &File) -> Result<(), AcquireError> {
        let reporter = self.executor.reporter;
        if source.length.is_some_and(|length| length > LARGEST) {
            return Err(AcquireError::Announced {
                from: source.from.clone(),
            });
        }
        reporter.report(&Event::TransferStarted {
            name: self.name,
            total: source.length,
        });
        let body = std::mem::replace(&mut source.reader, Box::new(io::empty()));
        let cancel = self.executor.cancel;
        let counted = Counted {
            inner: body,
            cancel,
            reporter,
            name: self.name,
            bytes: 0,
            told: Instant::now(),
        };
        let packed = Hashing::new(Limited::new(counted, LARGEST));
        let mut decoder =
            Decoder::new(packed).map_err(|error| Self::read_error(&source.from, error))?;
        let filled =
            sink::fill(file, &mut decoder, source.length, LARGEST).map_err(|error| match error {
                SinkError::Read(error) => Self::read_error(&source.from, error),
                SinkError::Write(error) => self.write_error(error),
                SinkError::TooLarge => AcquireError::TooLarge {
                    from: source.from.clone(),
                },
            });
        let drained = match &filled {
            // Damaged data may be the publisher's own, or not the publisher's at all: the digest of it all tells.
            Ok(()) | Err(AcquireError::Read { .. }) => decoder.finish(),
            Err(_) => return filled,
        };
        match (drained.map(Hashing::finish), source.expected) {
            (Ok(actual), Some(expected)) if actual != expected => Err(AcquireError::Digest {
                url: source.from.clone(),
                expected,
                actual,
            }),
            (Err(error), _) => filled.and(Err(Self::read_error(&source.from, error))),
            (Ok(_), _) => filled,
        }
    }

    fn read_error(from: &str, error: io::Error) -> AcquireError {
        match FetchError::from_io(error) {
            Ok(error) => error.into(),
            Err(source) => AcquireError::Read {
                from: from.to_owned(),
                source,
            },
        }
    }

    fn write_error(&self, source: io::Error) -> AcquireError {
        AcquireError::Write {
            path: self.executor.root.outer(self.path),
            source,
        }
    }
}

/// Sets mode and modification time, and notes where the file came from (compat 2, B8.4).
fn describe(
    file: &File,
    metadata: &Metadata,
    transfer: &definition::Transfer,
    source: &Source,
) -> io::Result<()> {
    let mode = metadata.mode.unwrap_or(0o644);
    let read_only = target(transfer).overrides.read_only.or(metadata.read_only) == Some(true);
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
    if let Some(url) = &source.url {
        note("user.source_url", url);
    }
    if let Some(etag) = &source.etag {
        note("user.source_etag", etag);
    }
    if let Some(sha256) = source.expected {
        let provenance = Provenance {
            sha256,
            verification: transfer.verification,
        };
        note(Provenance::ATTRIBUTE, &provenance.to_string());
    }
    Ok(())
}

/// Counts what passes, tells it, and stops when the user wants out.
struct Counted<'a> {
    inner: Box<dyn Read + Send>,
    cancel: &'a Cancel,
    reporter: &'a dyn Reporter,
    name: &'a str,
    bytes: u64,
    told: Instant,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(FetchError::Cancelled {
                url: self.name.to_owned(),
            }
            .into());
        }
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        if self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            self.reporter.report(&Event::TransferProgress {
                name: self.name,
                bytes: self.bytes,
            });
        }
        Ok(length)
    }
}
