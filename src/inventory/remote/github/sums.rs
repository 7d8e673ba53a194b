//! The `SHA256SUMS` of one release, authenticated as the definition says.
//!
//! Owns the way to it. It is an asset like others, and so are its signatures: which of them exist is known from the list,
//! so that nothing is asked for in vain. What was good once is kept by the numbers of these assets, and verified again
//! when it is used.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::api::{self, Release};
use super::error::PassedOver;
use crate::definition::github::GithubSource;
use crate::definition::transfer::Verification;
use crate::event::Severity;
use crate::fetch::{Deadline, Fetch, FetchError, Request, Response, Validators};
use crate::inventory::cache::Document;
use crate::inventory::remote::authority::Authority;
use crate::inventory::remote::{Demand, Manifests, RemoteError, fetch_error, read_error, unpacked};
use crate::metadata::Sha256;
use crate::verify::manifest::Manifest;

/// The digests of a release's assets.
pub(super) struct Sums {
    /// The name of the asset that they come from.
    name: String,
    manifest: Manifest,
    /// When they were signed, as far as that is known.
    pub(super) signed: Option<Timestamp>,
}

impl Sums {
    /// The digest of an asset, which must be the one that the API tells, if it does.
    pub(super) fn of(&self, asset: &str, announced: Option<Sha256>) -> Result<Sha256, PassedOver> {
        let entries = self.manifest.entries().filter(|entry| entry.name == asset);
        let listed: BTreeSet<Sha256> = entries.map(|entry| entry.sha256).collect();
        let manifest = self.name.clone();
        let mut listed = listed.into_iter();
        match (listed.next(), listed.next(), announced) {
            (None, ..) => Err(PassedOver::Unlisted { manifest }),
            (Some(_), Some(_), _) => Err(PassedOver::Ambiguous { manifest }),
            (Some(listed), None, Some(announced)) if listed != announced => {
                Err(PassedOver::Contradiction {
                    manifest,
                    listed,
                    announced,
                })
            }
            (Some(listed), None, _) => Ok(listed),
        }
    }
}

impl Manifests<'_> {
    /// The digests of a release's assets, or why there are none that can be used.
    ///
    /// # Errors
    /// When nobody can tell: the network fails, or there are no keys.
    pub(super) fn sums(
        &self,
        source: &GithubSource,
        release: &Release,
        demand: Demand<'_>,
    ) -> Result<Result<Sums, PassedOver>, RemoteError> {
        let name = source.manifest.clone();
        let Some(asset) = release.asset(&name) else {
            return Ok(Err(PassedOver::NoManifest { manifest: name }));
        };
        let is_verified = demand.verification != Verification::Skip;
        let beside = |other: &&api::Asset| {
            let rest = other.name.strip_prefix(name.as_str());
            is_verified && rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let signatures: Vec<&api::Asset> = release.assets.iter().filter(beside).collect();
        if is_verified && signatures.is_empty() {
            return Ok(Err(PassedOver::Unsigned { manifest: name }));
        }
        let url = api::public_address(source, release, &name);
        let numbers: Vec<String> = std::iter::once(&asset)
            .chain(&signatures)
            .map(|asset| asset.id.to_string())
            .collect();
        let errand = Errand {
            from: api::address(source, release, asset),
            beside: signatures
                .iter()
                .map(|other| {
                    let rest = &other.name[name.len()..];
                    (format!("{url}{rest}"), api::address(source, release, other))
                })
                .collect(),
            key: format!(
                "{}/releases/assets/{} {}",
                source.api,
                numbers.join("+"),
                demand.verification.word()
            ),
            url,
        };
        match self.document(&errand, demand) {
            Ok((manifest, signed)) => Ok(Ok(Sums {
                name,
                manifest,
                signed,
            })),
            // "Nothing new" must never mean that nothing could be heard.
            Err(error @ RemoteError::Fetch(_)) => Err(error),
            Err(error) if error.is_of_the_server() => Ok(Err(PassedOver::Manifest {
                manifest: name,
                source: Box::new(error),
            })),
            Err(error) => Err(error),
        }
    }

    fn document(
        &self,
        errand: &Errand,
        demand: Demand<'_>,
    ) -> Result<(Manifest, Option<Timestamp>), RemoteError> {
        let beside = Beside {
            fetch: self.fetch,
            addresses: &errand.beside,
        };
        let authority = Authority {
            fetch: &beside,
            ..self.authority()
        };
        let judged = |manifest: &[u8], signature: Option<&[u8]>| match signature {
            Some(signature) => authority.judge(&errand.url, manifest, signature, demand),
            None => Ok(None),
        };
        if let Some(cached) = self.cache.load(&errand.key) {
            let is_complete =
                demand.verification == Verification::Skip || cached.signature.is_some();
            let signed = judged(&cached.manifest, cached.signature.as_deref());
            if is_complete && let Ok(signed) = signed {
                return self.read(errand, cached.manifest, signed);
            }
        }
        let url = &errand.url;
        self.say(Severity::Debug, format!("Acquiring manifest file {url}…"));
        let request = Request::new(&errand.from);
        let body = match self.fetch.open(&request).map_err(fetch_error)? {
            Response::Body(body) => body,
            // Nothing conditional was asked.
            Response::NotModified => {
                return Err(RemoteError::Fetch(FetchError::Status {
                    url: errand.from.clone(),
                    code: 304,
                }));
            }
        };
        let reader = Deadline::new(body.reader, &errand.from, self.policy.manifest_timeout);
        let manifest = unpacked(reader, SUMS_LIMIT).map_err(|source| {
            read_error(source, |source| RemoteError::Read {
                url: url.clone(),
                source,
            })
        })?;
        let signature = authority.fetch(url, &manifest, demand)?;
        let signed = judged(&manifest, signature.as_deref())?;
        let document = Document {
            manifest,
            // It is never asked about: under its key it stays what it is.
            validators: Validators {
                etag: Some("\"\"".to_owned()),
                last_modified: None,
            },
            signature,
            fetched: self.policy.now.as_second(),
        };
        self.remember(&errand.key, &document);
        self.read(errand, document.manifest, signed)
    }

    fn read(
        &self,
        errand: &Errand,
        bytes: Vec<u8>,
        signed: Option<Timestamp>,
    ) -> Result<(Manifest, Option<Timestamp>), RemoteError> {
        let manifest = Manifest::parse(bytes).map_err(|source| RemoteError::Manifest {
            url: errand.url.clone(),
            source,
        })?;
        self.check_freshness(&manifest)?;
        Ok((manifest, signed))
    }
}

/// What is to be fetched.
struct Errand {
    /// What people call it.
    url: String,
    /// Where it comes from.
    from: String,
    /// Where its signatures come from, by what people call them.
    beside: HashMap<String, String>,
    /// What it is kept by.
    key: String,
}

/// Finds the assets beside another one by their names.
struct Beside<'a> {
    fetch: &'a dyn Fetch,
    addresses: &'a HashMap<String, String>,
}

impl Fetch for Beside<'_> {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        match self.addresses.get(request.url) {
            Some(url) => self.fetch.open(&Request { url, ..*request }),
            None => Err(FetchError::Status {
                url: request.url.to_owned(),
                code: 404,
            }),
        }
    }

    fn size(&self, _: &str) -> Result<Option<u64>, FetchError> {
        Ok(None)
    }
}

/// The largest `SHA256SUMS` of one release, in bytes: a line for each of 1000 assets, and much more.
const SUMS_LIMIT: u64 = 4 << 20;
