//! What is asked of servers, and what their answers come to.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use super::harness::{Host, app};
use super::server::{Answer, Exchange, MODIFIED, Server, manifest, sha256};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");

fn serving(files: &[(&str, &str)]) -> (Server, Host) {
    let server = Server::new();
    server.publish(files);
    let host = Host::with_app(&server);
    (server, host)
}

// ── conditional requests ──

#[test]
fn an_unchanged_manifest_costs_one_request_that_is_answered_304() {
    let (server, host) = serving(&[ONE]);
    host.run(&["check-new"]).succeeds();
    let first = server.take_log();
    assert_eq!(
        (first.len(), first[0].status, &first[0].if_none_match),
        (1, 200, &None)
    );
    for verb in ["check-new", "list"] {
        host.run(&[verb]).succeeds();
        let log = server.take_log();
        let [
            Exchange {
                method,
                path,
                if_none_match: Some(_),
                status: 304,
                ..
            },
        ] = &log[..]
        else {
            panic!("{log:?}")
        };
        assert_eq!((method.as_str(), path.as_str()), ("GET", "/SHA256SUMS"));
    }
    host.run(&["check-new"]).succeeds().prints("1\n");
}

#[test]
fn once_a_day_an_unchanged_manifest_is_fetched_in_full() {
    let (server, host) = serving(&[ONE]);
    host.run(&["check-new"]).succeeds();
    let cache = "var/cache/sysupdate/manifests";
    let names = host.tree(cache);
    let name = names[0].split(' ').next().expect("a name");
    let entry = format!("{cache}/{name}");
    let text = host.read(&entry);
    let (_, rest) = text.split_once("\"fetched\":").expect("a time");
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let fetched: i64 = rest[..digits].parse().expect("seconds");
    // One hour less than a day ago, one more, and one to come: a clock that was set back.
    for (ago, status) in [(23, 304), (25, 200), (-1, 200)] {
        let then = fetched - ago * 3600;
        host.write(&entry, &text.replace(&rest[..digits], &then.to_string()));
        server.take_log();
        host.run(&["check-new"]).succeeds();
        let log = server.take_log();
        assert_eq!((log.len(), log[0].status), (1, status), "{ago} hours ago");
    }
}

#[test]
fn a_changed_manifest_is_fetched_again_at_once() {
    let (server, host) = serving(&[ONE]);
    host.run(&["check-new"]).succeeds().prints("1\n");
    server.publish(&[ONE, TWO]);
    server.take_log();
    host.run(&["check-new"]).succeeds().prints("2\n");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 200"]);
    host.run(&["check-new"]).succeeds().prints("2\n");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"]);
}

#[test]
fn a_date_is_a_validator_only_when_the_manifest_had_rested_for_a_second() {
    let (server, host) = serving(&[ONE]);
    let serve = |date: &str| {
        let answer = Answer::ok(manifest(&[ONE])).header("Last-Modified", MODIFIED);
        server.answer("/SHA256SUMS", answer.header("Date", date));
    };
    // Within this second it may have changed once more after the answer.
    serve(MODIFIED);
    for _ in 0..2 {
        host.run(&["check-new"]).succeeds();
        let log = server.take_log();
        assert_eq!(
            (log[0].status, &log[0].if_modified_since),
            (200, &None),
            "{log:?}"
        );
    }
    serve("Mon, 23 Nov 2026 06:15:10 GMT");
    host.run(&["check-new"]).succeeds();
    server.take_log();
    host.run(&["check-new"]).succeeds().prints("1\n");
    let log = server.take_log();
    assert_eq!(
        (log[0].status, log[0].if_modified_since.as_deref()),
        (304, Some(MODIFIED))
    );
}

#[test]
fn a_server_without_validators_is_asked_in_full_every_time() {
    let (server, host) = serving(&[ONE]);
    server.answer("/SHA256SUMS", Answer::ok(manifest(&[ONE])));
    for _ in 0..2 {
        host.run(&["check-new"]).succeeds();
        assert_eq!(server.take_requests(), ["GET /SHA256SUMS 200"]);
    }
}

#[test]
fn a_304_that_nobody_asked_for_is_an_error() {
    let (server, host) = serving(&[ONE]);
    server.answer("/SHA256SUMS", Answer::status(304));
    host.run(&["list"]).fails().says("304");
}

#[test]
fn a_damaged_or_unwritable_cache_costs_a_request_and_no_more() {
    let (server, host) = serving(&[ONE]);
    host.run(&["check-new"]).succeeds();
    let entries = fs::read_dir(host.path("var/cache/sysupdate/manifests")).expect("the cache");
    for entry in entries {
        fs::write(entry.expect("an entry").path(), "garbage").expect("written");
    }
    server.take_log();
    host.run(&["check-new"]).succeeds().prints("1\n");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 200"]);

    let (server, host) = serving(&[ONE]);
    host.write("var/cache/sysupdate", "a file in the way");
    for _ in 0..2 {
        host.run(&["check-new"]).succeeds().prints("1\n");
        assert_eq!(server.take_requests(), ["GET /SHA256SUMS 200"]);
    }
}

#[test]
fn two_transfers_over_one_url_share_its_manifest() {
    let server = Server::new();
    server.publish(&[ONE, ("two_1.raw", "1")]);
    let host = Host::with_app(&server);
    let second = app(&server.base, "", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.update();
    let mut requests = server.take_requests();
    requests[1..].sort();
    assert_eq!(
        requests,
        [
            "GET /SHA256SUMS 200",
            "GET /app_1.raw 200",
            "GET /two_1.raw 200"
        ]
    );
    // compat 2, B6.1: another spelling is another URL.
    host.write(
        "etc/sysupdate.d/20-two.transfer",
        &second.replace(&format!("{}/", server.base), &server.base),
    );
    host.run(&["list"]).succeeds();
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"; 2]);
}

// ── answers ──

#[test]
fn redirects_are_followed_and_change_no_other_address() {
    for status in [301, 302, 303, 307, 308] {
        let (server, host) = serving(&[]);
        server.answer(
            "/SHA256SUMS",
            Answer::redirect(status, format!("{}/mirror/sums", server.base)),
        );
        server.put("/mirror/sums", manifest(&[ONE]));
        server.answer("/app_1.raw", Answer::redirect(status, "far/away?token=1"));
        server.put("/far/away?token=1", "one");
        host.update();
        assert_eq!(
            host.tree("srv/target"),
            ["app.raw -> app_1.raw", "app_1.raw 0644"],
            "{status}"
        );
        assert_eq!(host.read("srv/target/app.raw"), "one");
    }
}

#[test]
fn redirects_to_a_file_and_in_a_circle_are_refused() {
    let (server, host) = serving(&[ONE]);
    host.write("precious", "one");
    let precious = format!("file://{}", host.path("precious").display());
    for to in [
        precious.as_str(),
        "ftp://127.0.0.1/x",
        "/app_1.raw",
        "data:,one",
    ] {
        server.answer("/app_1.raw", Answer::redirect(302, to));
        let run = host.run(&["update"]).fails();
        assert!(run.stderr.contains("Transfer failed: "), "{to}: {run:?}");
        assert_eq!(host.tree("srv"), [""; 0], "{to}");
    }
    server.answer("/SHA256SUMS", Answer::redirect(302, precious));
    host.run(&["list"])
        .fails()
        .says("Transfer failed: Unsupported protocol");
}

#[test]
fn an_answer_that_is_no_success_is_told_with_its_code() {
    let (server, host) = serving(&[ONE]);
    let failing = |path: &str, status: u16| {
        let message = match status {
            401 => "Access to image requires authentication.".to_owned(),
            status => format!(
                "HTTP request to {}{path} failed with code {status}.",
                server.base
            ),
        };
        server.answer(path, Answer::status(status));
        host.run(&["update"]).fails().says(&message);
        assert_eq!(
            host.tree("srv"),
            [""; 0],
            "an error page is nobody's data: {status}"
        );
    };
    for status in [400, 401, 403, 404, 410, 500, 503] {
        failing("/app_1.raw", status);
    }
    for status in [401, 403, 404, 500] {
        failing("/SHA256SUMS", status);
    }
}

#[test]
fn a_body_that_breaks_off_is_no_body() {
    let (server, host) = serving(&[ONE]);
    server.answer("/app_1.raw", Answer::ok("one").short(2));
    host.run(&["update"])
        .fails()
        .says("Transferred a partial file");
    assert_eq!(
        host.tree("srv/target"),
        [".sysupdate.partial.app_1.raw 0600"]
    );
    server.answer("/SHA256SUMS", Answer::ok(manifest(&[ONE, TWO])).short(60));
    host.run(&["list"])
        .fails()
        .says("Transferred a partial file");
    server.answer("/SHA256SUMS", Answer::ok("").header("X", "").short(0));
    host.run(&["list"]).succeeds();
}

#[test]
fn a_server_that_does_not_know_head_is_used_all_the_same() {
    for status in [404, 405, 501] {
        let (server, host) = serving(&[ONE]);
        server.answer("HEAD /app_1.raw", Answer::status(status));
        host.update();
        assert_eq!(host.read("srv/target/app.raw"), "one", "{status}");
    }
}

#[test]
fn an_announced_size_that_no_disk_holds_is_refused_before_the_download() {
    let (server, host) = serving(&[ONE]);
    let head = Answer::ok("").header("Content-Length", "4611686018427387904");
    server.answer("HEAD /app_1.raw", head);
    host.run(&["update"])
        .fails()
        .says("not enough space in 'ROOT");
    assert!(
        !server
            .take_requests()
            .contains(&"GET /app_1.raw 200".to_owned())
    );
    assert_eq!(host.tree("srv"), [""; 0]);
}

// ── contents ──

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

fn packed(bytes: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(bytes).expect("written");
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(bytes).expect("written");
    [
        ("gzip", gzip(bytes)),
        ("xz", xz.finish().expect("finished")),
        ("zstd", zstd::encode_all(bytes, 1).expect("packed")),
        ("bzip2", bz2.finish().expect("finished")),
    ]
}

#[test]
fn payloads_are_unpacked_by_content_and_checked_as_packed() {
    let content = "0123456789abcdef".repeat(40_000);
    for (kind, bytes) in packed(content.as_bytes()) {
        // The name says nothing.
        let (server, host) = serving(&[]);
        server.put("/SHA256SUMS", format!("{}  app_1.raw\n", sha256(&bytes)));
        server.put("/app_1.raw", bytes.clone());
        host.update();
        assert!(host.read("srv/target/app.raw") == content, "{kind}");

        let (server, host) = serving(&[]);
        server.put(
            "/SHA256SUMS",
            format!("{}  app_1.raw\n", sha256(content.as_bytes())),
        );
        server.put("/app_1.raw", bytes.clone());
        host.run(&["update"])
            .fails()
            .says("does not match expected checksum");
        assert!(
            !host.path("srv/target/app.raw").exists(),
            "{kind}: the digest is that of the packed bytes"
        );

        let cut = &bytes[..bytes.len() - 7];
        let (server, host) = serving(&[]);
        server.put("/SHA256SUMS", format!("{}  app_1.raw\n", sha256(cut)));
        server.put("/app_1.raw", cut);
        host.run(&["update"]).fails().says("/app_1.raw");
        assert!(!host.path("srv/target/app.raw").exists(), "{kind} cut off");
    }
}

#[test]
fn a_name_that_promises_a_format_is_not_believed() {
    let server = Server::new();
    let host = Host::new();
    let definition = app(&server.base, "", "").replacen("app_@v.raw", "app_@v.raw.xz", 1);
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
    server.publish(&[("app_1.raw.xz", "plain")]);
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "plain");
}

#[test]
fn short_payloads_that_begin_like_a_format_are_copied() {
    for content in [
        &b""[..],
        b"\x1f\x8b",
        b"BZh",
        b"\x28\xb5\x2f\xfd",
        b"\xfd7zXZ",
    ] {
        let (server, host) = serving(&[]);
        server.put("/SHA256SUMS", format!("{}  app_1.raw\n", sha256(content)));
        server.put("/app_1.raw", content);
        host.update();
        let installed = fs::read(host.path("srv/target/app.raw")).expect("readable");
        assert_eq!(installed, content);
    }
}

#[test]
fn a_packed_manifest_is_unpacked_and_a_bomb_is_refused() {
    let (server, host) = serving(&[ONE]);
    server.put("/SHA256SUMS", gzip(manifest(&[ONE]).as_bytes()));
    host.run(&["check-new"]).succeeds().prints("1\n");
    server.put("/SHA256SUMS", gzip(&vec![b'0'; 65 << 20]));
    host.run(&["check-new"]).fails().says("/SHA256SUMS");
}

// ── metadata ──

#[test]
fn a_file_gets_the_time_of_its_source_and_the_mode_of_its_definition() {
    // What the definition says more, and the mode that follows.
    let rows = [
        ("", 0o644),
        ("Mode=0600\n", 0o600),
        ("Mode=0755\n", 0o755),
        ("Mode=0640\nReadOnly=yes\n", 0o440),
        ("ReadOnly=yes\n", 0o444),
    ];
    for (setting, mode) in rows {
        let server = Server::new();
        server.publish(&[ONE]);
        let host = Host::new();
        let definition = app(&server.base, "", setting);
        let definition = definition.replacen("Mode=0644\n", "", 1);
        host.write("etc/sysupdate.d/10-app.transfer", &definition);
        host.update();
        let file = fs::metadata(host.path("srv/target/app_1.raw")).expect("installed");
        assert_eq!(
            (file.mode() & 0o7777, file.mtime()),
            (mode, 1_795_414_499),
            "{setting:?}"
        );
    }
}

#[test]
fn without_a_date_the_time_is_that_of_the_download() {
    let (server, host) = serving(&[ONE]);
    server.answer("/app_1.raw", Answer::ok("one"));
    let before = SystemTime::now();
    host.update();
    let modified = fs::metadata(host.path("srv/target/app_1.raw")).and_then(|file| file.modified());
    let age = modified
        .expect("a time")
        .duration_since(before)
        .unwrap_or_default();
    assert!(age.as_secs() < 60, "{age:?}");
}

#[test]
fn directories_of_the_pattern_are_made_and_go_with_their_last_file() {
    let server = Server::new();
    let host = Host::new();
    let target = app(&server.base, "", "").replace(
        "MatchPattern=app_@v.raw\nCurrent",
        "MatchPattern=d-@v/app.raw\nCurrent",
    );
    host.write("etc/sysupdate.d/10-app.transfer", &target);
    for version in ["1", "2", "3"] {
        server.publish(&[(&format!("app_{version}.raw"), version)]);
        host.update();
    }
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> d-3/app.raw",
            "d-2/app.raw 0644",
            "d-3/app.raw 0644"
        ]
    );
    assert!(!host.path("srv/target/d-1").exists());
}

#[test]
fn a_source_may_be_a_file_url_or_a_directory() {
    let server = Server::new();
    let host = Host::new();
    host.write("src/SHA256SUMS", &manifest(&[ONE, ("app_2.raw", "TWO")]));
    host.write("src/app_1.raw", "one");
    host.write("src/app_2.raw", "tampered");
    let url = format!("file://{}", host.path("src").display());
    host.write("etc/sysupdate.d/10-app.transfer", &app(&url, "", ""));
    host.run(&["update"])
        .fails()
        .says("does not match expected checksum");
    host.run(&["update", "1"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");

    // A directory has no manifest and no check (compat 2, B8.2).
    let local = app(&server.base, "", "").replace("Type=url-file", "Type=regular-file");
    let local = local.replace(&format!("Path={}/", server.base), "Path=/src");
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &local.replace("Mode=0644\n", ""),
    );
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "tampered");
}
