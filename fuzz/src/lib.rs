//! What must hold of every input that comes from outside: one function for each kind of it.
//!
//! `cargo fuzz` feeds them by coverage (`fuzz/run`), and `tests/suite/fuzzed.rs` with mutated seeds in each `cargo test`. A
//! function that returns has found nothing; panics, endless loops and memory without bound are what is looked for, and
//! each checks besides what those who use the parser rely upon.

#![expect(
    clippy::disallowed_methods,
    reason = "definitions are laid out as anybody would"
)]

use std::cmp::Ordering;
use std::fs;
use std::io::{self, Cursor, Read as _};
use std::path::Path;
use std::sync::LazyLock;

use sysupdate::compat::{self, Os};
use sysupdate::definition::config::Config;
use sysupdate::definition::{ComponentName, Loader};
use sysupdate::event::{Silent, chain};
use sysupdate::extension::ExtensionKind;
use sysupdate::gpt::{Change, Header, Table};
use sysupdate::host::{Host, TemporaryDirectories, parse_environment};
use sysupdate::image::Image;
use sysupdate::install::tree::archive as tape;
use sysupdate::pattern::{Pattern, Patterns};
use sysupdate::root::Root;
use sysupdate::storage::tree::TreeWriter;
use sysupdate::unpack::Decoder;
use sysupdate::verify::manifest::Manifest;
use sysupdate::verify::minisign::{self, PublicKeys};
use sysupdate::verify::openpgp::{self, Keyring};
use sysupdate::version::{self, Version};

/// One kind of input.
pub struct Target {
    /// The name of its function, of its seeds and of its fuzz target.
    pub name: &'static str,
    /// Takes one input.
    pub take: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    Target::new("definition", definition),
    Target::new("pattern", pattern),
    Target::new("version", version),
    Target::new("manifest", manifest),
    Target::new("openpgp", openpgp),
    Target::new("minisign", minisign),
    Target::new("image", image),
    Target::new("release", release),
    Target::new("packed", packed),
    Target::new("archive", archive),
    Target::new("table", table),
];

impl Target {
    const fn new(name: &'static str, take: fn(&[u8])) -> Self {
        Self { name, take }
    }
}

/// Where a definition lies, by the first byte of the input.
const PLACES: [&str; 7] = [
    "etc/sysupdate.d/10-app.transfer",
    "etc/sysupdate.d/10-app.transfer.d/more.conf",
    "etc/sysupdate.d/a.feature",
    "etc/sysupdate.app.component",
    "etc/sysupdate.app.d/10-app.conf",
    "etc/sysupdate/transfer.d/native.toml",
    "etc/sysupdate/config.toml",
];

/// Definitions in both syntaxes: they are read, or the error says where it is.
pub fn definition(data: &[u8]) {
    let Some((place, text)) = data.split_first() else {
        return;
    };
    let place = PLACES[usize::from(*place) % PLACES.len()];
    let directory = tempfile::tempdir_in(memory()).expect("a directory");
    let write = |place: &str, text: &[u8]| {
        let path = directory.path().join(place);
        fs::create_dir_all(path.parent().expect("it has one")).expect("created");
        fs::write(path, text).expect("written");
    };
    write(PLACES[0], WHOLE);
    write(PLACES[4], WHOLE);
    write(place, text);
    let root = Root::open(directory.path()).expect("it opens");
    let host = Host::read(&root, TemporaryDirectories::default());
    let loader = Loader {
        root: &root,
        host: &host,
        directory: None,
        transfer_source: None,
        boot: sysupdate::definition::BootPaths::default(),
    };
    let names = ["app", "native"].map(|name| name.parse().expect("a name"));
    for name in [ComponentName::Default].iter().chain(&names) {
        let features = loader.features(name, &Silent).map(|_| ());
        for outcome in [loader.load(name, &Silent).map(|_| ()), features] {
            if let Err(error) = outcome {
                assert_ne!(chain(&error), "");
            }
        }
    }
    if let Err(error) = Config::load(&root, &Silent) {
        assert!(chain(&error).contains("config.toml"), "{error}");
    }
}

/// A definition that is complete.
const WHOLE: &[u8] =
    b"[Transfer]\nVerify=no\n[Source]\nType=url-file\nPath=http://h/d\nMatchPattern=a_@v.raw\n\
    [Target]\nType=regular-file\nPath=/t\nMatchPattern=a_@v.raw\n";

/// Small files that come and go are better in memory.
fn memory() -> &'static Path {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        shared
    } else {
        Path::new("/tmp")
    }
}

/// Patterns, a line each, and a name that is matched against them, the last line: what matches is rendered again, and
/// that is the same version.
pub fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (texts, name) = text.rsplit_once('\n').unwrap_or((text, text));
    for text in texts.split('\n') {
        let Ok(pattern) = text.parse::<Pattern>() else {
            continue;
        };
        let again: Pattern = pattern.as_str().parse().expect("it was one");
        assert_eq!(again.as_str(), text);
        let patterns = Patterns::from(pattern.clone());
        let Some(metadata) = patterns.match_path(name).metadata else {
            continue;
        };
        let Ok(rendered) = pattern.without_prefix().render(&metadata) else {
            continue;
        };
        let back = patterns.match_path(&rendered).metadata;
        let version = back.map(|metadata| metadata.version);
        // An empty directory part is left out, and then it may be no match any more.
        if let Some(version) = version {
            assert_eq!(version, metadata.version, "{text} {name} {rendered}");
        }
    }
}

/// Three versions, a line each: they are in one order.
pub fn version(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (a, b, c) = (next(), next(), next());
    let compare = version::compare;
    assert_eq!(compare(a, a), Ordering::Equal);
    assert_eq!(compare(a, b), compare(b, a).reverse());
    let is_up = |one, two| compare(one, two) != Ordering::Greater;
    assert!(!(is_up(a, b) && is_up(b, c)) || is_up(a, c), "{text:?}");
    for text in [a, b, c] {
        let Ok(version) = text.parse::<Version>() else {
            continue;
        };
        assert_eq!(version.to_string(), text);
        let _ = version.to_semantic();
    }
}

/// A manifest: whatever it names lies below the directory of the manifest.
pub fn manifest(data: &[u8]) {
    let manifest = match Manifest::parse(data.to_vec()) {
        Ok(manifest) => manifest,
        Err(error) => return assert_ne!(error.to_string(), ""),
    };
    let now = jiff::Timestamp::from_second(1_795_000_000).expect("a time");
    for entry in manifest.entries() {
        let name = entry.name.strip_suffix('/').unwrap_or(entry.name);
        for part in name.split('/') {
            assert!(!matches!(part, "" | "." | ".."), "{name:?}");
        }
        assert!(
            name.len() < 4096 && !name.contains(|character: char| character.is_ascii_control())
        );
        assert!(entry.line > 0);
    }
    for finding in manifest.freshness(now, &jiff::tz::TimeZone::UTC) {
        assert_ne!(format!("{finding:?}"), "");
    }
}

const LISTED: &[u8] = include_bytes!("../fixtures/SHA256SUMS");

/// A signature, or (by the first byte) a keyring: no other text than the publisher's is ever found to be signed.
pub fn openpgp(data: &[u8]) {
    static KEYRING: LazyLock<Keyring> =
        LazyLock::new(|| Keyring::parse(include_bytes!("../fixtures/key.pgp")).expect("a keyring"));
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_791_000_000);
    if kind % 2 == 0 {
        let forged = [LISTED, b"0"].concat();
        assert!(openpgp::verify(&forged, data, &KEYRING, now).is_err());
        let _ = openpgp::verify(LISTED, data, &KEYRING, now);
    } else if let Ok(keyring) = Keyring::parse(data) {
        let signature = include_bytes!("../fixtures/SHA256SUMS.gpg");
        let _ = openpgp::verify(LISTED, signature, &keyring, now);
    }
}

/// The same for minisign.
pub fn minisign(data: &[u8]) {
    static KEYS: LazyLock<PublicKeys> =
        LazyLock::new(|| PublicKeys::parse(include_bytes!("../fixtures/key.pub")).expect("a key"));
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let now = jiff::Timestamp::from_second(1_795_700_000).expect("a time");
    if kind % 2 == 0 {
        let forged = [LISTED, b"0"].concat();
        assert!(minisign::verify(&forged, data, &KEYS, 1, now).is_err());
        if let Ok(signers) = minisign::verify(LISTED, data, &KEYS, 1, now) {
            assert_eq!(signers.len(), 1);
        }
    } else if let Ok(keys) = PublicKeys::parse(data) {
        let signature = include_bytes!("../fixtures/SHA256SUMS.minisig");
        let _ = minisign::verify(LISTED, signature, &keys, 1, now);
    }
}

/// An image of each kind.
static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let packed: [&[u8]; 9] = [
        include_bytes!("../../src/image/tests/erofs-plain.zst"),
        include_bytes!("../../src/image/tests/erofs-lz4hc.zst"),
        include_bytes!("../../src/image/tests/erofs-lzma.zst"),
        include_bytes!("../../src/image/tests/erofs-deflate.zst"),
        include_bytes!("../../src/image/tests/erofs-zstd.zst"),
        include_bytes!("../../src/image/tests/ext2.zst"),
        include_bytes!("../../src/image/tests/ext4.zst"),
        include_bytes!("../../src/image/tests/squashfs-lz4.zst"),
        include_bytes!("../../src/image/tests/squashfs-xz.zst"),
    ];
    let unpack = |packed: &[u8]| zstd::bulk::decompress(packed, 1 << 20).expect("a fixture");
    packed.into_iter().map(unpack).collect()
});

/// An extension image: the first byte chooses one, and each three that follow change a byte of it (where, and to what), in
/// its first 64 KiB. Beyond the known ones, the input itself is the image.
pub fn image(data: &[u8]) {
    let Some((which, changes)) = data.split_first() else {
        return;
    };
    let image = match IMAGES.get(usize::from(*which)) {
        None => changes.to_vec(),
        Some(image) => {
            let mut image = image.clone();
            for change in changes.chunks_exact(3) {
                let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
                let length = image.len();
                image[place % length] = change[2];
            }
            image
        }
    };
    let length = image.len() as u64;
    let mut image = match Image::open(Box::new(Cursor::new(image)), length, "x86-64") {
        Ok(image) => image,
        Err(error) => return assert_ne!(chain(&error), ""),
    };
    for kind in [ExtensionKind::Sysext, ExtensionKind::Confext] {
        let _ = image.release(kind, "demo");
    }
    let _ = image.units();
    for path in ["usr/bin/demo", "usr/lib", "", "../../etc/passwd"] {
        let _ = image.stat(path);
        let _ = image.entries(path);
        let _ = image.copy(path, &mut io::sink());
    }
}

/// An os-release file and an extension-release file, with a zero byte between them.
pub fn release(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (os, extension) = text.split_once('\0').unwrap_or((&text, &text));
    let os = Os::parse(os, Some("x86-64".to_owned()));
    let fields = parse_environment(extension);
    for kind in [ExtensionKind::Sysext, ExtensionKind::Confext] {
        let verdict = compat::judge_fields(&os, kind, &fields);
        assert_ne!(format!("{verdict:?}"), "");
    }
}

/// Packed data: it is unpacked, or the error is one of the data.
pub fn packed(data: &[u8]) {
    let Ok(decoder) = Decoder::new(data) else {
        return;
    };
    // Whoever reads has a limit of his own.
    let _ = io::copy(&mut decoder.take(4 << 20), &mut io::sink());
}

/// Archives: they are unpacked within their directory and their bounds, or refused.
pub fn archive(data: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    let directory = tempfile::tempdir_in(memory()).expect("a directory");
    fs::create_dir(directory.path().join("tree")).expect("made");
    fs::write(directory.path().join("witness"), "untouched").expect("written");
    let root = Root::open(directory.path()).expect("it opens");
    let top = root.directory(Path::new("/tree")).expect("it opens");
    let mut writer = TreeWriter::new(&root, top, LIMIT);
    let unpacked = tape::unpack(&mut &data[..], &mut writer);
    let finished = writer.finish(Some(0o755)).map_err(tape::ArchiveError::from);
    if let Err(error) = unpacked.and(finished.map(drop)) {
        assert_ne!(chain(&error), "");
    }
    let entries = fs::read_dir(directory.path()).expect("readable");
    assert_eq!(entries.count(), 2, "something is beside the tree");
    let witness = fs::read(directory.path().join("witness")).expect("readable");
    assert_eq!(witness, b"untouched");
    // Whatever modes it has, it has to go.
    let _ = sysupdate::storage::tree::remove(
        &root,
        &root.directory(Path::new("/")).expect("it opens"),
        std::ffi::OsStr::new("tree"),
    );
}

/// Partition tables, a header of 512 bytes and the entries behind it: what is written is what was read, but for the change.
pub fn table(data: &[u8]) {
    let Some((header, rest)) = data.split_at_checked(512) else {
        return;
    };
    let Ok(header) = Header::parse(header, 1) else {
        return;
    };
    let Some(entries) = rest.get(..header.array_length()) else {
        return;
    };
    let Ok(mut table) = Table::new(header, entries.to_vec()) else {
        return;
    };
    let before = table.clone();
    let partitions: Vec<_> = table.partitions().collect();
    for partition in &partitions {
        let _ = partition.range(512);
        let change = Change {
            flags: Some(!partition.flags),
            ..Change::default()
        };
        assert!(table.change(partition.number, &change));
    }
    assert_eq!(before.agrees(&table), partitions.is_empty());
    let other = Header::parse(&table.header_at(77, 1, 45), 77).expect("it was just made");
    let copy = Table::new(other, table.entries().to_vec()).expect("they belong together");
    assert!(copy.agrees(&table));
}
