//! The attacks that The Update Framework's specification lists (section 1.5.2), one test each.
//!
//! The server, the way there, or some of the keys are the attacker's. What a manifest that nobody signs cannot give stands in
//! the README ("Security").

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use sysupdate::definition::transfer::{
    Authentication, Keys, Located, Origin, UrlSource, Verification,
};
use sysupdate::event::Silent;
use sysupdate::fetch::{HttpSettings, Transport};
use sysupdate::inventory::remote::{Demand, Freshness, Manifests, Policy};
use sysupdate::pattern::{Pattern, Patterns};
use sysupdate::root::Root;
use sysupdate::verify::memory::Acceptance;

use super::harness::Host;
use super::minisign::{MADE, publish, trusting};
use super::minisigner::Pair;
use super::server::{Answer, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const EVIL: (&str, &str) = ("app_9.raw", "evil");

/// A host that is on version 1 of a publisher whose key it trusts.
fn updated(settings: &str) -> (Server, Host, Pair) {
    let (server, host, pair) = trusting(settings);
    publish(&server, &[ONE], &[&pair], MADE);
    host.update();
    (server, host, pair)
}

/// No verb takes what is offered, and version 1 stands.
#[track_caller]
fn nothing_is_taken(host: &Host, message: &str) {
    for verb in ["check-new", "update", "acquire"] {
        host.run(&[verb]).fails().says(message);
    }
    stands(host);
}

#[track_caller]
fn stands(host: &Host) {
    let tree = host.tree("srv/target");
    assert_eq!(tree, ["app.raw -> app_1.raw", "app_1.raw 0644"]);
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

#[test]
fn arbitrary_installation() {
    let (server, host, pair) = updated("");
    // A manifest of one's own, without and with a signature of one's own.
    server.publish(&[ONE, EVIL]);
    nothing_is_taken(&host, "cannot fetch the minisign signature");
    publish(&server, &[ONE, EVIL], &[&Pair::new(66)], MADE + 60);
    nothing_is_taken(&host, "cannot trust the manifest");
    // The publisher's manifest, with a file of one's own.
    publish(&server, &[ONE, TWO], &[&pair], MADE + 60);
    server.put("/app_2.raw", "evil");
    for verb in ["update", "acquire"] {
        let run = host.run(&[verb]).fails();
        assert!(
            run.stderr.contains("does not match expected checksum"),
            "{run:?}"
        );
    }
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert!(!host.path("srv/target/app_2.raw").exists());
}

#[test]
fn endless_data() {
    let (server, host, pair) = updated("");
    let piece = vec![b'a'; 1 << 16];
    let rows: [(&str, Answer, &str); 5] = [
        (
            "/SHA256SUMS",
            Answer::ok(piece.clone()).endless(),
            "larger than 64 MiB",
        ),
        ("/SHA256SUMS", Answer::endless_head(), "Transfer failed: "),
        (
            "/SHA256SUMS.minisig",
            Answer::ok(piece).endless(),
            "File overly large",
        ),
        (
            "/SHA256SUMS.minisig",
            Answer::endless_head(),
            "Transfer failed: ",
        ),
        ("/app_2.raw", Answer::endless_head(), "Transfer failed: "),
    ];
    for (path, answer, message) in rows {
        publish(&server, &[ONE, TWO], &[&pair], MADE + 60);
        server.answer(path, answer);
        std::fs::remove_dir_all(host.path("var/cache")).ok();
        let started = Instant::now();
        let run = host.run(&["update"]).fails();
        assert!(run.stderr.contains(message), "{path}: {run:?}");
        assert!(started.elapsed() < Duration::from_secs(30), "{path}");
        assert_eq!(host.read("srv/target/app.raw"), "one", "{path}");
        host.run(&["vacuum"]).succeeds();
        stands(&host);
    }
}

/// Asks a source as a run at that time would.
fn ask(
    transport: &Transport,
    root: &Root,
    now: Timestamp,
    server: &Server,
    (verification, max_age): (Verification, Option<Duration>),
) -> Result<usize, String> {
    let policy = Policy {
        keyring: None,
        freshness: Freshness::Enforced,
        acceptance: Acceptance::Never,
        manifest_timeout: Duration::from_secs(60),
        now,
        zone: || TimeZone::UTC,
    };
    let manifests = Manifests::new(transport, root, policy, &Silent);
    let pattern: Pattern = "app_@v.raw".parse().expect("a pattern");
    let source = UrlSource {
        base: server.base.clone(),
        manifest: "SHA256SUMS".to_owned(),
        patterns: Patterns::from(pattern),
        access: sysupdate::definition::transfer::SourceAccess::default(),
    };
    let authentication = Authentication {
        scheme: Verification::Minisign,
        keys: Keys::Usual(vec!["/key.pub".into()]),
        threshold: 1,
        max_age: max_age.map(|value| Located {
            value,
            origin: Origin {
                file: "/x".into(),
                line: 1,
            },
        }),
    };
    let demand = Demand {
        verification,
        authentication: &authentication,
    };
    let listing = manifests.list(&source, demand);
    listing
        .map(|listing| listing.instances.len())
        .map_err(|error| sysupdate::event::chain(&error))
}

#[test]
fn slow_retrieval() {
    // The window is a minute in the program; a shorter one shows the same.
    let window = Duration::from_millis(400);
    let server = Server::new();
    server.answer("/SHA256SUMS", Answer::ok("a".repeat(10_000)).dripping());
    let transport = Transport::new(HttpSettings {
        stall_window: window,
        stall_rate: 1024,
        ..HttpSettings::default()
    });
    let directory = tempfile::tempdir().expect("a directory");
    let root = Root::open(directory.path()).expect("it opens");
    let started = Instant::now();
    let how = (Verification::Skip, None);
    let text = ask(&transport, &root, Timestamp::now(), &server, how).expect_err("it never ends");
    assert!(text.contains("stalled: fewer than"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(20), "{text}");
}

/// Whoever can set a host's clock back could show it an old manifest for ever.
#[test]
fn indefinite_freeze_by_the_clock() {
    let (server, pair) = (Server::new(), Pair::new(1));
    publish(&server, &[ONE], &[&pair], MADE);
    let transport = Transport::new(HttpSettings::default());
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("key.pub"), pair.public()).expect("written");
    let root = Root::open(directory.path()).expect("it opens");
    let week = Duration::from_secs(7 * 86_400);
    let at = |days: i64| {
        let now = Timestamp::from_second(MADE + days * 86_400).expect("a time");
        ask(
            &transport,
            &root,
            now,
            &server,
            (Verification::Minisign, Some(week)),
        )
    };
    assert_eq!(at(1), Ok(1));
    publish(&server, &[ONE, TWO], &[&pair], MADE + 86_400);
    assert_eq!(at(8), Ok(2), "it is seen on the eighth day");
    // Back to the third day: the manifest of the first is not the right one, but would be young enough.
    publish(&server, &[ONE], &[&pair], MADE);
    let refused = at(3).expect_err("old");
    assert!(
        refused.contains("more than 7 days old is not allowed"),
        "{refused}"
    );
}

#[test]
fn indefinite_freeze() {
    // A server shows the same manifest for ever. Its age is that of its signature, or it says itself when it ends.
    let now = Timestamp::now().as_second();
    let (server, host, pair) = trusting("X-MaxAge=1w\n");
    publish(&server, &[ONE], &[&pair], now - 6 * 86_400);
    host.update();
    server.publish(&[ONE]);
    server.put(
        "/SHA256SUMS.minisig",
        pair.sign(manifest(&[ONE]).as_bytes(), now - 8 * 86_400),
    );
    std::fs::remove_dir_all(host.path("var/cache")).expect("removed");
    nothing_is_taken(&host, "and more than 7 days old is not allowed");
    // The publisher signs the same text anew, and it is fresh again although the server calls it unchanged.
    publish(&server, &[ONE], &[&pair], now);
    host.run(&["check-new"])
        .prints("")
        .keeps_quiet_about("allowed");

    let (server, host, pair) = updated("");
    let text = format!(
        "{}{}",
        manifest(&[ONE]),
        manifest(&[("BEST-BEFORE-2020-01-01", "")])
    );
    server.put("/SHA256SUMS", text.as_str());
    server.put("/SHA256SUMS.minisig", pair.sign(text.as_bytes(), MADE + 60));
    nothing_is_taken(&host, "Best before marker indicates out-of-date file list");
}

#[test]
fn rollback() {
    let (server, host, pair) = trusting("");
    publish(&server, &[("app_0.raw", "zero")], &[&pair], MADE - 60);
    host.update();
    publish(&server, &[("app_0.raw", "zero"), ONE], &[&pair], MADE);
    host.update();
    // Genuine, but old.
    publish(&server, &[("app_0.raw", "zero")], &[&pair], MADE - 60);
    for verb in ["check-new", "update", "acquire"] {
        host.run(&[verb])
            .fails()
            .says("but one that was signed on 2026-10-01T00:00:00Z was seen here");
    }
    // Signed again: what was the newest is gone.
    publish(&server, &[("app_0.raw", "zero")], &[&pair], MADE + 60);
    host.run(&["update"])
        .fails()
        .says("the newest version in it is '0', but '1' was seen here");
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

#[test]
fn fast_forward() {
    let (server, host, stolen) = updated("");
    // With a stolen key the time of the signature cannot be put into the future, to make all later manifests old.
    publish(&server, &[ONE, EVIL], &[&stolen], 99_999_999_999);
    nothing_is_taken(&host, "is from the future");
    // A version can be raised beyond measure. The publisher's way back is a new key; the operator says so once.
    publish(
        &server,
        &[ONE, ("app_99999.raw", "evil")],
        &[&stolen],
        MADE + 60,
    );
    host.run(&["check-new"]).succeeds().prints("99999\n");
    let new = Pair::new(2);
    publish(&server, &[ONE, TWO], &[&new], MADE + 120);
    nothing_is_taken(&host, "it is signed by 0202020202020202");
    host.write("etc/sysupdate/keys/default.pub", &new.public());
    nothing_is_taken(
        &host,
        "the newest version in it is '2', but '99999' was seen here",
    );
    host.run(&["--accept-manifest", "update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "two");
    // The stolen key is of no use any more, not even for what it has signed before.
    publish(&server, &[ONE, EVIL], &[&stolen], MADE + 180);
    host.run(&["update"])
        .fails()
        .says("it is signed by 0101010101010101");
}

#[test]
fn mix_and_match() {
    let (server, host, pair) = updated("");
    // The manifest of one day with the signature of another.
    let (old, new) = (manifest(&[ONE]), manifest(&[ONE, TWO]));
    server.publish(&[ONE, TWO]);
    server.put("/SHA256SUMS.minisig", pair.sign(old.as_bytes(), MADE));
    nothing_is_taken(&host, "the signature by key 0101010101010101 is not good");
    // The comment of one signature with another signature.
    let (first, second) = (
        pair.sign(old.as_bytes(), MADE),
        pair.sign(new.as_bytes(), MADE + 60),
    );
    let mixed: Vec<&str> = first
        .lines()
        .take(2)
        .chain(second.lines().skip(2))
        .collect();
    server.put("/SHA256SUMS", old.as_str());
    server.put("/SHA256SUMS.minisig", mixed.join("\n"));
    std::fs::remove_dir_all(host.path("var/cache")).expect("removed");
    nothing_is_taken(&host, "the signature by key 0101010101010101 is not good");
    // The files of two days that were never published together: each is held to the manifest.
    publish(&server, &[ONE, TWO], &[&pair], MADE + 60);
    server.put("/app_2.raw", "one");
    host.run(&["update"])
        .fails()
        .says("does not match expected checksum");
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

#[test]
fn key_compromise() {
    let keys = "X-Keys=/etc/a.pub /etc/b.pub /etc/c.pub\nX-Threshold=2\n";
    let [a, b, c] = [1, 2, 3].map(Pair::new);
    let (server, host, _) = trusting(keys);
    for (name, pair) in [("a", &a), ("b", &b), ("c", &c)] {
        host.write(&format!("etc/{name}.pub"), &pair.public());
    }
    publish(&server, &[ONE], &[&a, &b], MADE);
    host.update();
    // One key is stolen: it signs alone, or twice, or with one that nobody trusts.
    let stranger = Pair::new(66);
    for pairs in [&[&a][..], &[&a, &a], &[&a, &stranger]] {
        publish(&server, &[ONE, EVIL], pairs, MADE + 60);
        nothing_is_taken(&host, "but 2 must have signed");
    }
    // It cannot make an old manifest look new: the time is that of the second key.
    let text = manifest(&[ONE, TWO]);
    publish(&server, &[ONE, TWO], &[&b, &c], MADE + 60);
    host.run(&["check-new"]).succeeds().prints("2\n");
    server.publish(&[ONE]);
    let old = manifest(&[ONE]);
    let signatures = [
        a.sign(old.as_bytes(), MADE + 600),
        b.sign(old.as_bytes(), MADE),
    ];
    server.put("/SHA256SUMS.minisig", signatures.concat());
    nothing_is_taken(&host, "it was signed on 2026-10-01T00:00:00Z");
    // The two others go on without it.
    server.publish(&[ONE, TWO]);
    let signatures = [
        b.sign(text.as_bytes(), MADE + 60),
        c.sign(text.as_bytes(), MADE + 60),
    ];
    server.put("/SHA256SUMS.minisig", signatures.concat());
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn wrong_component() {
    let (server, host, pair) = updated("");
    // What the same publisher has signed for something else is no offer, and what was there is missed.
    publish(&server, &[("other_9.raw", "other")], &[&pair], MADE + 60);
    nothing_is_taken(&host, "it offers no version, but '1' was seen here");
    // On a new host it is nothing.
    let fresh = Host::new();
    fresh.app(&server, "Verify=yes\nX-Signature=minisign\n", "");
    fresh.write("etc/sysupdate/keys/default.pub", &pair.public());
    fresh.run(&["check-new"]).prints("");
    fresh.update();
    assert_eq!(fresh.tree("srv"), [""; 0]);
}

/// What a mirror serves instead of what was published, and what is said of it.
struct Malice {
    name: &'static str,
    /// Whether the source itself still has the manifest, so that only the payload comes from the mirror.
    is_of_the_payload: bool,
    serve: fn(&Server, &Pair),
    says: &'static str,
}

const MALICE: &[Malice] = &[
    Malice {
        name: "other bytes",
        is_of_the_payload: true,
        serve: |mirror, _| mirror.put("/app_2.raw", "evil"),
        says: "/app_2.raw' is not what the manifest says.",
    },
    Malice {
        name: "another part than was asked for, and one that nobody asked for",
        is_of_the_payload: true,
        serve: |mirror, _| {
            let part = Answer::status(206).header("Content-Range", "bytes 1-3/4");
            mirror.answer("/app_2.raw", part);
        },
        says: "/app_2.raw failed with code 206",
    },
    Malice {
        name: "a redirect to a file of the host",
        is_of_the_payload: true,
        serve: |mirror, _| {
            let away = Answer::redirect(302, "file:///etc/passwd");
            mirror.answer("/app_2.raw", away);
        },
        says: "file:///etc/passwd",
    },
    Malice {
        name: "compressed bytes that the manifest does not mean",
        is_of_the_payload: true,
        serve: |mirror, _| {
            let packed = zstd::encode_all(&b"evil"[..], 1).expect("packed");
            let answer = Answer::ok(packed).header("Content-Encoding", "zstd");
            mirror.answer("/app_2.raw", answer);
        },
        says: "/app_2.raw' is not what the manifest says.",
    },
    Malice {
        name: "another manifest",
        is_of_the_payload: false,
        serve: |mirror, _| mirror.put("/SHA256SUMS", manifest(&[ONE, EVIL])),
        says: "the signature by key 0101010101010101 is not good",
    },
    Malice {
        name: "another manifest without signature",
        is_of_the_payload: false,
        serve: |mirror, _| mirror.publish(&[ONE, EVIL]),
        says: "cannot fetch the minisign signature of the manifest",
    },
    Malice {
        name: "another manifest with another's signature",
        is_of_the_payload: false,
        serve: |mirror, _| publish(mirror, &[ONE, EVIL], &[&Pair::new(66)], MADE + 600),
        says: "it is signed by 4242424242424242",
    },
    Malice {
        name: "another signature",
        is_of_the_payload: false,
        serve: |mirror, pair| {
            let other = pair.sign(manifest(&[ONE]).as_bytes(), MADE + 600);
            mirror.put("/SHA256SUMS.minisig", other);
        },
        says: "the signature by key 0101010101010101 is not good",
    },
    Malice {
        name: "a manifest without end",
        is_of_the_payload: false,
        serve: |mirror, _| mirror.answer("/SHA256SUMS", Answer::ok(vec![b'a'; 1 << 16]).endless()),
        says: "larger than 64 MiB",
    },
    Malice {
        name: "a signature without end",
        is_of_the_payload: false,
        serve: |mirror, _| {
            let answer = Answer::ok(vec![b'a'; 1 << 16]).endless();
            mirror.answer("/SHA256SUMS.minisig", answer);
        },
        says: "File overly large",
    },
    Malice {
        name: "an older manifest, with its genuine signature",
        is_of_the_payload: false,
        serve: |mirror, pair| publish(mirror, &[ONE], &[pair], MADE - 60),
        says: "it was signed on 2026-09-30T23:59:00Z, but one that was signed on 2026-10-01T00:01:00Z was seen here",
    },
    Malice {
        name: "a manifest that is none",
        is_of_the_payload: false,
        serve: |mirror, pair| {
            let page = "<!doctype html>\n";
            mirror.put("/SHA256SUMS", page);
            let signature = pair.sign(page.as_bytes(), MADE + 600);
            mirror.put("/SHA256SUMS.minisig", signature);
        },
        says: "Corrupt manifest at line 1",
    },
];

#[test]
fn malicious_mirror() {
    for malice in MALICE {
        for has_honest_mirror in [false, true] {
            let row = format!("{}, {has_honest_mirror}", malice.name);
            let (source, host, pair) = updated("");
            let (evil, honest) = (Server::new(), Server::new());
            for server in [&source, &evil, &honest] {
                publish(server, &[ONE, TWO], &[&pair], MADE + 60);
            }
            host.run(&["check-new"]).succeeds().prints("2\n");
            std::fs::remove_dir_all(host.path("var/cache")).expect("removed");
            (malice.serve)(&evil, &pair);
            source.answer("/app_2.raw", Answer::status(503));
            if !malice.is_of_the_payload {
                source.answer("/SHA256SUMS", Answer::status(503));
            }
            let mut mirrors = vec![evil.base.as_str()];
            mirrors.extend(has_honest_mirror.then_some(honest.base.as_str()));
            host.write(
                "etc/sysupdate.d/10-app.transfer.d/mirrors.conf",
                &format!("[Source]\nX-Mirrors={}\n", mirrors.join(" ")),
            );
            let started = Instant::now();
            let run = host.run(&["update"]);
            assert!(started.elapsed() < Duration::from_secs(60), "{row}");
            assert!(
                run.stderr.contains(malice.says) && run.stderr.contains(&evil.base),
                "{row}: {run:#?}"
            );
            if has_honest_mirror {
                assert_eq!(run.code, Some(0), "{row}: {run:#?}");
                assert_eq!(host.read("srv/target/app.raw"), "two", "{row}");
                continue;
            }
            assert_eq!(
                (run.code, run.stdout.as_str()),
                (Some(1), ""),
                "{row}: {run:#?}"
            );
            let mut tree = host.tree("srv/target");
            // What has come of it has no name that means anything.
            tree.retain(|line| line != ".sysupdate.partial.app_2.raw 0600");
            assert_eq!(tree, ["app.raw -> app_1.raw", "app_1.raw 0644"], "{row}");
            assert_eq!(host.read("srv/target/app.raw"), "one", "{row}");
            // The source is back.
            publish(&source, &[ONE, TWO], &[&pair], MADE + 60);
            host.update();
            assert_eq!(host.read("srv/target/app.raw"), "two", "{row}");
        }
    }
}

/// A mirror of a source that nobody signs is trusted as the source is; what it shows is held against what the source has
/// shown.
#[test]
fn malicious_mirror_of_an_unsigned_source() {
    let server = Server::new();
    server.publish(&[ONE, TWO]);
    let host = Host::with_app(&server);
    host.run(&["check-new"]).succeeds();
    let evil = Server::new();
    evil.publish(&[ONE, ("app_2.raw", "evil")]);
    host.write(
        "etc/sysupdate.d/10-app.transfer.d/mirrors.conf",
        &format!("[Source]\nX-Mirrors={}\n", evil.base),
    );
    server.answer("/SHA256SUMS", Answer::status(503));
    host.update()
        .says("failed with code 503. Trying the next mirror...")
        .says("'app_2.raw' has the checksum");
    assert_eq!(host.read("srv/target/app.raw"), "one");
}
