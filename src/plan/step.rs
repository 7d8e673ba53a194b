//! What happens for one transfer: where the version will stand, under which name, and how it comes there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::removal::{Removal, RemovalKind};
use super::{Action, PlanError, SlotStep, Step};
use crate::definition::transfer::{Overrides, Place, SlotTarget, Transfer};
use crate::gpt;
use crate::inventory::link::LinkState;
use crate::inventory::slots::Slot;
use crate::inventory::{Instance, Inventory, State};
use crate::metadata::Metadata;
use crate::pattern::RenderError;
use crate::resolve::{Part, UpdateSet};
use crate::storage::atomic::TEMPORARY_PREFIX;
use crate::version::Version;

/// A step, and what has to go before it.
pub(super) struct Planned<'a> {
    pub(super) step: Step<'a>,
    pub(super) eviction: Option<Removal<'a>>,
}

impl<'a> From<Step<'a>> for Planned<'a> {
    fn from(step: Step<'a>) -> Self {
        let eviction = None;
        Self { step, eviction }
    }
}

/// Plans the step of one transfer; `running` are the versions that run, `taken` the places that earlier ones of the plan
/// have.
pub(super) fn of<'a>(
    transfer: &'a Transfer,
    inventory: &'a Inventory,
    set: &UpdateSet<'a>,
    part: &Part<'a>,
    running: &[&Version],
    taken: &mut dyn Iterator<Item = &Path>,
) -> Result<Planned<'a>, PlanError> {
    if let Some(installed) = part.installed
        && let Some(step) = standing(transfer, installed)
    {
        return Ok(step.into());
    }
    let source = part.available.ok_or_else(|| PlanError::Unobtainable {
        version: set.version.clone(),
        lacking: vec![transfer.id.clone()],
    })?;
    let target = transfer.target();
    let metadata = merged(&source.metadata, target.overrides);
    let failed = |source| PlanError::Name {
        version: set.version.clone(),
        transfer: transfer.id.clone(),
        source,
    };
    let pattern = target
        .patterns
        .first()
        .expect("a target without patterns is refused when it is read");
    let name = pattern.render(&metadata).map_err(failed)?;
    let unsuitable = || failed(RenderError::UnsuitableName { name: name.clone() });
    // A name that the patterns do not find again would be installed anew by every run, and one with a mark of ours would
    // be taken for something unfinished.
    let found = target.patterns.match_path(&name).metadata;
    if is_marked(&name) || found.is_none_or(|found| found.version != *set.version) {
        return Err(unsuitable());
    }
    let action = Action::Acquire { source, metadata };
    match target.place {
        Place::Files(directory) | Place::Trees(directory, _) => {
            let path = directory.join(&name);
            if target.link().as_ref() == Some(&path) {
                return Err(unsuitable());
            }
            Ok(Step {
                transfer,
                path,
                slot: None,
                action,
            }
            .into())
        }
        Place::Slots(slots) => {
            if gpt::label_units(&name).is_none() || name == gpt::EMPTY_LABEL {
                return Err(failed(RenderError::UnsuitableLabel { name }));
            }
            let choice = Choice {
                transfer,
                slots,
                inventory,
                version: set.version,
                running,
                size: source.metadata.size,
            };
            let taken: Vec<&Path> = taken.collect();
            let (slot, eviction) = choice.make(part.installed, &taken)?;
            Ok(Planned {
                step: Step {
                    transfer,
                    path: slot.path.clone(),
                    slot: Some(SlotStep {
                        number: slot.number,
                        size: slot.size,
                        label: name,
                    }),
                    action,
                },
                eviction,
            })
        }
    }
}

/// The step of a part that is here, if all of it is.
fn standing<'a>(transfer: &'a Transfer, installed: &'a Instance) -> Option<Step<'a>> {
    let path = installed.path()?;
    let slot = installed.slot().map(|slot| SlotStep {
        number: slot.number,
        size: slot.size,
        label: String::new(),
    });
    let (path, action) = match installed.state {
        State::Complete => (path.to_path_buf(), Action::Keep),
        State::Pending if slot.is_some() => (path.to_path_buf(), Action::Install(path)),
        State::Pending => (final_path(path), Action::Install(path)),
        State::Partial => return None,
    };
    Some(Step {
        transfer,
        path,
        slot,
        action,
    })
}

/// Which partition takes a version.
struct Choice<'a, 'c> {
    transfer: &'a Transfer,
    slots: &'c SlotTarget,
    inventory: &'a Inventory,
    version: &'c Version,
    /// The versions that run: other parts of them may be in use than the one here.
    running: &'c [&'c Version],
    /// In bytes, where it is known.
    size: Option<u64>,
}

impl<'a> Choice<'a, '_> {
    fn make(
        &self,
        begun: Option<&'a Instance>,
        taken: &[&Path],
    ) -> Result<(&'a Slot, Option<Removal<'a>>), PlanError> {
        let fits = |slot: &Slot| {
            self.size.is_none_or(|size| size <= slot.size)
                && !slot.in_use
                && !taken.contains(&slot.path.as_path())
        };
        // What an earlier run has begun to write is written again.
        if let Some(slot) = begun.and_then(Instance::slot)
            && fits(slot)
        {
            return Ok((slot, None));
        }
        let held = self.inventory.installed.iter().filter_map(slot_of);
        if self.inventory.free.len() + held.clone().count() < 2 {
            return Err(PlanError::FewSlots {
                kind: self.slots.kind,
                pattern: self
                    .slots
                    .patterns
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            });
        }
        if let Some(slot) = self.inventory.free.iter().find(|slot| fits(slot)) {
            return Ok((slot, None));
        }
        // Something that works stays in any case: what runs, or what is protected.
        let stays = held.clone().any(|(instance, slot)| {
            let version = &instance.metadata.version;
            slot.in_use || (instance.state == State::Complete && self.is_kept(version))
        });
        let newest = self
            .inventory
            .installed
            .iter()
            .find(|instance| instance.state == State::Complete)
            .map(|newest| &newest.metadata.version);
        let may_go = |instance: &Instance, slot: &Slot| {
            let version = &instance.metadata.version;
            let is_linked = matches!(
                self.inventory.link.as_ref().map(|link| &link.state),
                Some(LinkState::To(destination)) if *destination == slot.path
            );
            // With the running version in a partition of its own, the newest is only the last attempt.
            let is_needed = instance.state == State::Complete && !stays && newest == Some(version);
            fits(slot)
                && version != self.version
                && !is_linked
                && !is_needed
                && (instance.state == State::Partial || !self.is_kept(version))
        };
        // Newest first, so the last is the oldest; what was never finished goes before all.
        let mut victims: Vec<(&Instance, &Slot)> = held
            .filter(|(instance, slot)| may_go(instance, slot))
            .collect();
        victims.reverse();
        victims.sort_by_key(|(instance, _)| instance.state == State::Complete);
        let Some((instance, slot)) = victims.first().copied() else {
            return Err(PlanError::NoSlot {
                transfer: self.transfer.id.clone(),
                reason: self.reason(taken),
            });
        };
        let removal = Removal {
            transfer: self.transfer,
            path: &slot.path,
            version: &instance.metadata.version,
            kind: match instance.state {
                State::Complete => RemovalKind::Old,
                State::Pending => RemovalKind::Pending,
                State::Partial => RemovalKind::Partial,
            },
            slot: Some(slot.number),
            is_newest: false,
        };
        Ok((slot, Some(removal)))
    }

    /// Whether what is complete of a version stays in any case.
    fn is_kept(&self, version: &Version) -> bool {
        self.transfer.protected.contains(version) || self.running.contains(&version)
    }

    /// What is with the partitions there are.
    fn reason(&self, taken: &[&Path]) -> String {
        let too_small = |slot: &Slot| self.size.is_some_and(|size| size > slot.size);
        let of = |slot: &Slot, holds: String| {
            let why = if too_small(slot) {
                "is too small".to_owned()
            } else if slot.in_use {
                "is in use".to_owned()
            } else if taken.contains(&slot.path.as_path()) {
                "is wanted by another transfer".to_owned()
            } else {
                holds
            };
            format!("'{}' {why}", slot.path.display())
        };
        let free = self.inventory.free.iter();
        let free = free.map(|slot| of(slot, "is free".to_owned()));
        let held = self.inventory.installed.iter().filter_map(slot_of);
        let held = held.map(|(instance, slot)| {
            of(slot, format!("keeps version {}", instance.metadata.version))
        });
        free.chain(held).collect::<Vec<_>>().join(", ")
    }
}

fn slot_of(instance: &Instance) -> Option<(&Instance, &Slot)> {
    Some((instance, instance.slot()?))
}

/// Whether a part of the name carries a mark that this program gives to unfinished things.
fn is_marked(name: &str) -> bool {
    let marks = [
        State::Partial.prefix(),
        State::Pending.prefix(),
        TEMPORARY_PREFIX,
    ];
    name.split('/')
        .any(|part| marks.iter().any(|mark| part.starts_with(mark)))
}

/// What the source says, explicit settings first (compat 2, B3.2).
fn merged(source: &Metadata, overrides: &Overrides) -> Metadata {
    Metadata {
        version: source.version.clone(),
        partition_uuid: overrides.partition_uuid.or(source.partition_uuid),
        partition_flags: overrides.partition_flags.or(source.partition_flags),
        no_auto: overrides.no_auto.or(source.no_auto),
        grow_file_system: overrides.grow_file_system.or(source.grow_file_system),
        read_only: overrides.read_only.or(source.read_only),
        mode: overrides.mode.or(source.mode),
        tries_done: overrides.tries_done.or(source.tries_done),
        tries_left: overrides.tries_left.or(source.tries_left),
        mtime: source.mtime,
        size: source.size,
        sha256: source.sha256,
    }
}

/// The path of an unfinished file or directory once it is installed.
fn final_path(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let stripped = name.strip_prefix(State::Pending.prefix()).unwrap_or(name);
    path.with_file_name(stripped)
}
