//! A disk image with partitions, laid out as every tool does it, and read again without the code under test.

use std::fs;
use std::path::{Path, PathBuf};

/// "Linux generic", as it is written and as it stands in a table.
pub(crate) const GENERIC: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
const GENERIC_BYTES: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];
/// The size of each partition, in bytes.
pub(crate) const SLOT: u64 = 256 << 10;
const ENTRIES: usize = 128 * 128;

/// An image file.
pub(crate) struct Image {
    path: PathBuf,
    sector: u64,
}

/// What a table says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: [u8; 16],
    pub(crate) uuid: [u8; 16],
    pub(crate) flags: u64,
    pub(crate) label: String,
}

impl Image {
    /// Makes an image with as many partitions as labels, all of the generic type; every byte of them is 0xee.
    pub(crate) fn new(path: &Path, sector: u64, labels: &[&str]) -> Self {
        fs::create_dir_all(path.parent().expect("a path below a root")).expect("made");
        let length = (labels.len() as u64 + 2) * SLOT;
        let mut bytes = vec![0; usize::try_from(length).expect("small")];
        let mut entries = vec![0; ENTRIES];
        for (index, label) in labels.iter().enumerate() {
            let start = (index as u64 + 1) * SLOT;
            let entry = &mut entries[index * 128..][..128];
            entry[..16].copy_from_slice(&GENERIC_BYTES);
            entry[16..32].fill(0xa0 + u8::try_from(index).expect("small"));
            entry[32..40].copy_from_slice(&(start / sector).to_le_bytes());
            entry[40..48].copy_from_slice(&((start + SLOT) / sector - 1).to_le_bytes());
            for (place, unit) in entry[56..].chunks_exact_mut(2).zip(label.encode_utf16()) {
                place.copy_from_slice(&unit.to_le_bytes());
            }
            let start = usize::try_from(start).expect("small");
            bytes[start..][..usize::try_from(SLOT).expect("small")].fill(0xee);
        }
        let last = length / sector - 1;
        let array = (ENTRIES as u64).div_ceil(sector);
        for (own, other, at) in [(1, last, 2), (last, 1, last - array)] {
            let mut header = [0; 92];
            header[..8].copy_from_slice(b"EFI PART");
            header[8..12].copy_from_slice(&[0, 0, 1, 0]);
            for (offset, value) in [(12, 92), (80, 128), (84, 128), (88, crc(&entries))] {
                header[offset..offset + 4].copy_from_slice(&u32::to_le_bytes(value));
            }
            for (offset, value) in [(24, own), (32, other), (72, at)] {
                header[offset..offset + 8].copy_from_slice(&u64::to_le_bytes(value));
            }
            let sum = crc(&header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            let place = |at: u64| usize::try_from(at * sector).expect("small");
            bytes[place(own)..][..92].copy_from_slice(&header);
            bytes[place(at)..][..ENTRIES].copy_from_slice(&entries);
        }
        fs::write(path, bytes).expect("written");
        let path = path.to_path_buf();
        Self { path, sector }
    }

    /// The partitions; both copies of the table must be whole and say the same.
    #[track_caller]
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let bytes = fs::read(&self.path).expect("readable");
        let last = bytes.len() as u64 / self.sector - 1;
        let copies: Vec<Vec<u8>> = [1, last]
            .iter()
            .map(|own| {
                let place = |at: u64| usize::try_from(at * self.sector).expect("small");
                let mut header = bytes[place(*own)..][..92].to_vec();
                let sum = u32::from_le_bytes(header[16..20].try_into().expect("four"));
                header[16..20].fill(0);
                assert_eq!(crc(&header), sum, "the header of sector {own}");
                let number =
                    |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight"));
                assert_eq!((number(24), number(32)), (*own, 1 + last - own));
                let entries = bytes[place(number(72))..][..ENTRIES].to_vec();
                let sum = u32::from_le_bytes(header[88..92].try_into().expect("four"));
                assert_eq!(crc(&entries), sum, "the entries of sector {own}");
                entries
            })
            .collect();
        assert!(copies[0] == copies[1], "the copies differ");
        copies[0]
            .chunks_exact(128)
            .filter(|entry| entry[..16] != [0; 16])
            .map(|entry| {
                let units = entry[56..].chunks_exact(2);
                let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
                let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
                Entry {
                    kind: entry[..16].try_into().expect("sixteen"),
                    uuid: entry[16..32].try_into().expect("sixteen"),
                    flags: u64::from_le_bytes(entry[48..56].try_into().expect("eight")),
                    label: String::from_utf16(&units).expect("text"),
                }
            })
            .collect()
    }

    /// `LABEL` of what is whole, `LABEL?` of what has another type.
    #[track_caller]
    pub(crate) fn labels(&self) -> Vec<String> {
        let entries = self.entries().into_iter();
        entries
            .map(|entry| {
                let mark = if entry.kind == GENERIC_BYTES { "" } else { "?" };
                format!("{}{mark}", entry.label)
            })
            .collect()
    }

    /// The bytes of a partition, by number from 1.
    pub(crate) fn content(&self, number: usize) -> Vec<u8> {
        let bytes = fs::read(&self.path).expect("readable");
        let size = usize::try_from(SLOT).expect("small");
        bytes[number * size..][..size].to_vec()
    }

    /// Spoils the first or the last copy of the table.
    pub(crate) fn damage(&self, is_first: bool) {
        let mut bytes = fs::read(&self.path).expect("readable");
        let sector = usize::try_from(self.sector).expect("small");
        let at = if is_first {
            sector
        } else {
            bytes.len() - sector
        };
        bytes[at + 20] ^= 1;
        bytes[at + 40] ^= 1;
        fs::write(&self.path, bytes).expect("written");
    }
}

/// CRC-32, bit by bit: not the code under test.
fn crc(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        }
    }
    !sum
}
