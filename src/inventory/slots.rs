//! Instances that are partitions of a disk.

use std::path::PathBuf;

use super::{Instance, Location, State};
use crate::definition::transfer::{Disk as Setting, SlotTarget};
use crate::gpt::types::PartitionType;
use crate::gpt::{self, EMPTY_LABEL, Partition};
use crate::metadata::Uuid;
use crate::root::Root;
use crate::storage::disk::{self, Access, Disk, DiskError};

/// A partition that could hold a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The inner path by which its node would be known.
    pub path: PathBuf,
    /// Its number, from 1.
    pub number: u32,
    /// Its size, in bytes.
    pub size: u64,
    /// Whether the running system uses it.
    pub in_use: bool,
}

/// What a disk has for one transfer.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    /// The partitions that hold a version, or the beginning of one.
    pub instances: Vec<Instance>,
    /// Those that hold nothing.
    pub free: Vec<Slot>,
}

/// Looks at the partitions of a target.
///
/// # Errors
/// When the disk, or its table, cannot be read.
pub fn list(root: &Root, target: &SlotTarget) -> Result<Slots, DiskError> {
    let disk = open(root, target, Access::Read)?;
    let table = disk.table()?;
    let mut slots = Slots::default();
    for partition in table.partitions() {
        let Some(state) = state(target.kind, partition.kind) else {
            continue;
        };
        let Some((_, size)) = partition.range(disk.sector()) else {
            continue;
        };
        let path = disk.partition_path(partition.number);
        let slot = Slot {
            in_use: disk.is_in_use(root, partition.number),
            path,
            number: partition.number,
            size,
        };
        match partition.label.as_deref() {
            // An empty one of an unfinished type was left by a run that was cut off while it was emptied.
            Some(EMPTY_LABEL) => slots.free.push(slot),
            Some(label) => slots
                .instances
                .extend(instance(target, &partition, label, state, slot)),
            None => {}
        }
    }
    Ok(slots)
}

/// Opens the disk of a target.
///
/// # Errors
/// When it does not open, or there is none.
pub fn open(root: &Root, target: &SlotTarget, access: Access) -> Result<Disk, DiskError> {
    if let (Setting::OfRoot, Some(image)) = (&target.disk, root.image()) {
        return Disk::open(&Root::host(), image, access);
    }
    let path = path(root, target)?;
    Disk::open(root, &path, access)
}

/// The inner path of the disk of a target.
///
/// # Errors
/// When the root file system is on none.
fn path(root: &Root, target: &SlotTarget) -> Result<PathBuf, DiskError> {
    match &target.disk {
        Setting::At(path) => Ok(path.clone()),
        Setting::OfRoot => disk::of_root(root),
    }
}

/// How far a partition of a type has come.
fn state(wanted: PartitionType, kind: Uuid) -> Option<State> {
    let kind = PartitionType(kind);
    [
        (wanted, State::Complete),
        (wanted.pending(), State::Pending),
        (wanted.partial(), State::Partial),
    ]
    .into_iter()
    .find(|(known, _)| *known == kind)
    .map(|(_, state)| state)
}

fn instance(
    target: &SlotTarget,
    partition: &Partition,
    label: &str,
    state: State,
    slot: Slot,
) -> Option<Instance> {
    let mut metadata = target.patterns.match_path(label).metadata?;
    metadata.partition_uuid = Some(partition.uuid);
    metadata.partition_flags = Some(partition.flags);
    let is_read_only = partition.flags & gpt::READ_ONLY != 0;
    metadata.read_only = metadata.read_only.or(Some(is_read_only));
    Some(Instance {
        metadata,
        location: Location::Slot(slot),
        state,
        provenance: None,
    })
}
