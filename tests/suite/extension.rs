//! Extension images made on the spot, and a host that takes them.

use std::fmt::Write as _;
use std::io::Cursor;

use backhand::compression::Compressor;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};

use super::harness::Host;
use super::server::{Answer, Server, sha256};

/// What the hosts here are.
pub(crate) const OS: &str = "ID=thisos\nVERSION_ID=1\n";

/// A release file of an extension for the hosts here.
pub(crate) const FITS: &str = "ID=thisos\nVERSION_ID=1\n";

/// A release file for the next version of the OS.
pub(crate) const NEXT: &str = "ID=thisos\nVERSION_ID=2\n";

/// A system extension by this name with this release file.
pub(crate) fn sysext(name: &str, release: &str) -> Vec<u8> {
    let file = format!("usr/lib/extension-release.d/extension-release.{name}");
    squashfs(&[(&file, release)])
}

/// An image with these files, and some that nobody has to look at.
pub(crate) fn squashfs(files: &[(&str, &str)]) -> Vec<u8> {
    let header = NodeHeader::new(0o755, 0, 0, 0);
    let mut image = FilesystemWriter::default();
    let compressor = FilesystemCompressor::new(Compressor::Gzip, None);
    image.set_compressor(compressor.expect("a known codec"));
    image.set_root_mode(0o755);
    let ballast = noise(files.iter().map(|(_, text)| text.len() as u64).sum());
    let files = files
        .iter()
        .map(|(path, text)| (*path, text.as_bytes().to_vec()))
        .chain([("usr/share/ballast", ballast)]);
    for (path, content) in files {
        let (directory, _) = path.rsplit_once('/').expect("below a directory");
        image.push_dir_all(directory, header).expect("a directory");
        image
            .push_file(Cursor::new(content), path, header)
            .expect("a file");
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write(&mut bytes).expect("an image");
    bytes.into_inner()
}

/// Bytes that no compressor makes smaller (xorshift64).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let word = || {
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
pub(crate) const BALLAST: usize = 1 << 20;

/// Whether a server sends parts of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Sent,
    Ignored,
}

/// Serves `app_VERSION.raw` files and their manifest.
pub(crate) fn publish(server: &Server, parts: Parts, images: &[(&str, Vec<u8>)]) {
    let mut manifest = String::new();
    for (version, image) in images {
        let name = format!("app_{version}.raw");
        let _ = writeln!(manifest, "{}  {name}", sha256(image));
        let path = format!("/{name}");
        match parts {
            Parts::Sent => server.put(&path, image.clone()),
            Parts::Ignored => server.answer(&path, Answer::ok(image.clone())),
        }
    }
    server.put("/SHA256SUMS", manifest);
}

/// A host with the component `app`, a system extension.
pub(crate) fn host(server: &Server) -> Host {
    let host = Host::new();
    host.write("etc/os-release", OS);
    define(&host, server, "");
    host
}

/// Defines the component `app`, with more settings.
pub(crate) fn define(host: &Host, server: &Server, more: &str) {
    let text = format!(
        "transfer.verify = \"none\"\nsource.url = \"{}\"\nsource.match = \"app_@v.raw\"\n{more}",
        server.base
    );
    host.write("etc/sysupdate/transfer.d/app.toml", &text);
}
