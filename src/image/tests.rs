//! The same tree in every format: `tests/*.zst` are images by mkfs.erofs, mkfs.ext4 and mksquashfs; the other
//! squashfs images are written here. What the tools of a machine make in full size is tested by `integration/images`.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use backhand::compression::Compressor;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};
use proptest::prelude::*;

use super::ext4::Ext;
use super::tree::Tree as _;
use super::*;

const RELEASE: &str = "ID=_any\nARCHITECTURE=x86-64\n";
const SERVICE: &str = "[Service]\nExecStart=/usr/bin/demo\n";
const DROP_IN: &str = "[Unit]\nUpholds=demo.service\n";

/// Name and bytes of an image of the tree in each format.
static IMAGES: LazyLock<Vec<(&'static str, Vec<u8>)>> = LazyLock::new(|| {
    let fixture = |packed: &[u8]| zstd::bulk::decompress(packed, 1 << 20).expect("a fixture");
    let mut images = vec![
        (
            "erofs-plain",
            fixture(include_bytes!("tests/erofs-plain.zst")),
        ),
        (
            "erofs-lz4hc",
            fixture(include_bytes!("tests/erofs-lz4hc.zst")),
        ),
        (
            "erofs-lzma",
            fixture(include_bytes!("tests/erofs-lzma.zst")),
        ),
        (
            "erofs-deflate",
            fixture(include_bytes!("tests/erofs-deflate.zst")),
        ),
        (
            "erofs-zstd",
            fixture(include_bytes!("tests/erofs-zstd.zst")),
        ),
        ("ext4", fixture(include_bytes!("tests/ext4.zst"))),
        ("ext2", fixture(include_bytes!("tests/ext2.zst"))),
        ("squashfs-gzip", squashfs(Compressor::Gzip, 0)),
        // backhand's writer fails on this tree in xz.
        (
            "squashfs-xz",
            fixture(include_bytes!("tests/squashfs-xz.zst")),
        ),
        ("squashfs-zstd", squashfs(Compressor::Zstd, 0)),
        (
            "squashfs-lz4",
            fixture(include_bytes!("tests/squashfs-lz4.zst")),
        ),
    ];
    let content = images[1].1.clone();
    images.push((
        "disk-512",
        disk(512, 0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709, &content),
    ));
    images.push((
        "disk-4096",
        disk(4096, 0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709, &content),
    ));
    images
});

fn program() -> Vec<u8> {
    let lines = (1..=1000).map(|line| format!("line {line} of the program\n"));
    lines.collect::<String>().into_bytes()
}

fn squashfs(codec: Compressor, more: usize) -> Vec<u8> {
    let program = program();
    let files: [(&str, &[u8]); 4] = [
        (
            "usr/lib/extension-release.d/extension-release.demo",
            RELEASE.as_bytes(),
        ),
        ("usr/lib/systemd/system/demo.service", SERVICE.as_bytes()),
        (
            "usr/lib/systemd/system/multi-user.target.d/10-demo.conf",
            DROP_IN.as_bytes(),
        ),
        ("usr/bin/demo", &program),
    ];
    let header = NodeHeader::new(0o755, 0, 0, 1_700_000_000);
    let mut image = FilesystemWriter::default();
    image.set_compressor(FilesystemCompressor::new(codec, None).expect("a known codec"));
    image.set_root_mode(0o755);
    for (path, content) in files {
        let (directory, _) = path.rsplit_once('/').expect("below a directory");
        image.push_dir_all(directory, header).expect("a directory");
        image
            .push_file(Cursor::new(content.to_vec()), path, header)
            .expect("a file");
    }
    for (path, text) in [
        ("usr/lib/systemd/system/alias.service", "demo.service"),
        ("usr/bin/link", "/usr/bin/demo"),
        ("usr/bin/loop", "loop"),
        ("usr/bin/away", "../../../../usr/./bin//link"),
    ] {
        image.push_symlink(text, path, header).expect("a symlink");
    }
    image
        .push_dir_all("usr/share/many", header)
        .expect("a directory");
    for number in 0..more {
        let path = format!("usr/share/many/file-{number}");
        image
            .push_file(Cursor::new(vec![b'x'; 100]), path, header)
            .expect("a file");
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write(&mut bytes).expect("written to memory");
    bytes.into_inner()
}

/// A disk image with one partition, which holds the content.
fn disk(sector: usize, kind: u128, content: &[u8]) -> Vec<u8> {
    let first = 8;
    let last = first + content.len().div_ceil(sector) - 1;
    let mut type_id = kind.to_be_bytes();
    type_id[..4].reverse();
    type_id[4..6].reverse();
    type_id[6..8].reverse();
    let mut entries = vec![0; 4 * 128];
    entries[..16].copy_from_slice(&type_id);
    entries[32..40].copy_from_slice(&(first as u64).to_le_bytes());
    entries[40..48].copy_from_slice(&(last as u64).to_le_bytes());
    let sum = |bytes: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        sum.sum().to_le_bytes()
    };
    let mut header = vec![0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    header[72..80].copy_from_slice(&2_u64.to_le_bytes());
    header[80..84].copy_from_slice(&4_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&sum(&entries));
    let checksum = sum(&header);
    header[16..20].copy_from_slice(&checksum);
    let mut image = vec![0; (last + 1) * sector];
    image[sector..sector + 92].copy_from_slice(&header);
    image[2 * sector..2 * sector + entries.len()].copy_from_slice(&entries);
    image[first * sector..first * sector + content.len()].copy_from_slice(content);
    image
}

fn opened(bytes: &[u8]) -> Result<Image, ImageError> {
    let length = bytes.len() as u64;
    Image::open(Box::new(Cursor::new(bytes.to_vec())), length, "x86-64")
}

/// All that can be asked.
fn everything(bytes: &[u8]) -> Result<(Facts, Option<Sha256>), ImageError> {
    let mut image = opened(bytes)?;
    let facts = Facts::of(&mut image, ExtensionKind::Sysext, "demo")?;
    image.entries("usr")?;
    image.release(ExtensionKind::Confext, "demo")?;
    Ok((facts, image.digest("usr/bin/link")?))
}

#[test]
fn every_format_says_the_same() {
    let digest = Sha256(sha2::Sha256::digest(program()).into());
    for (name, bytes) in IMAGES.iter() {
        let mut image = opened(bytes).expect(name);
        let release = image.release(ExtensionKind::Sysext, "demo").expect(name);
        assert_eq!(
            release,
            Release::Fields(parse_environment(RELEASE)),
            "{name}"
        );
        let release = image.release(ExtensionKind::Sysext, "other").expect(name);
        assert_eq!(release, Release::Named(vec!["demo".to_owned()]), "{name}");
        let release = image.release(ExtensionKind::Sysext, "../x").expect(name);
        assert_eq!(release, Release::Named(vec!["demo".to_owned()]), "{name}");
        let release = image.release(ExtensionKind::Confext, "demo").expect(name);
        assert_eq!(release, Release::None, "{name}");
        let units: Vec<_> = image.units().expect(name).into_iter().collect();
        let path = |rest: &str| format!("usr/lib/systemd/system/{rest}");
        assert_eq!(
            units,
            [
                (path("alias.service"), Unit::Link("demo.service".to_owned())),
                (path("demo.service"), Unit::File(SERVICE.into())),
                (
                    path("multi-user.target.d/10-demo.conf"),
                    Unit::File(DROP_IN.into())
                ),
            ],
            "{name}"
        );
        let stat = image
            .stat("/usr/bin/link")
            .expect(name)
            .expect("it is there");
        let expected = Stat {
            size: program().len() as u64,
            mtime: 1_700_000_000,
            kind: Kind::File,
        };
        assert_eq!(stat, expected, "{name}");
        assert_eq!(
            image.digest("usr/bin/link").expect(name),
            Some(digest),
            "{name}"
        );
        assert_eq!(image.digest("usr/bin").expect(name), None, "{name}");
        assert_eq!(image.stat("usr/bin/demo/x").expect(name), None, "{name}");
        let entries = image.entries("usr/lib/").expect(name).expect("a directory");
        let names: Vec<_> = entries
            .iter()
            .map(|(name, kind)| (name.as_str(), *kind))
            .collect();
        let expected = [
            ("extension-release.d", Kind::Directory),
            ("systemd", Kind::Directory),
        ];
        assert_eq!(names, expected, "{name}");
        assert_eq!(image.entries("usr/sbin").expect(name), None, "{name}");
    }
}

#[test]
fn symlinks_stay_inside_and_end() {
    let mut image = opened(&IMAGES[7].1).expect("a good image");
    let size = Some(program().len() as u64);
    let mut size_of = |path| image.stat(path).expect(path).map(|stat| stat.size);
    assert_eq!(size_of("usr/bin/away"), size);
    assert_eq!(size_of("/../usr/bin/../bin/link"), size);
    assert_eq!(size_of("usr/bin/loop"), None);
    assert_eq!(size_of(&"usr/../".repeat(200)), None);
}

#[test]
fn a_usr_partition_lies_at_usr() {
    let content = squashfs(Compressor::Gzip, 0);
    let bytes = disk(512, 0x8484_680c_9521_48c6_9c11_b072_0656_f69e, &content);
    let mut image = opened(&bytes).expect("a good image");
    assert_eq!(image.format().to_string(), "squashfs in a disk image");
    // The whole tree is in that partition here, so its `usr` lies at `usr/usr`.
    let root = image.entries("/").expect("a directory");
    assert_eq!(root, Some(vec![("usr".to_owned(), Kind::Directory)]));
    let usr = image.entries("usr").expect("a directory");
    assert_eq!(usr, Some(vec![("usr".to_owned(), Kind::Directory)]));
    assert!(image.stat("usr/usr/bin/demo").expect("a name").is_some());
    assert_eq!(image.stat("etc").expect("a name"), None);
}

#[test]
fn the_first_file_of_a_partition_is_that_of_the_architecture() {
    let bytes = &IMAGES[11].1;
    for (architecture, what) in [
        (
            "arm64",
            "a disk image without a root or usr partition for arm64",
        ),
        ("vax", "a disk image on the architecture 'vax'"),
    ] {
        let reader = Box::new(Cursor::new(bytes.clone()));
        let error = Image::open(reader, bytes.len() as u64, architecture);
        assert!(
            matches!(&error, Err(ImageError::Opaque { what: found }) if found == what),
            "{error:?}"
        );
    }
}

#[test]
fn what_cannot_be_looked_into_is_named() {
    let with = |at: usize, magic: &[u8]| {
        let mut bytes = vec![0; 80 << 10];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        bytes
    };
    let mut lzo = IMAGES[7].1.clone();
    lzo[20] = 3;
    let mut metabox = IMAGES[0].1.clone();
    metabox[1024 + 81] |= 1;
    let rows = [
        (Vec::new(), "what is no image of a known kind"),
        (vec![0; 5], "what is no image of a known kind"),
        (b"#!/bin/sh\n".to_vec(), "what is no image of a known kind"),
        (with(0x1_0040, b"_BHRfS_M"), "a btrfs file system"),
        (with(0, b"LUKS\xba\xbe\0\x02"), "an encrypted volume (LUKS)"),
        (with(0, b"XFSB"), "an XFS file system"),
        (lzo, "a squashfs compressed with lzo"),
        (metabox, "an erofs with compressed metadata"),
    ];
    for (bytes, what) in rows {
        let error = opened(&bytes);
        assert!(
            matches!(&error, Err(ImageError::Opaque { what: found }) if found == what),
            "{what}: {error:?}"
        );
    }
}

#[test]
fn an_ext_file_system_of_more_blocks_than_are_there_is_damaged() {
    for (name, bytes) in IMAGES.iter().filter(|(name, _)| name.starts_with("ext")) {
        let mut bytes = bytes.clone();
        // s_blocks_count_hi, which counts without the feature bit, too.
        bytes[0x551] = 0x1a;
        let error = everything(&bytes).expect_err(name);
        assert!(
            matches!(&error, ImageError::Damaged { problem, .. } if problem.contains(" blocks are there")),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn of_an_ext_file_system_no_link_is_copied_as_a_file() {
    for (name, bytes) in IMAGES.iter().filter(|(name, _)| name.starts_with("ext")) {
        let mut bytes = bytes.clone();
        // The entry of a directory: how long the name is, that it is a symlink's, the name.
        let entry = b"\x04\x07link";
        let at = bytes
            .windows(entry.len())
            .position(|window| window == entry)
            .expect(name);
        bytes[at + 1] = 1;
        let length = bytes.len() as u64;
        let source = Source::new(Box::new(Cursor::new(bytes)), length);
        // ext4 has checksums of its directories.
        let copied = Ext::open(&source).and_then(|mut ext| {
            ext.copy("usr/bin/demo", &mut |_| Ok(()))?;
            ext.copy("usr/bin/link", &mut |_| Ok(()))
        });
        assert!(
            matches!(copied, Err(ImageError::Damaged { .. })),
            "{name}: {copied:?}"
        );
        let panics =
            Ext::open(&source).and_then(|ext| ext.with(|_| -> Result<(), _> { panic!("so") }));
        assert!(
            matches!(panics, Err(ImageError::Damaged { .. })),
            "{name}: {panics:?}"
        );
    }
}

#[test]
fn a_cut_image_is_damaged_or_says_the_same() {
    for (name, bytes) in IMAGES.iter() {
        let whole = everything(bytes).expect(name);
        let mut damaged = 0;
        for length in (0..bytes.len()).step_by(bytes.len() / 64) {
            match everything(&bytes[..length]) {
                Ok(found) => assert_eq!(found, whole, "{name} cut at {length}"),
                Err(ImageError::Damaged { .. }) => damaged += 1,
                Err(ImageError::Opaque { .. }) => assert!(length < 40 << 10, "{name}: {length}"),
                Err(error) => panic!("{name} cut at {length}: {error}"),
            }
            // The same when the reader knows no better than the caller.
            let reader = Box::new(Cursor::new(bytes[..length].to_vec()));
            if let Ok(mut image) = Image::open(reader, bytes.len() as u64, "x86-64") {
                let facts = Facts::of(&mut image, ExtensionKind::Sysext, "demo");
                assert!(facts.is_ok_and(|facts| facts == whole.0) || length < bytes.len());
            }
        }
        assert!(damaged > 10, "{name}: {damaged}");
    }
}

/// Fails once so many bytes have been read.
struct Failing {
    inner: Cursor<Vec<u8>>,
    left: usize,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left < buffer.len() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the line is cut",
            ));
        }
        self.left -= buffer.len();
        self.inner.read(buffer)
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn the_readers_own_error_comes_through_every_format() {
    for (name, bytes) in IMAGES.iter() {
        // The magic bytes are in the first chunk; the superblock, too, unless it lies further on.
        for left in [0, 64 << 10] {
            if left != 0 && bytes.len() <= left {
                continue;
            }
            let reader = Failing {
                inner: Cursor::new(bytes.clone()),
                left,
            };
            let opened = Image::open(Box::new(reader), bytes.len() as u64, "x86-64");
            let failed = opened.and_then(|mut image| {
                Facts::of(&mut image, ExtensionKind::Sysext, "demo")?;
                image.digest("usr/bin/link")
            });
            match failed {
                Err(ImageError::Read(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{name}");
                    assert_eq!(error.to_string(), "the line is cut", "{name}");
                }
                other => panic!("{name} after {left}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_look_that_does_not_end_is_ended() {
    let source = Source::new(Box::new(Cursor::new(vec![0; 1000])), 1000);
    let ended = (0..10_000_000).find_map(|_| source.array::<1>(0).err());
    assert!(
        matches!(ended, Some(ImageError::Damaged { .. })),
        "{ended:?}"
    );
    source.grant(0);
    assert!(source.array::<1>(0).is_ok());
}

/// Counts what is read.
struct Counting(Cursor<Vec<u8>>, &'static AtomicU64);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(buffer)?;
        self.1.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn of_many_files_only_the_way_is_read() {
    static READ: AtomicU64 = AtomicU64::new(0);
    let bytes = squashfs(Compressor::Gzip, 5000);
    let length = bytes.len() as u64;
    let reader = Counting(Cursor::new(bytes), &READ);
    let mut image = Image::open(Box::new(reader), length, "x86-64").expect("a good image");
    Facts::of(&mut image, ExtensionKind::Sysext, "demo").expect("facts");
    let read = READ.load(Ordering::Relaxed);
    assert!(read <= 256 << 10, "{read} of {length} bytes");
    let many = image.entries("usr/share/many").expect("a directory");
    assert_eq!(many.map(|names| names.len()), Some(5000));
}

#[test]
fn facts_survive_being_kept() {
    let (facts, _) = everything(&IMAGES[0].1).expect("a good image");
    let text = serde_json::to_string(&facts).expect("plain data");
    assert_eq!(
        serde_json::from_str::<Facts>(&text).expect("the same"),
        facts
    );
    let service = &facts.units["usr/lib/systemd/system/demo.service"];
    assert_eq!(service.text.as_deref(), Some(SERVICE));
    let drop_in = &facts.units["usr/lib/systemd/system/multi-user.target.d/10-demo.conf"];
    assert_eq!(drop_in.text, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Any answer will do, as long as there is one.
    #[test]
    fn a_look_at_a_damaged_image_ends_without_a_panic(
        which in 0..13_usize,
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let mut bytes = IMAGES[which].1.clone();
        let used: Vec<usize> = (0..bytes.len()).filter(|&place| bytes[place] != 0).collect();
        for (place, bit) in flips {
            bytes[*place.get(&used)] ^= 1 << bit;
        }
        if let Err(ImageError::Read(error) | ImageError::Write(error)) = everything(&bytes) {
            prop_assert!(false, "{}", error);
        }
    }
}
