//! Detached minisign signatures (<https://jedisct1.github.io/minisign/>).
//!
//! Owns the verdict on a manifest: by how many of the trusted keys it is signed, and when. Pure: key files and signature
//! files come as bytes ([`super::keys`] finds the former), the time comes as a value.
//!
//! **Several signatures.** A signature of minisign is four lines. A file may hold several of them, one after the other
//! (`cat SHA256SUMS.minisig.* > SHA256SUMS.minisig`). Those by unknown keys are passed over, so that a publisher can change
//! keys in two steps; one that claims a known key and is not by it is final, as it is for `OpenPGP`.
//!
//! **Time.** minisign writes `timestamp:SECONDS` into the trusted comment, which is signed. A publisher who replaces that
//! comment (`minisign -t`) has to keep the word, or his manifests have no age.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use minisign_verify::{PublicKey, Signature};

use super::CLOCK_SKEW;

/// The largest signature file, in bytes, and the largest key file.
pub const SIZE_LIMIT: usize = 64 << 10;

/// Most signatures in a file, and most keys that are trusted at once.
pub const COUNT_LIMIT: usize = 16;

/// Public keys that are trusted, each once.
#[derive(Debug, Clone, Default)]
pub struct PublicKeys {
    keys: Vec<Key>,
}

/// A public key; two are the same when their bytes are, whatever file and comment they have.
#[derive(Debug, Clone)]
struct Key {
    id: KeyId,
    bytes: Vec<u8>,
    parsed: PublicKey,
}

/// The number by which a signature names its key. It is no proof of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

/// As minisign shows it: the bytes are a little-endian number.
impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// Why bytes are no public keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// The file is larger than any that minisign writes.
    #[error("it is larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// A line is neither a comment nor a key.
    #[error("line {line} is no minisign public key")]
    Malformed {
        /// The line's number from 1.
        line: usize,
    },
    /// The file holds the secret key.
    #[error(
        "it is a secret key; the public one is in the .pub file that `minisign -G` has written"
    )]
    Secret,
    /// There is no key in it.
    #[error("it holds no minisign public key")]
    None,
    /// There are more keys than anybody needs.
    #[error("there are more than {COUNT_LIMIT} keys")]
    TooMany,
}

impl PublicKeys {
    /// Parses a file of minisign: comments, and one key a line.
    ///
    /// # Errors
    /// When anything else stands in it, or no key.
    pub fn parse(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        if bytes.len() > SIZE_LIMIT {
            return Err(PublicKeyError::TooLarge);
        }
        let mut keys = Self::default();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let malformed = PublicKeyError::Malformed { line: number };
            let text = std::str::from_utf8(line)
                .map_err(|_| malformed.clone())?
                .trim();
            if text.starts_with(COMMENT) && text.contains("secret key") {
                return Err(PublicKeyError::Secret);
            }
            if text.is_empty() || text.starts_with(COMMENT) {
                continue;
            }
            keys.add(Key::parse(text).ok_or(malformed)?)?;
        }
        if keys.keys.is_empty() {
            return Err(PublicKeyError::None);
        }
        Ok(keys)
    }

    /// Adds other keys; one that is in both counts once.
    ///
    /// # Errors
    /// When there are too many.
    pub fn extend(&mut self, other: Self) -> Result<(), PublicKeyError> {
        other.keys.into_iter().try_for_each(|key| self.add(key))
    }

    /// How many distinct keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn add(&mut self, key: Key) -> Result<(), PublicKeyError> {
        if self.keys.iter().any(|known| known.bytes == key.bytes) {
            return Ok(());
        }
        if self.keys.len() >= COUNT_LIMIT {
            return Err(PublicKeyError::TooMany);
        }
        self.keys.push(key);
        Ok(())
    }
}

/// The ids, for messages.
impl fmt::Display for PublicKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&list(self.keys.iter().map(|key| key.id)))
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        // Two bytes of algorithm, eight of id, 32 of key.
        let id = KeyId(bytes.get(2..10)?.try_into().ok()?);
        Some(Self {
            id,
            parsed: PublicKey::from_base64(text).ok()?,
            bytes: bytes.get(10..)?.to_vec(),
        })
    }
}

/// Who made a signature that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: KeyId,
    /// When, if the trusted comment says so.
    pub created: Option<Timestamp>,
}

/// Why a manifest is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MinisignError {
    /// The signature file has no bytes.
    #[error("Signature is empty, cannot verify.")]
    Empty,
    /// The signature file has too many.
    #[error("the signature file is larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It holds something that is no signature of minisign.
    #[error("line {line} of the signature file begins no minisign signature")]
    Malformed {
        /// The line's number from 1.
        line: usize,
    },
    /// It holds too many signatures.
    #[error("the signature file holds more than {COUNT_LIMIT} signatures")]
    TooMany,
    /// A signature names a trusted key and is not by it, or not over these bytes.
    #[error("the signature by key {key} is not good for these bytes")]
    Bad {
        /// The key.
        key: KeyId,
    },
    /// A signature will be made only later.
    #[error(
        "the signature by key {key} is from the future ({created}): is this host's clock right?"
    )]
    FromTheFuture {
        /// The key.
        key: KeyId,
        /// When it claims to be made.
        created: Timestamp,
    },
    /// Nobody who is trusted has signed.
    #[error("it is signed by {signers}, trusted is {trusted}")]
    UnknownKey {
        /// The ids of the keys that the signatures name.
        signers: String,
        /// The ids of the keys that are trusted.
        trusted: String,
    },
    /// Not enough of those who are trusted have signed.
    #[error(
        "it is signed by {found} of the trusted keys ({signers}), but {threshold} must have signed"
    )]
    TooFew {
        /// So many have.
        found: usize,
        /// Their ids.
        signers: String,
        /// So many must.
        threshold: usize,
    },
}

/// Checks that `data` is signed by at least `threshold` distinct keys of `keys`. `now` is the current time.
///
/// # Errors
/// When the file is malformed, a signature by a trusted key is not good, or too few have signed.
pub fn verify(
    data: &[u8],
    signature_file: &[u8],
    keys: &PublicKeys,
    threshold: usize,
    now: Timestamp,
) -> Result<Vec<Signer>, MinisignError> {
    let signatures = signatures(signature_file)?;
    let mut found: Vec<(&Key, Signer)> = Vec::new();
    for signature in &signatures {
        let Some((key, created)) = check(data, signature, keys, now)? else {
            continue;
        };
        match found.iter_mut().find(|(known, _)| known.bytes == key.bytes) {
            // One key has signed more than once: it counts once, with its newest signature.
            Some((_, signer)) => signer.created = signer.created.max(created),
            None => found.push((
                key,
                Signer {
                    key: key.id,
                    created,
                },
            )),
        }
    }
    let signers: Vec<Signer> = found.into_iter().map(|(_, signer)| signer).collect();
    if signers.is_empty() {
        return Err(MinisignError::UnknownKey {
            signers: list(signatures.iter().map(|signature| signature.key)),
            trusted: keys.to_string(),
        });
    }
    if signers.len() < threshold {
        return Err(MinisignError::TooFew {
            found: signers.len(),
            signers: list(signers.iter().map(|signer| signer.key)),
            threshold,
        });
    }
    Ok(signers)
}

/// One signature, not yet checked.
struct Block {
    key: KeyId,
    parsed: Signature,
}

fn signatures(file: &[u8]) -> Result<Vec<Block>, MinisignError> {
    if file.is_empty() {
        return Err(MinisignError::Empty);
    }
    if file.len() > SIZE_LIMIT {
        return Err(MinisignError::TooLarge);
    }
    let broken = |line| MinisignError::Malformed { line };
    let text = std::str::from_utf8(file).map_err(|_| broken(1))?;
    let mut lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    let mut blocks = Vec::new();
    while let Some((comment, line)) = lines.next() {
        let mut next = || lines.next().map(|(line, _)| line).ok_or(broken(line));
        let (signature, trusted, global) = (next()?, next()?, next()?);
        if !comment.starts_with(COMMENT) {
            return Err(broken(line));
        }
        if blocks.len() >= COUNT_LIMIT {
            return Err(MinisignError::TooMany);
        }
        let bytes = STANDARD.decode(signature).map_err(|_| broken(line))?;
        let id = bytes.get(2..10).and_then(|id| id.try_into().ok());
        blocks.push(Block {
            key: KeyId(id.ok_or(broken(line))?),
            parsed: Signature::decode(&[comment, signature, trusted, global].join("\n"))
                .map_err(|_| broken(line))?,
        });
    }
    if blocks.is_empty() {
        return Err(broken(1));
    }
    Ok(blocks)
}

/// The trusted key that has made the signature, and when; `None` when no trusted key has the id that it names.
fn check<'k>(
    data: &[u8],
    signature: &Block,
    keys: &'k PublicKeys,
    now: Timestamp,
) -> Result<Option<(&'k Key, Option<Timestamp>)>, MinisignError> {
    let key = signature.key;
    let mut named = keys.keys.iter().filter(|known| known.id == key).peekable();
    if named.peek().is_none() {
        return Ok(None);
    }
    // Signatures without pre-hashing are as strong; minisign makes them with -l.
    let signer = named
        .find(|known| known.parsed.verify(data, &signature.parsed, true).is_ok())
        .ok_or(MinisignError::Bad { key })?;
    let created = created(signature.parsed.trusted_comment());
    match created {
        Some(created) if created > latest(now) => {
            Err(MinisignError::FromTheFuture { key, created })
        }
        created => Ok(Some((signer, created))),
    }
}

/// The time in a trusted comment; its words stand between tabs, or blanks in what people write themselves.
fn created(comment: &str) -> Option<Timestamp> {
    let words = comment.split(['\t', ' ']);
    let mut seconds = words.filter_map(|word| word.strip_prefix("timestamp:")?.parse().ok());
    Timestamp::from_second(seconds.next()?).ok()
}

/// The latest time at which a signature can have been made.
fn latest(now: Timestamp) -> Timestamp {
    now.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX)
}

fn list(ids: impl Iterator<Item = KeyId>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if ids.is_empty() {
        "nobody".to_owned()
    } else {
        ids.join(", ")
    }
}

const COMMENT: &str = "untrusted comment:";

#[cfg(test)]
mod tests;
