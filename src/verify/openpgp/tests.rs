mod party;

use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::Notation;
use pgp::types::{KeyVersion, Password};
use proptest::prelude::*;

use self::party::*;
use super::*;

#[test]
fn a_primary_key_and_its_signing_subkey_may_sign() {
    let party = Party::new(1);
    let signers = verdict(&party.usual(), &party.signs(made().at(NOW - 5))).expect("good");
    let fingerprint = hex(party.primary.fingerprint().as_bytes());
    assert_eq!(
        signers,
        [Signer {
            fingerprint: fingerprint.clone(),
            signing_key: fingerprint.clone(),
            user_id: Some("User 1\u{fffd} <u@example.org>".to_owned()),
            created: at(NOW - 5),
        }]
    );
    assert_eq!(fingerprint.len(), 40);
    let signers = verdict(&party.usual(), &party.subkey_signs(made())).expect("good");
    assert_eq!(signers[0].fingerprint, fingerprint);
    assert_eq!(
        signers[0].signing_key,
        hex(party.subkey.fingerprint().as_bytes())
    );
}

#[test]
fn rsa_and_version_6_keys_are_understood() {
    let rsa = Party::rsa(2);
    assert_eq!(outcome(&rsa.usual(), &rsa.signs(made())), "good");
    assert_eq!(outcome(&rsa.usual(), &rsa.subkey_signs(made())), "good");

    // A version 6 key speaks through a direct key signature; its user ids are mere names.
    let six = Party::of(&KeyType::Ed25519, KeyVersion::V6, 3);
    let direct = |life| {
        vec![six.on_key(
            SignatureType::Key,
            made().with(may_sign()).with(lives(life)),
        )]
    };
    let with = |life| {
        six.certificate(
            direct(life),
            vec![six.certified(made().at(BIRTH + 1))],
            vec![],
        )
    };
    assert_eq!(outcome(&with(0), &six.signs(made())), "good");
    assert_eq!(outcome(&with(DAY), &six.signs(made())), "KeyExpired");
}

#[test]
fn a_signature_over_other_bytes_or_by_an_unknown_key_is_refused() {
    let (party, stranger) = (Party::new(1), Party::new(2));
    let signature = party.signs(made());
    let error =
        verify(b"other", &signature, &keyring(&party.usual()), at(NOW)).expect_err("changed");
    let text = error.to_string();
    assert!(
        text.starts_with("DOWNLOAD INVALID: Signature verification failed."),
        "{text}"
    );
    assert!(
        text.contains("BAD signature") && text.contains(&name(&party.primary)),
        "{text}"
    );

    let error = verdict(&party.usual(), &stranger.signs(made()))
        .expect_err("unknown")
        .to_string();
    assert!(
        error.contains("unknown key") && error.contains(&name(&stranger.primary)),
        "{error}"
    );
    assert_eq!(outcome(b"", &signature), "UnknownKey");
}

#[test]
fn all_signatures_of_a_file_must_be_good() {
    let (party, other, stranger) = (Party::new(1), Party::new(2), Party::new(3));
    let ring = [party.usual(), other.usual()].concat();
    let both = [party.signs(made()), other.subkey_signs(made())].concat();
    assert_eq!(verdict(&ring, &both).expect("both are good").len(), 2);
    for file in [
        [party.signs(made()), stranger.signs(made())],
        [stranger.signs(made()), party.signs(made())],
    ] {
        assert_eq!(outcome(&ring, &file.concat()), "UnknownKey");
    }
    let half = &both[..both.len() - 10];
    assert_eq!(outcome(&ring, half), "NotASignature");
    let many = party.signs(made()).repeat(SIGNATURE_PACKETS + 1);
    assert_eq!(outcome(&ring, &many), "NotASignature");
}

#[test]
fn armour_is_understood_block_by_block() {
    let (party, stranger) = (Party::new(1), Party::new(2));
    let (good, bad) = (
        armoured(&party.signs(made())),
        armoured(&stranger.signs(made())),
    );
    let ring = party.usual();
    assert_eq!(verdict(&ring, good.as_bytes()).expect("good").len(), 1);
    assert_eq!(
        verdict(&ring, good.replace('\n', "\r\n").as_bytes())
            .expect("good")
            .len(),
        1
    );
    assert_eq!(
        verdict(&ring, format!("\n{good}\n\n{good}").as_bytes())
            .expect("good")
            .len(),
        2
    );
    assert_eq!(
        outcome(&ring, format!("{good}{bad}").as_bytes()),
        "UnknownKey"
    );
    for damaged in [
        format!("{good}trailing"),
        good[..good.len() - 20].to_owned(),
        good.replace("SIGNATURE", "MESSAGE"),
    ] {
        assert_eq!(
            outcome(&ring, damaged.as_bytes()),
            "NotASignature",
            "{damaged}"
        );
    }
    assert_eq!(
        outcome(&ring, format!("text\n{good}").as_bytes()),
        "NotASignature"
    );
}

#[test]
fn what_only_costs_time_is_refused() {
    let party = Party::new(1);
    let ring = party.usual();
    let commented = |lines: usize| {
        let comments = "Comment: x\n".repeat(lines);
        armoured(&party.signs(made())).replacen('\n', &format!("\n{comments}"), 1)
    };
    assert_eq!(outcome(&ring, commented(10).as_bytes()), "good");
    assert_eq!(outcome(&ring, commented(65).as_bytes()), "NotASignature");

    let stranger = Party::new(2).primary.legacy_key_id();
    let named = |ids: usize| Made {
        unhashed: vec![SubpacketData::IssuerKeyId(stranger); ids],
        ..made()
    };
    assert_eq!(outcome(&ring, &party.signs(named(5))), "good");
    assert_eq!(outcome(&ring, &party.signs(named(20))), "NotASignature");

    let old = party.certificate(vec![], vec![party.certified(made())], vec![]);
    let carried = |useless: usize| {
        let none = block(&Party::new(2).usual());
        (0..useless)
            .fold(made(), |made, _| made.with(none.clone()))
            .with(block(&ring))
    };
    assert_eq!(outcome(&old, &party.subkey_signs(carried(3))), "good");
    assert_eq!(outcome(&old, &party.subkey_signs(carried(4))), "UnknownKey");
}

#[test]
fn what_is_no_signature_is_refused() {
    let party = Party::new(1);
    let ring = party.usual();
    assert_eq!(
        verdict(&ring, b"").expect_err("empty").to_string(),
        "Signature is empty, cannot verify."
    );
    assert_eq!(
        verdict(&ring, &vec![0; SIGNATURE_LIMIT + 1]),
        Err(OpenPgpError::TooLarge)
    );
    for junk in [&b"\n"[..], b"<html>", b"\xff", &[0; 100], &ring] {
        assert_eq!(outcome(&ring, junk), "NotASignature", "{junk:?}");
    }
    for typ in [
        SignatureType::Standalone,
        SignatureType::Timestamp,
        SignatureType::ThirdParty,
    ] {
        let mut signature = party.signs(made());
        // Behind tag, length and version.
        signature[3] = typ.into();
        assert_eq!(outcome(&ring, &signature), "WrongType");
    }
    assert_eq!(
        outcome(&ring, &sign(&party.primary, SignatureType::Text, made())),
        "good"
    );
    // A signature on a key is not one of a document.
    assert_eq!(
        outcome(&ring, &bytes(&[party.on_key(SignatureType::Key, made())])),
        "WrongType"
    );
}

#[test]
fn each_property_of_a_signature_is_judged() {
    let party = Party::rsa(1);
    let ring = party.usual();
    let skew = u32::try_from(CLOCK_SKEW.as_secs()).expect("small");
    let notation = || {
        let (name, value) = ("n@example.org".into(), "v".into());
        SubpacketData::Notation(Notation {
            readable: true,
            name,
            value,
        })
    };
    let critical = |data| Made {
        critical: vec![data],
        ..made()
    };
    let table = [
        (made().hash(HashAlgorithm::Sha512), "good"),
        (made().hash(HashAlgorithm::Sha1), "WeakHash"),
        (made().hash(HashAlgorithm::Md5), "WeakHash"),
        (made().hash(HashAlgorithm::Ripemd160), "WeakHash"),
        (made().at(NOW + skew), "good"),
        (made().at(NOW + skew + 1), "FromTheFuture"),
        (made().at(BIRTH - 1), "OlderThanKey"),
        (made().with(lasts(100 * DAY + 1)), "good"),
        (made().with(lasts(100 * DAY)), "Expired"),
        (made().with(lasts(0)), "good"),
        (made().with(notation()), "good"),
        (critical(notation()), "UnknownDemand"),
    ];
    for (index, (made, wanted)) in table.into_iter().enumerate() {
        assert_eq!(outcome(&ring, &party.signs(made)), wanted, "row {index}");
    }
    // The library does not sign such, so the critical bit is set afterwards.
    for kind in [99, 101] {
        let data = match kind {
            101 => SubpacketData::Experimental(kind, vec![7, 7].into()),
            _ => SubpacketData::Other(kind, vec![7, 7].into()),
        };
        let mut signature = party.signs(made().with(data));
        assert_eq!(outcome(&ring, &signature), "good");
        let place = signature
            .windows(3)
            .position(|three| three == [kind, 7, 7])
            .expect("the subpacket");
        signature[place] |= 0x80;
        assert_eq!(outcome(&ring, &signature), "UnknownDemand");
    }
}

#[test]
fn a_key_that_is_not_yet_valid_signs_nothing() {
    let party = Party::new(1);
    let ring = keyring(&party.usual());
    let yesterday = BIRTH - DAY;
    for (made_at, wanted) in [(BIRTH, "FromTheFuture"), (yesterday, "OlderThanKey")] {
        for signature in [
            party.signs(made().at(made_at)),
            party.subkey_signs(made().at(made_at)),
        ] {
            let refusal = verify(DATA, &signature, &ring, at(yesterday)).expect_err(wanted);
            let refusal = format!("{refusal:?}");
            assert!(refusal.contains(wanted), "{refusal}");
            verify(DATA, &party.signs(made()), &ring, at(BIRTH)).expect("its day has come");
        }
    }
}

#[test]
fn signatures_of_an_unknown_version_are_refused() {
    let party = Party::new(1);
    for version in [2, 3, 5, 7] {
        let packet = [0xc2, 6, version, 0, 0, 0, 0, 0];
        assert_eq!(outcome(&party.usual(), &packet), "Unsupported", "{version}");
    }
}

#[test]
fn a_signature_without_time_or_issuer_is_refused() {
    let party = Party::new(1);
    for (keep, wanted) in [
        (0..0, "NoIssuer"),
        (0..1, "NoIssuer"),
        (1..2, "NoTime"),
        (0..2, "good"),
    ] {
        let mut config = made().config(SignatureType::Binary, &party.primary);
        config.hashed_subpackets = config.hashed_subpackets[keep].to_vec();
        let signature = config
            .sign(&party.primary, &Password::empty(), DATA)
            .expect("signed");
        assert_eq!(outcome(&party.usual(), &bytes(&[signature.into()])), wanted);
    }
}

#[test]
fn each_property_of_a_primary_key_is_judged() {
    let party = Party::rsa(1);
    let other = Party::new(2);
    let cert = |made| vec![party.certified(made)];
    let revocation = || party.on_key(SignatureType::KeyRevocation, made().at(BIRTH + DAY));
    let foreign = other.on_key(SignatureType::KeyRevocation, made());
    let renewed = |first, second| {
        vec![
            party.certified(made().with(lives(first))),
            party.certified(made().at(BIRTH + 9).with(lives(second))),
        ]
    };
    let withdrawn = |at: u32| {
        let withdrawal = party.certification(SignatureType::CertRevocation, made().at(at));
        vec![party.certified(made().at(BIRTH + 5)), withdrawal]
    };
    let table = [
        (vec![], cert(made()), "good"),
        (vec![], vec![], "NoSelfSignature"),
        (vec![], vec![other.certified(made())], "NoSelfSignature"),
        (vec![], cert(made().with(may_encrypt())), "NotForSigning"),
        (vec![], cert(made().with(lives(100 * DAY + 1))), "good"),
        (vec![], cert(made().with(lives(100 * DAY))), "KeyExpired"),
        (vec![], cert(made().with(lasts(DAY))), "NoSelfSignature"),
        (vec![], cert(made().at(BIRTH - 1)), "NoSelfSignature"),
        (vec![], cert(made().at(NOW + DAY)), "NoSelfSignature"),
        // compat: old keys in a keyring on disk are self-signed with SHA-1.
        (vec![], cert(made().hash(HashAlgorithm::Sha1)), "good"),
        (
            vec![],
            cert(made().hash(HashAlgorithm::Md5)),
            "NoSelfSignature",
        ),
        (vec![], renewed(DAY, 0), "good"),
        (vec![], renewed(0, DAY), "KeyExpired"),
        (vec![], withdrawn(BIRTH + 6), "NoSelfSignature"),
        (vec![], withdrawn(BIRTH + 5), "NoSelfSignature"),
        (vec![], withdrawn(BIRTH + 4), "good"),
        (vec![revocation()], cert(made()), "Revoked"),
        (
            vec![revocation()],
            cert(made().at(BIRTH + 2 * DAY)),
            "Revoked",
        ),
        (vec![foreign], cert(made()), "good"),
        (
            vec![party.on_key(SignatureType::Key, made())],
            vec![],
            "good",
        ),
        (
            vec![party.on_key(SignatureType::Key, made().with(lives(DAY)))],
            vec![],
            "KeyExpired",
        ),
    ];
    for (index, (direct, users, wanted)) in table.into_iter().enumerate() {
        let ring = party.certificate(direct, users, vec![party.good_binding()]);
        assert_eq!(outcome(&ring, &party.signs(made())), wanted, "row {index}");
        // Whatever ends the primary key ends its subkeys.
        let subkey = if wanted == "NotForSigning" {
            "good"
        } else {
            wanted
        };
        assert_eq!(
            outcome(&ring, &party.subkey_signs(made())),
            subkey,
            "row {index}, subkey"
        );
    }
}

#[test]
fn a_weak_revocation_is_one_all_the_same() {
    let party = Party::rsa(1);
    let weak = party.on_key(
        SignatureType::KeyRevocation,
        made().hash(HashAlgorithm::Sha1),
    );
    let ring = party.certificate(vec![weak], vec![party.certified(made())], vec![]);
    assert_eq!(outcome(&ring, &party.signs(made())), "Revoked");
}

#[test]
fn each_property_of_a_subkey_is_judged() {
    let party = Party::rsa(1);
    let other = Party::new(2);
    let binding = |made| party.bound(SignatureType::SubkeyBinding, made);
    let back = || party.back(made());
    let good = || made().with(may_sign()).with(back());
    let revocation = party.bound(SignatureType::SubkeyRevocation, made().at(BIRTH + 1));
    let foreign = other.bound(SignatureType::SubkeyRevocation, made().at(BIRTH + 1));
    let unhashed = Made {
        unhashed: vec![back()],
        ..made().with(may_sign())
    };
    let table = [
        (vec![binding(good())], "good"),
        (vec![binding(unhashed)], "good"),
        (vec![other.good_binding()], "NotBound"),
        (vec![binding(made().with(back()))], "NotForSigning"),
        (
            vec![binding(made().with(may_encrypt()).with(back()))],
            "NotForSigning",
        ),
        (vec![binding(made().with(may_sign()))], "NoBackSignature"),
        (
            vec![binding(made().with(may_sign()).with(other.back(made())))],
            "NoBackSignature",
        ),
        (
            vec![binding(
                made()
                    .with(may_sign())
                    .with(party.back(made().hash(HashAlgorithm::Sha1))),
            )],
            "NoBackSignature",
        ),
        (
            vec![binding(good().hash(HashAlgorithm::Sha1))],
            "WeakBinding",
        ),
        (vec![binding(good().with(lives(DAY)))], "KeyExpired"),
        (vec![binding(good().with(lasts(DAY)))], "NotBound"),
        (
            vec![
                binding(good()),
                binding(good().at(BIRTH + 1).with(lasts(DAY))),
            ],
            "NotBound",
        ),
        (
            vec![
                binding(good().with(lives(DAY))),
                binding(good().at(BIRTH + 1)),
            ],
            "good",
        ),
        (
            vec![
                binding(good()),
                binding(good().at(BIRTH + 1).with(lives(DAY))),
            ],
            "KeyExpired",
        ),
        (vec![binding(good()), revocation.clone()], "Revoked"),
        (vec![revocation, binding(good().at(BIRTH + 2))], "Revoked"),
        (vec![binding(good()), foreign], "good"),
    ];
    for (index, (signatures, wanted)) in table.into_iter().enumerate() {
        let ring = party.certificate(vec![], vec![party.certified(made())], signatures);
        assert_eq!(
            outcome(&ring, &party.subkey_signs(made())),
            wanted,
            "row {index}"
        );
        assert_eq!(
            outcome(&ring, &party.signs(made())),
            "good",
            "row {index}, primary"
        );
    }
}

#[test]
fn a_subkey_cannot_be_adopted_by_another_key() {
    let (victim, thief) = (Party::new(1), Party::new(2));
    let adoption = made()
        .with(may_sign())
        .config(SignatureType::SubkeyBinding, &thief.primary)
        .sign_subkey_binding(
            &thief.primary,
            thief.primary.public_key(),
            &Password::empty(),
            victim.subkey.public_key(),
        )
        .expect("signed");
    let mut ring = thief.certificate(vec![], vec![thief.certified(made())], vec![]);
    ring.extend(bytes(&[
        victim.subkey.public_key().clone().into(),
        adoption.into(),
    ]));
    assert_eq!(
        outcome(&ring, &victim.subkey_signs(made())),
        "NoBackSignature"
    );
}

fn block(certificate: &[u8]) -> SubpacketData {
    SubpacketData::Other(KEY_BLOCK, [&[0], certificate].concat().into())
}

#[test]
fn an_embedded_key_only_extends_keys_that_are_known() {
    let (party, stranger) = (Party::rsa(1), Party::new(2));
    let old = party.certificate(vec![], vec![party.certified(made())], vec![]);
    let new = party.usual();
    assert_eq!(outcome(&old, &party.subkey_signs(made())), "UnknownKey");
    assert_eq!(
        outcome(&old, &party.subkey_signs(made().with(block(&new)))),
        "good"
    );
    let unhashed = Made {
        unhashed: vec![block(&new)],
        ..made()
    };
    assert_eq!(outcome(&old, &party.subkey_signs(unhashed)), "good");
    assert_eq!(
        outcome(&old, &stranger.signs(made().with(block(&stranger.usual())))),
        "UnknownKey"
    );
    assert_eq!(
        outcome(
            &old,
            &stranger.subkey_signs(made().with(block(&stranger.usual())))
        ),
        "UnknownKey"
    );

    // The known primary key before a stranger's subkey, which it has not bound.
    let mut forged = party.certificate(vec![], vec![party.certified(made())], vec![]);
    forged.extend(bytes(&[
        stranger.subkey.public_key().clone().into(),
        stranger.good_binding(),
    ]));
    assert_eq!(
        outcome(&old, &stranger.subkey_signs(made().with(block(&forged)))),
        "NotBound"
    );

    // SHA-1 is good enough on disk, for the primary key; nothing is from the network.
    let weak = party.certificate(
        vec![],
        vec![party.certified(made().hash(HashAlgorithm::Sha1))],
        vec![],
    );
    let none = party.certificate(vec![], vec![], vec![]);
    assert_eq!(
        outcome(&none, &party.signs(made().with(block(&weak)))),
        "NoSelfSignature"
    );
    assert_eq!(
        outcome(&none, &party.signs(made().with(block(&new)))),
        "good"
    );

    // It may also say that a key is no longer good.
    let revoked = party.on_key(SignatureType::KeyRevocation, made());
    let revoked = party.certificate(vec![revoked], vec![], vec![]);
    assert_eq!(
        outcome(&new, &party.signs(made().with(block(&revoked)))),
        "Revoked"
    );
}

#[test]
fn copies_of_a_key_are_merged() {
    let party = Party::new(1);
    let expired = party.certificate(
        vec![],
        vec![party.certified(made().with(lives(DAY)))],
        vec![],
    );
    let renewed = party.certified(made().at(BIRTH + 1));
    let renewed = party.certificate(vec![], vec![renewed], vec![party.good_binding()]);
    for (first, second) in [(&expired, &renewed), (&renewed, &expired)] {
        let ring = [&first[..], second].concat();
        assert_eq!(keyring(&ring).len(), 1);
        assert_eq!(outcome(&ring, &party.subkey_signs(made())), "good");
        let mut extended = keyring(first);
        extended.extend(keyring(second));
        assert!(verify(DATA, &party.signs(made()), &extended, at(NOW)).is_ok());
    }
}

#[test]
fn keyrings_of_another_form_are_refused_with_advice() {
    assert!(Keyring::parse(b"").expect("empty").is_empty());
    let armour = Keyring::parse(b"\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n").expect_err("armour");
    assert_eq!(armour, KeyringParseError::Armoured);
    assert!(armour.to_string().contains("gpg --dearmor"), "{armour}");
    let keybox = Keyring::parse(b"\0\0\0\x20\x01\x01\0\0KBXf\0\0\0\0").expect_err("keybox");
    assert_eq!(keybox, KeyringParseError::Keybox);
    let party = Party::new(1);
    for junk in [
        &b"garbage"[..],
        b"\x99",
        &[0xff; 40],
        &party.signs(made()),
        &party.usual()[..60],
        b"\n",
    ] {
        let error = Keyring::parse(junk).expect_err("garbage");
        assert!(matches!(error, KeyringParseError::Garbage(_)), "{error:?}");
        assert!(error.to_string().contains("gpg --dearmor"), "{error}");
    }
}

#[test]
fn what_is_unknown_in_a_keyring_is_skipped_and_does_not_hide_the_rest() {
    let (party, other) = (Party::new(1), Party::new(2));
    let key = party.certificate(vec![], vec![party.certified(made())], vec![]);
    // A version 9 key and a trust packet as old GnuPG keyrings have them, then a subkey behind the trust packet.
    let unknown = [0xc6, 7, 9, 0, 0, 0, 0, 1, 0];
    let trust = [0xb0, 2, 0, 6];
    let subkey = bytes(&[
        party.subkey.public_key().clone().into(),
        party.good_binding(),
    ]);
    let ring = [
        &unknown[..],
        &key,
        &trust,
        &subkey,
        &unknown,
        &other.usual(),
    ]
    .concat();
    assert_eq!(keyring(&ring).len(), 2);
    assert_eq!(outcome(&ring, &party.subkey_signs(made())), "good");
    assert_eq!(outcome(&ring, &other.subkey_signs(made())), "good");
    // What follows an unknown key does not count for the one before it.
    let ring = [&key[..], &unknown, &subkey].concat();
    assert_eq!(outcome(&ring, &party.subkey_signs(made())), "UnknownKey");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(tag in 0_u8..64, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let party = Party::new(1);
        let ring = keyring(&party.usual());
        prop_assert!(verify(DATA, &bytes, &ring, at(NOW)).is_err());
        let _ = Keyring::parse(&bytes);
        // The same as the contents of a packet that is well framed.
        let length = u32::try_from(bytes.len()).expect("small").to_be_bytes();
        let framed = [&[0xc0 | tag, 0xff][..], &length, &bytes].concat();
        prop_assert!(verify(DATA, &framed, &ring, at(NOW)).is_err());
        let _ = Keyring::parse(&[&party.usual()[..], &framed].concat());
    }

    #[test]
    fn no_changed_byte_makes_a_signature_by_somebody_else(index in any::<proptest::sample::Index>(), value in any::<u8>()) {
        let (party, stranger) = (Party::new(1), Party::new(2));
        let mut ring = party.usual();
        let at_byte = index.index(ring.len());
        ring[at_byte] = value;
        if let Ok(ring) = Keyring::parse(&ring) {
            let _ = verify(DATA, &party.subkey_signs(made()), &ring, at(NOW));
            prop_assert!(verify(DATA, &stranger.signs(made()), &ring, at(NOW)).is_err());
        }
        let mut signature = party.signs(made().with(block(&party.usual())));
        let at_byte = index.index(signature.len());
        signature[at_byte] = value;
        let _ = verify(DATA, &signature, &keyring(&party.usual()), at(NOW));
        prop_assert!(verify(DATA, &signature, &keyring(&stranger.usual()), at(NOW)).is_err());
    }
}
