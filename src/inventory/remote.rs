//! Instances that an authenticated manifest names.
//!
//! A manifest is fetched once per URL and run, and only in full when it has changed since the last run.

mod admission;
mod authority;
mod error;
mod github;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::Digest as _;

use super::cache::{Cache, Document};
use super::{Instance, Location, State};
use crate::definition::transfer::{Authentication, Keys, UrlSource, Verification};
use crate::event::{Event, Reporter, Severity, chain};
use crate::fetch::{self, Deadline, Fetch, FetchError, Request, Response, Validators};
use crate::metadata::Sha256;
use crate::root::Root;
use crate::unpack::{Decoder, Format};
use crate::verify::manifest::Manifest;
use crate::verify::memory::{Acceptance, Changed};
use crate::verify::reader::Limited;
use crate::version::Version;
use authority::{Authority, Loaded};
pub use error::{Age, RemoteError};
pub use github::{Interest, PassedOver, ReleasesError};

/// The largest manifest that is read, packed or unpacked, in bytes.
pub const MANIFEST_LIMIT: u64 = 64 * 1024 * 1024;
/// How long a manifest may take, and how long a signature, unless somebody says otherwise ([`Policy::manifest_timeout`]).
pub const MANIFEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long a cached manifest is asked about before it is fetched in full again, in seconds.
const CACHE_LIFE: i64 = 24 * 60 * 60;

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
    /// Whether a manifest is accepted that does not follow from what was seen before.
    pub acceptance: Acceptance,
    /// How long a manifest may take, and how long a signature: a source that sends just enough not to count as stalled
    /// must not hold up a run for hours.
    pub manifest_timeout: Duration,
    /// The present.
    pub now: Timestamp,
    /// How times are shown; finding that out reads files, so it is left until a time is shown.
    pub zone: fn() -> TimeZone,
}

/// How a manifest has to be authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'t> {
    /// What decides: not what [`Authentication::scheme`] says, when verification is turned off.
    pub verification: Verification,
    /// What it has to show.
    pub authentication: &'t Authentication,
}

/// The manifests of a run.
pub struct Manifests<'a> {
    fetch: &'a dyn Fetch,
    root: &'a Root,
    cache: Cache<'a>,
    policy: Policy,
    reporter: &'a dyn Reporter,
    loaded: Loaded,
    obtained: Mutex<HashMap<Key, Arc<Obtained>>>,
    releases: github::Loaded,
}

/// What a source offers to one transfer.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// All of it, in the order of the manifest.
    pub instances: Vec<Instance>,
    /// The versions among it that have other bytes than they were seen with.
    pub changed: BTreeMap<Version, Changed>,
}

/// What makes one judgement of a manifest hold for another transfer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// As written (compat 2, B6.1): another spelling is another source.
    base: String,
    manifest: String,
    verification: Verification,
    keys: Keys,
    threshold: usize,
}

impl Key {
    fn new(source: &UrlSource, demand: Demand<'_>) -> Self {
        Self {
            base: source.base.clone(),
            manifest: source.manifest.clone(),
            verification: demand.verification,
            keys: demand.authentication.keys.clone(),
            threshold: demand.authentication.threshold,
        }
    }
}

/// A manifest that is authenticated as was asked for.
struct Obtained {
    manifest: Manifest,
    /// The digest of its text.
    digest: Sha256,
    /// When it was signed, as far as that is known.
    signed: Option<Timestamp>,
    /// Whether it is the one of an earlier run, its signature too.
    is_cached: bool,
}

/// The bytes of one, and the same.
struct Bytes {
    manifest: Vec<u8>,
    signed: Option<Timestamp>,
    /// Whether it is the one of an earlier run, its signature too.
    is_cached: bool,
}

impl<'a> Manifests<'a> {
    /// Prepares for a run; nothing is fetched yet. Keys and caches lie below the root.
    #[must_use]
    pub fn new(
        fetch: &'a dyn Fetch,
        root: &'a Root,
        policy: Policy,
        reporter: &'a dyn Reporter,
    ) -> Self {
        Self {
            fetch,
            root,
            cache: Cache::new(root),
            policy,
            reporter,
            loaded: Loaded::default(),
            obtained: Mutex::default(),
            releases: github::Loaded::default(),
        }
    }

    /// The present, as the manifests of this run are judged.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.policy.now
    }

    /// All that a source offers, in the order of its manifest.
    ///
    /// # Errors
    /// When the manifest cannot be fetched or must not be trusted.
    pub fn list(&self, source: &UrlSource, demand: Demand<'_>) -> Result<Listing, RemoteError> {
        let url = fetch::url::join(&source.base, &source.manifest).map_err(RemoteError::Fetch)?;
        loop {
            let error = match self.listed(&url, source, demand) {
                Err(error) if error.is_of_the_server() => error,
                other => return other,
            };
            // Each time one of those that serve it has been given up.
            let Some(address) = self.fetch.reproach(&url) else {
                return Err(error);
            };
            let next = self.fetch.has_alternative(&url);
            if next || address != url {
                let outlook = if next {
                    " Trying the next mirror..."
                } else {
                    ""
                };
                let text = format!(
                    "What '{address}' serves is refused: {}.{outlook}",
                    chain(&error)
                );
                self.say(Severity::Warning, text);
            }
            if !next {
                return Err(error);
            }
            lock(&self.obtained).remove(&Key::new(source, demand));
        }
    }

    /// All names of a manifest, of whatever they are: for people who look around. What is installed goes another way.
    ///
    /// # Errors
    /// When the manifest cannot be fetched.
    pub fn names(
        &self,
        source: &UrlSource,
        demand: Demand<'_>,
    ) -> Result<Vec<String>, RemoteError> {
        let url = fetch::url::join(&source.base, &source.manifest).map_err(RemoteError::Fetch)?;
        let obtained = self.obtain(&url, source, demand)?;
        let entries = obtained.manifest.entries();
        Ok(entries.map(|entry| entry.name.to_owned()).collect())
    }

    fn listed(
        &self,
        url: &str,
        source: &UrlSource,
        demand: Demand<'_>,
    ) -> Result<Listing, RemoteError> {
        let obtained = self.obtain(url, source, demand)?;
        match self.admitted(url, source, &obtained, demand) {
            // The manifest is the same, but its signature may have been renewed.
            Err(RemoteError::TooOld { .. } | RemoteError::Seen { .. }) if obtained.is_cached => {
                let text = format!("Acquiring {url} in full, its signature may be a newer one…");
                self.say(Severity::Debug, text);
                let document = self.fresh_pair(url, demand)?;
                let obtained = self.judged(url, source, document, demand)?;
                self.admitted(url, source, &obtained, demand)
            }
            other => other,
        }
    }

    fn instances(source: &UrlSource, manifest: &Manifest) -> Result<Vec<Instance>, RemoteError> {
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
        url: &str,
        source: &UrlSource,
        demand: Demand<'_>,
    ) -> Result<Arc<Obtained>, RemoteError> {
        if let Some(obtained) = lock(&self.obtained).get(&Key::new(source, demand)) {
            return Ok(Arc::clone(obtained));
        }
        self.say(Severity::Debug, format!("Acquiring manifest file {url}…"));
        let cached = self.cache.load(url).filter(|cached| self.is_recent(cached));
        let document = match cached.map(|cached| self.revalidated(url, cached, demand)) {
            Some(Err(error)) if error.is_mismatch() => self.fresh_pair(url, demand)?,
            Some(document) => document?,
            None => self.fresh_pair(url, demand)?,
        };
        self.judged(url, source, document, demand)
    }

    /// Fetches manifest and signature; both once more when they do not agree, for the publisher may have replaced one of the
    /// two between the requests.
    fn fresh_pair(&self, url: &str, demand: Demand<'_>) -> Result<Bytes, RemoteError> {
        match self.fresh(url, demand) {
            Err(error) if error.is_mismatch() => {
                let text = format!("{url} and its signature do not agree, fetching both again.");
                self.say(Severity::Debug, text);
                self.fresh(url, demand)
            }
            other => other,
        }
    }

    /// Reads a manifest that is authenticated, and keeps it for the other transfers of the run.
    fn judged(
        &self,
        url: &str,
        source: &UrlSource,
        document: Bytes,
        demand: Demand<'_>,
    ) -> Result<Arc<Obtained>, RemoteError> {
        let digest = Sha256(sha2::Sha256::digest(&document.manifest).into());
        let manifest =
            Manifest::parse(document.manifest).map_err(|source| RemoteError::Manifest {
                url: url.to_owned(),
                source,
            })?;
        self.check_freshness(&manifest)?;
        let obtained = Arc::new(Obtained {
            manifest,
            digest,
            signed: document.signed,
            is_cached: document.is_cached,
        });
        lock(&self.obtained).insert(Key::new(source, demand), Arc::clone(&obtained));
        Ok(obtained)
    }

    /// Asks whether the cached document still is the server's. One that fails its verification although it is
    /// unchanged (the key, or the signature alone, was replaced) is fetched again in full.
    fn revalidated(
        &self,
        url: &str,
        cached: Document,
        demand: Demand<'_>,
    ) -> Result<Bytes, RemoteError> {
        let request = Request {
            url,
            validators: Some(&cached.validators),
            range: None,
        };
        match self.fetch.open(&request).map_err(fetch_error)? {
            Response::Body(body) => self.complete(url, body, demand),
            Response::NotModified => {
                self.say(Severity::Debug, format!("{url} is unchanged."));
                let signed = match (demand.verification, &cached.signature) {
                    (Verification::Skip, _) => Ok(None),
                    (_, Some(signature)) => {
                        self.authority()
                            .judge(url, &cached.manifest, signature, demand)
                    }
                    (_, None) => return self.fresh_pair(url, demand),
                };
                match signed {
                    Ok(signed) => Ok(Bytes {
                        manifest: cached.manifest,
                        signed,
                        is_cached: true,
                    }),
                    Err(_) => self.fresh_pair(url, demand),
                }
            }
        }
    }

    fn fresh(&self, url: &str, demand: Demand<'_>) -> Result<Bytes, RemoteError> {
        match self
            .fetch
            .open(&Request {
                url,
                validators: None,
                range: None,
            })
            .map_err(fetch_error)?
        {
            Response::Body(body) => self.complete(url, body, demand),
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
        demand: Demand<'_>,
    ) -> Result<Bytes, RemoteError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::FileTooLarge => RemoteError::TooLarge(url.to_owned()),
            _ => read_error(source, |source| RemoteError::Read {
                url: url.to_owned(),
                source,
            }),
        };
        let reader = Deadline::new(body.reader, url, self.policy.manifest_timeout);
        let manifest = unpacked(reader, MANIFEST_LIMIT).map_err(failed)?;
        let authority = self.authority();
        let signature = authority.fetch(url, &manifest, demand)?;
        let signed = match &signature {
            Some(signature) => authority.judge(url, &manifest, signature, demand)?,
            None => None,
        };
        let Some(mut validators) = body.validators else {
            return Ok(Bytes {
                manifest,
                signed,
                is_cached: false,
            });
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
        Ok(Bytes {
            manifest: document.manifest,
            signed,
            is_cached: false,
        })
    }

    fn authority(&self) -> Authority<'_> {
        Authority {
            fetch: self.fetch,
            root: self.root,
            keyring: self.policy.keyring.as_deref(),
            now: self.policy.now,
            reporter: self.reporter,
            timeout: self.policy.manifest_timeout,
            loaded: &self.loaded,
        }
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
