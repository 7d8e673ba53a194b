//! Why a signature is not accepted.
//!
//! Owns the words only; the sentences in front are those of the original (compat B7).

use super::SIGNATURE_LIMIT;

/// Why a signature file does not authenticate the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenPgpError {
    /// No bytes at all.
    #[error("Signature is empty, cannot verify.")]
    Empty,
    /// More than [`SIGNATURE_LIMIT`] bytes.
    #[error("File overly large, refusing. (signature of more than {SIGNATURE_LIMIT} bytes)")]
    TooLarge,
    /// Anything else.
    #[error("DOWNLOAD INVALID: Signature verification failed. ({0})")]
    Refused(Refusal),
}

/// What is wrong with a signature, or with the key that made it. Keys are named by fingerprint where it is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Refusal {
    #[error("not a detached OpenPGP signature: {0}")]
    NotASignature(String),
    #[error("signature of unknown version or algorithm")]
    Unsupported,
    #[error("signature is of type 0x{0:02x}, not one of a document")]
    WrongType(u8),
    #[error("signature by {key} rests on {hash}, which is broken")]
    WeakHash { key: String, hash: String },
    #[error("signature by {key} does not say when it was made")]
    NoTime { key: String },
    #[error("signature by {key} was made in the future: {}", time(*.created))]
    FromTheFuture { key: String, created: u64 },
    #[error("signature by {key} has expired: {}", time(*.expired))]
    Expired { key: String, expired: u64 },
    #[error("signature by {key} demands something that is not understood")]
    UnknownDemand { key: String },
    #[error("signature does not say by which key it was made")]
    NoIssuer,
    #[error("signature was made by unknown key {key}, which is in no keyring")]
    UnknownKey { key: String },
    #[error("BAD signature by {key}: the data or the signature was changed")]
    Bad { key: String },
    #[error("signature is older than its key {key}")]
    OlderThanKey { key: String },
    #[error("key {key} is revoked")]
    Revoked { key: String },
    #[error("key {key} has expired: {}", time(*.expired))]
    KeyExpired { key: String, expired: u64 },
    #[error("key {key} was made in the future: {}", time(*.created))]
    KeyFromTheFuture { key: String, created: u64 },
    #[error("key {key} has no valid signature by itself")]
    NoSelfSignature { key: String },
    #[error("subkey {key} is not validly bound to its primary key")]
    NotBound { key: String },
    #[error("binding of subkey {key} rests on {hash}, which is broken")]
    WeakBinding { key: String, hash: String },
    #[error("subkey {key} has not signed its primary key in turn")]
    NoBackSignature { key: String },
    #[error("key {key} is not meant for signing")]
    NotForSigning { key: String },
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("@{seconds}"), |time| time.to_string())
}
