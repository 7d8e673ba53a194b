//! What goes: versions beyond the number to keep, leftovers, and whatever disabled transfers hold.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::Goal;
use crate::definition::transfer::Transfer;
use crate::inventory::link::LinkState;
use crate::inventory::{Instance, Inventory, State};
use crate::resolve::Resolution;
use crate::version::Version;

/// Something to be removed: a file, a directory, or what a partition holds.
#[derive(Debug, Clone)]
pub struct Removal<'a> {
    /// The transfer it belongs to.
    pub transfer: &'a Transfer,
    /// Its inner path.
    pub path: &'a Path,
    /// Its version.
    pub version: &'a Version,
    /// Why it goes.
    pub kind: RemovalKind,
    /// The number of the partition that it is in, if it is in one.
    pub slot: Option<u32>,
    /// Whether it is the newest complete version that its transfer has now.
    pub is_newest: bool,
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalKind {
    /// More versions are kept than wanted.
    Old,
    /// A download that was cut off.
    Partial,
    /// Acquired and never installed.
    Pending,
    /// The transfer's feature is off.
    Disabled,
}

impl RemovalKind {
    /// The words of the message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::Partial => "old partial",
            Self::Pending => "old pending",
            Self::Disabled => "disabled",
        }
    }
}

/// What will stand when a plan has been carried out.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'p> {
    /// The version.
    pub version: &'p Version,
    /// How far the plan goes.
    pub goal: Goal,
    /// Where its parts stand then: inner paths.
    pub paths: &'p [&'p Path],
}

/// What is to be removed once `planned` stands; without it, what `vacuum` removes.
///
/// Oldest first. Never a protected version, never the planned one, never what a current symlink resolves to (that of
/// another transfer neither), and, where there is no symlink, never the newest complete version.
#[must_use]
pub fn removals<'a>(
    transfers: &[(&'a Transfer, &'a Inventory)],
    planned: Option<Planned<'_>>,
    instances_max: Option<u64>,
) -> Vec<Removal<'a>> {
    let mut removals = Vec::new();
    let running = running(transfers);
    for (index, (transfer, inventory)) in transfers.iter().enumerate() {
        let kept = kept(transfers, index, planned);
        let newest = newest_complete(inventory);
        let removal = |instance: &'a Instance, kind| {
            let path = instance.path().filter(|path| !kept.contains(path))?;
            Some(Removal {
                transfer,
                path,
                version: &instance.metadata.version,
                kind,
                slot: instance.slot().map(|slot| slot.number),
                is_newest: Some(&instance.metadata.version) == newest,
            })
        };
        if !transfer.enabled {
            removals.extend(
                inventory
                    .installed
                    .iter()
                    .filter_map(|gone| removal(gone, RemovalKind::Disabled)),
            );
            continue;
        }
        if planned.is_none_or(|planned| planned.goal != Goal::Acquire) {
            let excess = excess(
                transfer,
                inventory,
                planned.map(|planned| planned.version),
                &running,
                instances_max,
            );
            removals.extend(
                excess
                    .into_iter()
                    .filter_map(|gone| removal(gone, RemovalKind::Old)),
            );
        }
        for instance in &inventory.installed {
            let kind = match instance.state {
                State::Complete => continue,
                // Of what was never finished there is nothing to protect.
                State::Pending if is_protected(transfer, instance) => continue,
                State::Pending => RemovalKind::Pending,
                State::Partial => RemovalKind::Partial,
            };
            let linked = matches!(
                inventory.link.as_ref().map(|link| &link.state),
                Some(LinkState::To(destination)) if Some(destination.as_path()) == instance.path()
            );
            if !linked
                && planned.is_none_or(|planned| instance.metadata.version != *planned.version)
            {
                removals.extend(removal(instance, kind));
            }
        }
    }
    removals
}

/// The versions of which a partition is in use: the other parts of them are the files that it was started with, and what
/// nothing holds open. They stay like what is protected.
pub(super) fn running<'a>(transfers: &[(&'a Transfer, &'a Inventory)]) -> Vec<&'a Version> {
    let installed = transfers
        .iter()
        .flat_map(|(_, inventory)| &inventory.installed);
    installed
        .filter(|instance| instance.state == State::Complete)
        .filter(|instance| instance.slot().is_some_and(|slot| slot.in_use))
        .map(|instance| &instance.metadata.version)
        .collect()
}

/// The files of the versions whose partitions are emptied for a plan, if they go with it anyway: they go first, as what
/// starts a version must not outlive what it starts.
pub(super) fn of_the_evicted<'a>(
    transfers: &[(&'a Transfer, &'a Inventory)],
    planned: Planned<'_>,
    instances_max: Option<u64>,
    evictions: &[Removal<'a>],
) -> Vec<Removal<'a>> {
    let installed = Planned {
        goal: Goal::Install,
        ..planned
    };
    let is_evicted = |version| evictions.iter().any(|evicted| evicted.version == version);
    removals(transfers, Some(installed), instances_max)
        .into_iter()
        .filter(|removal| removal.kind == RemovalKind::Old && removal.slot.is_none())
        .filter(|removal| is_evicted(removal.version))
        .collect()
}

fn is_protected(transfer: &Transfer, instance: &Instance) -> bool {
    transfer.protected.contains(&instance.metadata.version)
}

/// Paths that the removals of one transfer spare for the sake of others: patterns may overlap.
fn kept<'k>(
    transfers: &[(&'k Transfer, &'k Inventory)],
    index: usize,
    planned: Option<Planned<'k>>,
) -> HashSet<&'k Path> {
    let mut kept: HashSet<&Path> = planned
        .iter()
        .flat_map(|planned| planned.paths)
        .copied()
        .collect();
    let (own, _) = transfers[index];
    for (other, (transfer, inventory)) in transfers.iter().enumerate() {
        if other == index || !transfer.enabled {
            continue;
        }
        if let Some(LinkState::To(destination)) = inventory.link.as_ref().map(|link| &link.state) {
            kept.insert(destination);
        }
        // A disabled transfer may be the other source of the very files that an enabled one keeps.
        if !own.enabled {
            kept.extend(inventory.installed.iter().filter_map(Instance::path));
        }
    }
    kept
}

fn newest_complete(inventory: &Inventory) -> Option<&Version> {
    let mut complete = inventory
        .installed
        .iter()
        .filter(|instance| instance.state == State::Complete);
    complete.next().map(|instance| &instance.metadata.version)
}

/// Cut-off downloads that nothing can complete any more.
pub(super) fn leftovers<'a>(resolution: &Resolution<'a>) -> Vec<Removal<'a>> {
    let mut leftovers = Vec::new();
    for set in resolution
        .sets
        .iter()
        .filter(|set| set.is_partial() && !set.is_obtainable())
    {
        for ((transfer, _), part) in resolution.transfers.iter().zip(&set.parts) {
            if let Some(
                instance @ Instance {
                    state: State::Partial,
                    ..
                },
            ) = part.installed
                && let Some(path) = instance.path()
            {
                leftovers.push(Removal {
                    transfer,
                    path,
                    version: set.version,
                    kind: RemovalKind::Partial,
                    slot: instance.slot().map(|slot| slot.number),
                    is_newest: false,
                });
            }
        }
    }
    leftovers
}

/// The complete instances of one transfer that exceed what is to be kept, oldest first.
fn excess<'a>(
    transfer: &Transfer,
    inventory: &'a Inventory,
    planned: Option<&Version>,
    running: &[&Version],
    instances_max: Option<u64>,
) -> Vec<&'a Instance> {
    let complete = || {
        inventory
            .installed
            .iter()
            .filter(|instance| instance.state == State::Complete)
    };
    let mut versions: Vec<&Version> = complete()
        .map(|instance| &instance.metadata.version)
        .collect();
    versions.dedup();
    let joins = planned.is_some_and(|planned| !versions.contains(&planned));
    let kept = instances_max.unwrap_or(transfer.instances_max);
    let mut surplus = (versions.len() as u64 + u64::from(joins)).saturating_sub(kept);
    let linked = match inventory.link.as_ref().map(|link| &link.state) {
        Some(LinkState::To(destination)) => complete()
            .find(|instance| instance.path() == Some(destination))
            .map(|linked| &linked.metadata.version),
        _ => None,
    };
    // With a plan the link leads to the planned version by the time something is removed.
    let pinned = planned.or(linked).or(versions.first().copied());
    let mut gone = Vec::new();
    let complete: Vec<&Instance> = complete().collect();
    // Newest first, so the oldest version is the last group of equal ones.
    for group in complete
        .chunk_by(|one, two| one.metadata.version == two.metadata.version)
        .rev()
    {
        if surplus == 0 {
            break;
        }
        let version = &group[0].metadata.version;
        let stays = transfer.protected.contains(version) || running.contains(&version);
        if pinned != Some(version) && !stays {
            gone.extend(group);
            surplus -= 1;
        }
    }
    gone
}

/// How many versions, and how many disabled transfers, a list of removals is about.
#[must_use]
pub fn count<'r>(removals: impl IntoIterator<Item = &'r Removal<'r>> + Clone) -> (usize, usize) {
    let versions: BTreeSet<&Version> = removals
        .clone()
        .into_iter()
        .filter(|gone| gone.kind != RemovalKind::Disabled)
        .map(|gone| gone.version)
        .collect();
    let transfers: BTreeSet<&str> = removals
        .into_iter()
        .filter(|gone| gone.kind == RemovalKind::Disabled)
        .map(|gone| gone.transfer.id.as_str())
        .collect();
    (versions.len(), transfers.len())
}
