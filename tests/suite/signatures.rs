//! Signed manifests, with keys that are made for the test.

use std::sync::LazyLock;

use pgp::composed::{
    ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::Password;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::harness::{Host, app};
use super::server::{Answer, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const REFUSED: &str = "DOWNLOAD INVALID: Signature verification failed.";
const MISSING: &str = "Failed to retrieve signature file, cannot verify. (Try --verify=no?)";

pub(crate) static ALICE: LazyLock<SignedSecretKey> = LazyLock::new(|| key(1));
pub(crate) static MALLORY: LazyLock<SignedSecretKey> = LazyLock::new(|| key(2));

fn key(seed: u64) -> SignedSecretKey {
    let parameters = SecretKeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id(format!("Publisher {seed} <p@example.org>"))
        .build()
        .expect("parameters");
    parameters
        .generate(StdRng::seed_from_u64(seed))
        .expect("a key")
}

pub(crate) fn keyring(keys: &[&SignedSecretKey]) -> Vec<u8> {
    let public = keys
        .iter()
        .map(|key| key.to_public_key().to_bytes().expect("bytes"));
    public.collect::<Vec<_>>().concat()
}

fn signature(key: &SignedSecretKey, text: &str) -> DetachedSignature {
    let rng = StdRng::seed_from_u64(3);
    let password = Password::empty();
    let made = DetachedSignature::sign_binary_data(
        rng,
        &key.primary_key,
        &password,
        HashAlgorithm::Sha256,
        text.as_bytes(),
    );
    made.expect("a signature")
}

pub(crate) fn signed(key: &SignedSecretKey, text: &str) -> Vec<u8> {
    signature(key, text).to_bytes().expect("bytes")
}

pub(crate) fn armoured(key: &SignedSecretKey, text: &str) -> String {
    signature(key, text)
        .to_armored_string(ArmorOptions::default())
        .expect("armour")
}

/// A host that trusts Alice, and a server that has nothing signed yet.
pub(crate) fn trusting() -> (Server, Host) {
    let server = Server::new();
    server.publish(&[ONE]);
    let mut host = Host::new();
    host.app(&server, "Verify=yes\n", "");
    std::fs::write(host.path("keys.pgp"), keyring(&[&ALICE])).expect("written");
    let path = host.path("keys.pgp").display().to_string();
    host.set("SYSTEMD_OPENPGP_KEYRING", path);
    (server, host)
}

#[test]
fn a_good_signature_lets_the_update_through() {
    let (server, host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.update();
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    let expected = [
        "GET /SHA256SUMS 200",
        "GET /SHA256SUMS.sha256.asc 404",
        "GET /SHA256SUMS.sha256.gpg 404",
        "GET /SHA256SUMS.gpg 200",
        "GET /app_1.raw 200",
    ];
    assert_eq!(server.take_requests(), expected);
    host.run(&["check-new"]).prints("");
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 304"],
        "the signature is remembered with the manifest"
    );
}

#[test]
fn both_forms_are_accepted_under_every_name_and_the_first_that_exists_counts() {
    let suffixes = ["sha256.asc", "sha256.gpg", "gpg", "asc"];
    let text = manifest(&[ONE]);
    for (index, suffix) in suffixes.iter().enumerate() {
        let (server, host) = trusting();
        let path = format!("/SHA256SUMS.{suffix}");
        server.put(&path, signed(&ALICE, &text));
        host.run(&["check-new"]).succeeds().prints("1\n");
        assert_eq!(server.take_requests().len(), index + 2);
        server.put(&path, armoured(&ALICE, &text));
        server.put("/SHA256SUMS", text.as_str());
        host.run(&["--verify=yes", "check-new"]).succeeds();
        // What comes after it is not asked.
        for later in &suffixes[index + 1..] {
            server.put(&format!("/SHA256SUMS.{later}"), "garbage");
        }
        host.write("var/cache/sysupdate/manifests/x", "");
        std::fs::remove_dir_all(host.path("var/cache")).expect("removed");
        host.run(&["check-new"]).succeeds().prints("1\n");
    }
}

#[test]
fn a_bad_signature_is_final() {
    let text = manifest(&[ONE]);
    let both = [signed(&ALICE, &text), signed(&MALLORY, &text)].concat();
    let mut flipped = signed(&ALICE, &text);
    *flipped.last_mut().expect("bytes") ^= 1;
    let rows: [(&str, Vec<u8>, &str); 8] = [
        ("another key", signed(&MALLORY, &text), REFUSED),
        ("another text", signed(&ALICE, &manifest(&[TWO])), REFUSED),
        ("garbage", b"garbage".to_vec(), REFUSED),
        ("one of two is unknown", both, REFUSED),
        ("flipped", flipped, REFUSED),
        ("a key", keyring(&[&ALICE]), REFUSED),
        ("empty", Vec::new(), "Signature is empty, cannot verify."),
        ("too large", vec![b'x'; (1 << 20) + 1], ""),
    ];
    for (what, bytes, message) in rows {
        let (server, host) = trusting();
        server.put("/SHA256SUMS.sha256.gpg", bytes);
        server.put("/SHA256SUMS.gpg", signed(&ALICE, &text));
        for verb in ["list", "check-new", "update", "acquire"] {
            let run = host.run(&[verb]);
            assert_eq!(
                (run.code, run.stdout.as_str()),
                (Some(1), ""),
                "{what}: {run:?}"
            );
            assert!(run.stderr.contains(message), "{what}: {run:?}");
        }
        assert_eq!(host.tree("srv"), [""; 0], "{what}");
        assert_eq!(
            host.tree("var/cache"),
            [""; 0],
            "{what}: nothing that is not trusted is remembered"
        );
    }
}

#[test]
fn a_missing_signature_is_told_with_the_way_out() {
    let (server, host) = trusting();
    for verb in ["list", "check-new", "update"] {
        host.run(&[verb])
            .fails()
            .says(MISSING)
            .says("/SHA256SUMS.asc")
            .says("404");
    }
    assert_eq!(host.tree("srv"), [""; 0]);
    // Only "not found" moves on.
    server.answer("/SHA256SUMS.sha256.asc", Answer::status(500));
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.run(&["list"]).fails().says(MISSING).says("500");
}

#[test]
fn verification_can_be_forced_off_and_on() {
    let (server, host) = trusting();
    host.run(&["--verify=no", "check-new"])
        .succeeds()
        .prints("1\n");
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 200"],
        "no signature is asked for"
    );
    host.run(&["--verify=no", "update"])
        .succeeds()
        .says("unsigned");
    host.app(&server, "Verify=no\n", "");
    host.run(&["--verify=yes", "list"]).fails().says(MISSING);
    host.update();
    host.app(&server, "Verify=perhaps\n", "");
    host.run(&["list"]).fails().says(MISSING);
    host.app(&server, "Verify=yes\n", "");
    host.run(&["--verify=yes", "update"])
        .fails()
        .keeps_quiet_about("unsigned");
}

#[test]
fn a_manifest_that_was_cached_unverified_is_not_trusted_later() {
    let (server, host) = trusting();
    host.run(&["--verify=no", "check-new"]).succeeds();
    host.run(&["check-new"]).fails().says(MISSING);
    server.put("/SHA256SUMS.gpg", signed(&MALLORY, &manifest(&[ONE])));
    host.run(&["check-new"]).fails().says(REFUSED);
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.run(&["check-new"]).succeeds().prints("1\n");
}

#[test]
fn a_cached_manifest_is_verified_with_the_keys_of_today() {
    let (server, mut host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.run(&["check-new"]).succeeds();
    // The key was withdrawn from the keyring: the 304 does not help.
    std::fs::write(host.path("keys.pgp"), keyring(&[&MALLORY])).expect("written");
    host.run(&["check-new"]).fails().says(REFUSED);
    // The publisher signs the same manifest anew.
    server.put("/SHA256SUMS.gpg", signed(&MALLORY, &manifest(&[ONE])));
    host.run(&["check-new"]).succeeds().prints("1\n");
    server.take_log();
    host.run(&["check-new"]).succeeds().prints("1\n");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"]);
    let absent = host.path("absent.pgp").display().to_string();
    host.set("SYSTEMD_OPENPGP_KEYRING", absent);
    host.run(&["check-new"])
        .fails()
        .says("Failed to copy keyring 'ROOT/absent.pgp': No such file or directory");
}

#[test]
fn a_cached_document_that_somebody_changed_is_not_trusted() {
    let (server, host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.run(&["check-new"]).succeeds();
    let cache = host.path("var/cache/sysupdate/manifests");
    for entry in std::fs::read_dir(cache).expect("the cache") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("readable");
        let forged = String::from_utf8_lossy(&bytes)
            .replace("app_1", "app_9")
            .into_bytes();
        std::fs::write(path, forged).expect("written");
    }
    host.run(&["check-new"]).succeeds().prints("1\n");
}

#[test]
fn a_new_manifest_needs_its_own_signature() {
    let (server, host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.update();
    server.put("/SHA256SUMS", manifest(&[ONE, TWO]));
    server.put("/app_2.raw", "two");
    host.run(&["update"]).fails().says(REFUSED);
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE, TWO])));
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn keyrings_that_are_none_are_refused() {
    let (server, mut host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    let armoured = ALICE
        .to_public_key()
        .to_armored_string(ArmorOptions::default())
        .expect("armour");
    host.write("keys.pgp", &armoured);
    host.run(&["list"]).fails().says("ASCII-armoured");
    host.write("keys.pgp", "");
    host.run(&["list"]).fails().says(REFUSED);
    std::fs::write(host.path("keys.pgp"), keyring(&[&MALLORY, &ALICE])).expect("written");
    host.run(&["list"]).succeeds();
    host.set("SYSTEMD_OPENPGP_KEYRING", "keys.pgp");
    host.run(&["list"])
        .fails()
        .says("$SYSTEMD_OPENPGP_KEYRING must be an absolute, normalized path, got 'keys.pgp'.");
}

#[test]
fn a_signature_does_not_make_a_payload_good() {
    let (server, host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    server.put("/app_1.raw", "tampered");
    host.run(&["update"])
        .fails()
        .says("does not match expected checksum");
    assert!(!host.path("srv/target/app_1.raw").exists());
}

#[test]
fn one_url_with_and_without_verification_is_judged_twice() {
    let (server, host) = trusting();
    server.publish(&[ONE, ("two_1.raw", "1")]);
    let second = app(&server.base, "Verify=no\n", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.run(&["update"]).fails().says(MISSING);
    assert_eq!(host.tree("srv"), [""; 0]);
}
