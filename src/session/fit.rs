//! Whether the versions that matter fit this host: looks into their images, where they lie or at their source.
//!
//! Only what is about to be chosen is looked at, newest first, and what a look has shown is kept by digest: an unchanged
//! source costs no second one. What cannot be looked into counts as fitting; systemd's own verdict after the merge is
//! the last word then.
//!
//! A few blocks from afar have no digest, whatever that of the whole must be: who serves them can show what he likes. Such
//! a glimpse is kept apart and for a day. It may spare a download, and nothing that has been fetched is judged by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{Session, SessionError, Surveyed};
use crate::compat::{self, Misfit, Os, Verdict};
use crate::definition::Component;
use crate::definition::transfer::{Source, Transfer};
use crate::event::{Event, Severity, chain};
use crate::extension::ExtensionKind;
use crate::fetch::{self, Budget, Ranged};
use crate::image::{Bytes, Facts, Image, ImageError, Release};
use crate::inventory::slots::Slot;
use crate::inventory::{Instance, Inventory, Location, State};
use crate::metadata::Sha256;
use crate::plan::Reach;
use crate::resolve::{Part, Resolution};
use crate::storage::atomic;
use crate::version::Version;

const CACHE: &str = "/var/cache/sysupdate/images";
/// The largest kept look, in bytes.
const CACHE_LIMIT: u64 = 1024 * 1024;
/// So many looks are kept.
const CACHE_ENTRIES: usize = 1024;
/// So many versions are passed over before the search ends: each costs a look.
const LOOKS: usize = 32;

/// How long a glimpse counts, in seconds: as long as a manifest that a server calls unchanged.
const GLIMPSE_LIFE: i64 = 24 * 60 * 60;

/// What an extension is called, and of which kind it is.
type Entry = (ExtensionKind, String);

/// What a few unverified blocks of an image have shown.
#[derive(Serialize, Deserialize)]
struct Glimpse {
    /// When, in seconds since the epoch.
    seen: i64,
    facts: Facts,
}

impl Session<'_> {
    /// Finds out what exists of a component, and which of the versions that it would choose fit this host; `wanted` is one
    /// that is asked for by name.
    ///
    /// # Errors
    /// Those of [`Session::survey`]. A failed look is none: it only leaves the question open.
    pub fn survey_fitting(
        &self,
        component: Component,
        reach: Reach,
        wanted: Option<&str>,
    ) -> Result<Surveyed, SessionError> {
        let wanted: Option<Version> = wanted.and_then(|text| text.parse().ok());
        let mut surveyed = self.survey_for(component, reach, wanted.as_ref())?;
        let mut fitting: Vec<Version> = Vec::new();
        for _ in 0..LOOKS {
            let Some(misfit) = self.next_misfit(&surveyed, wanted.as_ref(), &mut fitting) else {
                break;
            };
            surveyed.knowledge.misfits.push(misfit);
        }
        Ok(surveyed)
    }

    /// Like [`Session::survey_fitting`], but every version that is here whole is looked at.
    ///
    /// # Errors
    /// Those of [`Session::survey`].
    pub fn survey_all_fitting(
        &self,
        component: Component,
        reach: Reach,
    ) -> Result<Surveyed, SessionError> {
        let mut surveyed = self.survey(component, reach)?;
        let mut misfits = Vec::new();
        let resolution = surveyed.resolve();
        for (index, set) in resolution.sets.iter().enumerate() {
            if set.is_installed()
                && let Some(why) = self.misfit(&resolution, index)
            {
                misfits.push((set.version.clone(), why));
            }
        }
        surveyed.knowledge.misfits = misfits;
        Ok(surveyed)
    }

    /// The first version that is about to be chosen and does not fit, with the reason; those that do are added to `fitting`, and
    /// are not looked at again.
    fn next_misfit(
        &self,
        surveyed: &Surveyed,
        wanted: Option<&Version>,
        fitting: &mut Vec<Version>,
    ) -> Option<(Version, String)> {
        let resolution = surveyed.resolve();
        let wanted = wanted
            .and_then(|version| resolution.find(version))
            .filter(|index| resolution.sets[*index].exclusion.is_none());
        let chosen = [wanted, resolution.candidate, resolution.settled].into_iter();
        for index in chosen.flatten() {
            let version = resolution.sets[index].version;
            if fitting.contains(version) {
                continue;
            }
            match self.misfit(&resolution, index) {
                None => fitting.push(version.clone()),
                Some(why) => return Some((version.clone(), why)),
            }
        }
        None
    }

    /// Why a version does not fit, as far as its images can be looked into.
    fn misfit(&self, resolution: &Resolution<'_>, index: usize) -> Option<String> {
        let mut parts = resolution
            .transfers
            .iter()
            .zip(&resolution.sets[index].parts);
        parts.find_map(|((transfer, inventory), part)| {
            let entry = entry(transfer, inventory, part)?;
            match self.look(transfer, part, &entry) {
                Ok(facts) => self.judge(&facts?, &entry),
                Err(why) => Some(why),
            }
        })
    }

    /// What looks into a version's images show, as far as they can be looked into, by transfer.
    #[must_use]
    pub fn facts_of(
        &self,
        resolution: &Resolution<'_>,
        version: &Version,
    ) -> BTreeMap<String, Facts> {
        let Some(index) = resolution.find(version) else {
            return BTreeMap::new();
        };
        let parts = resolution
            .transfers
            .iter()
            .zip(&resolution.sets[index].parts);
        let looks = parts.filter_map(|((transfer, inventory), part)| {
            let entry = entry(transfer, inventory, part)?;
            let facts = self.look(transfer, part, &entry).ok()??;
            Some((transfer.id.clone(), facts))
        });
        looks.collect()
    }

    /// Why a version whose files have just arrived does not fit: the last look before a link moves.
    #[must_use]
    pub fn judge_staged(
        &self,
        resolution: &Resolution<'_>,
        version: &Version,
        staged: &[Option<&Path>],
    ) -> Option<String> {
        let set = &resolution.sets[resolution.find(version)?];
        let parts = resolution.transfers.iter().zip(&set.parts).zip(staged);
        for (((transfer, inventory), part), path) in parts {
            let (Some(path), Some(entry)) = (path, entry(transfer, inventory, part)) else {
                continue;
            };
            let digest = part.available.and_then(|instance| instance.metadata.sha256);
            let key = digest.map(|digest| digest.to_string());
            match self.look_at_file(path, key.as_deref(), &entry) {
                Ok(Some(facts)) => {
                    if let Some(why) = self.judge(&facts, &entry) {
                        return Some(why);
                    }
                }
                Ok(None) => {}
                Err(why) => return Some(why),
            }
        }
        None
    }

    fn judge(&self, facts: &Facts, (kind, name): &Entry) -> Option<String> {
        match compat::judge(self.os, *kind, name, &facts.release) {
            Verdict::Fits => self.shadowed(facts),
            // A root that is being put together has no os-release yet: there is no OS to hold the image against.
            Verdict::Misfit(Misfit::NoOs) if self.loader.host.os_release.is_none() => {
                self.other_architecture(facts, *kind)
            }
            Verdict::Misfit(misfit) => Some(misfit.to_string()),
        }
    }

    /// Why an image does not fit whatever OS this machine will have.
    fn other_architecture(&self, facts: &Facts, kind: ExtensionKind) -> Option<String> {
        let Release::Fields(fields) = &facts.release else {
            return None;
        };
        let mut fields = fields.clone();
        fields.insert("ID".to_owned(), "_any".to_owned());
        let any = [("ID".to_owned(), "_any".to_owned())].into();
        let os = Os::new(any, self.loader.host.architecture.clone());
        match compat::judge_fields(&os, kind, &fields) {
            Verdict::Fits => None,
            Verdict::Misfit(misfit) => Some(misfit.to_string()),
        }
    }

    /// A directory of the image where this system has a symlink (`/usr/sbin` on a merged system): it would take the
    /// symlink's place, and everything behind it would be gone while the extension is merged.
    fn shadowed(&self, facts: &Facts) -> Option<String> {
        let is_link = |directory: &&String| {
            let path = Path::new("/").join(directory);
            matches!(self.root.read_link(&path), Ok(Some(_)))
        };
        let directory = facts.directories.iter().find(is_link)?;
        Some(format!(
            "its directory /{directory} would take the place of this system's symlink"
        ))
    }

    /// Looks into the best copy of a part: the one that is here, else the source's. `Err`: it is here, not installed yet,
    /// and damaged.
    fn look(
        &self,
        transfer: &Transfer,
        part: &Part<'_>,
        entry: &Entry,
    ) -> Result<Option<Facts>, String> {
        match part.installed {
            Some(
                instance @ Instance {
                    state: State::Complete | State::Pending,
                    ..
                },
            ) => {
                let facts = self.look_at_instance(instance, entry);
                // A damaged file that is installed already is for systemd to judge.
                if instance.state == State::Complete {
                    Ok(facts.unwrap_or_default())
                } else {
                    facts
                }
            }
            _ => Ok(self.look_at_source(transfer, part, entry)),
        }
    }

    fn look_at_instance(
        &self,
        instance: &Instance,
        entry: &Entry,
    ) -> Result<Option<Facts>, String> {
        let Some(path) = instance.path() else {
            return Ok(None);
        };
        let key = match instance.provenance {
            Some(provenance) => Some(provenance.sha256.to_string()),
            None => self.identity(path),
        };
        self.look_at_file(path, key.as_deref(), entry)
    }

    fn look_at_source(&self, transfer: &Transfer, part: &Part<'_>, entry: &Entry) -> Option<Facts> {
        let instance = part.available?;
        match (&instance.location, transfer.source()) {
            (Location::File { path, .. }, _) => {
                let key = self.identity(path)?;
                self.look_at_file(path, Some(&key), entry).ok().flatten()
            }
            (Location::Remote { name }, Source::Url(from)) => {
                let url = fetch::url::join(&from.base, name).ok()?;
                let key = instance.metadata.sha256?.to_string();
                self.peek(&url, &key, entry)
            }
            (Location::Asset { url, .. }, _) => {
                let key = instance.metadata.sha256?.to_string();
                self.peek(url, &key, entry)
            }
            (Location::Remote { .. }, Source::Directory(_) | Source::Github(_))
            | (Location::Slot(_), _) => None,
        }
    }

    /// Looks into a remote image, a few blocks of it.
    fn peek(&self, url: &str, key: &str, entry: &Entry) -> Option<Facts> {
        if let Some(facts) = self.remembered(key, entry) {
            return Some(facts);
        }
        let glimpsed = format!("glimpse {key}");
        let now = self.manifests.now().as_second();
        if let Some(Glimpse { seen, facts }) = self.remembered(&glimpsed, entry)
            && (0..GLIMPSE_LIFE).contains(&now.saturating_sub(seen))
        {
            return Some(facts);
        }
        let fetch = self.peek?;
        let reader = match Ranged::open_shared(Arc::clone(fetch), url, Budget::default()) {
            Ok(reader) => reader,
            Err(error) => {
                self.unseen(url, &error);
                return None;
            }
        };
        let length = reader.len();
        let facts = self.facts(Box::new(reader), length, entry);
        match facts {
            Ok(facts) => {
                let glimpse = Glimpse { seen: now, facts };
                self.remember(&glimpsed, entry, &glimpse);
                Some(glimpse.facts)
            }
            Err(error) => {
                self.unseen(url, &error);
                None
            }
        }
    }

    fn unseen(&self, from: &str, error: &dyn std::error::Error) {
        let why = chain(error);
        let text = format!("Cannot look into '{from}' before it is here: {why}");
        self.reporter.report(&Event::Message(Severity::Debug, text));
    }

    /// Looks into a local image. `Ok(None)`: it cannot be looked into; `Err`: it is damaged, for the reason given.
    fn look_at_file(
        &self,
        path: &Path,
        key: Option<&str>,
        entry: &Entry,
    ) -> Result<Option<Facts>, String> {
        if let Some(facts) = key.and_then(|key| self.remembered(key, entry)) {
            return Ok(Some(facts));
        }
        let architecture = self.loader.host.architecture.as_deref().unwrap_or_default();
        let image = match Image::of_path(self.root, path, architecture) {
            Ok(None) | Err(ImageError::Read(_)) => return Ok(None),
            Ok(Some(image)) => Ok(image),
            Err(error) => Err(error),
        };
        match image.and_then(|mut image| Facts::of(&mut image, entry.0, &entry.1)) {
            Ok(facts) => {
                if let Some(key) = key {
                    self.remember(key, entry, &facts);
                }
                Ok(Some(facts))
            }
            Err(error @ ImageError::Damaged { .. }) => Err(error.to_string()),
            Err(error) => {
                self.unseen(&self.root.outer(path).display().to_string(), &error);
                Ok(None)
            }
        }
    }

    fn facts(
        &self,
        reader: Box<dyn Bytes>,
        length: u64,
        (kind, name): &Entry,
    ) -> Result<Facts, ImageError> {
        let architecture = self.loader.host.architecture.as_deref().unwrap_or_default();
        let mut image = Image::open(reader, length, architecture)?;
        Facts::of(&mut image, *kind, name)
    }

    /// What tells one content of a local file from another, where no digest is known.
    fn identity(&self, path: &Path) -> Option<String> {
        let stat = self.root.stat(path).ok()?;
        let text = format!(
            "{}:{}:{}:{}.{}:{}.{}",
            stat.st_dev,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec
        );
        Some(Sha256(sha2::Sha256::digest(text.as_bytes()).into()).to_string())
    }

    fn remembered<T: DeserializeOwned>(&self, key: &str, entry: &Entry) -> Option<T> {
        let bytes = self.root.read(&memory(key, entry), CACHE_LIMIT).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Begins anew when too many looks are kept: a full one costs a few requests, and happens once in years.
    fn make_room(&self) {
        let Ok(directory) = self.root.directory(Path::new(CACHE)) else {
            return;
        };
        let entries = directory.entries().unwrap_or_default();
        if entries.len() >= CACHE_ENTRIES {
            for entry in entries {
                let _ = atomic::remove(self.root, &directory, &entry.name);
            }
        }
    }

    /// Keeps what a look has shown. An optimisation: where it cannot be written the next run looks again.
    fn remember(&self, key: &str, entry: &Entry, shown: &impl Serialize) {
        if let Ok(text) = serde_json::to_vec(shown) {
            self.make_room();
            let _ = atomic::write(self.root, &memory(key, entry), &text, 0o644);
        }
    }
}

/// Which extension a part is, if it is one: by its link's name, else by its own.
fn entry(transfer: &Transfer, inventory: &Inventory, part: &Part<'_>) -> Option<Entry> {
    let link = inventory.link.as_ref();
    if let Some(entry) = link.and_then(|link| ExtensionKind::entry(&link.path)) {
        return Some(entry);
    }
    if let Some(path) = part.installed.and_then(Instance::path) {
        return ExtensionKind::entry(path);
    }
    let name = match &part.available?.location {
        Location::Remote { name } | Location::Asset { name, .. } => Path::new(name),
        Location::File { path, .. } | Location::Slot(Slot { path, .. }) => path,
    };
    let directory = transfer.target().place.directory()?;
    ExtensionKind::entry(&directory.join(name.file_name()?))
}

fn memory(key: &str, (kind, name): &Entry) -> PathBuf {
    let text = format!("{key} {kind} {name}");
    let digest = Sha256(sha2::Sha256::digest(text.as_bytes()).into());
    Path::new(CACHE).join(format!("{digest}.json"))
}
