//! Assets of a repository's releases, as GitHub's API lists them.
//!
//! Owns the flow: pages of releases, the assets that are the transfer's, a digest for each, the judgement over time that
//! manifests get as well. The list is fetched once a run, and a page of it in full only when it has changed. Where an
//! asset lies is computed from the definition, never taken from an answer.
//!
//! Digests come from the API while nothing is to be verified. Else, and where the API has none, they come from the
//! release's own `SHA256SUMS`, which costs requests: it is only fetched for versions that may be chosen ([`choice`]), and
//! only once, as an asset never changes under its number.

mod api;
mod choice;
mod error;
mod sums;

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use sha2::Digest as _;

use super::admission::Shown;
use super::error::RemoteError;
use super::{Demand, Listing, Manifests, fetch_error, lock};
use crate::definition::github::{GithubSource, Prereleases};
use crate::definition::transfer::Verification;
use crate::event::{Severity, chain};
use crate::fetch::{Deadline, FetchError, Request, Response, Validators};
use crate::inventory::cache::Document;
use crate::inventory::{Instance, Location, State};
use crate::metadata::Sha256;
use crate::verify::reader::Limited;
use crate::version::Version;
use api::{Page, Release};
use choice::Candidate;
pub use error::{PassedOver, ReleasesError};
use sums::Sums;

/// Which versions may matter to somebody: of these, much is asked.
#[derive(Clone, Copy)]
pub struct Interest<'i> {
    /// Whether the settings leave a version to choose from.
    pub admits: &'i dyn Fn(&Version) -> bool,
    /// The version that was asked for by name.
    pub wanted: Option<&'i Version>,
}

/// The releases that a run has listed, by the repository's address in the API.
#[derive(Default)]
pub(super) struct Loaded(Mutex<HashMap<String, Arc<Vec<Release>>>>);

/// What became of the candidates.
#[derive(Default)]
struct Outcome {
    instances: Vec<Instance>,
    /// Newest first.
    passed_over: Vec<(Version, String, Arc<PassedOver>)>,
    /// When the last of the releases was signed.
    signed: Option<Timestamp>,
}

/// The sums of the releases that were looked at, by tag.
type Looked<'r> = HashMap<&'r str, Usable<Arc<Sums>>>;

/// Something of a release, or why it cannot be used.
type Usable<T> = Result<T, Arc<PassedOver>>;

impl Manifests<'_> {
    /// All assets that a repository offers, newest version first.
    ///
    /// # Errors
    /// When the releases cannot be listed, none of those that match can be used, or they do not follow from what was
    /// seen before.
    pub fn releases(
        &self,
        source: &GithubSource,
        demand: Demand<'_>,
        interest: Interest<'_>,
    ) -> Result<Listing, RemoteError> {
        let releases = self.all_releases(source)?;
        let candidates = choice::candidates(source, &releases);
        let near = choice::near(&candidates, interest);
        let mut looked = Looked::new();
        let mut outcome = Outcome::default();
        for candidate in &candidates {
            let version = &candidate.metadata.version;
            let is_near = near.contains(version);
            match self.digest(source, candidate, is_near, demand, &mut looked)? {
                Ok((sha256, signed)) => {
                    outcome.signed = outcome.signed.max(signed);
                    outcome.instances.push(instance(source, candidate, sha256));
                }
                Err(why) => {
                    let name = candidate.name.clone();
                    outcome.passed_over.push((version.clone(), name, why));
                }
            }
        }
        self.tell_passed_over(source, &mut outcome)?;
        let url = place(source);
        let shown = Shown {
            url: &url,
            patterns: &source.patterns,
            digest: text_digest(&outcome.instances),
            signed: outcome.signed,
        };
        self.check_age(shown, demand)?;
        self.compared(shown, outcome.instances, demand)
    }

    /// What the bytes of an asset must hash to, and when that was signed.
    fn digest<'r>(
        &self,
        source: &GithubSource,
        candidate: &Candidate<'r>,
        is_near: bool,
        demand: Demand<'_>,
        looked: &mut Looked<'r>,
    ) -> Result<Usable<(Sha256, Option<Timestamp>)>, RemoteError> {
        let announced = candidate.asset.sha256();
        let (sha256, signed) = match announced {
            Some(announced) if demand.verification == Verification::Skip => (announced, None),
            _ if !is_near => return Ok(Err(Arc::new(PassedOver::TooOld))),
            _ => {
                let tag = candidate.release.tag_name.as_str();
                if !looked.contains_key(tag) {
                    let sums = self.sums(source, candidate.release, demand)?;
                    looked.insert(tag, sums.map(Arc::new).map_err(Arc::new));
                }
                let sums = match &looked[tag] {
                    Ok(sums) => Arc::clone(sums),
                    Err(why) => return Ok(Err(Arc::clone(why))),
                };
                match sums.of(&candidate.asset.name, announced) {
                    Ok(sha256) => (sha256, sums.signed),
                    Err(why) => return Ok(Err(Arc::new(why))),
                }
            }
        };
        match candidate.metadata.sha256 {
            Some(named) if named != sha256 => Ok(Err(Arc::new(PassedOver::Misnamed))),
            _ => Ok(Ok((sha256, signed))),
        }
    }

    /// Tells of assets that cannot be used although they would be newer than those that can; of others only who looks
    /// closely hears.
    fn tell_passed_over(
        &self,
        source: &GithubSource,
        outcome: &mut Outcome,
    ) -> Result<(), RemoteError> {
        let newest = outcome.instances.first();
        let newest = newest.map(|instance| instance.metadata.version.clone());
        let passed_over = std::mem::take(&mut outcome.passed_over);
        let Some(newest) = newest else {
            return match passed_over.into_iter().next() {
                None => Ok(()),
                Some((_, name, why)) => Err(ReleasesError::Unusable {
                    url: source.url.clone(),
                    name,
                    source: why,
                }
                .into()),
            };
        };
        for (count, (version, name, why)) in passed_over.iter().enumerate() {
            let severity = if count < TOLD && (*version > newest || why.is_alarming()) {
                Severity::Warning
            } else {
                Severity::Debug
            };
            let (url, why) = (&source.url, chain(why.as_ref()));
            self.say(
                severity,
                format!("'{name}' of {url} is passed over: {why}."),
            );
        }
        Ok(())
    }

    /// All releases of a repository, in the order of the API: those that were made last come first.
    fn all_releases(&self, source: &GithubSource) -> Result<Arc<Vec<Release>>, RemoteError> {
        if let Some(known) = lock(&self.releases.0).get(&source.api) {
            return Ok(Arc::clone(known));
        }
        let mut releases = Vec::new();
        for number in 1..=PAGES {
            let url = format!(
                "{}/releases?per_page={}&page={number}",
                source.api,
                api::PAGE_RELEASES
            );
            let page = self.page(source, &url)?;
            let ends = !page.continues || page.releases.is_empty();
            releases.extend(page.releases);
            if ends {
                break;
            }
            if number == PAGES {
                let url = &source.url;
                let count = releases.len();
                let text = format!("{url} has more releases than the {count} that are looked at.");
                self.say(Severity::Warning, text);
            }
        }
        let releases = Arc::new(releases);
        lock(&self.releases.0).insert(source.api.clone(), Arc::clone(&releases));
        Ok(releases)
    }

    /// One page, from the cache if the server says that it is the same.
    fn page(&self, source: &GithubSource, url: &str) -> Result<Page, RemoteError> {
        self.say(Severity::Debug, format!("Listing releases: {url}…"));
        let refused = |error: FetchError| match fetch_error(error) {
            RemoteError::Fetch(error) => ReleasesError::Fetch {
                url: source.url.clone(),
                is_private: source.is_private(),
                source: error,
            }
            .into(),
            other => other,
        };
        let cached = self.cache.load(url).filter(|cached| self.is_recent(cached));
        let cached = cached.and_then(|cached| {
            let page = Page::restored(&cached.manifest)?;
            Some((page, cached.validators))
        });
        let request = Request {
            url,
            validators: cached.as_ref().map(|(_, validators)| validators),
            range: None,
        };
        let body = match self.fetch.open(&request).map_err(refused)? {
            Response::Body(body) => body,
            Response::NotModified => {
                self.say(Severity::Debug, format!("{url} is unchanged."));
                return cached.map(|(page, _)| page).ok_or_else(|| {
                    refused(FetchError::Status {
                        url: url.to_owned(),
                        code: 304,
                    })
                });
            }
        };
        let mut bytes = Vec::new();
        let reader = Deadline::new(body.reader, url, self.policy.manifest_timeout);
        let read = Limited::new(reader, api::PAGE_BYTES).read_to_end(&mut bytes);
        read.map_err(|error| match FetchError::from_io(error) {
            Ok(error) => refused(error),
            Err(error) => ReleasesError::Read {
                url: url.to_owned(),
                source: error,
            }
            .into(),
        })?;
        let page = Page::parse(&bytes, body.continues).map_err(|cause| ReleasesError::NoList {
            url: url.to_owned(),
            cause,
        })?;
        // A list has no date of its own: only the tag tells whether it is the same.
        let etag = body.validators.and_then(|validators| validators.etag);
        let document = Document {
            manifest: page.stored(),
            validators: Validators {
                etag,
                last_modified: None,
            },
            signature: None,
            fetched: self.policy.now.as_second(),
        };
        self.remember(url, &document);
        Ok(page)
    }
}

fn instance(source: &GithubSource, candidate: &Candidate<'_>, sha256: Sha256) -> Instance {
    let mut metadata = candidate.metadata.clone();
    metadata.sha256 = Some(sha256);
    Instance {
        metadata,
        location: Location::Asset {
            name: candidate.name.clone(),
            url: api::address(source, candidate.release, candidate.asset),
            size: candidate.asset.size,
        },
        state: State::Complete,
        provenance: None,
    }
}

/// What all that a repository offers is remembered by: with other settings, other releases are offered.
fn place(source: &GithubSource) -> String {
    let tag = source.tag.iter().flatten();
    let tag = tag.map(|pattern| format!("?tag={pattern}"));
    let prereleases = match source.prereleases {
        Prereleases::Ignored => "",
        Prereleases::Offered => "?prerelease",
    };
    let (url, tag) = (&source.url, tag.collect::<String>());
    format!("{url}/releases{tag}{prereleases}")
}

/// The digest of the manifest that the instances would make.
fn text_digest(instances: &[Instance]) -> Sha256 {
    let line = |instance: &Instance| {
        let sha256 = instance.metadata.sha256?;
        Some(format!("{sha256}  {}\n", instance.location))
    };
    let mut lines: Vec<String> = instances.iter().filter_map(line).collect();
    lines.sort_unstable();
    Sha256(sha2::Sha256::digest(lines.concat()).into())
}

/// Most pages that are read: 3000 releases.
const PAGES: usize = 30;

/// Of so many assets that are passed over people are told.
const TOLD: usize = 10;
