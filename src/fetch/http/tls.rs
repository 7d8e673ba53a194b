//! Whom we trust, and who we are, on secure connections.
//!
//! Owns the reading of both from files; what they are good for is the TLS library's to judge.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};
use rustix::fs::{Mode, OFlags};

use super::{HttpSettings, failure};

/// The client with what the settings add, or why that cannot be used.
pub(super) fn prepared(
    mut builder: ClientBuilder,
    settings: &HttpSettings,
) -> Result<ClientBuilder, String> {
    for path in &settings.ca_files {
        let certificates = Certificate::from_pem_bundle(&read(path)?)
            .map_err(|error| unusable(path, &failure::cause(&error)))?;
        if certificates.is_empty() {
            return Err(unusable(path, "no certificate is in it"));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(path) = &settings.client_certificate {
        let key = settings.client_key.as_ref().unwrap_or(path);
        let mode = fs::metadata(key)
            .map_err(|error| unusable(key, &error.to_string()))?
            .mode();
        if mode & 0o077 != 0 {
            let cause = "others can read the private key in it: its mode must be 0600";
            return Err(unusable(key, cause));
        }
        let mut pem = read(path)?;
        if key != path {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        let identity =
            Identity::from_pem(&pem).map_err(|error| unusable(path, &failure::cause(&error)))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Who opens a pipe waits for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map(fs::File::from);
    let file = file.map_err(|error| unusable(path, &io::Error::from(error).to_string()))?;
    crate::root::read_at_most(file, LARGEST).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, cause: &str) -> String {
    format!("cannot use '{}': {cause}", path.display())
}

/// The certificates of a whole distribution are a tenth of that, in bytes.
const LARGEST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_waited_for_and_nothing_is_endless() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
        assert_eq!(read(&pipe), Ok(Vec::new()), "nobody writes");
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let _writer = rustix::fs::open(&pipe, flags, Mode::empty()).expect("it opens");
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let why = read(path).expect_err("no file");
            assert!(why.starts_with("cannot use '"), "{why}");
        }
    }
}
