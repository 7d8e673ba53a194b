//! Signs as minisign does, with keys that are made for the test. Also compiled into the library's own tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use ed25519_dalek::{Signer as _, SigningKey};

/// A key pair; equal seeds make equal ones.
pub(crate) struct Pair {
    id: [u8; 8],
    key: SigningKey,
}

impl Pair {
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            id: [seed; 8],
            key: SigningKey::from_bytes(&[seed; 32]),
        }
    }

    /// What `minisign -G` writes to the `.pub` file.
    pub(crate) fn public(&self) -> String {
        let bytes = [&b"Ed"[..], &self.id, self.key.verifying_key().as_bytes()].concat();
        let id = u64::from_le_bytes(self.id);
        format!(
            "untrusted comment: minisign public key {id:016X}\n{}\n",
            STANDARD.encode(bytes)
        )
    }

    /// What `minisign -Sm` writes to the `.minisig` file, made at `seconds` after the epoch.
    pub(crate) fn sign(&self, data: &[u8], seconds: i64) -> String {
        self.comment(
            data,
            &format!("timestamp:{seconds}\tfile:SHA256SUMS\thashed"),
        )
    }

    /// The same with a trusted comment of one's own (`-t`).
    pub(crate) fn comment(&self, data: &[u8], comment: &str) -> String {
        self.block(*b"ED", &Blake2b512::digest(data), comment)
    }

    /// The same without pre-hashing (`-l`).
    pub(crate) fn sign_legacy(&self, data: &[u8], seconds: i64) -> String {
        self.block(
            *b"Ed",
            data,
            &format!("timestamp:{seconds}\tfile:SHA256SUMS"),
        )
    }

    fn block(&self, algorithm: [u8; 2], message: &[u8], comment: &str) -> String {
        let signature = self.key.sign(message).to_bytes();
        let bytes = [&algorithm[..], &self.id, &signature].concat();
        let global = self
            .key
            .sign(&[&signature[..], comment.as_bytes()].concat());
        format!(
            "untrusted comment: signature from minisign secret key\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode(bytes),
            STANDARD.encode(global.to_bytes())
        )
    }
}
