//! Keys, certificates and signatures of every kind, made for the tests.

use std::time::Duration;

use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey, SignatureConfig,
    Subpacket, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{Duration as Span, KeyVersion, Password, SigningKey};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::*;

/// When all keys were made, in seconds since the epoch.
pub(super) const BIRTH: u32 = 1_700_000_000;
pub(super) const DAY: u32 = 86_400;
/// When all signatures are checked.
pub(super) const NOW: u32 = BIRTH + 100 * DAY;
pub(super) const DATA: &[u8] = b"0123  file\n4567  other\n";

pub(super) fn at(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::from(seconds))
}

/// A primary key, a subkey, and how their certificate is to be made.
pub(super) struct Party {
    pub(super) primary: SecretKey,
    pub(super) subkey: SecretSubkey,
    pub(super) user: UserId,
}

/// Everything about a signature but what it is over.
pub(super) struct Made {
    pub(super) hash: HashAlgorithm,
    pub(super) at: u32,
    pub(super) with: Vec<SubpacketData>,
    pub(super) critical: Vec<SubpacketData>,
    pub(super) unhashed: Vec<SubpacketData>,
}

/// A signature made right after the keys.
pub(super) fn made() -> Made {
    Made {
        hash: HashAlgorithm::Sha256,
        at: BIRTH,
        with: vec![],
        critical: vec![],
        unhashed: vec![],
    }
}

impl Made {
    pub(super) fn at(self, at: u32) -> Self {
        Self { at, ..self }
    }

    pub(super) fn hash(self, hash: HashAlgorithm) -> Self {
        Self { hash, ..self }
    }

    pub(super) fn with(mut self, data: SubpacketData) -> Self {
        self.with.push(data);
        self
    }

    pub(super) fn config(self, typ: SignatureType, by: &impl SigningKey) -> SignatureConfig {
        let mut config = match by.version() {
            KeyVersion::V6 => {
                SignatureConfig::v6(StdRng::seed_from_u64(9), typ, by.algorithm(), self.hash)
                    .expect("a configuration")
            }
            _ => SignatureConfig::v4(typ, by.algorithm(), self.hash),
        };
        let always = [
            SubpacketData::SignatureCreationTime(Timestamp::from_secs(self.at)),
            SubpacketData::IssuerFingerprint(by.fingerprint()),
        ];
        let regular = |data| Subpacket::regular(data).expect("a subpacket");
        config.hashed_subpackets = always.into_iter().chain(self.with).map(regular).collect();
        let critical = self
            .critical
            .into_iter()
            .map(|data| Subpacket::critical(data).expect("a subpacket"));
        config.hashed_subpackets.extend(critical);
        config.unhashed_subpackets = self.unhashed.into_iter().map(regular).collect();
        config
    }
}

pub(super) fn inner(
    kind: &KeyType,
    version: KeyVersion,
    seed: u64,
) -> (PubKeyInner, pgp::types::SecretParams) {
    let (public, secret) = kind.generate(StdRng::seed_from_u64(seed)).expect("a key");
    let birth = Timestamp::from_secs(BIRTH);
    (
        PubKeyInner::new(version, kind.to_alg(), birth, None, public).expect("a key"),
        secret,
    )
}

impl Party {
    pub(super) fn new(seed: u64) -> Self {
        Self::of(&KeyType::Ed25519Legacy, KeyVersion::V4, seed)
    }

    /// The library refuses to make weak signatures with any other kind.
    pub(super) fn rsa(seed: u64) -> Self {
        Self::of(&KeyType::Rsa(2048), KeyVersion::V4, seed)
    }

    pub(super) fn of(kind: &KeyType, version: KeyVersion, seed: u64) -> Self {
        let (public, secret) = inner(kind, version, seed);
        let primary =
            SecretKey::new(PublicKey::from_inner(public).expect("a key"), secret).expect("a key");
        let (public, secret) = inner(kind, version, seed + 1000);
        let subkey = SecretSubkey::new(PublicSubkey::from_inner(public).expect("a key"), secret)
            .expect("a key");
        let user = UserId::from_str(
            pgp::types::PacketHeaderVersion::New,
            format!("User {seed}\u{1b} <u@example.org>"),
        );
        Self {
            primary,
            subkey,
            user: user.expect("a user id"),
        }
    }

    pub(super) fn certified(&self, made: Made) -> Packet {
        self.certification(SignatureType::CertPositive, made)
    }

    pub(super) fn certification(&self, typ: SignatureType, made: Made) -> Packet {
        made.config(typ, &self.primary)
            .sign_certification(
                &self.primary,
                self.primary.public_key(),
                &Password::empty(),
                Tag::UserId,
                &self.user,
            )
            .expect("signed")
            .into()
    }

    pub(super) fn on_key(&self, typ: SignatureType, made: Made) -> Packet {
        made.config(typ, &self.primary)
            .sign_key(&self.primary, &Password::empty(), self.primary.public_key())
            .expect("signed")
            .into()
    }

    pub(super) fn back(&self, made: Made) -> SubpacketData {
        let back = made
            .config(SignatureType::KeyBinding, &self.subkey)
            .sign_primary_key_binding(
                &self.subkey,
                self.subkey.public_key(),
                &Password::empty(),
                self.primary.public_key(),
            )
            .expect("signed");
        SubpacketData::EmbeddedSignature(Box::new(back))
    }

    pub(super) fn bound(&self, typ: SignatureType, made: Made) -> Packet {
        made.config(typ, &self.primary)
            .sign_subkey_binding(
                &self.primary,
                self.primary.public_key(),
                &Password::empty(),
                self.subkey.public_key(),
            )
            .expect("signed")
            .into()
    }

    pub(super) fn good_binding(&self) -> Packet {
        self.bound(
            SignatureType::SubkeyBinding,
            made().with(may_sign()).with(self.back(made())),
        )
    }

    /// Primary key, signatures on it, user id, signatures on it, and the subkey's, if any.
    pub(super) fn certificate(
        &self,
        direct: Vec<Packet>,
        users: Vec<Packet>,
        subkey: Vec<Packet>,
    ) -> Vec<u8> {
        let mut packets = vec![Packet::from(self.primary.public_key().clone())];
        packets.extend(direct);
        packets.push(self.user.clone().into());
        packets.extend(users);
        if !subkey.is_empty() {
            packets.push(self.subkey.public_key().clone().into());
            packets.extend(subkey);
        }
        bytes(&packets)
    }

    /// What gpg makes: one user id, one subkey that may sign.
    pub(super) fn usual(&self) -> Vec<u8> {
        self.certificate(
            vec![],
            vec![self.certified(made().with(may_sign()))],
            vec![self.good_binding()],
        )
    }

    pub(super) fn signs(&self, made: Made) -> Vec<u8> {
        sign(&self.primary, SignatureType::Binary, made)
    }

    pub(super) fn subkey_signs(&self, made: Made) -> Vec<u8> {
        sign(&self.subkey, SignatureType::Binary, made)
    }
}

pub(super) fn sign(by: &impl SigningKey, typ: SignatureType, made: Made) -> Vec<u8> {
    let signature = made
        .config(typ, by)
        .sign(by, &Password::empty(), DATA)
        .expect("signed");
    bytes(&[signature.into()])
}

pub(super) fn bytes(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.to_writer(&mut bytes).expect("written");
    }
    bytes
}

pub(super) fn may_sign() -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    SubpacketData::KeyFlags(flags)
}

pub(super) fn may_encrypt() -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_encrypt_storage(true);
    SubpacketData::KeyFlags(flags)
}

pub(super) fn lives(seconds: u32) -> SubpacketData {
    SubpacketData::KeyExpirationTime(Span::from_secs(seconds))
}

pub(super) fn lasts(seconds: u32) -> SubpacketData {
    SubpacketData::SignatureExpirationTime(Span::from_secs(seconds))
}

pub(super) fn keyring(bytes: &[u8]) -> Keyring {
    Keyring::parse(bytes).expect("a keyring")
}

pub(super) fn verdict(certificate: &[u8], signature: &[u8]) -> Result<Vec<Signer>, OpenPgpError> {
    verify(DATA, signature, &keyring(certificate), at(NOW))
}

/// The name of the refusal's variant, or `good`.
pub(super) fn outcome(certificate: &[u8], signature: &[u8]) -> String {
    match verdict(certificate, signature) {
        Ok(_) => "good".to_owned(),
        Err(OpenPgpError::Refused(refusal)) => format!("{refusal:?}")
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect(),
        Err(other) => format!("{other:?}"),
    }
}

pub(super) fn armoured(binary: &[u8]) -> String {
    let packets = packets::split(binary, 9).expect("packets");
    let Some(Packet::Signature(signature)) = packets[0].parse() else {
        panic!("no signature")
    };
    pgp::composed::DetachedSignature::new(signature)
        .to_armored_string(Option::default().into())
        .expect("armoured")
}
