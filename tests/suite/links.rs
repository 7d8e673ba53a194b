//! Current symlinks: where they lie, what they say, and when they move.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::harness::Host;
use super::server::{Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");

/// A host whose link is set so; versions 1 and 2 are published.
fn linking(link: &str) -> (Server, Host) {
    let server = Server::new();
    server.publish(&[ONE, TWO]);
    let host = Host::with_app(&server);
    let definition = host.read("etc/sysupdate.d/10-app.transfer");
    let definition =
        definition.replace("CurrentSymlink=app.raw", &format!("CurrentSymlink={link}"));
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
    (server, host)
}

#[test]
fn the_text_is_relative_wherever_the_link_lies() {
    let rows = [
        ("app.raw", "srv/target/app.raw", "app_2.raw"),
        ("sub/app.raw", "srv/target/sub/app.raw", "../app_2.raw"),
        (
            "/opt/ext/x.raw",
            "opt/ext/x.raw",
            "../../srv/target/app_2.raw",
        ),
        ("/srv/app.raw", "srv/app.raw", "target/app_2.raw"),
        ("/app.raw", "app.raw", "srv/target/app_2.raw"),
    ];
    for (setting, place, text) in rows {
        let (_server, host) = linking(setting);
        host.update();
        let link = fs::read_link(host.path(place)).expect("a link");
        assert_eq!(link.to_str(), Some(text), "{setting}");
        assert_eq!(host.read(place), "two", "{setting}");
    }
}

#[test]
fn directories_that_are_links_themselves_are_seen_through() {
    let (_server, host) = linking("/etc/ext/x.raw");
    // Absolute inside the root, as on a booted host.
    host.write("data/deep/target/README", "");
    host.link("srv/target", "/data/deep/target");
    host.write("usr/ext/README", "");
    host.link("etc/ext", "../usr/ext");
    host.run(&["update", "1"]).succeeds();
    host.update();
    assert_eq!(
        host.tree("data/deep/target"),
        ["README 0644", "app_1.raw 0644", "app_2.raw 0644"]
    );
    assert_eq!(
        host.tree("usr/ext"),
        ["README 0644", "x.raw -> ../../data/deep/target/app_2.raw"]
    );
    host.update().says("No update needed.");
    host.run(&["check-new"]).prints("");
    let listed = host
        .run(&["--offline", "--json=short", "list"])
        .succeeds()
        .json();
    assert_eq!(listed["current"], "2");
}

#[test]
fn a_link_that_is_right_is_not_written_again() {
    let (server, host) = linking("app.raw");
    host.update();
    let inode = |host: &Host| {
        fs::symlink_metadata(host.path("srv/target/app.raw"))
            .expect("a link")
            .ino()
    };
    let before = inode(&host);
    // Right in another spelling.
    host.update();
    host.run(&["vacuum"]).succeeds();
    assert_eq!(inode(&host), before);
    host.link("srv/target/app.raw", "../../srv/target/app_2.raw");
    host.run(&["check-new"]).prints("");
    server.take_log();
    host.update()
        .says("No update needed.")
        .keeps_quiet_about("Updated symlink");
}

#[test]
fn acquiring_moves_no_link() {
    let (_server, host) = linking("app.raw");
    host.run(&["update", "1"]).succeeds();
    host.run(&["acquire"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
    host.update();
    host.leave_behind("srv/target/app.raw", "app_1.raw", "srv/target/app_2.raw");
    host.run(&["acquire"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn when_the_current_version_is_lost_it_is_fetched_again_or_an_older_one_serves() {
    let (server, host) = linking("app.raw");
    host.run(&["update", "1"]).succeeds();
    host.update();
    host.remove("srv/target/app_2.raw");
    host.run(&["update", "--offline"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
    server.take_log();
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 304", "GET /app_2.raw 200"]
    );
}

#[test]
fn one_link_of_two_that_was_left_behind_is_moved_alone() {
    let server = Server::new();
    let files = [ONE, TWO, ("two_1.raw", "ONE"), ("two_2.raw", "TWO")];
    server.publish(&[files[0], files[2]]);
    let host = Host::with_app(&server);
    let second = host
        .read("etc/sysupdate.d/10-app.transfer")
        .replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.update();
    server.publish(&files);
    host.update();
    for (stale, text) in [("app.raw", "app_1.raw"), ("two.raw", "two_1.raw")] {
        let newest = format!("srv/target/{}", text.replace('1', "2"));
        host.leave_behind(&format!("srv/target/{stale}"), text, &newest);
        let run = host.update();
        assert_eq!(run.stderr.matches("Updated symlink").count(), 1, "{run:?}");
        assert_eq!(
            (
                host.read("srv/target/app.raw"),
                host.read("srv/target/two.raw")
            ),
            ("two".into(), "TWO".into())
        );
    }
}

#[test]
fn a_server_that_goes_back_takes_nobody_with_it() {
    let (server, host) = linking("app.raw");
    host.update();
    server.publish(&[ONE]);
    host.run(&["check-new"]).prints("");
    host.update().says("No update needed.");
    assert_eq!(host.read("srv/target/app.raw"), "two");
    server.put("/SHA256SUMS", manifest(&[]));
    host.update().says("No update needed.");
    host.run(&["list"]).prints(
        "  VERSION INSTALLED AVAILABLE ASSESSMENT\n● 2           ✓               current\n",
    );
}

#[test]
fn a_link_to_dev_null_means_that_nobody_wants_it_and_is_left_alone() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = Host::with_app(&server);
    host.update();
    host.remove("srv/target/app.raw");
    host.link("srv/target/app.raw", "/dev/null");
    server.publish(&[("app_1.raw", "one"), ("app_2.raw", "two")]);
    host.run(&["update"])
        .succeeds()
        .says("'ROOT/srv/target/app.raw' is masked (a link to /dev/null) and stays so.");
    let masked = ["app.raw -> /dev/null", "app_1.raw 0644", "app_2.raw 0644"];
    assert_eq!(host.tree("srv/target"), masked);
    host.run(&["update"]).succeeds().says("No update needed.");
    let status = host.run(&["--json=short", "status"]).succeeds().json();
    assert_eq!(status[0]["links"][0]["state"], "masked", "{status}");
    host.run(&["vacuum"]).succeeds();
    assert_eq!(host.tree("srv/target"), masked);
    let doctor = host.run(&["doctor"]).succeeds();
    assert!(
        doctor.stdout.contains("masked by a link to /dev/null"),
        "{doctor:?}"
    );
    // Taken away, the next run links again.
    host.remove("srv/target/app.raw");
    host.run(&["update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}
