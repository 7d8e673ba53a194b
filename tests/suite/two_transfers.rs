//! Two transfers of one component: reference/08.

use super::harness::{Host, app};
use super::main_path::{check, squeezed};
use super::server::{Server, sha256};

const BOTH_1: [(&str, &str); 2] = [("app_1.0.raw", "one"), ("two_1.0.raw", "ONE")];
const BOTH_2: [(&str, &str); 2] = [("app_2.0.raw", "two"), ("two_2.0.raw", "TWO")];
const BOTH_3: [(&str, &str); 2] = [("app_3.0.raw", "three"), ("two_3.0.raw", "THREE")];

fn pair(server: &Server) -> Host {
    let host = Host::with_app(server);
    let second = app(&server.base, "", "")
        .replace("app_", "two_")
        .replace("CurrentSymlink=app.raw\n", "");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host
}

#[test]
fn a_version_is_offered_only_when_every_source_has_it() {
    let server = Server::new();
    server.publish(&[BOTH_1[0], BOTH_2[0], BOTH_1[1]]);
    let host = pair(&server);
    check(
        &host,
        &server,
        &[
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n↻ 1.0                   ✓     candidate\n",
            ),
            (
                &["--json=short", "list"],
                0,
                "{\"current\":null,\"all\":[\"1.0\"],\"appstreamUrls\":[]}\n",
            ),
            (&["list", "2.0"], 1, ""),
            (&["check-new"], 0, "1.0\n"),
        ],
    );
    host.run(&["update", "2.0"])
        .fails()
        .says("Update '2.0' not found.");
    host.update();
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_1.0.raw",
            "app_1.0.raw 0644",
            "two_1.0.raw 0644"
        ]
    );
}

#[test]
fn an_incomplete_version_is_repaired_in_place() {
    let server = Server::new();
    server.publish(&[BOTH_1[0], BOTH_1[1], BOTH_2[0], BOTH_2[1]]);
    let host = pair(&server);
    host.update();
    let whole = host.tree("srv/target");
    host.remove("srv/target/two_2.0.raw");
    check(
        &host,
        &server,
        &[
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 ● 2.0         ✓         ✓     current+incomplete\n  \
                   1.0                   ✓     available\n",
            ),
            (
                &["--json=short", "list"],
                0,
                "{\"current\":\"2.0\",\"all\":[\"2.0\",\"1.0\"],\"appstreamUrls\":[]}\n",
            ),
            (
                &["--json=short", "check-new"],
                0,
                "{\"available\":\"2.0\"}\n",
            ),
        ],
    );
    let detail = host.run(&["--json=short", "list", "2.0"]).succeeds();
    let second = format!(
        "{{\"type\":\"url-file\",\"path\":\"{}/two_2.0.raw\",\"mtime\":null,\"mode\":null,\"sha256\":\"{}\"}}]}}\n",
        server.base,
        sha256(b"TWO")
    );
    assert!(detail.stdout.ends_with(&second), "{detail:?}");
    assert!(
        detail.stdout.contains("\"incomplete\":true")
            && detail.stdout.contains("\"mode\":420,\"sha256\":null")
    );
    let block = host.run(&["list", "2.0"]).succeeds().stdout;
    assert!(
        block.contains("\nInstalled: yes (newest) (incomplete)\n"),
        "{block}"
    );
    assert!(squeezed(&block).contains(" 0644 -\n"), "{block}");
    server.take_log();
    host.update()
        .says("Selected update '2.0' is already installed, but incomplete. Repairing.");
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 304", "GET /two_2.0.raw 200"]
    );
    assert_eq!(host.tree("srv/target"), whole);
}

#[test]
fn when_the_second_download_fails_nothing_is_switched_and_the_next_run_fetches_only_that() {
    let server = Server::new();
    server.publish(&BOTH_1);
    let host = pair(&server);
    host.update();
    server.publish(&[BOTH_1[0], BOTH_1[1], BOTH_2[0], BOTH_2[1]]);
    host.update();
    server.publish(&[BOTH_1, BOTH_2, BOTH_3].concat());
    server.remove("/two_3.0.raw");
    host.run(&["update"]).fails().says(&format!(
        "HTTP request to {}/two_3.0.raw failed with code 404.",
        server.base
    ));
    // Better than the original: the oldest version is still there, and no error page lies about.
    let cut = [
        ".sysupdate.pending.app_3.0.raw 0644",
        "app.raw -> app_2.0.raw",
        "app_1.0.raw 0644",
        "app_2.0.raw 0644",
        "two_1.0.raw 0644",
        "two_2.0.raw 0644",
    ];
    assert_eq!(host.tree("srv/target"), cut);
    check(
        &host,
        &server,
        &[
            (
                &["--json=short", "list"],
                0,
                "{\"current+pending\":\"3.0\",\"all\":[\"3.0\",\"2.0\",\"1.0\"],\"appstreamUrls\":[]}\n",
            ),
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 \\ 3.0         ✓         ✓     current+pending+incomplete\n  \
                   2.0         ✓         ✓     installed\n  \
                   1.0         ✓         ✓     installed\n",
            ),
        ],
    );
    host.run(&["update"]).fails();
    assert_eq!(host.tree("srv/target"), cut);
    server.put("/two_3.0.raw", "THREE");
    server.take_log();
    host.update();
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 304", "GET /two_3.0.raw 200"]
    );
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_3.0.raw",
            "app_2.0.raw 0644",
            "app_3.0.raw 0644",
            "two_2.0.raw 0644",
            "two_3.0.raw 0644"
        ]
    );
}
