use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::root::Root;

/// Where archives are unpacked to, and what must not be touched beside it.
struct Place {
    outer: tempfile::TempDir,
    root: Root,
}

impl Place {
    fn new() -> Self {
        let outer = tempfile::tempdir().expect("a directory");
        fs::create_dir(outer.path().join("tree")).expect("made");
        let root = Root::open(outer.path()).expect("it opens");
        Self { outer, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outer.path().join("tree").join(name)
    }

    fn unpack(&self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.unpack_within(bytes, u64::MAX)
    }

    fn unpack_within(&self, bytes: &[u8], limit: u64) -> Result<(), ArchiveError> {
        let top = self.root.directory(Path::new("/tree")).expect("it opens");
        let mut writer = TreeWriter::new(&self.root, top, limit);
        unpack(&mut &bytes[..], &mut writer)?;
        writer.finish(None)?;
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.outer.path().join("tree")).expect("readable");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// An archive as it grows.
#[derive(Default)]
struct Tape(Vec<u8>);

impl Tape {
    fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o640);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header
    }

    fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        let header = Self::header(EntryType::Regular, name.as_bytes(), data.len() as u64);
        self.raw(header, data)
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        let mut header = Self::header(EntryType::Directory, name.as_bytes(), 0);
        header.set_mode(mode);
        self.raw(header, b"")
    }

    fn link(self, kind: EntryType, name: &str, to: &str) -> Self {
        let mut header = Self::header(kind, name.as_bytes(), 0);
        header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
        self.raw(header, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = 1 + key.len() + 1 + value.len() + 1;
            let length = (1..9999).find(|length| rest + length.to_string().len() == *length);
            let length = length.expect("one fits");
            data.extend(format!("{length} {key}=").as_bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        let header = Self::header(EntryType::XHeader, b"pax", data.len() as u64);
        self.raw(header, &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}

#[test]
fn everything_an_archive_holds_is_there_with_mode_time_and_content() {
    let place = Place::new();
    let tape = Tape::default()
        .directory("./", 0o700)
        .directory("d", 0o2750)
        .file("d/f", b"content")
        .file("/absolute", b"inside")
        .link(EntryType::Symlink, "s", "../../etc/passwd")
        .link(EntryType::Link, "h", "d/f")
        .raw(Tape::header(EntryType::Fifo, b"p", 0), b"");
    place.unpack(&tape.end()).expect("unpacked");
    assert_eq!(place.names(), ["absolute", "d", "h", "p", "s"]);
    assert_eq!(fs::read(place.path("d/f")).expect("there"), b"content");
    assert_eq!(fs::read(place.path("absolute")).expect("there"), b"inside");
    let metadata = |name: &str| fs::symlink_metadata(place.path(name)).expect("there");
    assert_eq!(metadata("").permissions().mode() & 0o7777, 0o700);
    assert_eq!(metadata("d").permissions().mode() & 0o7777, 0o2750);
    assert_eq!(metadata("d/f").permissions().mode() & 0o7777, 0o640);
    assert_eq!(metadata("d").mtime(), 1_000_000_000, "after what is in it");
    assert_eq!(metadata("s").mtime(), 1_000_000_000);
    assert_eq!(metadata("h").ino(), metadata("d/f").ino());
    assert!(metadata("p").file_type().is_fifo());
    let link = fs::read_link(place.path("s")).expect("a link");
    assert_eq!(
        link,
        Path::new("../../etc/passwd"),
        "the text is the publisher's"
    );
}

#[test]
fn nothing_leaves_the_tree() {
    for (what, tape) in [
        ("..", Tape::default().file("../pwn", b"x")),
        ("a/../../pwn", Tape::default().file("a/../../pwn", b"x")),
        (
            "below a link",
            Tape::default()
                .link(EntryType::Symlink, "l", "..")
                .file("l/pwn", b"x"),
        ),
        (
            "below an absolute link",
            Tape::default()
                .link(EntryType::Symlink, "l", "/tmp")
                .directory("l/pwn", 0o755),
        ),
        (
            "a hard link to what is outside",
            Tape::default().link(EntryType::Link, "h", "../secret"),
        ),
        (
            "a hard link through a link",
            Tape::default().link(EntryType::Symlink, "l", "..").link(
                EntryType::Link,
                "h",
                "l/secret",
            ),
        ),
        (
            "a pax path",
            Tape::default()
                .pax(&[("path", b"../pwn")])
                .file("harmless", b"x"),
        ),
        (
            "a directory over a link",
            Tape::default()
                .link(EntryType::Symlink, "l", "..")
                .directory("l", 0o777),
        ),
        (
            "a name with a zero byte",
            Tape::default()
                .pax(&[("path", b"a\0b")])
                .file("harmless", b"x"),
        ),
    ] {
        let place = Place::new();
        fs::write(place.outer.path().join("secret"), "s").expect("written");
        let mode = || {
            let metadata = fs::metadata(place.outer.path()).expect("there");
            metadata.permissions().mode()
        };
        let before = mode();
        let refused = place.unpack(&tape.end());
        assert!(refused.is_err(), "{what}");
        assert_eq!(mode(), before, "{what}");
        assert!(!place.outer.path().join("pwn").exists(), "{what}");
        let secret = fs::metadata(place.outer.path().join("secret")).expect("there");
        assert_eq!(secret.nlink(), 1, "{what}");
    }
}

#[test]
fn a_file_through_a_link_takes_the_links_place() {
    let place = Place::new();
    fs::write(place.outer.path().join("secret"), "s").expect("written");
    let tape = Tape::default()
        .link(EntryType::Symlink, "l", "../secret")
        .file("l", b"mine");
    place.unpack(&tape.end()).expect("unpacked");
    assert_eq!(fs::read(place.path("l")).expect("there"), b"mine");
    assert_eq!(
        fs::read(place.outer.path().join("secret")).expect("there"),
        b"s"
    );
}

#[test]
fn long_names_and_records_of_both_forms_are_understood() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let gnu = |kind: u8, name: &str| {
        let data = format!("{name}\0");
        let header = Tape::header(EntryType::new(kind), b"././@LongLink", data.len() as u64);
        (header, data)
    };
    let (header, data) = gnu(b'L', &long);
    let tape = Tape::default()
        .raw(header, data.as_bytes())
        .file("cut", b"1");
    let (header, data) = gnu(b'K', &long);
    let tape = tape
        .raw(header, data.as_bytes())
        .link(EntryType::Symlink, "s", "cut")
        .pax(&[
            ("path", "ünï/f".as_bytes()),
            ("mtime", b"12.5"),
            ("uid", b"0"),
        ])
        .file("ascii", b"2")
        .pax(&[("size", b"3")])
        .raw(Tape::header(EntryType::Regular, b"sized", 0), b"abc");
    place.unpack(&tape.end()).expect("unpacked");
    assert_eq!(fs::read(place.path(&long)).expect("there"), b"1");
    assert_eq!(
        fs::read_link(place.path("s")).expect("a link"),
        Path::new(&long)
    );
    let metadata = fs::metadata(place.path("ünï/f")).expect("there");
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (12, 500_000_000));
    assert_eq!(fs::read(place.path("sized")).expect("there"), b"abc");
    let made = fs::metadata(place.path("ünï")).expect("there");
    assert_eq!(made.permissions().mode() & 0o777, 0o700, "compat 2, B8.5");
}

#[test]
fn sparse_files_have_their_data_where_it_belongs() {
    let place = Place::new();
    let mut expected = vec![0; 100_000];
    expected[4096..4100].copy_from_slice(b"data");
    expected[90_000..90_002].copy_from_slice(b"zz");
    let map = b"4096,4,90000,2";
    let tape = Tape::default()
        .pax(&[
            ("GNU.sparse.map", map),
            ("GNU.sparse.size", b"100000"),
            ("GNU.sparse.name", b"one"),
        ])
        .file("GNUSparseFile.0/one", b"datazz")
        .pax(&[
            ("GNU.sparse.size", b"100000"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"4096"),
            ("GNU.sparse.numbytes", b"4"),
            ("GNU.sparse.offset", b"90000"),
            ("GNU.sparse.numbytes", b"2"),
        ])
        .file("zero", b"datazz");
    let mut data = b"2\n4096\n4\n90000\n2\n".to_vec();
    data.resize(BLOCK, 0);
    data.extend(b"datazz");
    let tape = tape
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"ten"),
            ("GNU.sparse.realsize", b"100000"),
        ])
        .file("GNUSparseFile.0/ten", &data);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o600);
    header.set_size(6);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let gnu = header.as_gnu_mut().expect("it is");
    gnu.name[..3].copy_from_slice(b"old");
    gnu.realsize[..11].copy_from_slice(b"00000303240");
    for (index, (offset, length)) in [(4096, 4), (90_000, 2)].into_iter().enumerate() {
        let entry = &mut gnu.sparse[index];
        entry.offset[..11].copy_from_slice(format!("{offset:011o}").as_bytes());
        entry.numbytes[..11].copy_from_slice(format!("{length:011o}").as_bytes());
    }
    let tape = tape.raw(header, b"datazz").file("after", b"a");
    place.unpack(&tape.end()).expect("unpacked");
    for name in ["one", "zero", "ten", "old"] {
        let found = fs::read(place.path(name)).expect("there");
        assert!(found == expected, "{name}: {} bytes", found.len());
        let blocks = fs::metadata(place.path(name)).expect("there").blocks();
        assert!(blocks * 512 < 100_000, "{name} has {blocks} blocks");
    }
    assert_eq!(fs::read(place.path("after")).expect("there"), b"a");
}

#[test]
fn a_bad_map_is_refused() {
    for map in [
        "4096,4,0,2",
        "0,10",
        "99999,2",
        "1",
        "a,b",
        "18446744073709551615,2",
    ] {
        let place = Place::new();
        let tape = Tape::default()
            .pax(&[
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.size", b"100000"),
            ])
            .file("f", b"datazz");
        assert!(place.unpack(&tape.end()).is_err(), "{map}");
    }
}

#[test]
fn attributes_and_access_lists_are_restored_where_they_can_be() {
    let place = Place::new();
    let tape = Tape::default()
        .pax(&[
            ("SCHILY.xattr.user.note", b"one"),
            ("SCHILY.xattr.user.sysupdate.provenance", b"forged"),
            ("LIBARCHIVE.xattr.user.other%20note", b"dHdv"),
        ])
        .file("f", b"x");
    place.unpack(&tape.end()).expect("unpacked");
    let read = |name: &str| {
        let mut value = vec![0; 100];
        let length = rustix::fs::getxattr(place.path("f"), name, &mut value).ok()?;
        value.truncate(length);
        Some(value)
    };
    // The file system of temporary files may have none.
    let can = rustix::fs::setxattr(
        place.path("f"),
        "user.probe",
        b"1",
        rustix::fs::XattrFlags::empty(),
    );
    if can.is_ok() {
        assert_eq!(read("user.note").as_deref(), Some(&b"one"[..]));
        assert_eq!(read("user.other note").as_deref(), Some(&b"two"[..]));
    }
    assert_eq!(
        read("user.sysupdate.provenance"),
        None,
        "that is ours to say"
    );
    for bad in ["user::rwz", "user:somebody:rwx", "nobody", "user"] {
        let tape = Tape::default()
            .pax(&[("SCHILY.acl.access", bad.as_bytes())])
            .file("g", b"x");
        assert!(place.unpack(&tape.end()).is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_archive_or_is_cut_short_is_told_apart() {
    let place = Place::new();
    for bytes in [&b""[..], b"short", &[b'x'; 4096]] {
        let refused = place.unpack(bytes).expect_err("refused");
        assert!(matches!(refused, ArchiveError::Unrecognized), "{refused}");
    }
    let whole = Tape::default().file("f", &[7; 3000]).file("g", b"x").end();
    for cut in [600, 3000, 3600, 4096 + 600] {
        let refused = place.unpack(&whole[..cut]).expect_err("refused");
        assert!(
            matches!(refused, ArchiveError::Damaged(_)),
            "{cut}: {refused}"
        );
    }
    place.unpack(&[0; 10_240]).expect("an archive of nothing");
    let mut damaged = whole;
    damaged[3584 + 3] ^= 1;
    let refused = place.unpack(&damaged).expect_err("refused");
    assert!(matches!(refused, ArchiveError::Damaged(_)), "{refused}");
}

#[test]
fn what_headers_say_in_advance_does_not_pile_up() {
    let place = Place::new();
    let value = vec![b'A'; 9000];
    let global = |tape: Tape, number: usize| {
        let from = tape.0.len();
        let mut tape = tape.pax(&[(&format!("key.{number}"), &value)]);
        let mut header = Header::new_old();
        header
            .as_mut_bytes()
            .copy_from_slice(&tape.0[from..from + BLOCK]);
        header.set_entry_type(EntryType::XGlobalHeader);
        header.set_cksum();
        tape.0[from..from + BLOCK].copy_from_slice(header.as_bytes());
        tape
    };
    let few = (0..5).fold(Tape::default(), global).file("few", b"x");
    place.unpack(&few.end()).expect("unpacked");
    let own = |tape: Tape, number: usize| tape.pax(&[(&format!("key.{number}"), &value)]);
    let empty = |tape: Tape, _: usize| tape.pax(&[]);
    let some = (0..60).fold(Tape::default(), empty).file("some", b"x");
    place.unpack(&some.end()).expect("unpacked");
    for (what, tape) in [
        ("of all members", (0..20).fold(Tape::default(), global)),
        ("of one member", (0..1000).fold(Tape::default(), own)),
        ("nothing at all", (0..70).fold(Tape::default(), empty)),
    ] {
        let error = place.unpack(&tape.file("many", b"x").end());
        assert!(
            matches!(error, Err(ArchiveError::Damaged(_))),
            "{what}: {error:?}"
        );
    }
    assert_eq!(place.names(), ["few", "some"]);
}

#[test]
fn nothing_grows_beyond_its_bounds() {
    let place = Place::new();
    for kind in [
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::GNULongName,
    ] {
        let header = Tape::header(kind, b"x", RECORDS_LIMIT + 1);
        let refused = place.unpack(&Tape::default().raw(header, b"").end());
        assert!(matches!(refused, Err(ArchiveError::Damaged(_))), "{kind:?}");
    }
    let tape = Tape::default().file("f", &vec![1; 100_000]).end();
    let refused = place.unpack_within(&tape, 50_000);
    let is_too_large = |refused: &Result<(), _>| {
        matches!(refused, Err(ArchiveError::Write(TreeError::TooLarge(_))))
    };
    assert!(is_too_large(&refused), "{refused:?}");
    let mut many = Tape::default();
    for index in 0..200 {
        many = many.file(&format!("f{index}"), b"");
    }
    let refused = place.unpack_within(&many.end(), 50_000);
    assert!(is_too_large(&refused), "names take room, too: {refused:?}");
    let tape = Tape::default()
        .pax(&[
            ("GNU.sparse.map", b""),
            ("GNU.sparse.size", b"99999999999999"),
        ])
        .file("huge", b"");
    assert!(place.unpack(&tape.end()).is_err());
}

/// Zeros without end, at no cost.
struct Endless;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }
}

#[test]
fn zeros_that_take_no_room_end_somewhere() {
    let place = Place::new();
    let label = EntryType::new(b'V');
    let half = Tape::default().raw(Tape::header(label, b"half", LARGEST / 2), b"");
    let mut stream = (&half.0[..])
        .chain(Endless.take(LARGEST / 2))
        .chain(&half.0[..])
        .chain(Endless);
    let top = place.root.directory(Path::new("/tree")).expect("it opens");
    let mut writer = TreeWriter::new(&place.root, top, u64::MAX);
    let refused = unpack(&mut stream, &mut writer).expect_err("it never ends");
    let ArchiveError::Read(error) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}
