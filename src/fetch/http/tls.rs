//! Whom we trust, and who we are, on secure connections.
//!
//! Owns the reading of both from files; what they are good for is the TLS library's to judge.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};

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
    let file = fs::File::open(path).map_err(|error| unusable(path, &error.to_string()))?;
    crate::root::read_at_most(file, LARGEST).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, cause: &str) -> String {
    format!("cannot use '{}': {cause}", path.display())
}

/// The certificates of a whole distribution are a tenth of that, in bytes.
const LARGEST: u64 = 4 << 20;
