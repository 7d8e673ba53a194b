//! Manifests as they were last seen, so that an unchanged one costs a single `304 Not Modified`.
//!
//! One file per URL below /var/cache/sysupdate. The cache is an optimisation and never an authority: what comes out of
//! it is verified like what comes off the wire, a damaged entry is no entry, and one that cannot be written is no error.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::shared::{self, SharedError};
use crate::fetch::Validators;
use crate::metadata::Sha256;
use crate::root::Root;
use crate::storage::atomic::Durability;

const DIRECTORY: &str = "/var/cache/sysupdate/manifests";
/// No manifest is larger; with its signature and the first line.
const LIMIT: u64 = 66 * 1024 * 1024;

/// The cached manifests of a root.
#[derive(Debug, Clone, Copy)]
pub struct Cache<'a> {
    root: &'a Root,
}

/// A manifest as the server delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The bytes of the manifest, unpacked.
    pub manifest: Vec<u8>,
    /// What makes the next request conditional.
    pub validators: Validators,
    /// The signature that came with it, if one was asked for.
    pub signature: Option<Vec<u8>>,
    /// When it came in full, in seconds since the epoch.
    pub fetched: i64,
}

/// The first line of an entry.
#[derive(Serialize, Deserialize)]
struct Header {
    url: String,
    fetched: i64,
    validators: Validators,
    manifest: usize,
    signature: Option<usize>,
    sha256: String,
}

impl<'a> Cache<'a> {
    /// The cache of a root.
    #[must_use]
    pub fn new(root: &'a Root) -> Self {
        Self { root }
    }

    /// What is known of a URL.
    #[must_use]
    pub fn load(&self, url: &str) -> Option<Document> {
        let mut content = self.root.read(&path(url), LIMIT).ok()?;
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let header: Header = serde_json::from_slice(&content[..end]).ok()?;
        content.drain(..=end);
        let whole = header
            .manifest
            .checked_add(header.signature.unwrap_or_default())?;
        let matches = content.len() == whole && digest(&[&content]) == header.sha256;
        if header.url != url || !matches {
            return None;
        }
        let signature = content.split_off(header.manifest);
        Some(Document {
            manifest: content,
            validators: header.validators,
            signature: header.signature.map(|_| signature),
            fetched: header.fetched,
        })
    }

    /// Remembers a document. Another run that is about to do the same is left to it.
    ///
    /// # Errors
    /// When the entry cannot be written; the old one stands then.
    pub fn store(&self, url: &str, document: &Document) -> Result<(), SharedError> {
        let signature = document.signature.as_deref().unwrap_or_default();
        let header = Header {
            url: url.to_owned(),
            fetched: document.fetched,
            validators: document.validators.clone(),
            manifest: document.manifest.len(),
            signature: document.signature.as_ref().map(Vec::len),
            sha256: digest(&[&document.manifest, signature]),
        };
        let mut head = serde_json::to_vec(&header).map_err(io::Error::from)?;
        head.push(b'\n');
        // Unsynced: an entry that a power cut tears fails its digest.
        shared::replace(
            self.root,
            Path::new(DIRECTORY),
            path(url).file_name().unwrap_or_default(),
            &[&head, &document.manifest, signature],
            (0o600, Durability::Unsynced),
            || true,
        )
    }
}

fn path(url: &str) -> PathBuf {
    Path::new(DIRECTORY).join(digest(&[url.as_bytes()]))
}

fn digest(parts: &[&[u8]]) -> String {
    let mut state = sha2::Sha256::new();
    for part in parts {
        state.update(part);
    }
    Sha256(state.finalize().into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(signature: Option<&[u8]>) -> Document {
        Document {
            manifest: b"line\n".to_vec(),
            validators: Validators {
                etag: Some("\"1\"".to_owned()),
                last_modified: None,
            },
            signature: signature.map(<[u8]>::to_vec),
            fetched: 7,
        }
    }

    #[test]
    fn a_stored_document_is_loaded_as_it_was_and_replaced_by_the_next() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let cache = Cache::new(&root);
        assert_eq!(cache.load("http://x/SHA256SUMS"), None);
        for signature in [None, Some(b"sig".as_slice()), Some(b"".as_slice())] {
            cache
                .store("http://x/SHA256SUMS", &document(signature))
                .expect("stored");
            assert_eq!(cache.load("http://x/SHA256SUMS"), Some(document(signature)));
        }
        assert_eq!(cache.load("http://y/SHA256SUMS"), None);
    }

    #[test]
    fn a_damaged_entry_is_no_entry() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let cache = Cache::new(&root);
        let url = "http://x/SHA256SUMS";
        cache
            .store(url, &document(Some(b"signature")))
            .expect("stored");
        let file = directory
            .path()
            .join(path(url).strip_prefix("/").expect("absolute"));
        let whole = std::fs::read(&file).expect("readable");
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).expect("written");
            assert_eq!(cache.load(url), None, "cut at {cut}");
        }
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            std::fs::write(&file, &flipped).expect("written");
            let loaded = cache.load(url);
            // A flipped validator costs one full request; a flipped manifest must not come out.
            assert!(
                loaded.is_none_or(|loaded| loaded.manifest == document(None).manifest),
                "flipped at {index}"
            );
        }
    }
}
