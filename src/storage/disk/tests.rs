use std::fs;

use super::*;
use crate::gpt::types::PartitionType;
use crate::gpt::{EMPTY_LABEL, Table, checksum, label_units};
use crate::metadata::Uuid;

/// An image with two partitions of one type, laid out as every tool does it.
struct Image {
    outer: tempfile::TempDir,
    root: Root,
    sector: u64,
    length: u64,
}

impl Image {
    fn new(sector: u64) -> Self {
        let outer = tempfile::tempdir().expect("a directory");
        let root = Root::open(outer.path()).expect("it opens");
        let length = 4 << 20;
        let image = Self {
            outer,
            root,
            sector,
            length,
        };
        let mut entries = vec![0; 128 * 128];
        for (index, first) in [(0, 64), (1, 128)] {
            let entry = &mut entries[index * 128..][..128];
            // "Linux generic", in the order of the table.
            entry[..16].copy_from_slice(&[
                0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47,
                0x7d, 0xe4,
            ]);
            entry[16] = 1 + u8::try_from(index).expect("small");
            entry[32..40].copy_from_slice(&u64::to_le_bytes(first));
            entry[40..48].copy_from_slice(&u64::to_le_bytes(first + 63));
            entry[56..].copy_from_slice(&label_units(EMPTY_LABEL).expect("short"));
        }
        let last = length / sector - 1;
        let array = (128 * 128_u64).div_ceil(sector);
        let mut bytes = vec![0; usize::try_from(length).expect("small")];
        for (own, other, at) in [(1, last, 2), (last, 1, last - array)] {
            let mut header = vec![0; 92];
            header[..8].copy_from_slice(SIGNATURE);
            header[8..12].copy_from_slice(&[0, 0, 1, 0]);
            for (offset, value) in [(12, 92), (80, 128), (84, 128), (88, checksum(&entries))] {
                header[offset..offset + 4].copy_from_slice(&u32::to_le_bytes(value));
            }
            for (offset, value) in [(24, own), (32, other), (72, at)] {
                header[offset..offset + 8].copy_from_slice(&u64::to_le_bytes(value));
            }
            let sum = checksum(&header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            let place = |at: u64| usize::try_from(at * sector).expect("small");
            bytes[place(own)..][..92].copy_from_slice(&header);
            bytes[place(at)..][..entries.len()].copy_from_slice(&entries);
        }
        fs::write(image.path(), bytes).expect("written");
        image
    }

    fn path(&self) -> PathBuf {
        self.outer.path().join("disk.img")
    }

    fn open(&self) -> Disk {
        Disk::open(&self.root, Path::new("/disk.img"), Access::Write).expect("it opens")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).expect("readable")
    }

    fn damage(&self, sector: u64) {
        let mut bytes = self.bytes();
        let at = usize::try_from(sector * self.sector).expect("small");
        bytes[at + 60] ^= 1;
        fs::write(self.path(), bytes).expect("written");
    }

    fn last(&self) -> u64 {
        self.length / self.sector - 1
    }
}

fn label(label: &str) -> Change {
    Change {
        label: Some(label.to_owned()),
        ..Change::default()
    }
}

fn labels(table: &Table) -> Vec<String> {
    table
        .partitions()
        .map(|partition| partition.label.expect("text"))
        .collect()
}

#[test]
fn a_change_is_in_both_copies_and_nothing_else_is() {
    for sector in [512, 4096] {
        let image = Image::new(sector);
        let before = image.bytes();
        let disk = image.open();
        assert_eq!(disk.sector(), sector);
        disk.change(2, &label("root_1"), |_| true, Durability::Synced)
            .expect("changed");
        let (first, other) = (disk.copy(1), disk.copy(image.last()));
        let (first, other) = (first.expect("whole"), other.expect("whole"));
        assert!(first.agrees(&other), "{sector}");
        assert_eq!(labels(&first), [EMPTY_LABEL, "root_1"]);
        // The same change back leaves every byte as it was.
        disk.change(2, &label(EMPTY_LABEL), |_| true, Durability::Unsynced)
            .expect("changed");
        assert!(image.bytes() == before, "{sector}");
        assert_eq!(disk.partition_path(2), Path::new("/disk.img2"));
    }
}

#[test]
fn one_whole_copy_is_enough_and_mends_the_other() {
    for sector in [512, 4096] {
        for damaged in [1, 2, 4 * 1024 * 1024 / sector - 1] {
            let image = Image::new(sector);
            image.damage(damaged);
            let disk = image.open();
            assert_eq!(disk.sector(), sector);
            disk.change(1, &label("a"), |_| true, Durability::Synced)
                .expect("changed");
            let (first, other) = (disk.copy(1), disk.copy(image.last()));
            let (first, other) = (first.expect("whole"), other.expect("whole"));
            assert!(first.agrees(&other), "{sector} {damaged}");
            assert_eq!(labels(&first)[0], "a");
        }
        let image = Image::new(sector);
        image.damage(1);
        image.damage(image.last());
        let refused = image.open().table().expect_err("nothing is left");
        assert!(matches!(refused, DiskError::Table { .. }), "{refused}");
    }
}

#[test]
fn what_has_changed_meanwhile_is_left_alone() {
    let image = Image::new(512);
    let before = image.bytes();
    let disk = image.open();
    let linux = PartitionType::LINUX_GENERIC.0;
    let expected = |partition: &Partition| partition.kind == linux && partition.number == 1;
    for number in [0, 2, 3, 129] {
        let refused = disk.change(number, &label("x"), expected, Durability::Synced);
        assert!(
            matches!(refused, Err(DiskError::Changed { .. })),
            "{number}"
        );
    }
    let other = Change {
        kind: Some(Uuid([1; 16])),
        ..label(&"x".repeat(37))
    };
    disk.change(1, &other, expected, Durability::Synced)
        .expect_err("the label is too long");
    assert!(image.bytes() == before);
}

#[test]
fn the_disk_beneath_is_found_through_what_is_stacked_upon_it() {
    let outer = tempfile::tempdir().expect("a directory");
    let (devices, block) = (outer.path().join("devices"), outer.path().join("block"));
    fs::create_dir_all(&block).expect("made");
    let device = |path: &str, number: &str| {
        fs::create_dir_all(devices.join(path).join("slaves")).expect("made");
        std::os::unix::fs::symlink(devices.join(path), block.join(number)).expect("linked");
    };
    device("sda", "8:0");
    for (partition, number) in [("sda/sda1", "8:1"), ("sda/sda2", "8:2")] {
        device(partition, number);
        fs::write(devices.join(partition).join("partition"), "1").expect("written");
    }
    device("sdb", "8:16");
    device("sdb/sdb1", "8:17");
    fs::write(devices.join("sdb/sdb1/partition"), "1").expect("written");
    device("dm-0", "253:0");
    device("dm-1", "253:1");
    device("md0", "9:0");
    let upon = |device: &str, below: &[&str]| {
        for (index, one) in below.iter().enumerate() {
            let link = devices.join(device).join("slaves").join(index.to_string());
            std::os::unix::fs::symlink(devices.join(one), link).expect("linked");
        }
    };
    // Verity: data and hashes on one disk. A volume upon that. An array of two disks.
    upon("dm-0", &["sda/sda1", "sda/sda2"]);
    upon("dm-1", &["dm-0"]);
    upon("md0", &["sda/sda1", "sdb/sdb1"]);
    let found = |number: &str| whole_disk(&block.join(number), 0);
    let sda = Some(PathBuf::from("/dev/sda"));
    assert_eq!(found("8:2"), sda);
    assert_eq!(found("253:0"), sda);
    assert_eq!(found("253:1"), sda);
    assert_eq!(found("9:0"), None, "several disks");
    assert_eq!(found("8:16"), None, "a disk is no partition");
    assert_eq!(found("7:7"), None);
    // A circle ends.
    device("dm-2", "253:2");
    upon("dm-2", &["dm-2"]);
    assert_eq!(found("253:2"), None);
}

#[test]
fn names_of_partitions_are_those_of_the_kernel() {
    for (disk, name) in [
        ("/dev/sda", "/dev/sda3"),
        ("/dev/nvme0n1", "/dev/nvme0n1p3"),
        ("/dev/loop7", "/dev/loop7p3"),
        ("/srv/disk.img", "/srv/disk.img3"),
    ] {
        assert_eq!(partition_path(Path::new(disk), 3), Path::new(name));
    }
}

#[test]
fn what_is_no_disk_is_refused_by_name() {
    let image = Image::new(512);
    fs::write(image.outer.path().join("text"), "no table").expect("written");
    fs::create_dir(image.outer.path().join("directory")).expect("made");
    for name in ["/text", "/directory", "/missing"] {
        let opened = Disk::open(&image.root, Path::new(name), Access::Read);
        let refused = opened.and_then(|disk| disk.table()).expect_err("refused");
        assert!(refused.to_string().contains(&name[1..]), "{refused}");
    }
}
