//! Builds and opens system extension images: squashfs as the community bakery makes it.

use std::error::Error;
use std::io::{Cursor, Read as _};

use backhand::compression::Compressor;
use backhand::{FilesystemCompressor, FilesystemReader, FilesystemWriter, InnerNode, NodeHeader};

/// The file that makes an image the extension `hello`.
pub(crate) const RELEASE: &str = "usr/lib/extension-release.d/extension-release.hello";

/// Builds the extension `hello`, for any OS on one architecture.
pub(crate) fn build(version: &str, architecture: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let release = format!("ID=_any\nARCHITECTURE={architecture}\n");
    let program = format!("#!/bin/sh\necho hello {version}\n");
    let unit = format!(
        "[Unit]\nDescription=Says hello {version}\n\n[Service]\nType=exec\nExecStart=/usr/bin/hello\n"
    );
    let ballast = noise(version.bytes().map(u64::from).sum());
    let files: [(&str, u16, &[u8]); 5] = [
        (RELEASE, 0o644, release.as_bytes()),
        ("usr/bin/hello", 0o755, program.as_bytes()),
        (
            "usr/lib/systemd/system/hello.service",
            0o644,
            unit.as_bytes(),
        ),
        (
            "usr/lib/systemd/system/multi-user.target.d/10-hello.conf",
            0o644,
            b"[Unit]\nUpholds=hello.service\n",
        ),
        ("usr/share/hello/ballast", 0o644, &ballast),
    ];
    let mut image = FilesystemWriter::default();
    image.set_root_mode(0o755);
    image.set_compressor(FilesystemCompressor::new(Compressor::Gzip, None)?);
    for (path, mode, bytes) in files {
        if let Some((directory, _)) = path.rsplit_once('/') {
            image.push_dir_all(directory, NodeHeader::new(0o755, 0, 0, 0))?;
        }
        image.push_file(Cursor::new(bytes), path, NodeHeader::new(mode, 0, 0, 0))?;
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write(&mut bytes)?;
    Ok(bytes.into_inner())
}

/// The text of one file of an image; `None` when it holds no such file.
pub(crate) fn read(image: Vec<u8>, path: &str) -> Result<Option<String>, Box<dyn Error>> {
    let image = FilesystemReader::from_reader(Cursor::new(image))?;
    let found = image.files().find(|node| {
        node.fullpath
            .strip_prefix("/")
            .is_ok_and(|inner| inner == path)
    });
    let Some(InnerNode::File(file)) = found.map(|node| &node.inner) else {
        return Ok(None);
    };
    let mut text = String::new();
    image.file(file).reader().read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Bytes that no compressor makes smaller, so that there is something to download.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let word = || {
        // xorshift64 (Marsaglia)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word)
        .take(BALLAST / 8)
        .flatten()
        .collect()
}

/// Bytes.
const BALLAST: usize = 1 << 20;
