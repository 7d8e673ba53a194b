//! Partition tables, and looks into images.

use std::io::Cursor;

use sysupdate::extension::ExtensionKind;
use sysupdate::gpt::{self, Header, Table};
use sysupdate::image::{Facts, Image};

use crate::Work;

/// A full table.
pub(crate) fn partition_table() -> Work {
    let mut entries = Vec::new();
    for number in 1..=128_u64 {
        entries.extend([0x5a; 16]);
        entries.extend([number.to_le_bytes(); 2].concat());
        entries.extend((number * 4096).to_le_bytes());
        entries.extend((number * 4096 + 4095).to_le_bytes());
        entries.extend(gpt::READ_ONLY.to_le_bytes());
        let label = gpt::label_units(&format!("root_{number}")).expect("it is short");
        entries.extend(label);
    }
    let mut sector = vec![0; 512];
    sector[..8].copy_from_slice(gpt::SIGNATURE);
    sector[12..16].copy_from_slice(&92_u32.to_le_bytes());
    sector[24..32].copy_from_slice(&1_u64.to_le_bytes());
    sector[72..80].copy_from_slice(&2_u64.to_le_bytes());
    sector[80..84].copy_from_slice(&128_u32.to_le_bytes());
    sector[84..88].copy_from_slice(&128_u32.to_le_bytes());
    sector[88..92].copy_from_slice(&gpt::checksum(&entries).to_le_bytes());
    let sum = gpt::checksum(&sector[..92]);
    sector[16..20].copy_from_slice(&sum.to_le_bytes());
    Box::new(move || {
        let header = Header::parse(&sector, 1).expect("a header");
        let table = Table::new(header, entries.clone()).expect("a table");
        let partitions = table.partitions();
        partitions.filter(|one| one.label.is_some()).count()
    })
}

pub(crate) fn squashfs() -> Work {
    image(include_bytes!("../../src/image/tests/squashfs-xz.zst"))
}

pub(crate) fn erofs() -> Work {
    image(include_bytes!("../../src/image/tests/erofs-lz4hc.zst"))
}

pub(crate) fn ext4() -> Work {
    image(include_bytes!("../../src/image/tests/ext4.zst"))
}

/// A look into an image.
fn image(packed: &[u8]) -> Work {
    let bytes = zstd::bulk::decompress(packed, 1 << 20).expect("a fixture");
    let length = bytes.len() as u64;
    let mut reader = Some(Box::new(Cursor::new(bytes)));
    Box::new(move || {
        let reader = reader.take().expect("it is done once");
        let mut image = Image::open(reader, length, "x86-64").expect("an image");
        let facts = Facts::of(&mut image, ExtensionKind::Sysext, "demo").expect("an extension");
        facts.units.len()
    })
}
