//! What goes: versions beyond the number to keep, leftovers, and whatever disabled transfers hold.

use std::collections::BTreeSet;
use std::path::Path;

use super::Goal;
use crate::definition::transfer::Transfer;
use crate::inventory::link::LinkState;
use crate::inventory::{Instance, Inventory, State};
use crate::resolve::Resolution;
use crate::version::Version;

/// A file to be removed.
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

/// What is to be removed once `planned` stands; without it, what `vacuum` removes.
///
/// Oldest first. Never a protected version, never the planned one, never what a current symlink resolves to, and,
/// where there is no symlink, never the newest complete version.
#[must_use]
pub fn removals<'a>(
    transfers: &[(&'a Transfer, &'a Inventory)],
    planned: Option<(&Version, Goal)>,
    instances_max: Option<u64>,
) -> Vec<Removal<'a>> {
    let mut removals = Vec::new();
    for (transfer, inventory) in transfers {
        let removal = |instance: &'a Instance, kind| {
            let path = instance.path()?;
            Some(Removal {
                transfer,
                path,
                version: &instance.metadata.version,
                kind,
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
        if planned.is_none_or(|(_, goal)| goal == Goal::Install) {
            let excess = excess(
                transfer,
                inventory,
                planned.map(|(version, _)| version),
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
                State::Pending => RemovalKind::Pending,
                State::Partial => RemovalKind::Partial,
            };
            if planned.is_none_or(|(version, _)| instance.metadata.version != *version) {
                removals.extend(removal(instance, kind));
            }
        }
    }
    removals
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
    for version in versions.iter().rev() {
        if surplus == 0 {
            break;
        }
        if pinned == Some(*version) || transfer.protected.contains(version) {
            continue;
        }
        gone.extend(complete().filter(|instance| instance.metadata.version == **version));
        surplus -= 1;
    }
    gone
}

/// How many versions, and how many disabled transfers, a list of removals is about.
#[must_use]
pub fn count(removals: &[Removal<'_>]) -> (usize, usize) {
    let versions: BTreeSet<&Version> = removals
        .iter()
        .filter(|gone| gone.kind != RemovalKind::Disabled)
        .map(|gone| gone.version)
        .collect();
    let transfers: BTreeSet<&str> = removals
        .iter()
        .filter(|gone| gone.kind == RemovalKind::Disabled)
        .map(|gone| gone.transfer.id.as_str())
        .collect();
    (versions.len(), transfers.len())
}
