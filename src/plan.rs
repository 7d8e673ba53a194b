//! What a run will do, decided before it does anything.
//!
//! Pure: a [`Resolution`] and a [`Request`] in, a [`Decision`] out. The executor obeys the plan and decides nothing.

pub mod document;
mod removal;
mod step;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::definition::transfer::{Place, Transfer};
use crate::gpt::types::PartitionType;
use crate::inventory::{Instance, Inventory, State};
use crate::metadata::Metadata;
use crate::pattern::RenderError;
use crate::resolve::{Exclusion, Resolution, UpdateSet};
use crate::version::Version;

use removal::leftovers;
pub use removal::{Planned, Removal, RemovalKind, count, removals};

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// A certain version, or the newest that fits.
    pub version: Option<&'a str>,
    /// How far to go.
    pub goal: Goal,
    /// Whether sources were asked.
    pub reach: Reach,
    /// `--instances-max=`: overrides the definitions.
    pub instances_max: Option<u64>,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Download and verify only.
    Acquire,
    /// Install and switch as well.
    Install,
    /// Fetch nothing, only let the current symlinks lead where they should.
    Relink,
}

/// Whether sources take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Sources are asked.
    Online,
    /// `--offline`: only what is on this host counts.
    Offline,
}

/// The outcome of planning.
#[derive(Debug)]
pub enum Decision<'a> {
    /// There is nothing to install, for the reason given.
    Nothing {
        /// The reason.
        idle: Idle<'a>,
        /// Cut-off downloads of versions that their source no longer offers.
        leftovers: Vec<Removal<'a>>,
    },
    /// This is to be done.
    Do(Plan<'a>),
}

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle<'a> {
    /// No version is newer than what is installed.
    UpToDate,
    /// The version asked for is installed.
    AlreadyInstalled(&'a Version),
    /// The version asked for is acquired, and no more was asked.
    AlreadyAcquired(&'a Version),
}

/// What a run will do.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The version to install.
    pub version: &'a Version,
    /// How far to go.
    pub goal: Goal,
    /// What to tell the user before it starts.
    pub notices: Vec<String>,
    /// One step per enabled transfer, in order.
    pub steps: Vec<Step<'a>>,
    /// What goes before, because there is no other partition for the new version.
    pub evictions: Vec<Removal<'a>>,
    /// What goes after the new version stands.
    pub removals: Vec<Removal<'a>>,
    /// Whether an earlier run left the version unfinished.
    pub resumes: bool,
    /// What becomes of the record of an older version that was chosen.
    pub choice: Choice,
}

/// What a plan means for the record of the chosen version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Asked for by name although a newer version stands: on record from now on.
    Made,
    /// Something newest is installed: no older version is chosen any more.
    Over,
    /// Only a link is put right.
    Untouched,
}

impl Plan<'_> {
    /// Whether all files stand already, and only links are to be moved.
    #[must_use]
    pub fn moves_only_links(&self) -> bool {
        self.steps
            .iter()
            .all(|step| matches!(step.action, Action::Keep))
    }
}

/// What happens for one transfer.
#[derive(Debug)]
pub struct Step<'a> {
    /// The transfer.
    pub transfer: &'a Transfer,
    /// Where the version will stand: an inner path.
    pub path: PathBuf,
    /// The partition behind that path, if it is one.
    pub slot: Option<SlotStep>,
    /// How it comes there.
    pub action: Action<'a>,
}

impl Step<'_> {
    /// Whether it is a tree that must not be changed any more once it is installed (`ReadOnly=`, `@r`).
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        let by_name = match &self.action {
            Action::Acquire { metadata, .. } => metadata.read_only,
            Action::Keep | Action::Install(_) => None,
        };
        let target = self.transfer.target();
        matches!(target.place, Place::Trees(..))
            && target.overrides.read_only.or(by_name) == Some(true)
    }
}

/// A partition, and what it will be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStep {
    /// Its number, from 1.
    pub number: u32,
    /// Its size, in bytes.
    pub size: u64,
    /// Its label.
    pub label: String,
}

/// How a version comes to stand in its place.
#[derive(Debug)]
pub enum Action<'a> {
    /// It stands there already.
    Keep,
    /// It is pending at this path.
    Install(&'a Path),
    /// It is fetched from its source.
    Acquire {
        /// The instance of the source.
        source: &'a Instance,
        /// All that is known of it, explicit settings included.
        metadata: Metadata,
    },
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing by that name.
    #[error("Update '{0}' not found.")]
    NotFound(String),
    /// Below `MinVersion=`.
    #[error("Selected update '{0}' is obsolete, refusing.")]
    Obsolete(Version),
    /// Kept out by a setting of ours.
    #[error("Selected update '{version}' is excluded, refusing: {reason}")]
    Excluded {
        /// The version.
        version: Version,
        /// What excludes it.
        reason: Exclusion,
    },
    /// A source does not offer it.
    #[error("Selected update '{version}' is incomplete at its source: transfer {} lacks it.", lacking.join(", "))]
    Unobtainable {
        /// The version.
        version: Version,
        /// The transfers.
        lacking: Vec<String>,
    },
    /// Unfinished, and cannot be finished now.
    #[error(
        "Selected update '{0}' is already acquired and partially installed. Vacuum it to try installing again."
    )]
    Stuck(Version),
    /// There is no way back.
    #[error("{component} has no older version to go back to")]
    NothingOlder {
        /// The component.
        component: String,
    },
    /// No link says which version is used.
    #[error("{component} has no current symlink that could lead to another version")]
    NoLink {
        /// The component.
        component: String,
    },
    /// Nothing waits for a boot.
    #[error("nothing is staged")]
    NothingStaged,
    /// A disk has no two partitions that take turns.
    #[error(
        "Partition table has less than two partition slots of the right type {kind} and matching the expected pattern \
         '{pattern}', refusing."
    )]
    FewSlots {
        /// The type.
        kind: PartitionType,
        /// The first pattern.
        pattern: String,
    },
    /// Every partition holds something that must stay, or is too small.
    #[error("No available partition of a suitable size found. (transfer '{transfer}': {reason})")]
    NoSlot {
        /// The transfer.
        transfer: String,
        /// What is with those there are.
        reason: String,
    },
    /// Two transfers want the same place.
    #[error("transfers '{first}' and '{second}' both want '{}'", path.display())]
    Conflict {
        /// A transfer's id.
        first: String,
        /// Another's.
        second: String,
        /// The file or current symlink: an inner path.
        path: PathBuf,
    },
    /// The target's name cannot be formed.
    #[error("cannot name version '{version}' of transfer '{transfer}'")]
    Name {
        /// The version.
        version: Version,
        /// The transfer.
        transfer: String,
        /// The cause.
        source: RenderError,
    },
}

impl PlanError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => {
                Some("`sysupdate list` shows the versions that are installed or offered")
            }
            Self::Excluded {
                reason: Exclusion::Held(_),
                ..
            } => Some("`sysupdate unhold` lets the component go on"),
            Self::Excluded {
                reason: Exclusion::Changed(_),
                ..
            } => Some(
                "`--accept-manifest` accepts what is offered now, once, and remembers it: if the publisher has rebuilt it (ask him)",
            ),
            Self::Excluded { .. } => {
                Some("`sysupdate list --why` shows the reason of each version")
            }
            Self::Unobtainable { .. } => {
                Some("wait until the publisher has released every part of it")
            }
            Self::Conflict { .. } => Some(
                "give them different `MatchPattern=`, `Path=` or `CurrentSymlink=` in [Target]",
            ),
            Self::FewSlots { .. } => Some(
                "one partition holds the version that runs, another takes the new one: make a second one (labelled \
                 `_empty`) of this type, or check `MatchPartitionType=` and `MatchPattern=`",
            ),
            Self::NoSlot { .. } => Some(
                "`sysupdate list VERSION` shows what a partition holds; `ProtectVersion=` keeps versions, a larger partition takes larger ones",
            ),
            Self::NothingOlder { .. } => Some(
                "`sysupdate list` shows what is installed; `sysupdate update VERSION` installs an older one anew",
            ),
            Self::NoLink { .. } => Some(
                "what is started from partitions is chosen by the boot loader, and files without `CurrentSymlink=` by whoever uses them",
            ),
            Self::NothingStaged => {
                Some("`sysupdate status` shows what is installed and what waits")
            }
            Self::Obsolete(_) | Self::Stuck(_) | Self::Name { .. } => None,
        }
    }
}

/// Decides what a request leads to. `transfers` are all of the component, disabled ones too.
///
/// # Errors
/// When the request cannot or must not be fulfilled.
pub fn decide<'a>(
    resolution: &Resolution<'a>,
    transfers: &[(&'a Transfer, &'a Inventory)],
    request: Request<'_>,
) -> Result<Decision<'a>, PlanError> {
    let mut notices = Vec::new();
    let selected = match request.version {
        Some(text) => explicit(resolution, text, request, &mut notices)?,
        None => newest(resolution, request)?,
    };
    let set = match selected {
        Selected::Set(set) => set,
        Selected::Idle(idle) => {
            let leftovers = match (request.reach, request.version) {
                (Reach::Online, None) => leftovers(resolution),
                _ => Vec::new(),
            };
            return Ok(Decision::Nothing { idle, leftovers });
        }
    };
    let pending = !set.is_complete() && is_here(set);
    if pending {
        notices.push(format!(
            "Selected update '{}' is already acquired and pending installation.",
            set.version
        ));
        if request.goal == Goal::Acquire {
            let idle = Idle::AlreadyAcquired(set.version);
            return Ok(Decision::Nothing {
                idle,
                leftovers: Vec::new(),
            });
        }
    } else if set.is_incomplete() && !set.is_partial() {
        notices.push(format!(
            "Selected update '{}' is already installed, but incomplete. Repairing.",
            set.version
        ));
    }
    let mut steps = Vec::with_capacity(set.parts.len());
    let mut evictions = Vec::new();
    let running = removal::running(transfers);
    for (index, part) in set.parts.iter().enumerate() {
        let (transfer, inventory) = resolution.transfers[index];
        let mut taken = steps.iter().map(|step: &Step<'_>| step.path.as_path());
        let one = step::of(transfer, inventory, set, part, &running, &mut taken)?;
        steps.push(one.step);
        evictions.extend(one.eviction);
    }
    refuse_conflicts(&steps)?;
    let paths: Vec<&Path> = steps.iter().map(|step| step.path.as_path()).collect();
    let planned = Planned {
        version: set.version,
        goal: request.goal,
        paths: &paths,
    };
    let mut removals = match request.goal {
        Goal::Relink => Vec::new(),
        Goal::Acquire | Goal::Install => removals(transfers, Some(planned), request.instances_max),
    };
    if !evictions.is_empty() {
        let first = removal::of_the_evicted(transfers, planned, request.instances_max, &evictions);
        removals.retain(|later| first.iter().all(|first| first.path != later.path));
        evictions.splice(0..0, first);
    }
    let resumes = set.is_partial();
    let newest = resolution
        .newest_complete
        .map(|newest| resolution.sets[newest].version);
    let older = newest.is_some_and(|newest| newest > set.version);
    let choice = match request.version {
        Some(_) if older => Choice::Made,
        None if set.is_complete() => Choice::Untouched,
        _ => Choice::Over,
    };
    Ok(Decision::Do(Plan {
        version: set.version,
        goal: request.goal,
        notices,
        steps,
        evictions,
        removals,
        resumes,
        choice,
    }))
}

/// Whether all of it is on this host, installed or acquired.
fn is_here(set: &UpdateSet<'_>) -> bool {
    set.parts.iter().all(|part| {
        part.installed
            .is_some_and(|instance| matches!(instance.state, State::Complete | State::Pending))
    })
}

enum Selected<'a, 'r> {
    Set(&'r UpdateSet<'a>),
    Idle(Idle<'a>),
}

fn newest<'a, 'r>(
    resolution: &'r Resolution<'a>,
    request: Request<'_>,
) -> Result<Selected<'a, 'r>, PlanError> {
    // Where nothing that is installed can be used, what was acquired for this system (by `gate`, before its first boot) is.
    let relinks = request.goal == Goal::Relink;
    let admitted = |set: &UpdateSet<'_>| !relinks || (resolution.settled.is_none() && is_here(set));
    let candidate = resolution.candidate.map(|index| &resolution.sets[index]);
    if let Some(candidate) = candidate.filter(|set| admitted(set)) {
        return Ok(Selected::Set(candidate));
    }
    // Without its source an unfinished version cannot be finished; with it, one that vanished is merely a leftover.
    let newer = &resolution.sets[..resolution.baseline.unwrap_or(resolution.sets.len())];
    let unfinished = newer
        .iter()
        .find(|set| set.is_partial() && set.exclusion.is_none());
    match (unfinished, resolution.settled) {
        (Some(set), _) if request.reach == Reach::Offline && request.goal != Goal::Relink => {
            Err(PlanError::Stuck(set.version.clone()))
        }
        (_, Some(settled))
            if !resolution.stale_links.is_empty() && request.goal != Goal::Acquire =>
        {
            Ok(Selected::Set(&resolution.sets[settled]))
        }
        _ => Ok(Selected::Idle(Idle::UpToDate)),
    }
}

fn explicit<'a, 'r>(
    resolution: &'r Resolution<'a>,
    text: &str,
    request: Request<'_>,
    notices: &mut Vec<String>,
) -> Result<Selected<'a, 'r>, PlanError> {
    let not_found = || PlanError::NotFound(text.to_owned());
    let version: Version = text.parse().map_err(|_| not_found())?;
    let index = resolution.find(&version).ok_or_else(not_found)?;
    let set = &resolution.sets[index];
    if !set.is_listed() {
        return Err(not_found());
    }
    if set.is_complete() {
        let refused = refusing(set);
        let leads = |transfer| resolution.leads_to(transfer, index);
        let linked = (0..resolution.transfers.len()).all(leads);
        if !linked && request.goal == Goal::Install && refused.is_none() {
            // The original says "Skipping" and leaves the link where it is; there would be no way to an installed version.
            return Ok(Selected::Set(set));
        }
        return Ok(Selected::Idle(Idle::AlreadyInstalled(set.version)));
    }
    if set.obsolete {
        return Err(PlanError::Obsolete(set.version.clone()));
    }
    if let Some(reason) = refusing(set) {
        return Err(PlanError::Excluded {
            version: set.version.clone(),
            reason: reason.clone(),
        });
    }
    if let Some(exclusion) = &set.exclusion {
        notices.push(format!(
            "Selected update '{text}' is {exclusion}. Proceeding as it was asked for by name."
        ));
    }
    if !set.is_obtainable() {
        return Err(match (set.is_partial(), request.reach) {
            (true, Reach::Offline) => PlanError::Stuck(set.version.clone()),
            _ => PlanError::Unobtainable {
                version: set.version.clone(),
                lacking: resolution.lacking(index),
            },
        });
    }
    if resolution.sets[..index].iter().any(UpdateSet::is_listed) {
        notices.push(format!(
            "Selected update '{text}' is not the newest, proceeding anyway."
        ));
    }
    if resolution
        .newest_complete
        .is_some_and(|newest| newest < index)
    {
        notices.push(format!(
            "Selected update '{text}' is older than newest installed version, proceeding anyway."
        ));
    }
    Ok(Selected::Set(set))
}

/// What forbids a version even to those who ask for it by name.
fn refusing<'s>(set: &'s UpdateSet<'_>) -> Option<&'s Exclusion> {
    set.exclusion
        .as_ref()
        .filter(|exclusion| !exclusion.yields_to_request())
}

/// One file, and one link, has one owner: two transfers that write the same one would take turns for ever.
fn refuse_conflicts(steps: &[Step<'_>]) -> Result<(), PlanError> {
    let mut owners: HashMap<PathBuf, &Step<'_>> = HashMap::new();
    for step in steps {
        let link = step.transfer.target().link();
        for place in std::iter::once(step.path.clone()).chain(link) {
            let kept = matches!(step.action, Action::Keep);
            match owners.get(&place) {
                // Two that look at one file which stands already do no harm, as long as one link leads there.
                Some(other)
                    if kept && matches!(other.action, Action::Keep) && other.path == step.path => {}
                Some(other) => {
                    let (first, second) = (other.transfer.id.clone(), step.transfer.id.clone());
                    return Err(PlanError::Conflict {
                        first,
                        second,
                        path: place,
                    });
                }
                None => {
                    owners.insert(place, step);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
