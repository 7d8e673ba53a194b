//! The way of an artifact into a partition.
//!
//! Where files have names, partitions have types: one that is being written, and one that waits, have types of their own,
//! derived from the one that counts, so that nothing takes them for something whole (compat 3, section 3.2).

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

use super::Executor;
use super::acquire::AcquireError;
use super::origin::{Origin, Source};
use super::sink::{self, Shape, SinkError};
use super::space;
use super::stream::{Failure, Pour, persist, read_error};
use crate::definition::transfer::SlotTarget;
use crate::event::Event;
use crate::gpt::types::PartitionType;
use crate::gpt::{self, Change, EMPTY_LABEL, Partition};
use crate::inventory::{Instance, slots};
use crate::metadata::Metadata;
use crate::plan::{SlotStep, Step};
use crate::storage::disk::{Access, Disk, DiskError};
use crate::verify::reader::Hashing;

/// Whether what comes fits, as far as its source tells how much that is. Packed data is only smaller: what is announced must
/// fit in any case.
pub(super) fn refuse_what_does_not_fit(
    executor: &Executor<'_>,
    step: &Step<'_>,
    slot: &SlotStep,
    instance: &Instance,
) -> Result<(), AcquireError> {
    match space::announced(executor, step, instance) {
        Some(announced) if announced > slot.size => Err(AcquireError::SlotTooSmall {
            from: Origin::of(executor, step, instance)?.name().to_owned(),
            path: executor.root.outer(&step.path),
            size: slot.size,
        }),
        _ => Ok(()),
    }
}

/// Fetches one artifact into its partition, which has the pending type then.
pub(super) fn acquire(
    executor: &Executor<'_>,
    step: &Step<'_>,
    target: &SlotTarget,
    slot: &SlotStep,
    instance: &Instance,
    metadata: &Metadata,
) -> Result<PathBuf, AcquireError> {
    let durability = executor.durability;
    let origin = Origin::of(executor, step, instance)?;
    let disk = slots::open(executor.root, target, Access::Write)?;
    let place = disk
        .table()?
        .partition(slot.number)
        .and_then(|partition| Some((partition.range(disk.sector())?, partition)));
    let Some(((start, size), partition)) = place else {
        return Err(disk.changed(slot.number).into());
    };
    let writing = Writing {
        executor,
        origin: &origin,
        disk: &disk,
        start,
        size,
        path: executor.root.outer(&step.path),
        zero_fill: target.zero_fill,
    };
    let begun = Change {
        kind: Some(target.kind.partial().0),
        label: Some(slot.label.clone()),
        ..Change::default()
    };
    let is_ours = |found: &Partition| is_ours(found, target.kind, &slot.label);
    disk.change(slot.number, &begun, is_ours, durability)?;
    persist(executor, &origin, None, |_| writing.attempt(), || None)?;
    let whole = Change {
        kind: Some(target.kind.pending().0),
        uuid: metadata.partition_uuid,
        flags: Some(flags(partition.flags, target.kind, metadata)),
        label: None,
    };
    let is_begun = |found: &Partition| found.kind == target.kind.partial().0;
    disk.change(slot.number, &whole, is_begun, durability)?;
    executor.say(format!("Successfully acquired '{}'.", origin.name()));
    Ok(step.path.clone())
}

/// Whether a partition may be written to: an empty one, or what an earlier run has begun.
fn is_ours(found: &Partition, kind: PartitionType, label: &str) -> bool {
    let of_kind = [kind, kind.partial(), kind.pending()];
    let is_of_kind = of_kind.iter().any(|kind| found.kind == kind.0);
    let is_free = found.label.as_deref() == Some(EMPTY_LABEL);
    let is_begun = found.kind == kind.partial().0 && found.label.as_deref() == Some(label);
    is_of_kind && (is_free || is_begun)
}

/// The attribute bits of a new version: those that are set as a whole, then single ones that the type knows.
fn flags(old: u64, kind: PartitionType, metadata: &Metadata) -> u64 {
    let [no_auto, read_only, grow] = kind.known_flags();
    let bits = [
        (no_auto, metadata.no_auto, gpt::NO_AUTO),
        (read_only, metadata.read_only, gpt::READ_ONLY),
        (grow, metadata.grow_file_system, gpt::GROW_FILE_SYSTEM),
    ];
    let mut flags = metadata.partition_flags.unwrap_or(old);
    for (is_known, value, bit) in bits {
        match value.filter(|_| is_known) {
            Some(true) => flags |= bit,
            Some(false) => flags &= !bit,
            None => {}
        }
    }
    flags
}

/// Gives a partition that waits the type that counts.
pub(super) fn install(
    executor: &Executor<'_>,
    target: &SlotTarget,
    slot: &SlotStep,
) -> Result<(), DiskError> {
    let disk = slots::open(executor.root, target, Access::Write)?;
    let installed = Change {
        kind: Some(target.kind.0),
        ..Change::default()
    };
    let is_pending = |found: &Partition| found.kind == target.kind.pending().0;
    disk.change(slot.number, &installed, is_pending, executor.durability)
}

/// Empties a partition: its label says so, its bytes stay.
pub(super) fn empty(
    executor: &Executor<'_>,
    target: &SlotTarget,
    number: u32,
) -> Result<(), DiskError> {
    let disk = slots::open(executor.root, target, Access::Write)?;
    let empty = Change {
        kind: Some(target.kind.0),
        label: Some(EMPTY_LABEL.to_owned()),
        ..Change::default()
    };
    let kind = target.kind;
    let of_kind = [kind, kind.partial(), kind.pending()];
    let is_of_kind = |found: &Partition| of_kind.iter().any(|kind| found.kind == kind.0);
    disk.change(number, &empty, is_of_kind, executor.durability)
}

struct Writing<'a> {
    executor: &'a Executor<'a>,
    origin: &'a Origin,
    disk: &'a Disk,
    /// Where the partition begins on the disk, in bytes.
    start: u64,
    /// How long it is, in bytes.
    size: u64,
    /// Its outer path, for messages.
    path: PathBuf,
    zero_fill: bool,
}

impl Writing<'_> {
    fn attempt(&self) -> Result<(), Failure> {
        let mut is_pieced = false;
        self.write(&mut is_pieced)
            .map_err(|error| Failure { error, is_pieced })
    }

    fn write(&self, is_pieced: &mut bool) -> Result<(), AcquireError> {
        let mut source = Source::open(self.executor, self.origin, None)?;
        self.executor.say(format!(
            "Acquiring {} → {}...",
            self.origin.name(),
            self.path.display()
        ));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let pour = Pour {
            executor: self.executor,
            origin: self.origin,
            name: &name,
        };
        let (from, expected) = (self.origin.name(), source.length);
        let mut end = self.start;
        let poured = pour.run(&mut source, Hashing::new(io::empty()), |stream| {
            let shape = Shape::Dense { start: self.start };
            let filled = sink::fill(self.disk.file(), shape, stream, expected, self.size);
            end = filled.map_err(|error| match error {
                SinkError::Read(error) => read_error(from, error),
                SinkError::Write(error) => self.write_error(error),
                SinkError::TooLarge => self.too_small(),
            })?;
            Ok(())
        });
        *is_pieced |= source.seams.any();
        self.executor
            .reporter
            .report(&Event::TransferEnded { name: &name });
        poured?;
        if self.zero_fill {
            self.zero(end).map_err(|error| self.write_error(error))?;
        }
        Ok(self.disk.sync(self.executor.durability)?)
    }

    /// Zeroes what is behind the payload.
    fn zero(&self, from: u64) -> io::Result<()> {
        let end = self.start + self.size;
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        // A device wants whole sectors.
        let aligned = from.next_multiple_of(sink::BLOCK as u64).min(end);
        write_zeros(self.disk.file(), from, aligned)?;
        if aligned == end
            || rustix::fs::fallocate(self.disk.file(), flags, aligned, end - aligned).is_ok()
        {
            return Ok(());
        }
        write_zeros(self.disk.file(), aligned, end)
    }

    fn write_error(&self, source: io::Error) -> AcquireError {
        AcquireError::Write {
            path: self.path.clone(),
            source,
        }
    }

    fn too_small(&self) -> AcquireError {
        AcquireError::SlotTooSmall {
            from: self.origin.name().to_owned(),
            path: self.path.clone(),
            size: self.size,
        }
    }
}

fn write_zeros(file: &std::fs::File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut position = from;
    while position < to {
        let room = usize::try_from(to - position).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all_at(&ZEROS[..room], position)?;
        position += room as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata::new("1".parse().expect("a version"))
    }

    #[test]
    fn single_bits_override_the_whole_where_the_type_knows_them() {
        let root = PartitionType::parse("root-x86-64", None).expect("a type");
        let mut wanted = metadata();
        assert_eq!(flags(7, root, &wanted), 7, "nothing is said");
        wanted.read_only = Some(true);
        wanted.no_auto = Some(false);
        wanted.grow_file_system = Some(true);
        let bits = gpt::READ_ONLY | gpt::GROW_FILE_SYSTEM;
        assert_eq!(flags(gpt::NO_AUTO, root, &wanted), bits);
        wanted.partition_flags = Some(1);
        assert_eq!(flags(gpt::NO_AUTO, root, &wanted), bits | 1);
        let generic = PartitionType::LINUX_GENERIC;
        assert_eq!(flags(0, generic, &wanted), 1, "it knows none");
    }
}
