//! Going back, standing between two versions, and what a plain `update` makes of either.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use super::harness::{Host, app};
use super::server::{Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const THREE: (&str, &str) = ("app_3.raw", "three");
const PAIR_1: [(&str, &str); 2] = [ONE, ("two_1.raw", "ONE")];
const PAIR_2: [(&str, &str); 2] = [TWO, ("two_2.raw", "TWO")];
const PAIR_3: [(&str, &str); 2] = [THREE, ("two_3.raw", "THREE")];
const RECORD: &str = "var/lib/sysupdate/chosen/default";

fn pair(server: &Server) -> Host {
    let host = Host::with_app(server);
    let second = app(&server.base, "", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host
}

/// Version 2 was installed, the operator has gone back to 1.
fn went_back() -> (Server, Host) {
    let server = Server::new();
    server.publish(&[ONE, TWO]);
    let host = Host::with_app(&server);
    host.update();
    assert!(!host.path(RECORD).exists());
    host.run(&["update", "1"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
    (server, host)
}

#[track_caller]
fn leads_to(host: &Host, link: &str, file: &str) {
    let text = fs::read_link(host.path(&format!("srv/target/{link}"))).expect("a link");
    assert_eq!(text.to_str(), Some(file));
}

#[test]
fn a_step_back_is_put_on_record() {
    let (_server, host) = went_back();
    assert_eq!(host.read(RECORD), "1\n");
    host.update().says("No update needed.");
    host.run(&["check-new"]).prints("");
    assert_eq!(host.read(RECORD), "1\n");
}

#[test]
fn whatever_touches_the_newer_file_does_not_undo_the_step_back() {
    let (_server, host) = went_back();
    thread::sleep(Duration::from_millis(30));
    host.touch("srv/target/app_2.raw");
    for arguments in [&["update"][..], &["--offline", "update"]] {
        host.run(arguments).succeeds().says("No update needed.");
        leads_to(&host, "app.raw", "app_1.raw");
    }
    fs::set_permissions(
        host.path("srv/target/app_2.raw"),
        fs::Permissions::from_mode(0o600),
    )
    .expect("set");
    host.update();
    leads_to(&host, "app.raw", "app_1.raw");
    // A restored backup: all inodes are new, the newer version's last.
    fs::copy(host.path("srv/target/app_2.raw"), host.path("copy")).expect("copied");
    fs::rename(host.path("copy"), host.path("srv/target/app_2.raw")).expect("renamed");
    host.update();
    leads_to(&host, "app.raw", "app_1.raw");
    host.run(&["check-new"]).prints("");
}

#[test]
fn a_missing_link_is_made_again_to_the_chosen_version() {
    let (_server, host) = went_back();
    host.remove("srv/target/app.raw");
    host.update();
    leads_to(&host, "app.raw", "app_1.raw");
    host.link("srv/target/app.raw", "gone.raw");
    host.run(&["--offline", "update"]).succeeds();
    leads_to(&host, "app.raw", "app_1.raw");
    assert_eq!(host.read(RECORD), "1\n");
}

#[test]
fn something_newer_ends_the_choice() {
    let (server, host) = went_back();
    server.publish(&[ONE, TWO, THREE]);
    host.update();
    leads_to(&host, "app.raw", "app_3.raw");
    assert!(!host.path(RECORD).exists(), "{:?}", host.tree("var/lib"));
    host.update().says("No update needed.");
    leads_to(&host, "app.raw", "app_3.raw");
}

#[test]
fn a_step_back_that_fails_leaves_no_record() {
    let server = Server::new();
    server.publish(&[ONE, TWO]);
    let host = Host::with_app(&server);
    host.update();
    server.put("/app_1.raw", "tampered");
    host.run(&["update", "1"]).fails();
    assert!(!host.path(RECORD).exists());
    leads_to(&host, "app.raw", "app_2.raw");
    host.update();
    leads_to(&host, "app.raw", "app_2.raw");
}

#[test]
fn a_record_of_nonsense_is_no_record() {
    let server = Server::new();
    server.publish(&[ONE, TWO]);
    let host = Host::with_app(&server);
    host.update();
    let long = "9".repeat(5000);
    for text in ["", "\n", "1", "../../etc", "\u{0}\u{1}", long.as_str()] {
        host.write(RECORD, text);
        host.update();
        leads_to(&host, "app.raw", "app_2.raw");
    }
}

#[test]
fn an_interrupted_step_back_of_two_transfers_is_completed() {
    let server = Server::new();
    let all = [PAIR_1, PAIR_3].concat();
    server.publish(&PAIR_1);
    let host = pair(&server);
    host.update();
    server.publish(&all);
    host.update();
    host.leave_behind("srv/target/app.raw", "app_1.raw", "srv/target/app_3.raw");
    leads_to(&host, "two.raw", "two_3.raw");
    host.run(&["update", "1"]).succeeds();
    leads_to(&host, "app.raw", "app_1.raw");
    leads_to(&host, "two.raw", "two_1.raw");
    assert_eq!(host.read(RECORD), "1\n");
    thread::sleep(Duration::from_millis(30));
    host.touch("srv/target/two_3.raw");
    host.update();
    leads_to(&host, "app.raw", "app_1.raw");
    leads_to(&host, "two.raw", "two_1.raw");
}

/// Version 1 installed; 2 installed by the first transfer and acquired by the second; 3 published.
fn half_switched() -> (Server, Host) {
    let server = Server::new();
    server.publish(&PAIR_1);
    let host = pair(&server);
    host.update();
    server.publish(&[PAIR_1, PAIR_2].concat());
    host.run(&["acquire"]).succeeds();
    fs::rename(
        host.path("srv/target/.sysupdate.pending.app_2.raw"),
        host.path("srv/target/app_2.raw"),
    )
    .expect("renamed");
    host.link("srv/target/app.raw", "app_2.raw");
    server.publish(&[PAIR_1, PAIR_2, PAIR_3].concat());
    (server, host)
}

#[test]
fn a_half_switched_version_is_finished_although_a_newer_one_cannot_be_had() {
    for broken in ["/app_3.raw", "/two_3.raw"] {
        let (server, host) = half_switched();
        server.remove(broken);
        host.run(&["update"]).fails().says("404");
        leads_to(&host, "app.raw", "app_2.raw");
        leads_to(&host, "two.raw", "two_2.raw");
        assert_eq!(host.read("srv/target/two.raw"), "TWO");
    }
}

#[test]
fn one_update_goes_from_a_half_switched_version_to_the_newest() {
    let (_server, host) = half_switched();
    host.update();
    leads_to(&host, "app.raw", "app_3.raw");
    leads_to(&host, "two.raw", "two_3.raw");
    let tree = host.tree("srv/target");
    assert!(
        !tree.iter().any(|line| line.starts_with(".sysupdate.")),
        "{tree:?}"
    );
    host.update().says("No update needed.");
}

#[test]
fn a_lost_file_of_the_newest_version_is_no_reason_to_go_back() {
    let server = Server::new();
    server.publish(&PAIR_3);
    let host = pair(&server);
    host.update();
    host.remove("srv/target/two_3.raw");
    server.publish(&PAIR_1);
    let before = host.tree("srv/target");
    for _ in 0..2 {
        host.update().says("No update needed");
        assert_eq!(host.tree("srv/target"), before);
    }
    host.run(&["check-new"]).prints("");
    let why = host.run(&["list", "--why"]).succeeds();
    let line = |version: &str| {
        let mut lines = why.stdout.lines();
        lines
            .find(|line| line.split_whitespace().any(|word| word == version))
            .unwrap_or_else(|| panic!("no {version} in {why:#?}"))
    };
    assert!(
        line("1").contains("not newer than the installed 3"),
        "{why:#?}"
    );
    assert!(
        line("3").contains("incomplete here, and the source of transfer 20-two lacks it"),
        "{why:#?}"
    );
    // With the source it is mended.
    server.put("/SHA256SUMS", manifest(&[PAIR_1, PAIR_3].concat()));
    for (name, content) in PAIR_3 {
        server.put(&format!("/{name}"), content);
    }
    host.update();
    assert_eq!(host.read("srv/target/two.raw"), "THREE");
}
