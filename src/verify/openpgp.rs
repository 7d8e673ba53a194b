//! Detached `OpenPGP` signatures (RFC 9580).
//!
//! Owns the verdict on a manifest: who signed it, with a key that this host trusts. Pure: keyrings come as bytes
//! ([`super::keyring`] finds them), the time comes as a value. Everything here is stricter than gpg, which
//! succeeds with a warning for expired and revoked keys: those are refused, and so are hashes that are broken.
//!
//! What is *not* done: no web of trust (a key in the keyring is trusted, compat B7.4), no designated revokers, no
//! version 3 keys or signatures.

mod certificate;
mod packets;
mod refusal;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use pgp::packet::{Packet, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag, Timestamp};

use self::certificate::Certificate;
pub use self::refusal::{OpenPgpError, Refusal};
use super::CLOCK_SKEW;

/// The largest signature file, in bytes (compat B7.2).
pub const SIGNATURE_LIMIT: usize = 1 << 20;

/// Public keys that are trusted.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    /// By the primary key's fingerprint.
    certificates: BTreeMap<Vec<u8>, Certificate>,
}

/// Why bytes are no keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringParseError {
    /// Text instead of binary packets.
    #[error(
        "keyring is ASCII-armoured; convert it to binary: gpg --dearmor < KEYRING.asc > KEYRING.pgp"
    )]
    Armoured,
    /// What gpg itself keeps its keys in.
    #[error(
        "keyring is a GnuPG keybox; export its keys: gpg --no-default-keyring --keyring ./KEYBOX --export > KEYRING.pgp"
    )]
    Keybox,
    /// Something else.
    #[error(
        "not a binary OpenPGP keyring: {0} (an ASCII-armoured one can be converted: gpg --dearmor)"
    )]
    Garbage(String),
}

impl Keyring {
    /// Parses binary keys, one after the other; none at all is a valid keyring. Keys of unknown kinds are skipped.
    ///
    /// # Errors
    /// When the bytes are something else, or hold no key at all that can be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyringParseError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP") {
            return Err(KeyringParseError::Armoured);
        }
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err(KeyringParseError::Keybox);
        }
        let packets = packets::split(bytes, KEYRING_PACKETS)
            .map_err(|error| KeyringParseError::Garbage(error.to_string()))?;
        if !packets.iter().any(|packet| packet.tag() == Tag::PublicKey) {
            return Err(KeyringParseError::Garbage(
                "it holds no public key".to_owned(),
            ));
        }
        let mut keyring = Self::default();
        for certificate in Certificate::gather(&packets) {
            keyring.add(certificate);
        }
        Ok(keyring)
    }

    /// Adds the keys of another keyring; of a key that is in both, everything counts that either says.
    pub fn extend(&mut self, other: Self) {
        for certificate in other.certificates.into_values() {
            self.add(certificate);
        }
    }

    /// Whether there is no key in it.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// How many primary keys there are.
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    fn add(&mut self, certificate: Certificate) {
        let fingerprint = certificate.primary.fingerprint().as_bytes().to_vec();
        match self.certificates.entry(fingerprint) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                known.get_mut().merge(certificate);
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(certificate);
            }
        }
    }
}

/// Who made a signature that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The fingerprint of the primary key, upper-case hexadecimal.
    pub fingerprint: String,
    /// The fingerprint of the key that signed: the primary's, or a subkey's.
    pub signing_key: String,
    /// The key's first user id, control characters replaced.
    pub user_id: Option<String>,
    /// When it was made.
    pub created: SystemTime,
}

/// Checks that `data` is signed by keys of `keyring`: every signature in `signature_file` (binary or armoured) has to
/// be good, and there has to be one. `now` is the current time.
///
/// A signature may carry its own key, which is only used to learn more about keys that are known (new subkeys, new
/// expiry dates, revocations; compat B7.4).
///
/// # Errors
/// When the file is empty, too large, or for the first signature that is not good.
pub fn verify(
    data: &[u8],
    signature_file: &[u8],
    keyring: &Keyring,
    now: SystemTime,
) -> Result<Vec<Signer>, OpenPgpError> {
    if signature_file.is_empty() {
        return Err(OpenPgpError::Empty);
    }
    if signature_file.len() > SIGNATURE_LIMIT {
        return Err(OpenPgpError::TooLarge);
    }
    let now = Moment::new(now);
    let signatures = signatures(signature_file).map_err(OpenPgpError::Refused)?;
    signatures
        .iter()
        .map(|signature| check(data, signature, keyring, now).map_err(OpenPgpError::Refused))
        .collect()
}

/// The signatures in a file.
fn signatures(file: &[u8]) -> Result<Vec<Signature>, Refusal> {
    let binary = if file.trim_ascii_start().starts_with(b"-----") {
        dearmour(file)?
    } else {
        file.to_vec()
    };
    let packets = packets::split(&binary, SIGNATURE_PACKETS)
        .map_err(|error| Refusal::NotASignature(error.to_string()))?;
    let mut signatures = Vec::new();
    for packet in packets {
        match (packet.tag(), packet.parse()) {
            (Tag::Signature, Some(Packet::Signature(signature))) => signatures.push(signature),
            (Tag::Signature, _) => return Err(Refusal::Unsupported),
            (Tag::Marker | Tag::Padding, _) => {}
            (tag, _) => return Err(Refusal::NotASignature(format!("it holds a packet {tag:?}"))),
        }
    }
    if signatures.is_empty() {
        return Err(Refusal::NotASignature("it holds no signature".to_owned()));
    }
    Ok(signatures)
}

/// The contents of all armoured blocks of a file, in which nothing else may stand.
fn dearmour(file: &[u8]) -> Result<Vec<u8>, Refusal> {
    let bad = |text: &str| Refusal::NotASignature(text.to_owned());
    let mut rest = std::str::from_utf8(file)
        .map_err(|_| bad("damaged armour"))?
        .trim();
    let mut binary = Vec::new();
    while !rest.is_empty() {
        if !rest.starts_with(ARMOUR_BEGIN) {
            return Err(bad("only armoured signatures may stand in it"));
        }
        let end = rest
            .find(ARMOUR_END)
            .ok_or_else(|| bad("the armour is cut short"))?
            + ARMOUR_END.len();
        // The parser looks through the whole block once for each header; base64 has no colon.
        if rest[..end].matches(':').take(MOST_COLONS + 1).count() > MOST_COLONS {
            return Err(bad("damaged armour"));
        }
        let mut block = pgp::armor::Dearmor::new(&rest.as_bytes()[..end]);
        block
            .read_to_end(&mut binary)
            .map_err(|_| bad("damaged armour"))?;
        rest = rest[end..].trim_start();
    }
    Ok(binary)
}

/// Judges one signature.
fn check(
    data: &[u8],
    signature: &Signature,
    keyring: &Keyring,
    now: Moment,
) -> Result<Signer, Refusal> {
    if !certificate::is_known_version(signature) {
        return Err(Refusal::Unsupported);
    }
    let key = issuer(signature).ok_or(Refusal::NoIssuer)?;
    if signature.issuer_fingerprint().len() + signature.issuer_key_id().len() > MOST_ISSUERS {
        return Err(Refusal::NotASignature(format!(
            "it names more than {MOST_ISSUERS} keys"
        )));
    }
    match signature.typ() {
        Some(SignatureType::Binary | SignatureType::Text) => {}
        Some(other) => return Err(Refusal::WrongType(other.into())),
        None => return Err(Refusal::Unsupported),
    }
    if !certificate::is_strong(signature.hash_alg()) {
        return Err(Refusal::WeakHash {
            key,
            hash: certificate::hash_name(signature.hash_alg()),
        });
    }
    if certificate::has_unknown_demand(signature) {
        return Err(Refusal::UnknownDemand { key });
    }
    let created = signature
        .created()
        .ok_or_else(|| Refusal::NoTime { key: key.clone() })?;
    let made = u64::from(created.as_secs());
    if now.is_before(created) {
        return Err(Refusal::FromTheFuture { key, created: made });
    }
    let span = signature
        .signature_expiration_time()
        .map_or(0, |span| u64::from(span.as_secs()));
    if span > 0 && now.is_after(made + span) {
        return Err(Refusal::Expired {
            key,
            expired: made + span,
        });
    }

    let mut refusal = Refusal::UnknownKey { key };
    let mut tried = 0;
    for certificate in extended(keyring, signature) {
        for component in components(&certificate, signature) {
            // Key ids can be made to collide; each key is worth a try, but not without end.
            tried += 1;
            if tried > KEYS_TRIED {
                return Err(refusal);
            }
            match check_with(data, signature, &certificate, component, now) {
                Ok(()) => {
                    return Ok(Signer {
                        fingerprint: name(&certificate.primary),
                        signing_key: match component {
                            Component::Primary => name(&certificate.primary),
                            Component::Subkey(index) => name(&certificate.subkeys[index].0),
                        },
                        user_id: certificate.user(),
                        created: created.into(),
                    });
                }
                Err(reason) => refusal = reason,
            }
        }
    }
    Err(refusal)
}

/// A key of a certificate.
#[derive(Clone, Copy)]
enum Component {
    Primary,
    Subkey(usize),
}

/// The keys of `certificate` that `signature` claims to be made by.
fn components(certificate: &Certificate, signature: &Signature) -> Vec<Component> {
    let primary = certificate::names(signature, &certificate.primary).then_some(Component::Primary);
    let subkeys = certificate.subkeys.iter().enumerate();
    let subkeys = subkeys.filter(|(_, (subkey, _))| certificate::names(signature, subkey));
    primary
        .into_iter()
        .chain(subkeys.map(|(index, _)| Component::Subkey(index)))
        .collect()
}

fn check_with(
    data: &[u8],
    signature: &Signature,
    certificate: &Certificate,
    component: Component,
    now: Moment,
) -> Result<(), Refusal> {
    let (good, made, key) = match component {
        Component::Primary => {
            let key = &certificate.primary;
            (
                signature.verify(key, data).is_ok(),
                key.created_at(),
                name(key),
            )
        }
        Component::Subkey(index) => {
            let key = &certificate.subkeys[index].0;
            (
                signature.verify(key, data).is_ok(),
                key.created_at(),
                name(key),
            )
        }
    };
    if !good {
        return Err(Refusal::Bad { key });
    }
    if signature.created() < Some(made) {
        return Err(Refusal::OlderThanKey { key });
    }
    match component {
        Component::Primary => certificate.primary_may_sign(now),
        Component::Subkey(index) => certificate.subkey_may_sign(index, now),
    }
}

/// The certificates that may have made `signature`, with what its own key block adds to those that are known.
fn extended(keyring: &Keyring, signature: &Signature) -> Vec<Certificate> {
    let blocks = key_blocks(signature);
    let known = keyring.certificates.iter();
    known
        .filter_map(|(fingerprint, certificate)| {
            let mut more = blocks
                .iter()
                .filter(|b| b.primary.fingerprint().as_bytes() == *fingerprint)
                .peekable();
            if more.peek().is_none() {
                return (!components(certificate, signature).is_empty())
                    .then(|| certificate.clone());
            }
            let mut certificate = certificate.clone();
            more.for_each(|block| certificate.merge(block.clone()));
            (!components(&certificate, signature).is_empty()).then_some(certificate)
        })
        .collect()
}

/// The keys that a signature carries along (the "Key Block" subpacket of gpg), in its hashed or unhashed part: what they
/// say is signed by themselves.
fn key_blocks(signature: &Signature) -> Vec<Certificate> {
    let Some(config) = signature.config() else {
        return Vec::new();
    };
    let subpackets = config
        .hashed_subpackets()
        .chain(config.unhashed_subpackets());
    subpackets
        .filter_map(|subpacket| match &subpacket.data {
            // The first byte is reserved and zero.
            SubpacketData::Other(KEY_BLOCK, bytes) if bytes.first() == Some(&0) => {
                Some(&bytes[1..])
            }
            _ => None,
        })
        .take(MOST_BLOCKS)
        .filter_map(|bytes| packets::split(bytes, BLOCK_PACKETS).ok())
        .flat_map(|packets| Certificate::gather(&packets))
        .filter(|certificate| certificate.signatures() <= BLOCK_PACKETS)
        .map(|mut certificate| {
            certificate.keep_strong();
            certificate
                .subkeys
                .retain(|(subkey, _)| certificate::names(signature, subkey));
            certificate
        })
        .collect()
}

/// How a signature names its key, the fingerprint preferred.
fn issuer(signature: &Signature) -> Option<String> {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|fingerprint| hex(fingerprint.as_bytes()));
    fingerprint.or_else(|| signature.issuer_key_id().first().map(|id| hex(id.as_ref())))
}

/// A key's fingerprint.
fn name(key: &impl KeyDetails) -> String {
    hex(key.fingerprint().as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The current time, and what it means for dates.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Seconds since the epoch.
    seconds: u64,
}

impl Moment {
    fn new(now: SystemTime) -> Self {
        Self {
            seconds: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        }
    }

    /// Whether it is before `time` by more than clocks may differ.
    fn is_before(self, time: Timestamp) -> bool {
        u64::from(time.as_secs()) > self.seconds.saturating_add(CLOCK_SKEW.as_secs())
    }

    /// Whether something that ends at `end` is over.
    fn is_after(self, end: u64) -> bool {
        self.seconds >= end
    }
}

const ARMOUR_BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";
const ARMOUR_END: &str = "-----END PGP SIGNATURE-----";

/// The subpacket's number.
const KEY_BLOCK: u8 = 38;

/// Most packets of a keyring: some thousand keys.
const KEYRING_PACKETS: usize = 1 << 20;

/// Most packets of a signature file, so most signatures that are checked.
const SIGNATURE_PACKETS: usize = 16;

/// Most colons in an armoured block. A header has one, and a comment may have some.
const MOST_COLONS: usize = 64;

/// Most names of its key that a signature may have; one or two are usual.
const MOST_ISSUERS: usize = 16;

/// Most keys that a signature carries along; gpg adds one.
const MOST_BLOCKS: usize = 4;

/// Most packets of a key that a signature carries along.
const BLOCK_PACKETS: usize = 128;

/// Most keys with the right key id that are tried for a signature.
const KEYS_TRIED: usize = 8;

#[cfg(test)]
mod tests;
