//! GUID partition tables: from bytes, and into bytes (UEFI specification 2.10, chapter 5.3).
//!
//! Pure: owns the layout and its checks, reads and writes nothing. A table keeps every byte that it does not know, so that
//! what is written back differs from what was read in the changed fields alone.

pub mod types;

use crate::metadata::Uuid;

/// What the header begins with.
pub const SIGNATURE: &[u8; 8] = b"EFI PART";

/// The label of a partition that nothing is in.
pub const EMPTY_LABEL: &str = "_empty";

/// The longest label, in UTF-16 code units.
pub const LABEL_UNITS: usize = 36;

/// Attribute bit: not to be found automatically (Discoverable Partitions Specification).
pub const NO_AUTO: u64 = 1 << 63;
/// Attribute bit: to be mounted read-only.
pub const READ_ONLY: u64 = 1 << 60;
/// Attribute bit: its file system is to grow to the partition's size.
pub const GROW_FILE_SYSTEM: u64 = 1 << 59;

/// Ordinary entry arrays have 16 KiB.
const ARRAY_LIMIT: u64 = 256 << 10;
/// The fields that every header has, in bytes.
const HEADER: usize = 92;

/// A header that is whole, and where its entries lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    bytes: Vec<u8>,
    /// The sector that this header is in.
    pub own: u64,
    /// The sector that the other header is in.
    pub other: u64,
    /// The sector that the entries begin in.
    pub entries: u64,
    /// How many entries there are.
    pub count: u32,
    /// The size of one, in bytes.
    pub entry_size: u32,
    entries_sum: u32,
}

/// Bytes that are no partition table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GptError {
    /// The signature is missing.
    #[error("there is no partition table")]
    Absent,
    /// The header's checksum is wrong.
    #[error("the partition table's header has a wrong checksum")]
    HeaderSum,
    /// The header says that it is elsewhere.
    #[error("the partition table's header is a copy of that of sector {0}")]
    Misplaced(u64),
    /// No sane array of entries.
    #[error("{count} partitions of {size} bytes each")]
    Array {
        /// How many.
        count: u32,
        /// How large each.
        size: u32,
    },
    /// The entries' checksum is wrong.
    #[error("the partition table has a wrong checksum")]
    EntriesSum,
}

impl Header {
    /// Reads the header that stands at the beginning of a sector, `own`.
    ///
    /// # Errors
    /// When it is none, or damaged.
    pub fn parse(sector: &[u8], own: u64) -> Result<Self, GptError> {
        if sector.get(..8) != Some(SIGNATURE) || sector.len() < HEADER {
            return Err(GptError::Absent);
        }
        let size = u32_at(sector, 12) as usize;
        let mut bytes = sector.get(..size).unwrap_or_default().to_vec();
        if bytes.len() < HEADER {
            return Err(GptError::HeaderSum);
        }
        bytes[16..20].fill(0);
        if checksum(&bytes) != u32_at(sector, 16) {
            return Err(GptError::HeaderSum);
        }
        let header = Self {
            own: u64_at(&bytes, 24),
            other: u64_at(&bytes, 32),
            entries: u64_at(&bytes, 72),
            count: u32_at(&bytes, 80),
            entry_size: u32_at(&bytes, 84),
            entries_sum: u32_at(&bytes, 88),
            bytes,
        };
        if header.own != own {
            return Err(GptError::Misplaced(header.own));
        }
        let length = u64::from(header.count) * u64::from(header.entry_size);
        if !(128..=4096).contains(&header.entry_size)
            || !header.entry_size.is_multiple_of(8)
            || length > ARRAY_LIMIT
        {
            return Err(GptError::Array {
                count: header.count,
                size: header.entry_size,
            });
        }
        Ok(header)
    }

    /// The size of all entries, in bytes.
    #[must_use]
    pub fn array_length(&self) -> usize {
        self.count as usize * self.entry_size as usize
    }
}

/// A whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Header,
    entries: Vec<u8>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// The UUID of its type.
    pub kind: Uuid,
    /// Its own UUID.
    pub uuid: Uuid,
    /// Its first sector, counted from the beginning of the disk.
    pub first: u64,
    /// Its last sector, which belongs to it.
    pub last: u64,
    /// Its attribute bits: [`READ_ONLY`] and the like (UEFI specification, section 5.3.3).
    pub flags: u64,
    /// Its label; `None` when that is no UTF-16.
    pub label: Option<String>,
}

impl Partition {
    /// Where it begins on a disk of such sectors, and how long it is, in bytes; `None` when it ends before it begins or
    /// lies beyond everything.
    #[must_use]
    pub fn range(&self, sector: u64) -> Option<(u64, u64)> {
        let start = self.first.checked_mul(sector)?;
        let end = self.last.checked_add(1)?.checked_mul(sector)?;
        (start < end).then_some((start, end - start))
    }
}

/// What changes of one partition; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Another type.
    pub kind: Option<Uuid>,
    /// Another UUID.
    pub uuid: Option<Uuid>,
    /// Other attribute bits.
    pub flags: Option<u64>,
    /// Another label, of [`LABEL_UNITS`] at most.
    pub label: Option<String>,
}

impl Table {
    /// Puts a header and its entries together.
    ///
    /// # Errors
    /// When they do not belong together.
    pub fn new(header: Header, entries: Vec<u8>) -> Result<Self, GptError> {
        if entries.len() != header.array_length() || checksum(&entries) != header.entries_sum {
            return Err(GptError::EntriesSum);
        }
        Ok(Self { header, entries })
    }

    /// The header that it was read with.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The partitions that are in use, by number.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let size = self.header.entry_size as usize;
        let entries = self.entries.chunks_exact(size).zip(1..);
        entries
            .map(|(entry, number)| partition(entry, number))
            .filter(|partition| partition.kind != Uuid([0; 16]))
    }

    /// One partition, if it is in use.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<Partition> {
        self.partitions()
            .find(|partition| partition.number == number)
    }

    /// Changes a partition. Without one of that number, or with a label that is too long, nothing happens and this is
    /// `false`.
    pub fn change(&mut self, number: u32, change: &Change) -> bool {
        let size = self.header.entry_size as usize;
        let index = number.checked_sub(1).map(|index| index as usize);
        let entry = index.and_then(|index| self.entries.chunks_exact_mut(size).nth(index));
        let Some(entry) = entry else {
            return false;
        };
        if let Some(label) = &change.label {
            let Some(units) = label_units(label) else {
                return false;
            };
            entry[56..56 + 2 * LABEL_UNITS].copy_from_slice(&units);
        }
        if let Some(kind) = change.kind {
            entry[..16].copy_from_slice(&swapped(kind.0));
        }
        if let Some(uuid) = change.uuid {
            entry[16..32].copy_from_slice(&swapped(uuid.0));
        }
        if let Some(flags) = change.flags {
            entry[48..56].copy_from_slice(&flags.to_le_bytes());
        }
        true
    }

    /// The array of entries.
    #[must_use]
    pub fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// The header for a place: its own sector, the other header's, and where the entries that belong to it begin.
    #[must_use]
    pub fn header_at(&self, own: u64, other: u64, entries: u64) -> Vec<u8> {
        let mut bytes = self.header.bytes.clone();
        bytes[24..32].copy_from_slice(&own.to_le_bytes());
        bytes[32..40].copy_from_slice(&other.to_le_bytes());
        bytes[72..80].copy_from_slice(&entries.to_le_bytes());
        bytes[88..92].copy_from_slice(&checksum(&self.entries).to_le_bytes());
        bytes[16..20].fill(0);
        let sum = checksum(&bytes);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Whether another copy says the same of every partition.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.entries == other.entries
            && self.header.entry_size == other.header.entry_size
            && self.header.bytes[40..72] == other.header.bytes[40..72]
    }
}

fn partition(entry: &[u8], number: u32) -> Partition {
    let uuid = |offset: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&entry[offset..offset + 16]);
        Uuid(swapped(bytes))
    };
    let units: Vec<u16> = entry[56..56 + 2 * LABEL_UNITS]
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    Partition {
        number,
        kind: uuid(0),
        uuid: uuid(16),
        first: u64_at(entry, 32),
        last: u64_at(entry, 40),
        flags: u64_at(entry, 48),
        label: String::from_utf16(&units).ok(),
    }
}

/// A label as it stands in the table; `None` when it is too long.
#[must_use]
pub fn label_units(label: &str) -> Option<[u8; 2 * LABEL_UNITS]> {
    let mut bytes = [0; 2 * LABEL_UNITS];
    let mut places = bytes.chunks_exact_mut(2);
    for unit in label.encode_utf16() {
        places.next()?.copy_from_slice(&unit.to_le_bytes());
    }
    Some(bytes)
}

/// Between the order of the text and that of the table: the first three groups are stored with the low byte first.
fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// CRC-32 as the specification wants it.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests;
