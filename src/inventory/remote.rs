//! Instances that an authenticated manifest names.
//!
//! A manifest is fetched once per URL and run, and only in full when it has changed since the last run.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cache::{Cache, Document};
use super::{Instance, Location, State};
use crate::definition::transfer::{UrlSource, Verification};
use crate::event::{Event, Reporter, Severity};
use crate::fetch::{self, Fetch, FetchError, Request, Response, Validators};
use crate::unpack::{Decoder, Format};
use crate::verify::keyring::{self, KeyringError};
use crate::verify::manifest::{Finding, Manifest, ManifestError, PastMarker};
use crate::verify::openpgp::{self, Keyring, OpenPgpError};
use crate::verify::reader::Limited;

/// The largest manifest that is read, packed or unpacked, in bytes.
pub const MANIFEST_LIMIT: u64 = 64 * 1024 * 1024;
/// The largest signature file that is read, in bytes.
pub const SIGNATURE_LIMIT: u64 = 1024 * 1024;
/// How long a cached manifest is asked about before it is fetched in full again, in seconds.
const CACHE_LIFE: i64 = 24 * 60 * 60;
/// Where a signature is looked for, in this order (compat 2, B7.2).
const SIGNATURE_SUFFIXES: [&str; 4] = [".sha256.asc", ".sha256.gpg", ".gpg", ".asc"];

/// Why a source cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The manifest cannot be fetched.
    #[error("cannot fetch the manifest: Failed to retrieve image file.{}", if .0.is_not_found() { " (Wrong URL?)" } else { "" })]
    Fetch(#[source] FetchError),
    /// The manifest is too large, packed or unpacked.
    #[error(
        "Failed to read manifest file from child: Argument list too long ('{0}' is larger than 64 MiB)"
    )]
    TooLarge(String),
    /// The manifest breaks off, cannot be unpacked, or is too large.
    #[error("cannot read the manifest '{url}'")]
    Read {
        /// Its URL.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// No signature file exists, or it cannot be fetched.
    #[error("Failed to retrieve signature file, cannot verify. (Try --verify=no?)")]
    NoSignature(#[source] FetchError),
    /// The signature file breaks off or is too large.
    #[error("Failed to retrieve signature file, cannot verify. (Try --verify=no?)")]
    ReadSignature(#[source] io::Error),
    /// There is nothing to verify signatures with.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The signature does not hold.
    #[error("cannot trust the manifest '{url}'")]
    Signature {
        /// Its URL.
        url: String,
        /// The cause.
        source: OpenPgpError,
    },
    /// The manifest's text is malformed.
    #[error("cannot use the manifest '{url}'")]
    Manifest {
        /// Its URL.
        url: String,
        /// The cause.
        source: ManifestError,
    },
    /// The manifest says itself that it has expired.
    #[error(transparent)]
    Stale(#[from] PastMarker),
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
}

impl RemoteError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSignature(error) if error.is_not_found() => Some(
                "looked for beside the manifest: .sha256.asc, .sha256.gpg, .gpg, .asc. If the publisher signs nothing, \
                 `Verify=no` in the definition (native: `verify = \"none\"`) accepts the manifest unauthenticated",
            ),
            Self::Stale(_) => {
                Some("the publisher has not renewed the manifest; ask, or check this host's clock")
            }
            Self::Fetch(_) => {
                Some("nothing was changed; `--offline` works with what is on this host")
            }
            Self::Cancelled => Some("nothing was changed; the next run resumes with what is here"),
            Self::Keyring(_) => Some(
                "install the publisher's key: `gpg --export KEY > /etc/systemd/import-pubring.pgp`",
            ),
            _ => None,
        }
    }
}

/// Whether a manifest past its `BEST-BEFORE` marker is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// It is.
    #[default]
    Enforced,
    /// It is used with a warning (`SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS=0`).
    Ignored,
}

/// How manifests are judged.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Replaces the system's keyrings.
    pub keyring: Option<PathBuf>,
    /// See [`Freshness`].
    pub freshness: Freshness,
    /// The present.
    pub now: Timestamp,
    /// How times are shown; finding that out reads files, so it is left until a time is shown.
    pub zone: fn() -> TimeZone,
}

/// The manifests of a run.
pub struct Manifests<'a> {
    fetch: &'a dyn Fetch,
    cache: Cache<'a>,
    policy: Policy,
    reporter: &'a dyn Reporter,
    keyring: Mutex<Option<Arc<Keyring>>>,
    seen: Mutex<HashMap<Key, Arc<Manifest>>>,
}

type Key = (String, String, Verification);

impl<'a> Manifests<'a> {
    /// Prepares for a run; nothing is fetched yet.
    #[must_use]
    pub fn new(
        fetch: &'a dyn Fetch,
        cache: Cache<'a>,
        policy: Policy,
        reporter: &'a dyn Reporter,
    ) -> Self {
        Self {
            fetch,
            cache,
            policy,
            reporter,
            keyring: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// All instances that a source offers, in the order of its manifest.
    ///
    /// # Errors
    /// When the manifest cannot be fetched or must not be trusted.
    pub fn list(
        &self,
        source: &UrlSource,
        verification: Verification,
    ) -> Result<Vec<Instance>, RemoteError> {
        let manifest = self.obtain(source, verification)?;
        let mut instances = Vec::new();
        for entry in manifest.entries() {
            let Some(mut metadata) = source.patterns.match_path(entry.name).metadata else {
                continue;
            };
            if is_unfinished(entry.name) {
                continue;
            }
            entry
                .confirm(metadata.sha256)
                .map_err(|error| RemoteError::Manifest {
                    url: format!("{}/{}", source.base.trim_end_matches('/'), source.manifest),
                    source: error,
                })?;
            metadata.sha256 = Some(entry.sha256);
            let location = Location::Remote {
                name: entry.name.to_owned(),
            };
            instances.push(Instance {
                metadata,
                location,
                state: State::Complete,
                provenance: None,
            });
        }
        Ok(instances)
    }

    fn obtain(
        &self,
        source: &UrlSource,
        verification: Verification,
    ) -> Result<Arc<Manifest>, RemoteError> {
        let key = (source.base.clone(), source.manifest.clone(), verification);
        if let Some(manifest) = lock(&self.seen).get(&key) {
            return Ok(Arc::clone(manifest));
        }
        let url = fetch::url::join(&source.base, &source.manifest).map_err(RemoteError::Fetch)?;
        self.say(Severity::Debug, format!("Acquiring manifest file {url}…"));
        let document = match self
            .cache
            .load(&url)
            .filter(|cached| self.is_recent(cached))
        {
            Some(cached) => self.revalidated(&url, cached, verification)?,
            None => self.fresh(&url, verification)?,
        };
        let manifest = Manifest::parse(document).map_err(|source| RemoteError::Manifest {
            url: url.clone(),
            source,
        })?;
        self.check_freshness(&manifest)?;
        let manifest = Arc::new(manifest);
        lock(&self.seen).insert(key, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Asks whether the cached document still is the server's. One that fails its verification although it is
    /// unchanged (the key, or the signature alone, was replaced) is fetched again in full.
    fn revalidated(
        &self,
        url: &str,
        cached: Document,
        verification: Verification,
    ) -> Result<Vec<u8>, RemoteError> {
        let request = Request {
            url,
            validators: Some(&cached.validators),
            range: None,
        };
        match self.fetch.open(&request).map_err(fetch_error)? {
            Response::Body(body) => self.complete(url, body, verification),
            Response::NotModified => {
                self.say(Severity::Debug, format!("{url} is unchanged."));
                match (verification, &cached.signature) {
                    (Verification::Skip, _) => Ok(cached.manifest),
                    (Verification::OpenPgp, Some(signature)) => {
                        match self.verify(url, &cached.manifest, signature) {
                            Ok(()) => Ok(cached.manifest),
                            Err(_) => self.fresh(url, verification),
                        }
                    }
                    (Verification::OpenPgp, None) => self.fresh(url, verification),
                }
            }
        }
    }

    fn fresh(&self, url: &str, verification: Verification) -> Result<Vec<u8>, RemoteError> {
        match self
            .fetch
            .open(&Request {
                url,
                validators: None,
                range: None,
            })
            .map_err(fetch_error)?
        {
            Response::Body(body) => self.complete(url, body, verification),
            // Nothing conditional was asked.
            Response::NotModified => Err(RemoteError::Fetch(FetchError::Status {
                url: url.to_owned(),
                code: 304,
            })),
        }
    }

    /// Reads a manifest that has arrived, verifies it with its signature, and remembers both.
    fn complete(
        &self,
        url: &str,
        body: fetch::Body,
        verification: Verification,
    ) -> Result<Vec<u8>, RemoteError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::FileTooLarge => RemoteError::TooLarge(url.to_owned()),
            _ => read_error(source, |source| RemoteError::Read {
                url: url.to_owned(),
                source,
            }),
        };
        let manifest = unpacked(body.reader, MANIFEST_LIMIT).map_err(failed)?;
        let signature = match verification {
            Verification::Skip => None,
            Verification::OpenPgp => Some(self.signature(url)?),
        };
        if let Some(signature) = &signature {
            self.verify(url, &manifest, signature)?;
        }
        let Some(mut validators) = body.validators else {
            return Ok(manifest);
        };
        if body.modified.is_some_and(|modified| {
            i128::from(modified) > i128::from(self.policy.now.as_microsecond())
        }) {
            // A date to come would answer every later question with "not modified".
            validators.last_modified = None;
        }
        let document = Document {
            manifest,
            validators,
            signature,
            fetched: self.policy.now.as_second(),
        };
        self.remember(url, &document);
        Ok(document.manifest)
    }

    /// Whether a cached document may still be asked about. However a server came to call it unchanged, once a day it is
    /// fetched in full.
    fn is_recent(&self, cached: &Document) -> bool {
        let age = self.policy.now.as_second() - cached.fetched;
        (0..CACHE_LIFE).contains(&age)
    }

    fn remember(&self, url: &str, document: &Document) {
        if document.validators == Validators::default() {
            return;
        }
        if let Err(error) = self.cache.store(url, document) {
            self.say(Severity::Debug, format!("{url} is not cached: {error}"));
        }
    }

    /// The first signature file that exists. One that exists and is bad is final (compat 2, B7.2).
    fn signature(&self, manifest: &str) -> Result<Vec<u8>, RemoteError> {
        let mut missing = None;
        for suffix in SIGNATURE_SUFFIXES {
            let url = format!("{manifest}{suffix}");
            match self.fetch.open(&Request {
                url: &url,
                validators: None,
                range: None,
            }) {
                Ok(Response::Body(body)) => {
                    let bytes = unpacked(body.reader, SIGNATURE_LIMIT);
                    return bytes.map_err(|source| read_error(source, RemoteError::ReadSignature));
                }
                Ok(Response::NotModified) => missing = Some(FetchError::Status { url, code: 304 }),
                Err(error) if error.is_not_found() => missing = Some(error),
                Err(error) if error.is_cancelled() => return Err(RemoteError::Cancelled),
                Err(error) => return Err(RemoteError::NoSignature(error)),
            }
        }
        Err(RemoteError::NoSignature(
            missing.expect("the list of suffixes is not empty"),
        ))
    }

    fn verify(&self, url: &str, manifest: &[u8], signature: &[u8]) -> Result<(), RemoteError> {
        if signature.is_empty() {
            return Err(RemoteError::Signature {
                url: url.to_owned(),
                source: OpenPgpError::Empty,
            });
        }
        let keyring = self.keyring()?;
        let signers = openpgp::verify(manifest, signature, &keyring, self.policy.now.into())
            .map_err(|source| RemoteError::Signature {
                url: url.to_owned(),
                source,
            })?;
        for signer in signers {
            self.say(
                Severity::Debug,
                format!(
                    "Signature verification succeeded: {url} is signed by {}.",
                    signer.fingerprint
                ),
            );
        }
        Ok(())
    }

    fn keyring(&self) -> Result<Arc<Keyring>, RemoteError> {
        let mut slot = lock(&self.keyring);
        if let Some(keyring) = &*slot {
            return Ok(Arc::clone(keyring));
        }
        let keyring = Arc::new(keyring::load(self.policy.keyring.as_deref())?);
        *slot = Some(Arc::clone(&keyring));
        Ok(keyring)
    }

    fn check_freshness(&self, manifest: &Manifest) -> Result<(), RemoteError> {
        let shows_time = manifest
            .freshness(self.policy.now, &TimeZone::UTC)
            .any(|finding| matches!(finding, Finding::Past(_)));
        let zone = if shows_time {
            (self.policy.zone)()
        } else {
            TimeZone::UTC
        };
        for finding in manifest.freshness(self.policy.now, &zone) {
            match (finding, self.policy.freshness) {
                (Finding::Past(past), Freshness::Enforced) => return Err(past.into()),
                (Finding::Past(past), Freshness::Ignored) => {
                    self.say(Severity::Warning, past.ignored().to_string());
                }
                (finding @ Finding::ChecksOut, _) => self.say(Severity::Debug, finding.to_string()),
                (finding, _) => self.say(Severity::Warning, finding.to_string()),
            }
        }
        Ok(())
    }

    fn say(&self, severity: Severity, text: String) {
        self.reporter.report(&Event::Message(severity, text));
    }
}

/// Whether a part of the name carries the mark of an unfinished file: it would be taken for one once it is installed.
fn is_unfinished(name: &str) -> bool {
    let marked = |part: &str| {
        [State::Partial, State::Pending]
            .iter()
            .any(|state| part.starts_with(state.prefix()))
    };
    name.split('/').any(marked)
}

/// Reads a document that may be compressed; neither form may exceed the limit.
fn unpacked(reader: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    Limited::new(reader, limit).read_to_end(&mut packed)?;
    let decoder = Decoder::new(packed.as_slice())?;
    if decoder.format() == Format::Plain {
        return Ok(packed);
    }
    let mut plain = Vec::new();
    Limited::new(decoder, limit).read_to_end(&mut plain)?;
    Ok(plain)
}

fn fetch_error(error: FetchError) -> RemoteError {
    if error.is_cancelled() {
        RemoteError::Cancelled
    } else {
        RemoteError::Fetch(error)
    }
}

fn read_error(error: io::Error, wrap: impl FnOnce(io::Error) -> RemoteError) -> RemoteError {
    match FetchError::from_io(error) {
        Ok(error) => fetch_error(error),
        Err(error) => wrap(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every value behind these locks is written in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
