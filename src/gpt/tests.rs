use super::types::PartitionType;
use super::*;

const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";

fn table(sector: usize) -> Table {
    let mut entries = vec![0; 128 * 128];
    let mut entry = Vec::new();
    entry.extend(swapped(ROOT.parse::<Uuid>().expect("a UUID").0));
    entry.extend([7; 16]);
    entry.extend(2048_u64.to_le_bytes());
    entry.extend(4095_u64.to_le_bytes());
    entry.extend(READ_ONLY.to_le_bytes());
    entry.extend(label_units("röot_1").expect("short"));
    entries[128..256].copy_from_slice(&entry);
    let mut header = vec![0; sector];
    header[..8].copy_from_slice(SIGNATURE);
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    header[32..40].copy_from_slice(&9999_u64.to_le_bytes());
    header[72..80].copy_from_slice(&2_u64.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&checksum(&entries).to_le_bytes());
    let sum = checksum(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    Table::new(Header::parse(&header, 1).expect("a header"), entries).expect("a table")
}

#[test]
fn what_is_changed_is_read_again_and_nothing_else_differs() {
    for sector in [512, 4096] {
        let before = table(sector);
        let mut after = before.clone();
        let change = Change {
            kind: Some(PartitionType::LINUX_GENERIC.0),
            uuid: Some(Uuid([9; 16])),
            flags: Some(NO_AUTO),
            label: Some("x".repeat(36)),
        };
        assert!(after.change(2, &change));
        let partition = after.partition(2).expect("it is in use");
        assert_eq!(partition.kind, PartitionType::LINUX_GENERIC.0);
        assert_eq!((partition.uuid, partition.flags), (Uuid([9; 16]), NO_AUTO));
        assert_eq!(partition.label, Some("x".repeat(36)));
        assert_eq!((partition.first, partition.last), (2048, 4095));
        assert_eq!(partition.range(512), Some((1 << 20, 1 << 20)));
        assert!(!after.agrees(&before) && after.agrees(&after.clone()));
        let header = after.header_at(9999, 1, 9967);
        let header = Header::parse(&header, 9999).expect("a header");
        assert_eq!((header.other, header.entries), (1, 9967));
        Table::new(header, after.entries().to_vec()).expect("they belong together");
        // And back again.
        let old = before.partition(2).expect("it is in use");
        let back = Change {
            kind: Some(old.kind),
            uuid: Some(old.uuid),
            flags: Some(old.flags),
            label: old.label,
        };
        assert!(after.change(2, &back) && after == before);
    }
}

#[test]
fn a_label_is_as_long_as_it_may_be_and_a_partition_is_one_that_exists() {
    let mut table = table(512);
    let label = |label: &str| Change {
        label: Some(label.to_owned()),
        ..Change::default()
    };
    assert!(!table.change(2, &label(&"x".repeat(37))));
    assert!(!table.change(2, &label(&"😀".repeat(19))), "two units each");
    assert!(table.change(2, &label(&"😀".repeat(18))));
    assert!(!table.change(0, &label("a")) && !table.change(129, &label("a")));
    assert_eq!(
        table.partitions().count(),
        1,
        "types of zero are not in use"
    );
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let whole = table(512);
    let header = whole.header_at(1, 9999, 2);
    for index in 0..header.len() {
        let mut damaged = header.clone();
        damaged[index] ^= 0x10;
        let read = Header::parse(&damaged, 1);
        assert!(read.is_err(), "byte {index}: {read:?}");
    }
    assert_eq!(Header::parse(&header, 2), Err(GptError::Misplaced(1)));
    for length in [0, 8, 91] {
        assert!(Header::parse(&header[..length], 1).is_err());
    }
    let mut entries = whole.entries().to_vec();
    entries[5000] ^= 1;
    let header = Header::parse(&header, 1).expect("whole");
    assert_eq!(
        Table::new(header.clone(), entries),
        Err(GptError::EntriesSum)
    );
    assert_eq!(Table::new(header, Vec::new()), Err(GptError::EntriesSum));
}

#[test]
fn types_have_names_and_mean_this_machine_without_one() {
    let parse = |text| PartitionType::parse(text, Some("x86-64")).map(|kind| kind.0.to_string());
    for (name, value) in [
        ("esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
        ("linux-generic", "0fc63daf-8483-4772-8e79-3d69d8477de4"),
        ("root", ROOT),
        ("root-x86-64", ROOT),
        ("root-amd64", ROOT),
        ("root-secondary", "44479540-f297-41b2-9af7-d131d5f0458a"),
        (
            "usr-secondary-verity-sig",
            "974a71c0-de41-43c3-be5d-5c5ccd1ad2c0",
        ),
        ("usr-arm64-verity", "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e"),
        ("4F68BCE3E8CD4DB196E7FBCAF984B709", ROOT),
    ] {
        assert_eq!(parse(name).as_deref(), Some(value), "{name}");
    }
    for bad in [
        "",
        "ESP",
        "root-verity-x86-64",
        "root-vax",
        "rootx86",
        "usr-sig",
        "root-",
        "root-x86-64-sig",
        "0fc63daf84834772",
    ] {
        assert_eq!(parse(bad), None, "{bad}");
    }
    assert_eq!(PartitionType::parse("root", None), None);
    let shown = PartitionType::parse("usr-arm64-verity", None).expect("a type");
    assert_eq!(
        shown.to_string(),
        "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e (usr-arm64-verity)"
    );
}

#[test]
fn unfinished_partitions_have_the_types_that_the_original_gives_them() {
    let root = PartitionType::parse(ROOT, None).expect("a type");
    assert_eq!(
        root.partial().0.to_string(),
        "7a01d3c6-92ac-43e9-bd77-5726b602ad9d"
    );
    assert_eq!(
        root.pending().0.to_string(),
        "64362e66-88a7-463b-b325-7af60c81be06"
    );
    assert_eq!(root.known_flags(), [true; 3]);
    assert!(!root.is_zero_filled());
    let signature = PartitionType::parse("root-arm-verity-sig", None).expect("a type");
    assert!(signature.is_zero_filled());
}
