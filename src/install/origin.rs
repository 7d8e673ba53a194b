//! Where the bytes of an artifact come from: a server, or a file of this host.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::Executor;
use super::acquire::AcquireError;
use super::partial::Found;
use crate::definition::transfer as definition;
use crate::event::{Event, Reporter};
use crate::fetch::{self, Body, Cancel, FetchError, Range, Request, Response, Seams, Validators};
use crate::inventory::slots::Slot;
use crate::inventory::{Instance, Location};
use crate::metadata::Sha256;
use crate::plan::Step;

/// Progress is told at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Where an artifact is.
pub(super) enum Origin {
    /// On a server; its manifest names the digest.
    Remote {
        /// Its address.
        url: String,
        /// What the bytes must hash to.
        sha256: Sha256,
    },
    /// On this host, taken as it is (compat 2, B8.2).
    Local {
        /// The inner path.
        path: PathBuf,
        /// The outer path, for messages.
        name: String,
        /// When it was last modified, in microseconds since the epoch.
        modified: Option<u64>,
    },
}

impl Origin {
    pub(super) fn of(
        executor: &Executor<'_>,
        step: &Step<'_>,
        instance: &Instance,
    ) -> Result<Self, AcquireError> {
        match (step.transfer.source(), &instance.location) {
            (_, Location::Asset { url, .. }) => match instance.metadata.sha256 {
                Some(sha256) => Ok(Self::Remote {
                    url: url.clone(),
                    sha256,
                }),
                None => Err(AcquireError::NoDigest(url.clone())),
            },
            (definition::Source::Url(from), Location::Remote { name }) => {
                let url = fetch::url::join(&from.base, name)?;
                match instance.metadata.sha256 {
                    Some(sha256) => Ok(Self::Remote { url, sha256 }),
                    None => Err(AcquireError::NoDigest(url)),
                }
            }
            (_, Location::File { path, .. } | Location::Slot(Slot { path, .. })) => {
                Ok(Self::Local {
                    path: path.clone(),
                    name: executor.root.outer(path).display().to_string(),
                    modified: instance.metadata.mtime,
                })
            }
            (
                definition::Source::Directory(_) | definition::Source::Github(_),
                Location::Remote { name },
            ) => Err(AcquireError::NoDigest(name.clone())),
        }
    }

    /// URL or path, for messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Remote { url, .. } => url,
            Self::Local { name, .. } => name,
        }
    }
}

/// Bytes on their way in.
pub(super) struct Source {
    pub(super) reader: Box<dyn Read + Send>,
    /// Where in the whole they begin.
    pub(super) start: u64,
    /// How many they are, if that is known.
    pub(super) length: Option<u64>,
    /// When the whole was last modified, in microseconds since the epoch.
    pub(super) modified: Option<u64>,
    pub(super) validators: Option<Validators>,
    /// Whether the transport had to put the bytes together.
    pub(super) seams: Seams,
}

impl Source {
    /// Opens an origin; what was found of it already is not fetched again if the server can do that.
    pub(super) fn open(
        executor: &Executor<'_>,
        origin: &Origin,
        found: Option<&Found>,
    ) -> Result<Self, AcquireError> {
        match (origin, found) {
            (Origin::Remote { .. }, Some(found)) if found.is_whole => Ok(Self {
                reader: Box::new(io::empty()),
                start: found.length,
                length: Some(0),
                modified: found.mark.modified,
                validators: found.mark.validators.clone(),
                seams: Seams::default(),
            }),
            (Origin::Remote { url, .. }, Some(found)) => Self::rest(executor, url, found),
            (Origin::Remote { url, .. }, None) => Self::ask(executor, &Request::new(url)),
            (
                Origin::Local {
                    path,
                    name,
                    modified,
                },
                _,
            ) => Self::local(executor, path, *modified).map_err(|source| AcquireError::Read {
                from: name.clone(),
                source,
            }),
        }
    }

    /// What follows the beginning that was found, or everything where a server cannot send that.
    fn rest(executor: &Executor<'_>, url: &str, found: &Found) -> Result<Self, AcquireError> {
        // Another address may have other validators for the same bytes.
        let validators = found.mark.validators.as_ref();
        let validators = validators.filter(|_| found.mark.url == url);
        let range = Range {
            start: found.length,
            end: None,
        };
        let request = Request {
            url,
            validators,
            range: Some(range),
        };
        match Self::ask(executor, &request) {
            Err(AcquireError::Fetch(
                FetchError::OutOfRange { .. } | FetchError::WrongRange { .. },
            )) => Self::ask(executor, &Request::new(url)),
            other => other,
        }
    }

    fn ask(executor: &Executor<'_>, request: &Request<'_>) -> Result<Self, AcquireError> {
        match executor.fetch.open(request)? {
            Response::Body(Body {
                reader,
                length,
                part,
                modified,
                validators,
                seams,
                ..
            }) => Ok(Self {
                reader,
                start: part.map_or(0, |part| part.start),
                length,
                modified,
                validators,
                seams,
            }),
            // Nothing conditional was asked.
            Response::NotModified => Err(FetchError::Status {
                url: request.url.to_owned(),
                code: 304,
            }
            .into()),
        }
    }

    fn local(
        executor: &Executor<'_>,
        path: &std::path::Path,
        modified: Option<u64>,
    ) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::from(executor.root.open_with(path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self {
            reader: Box::new(file),
            start: 0,
            length: Some(metadata.len()),
            modified,
            validators: None,
            seams: Seams::default(),
        })
    }
}

/// Counts what passes, tells it, and stops when the user wants out.
pub(super) struct Counted<'a> {
    inner: Box<dyn Read + Send>,
    cancel: &'a Cancel,
    reporter: &'a dyn Reporter,
    name: &'a str,
    bytes: u64,
    told: Instant,
}

impl<'a> Counted<'a> {
    /// Takes the bytes of a source; `name` is what progress is told under.
    pub(super) fn new(executor: &Executor<'a>, source: &mut Source, name: &'a str) -> Self {
        Self {
            inner: std::mem::replace(&mut source.reader, Box::new(io::empty())),
            cancel: executor.cancel,
            reporter: executor.reporter,
            name,
            bytes: source.start,
            told: Instant::now(),
        }
    }
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
        if length == 0 || self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            self.reporter.report(&Event::TransferProgress {
                name: self.name,
                bytes: self.bytes,
            });
        }
        Ok(length)
    }
}
