//! A disk image with a GPT: finds the partition of the root or of `/usr` for one architecture by its type
//! (Discoverable Partitions Specification).
//!
//! Reads the primary table alone. The verity partitions beside them are passed over: what is fetched here is already
//! verified as a whole.

use super::error::ImageError;
use super::source::Source;
use crate::gpt::types::PartitionType;
use crate::gpt::{self, GptError, Header, Partition, SIGNATURE, Table};

/// The windows onto the partitions that make up the extension.
pub(super) struct Partitions {
    /// The root of the tree.
    pub(super) root: Option<Source>,
    /// What lies at `usr` in it.
    pub(super) usr: Option<Source>,
}

/// The size of the sectors that the table at the start of the image speaks of; `None` when there is no table.
pub(super) fn sector_size(source: &Source) -> Result<Option<u64>, ImageError> {
    for size in [512, 4096] {
        if source.length() >= 2 * size && source.array(size)? == *SIGNATURE {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// Finds the partitions of the architecture, which has systemd's name.
pub(super) fn partitions(
    source: &Source,
    sector: u64,
    architecture: &str,
) -> Result<Partitions, ImageError> {
    let source = source.of_kind("disk");
    let types = ["root", "usr"].map(|name| PartitionType::parse(name, Some(architecture)));
    let [Some(root_type), Some(usr_type)] = types else {
        return Err(ImageError::opaque(format!(
            "a disk image on the architecture '{architecture}'"
        )));
    };
    let table = table(&source, sector)?;
    let (mut root, mut usr) = (None, None);
    for partition in table.partitions() {
        let place = match PartitionType(partition.kind) {
            kind if kind == root_type => &mut root,
            kind if kind == usr_type => &mut usr,
            _ => continue,
        };
        if partition.flags & gpt::NO_AUTO != 0 {
            continue;
        }
        if place.is_some() {
            return Err(ImageError::opaque(
                "a disk image with several partitions of one type",
            ));
        }
        *place = Some(window(&source, sector, &partition)?);
    }
    if root.is_none() && usr.is_none() {
        return Err(ImageError::opaque(format!(
            "a disk image without a root or usr partition for {architecture}"
        )));
    }
    Ok(Partitions { root, usr })
}

fn table(source: &Source, sector: u64) -> Result<Table, ImageError> {
    let damaged = |error: GptError| source.damaged(error.to_string());
    let header: [u8; 512] = source.array(sector)?;
    let header = Header::parse(&header, 1).map_err(damaged)?;
    let start = header.entries.checked_mul(sector);
    let start = start.ok_or_else(|| source.damaged("the partition table lies beyond its end"))?;
    let mut entries = vec![0; header.array_length()];
    source.read(start, &mut entries)?;
    Table::new(header, entries).map_err(damaged)
}

fn window(source: &Source, sector: u64, partition: &Partition) -> Result<Source, ImageError> {
    let range = partition.range(sector).filter(|(start, length)| {
        let end = start.checked_add(*length);
        end.is_some_and(|end| end <= source.length())
    });
    match range {
        Some((start, length)) => Ok(source.window(start, length)),
        None => Err(source.damaged(format!(
            "the partition of sectors {} to {} lies beyond its end",
            partition.first, partition.last
        ))),
    }
}
