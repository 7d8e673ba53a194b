//! Manifests that are signed by minisign.

use super::harness::{Host, app};
use super::minisigner::Pair;
use super::server::{Server, manifest};
use super::signatures::{ALICE, MALLORY, keyring, signed};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
/// 1 October 2026.
pub(crate) const MADE: i64 = 1_790_812_800;

/// A host that trusts the first pair by its usual file, with more settings, and a server with nothing signed yet.
pub(crate) fn trusting(settings: &str) -> (Server, Host, Pair) {
    let server = Server::new();
    server.publish(&[ONE]);
    let host = Host::new();
    host.app(
        &server,
        &format!("Verify=yes\nX-Signature=minisign\n{settings}"),
        "",
    );
    let pair = Pair::new(1);
    host.write("etc/sysupdate/keys/default.pub", &pair.public());
    (server, host, pair)
}

/// Serves files with a manifest that these pairs have signed, in one file.
pub(crate) fn publish(server: &Server, files: &[(&str, &str)], pairs: &[&Pair], seconds: i64) {
    server.publish(files);
    let text = manifest(files);
    let signatures: String = pairs
        .iter()
        .map(|pair| pair.sign(text.as_bytes(), seconds))
        .collect();
    server.put("/SHA256SUMS.minisig", signatures);
}

#[test]
fn a_good_signature_lets_the_update_through() {
    let (server, host, pair) = trusting("");
    publish(&server, &[ONE], &[&pair], MADE);
    host.update().keeps_quiet_about("unsigned");
    let expected = [
        "GET /SHA256SUMS 200",
        "GET /SHA256SUMS.minisig 200",
        "GET /app_1.raw 200",
    ];
    assert_eq!(server.take_requests(), expected);
    host.run(&["check-new"]).prints("");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"]);
    let status = host.run(&["--json=short", "status"]).succeeds().json();
    assert_eq!(status[0]["verification"], "minisign");
}

#[test]
fn a_native_definition_finds_the_key_of_its_name() {
    let server = Server::new();
    let pair = Pair::new(1);
    let host = Host::new();
    let text = format!(
        "[transfer]\nverify = \"minisign\"\n[source]\nurl = \"{}\"\nmatch = \"app_@v.raw\"\n[target]\npath = \"/srv/target\"\n",
        server.base
    );
    host.write("usr/lib/sysupdate/transfer.d/app.toml", &text);
    publish(&server, &[ONE], &[&pair], MADE);
    host.run(&["-C", "app", "update"])
        .fails()
        .says("no public key found, looked for 'ROOT/etc/sysupdate/keys/app.pub', 'ROOT/run/sysupdate/keys/app.pub', ")
        .says("hint: put the publisher's .pub file there");
    host.write("usr/lib/sysupdate/keys/app.pub", &pair.public());
    host.run(&["-C", "app", "update"]).succeeds();
    // What the operator puts into /etc replaces the vendor's.
    host.write("etc/sysupdate/keys/app.pub", &Pair::new(2).public());
    host.run(&["-C", "app", "list"])
        .fails()
        .says("it is signed by 0101010101010101, trusted is 0202020202020202")
        .says("hint: if the publisher has a new key");
}

#[test]
fn a_signature_that_is_not_good_is_final() {
    let text = manifest(&[ONE]);
    let (known, unknown) = (Pair::new(1), Pair::new(2));
    let sign = |pair: &Pair, text: &str| pair.sign(text.as_bytes(), MADE);
    let rows = [
        (
            "another key",
            sign(&unknown, &text),
            "it is signed by 0202020202020202",
        ),
        (
            "another text",
            sign(&known, "other"),
            "the signature by key 0101010101010101 is not good",
        ),
        (
            "a bad one by the key beside a good one",
            [sign(&known, &text), sign(&known, "other")].concat(),
            "the signature by key 0101010101010101 is not good",
        ),
        (
            "garbage",
            "garbage".to_owned(),
            "line 1 of the signature file begins no minisign signature",
        ),
        (
            "a key",
            known.public(),
            "line 1 of the signature file begins no minisign signature",
        ),
        ("empty", String::new(), "Signature is empty, cannot verify."),
        (
            "too large",
            "x".repeat((64 << 10) + 1),
            "File overly large, refusing.",
        ),
        (
            "from the future",
            known.sign(text.as_bytes(), 99_999_999_999),
            "is from the future (5138-11-16T09:46:39Z)",
        ),
    ];
    for (what, signature, message) in rows {
        let (server, host, _) = trusting("");
        server.put("/SHA256SUMS.minisig", signature);
        // A good signature of the other kind does not help.
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
        assert_eq!(host.tree("var"), [""; 0], "{what}");
    }
}

#[test]
fn a_missing_signature_or_key_is_told_with_the_way_out() {
    let (server, host, _) = trusting("");
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.run(&["update"])
        .fails()
        .says("cannot fetch the minisign signature of the manifest")
        .says("/SHA256SUMS.minisig failed with code 404.")
        .says(
            "hint: the signature is looked for beside the manifest, under its name with .minisig",
        );
    host.run(&["--verify=no", "check-new"])
        .succeeds()
        .prints("1\n");
    for (content, message) in [
        (
            "garbage",
            "cannot use the public key 'ROOT/etc/sysupdate/keys/default.pub': line 1 is no minisign public key",
        ),
        ("", "it holds no minisign public key"),
        (
            "untrusted comment: minisign encrypted secret key\n",
            "it is a secret key",
        ),
    ] {
        host.write("etc/sysupdate/keys/default.pub", content);
        host.run(&["update"]).fails().says(message);
    }
    host.app(
        &server,
        "X-Signature=minisign\nVerify=yes\nX-Keys=/etc/absent.pub\n",
        "",
    );
    host.run(&["update"])
        .fails()
        .says("cannot read the public key 'ROOT/etc/absent.pub': No such file or directory");
}

#[test]
fn verification_is_turned_on_and_off_without_losing_its_kind() {
    let (server, host, pair) = trusting("");
    publish(&server, &[ONE], &[&pair], MADE);
    host.run(&["--verify=yes", "check-new"])
        .succeeds()
        .prints("1\n");
    host.app(&server, "X-Signature=minisign\nVerify=no\n", "");
    host.run(&["check-new"]).succeeds().says("unsigned");
    host.run(&["--verify=yes", "check-new"])
        .succeeds()
        .prints("1\n")
        .keeps_quiet_about("unsigned");
    server.remove("/SHA256SUMS.minisig");
    std::fs::remove_dir_all(host.path("var")).expect("removed");
    host.run(&["--verify=yes", "check-new"]).fails();
}

/// What is served, by suffix, and whether that is enough.
type Row<'r> = (&'r str, &'r [(&'r str, String)], bool);

#[test]
fn so_many_distinct_keys_must_have_signed() {
    let keys = "X-Keys=/etc/a.pub /etc/b.pub /etc/c.pub\nX-Threshold=2\n";
    let (a, b, c) = (Pair::new(1), Pair::new(2), Pair::new(3));
    let text = manifest(&[ONE]);
    let sign = |pair: &Pair| pair.sign(text.as_bytes(), MADE);
    let host = || {
        let (server, host, _) = trusting(keys);
        host.write("etc/a.pub", &a.public());
        host.write("etc/b.pub", &b.public());
        host.write("etc/c.pub", &a.public());
        (server, host)
    };
    // Which files are served, and whether that is enough.
    let rows: [Row<'_>; 7] = [
        ("in one file", &[("", [sign(&a), sign(&b)].concat())], true),
        ("in two files", &[("", sign(&a)), (".1", sign(&b))], true),
        (
            "in three files, one unknown",
            &[("", sign(&c)), (".1", sign(&b)), (".2", sign(&a))],
            true,
        ),
        ("one key only", &[("", sign(&a))], false),
        (
            "one key twice",
            &[
                ("", sign(&a)),
                (".1", a.sign_legacy(text.as_bytes(), MADE + 1)),
            ],
            false,
        ),
        ("a gap", &[("", sign(&a)), (".2", sign(&b))], false),
        (
            "the second is bad",
            &[("", sign(&a)), (".1", b.sign(b"x", MADE))],
            false,
        ),
    ];
    for (what, files, enough) in rows {
        let (server, host) = host();
        for (suffix, content) in files {
            server.put(&format!("/SHA256SUMS.minisig{suffix}"), content.as_str());
        }
        let run = host.run(&["update"]);
        assert_eq!(run.code, Some(i32::from(!enough)), "{what}: {run:?}");
        assert_eq!(host.path("srv/target/app.raw").exists(), enough, "{what}");
        if enough {
            server.take_log();
            host.run(&["check-new"]).prints("");
            assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"], "{what}");
        }
    }
    let (server, host) = host();
    server.put("/SHA256SUMS.minisig", sign(&a));
    host.run(&["update"])
        .fails()
        .says("it is signed by 1 of the trusted keys (0101010101010101), but 2 must have signed");
    host.write("etc/b.pub", &a.public());
    host.run(&["update"])
        .fails()
        .says("2 keys must have signed, but only 1 distinct ones are in 'ROOT/etc/a.pub', ");
}

#[test]
fn openpgp_signatures_are_counted_and_keyrings_named_just_so() {
    let server = Server::new();
    server.publish(&[ONE]);
    let text = manifest(&[ONE]);
    let both = [signed(&ALICE, &text), signed(&MALLORY, &text)].concat();
    let mut host = Host::new();
    host.app(
        &server,
        "Verify=yes\nX-Keys=/etc/ring.pgp\nX-Threshold=2\n",
        "",
    );
    host.write("etc/x", "");
    let ring = |keys: &[&pgp::composed::SignedSecretKey]| {
        std::fs::write(host.path("etc/ring.pgp"), keyring(keys)).expect("written");
    };
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &text));
    ring(&[&ALICE]);
    host.run(&["update"])
        .fails()
        .says("2 keys must have signed, but only 1 distinct ones are in 'ROOT/etc/ring.pgp'");
    ring(&[&ALICE, &MALLORY]);
    host.run(&["update"])
        .fails()
        .says("it is signed by 1 keys, but 2 must have signed");
    server.put(
        "/SHA256SUMS.gpg",
        [signed(&ALICE, &text), signed(&ALICE, &text)].concat(),
    );
    host.run(&["update"]).fails().says("it is signed by 1 keys");
    server.put("/SHA256SUMS.gpg", both);
    host.update();
    // What the environment names is the only keyring, as ever.
    let other = host.path("other.pgp");
    std::fs::write(&other, keyring(&[&ALICE])).expect("written");
    host.set("SYSTEMD_OPENPGP_KEYRING", other.display().to_string());
    host.run(&["list"]).fails();
}

#[test]
fn a_manifest_older_than_max_age_is_refused() {
    let (server, mut host, pair) = trusting("X-MaxAge=30d\n");
    let now = jiff::Timestamp::now().as_second();
    let day = 86_400;
    publish(&server, &[ONE], &[&pair], now - 29 * day);
    host.update();
    publish(&server, &[ONE, TWO], &[&pair], now - 31 * day);
    // Not of the memory: of the age alone.
    std::fs::remove_dir_all(host.path("var/lib/sysupdate")).ok();
    for verb in ["list", "check-new", "update"] {
        host.run(&[verb])
            .fails()
            .says("it was signed on 20")
            .says("and more than 30 days old is not allowed")
            .says("hint: the server may be showing an old manifest");
    }
    // A comment of one's own has no time.
    let text = manifest(&[ONE, TWO]);
    server.put(
        "/SHA256SUMS.minisig",
        pair.comment(text.as_bytes(), "release"),
    );
    server.put("/SHA256SUMS", format!("{text}{}", manifest(&[("x", "x")])));
    server.put("/SHA256SUMS", text);
    std::fs::remove_dir_all(host.path("var/cache")).ok();
    host.run(&["list"])
        .fails()
        .says("its signature does not say when it was made");
    host.set("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS", "0");
    host.run(&["list"]).succeeds().says("told to ignore this");
    // Nothing is signed, so nothing has an age; the run says that it is unsigned.
    host.run(&["--verify=no", "list"])
        .succeeds()
        .says("unsigned");
}

#[test]
fn two_components_with_the_same_manifest_and_different_keys_are_judged_apart() {
    let (server, host, pair) = trusting("");
    publish(&server, &[ONE, ("two_1.raw", "x")], &[&pair], MADE);
    let second = app(
        &server.base,
        "Verify=yes\nX-Signature=minisign\nX-Keys=/etc/b.pub\n",
        "",
    );
    host.write("etc/b.pub", &Pair::new(2).public());
    host.write(
        "etc/sysupdate.d/20-two.transfer",
        &second.replace("app", "two"),
    );
    host.run(&["update"])
        .fails()
        .says("trusted is 0202020202020202");
    assert_eq!(host.tree("srv"), [""; 0]);
}

#[test]
fn a_manifest_and_a_signature_that_were_replaced_in_between_are_fetched_again() {
    let (server, host, pair) = trusting("");
    // The first answer is the old manifest, every later one the new; the signature is the new one already.
    publish(&server, &[ONE, TWO], &[&pair], MADE);
    server.put_once("/SHA256SUMS", manifest(&[ONE]));
    host.run(&["check-new"]).succeeds().prints("2\n");
    let expected = [
        "GET /SHA256SUMS 200",
        "GET /SHA256SUMS.minisig 200",
        "GET /SHA256SUMS 200",
        "GET /SHA256SUMS.minisig 200",
    ];
    assert_eq!(server.take_requests(), expected);
    // Once: a pair that stays apart is refused.
    publish(&server, &[ONE, TWO], &[&Pair::new(2)], MADE);
    server.put("/SHA256SUMS.minisig", pair.sign(b"x", MADE));
    std::fs::remove_dir_all(host.path("var/cache")).expect("removed");
    host.run(&["check-new"]).fails();
    assert_eq!(server.take_requests(), expected);
}

/// What lies in a root that is being put together must not reach out of it.
#[test]
fn a_key_that_is_a_link_out_of_the_root_is_none() {
    let (server, host, pair) = trusting("");
    publish(&server, &[ONE], &[&pair], MADE);
    let outside = tempfile::tempdir().expect("a directory");
    let key = outside.path().join("key.pub");
    std::fs::write(&key, pair.public()).expect("written");
    host.remove("etc/sysupdate/keys/default.pub");
    for text in [
        key.display().to_string(),
        format!("../../../../../../../../{}", key.display()),
    ] {
        host.link("etc/sysupdate/keys/default.pub", &text);
        host.run(&["check-new"]).fails().says("no public key found");
    }
    // Inside of it, links are as good as files.
    host.write("keys/own.pub", &pair.public());
    host.link("etc/sysupdate/keys/default.pub", "/keys/own.pub");
    host.run(&["check-new"]).succeeds().prints("1\n");
}
