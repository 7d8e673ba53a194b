//! A disk image with a GPT: finds the partition of the root or of `/usr` for one architecture by its type
//! (Discoverable Partitions Specification).
//!
//! Reads the primary table alone. The verity partitions beside them are passed over: what is fetched here is already
//! verified as a whole.

use super::error::ImageError;
use super::source::{Fields, Source};

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
    let Some((_, root_type, usr_type)) = TYPES.iter().find(|(name, ..)| *name == architecture)
    else {
        return Err(ImageError::opaque(format!(
            "a disk image on the architecture '{architecture}'"
        )));
    };
    let table = table(&source, sector)?;
    let (mut root, mut usr) = (None, None);
    for entry in table.bytes.chunks_exact(table.entry_size) {
        let fields = Fields(entry);
        let kind = type_id(fields.bytes(0));
        let place = match kind {
            kind if kind == *root_type => &mut root,
            kind if kind == *usr_type => &mut usr,
            _ => continue,
        };
        if fields.u64(48) & NO_AUTO != 0 {
            continue;
        }
        if place.is_some() {
            return Err(ImageError::opaque(
                "a disk image with several partitions of one type",
            ));
        }
        *place = Some(window(&source, sector, fields.u64(32), fields.u64(40))?);
    }
    if root.is_none() && usr.is_none() {
        return Err(ImageError::opaque(format!(
            "a disk image without a root or usr partition for {architecture}"
        )));
    }
    Ok(Partitions { root, usr })
}

struct Table {
    bytes: Vec<u8>,
    entry_size: usize,
}

fn table(source: &Source, sector: u64) -> Result<Table, ImageError> {
    let mut header: [u8; 512] = source.array(sector)?;
    let fields = Fields(&header);
    let (size, sum) = (fields.u32(12) as usize, fields.u32(16));
    let (start, count, entry_size) = (fields.u64(72), fields.u32(80), fields.u32(84));
    let entries_sum = fields.u32(88);
    header[16..20].fill(0);
    if !(92..=512).contains(&size) || checksum(&header[..size]) != sum {
        return Err(source.damaged("the partition table's header has a wrong checksum"));
    }
    let length = u64::from(count) * u64::from(entry_size);
    if !(128..=4096).contains(&entry_size) || length > TABLE_LIMIT {
        return Err(source.damaged(format!("{count} partitions of {entry_size} bytes each")));
    }
    let start = start.checked_mul(sector);
    let start = start.ok_or_else(|| source.damaged("the partition table lies beyond its end"))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    source.read(start, &mut bytes)?;
    if checksum(&bytes) != entries_sum {
        return Err(source.damaged("the partition table has a wrong checksum"));
    }
    Ok(Table {
        bytes,
        entry_size: entry_size as usize,
    })
}

fn window(source: &Source, sector: u64, first: u64, last: u64) -> Result<Source, ImageError> {
    let range = last.checked_add(1).and_then(|end| {
        let (start, end) = (first.checked_mul(sector)?, end.checked_mul(sector)?);
        (start < end && end <= source.length()).then_some((start, end - start))
    });
    match range {
        Some((start, length)) => Ok(source.window(start, length)),
        None => Err(source.damaged(format!(
            "the partition of sectors {first} to {last} lies beyond its end"
        ))),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// The type as it is written: the first three groups are stored with the low byte first.
fn type_id(bytes: [u8; 16]) -> u128 {
    let mut bytes = bytes;
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    u128::from_be_bytes(bytes)
}

const SIGNATURE: &[u8; 8] = b"EFI PART";

/// Tables have 16 KiB.
const TABLE_LIMIT: u64 = 256 << 10;

/// The attribute bit "not to be found automatically".
const NO_AUTO: u64 = 1 << 63;

/// systemd's name of the architecture, the type of its root partition and of its `/usr` partition.
const TYPES: &[(&str, u128, u128)] = &[
    (
        "x86-64",
        0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709,
        0x8484_680c_9521_48c6_9c11_b072_0656_f69e,
    ),
    (
        "arm64",
        0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae,
        0xb0e0_1050_ee5f_4390_949a_9101_b171_04e9,
    ),
    (
        "x86",
        0x4447_9540_f297_41b2_9af7_d131_d5f0_458a,
        0x7525_0d76_8cc6_458e_bd66_bd47_cc81_a812,
    ),
    (
        "arm",
        0x69da_d710_2ce4_4e3c_b16c_21a1_d49a_bed3,
        0x7d03_59a3_02b3_4f0a_865c_6544_03e7_0625,
    ),
    (
        "riscv64",
        0x72ec_70a6_cf74_40e6_bd49_4bda_08e8_f224,
        0xbeae_c34b_8442_439b_a40b_9843_81ed_097d,
    ),
    (
        "loongarch64",
        0x7705_5800_792c_4f94_b39a_98c9_1b76_2bb6,
        0xe611_c702_575c_4cbe_9a46_434f_a0bf_7e3f,
    ),
    (
        "ppc64-le",
        0xc31c_45e6_3f39_412e_80fb_4809_c498_0599,
        0x15bb_03af_77e7_4d4a_b12b_c0d0_84f7_491c,
    ),
    (
        "s390x",
        0x5eea_d9a9_fe09_4a1e_a1d7_520d_0053_1306,
        0x8a4f_5770_50aa_4ed3_874a_99b7_10db_6fea,
    ),
];
