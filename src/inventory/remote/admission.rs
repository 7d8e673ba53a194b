//! What an authenticated manifest still has to be: not too old, and no step back from what was seen before.
//!
//! Owns the three judgements over time: `BEST-BEFORE` markers, the age of the signature, the memory of the source. The
//! decisions are those of [`crate::verify`]; here they meet the policy of the run and the files.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::error::{Age, RemoteError};
use super::{Demand, Freshness, Listing, Manifests, Obtained};
use crate::definition::transfer::{UrlSource, Verification};
use crate::event::Severity;
use crate::fetch;
use crate::inventory::seen::{Remembered, Seen};
use crate::inventory::{Instance, Location};
use crate::metadata::Sha256;
use crate::pattern::Patterns;
use crate::verify::manifest::{Finding, Manifest};
use crate::verify::memory::{self, Acceptance, Changed, File, Offer, Record, Standing};
use crate::version::Version;

/// What a source shows: a manifest, or what stands for one.
#[derive(Clone, Copy)]
pub(super) struct Shown<'s> {
    /// Where; what was seen there before is remembered by it.
    pub(super) url: &'s str,
    /// What of it is looked at.
    pub(super) patterns: &'s Patterns,
    /// The digest of its text.
    pub(super) digest: Sha256,
    /// When it was signed, as far as that is known.
    pub(super) signed: Option<Timestamp>,
}

impl Manifests<'_> {
    /// What a manifest offers that is neither too old nor at odds with what was seen before.
    pub(super) fn admitted(
        &self,
        url: &str,
        source: &UrlSource,
        obtained: &Obtained,
        demand: Demand<'_>,
    ) -> Result<Listing, RemoteError> {
        let shown = Shown {
            url,
            patterns: &source.patterns,
            digest: obtained.digest,
            signed: obtained.signed,
        };
        self.check_age(shown, demand)?;
        let instances = Self::instances(source, &obtained.manifest)?;
        self.compared(shown, instances, demand)
    }

    /// What of this does not contradict what was seen before, which is kept.
    pub(super) fn compared(
        &self,
        shown: Shown<'_>,
        instances: Vec<Instance>,
        demand: Demand<'_>,
    ) -> Result<Listing, RemoteError> {
        let changed = self.compare(shown, &instances, demand)?;
        Ok(set_apart(instances, changed))
    }

    /// Holds the time of the signature against what the definition allows. Without verification there is no such time.
    pub(super) fn check_age(
        &self,
        shown: Shown<'_>,
        demand: Demand<'_>,
    ) -> Result<(), RemoteError> {
        let Some(limit) = &demand.authentication.max_age else {
            return Ok(());
        };
        let age = Age {
            signed: shown.signed,
            limit: limit.value,
        };
        if demand.verification == Verification::Skip
            || !age.is_exceeded(self.present(shown, demand))
        {
            return Ok(());
        }
        let error = RemoteError::TooOld {
            url: shown.url.to_owned(),
            age,
        };
        match self.policy.freshness {
            Freshness::Enforced => Err(error),
            Freshness::Ignored => {
                self.say(Severity::Warning, format!("{error}; told to ignore this."));
                Ok(())
            }
        }
    }

    /// The time at which a source is judged: not before it was seen. Whoever can set the clock back must not make an old
    /// manifest young.
    fn present(&self, shown: Shown<'_>, demand: Demand<'_>) -> Timestamp {
        let (now, url) = (self.policy.now, shown.url);
        let seen = Seen::new(self.root, url, demand.verification, shown.patterns);
        // One that cannot be read is told when the manifest is compared with it.
        let record = seen.load().ok().and_then(|before| before.record);
        let Some(last) = record
            .map(|record| record.seen())
            .filter(|last| *last > now)
        else {
            return now;
        };
        let text = format!("this host's clock says {now}, but {url} was seen here on {last}.");
        self.say(Severity::Warning, text);
        last
    }

    /// Holds what the source offers against what it has shown before, and remembers it. What must not be used comes back.
    fn compare(
        &self,
        shown: Shown<'_>,
        instances: &[Instance],
        demand: Demand<'_>,
    ) -> Result<Vec<Changed>, RemoteError> {
        let url = shown.url;
        let standing = match demand.verification {
            // As local as a path, and as trusted: a developer's tree, a mounted medium.
            Verification::Skip if fetch::url::is_local(url) => return Ok(Vec::new()),
            Verification::Skip => Standing::Unsigned,
            Verification::OpenPgp | Verification::Minisign => Standing::Signed(shown.signed),
        };
        let seen = Seen::new(self.root, url, demand.verification, shown.patterns);
        let before = seen.load().unwrap_or_else(|error| {
            let path = seen.path();
            let text = format!(
                "cannot read '{}', which says what was seen of {url}: {error}",
                path.display()
            );
            self.say(Severity::Warning, text);
            Remembered::nothing(&seen)
        });
        let offer = Offer {
            manifest: shown.digest,
            standing,
            files: instances.iter().filter_map(offered).collect(),
            now: self.policy.now,
        };
        let judgement = memory::judge(before.record.as_ref(), &offer, self.policy.acceptance)
            .map_err(|source| RemoteError::Seen {
                url: url.to_owned(),
                source,
            })?;
        for finding in &judgement.warnings {
            let accepted = match self.policy.acceptance {
                Acceptance::Once => " (accepted)",
                Acceptance::Never => "",
            };
            let consequence = match finding {
                memory::Finding::Changed { .. } if !judgement.changed.is_empty() => {
                    "; what has changed is passed over until `--accept-manifest` accepts it"
                }
                _ => "",
            };
            self.say(
                Severity::Warning,
                format!("the manifest '{url}' has changed{accepted}: {finding}{consequence}."),
            );
        }
        if let Some(record) = judgement.record {
            self.note(url, &seen, &record, &before);
        }
        Ok(judgement.changed)
    }

    fn note(&self, url: &str, seen: &Seen<'_>, record: &Record, before: &Remembered) {
        if let Err(error) = seen.store(record, before) {
            // Somebody who only looks need not be able to write; one who has accepted something must know.
            let severity = match self.policy.acceptance {
                Acceptance::Never if error.is_forbidden() => Severity::Debug,
                _ => Severity::Warning,
            };
            self.say(
                severity,
                format!(
                    "what was seen of {url} is not remembered: {error}{}",
                    cause(&error)
                ),
            );
        }
    }

    /// Judges the freshness markers.
    ///
    /// # Errors
    /// The first that is past.
    pub(super) fn check_freshness(&self, manifest: &Manifest) -> Result<(), RemoteError> {
        let shows_time = manifest
            .freshness(self.policy.now, &TimeZone::UTC)
            .any(|finding| matches!(finding, Finding::Past(_)));
        let zone = if shows_time {
            (self.policy.zone)()
        } else {
            TimeZone::UTC
        };
        let mut count = 0_usize;
        for finding in manifest.freshness(self.policy.now, &zone) {
            let (severity, text) = match (finding, self.policy.freshness) {
                (Finding::Past(past), Freshness::Enforced) => return Err(past.into()),
                (Finding::Past(past), Freshness::Ignored) => {
                    (Severity::Warning, past.ignored().to_string())
                }
                (finding @ Finding::ChecksOut, _) => (Severity::Debug, finding.to_string()),
                (finding, _) => (Severity::Warning, finding.to_string()),
            };
            // A manifest has room for a million of them, which would be told by each run.
            count += 1;
            if count <= MARKERS_TOLD {
                self.say(severity, text);
            }
        }
        if count > MARKERS_TOLD {
            let text = format!("… and {} more.", count - MARKERS_TOLD);
            self.say(Severity::Warning, text);
        }
        Ok(())
    }
}

/// Tells the versions that have changed from the others. Of a file that is listed twice, what was seen before counts.
fn set_apart(mut instances: Vec<Instance>, changed: Vec<Changed>) -> Listing {
    if changed.is_empty() {
        return Listing {
            instances,
            changed: BTreeMap::new(),
        };
    }
    let files: HashSet<(&str, Sha256)> = changed
        .iter()
        .map(|file| (file.name.as_str(), file.offered))
        .collect();
    let has_changed = |instance: &Instance| match (&instance.location, instance.metadata.sha256) {
        (Location::Remote { name } | Location::Asset { name, .. }, Some(digest)) => {
            files.contains(&(name.as_str(), digest))
        }
        _ => false,
    };
    let good: BTreeSet<Version> = instances
        .iter()
        .filter(|instance| !has_changed(instance))
        .map(|instance| instance.metadata.version.clone())
        .collect();
    instances
        .retain(|instance| !has_changed(instance) || !good.contains(&instance.metadata.version));
    drop(files);
    let changed = changed
        .into_iter()
        .filter(|file| !good.contains(&file.version))
        .map(|file| (file.version.clone(), file))
        .collect();
    Listing { instances, changed }
}

/// The cause of an error, as the end of a sentence.
fn cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"))
}

/// What the memory needs to know of an instance of a manifest.
fn offered(instance: &Instance) -> Option<File<'_>> {
    match &instance.location {
        Location::Remote { name } | Location::Asset { name, .. } => Some(File {
            name,
            version: &instance.metadata.version,
            sha256: instance.metadata.sha256?,
        }),
        Location::File { .. } | Location::Slot(_) => None,
    }
}

/// Of so many freshness markers people are told.
const MARKERS_TOLD: usize = 10;
