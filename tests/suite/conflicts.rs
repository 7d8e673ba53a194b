//! Transfers that get in each other's way.

use std::time::Duration;

use super::harness::{Host, app};
use super::server::{Answer, Server};

const ONE: (&str, &str) = ("app_1.raw", "one");

/// Two transfers into one file, the second from a server that answers slowly and with something else.
fn twins() -> (Server, Server, Host) {
    let (good, bad) = (Server::new(), Server::new());
    good.publish(&[ONE]);
    good.answer(
        "/app_1.raw",
        Answer::ok(ONE.1).slow(1, Duration::from_millis(200)),
    );
    bad.publish(&[ONE]);
    bad.answer(
        "/app_1.raw",
        Answer::ok("evil").slow(1, Duration::from_millis(400)),
    );
    let host = Host::with_app(&good);
    host.write("etc/sysupdate.d/20-twin.transfer", &app(&bad.base, "", ""));
    (good, bad, host)
}

#[test]
fn two_transfers_that_mean_one_file_are_refused_before_anything_is_fetched() {
    let (good, bad, host) = twins();
    host.run(&["update"])
        .fails()
        .says("10-app")
        .says("20-twin")
        .says("app_1.raw");
    assert_eq!(good.take_requests(), ["GET /SHA256SUMS 200"]);
    assert_eq!(bad.take_requests(), ["GET /SHA256SUMS 200"]);
    assert_eq!(host.tree("srv"), [""; 0]);
}

#[test]
fn bytes_that_were_not_verified_are_installed_by_no_number_of_runs() {
    let (_good, _bad, host) = twins();
    for arguments in [&["update"][..], &["update", "--offline"], &["update"]] {
        host.run(arguments);
        for name in ["app_1.raw", ".sysupdate.pending.app_1.raw"] {
            let path = host.path(&format!("srv/target/{name}"));
            let content = std::fs::read_to_string(path).unwrap_or_default();
            assert!(["", "one"].contains(&content.as_str()), "{name}: {content}");
        }
    }
}

#[test]
fn two_transfers_that_mean_one_link_are_refused() {
    let server = Server::new();
    server.publish(&[ONE, ("two_1.raw", "two")]);
    let host = Host::with_app(&server);
    let second = app(&server.base, "", "").replace("app_", "two_");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.run(&["update"])
        .fails()
        .says("10-app")
        .says("20-two")
        .says("app.raw");
    assert_eq!(host.tree("srv"), [""; 0]);
}

#[test]
fn transfers_in_one_directory_leave_each_others_files_alone() {
    let server = Server::new();
    server.publish(&[
        ("app_1.raw", "one"),
        ("app_2.raw", "two"),
        ("app_1.raw.idx", "i1"),
        ("app_2.raw.idx", "i2"),
    ]);
    let host = Host::with_app(&server);
    let second = app(&server.base, "", "InstancesMax=2\n").replace("app_@v.raw", "app_@v.raw.idx");
    let second = second.replace("CurrentSymlink=app.raw", "CurrentSymlink=app.idx");
    host.write("etc/sysupdate.d/20-index.transfer", &second);
    host.run(&["update", "1"]).succeeds();
    host.update();
    host.write("srv/target/.sysupdate.partial.app_3.raw", "x");
    host.write("srv/target/.sysupdate.partial.app_3.raw.idx", "x");
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.idx -> app_2.raw.idx",
            "app.raw -> app_2.raw",
            "app_2.raw 0644",
            "app_2.raw.idx 0644"
        ]
    );
    let detail = host.run(&["--json=short", "list", "2"]).succeeds().json();
    assert_eq!(detail["contents"].as_array().map(Vec::len), Some(2));
}

/// Two features, of which one is on, choose where the same files come from.
#[test]
fn a_disabled_transfer_does_not_take_the_files_of_an_enabled_one_with_it() {
    let (stable, beta) = (Server::new(), Server::new());
    stable.publish(&[ONE]);
    beta.publish(&[ONE, ("app_2.raw", "two")]);
    let host = Host::new();
    host.app(&stable, "Features=stable\n", "");
    let second = app(&beta.base, "Features=beta\n", "");
    host.write("etc/sysupdate.d/20-beta.transfer", &second);
    host.write("etc/sysupdate.d/stable.feature", "[Feature]\nEnabled=yes\n");
    host.write("etc/sysupdate.d/beta.feature", "[Feature]\nEnabled=no\n");
    host.update();
    let first = ["app.raw -> app_1.raw", "app_1.raw 0644"];
    assert_eq!(host.tree("srv/target"), first);
    host.run(&["vacuum"]).succeeds();
    assert_eq!(host.tree("srv/target"), first);
    stable.publish(&[ONE, ("app_2.raw", "two")]);
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn what_any_link_leads_to_is_removed_by_no_transfer() {
    let server = Server::new();
    let host = Host::with_app(&server);
    // Its pattern covers the files of the other transfer, too.
    let greedy = app(&server.base, "", "").replacen("app_@v.raw", "b_@v.raw", 1);
    let greedy = greedy
        .replace("app_@v.raw", "@v.raw")
        .replace("app.raw", "b.raw");
    host.write("etc/sysupdate.d/05-greedy.transfer", &greedy);
    for version in ["1", "2", "3"] {
        let (app, b) = (format!("app_{version}.raw"), format!("b_{version}.raw"));
        server.publish(&[(app.as_str(), version), (b.as_str(), version)]);
        host.update();
        assert_eq!(host.read("srv/target/app.raw"), version);
        assert_eq!(host.read("srv/target/b.raw"), version);
    }
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "3");
    assert_eq!(host.read("srv/target/b.raw"), "3");
}
