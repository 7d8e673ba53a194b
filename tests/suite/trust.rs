//! What a server or an earlier run said is not believed for longer than it deserves.

use std::fs;

use super::harness::{Host, app};
use super::server::{Answer, Server, manifest, sha256};
use super::signatures::{ALICE, signed, trusting};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const EVIL_1: (&str, &str) = ("app_1.raw", "evil");
const EVIL_2: (&str, &str) = ("app_2.raw", "evil");
const PENDING_1: &str = "srv/target/.sysupdate.pending.app_1.raw";
const FUTURE: &str = "Thu, 01 Jan 2099 00:00:00 GMT";

// ── the manifest cache ──

/// The second run sees the second manifest, although the server calls both by the same headers.
#[track_caller]
fn is_seen_anew(headers: &[(&'static str, &str)]) {
    let (server, host) = (Server::new(), Host::new());
    host.app(&server, "", "");
    for (files, newest) in [(&[ONE][..], "1\n"), (&[ONE, TWO], "2\n")] {
        server.publish(files);
        let mut answer = Answer::ok(manifest(files));
        for (name, value) in headers {
            answer = answer.header(name, *value);
        }
        server.answer("/SHA256SUMS", answer);
        server.take_log();
        host.run(&["check-new"]).succeeds().prints(newest);
        let log = server.take_log();
        assert_eq!(
            (&log[0].if_none_match, &log[0].if_modified_since),
            (&None, &None),
            "{headers:?}: {log:?}"
        );
    }
}

#[test]
fn what_is_no_entity_tag_makes_no_question_conditional() {
    for tag in ["*", "W/*", "bare", "\"a\", \"b\"", "\"", "'x'"] {
        is_seen_anew(&[("ETag", tag)]);
    }
}

#[test]
fn a_date_to_come_makes_no_question_conditional() {
    is_seen_anew(&[("Last-Modified", FUTURE)]);
    // The server's clock agrees.
    let later = "Thu, 01 Jan 2099 01:00:00 GMT";
    is_seen_anew(&[("Last-Modified", FUTURE), ("Date", later)]);
    is_seen_anew(&[("Last-Modified", FUTURE), ("Date", later), ("ETag", "*")]);
}

#[test]
fn a_cached_star_is_not_asked_about() {
    let (server, host) = (Server::new(), Host::new());
    host.app(&server, "", "");
    server.publish(&[ONE]);
    host.run(&["check-new"]).succeeds().prints("1\n");
    let tag = &sha256(manifest(&[ONE]).as_bytes())[..16];
    let mut changed = 0;
    for entry in fs::read_dir(host.path("var/cache/sysupdate/manifests")).expect("the cache") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let poisoned = text.replace(&format!("\"\\\"{tag}\\\"\""), "\"*\"");
        changed += usize::from(poisoned != text);
        fs::write(path, poisoned).expect("written");
    }
    assert_eq!(changed, 1, "the entry spells its tag as this test expects");
    server.publish(&[ONE, TWO]);
    let answer = Answer::ok(manifest(&[ONE, TWO])).header("ETag", "*");
    server.answer("/SHA256SUMS", answer);
    host.run(&["check-new"]).succeeds().prints("2\n");
}

// ── what was acquired without authentication ──

/// What the run that acquired a file noted at it.
#[track_caller]
fn provenance(host: &Host, inner: &str) -> String {
    let mut text = [0; 256];
    let length = rustix::fs::getxattr(host.path(inner), "user.sysupdate.provenance", &mut text)
        .expect(
            "the file system of the temporary directory must keep user extended attributes, and the program must have \
             set one: choose another TMPDIR",
        );
    String::from_utf8(text[..length].to_vec()).expect("UTF-8")
}

#[test]
fn hostile_bytes_of_an_unverified_acquisition_are_replaced_by_the_publishers() {
    let (server, host) = trusting();
    server.publish(&[EVIL_1]);
    host.run(&["--verify=no", "acquire"]).succeeds();
    assert_eq!(host.read(PENDING_1), "evil");
    assert_eq!(
        provenance(&host, PENDING_1),
        format!("{} none", sha256(b"evil"))
    );
    server.publish(&[ONE]);
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    server.take_log();
    host.update();
    let requests = server.take_requests();
    assert!(
        requests.contains(&"GET /app_1.raw 200".to_owned()),
        "{requests:?}"
    );
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
}

#[test]
fn other_bytes_than_the_manifest_names_are_fetched_anew_without_verification_too() {
    // What the server names now is another thing than it named before: somebody has to say that this is right.
    let server = Server::new();
    server.publish(&[EVIL_1]);
    let host = Host::with_app(&server);
    host.run(&["acquire"]).succeeds();
    provenance(&host, PENDING_1);
    server.publish(&[ONE]);
    host.update().says("'app_1.raw' has the checksum");
    assert!(!host.path("srv/target/app.raw").exists());
    host.run(&["--accept-manifest", "update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

#[test]
fn an_unverified_acquisition_is_installed_by_no_verifying_run() {
    let (server, host) = trusting();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    host.update();
    server.publish(&[ONE, EVIL_2]);
    host.run(&["--verify=no", "acquire"]).succeeds();
    let pending = "srv/target/.sysupdate.pending.app_2.raw";
    assert_eq!(
        provenance(&host, pending),
        format!("{} none", sha256(b"evil"))
    );
    // The publisher knows of no version 2.
    server.publish(&[ONE]);
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    for arguments in [
        &["--offline", "update"][..],
        &["--offline", "update", "2"],
        &["update", "2"],
        &["update"],
        &["update"],
    ] {
        host.run(arguments);
        assert_eq!(host.read("srv/target/app.raw"), "one", "{arguments:?}");
        assert!(!host.path("srv/target/app_2.raw").exists(), "{arguments:?}");
    }
}

#[test]
fn the_right_bytes_of_an_unverified_acquisition_are_not_fetched_twice() {
    let (server, host) = trusting();
    host.run(&["--verify=no", "acquire"]).succeeds();
    server.put("/SHA256SUMS.gpg", signed(&ALICE, &manifest(&[ONE])));
    server.take_log();
    host.update();
    let requests = server.take_requests();
    assert!(
        !requests.contains(&"GET /app_1.raw 200".to_owned()),
        "{requests:?}"
    );
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

// ── names that a manifest makes ──

/// A host whose target has this pattern, and further settings.
fn naming(server: &Server, pattern: &str, target: &str) -> Host {
    let host = Host::new();
    let text = app(&server.base, "", target).replace(
        "Path=/srv/target\nMatchPattern=app_@v.raw",
        &format!("Path=/srv/target\nMatchPattern={pattern}"),
    );
    host.write("etc/sysupdate.d/10-app.transfer", &text);
    host
}

#[test]
fn a_version_that_makes_a_mark_of_ours_out_of_a_name_is_refused() {
    for version in [
        ".sysupdate.pending.7",
        ".sysupdate.partial.7",
        ".sysupdate.pending..sysupdate.partial.7",
    ] {
        let server = Server::new();
        let file = format!("app_{version}.raw");
        server.publish(&[(&file, "hostile")]);
        let host = naming(&server, "@v.raw", "");
        for arguments in [
            &["update"][..],
            &["update"],
            &["update", version],
            &["acquire"],
        ] {
            host.run(arguments).fails().says("cannot name version");
            assert_eq!(host.tree("srv"), [""; 0], "{version} {arguments:?}");
        }
        // Beside what is installed, the link included.
        server.publish(&[("app_1.raw", "one")]);
        host.update();
        server.publish(&[("app_1.raw", "one"), (&file, "hostile")]);
        for _ in 0..2 {
            host.run(&["update", version])
                .fails()
                .says("cannot name version");
            host.run(&["update"]);
            let stands = ["1.raw 0644", "app.raw -> 1.raw"];
            assert_eq!(host.tree("srv/target"), stands, "{version}");
        }
    }
}

#[test]
fn a_version_that_takes_the_name_of_the_link_is_refused() {
    let server = Server::new();
    server.publish(&[("app_a.raw", "one")]);
    let host = naming(&server, "@v.raw", "");
    host.update();
    let stands = ["a.raw 0644", "app.raw -> a.raw"];
    assert_eq!(host.tree("srv/target"), stands);
    server.publish(&[("app_a.raw", "one"), ("app_app.raw", "hostile")]);
    for _ in 0..2 {
        host.run(&["update"])
            .fails()
            .says("cannot name version 'app'");
        assert_eq!(host.tree("srv/target"), stands);
        assert_eq!(host.read("srv/target/app.raw"), "one");
    }
}

#[test]
fn a_name_that_the_target_does_not_find_again_is_refused() {
    // Read back, the version ends where the number of tries seems to begin.
    for (pattern, settings, version) in [
        ("app_@v+@l.raw", "TriesLeft=3\n", "1+2"),
        ("app_@v-@l.raw", "TriesLeft=3\n", "1-2"),
        ("app_@v-@l-@d.raw", "TriesLeft=3\nTriesDone=0\n", "1-2-3"),
        ("@v/f", "", "."),
    ] {
        let server = Server::new();
        let file = format!("app_{version}.raw");
        server.publish(&[(&file, "hostile")]);
        let host = naming(&server, pattern, settings);
        for arguments in [&["update"][..], &["update"], &["acquire"]] {
            host.run(arguments).fails().says("cannot name version");
            assert_eq!(host.tree("srv"), [""; 0], "{pattern} {arguments:?}");
        }
    }
    // One that it does is installed, once.
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = naming(&server, "app_@v+@l.raw", "TriesLeft=3\n");
    host.update();
    assert_eq!(host.read("srv/target/app_1+3.raw"), "one");
    host.update().says("No update needed.");
}
