//! Decides which version is newest, current, and next, and says why of every version.
//!
//! Pure: inventories in, a [`Resolution`] out. An *update set* is one version over all enabled transfers of a
//! component (compat 3, section 3.1); versions that are equal in the version order are one set.

mod knowledge;

use std::fmt;
use std::path::Path;

use crate::definition::transfer::{Located, Origin, Transfer};
use crate::inventory::link::{Link, LinkState};
use crate::inventory::{Arrival, Instance, Inventory, Location, State};
use crate::verify::memory::Changed;
use crate::version::Version;

pub use knowledge::{Hold, Knowledge, Mark, MarkKind, Marks};

/// One version over all enabled transfers.
#[derive(Debug, Clone)]
pub struct UpdateSet<'a> {
    /// The version, in the spelling of the first instance.
    pub version: &'a Version,
    /// One part per enabled transfer, in order.
    pub parts: Vec<Part<'a>>,
    /// Older than `MinVersion=` of a transfer.
    pub obsolete: bool,
    /// Named by `ProtectVersion=` of a transfer.
    pub protected: bool,
    /// Why it is not installed by itself, if something forbids it.
    pub exclusion: Option<Exclusion>,
}

/// What one transfer knows of a version.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The best instance of the target: complete before pending before partial.
    pub installed: Option<&'a Instance>,
    /// The instance of the source.
    pub available: Option<&'a Instance>,
}

impl Part<'_> {
    fn state(&self) -> Option<State> {
        self.installed.map(|instance| instance.state)
    }
}

impl UpdateSet<'_> {
    /// Whether nothing forbids that the current symlinks lead to it once it is installed.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.exclusion.as_ref().is_some_and(Exclusion::forbids_use)
    }

    /// Whether its image is made for another system than this.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        matches!(self.exclusion, Some(Exclusion::Misfit(_)))
    }

    /// Whether any transfer holds something of it, finished or not.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.parts.iter().any(|part| part.installed.is_some())
    }

    /// Whether every transfer holds it under its final name.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.parts
            .iter()
            .all(|part| part.state() == Some(State::Complete))
    }

    /// Whether it is installed, but a transfer lacks it.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.is_installed() && self.parts.iter().any(|part| part.installed.is_none())
    }

    /// Whether a part was left unfinished.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.state() == Some(State::Partial))
    }

    /// Whether a part is acquired and waits for its installation.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.state() == Some(State::Pending))
    }

    /// Whether everything is here and only some of it is installed: its installation was begun.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.is_pending()
            && !self.is_incomplete()
            && !self.is_partial()
            && self
                .parts
                .iter()
                .any(|part| part.state() == Some(State::Complete))
    }

    /// Whether every source offers it.
    #[must_use]
    pub fn is_available(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| part.available.is_some())
    }

    /// Whether it is offered or installed; a version that only some sources offer is neither.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.is_installed() || self.is_available()
    }

    /// Whether all that is missing can be had: from what is pending here, or from its source.
    #[must_use]
    pub fn is_obtainable(&self) -> bool {
        self.parts.iter().all(|part| {
            matches!(part.state(), Some(State::Complete | State::Pending))
                || part.available.is_some()
        })
    }
}

/// What keeps a version from being installed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exclusion {
    /// A setting.
    Setting {
        /// Which, and by what.
        rule: Rule,
        /// Where it is set.
        origin: Origin,
    },
    /// Its image does not fit this host, for the reason given.
    Misfit(String),
    /// It was tried and reverted, or the operator went back from it.
    Marked(Mark),
    /// The component is held.
    Held(Hold),
    /// Its source offers other bytes than those that it was seen with.
    Changed(Changed),
}

impl Exclusion {
    /// Whether asking for the version by name is reason enough to install it.
    #[must_use]
    pub fn yields_to_request(&self) -> bool {
        matches!(self, Self::Marked(_))
    }

    /// Whether the version, once installed, must not be what the current symlinks lead to.
    #[must_use]
    pub fn forbids_use(&self) -> bool {
        matches!(self, Self::Marked(_) | Self::Misfit(_))
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { rule, origin } => write!(formatter, "{rule} ({origin})"),
            Self::Misfit(why) => formatter.write_str(why),
            Self::Marked(mark) => mark.fmt(formatter),
            Self::Held(hold) => write!(formatter, "the component is held since {}", hold.since),
            Self::Changed(file) => write!(
                formatter,
                "another checksum than when it was seen here on {}",
                file.seen
            ),
        }
    }
}

/// Why a version is, or is not, what `update` would install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is what `update` installs next.
    Candidate,
    /// It is what runs, and nothing is missing.
    Current,
    /// It is installed beside a newer one.
    Superseded,
    /// It is installed, but an older version was chosen.
    SetAside {
        /// The version that was chosen.
        chosen: Version,
    },
    /// It is not newer than the newest installed version.
    TooOld {
        /// The newest version that is completely installed.
        installed: Version,
    },
    /// A newer one is chosen.
    NotNewest {
        /// The candidate.
        candidate: Version,
    },
    /// Something excludes it.
    Excluded(Exclusion),
    /// It is installed, and something forbids its use.
    Unfit(Exclusion),
    /// Some of the sources do not offer it.
    IncompleteAtSource {
        /// The transfers whose source lacks it.
        lacking: Vec<String>,
    },
    /// It is installed in part, and the missing rest is not to be had.
    Unobtainable {
        /// The transfers whose source lacks it.
        lacking: Vec<String>,
    },
    /// It was left unfinished and nothing needs it.
    Leftover,
}

/// A setting that excludes a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `MinVersion=`.
    Minimum(Version),
    /// `MaxVersion=`.
    Maximum(Version),
    /// `X-VersionRange=`, `range`.
    Range(String),
    /// `X-VersionRange=`, `range`, for a version that is no semantic version.
    NotSemantic(String),
    /// `X-SkipVersion=`, `skip`.
    Skip,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minimum(bound) => write!(formatter, "older than the minimum version {bound}"),
            Self::Maximum(bound) => write!(formatter, "newer than the maximum version {bound}"),
            Self::Range(range) => write!(formatter, "outside the version range {range}"),
            Self::NotSemantic(range) => {
                write!(
                    formatter,
                    "no semantic version (MAJOR.MINOR.PATCH), so in no version range, {range} either"
                )
            }
            Self::Skip => formatter.write_str("on the list of versions to skip"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Candidate => formatter.write_str("newest version that fits"),
            Self::Current => formatter.write_str("installed and current"),
            Self::Superseded => formatter.write_str("installed beside a newer version"),
            Self::SetAside { chosen } => write!(formatter, "installed, but set aside for {chosen}"),
            Self::TooOld { installed } => {
                write!(formatter, "not newer than the installed {installed}")
            }
            Self::NotNewest { candidate } => {
                write!(formatter, "older than the candidate {candidate}")
            }
            Self::Excluded(exclusion) => exclusion.fmt(formatter),
            Self::Unfit(exclusion) => write!(formatter, "installed, not used: {exclusion}"),
            Self::IncompleteAtSource { lacking } => {
                write!(
                    formatter,
                    "incomplete: the source of transfer {} lacks it",
                    lacking.join(", ")
                )
            }
            Self::Unobtainable { lacking } => {
                write!(
                    formatter,
                    "incomplete here, and the source of transfer {} lacks it",
                    lacking.join(", ")
                )
            }
            Self::Leftover => formatter.write_str("left unfinished, not needed"),
        }
    }
}

/// What is known of one component's versions.
#[derive(Debug, Clone)]
pub struct Resolution<'a> {
    /// The enabled transfers and what they know, in order.
    pub transfers: Vec<(&'a Transfer, &'a Inventory)>,
    /// All versions, newest first.
    pub sets: Vec<UpdateSet<'a>>,
    /// The version that counts as current: the newest that is installed, finished or not, unless a current symlink
    /// was deliberately set to an older one.
    pub current: Option<usize>,
    /// The newest version that is complete.
    pub newest_complete: Option<usize>,
    /// What a candidate has to be newer than: the newest complete version whose image is not made for another system.
    pub baseline: Option<usize>,
    /// What `update` would install.
    pub candidate: Option<usize>,
    /// The complete version that the current symlinks belong to: the newest, or an older one that was chosen.
    pub settled: Option<usize>,
    /// Transfers (by index) whose current symlink does not lead to the settled version: missing, dangling, or left
    /// behind by a run that was cut off.
    pub stale_links: Vec<usize>,
}

impl<'a> Resolution<'a> {
    /// Resolves the inventories of the enabled transfers of one component.
    #[must_use]
    pub fn new(transfers: &[(&'a Transfer, &'a Inventory)], knowledge: &Knowledge) -> Self {
        let mut sets = update_sets(transfers);
        for set in &mut sets {
            set.exclusion = exclusion(transfers, set, knowledge);
        }
        let newest_complete = sets.iter().position(UpdateSet::is_complete);
        let baseline = sets
            .iter()
            .position(|set| set.is_complete() && !set.is_misfit());
        if let Some(hold) = &knowledge.marks.hold {
            let newer = newest_complete.unwrap_or(sets.len());
            for set in &mut sets[..newer] {
                set.exclusion
                    .get_or_insert_with(|| Exclusion::Held(hold.clone()));
            }
        }
        let candidate = candidate(&sets, baseline);
        let newest_usable = sets
            .iter()
            .position(|set| set.is_complete() && set.is_usable());
        let recorded = knowledge.choice.as_ref().and_then(|choice| {
            sets.iter()
                .position(|set| set.version == choice && set.is_complete() && set.is_usable())
        });
        let chosen = recorded.or_else(|| chosen_by_link(&sets, transfers, newest_usable?));
        let settled = chosen.or(newest_usable);
        let newest_installed = sets.iter().position(UpdateSet::is_installed);
        let current = match (newest_installed, newest_complete) {
            (Some(installed), Some(complete)) if installed == complete => {
                settled.or(Some(complete))
            }
            // What waits and must not be used is not what runs.
            (Some(installed), Some(_)) if !sets[installed].is_usable() => {
                settled.or(Some(installed))
            }
            (installed, _) => installed,
        };
        let stale_links =
            settled.map_or_else(Vec::new, |settled| stale_links(&sets[settled], transfers));
        Self {
            transfers: transfers.to_vec(),
            sets,
            current,
            newest_complete,
            baseline,
            candidate,
            settled,
            stale_links,
        }
    }

    /// Whether the current symlink of a transfer leads to its part of a version; one without symlink does.
    #[must_use]
    pub fn leads_to(&self, transfer: usize, index: usize) -> bool {
        match self.transfers[transfer]
            .1
            .link
            .as_ref()
            .map(|link| &link.state)
        {
            None => true,
            Some(LinkState::To(destination)) => {
                holds(&self.sets[index].parts[transfer], destination)
            }
            Some(_) => false,
        }
    }

    /// The set of a version, by the version order.
    #[must_use]
    pub fn find(&self, version: &Version) -> Option<usize> {
        self.sets.iter().position(|set| set.version == version)
    }

    /// What `check-new` answers: the candidate, or the installed version whose link has yet to be moved.
    #[must_use]
    pub fn offered(&self) -> Option<&UpdateSet<'a>> {
        let unfinished = self.settled.filter(|_| !self.stale_links.is_empty());
        self.candidate.or(unfinished).map(|index| &self.sets[index])
    }

    /// Why a version is, or is not, what `update` would install.
    #[must_use]
    pub fn reason(&self, index: usize) -> Reason {
        let set = &self.sets[index];
        if self.candidate == Some(index) {
            return Reason::Candidate;
        }
        if set.is_complete() {
            let forbidden = set.exclusion.as_ref().filter(|one| one.forbids_use());
            return match self.settled {
                _ if forbidden.is_some() => Reason::Unfit(forbidden.cloned().expect("just seen")),
                Some(settled) if settled == index => Reason::Current,
                Some(settled) if settled > index => Reason::SetAside {
                    chosen: self.sets[settled].version.clone(),
                },
                _ => Reason::Superseded,
            };
        }
        if let Some(exclusion) = &set.exclusion {
            return Reason::Excluded(exclusion.clone());
        }
        if !set.is_obtainable() {
            let lacking = self.lacking(index);
            return if set.is_installed() {
                Reason::Unobtainable { lacking }
            } else {
                Reason::IncompleteAtSource { lacking }
            };
        }
        match (self.candidate, self.baseline) {
            (Some(better), _) if better < index => Reason::NotNewest {
                candidate: self.sets[better].version.clone(),
            },
            (_, Some(installed)) if installed < index => Reason::TooOld {
                installed: self.sets[installed].version.clone(),
            },
            _ => self.newest_in_part(index),
        }
    }

    fn newest_in_part(&self, index: usize) -> Reason {
        let here = |set: &UpdateSet<'_>| {
            set.parts
                .iter()
                .any(|part| part.state() == Some(State::Complete))
        };
        match self.sets[..index].iter().find(|set| here(set)) {
            Some(set) => Reason::TooOld {
                installed: set.version.clone(),
            },
            None => Reason::Leftover,
        }
    }

    /// The transfers that can get a version neither from their target's pending instances nor from their source.
    #[must_use]
    pub fn lacking(&self, index: usize) -> Vec<String> {
        let has = |part: &Part<'_>| {
            part.available.is_some()
                || matches!(part.state(), Some(State::Complete | State::Pending))
        };
        let parts = self.transfers.iter().zip(&self.sets[index].parts);
        parts
            .filter(|(_, part)| !has(part))
            .map(|((transfer, _), _)| transfer.id.clone())
            .collect()
    }
}

/// What keeps a version from being installed by itself; the operator's settings come first.
fn exclusion(
    transfers: &[(&Transfer, &Inventory)],
    set: &UpdateSet<'_>,
    knowledge: &Knowledge,
) -> Option<Exclusion> {
    let version = set.version;
    let marked = || {
        let mark = knowledge.marks.of(version)?;
        (!is_published_anew(transfers, set, mark)).then(|| Exclusion::Marked(mark.clone()))
    };
    excluding_setting(transfers, version)
        .map(|(rule, origin)| Exclusion::Setting { rule, origin })
        .or_else(|| {
            let why = knowledge.misfit(version)?;
            Some(Exclusion::Misfit(why.to_owned()))
        })
        .or_else(|| changed(transfers, set).map(Exclusion::Changed))
        .or_else(marked)
}

/// What is wrong with the bytes that are not in use yet: nobody knows whether those that were acquired or those that are
/// offered are the right ones. An installation that was begun with the first is finished with them.
fn changed(transfers: &[(&Transfer, &Inventory)], set: &UpdateSet<'_>) -> Option<Changed> {
    if set.is_begun() {
        return None;
    }
    let parts = transfers.iter().zip(&set.parts);
    let mut wanting = parts.filter(|(_, part)| part.state() != Some(State::Complete));
    wanting.find_map(|((_, inventory), _)| inventory.changed.get(set.version).cloned())
}

/// Whether a source offers other bytes under the version than those that were marked. Only while none of the marked
/// bytes stand under their final names: what is installed is what was marked.
fn is_published_anew(
    transfers: &[(&Transfer, &Inventory)],
    set: &UpdateSet<'_>,
    mark: &Mark,
) -> bool {
    let differs = |((transfer, _), part): (&(&Transfer, &Inventory), &Part<'_>)| {
        let offered = part.available.and_then(|instance| instance.metadata.sha256);
        offered
            .zip(mark.digests.get(&transfer.id))
            .is_some_and(|(offered, marked)| offered.to_string() != *marked)
    };
    !set.is_complete() && transfers.iter().zip(&set.parts).any(differs)
}

/// Whether the settings of a transfer leave a version to choose from.
#[must_use]
pub fn admits(transfer: &Transfer, version: &Version) -> bool {
    excluding_setting(&[(transfer, &Inventory::default())], version).is_none()
}

/// Which setting of which transfer keeps a version from being installed.
fn excluding_setting(
    transfers: &[(&Transfer, &Inventory)],
    version: &Version,
) -> Option<(Rule, Origin)> {
    let excluded = |rule, origin: &Origin| Some((rule, origin.clone()));
    for (transfer, _) in transfers {
        if let Some(Located { value, origin }) = &transfer.min_version
            && version < value
        {
            return excluded(Rule::Minimum(value.clone()), origin);
        }
        if let Some(Located { value, origin }) = &transfer.max_version
            && version > value
        {
            return excluded(Rule::Maximum(value.clone()), origin);
        }
        if let Some(Located { value, origin }) = &transfer.range
            && !value.contains(version)
        {
            let range = value.to_string();
            let rule = version
                .to_semantic()
                .map_or(Rule::NotSemantic(range.clone()), |_| Rule::Range(range));
            return excluded(rule, origin);
        }
        if let Some(Located { origin, .. }) =
            transfer.skip.iter().find(|skip| skip.value == *version)
        {
            return excluded(Rule::Skip, origin);
        }
    }
    None
}

/// Groups the instances of all transfers by version: one sort over all of them, linear otherwise.
fn update_sets<'a>(transfers: &[(&'a Transfer, &'a Inventory)]) -> Vec<UpdateSet<'a>> {
    let mut found: Vec<(&'a Instance, usize, Side)> = Vec::new();
    for (index, (_, inventory)) in transfers.iter().enumerate() {
        found.extend(
            inventory
                .installed
                .iter()
                .map(|instance| (instance, index, Side::Target)),
        );
        found.extend(
            inventory
                .available
                .iter()
                .map(|instance| (instance, index, Side::Source)),
        );
    }
    // Stable: within a version the order of transfers, target before source, and of each listing stays.
    found.sort_by(|left, right| right.0.metadata.version.cmp(&left.0.metadata.version));
    let mut sets: Vec<UpdateSet<'a>> = Vec::new();
    for (instance, index, side) in found {
        let version = &instance.metadata.version;
        if sets.last().is_none_or(|set| set.version != version) {
            sets.push(UpdateSet {
                version,
                parts: vec![
                    Part {
                        installed: None,
                        available: None
                    };
                    transfers.len()
                ],
                obsolete: transfers.iter().any(|(transfer, _)| {
                    transfer
                        .min_version
                        .as_ref()
                        .is_some_and(|minimum| *version < minimum.value)
                }),
                protected: transfers
                    .iter()
                    .any(|(transfer, _)| transfer.protected.contains(version)),
                exclusion: None,
            });
        }
        let Some(part) = sets.last_mut().map(|set| &mut set.parts[index]) else {
            continue;
        };
        match side {
            // Complete before pending before partial.
            Side::Target
                if part
                    .installed
                    .is_none_or(|best| instance.state < best.state) =>
            {
                part.installed = Some(instance);
            }
            Side::Target => {}
            // compat: of several manifest lines for one name the last counts (compat 2, B5.3 rule 3).
            Side::Source => part.available = Some(instance),
        }
    }
    sets
}

enum Side {
    Target,
    Source,
}

/// The set that is installed next: the newest that is newer than the baseline, admitted by every setting and obtainable.
/// What is here for another system (this host may have gone back from it) counts for nothing. An installation that was begun is finished first, so that a host does not stay between two versions as
/// long as a newer one cannot be had. Nothing older than a version that is still here in part comes by itself.
fn candidate(sets: &[UpdateSet<'_>], baseline: Option<usize>) -> Option<usize> {
    let has_part = |set: &UpdateSet<'_>| {
        !set.is_misfit()
            && set
                .parts
                .iter()
                .any(|part| part.state() == Some(State::Complete))
    };
    let begun = sets
        .iter()
        .position(has_part)
        .map_or(sets.len(), |index| index + 1);
    let newer = &sets[..baseline.unwrap_or(sets.len()).min(begun)];
    let admitted = |set: &UpdateSet<'_>| set.exclusion.is_none();
    // A hold keeps a host from going on, not from leaving the place between two versions.
    let finishes =
        |set: &UpdateSet<'_>| admitted(set) || matches!(set.exclusion, Some(Exclusion::Held(_)));
    let unfinished = newer.iter().position(|set| set.is_begun() && finishes(set));
    unfinished.or_else(|| {
        newer
            .iter()
            .position(|set| set.is_obtainable() && admitted(set))
    })
}

/// The older version that the current symlinks were deliberately set to, if they were, without a record of it: by
/// another tool.
///
/// An installation that was cut off between its last rename and its link leaves the link on an older version, and so
/// does an explicit downgrade. The two are told apart by what the files' inodes say: going back fetches and renames the
/// older version after the newer one stood. A link that was left behind leads to a file that is older on disk as well,
/// and is repaired.
fn chosen_by_link(
    sets: &[UpdateSet<'_>],
    transfers: &[(&Transfer, &Inventory)],
    newest: usize,
) -> Option<usize> {
    let mut chosen = None;
    for (index, (_, inventory)) in transfers.iter().enumerate() {
        let Some(Link {
            state: LinkState::To(destination),
            ..
        }) = &inventory.link
        else {
            continue;
        };
        let set = sets
            .iter()
            .position(|set| set.is_complete() && holds(&set.parts[index], destination))?;
        let (own, newer) = (
            arrival(&sets[set].parts[index]),
            arrival(&sets[newest].parts[index]),
        );
        // A link to something newer leads to what must not be used: left behind, whatever its file's age.
        let later = set > newest
            && sets[set].is_usable()
            && own
                .zip(newer)
                .is_some_and(|(own, newer)| own.is_after(newer));
        if !later || chosen.is_some_and(|other| other != set) {
            return None;
        }
        chosen = Some(set);
    }
    chosen
}

fn stale_links(newest: &UpdateSet<'_>, transfers: &[(&Transfer, &Inventory)]) -> Vec<usize> {
    let stale = |index: &usize| {
        let (_, inventory) = transfers[*index];
        match inventory.link.as_ref().map(|link| &link.state) {
            None | Some(LinkState::Masked) => false,
            Some(LinkState::To(destination)) => !holds(&newest.parts[*index], destination),
            Some(LinkState::Missing | LinkState::Dangling | LinkState::Occupied) => true,
        }
    };
    (0..transfers.len()).filter(stale).collect()
}

fn holds(part: &Part<'_>, path: &Path) -> bool {
    part.installed.and_then(Instance::path) == Some(path)
}

fn arrival(part: &Part<'_>) -> Option<Arrival> {
    match part.installed.map(|instance| &instance.location) {
        Some(Location::File { arrival, .. }) => Some(*arrival),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
