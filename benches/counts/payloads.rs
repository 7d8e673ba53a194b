//! What downloads pass through.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};

use sysupdate::install::tree::archive;
use sysupdate::root::Root;
use sysupdate::storage::tree::TreeWriter;
use sysupdate::unpack::Decoder;
use sysupdate::verify::reader::Hashing;

use crate::Work;
use crate::listings::versions;

/// The digest of something. Valgrind knows no instructions for that, so it is what machines without them do.
pub(crate) fn hash() -> Work {
    let text = text();
    Box::new(move || {
        let mut reader = Hashing::new(text.as_bytes());
        io::copy(&mut reader, &mut io::sink()).expect(IN_MEMORY);
        usize::from(reader.finish().0[0])
    })
}

/// A tree of small files, out of an archive.
pub(crate) fn archive() -> Work {
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..200 {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(1000);
        let path = format!("usr/share/app/{}/file-{number}", number / 20);
        let added = builder.append_data(&mut header, path, &[b'x'; 1000][..]);
        added.expect(IN_MEMORY);
    }
    let bytes = builder.into_inner().expect(IN_MEMORY);
    let directory = tempfile::tempdir().expect("a directory");
    Box::new(move || {
        let root = Root::host();
        let top = root.directory(directory.path()).expect("it is there");
        let mut writer = TreeWriter::new(&root, top, 1 << 20);
        archive::unpack(&mut &bytes[..], &mut writer).expect("an archive");
        writer.finish(Some(0o755)).expect("written");
        let made = fs::read_dir(directory.path().join("usr/share/app"));
        made.expect("it is there").count()
    })
}

pub(crate) fn plain() -> Work {
    unpack(text().as_bytes().to_vec())
}

pub(crate) fn xz() -> Work {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(text().as_bytes()).expect(IN_MEMORY);
    unpack(encoder.finish().expect(IN_MEMORY))
}

pub(crate) fn gzip() -> Work {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(text().as_bytes()).expect(IN_MEMORY);
    unpack(encoder.finish().expect(IN_MEMORY))
}

pub(crate) fn zstd() -> Work {
    unpack(zstd::bulk::compress(text().as_bytes(), 1).expect(IN_MEMORY))
}

pub(crate) fn bzip2() -> Work {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    encoder.write_all(text().as_bytes()).expect(IN_MEMORY);
    unpack(encoder.finish().expect(IN_MEMORY))
}

pub(crate) fn lz4() -> Work {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(text().as_bytes()).expect(IN_MEMORY);
    unpack(encoder.finish().expect(IN_MEMORY))
}

/// Unpacks bytes, whatever they are packed with.
fn unpack(packed: Vec<u8>) -> Work {
    Box::new(move || {
        let mut decoder = Decoder::new(&packed[..]).expect("it is known");
        let bytes = io::copy(&mut decoder, &mut io::sink()).expect("it is whole");
        usize::try_from(bytes).expect(IN_MEMORY)
    })
}

/// Some 70 KiB that can be packed, but not to nothing.
fn text() -> String {
    let mut text = String::new();
    for version in versions() {
        let _ = writeln!(text, "app_{version}.raw");
    }
    text
}

const IN_MEMORY: &str = "it is in memory";
