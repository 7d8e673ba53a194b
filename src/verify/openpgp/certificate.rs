//! A public key with everything that is said about it, and the judgement whether it may be used.
//!
//! Owns the policy: which self-signature counts, what is revoked, expired, or not meant for signing. The library
//! only does the arithmetic; it accepts any hash and looks at no date.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, Packet, PublicKey, PublicSubkey, Signature, SignatureType, SignatureVersion,
    SubpacketData, UserId,
};
use pgp::types::{KeyDetails, KeyVersion, Tag};

use super::packets::Framed;
use super::{Moment, Refusal};

/// A transferable public key (RFC 9580 section 10.1).
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) primary: PublicKey,
    /// Signatures on the primary key itself.
    direct: Vec<Signature>,
    users: Vec<(UserId, Vec<Signature>)>,
    pub(super) subkeys: Vec<(PublicSubkey, Vec<Signature>)>,
}

/// What the self-signatures say of a primary key that may be used.
struct Standing {
    flags: Option<KeyFlags>,
}

impl Certificate {
    /// Gathers the certificates of `packets`. Whatever is not understood is left out, a key with all that hangs on
    /// it: a keyring may hold keys that are newer, or older, than this program.
    pub(super) fn gather(packets: &[Framed<'_>]) -> Vec<Self> {
        let mut certificates: Vec<Self> = Vec::new();
        let mut place = Place::Nowhere;
        for packet in packets {
            match (packet.tag(), packet.parse()) {
                (Tag::PublicKey, Some(Packet::PublicKey(primary)))
                    if is_current(primary.version()) =>
                {
                    certificates.push(Self {
                        primary,
                        direct: Vec::new(),
                        users: Vec::new(),
                        subkeys: Vec::new(),
                    });
                    place = Place::Primary;
                }
                // A secret key makes no public one; GnuPG skips it in a keyring, too.
                (Tag::PublicKey | Tag::SecretKey, _) => place = Place::Nowhere,
                (tag, packet) => {
                    if let (Some(certificate), false) =
                        (certificates.last_mut(), place == Place::Nowhere)
                    {
                        place = certificate.take(tag, packet, place);
                    }
                }
            }
        }
        certificates
    }

    /// Takes one packet that follows the primary key, and says where the next signatures belong.
    fn take(&mut self, tag: Tag, packet: Option<Packet>, place: Place) -> Place {
        match (tag, packet) {
            (Tag::UserId, Some(Packet::UserId(user))) => {
                self.users.push((user, Vec::new()));
                Place::User
            }
            (Tag::PublicSubkey, Some(Packet::PublicSubkey(subkey)))
                if is_current(subkey.version()) =>
            {
                self.subkeys.push((subkey, Vec::new()));
                Place::Subkey
            }
            (Tag::UserId | Tag::PublicSubkey | Tag::UserAttribute | Tag::SecretSubkey, _) => {
                Place::Ignored
            }
            (Tag::Signature, Some(Packet::Signature(signature))) => {
                let list = match place {
                    Place::Primary => Some(&mut self.direct),
                    Place::User => self.users.last_mut().map(|(_, list)| list),
                    Place::Subkey => self.subkeys.last_mut().map(|(_, list)| list),
                    Place::Ignored | Place::Nowhere => None,
                };
                if let Some(list) = list {
                    list.push(signature);
                }
                place
            }
            // Trust packets of old keyrings, markers, padding.
            _ => place,
        }
    }

    /// Adds what another copy of the same key knows.
    pub(super) fn merge(&mut self, other: Self) {
        append(&mut self.direct, other.direct);
        for (user, signatures) in other.users {
            match self
                .users
                .iter_mut()
                .find(|(known, _)| known.id() == user.id())
            {
                Some((_, known)) => append(known, signatures),
                None => self.users.push((user, signatures)),
            }
        }
        for (subkey, signatures) in other.subkeys {
            match self
                .subkeys
                .iter_mut()
                .find(|(known, _)| known.fingerprint() == subkey.fingerprint())
            {
                Some((_, known)) => append(known, signatures),
                None => self.subkeys.push((subkey, signatures)),
            }
        }
    }

    /// How many signatures there are.
    pub(super) fn signatures(&self) -> usize {
        let users = self.users.iter().map(|(_, list)| list.len());
        let subkeys = self.subkeys.iter().map(|(_, list)| list.len());
        self.direct.len() + users.chain(subkeys).sum::<usize>()
    }

    /// Drops all signatures that rest on a weak hash, but for revocations: a keyring on disk is trusted as such, and
    /// old keys in it are self-signed with SHA-1; what comes from the network is not.
    pub(super) fn keep_strong(&mut self) {
        let strong =
            |signature: &Signature| is_strong(signature.hash_alg()) || is_revocation(signature);
        self.direct.retain(strong);
        self.users
            .iter_mut()
            .for_each(|(_, list)| list.retain(strong));
        self.subkeys
            .iter_mut()
            .for_each(|(_, list)| list.retain(strong));
    }

    /// The first user id, safe to print.
    pub(super) fn user(&self) -> Option<String> {
        let (user, _) = self.users.first()?;
        let text = String::from_utf8_lossy(user.id());
        Some(
            text.chars()
                .take(LONGEST_USER)
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect(),
        )
    }

    /// Whether the primary key may make data signatures at `now`.
    pub(super) fn primary_may_sign(&self, now: Moment) -> Result<(), Refusal> {
        match self.standing(now)?.flags {
            Some(flags) if !flags.sign() => Err(Refusal::NotForSigning {
                key: super::name(&self.primary),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the subkey at `index` may make data signatures at `now`.
    pub(super) fn subkey_may_sign(&self, index: usize, now: Moment) -> Result<(), Refusal> {
        self.standing(now)?;
        let (subkey, signatures) = &self.subkeys[index];
        let key = super::name(subkey);
        let good = |signature: &&Signature| {
            signature
                .verify_subkey_binding(&self.primary, subkey)
                .is_ok()
        };
        let of_type = |wanted| {
            move |signature: &&Signature| {
                signature.typ() == Some(wanted) && is_usable(signature, subkey, now)
            }
        };
        if signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation))
            .take(MOST_TRIED)
            .any(|signature| good(&signature))
        {
            return Err(Refusal::Revoked { key });
        }
        let bindings = signatures
            .iter()
            .filter(of_type(SignatureType::SubkeyBinding))
            .take(MOST_TRIED)
            .filter(good);
        // The newest counts, even when it has run out: it was made to replace the others.
        let newest = bindings.max_by_key(|signature| signature.created());
        let Some(binding) = newest.filter(|binding| !has_run_out(binding, now)) else {
            return Err(Refusal::NotBound { key });
        };
        if !is_strong(binding.hash_alg()) {
            return Err(Refusal::WeakBinding {
                key,
                hash: hash_name(binding.hash_alg()),
            });
        }
        not_expired(subkey, binding, now)?;
        if !flags(binding).is_some_and(|flags| flags.sign()) {
            return Err(Refusal::NotForSigning { key });
        }
        // Without it anybody could adopt another's signing key as a subkey of their own.
        let back = binding.embedded_signature().filter(|back| {
            is_strong(back.hash_alg())
                && is_usable(back, subkey, now)
                && !has_run_out(back, now)
                && back
                    .verify_primary_key_binding(subkey, &self.primary)
                    .is_ok()
        });
        if back.is_none() {
            return Err(Refusal::NoBackSignature { key });
        }
        Ok(())
    }

    /// Whether the primary key is valid at all.
    fn standing(&self, now: Moment) -> Result<Standing, Refusal> {
        let key = || super::name(&self.primary);
        let revocations = self
            .direct
            .iter()
            .filter(|s| s.typ() == Some(SignatureType::KeyRevocation));
        if revocations
            .take(MOST_TRIED)
            .any(|signature| signature.verify_key(&self.primary).is_ok())
        {
            return Err(Refusal::Revoked { key: key() });
        }
        let direct = self
            .direct
            .iter()
            .filter(|s| s.typ() == Some(SignatureType::Key) && is_usable(s, &self.primary, now))
            .take(MOST_TRIED)
            .filter(|s| s.verify_key(&self.primary).is_ok())
            .max_by_key(|signature| signature.created());
        let users = self
            .users
            .iter()
            .filter_map(|(user, signatures)| self.certification(user, signatures, now));
        let user = users.max_by_key(|signature| signature.created());
        // A version 6 key says it about itself, a version 4 key mostly in its user ids: the newest of them counts.
        let authority = match self.primary.version() {
            KeyVersion::V6 => direct.or(user),
            _ => user.or(direct),
        };
        let Some(authority) = authority.filter(|authority| !has_run_out(authority, now)) else {
            return Err(Refusal::NoSelfSignature { key: key() });
        };
        not_expired(&self.primary, authority, now)?;
        Ok(Standing {
            flags: flags(authority),
        })
    }

    /// The newest valid certification that the key made for a user id, `None` when it is revoked.
    fn certification<'a>(
        &'a self,
        user: &UserId,
        signatures: &'a [Signature],
        now: Moment,
    ) -> Option<&'a Signature> {
        let own: Vec<&Signature> = signatures
            .iter()
            .filter(|s| is_certification(s) || is_withdrawal(s))
            .filter(|s| is_usable(s, &self.primary, now))
            .filter(|s| names(s, &self.primary))
            .take(MOST_TRIED)
            .filter(|s| {
                s.verify_certification(&self.primary, Tag::UserId, user)
                    .is_ok()
            })
            .collect();
        let revoked = own
            .iter()
            .filter(|s| is_withdrawal(s))
            .filter_map(|s| s.created())
            .max();
        let newest = own
            .into_iter()
            .filter(|s| is_certification(s))
            .max_by_key(|signature| signature.created())?;
        (newest.created() > revoked).then_some(newest)
    }
}

/// Where the signatures belong that come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not in a certificate.
    Nowhere,
    Primary,
    User,
    Subkey,
    /// Behind a part that is not used.
    Ignored,
}

/// Hash algorithms whose signatures are accepted.
pub(super) fn is_strong(hash: Option<HashAlgorithm>) -> bool {
    use HashAlgorithm as Hash;
    matches!(
        hash,
        Some(
            Hash::Sha224
                | Hash::Sha256
                | Hash::Sha384
                | Hash::Sha512
                | Hash::Sha3_256
                | Hash::Sha3_512
        )
    )
}

/// The name of a hash algorithm.
pub(super) fn hash_name(hash: Option<HashAlgorithm>) -> String {
    hash.map_or_else(|| "an unknown hash".to_owned(), |hash| hash.to_string())
}

/// Whether `signature` claims to be made by `key`, by key id or by fingerprint.
pub(super) fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    // The key is hashed for each of them.
    let (fingerprint, key_id) = (key.fingerprint(), key.legacy_key_id());
    let mut fingerprints = signature.issuer_fingerprint().into_iter();
    let mut key_ids = signature.issuer_key_id().into_iter();
    fingerprints.any(|one| *one == fingerprint) || key_ids.any(|one| *one == key_id)
}

/// Whether `signature` demands that something be understood which is not (RFC 9580 section 5.2.3.7).
pub(super) fn has_unknown_demand(signature: &Signature) -> bool {
    signature.config().is_none_or(|config| {
        config.hashed_subpackets().any(|subpacket| {
            subpacket.is_critical
                && matches!(
                    subpacket.data,
                    SubpacketData::Other(..)
                        | SubpacketData::Experimental(..)
                        | SubpacketData::Notation(_)
                )
        })
    })
}

/// Whether a signature has a version that is accepted: older ones do not sign their own subpackets.
pub(super) fn is_known_version(signature: &Signature) -> bool {
    matches!(
        signature.version(),
        SignatureVersion::V4 | SignatureVersion::V6
    )
}

/// What can be said of a self-signature without checking it: whether it is of use at `now` for `key`.
fn is_usable(signature: &Signature, key: &impl KeyDetails, now: Moment) -> bool {
    let Some(created) = signature.created() else {
        return false;
    };
    is_known_version(signature)
        && !has_unknown_demand(signature)
        && !matches!(
            signature.hash_alg(),
            Some(HashAlgorithm::Md5 | HashAlgorithm::None) | None
        )
        && created >= key.created_at()
        && !now.is_before(created)
}

/// Whether a signature's own life span is over; zero is no end.
fn has_run_out(signature: &Signature, now: Moment) -> bool {
    let span = signature
        .signature_expiration_time()
        .map_or(0, |span| u64::from(span.as_secs()));
    let created = signature
        .created()
        .map_or(0, |created| u64::from(created.as_secs()));
    span > 0 && now.is_after(created + span)
}

fn is_certification(signature: &Signature) -> bool {
    use SignatureType as Type;
    matches!(
        signature.typ(),
        Some(Type::CertGeneric | Type::CertPersona | Type::CertCasual | Type::CertPositive)
    )
}

fn is_withdrawal(signature: &Signature) -> bool {
    signature.typ() == Some(SignatureType::CertRevocation)
}

fn is_revocation(signature: &Signature) -> bool {
    use SignatureType as Type;
    matches!(
        signature.typ(),
        Some(Type::KeyRevocation | Type::SubkeyRevocation | Type::CertRevocation)
    )
}

fn is_current(version: KeyVersion) -> bool {
    matches!(version, KeyVersion::V4 | KeyVersion::V6)
}

fn flags(signature: &Signature) -> Option<KeyFlags> {
    signature
        .config()?
        .hashed_subpackets()
        .find_map(|subpacket| match &subpacket.data {
            SubpacketData::KeyFlags(flags) => Some(flags.clone()),
            _ => None,
        })
}

/// Checks the life span that `binding` gives `key`; zero is no end.
fn not_expired(key: &impl KeyDetails, binding: &Signature, now: Moment) -> Result<(), Refusal> {
    let created = u64::from(key.created_at().as_secs());
    let span = binding
        .key_expiration_time()
        .map_or(0, |span| u64::from(span.as_secs()));
    if now.is_before(key.created_at()) {
        return Err(Refusal::KeyFromTheFuture {
            key: super::name(key),
            created,
        });
    }
    match created + span {
        expired if span > 0 && now.is_after(expired) => Err(Refusal::KeyExpired {
            key: super::name(key),
            expired,
        }),
        _ => Ok(()),
    }
}

fn append(known: &mut Vec<Signature>, more: Vec<Signature>) {
    for signature in more {
        if known.len() < MOST_MERGED && !known.contains(&signature) {
            known.push(signature);
        }
    }
}

/// How many signatures of one kind are tried for one component: checking each costs up to some milliseconds.
const MOST_TRIED: usize = 64;

/// How many signatures a component keeps when copies are merged.
const MOST_MERGED: usize = 512;

/// Longer user ids are cut, in characters.
const LONGEST_USER: usize = 256;
