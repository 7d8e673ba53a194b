//! Signatures of manifests: which files are asked for, and with which keys they are judged.
//!
//! Owns the search beside the manifest and the keys of the run, each loaded once. The verdicts are those of
//! [`crate::verify`]; what follows from them is for [`super::Manifests`].

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::error::RemoteError;
use super::{Demand, lock, unpacked};
use crate::definition::transfer::{Keys, Verification};
use crate::event::{Event, Reporter, Severity};
use crate::fetch::{Deadline, Fetch, FetchError, Request, Response};
use crate::root::Root;
use crate::verify::keyring;
use crate::verify::keys;
use crate::verify::minisign::{self, MinisignError, PublicKeys};
use crate::verify::openpgp::{self, Keyring, OpenPgpError};

/// Where an `OpenPGP` signature is looked for, in this order (compat 2, B7.2).
const OPENPGP_SUFFIXES: [&str; 4] = [".sha256.asc", ".sha256.gpg", ".gpg", ".asc"];
/// Where the first minisign signature is; further ones are behind it: `.minisig.1`, `.minisig.2`, and so on.
const MINISIGN_SUFFIX: &str = ".minisig";

/// Finds and judges the signatures of a run.
pub(super) struct Authority<'a> {
    pub(super) fetch: &'a dyn Fetch,
    pub(super) root: &'a Root,
    /// Replaces the system's `OpenPGP` keyrings, and those of definitions.
    pub(super) keyring: Option<&'a Path>,
    /// How long a signature may take.
    pub(super) timeout: Duration,
    pub(super) now: Timestamp,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) loaded: &'a Loaded,
}

/// The keys that a run has loaded.
#[derive(Default)]
pub(super) struct Loaded {
    keyrings: Mutex<HashMap<Keys, Arc<Keyring>>>,
    minisign: Mutex<HashMap<Keys, Arc<PublicKeys>>>,
}

impl Authority<'_> {
    /// Fetches what is signed beside the manifest; `None` when nothing has to be.
    ///
    /// # Errors
    /// When there is none, or it cannot be fetched.
    pub(super) fn fetch(
        &self,
        url: &str,
        manifest: &[u8],
        demand: Demand<'_>,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        match demand.verification {
            Verification::Skip => Ok(None),
            Verification::OpenPgp => self.openpgp_signature(url).map(Some),
            Verification::Minisign => self.minisign_signatures(url, manifest, demand).map(Some),
        }
    }

    /// Judges a signature, and tells when the manifest was signed as far as that is known: the last time at which as many
    /// keys as must sign had done so. Fewer keys than that cannot make it look newer than it is.
    ///
    /// # Errors
    /// When the signature does not hold, or there are no keys to judge it with.
    pub(super) fn judge(
        &self,
        url: &str,
        manifest: &[u8],
        signature: &[u8],
        demand: Demand<'_>,
    ) -> Result<Option<Timestamp>, RemoteError> {
        let threshold = demand.authentication.threshold;
        let mut times = match demand.verification {
            Verification::Skip => return Ok(None),
            Verification::OpenPgp => self.openpgp(url, manifest, signature, demand)?,
            Verification::Minisign => {
                let keys = self.minisign_keys(demand)?;
                let signers = minisign::verify(manifest, signature, &keys, threshold, self.now)
                    .map_err(|source| RemoteError::Minisign {
                        url: url.to_owned(),
                        source,
                    })?;
                for signer in &signers {
                    self.tell(url, &signer.key.to_string());
                }
                signers.into_iter().map(|signer| signer.created).collect()
            }
        };
        times.sort_unstable_by(|left, right| right.cmp(left));
        Ok(times.get(threshold.saturating_sub(1)).copied().flatten())
    }

    /// When each of the distinct keys has signed.
    fn openpgp(
        &self,
        url: &str,
        manifest: &[u8],
        signature: &[u8],
        demand: Demand<'_>,
    ) -> Result<Vec<Option<Timestamp>>, RemoteError> {
        let refused = |source| RemoteError::Signature {
            url: url.to_owned(),
            source,
        };
        if signature.is_empty() {
            return Err(refused(OpenPgpError::Empty));
        }
        let keyring = self.keyring(demand)?;
        let signers =
            openpgp::verify(manifest, signature, &keyring, self.now.into()).map_err(refused)?;
        let mut times: HashMap<String, Option<Timestamp>> = HashMap::new();
        for signer in signers {
            self.tell(url, &signer.fingerprint);
            let newest = times.entry(signer.fingerprint).or_default();
            *newest = (*newest).max(Timestamp::try_from(signer.created).ok());
        }
        let threshold = demand.authentication.threshold;
        if times.len() < threshold {
            return Err(RemoteError::TooFewSigners {
                url: url.to_owned(),
                found: times.len(),
                threshold,
            });
        }
        Ok(times.into_values().collect())
    }

    /// The first signature file that exists. One that exists and is bad is final (compat 2, B7.2).
    fn openpgp_signature(&self, manifest: &str) -> Result<Vec<u8>, RemoteError> {
        let mut missing = None;
        for suffix in OPENPGP_SUFFIXES {
            let error = match self.read(&format!("{manifest}{suffix}"), openpgp::SIGNATURE_LIMIT) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            match FetchError::from_io(error) {
                Ok(error) if error.is_not_found() => missing = Some(error),
                Ok(error) if error.is_cancelled() => return Err(RemoteError::Cancelled),
                Ok(error) => return Err(RemoteError::NoSignature(error)),
                Err(error) => return Err(RemoteError::ReadSignature(error)),
            }
        }
        Err(RemoteError::NoSignature(
            missing.expect("the list of suffixes is not empty"),
        ))
    }

    /// The minisign signatures, one after the other: of the first file, and of as many further ones as are needed.
    fn minisign_signatures(
        &self,
        url: &str,
        manifest: &[u8],
        demand: Demand<'_>,
    ) -> Result<Vec<u8>, RemoteError> {
        let failed = |source: io::Error| match FetchError::of_io(&source) {
            Some(error) if error.is_cancelled() => RemoteError::Cancelled,
            _ => RemoteError::NoMinisign {
                url: url.to_owned(),
                source,
            },
        };
        // Before anything is asked for: without keys no answer helps.
        let keys = self.minisign_keys(demand)?;
        let threshold = demand.authentication.threshold;
        let first = format!("{url}{MINISIGN_SUFFIX}");
        let mut all = self.read(&first, minisign::SIZE_LIMIT).map_err(failed)?;
        for number in 1..minisign::COUNT_LIMIT {
            let wanting = matches!(
                minisign::verify(manifest, &all, &keys, threshold, self.now),
                Err(MinisignError::UnknownKey { .. } | MinisignError::TooFew { .. })
            );
            if !wanting {
                break;
            }
            match self.read(&format!("{first}.{number}"), minisign::SIZE_LIMIT) {
                Ok(more) => {
                    all.push(b'\n');
                    all.extend(more);
                }
                Err(error) if FetchError::of_io(&error).is_some_and(FetchError::is_not_found) => {
                    break;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(all)
    }

    /// Reads a signature file; an error of the transport is inside that of the reading.
    fn read(&self, url: &str, limit: usize) -> io::Result<Vec<u8>> {
        let request = Request {
            url,
            validators: None,
            range: None,
        };
        match self.fetch.open(&request)? {
            Response::Body(body) => {
                let reader = Deadline::new(body.reader, url, self.timeout);
                unpacked(reader, limit as u64)
            }
            // Nothing conditional was asked.
            Response::NotModified => Err(FetchError::Status {
                url: url.to_owned(),
                code: 304,
            }
            .into()),
        }
    }

    /// compat 2, B7.3: what the environment names is the only keyring.
    fn keyring(&self, demand: Demand<'_>) -> Result<Arc<Keyring>, RemoteError> {
        let authentication = demand.authentication;
        once(&self.loaded.keyrings, &authentication.keys, || {
            Ok(match (&authentication.keys, self.keyring) {
                (Keys::Listed(files), None) => {
                    keys::openpgp(self.root, files, authentication.threshold)?
                }
                (_, named) => keyring::load(named)?,
            })
        })
    }

    fn minisign_keys(&self, demand: Demand<'_>) -> Result<Arc<PublicKeys>, RemoteError> {
        let threshold = demand.authentication.threshold;
        once(&self.loaded.minisign, &demand.authentication.keys, || {
            Ok(match &demand.authentication.keys {
                Keys::Listed(files) => keys::minisign(self.root, files, threshold)?,
                Keys::Usual(files) => keys::usual(self.root, files, threshold)?,
            })
        })
    }

    fn tell(&self, url: &str, signer: &str) {
        let text = format!("Signature verification succeeded: {url} is signed by {signer}.");
        self.reporter.report(&Event::Message(Severity::Debug, text));
    }
}

/// What was loaded for these keys before, or is loaded now.
fn once<T>(
    loaded: &Mutex<HashMap<Keys, Arc<T>>>,
    keys: &Keys,
    load: impl FnOnce() -> Result<T, RemoteError>,
) -> Result<Arc<T>, RemoteError> {
    let mut loaded = lock(loaded);
    if let Some(known) = loaded.get(keys) {
        return Ok(Arc::clone(known));
    }
    let fresh = Arc::new(load()?);
    loaded.insert(keys.clone(), Arc::clone(&fresh));
    Ok(fresh)
}
