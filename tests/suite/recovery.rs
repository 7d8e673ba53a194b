//! What a crash, a kill or an accident leaves behind, and that one plain `update` is enough after it.

use std::fs;

use rustix::process::Signal;

use super::harness::{Host, app, until};
use super::server::{Answer, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const THREE: (&str, &str) = ("app_3.raw", "three");
const PARTIAL_2: &str = "srv/target/.sysupdate.partial.app_2.raw";
const PENDING_2: &str = "srv/target/.sysupdate.pending.app_2.raw";

/// Version 1 installed, version 2 published.
fn between() -> (Server, Host) {
    let server = Server::new();
    server.publish(&[ONE]);
    let host = Host::with_app(&server);
    host.update();
    server.publish(&[ONE, TWO]);
    server.take_log();
    (server, host)
}

#[track_caller]
fn stands(host: &Host, version: &str, kept: &str) {
    let mut tree = vec![
        format!("app.raw -> app_{version}.raw"),
        format!("app_{version}.raw 0644"),
        format!("app_{kept}.raw 0644"),
    ];
    tree.sort();
    assert_eq!(host.tree("srv/target"), tree);
}

#[test]
fn a_partial_file_is_fetched_again() {
    let (server, host) = between();
    host.write(PARTIAL_2, "t");
    let listed = host.run(&["list"]).succeeds();
    assert!(listed.stdout.contains("\\ 2 "), "{listed:?}");
    server.take_log();
    host.update();
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 304", "GET /app_2.raw 200"]
    );
    stands(&host, "2", "1");
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn a_partial_file_that_is_longer_than_the_new_one_leaves_nothing_behind() {
    let (_server, host) = between();
    host.write(PARTIAL_2, &"leftover ".repeat(100));
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn a_partial_file_that_became_a_link_does_not_lead_out() {
    let (_server, host) = between();
    host.write("etc/precious", "precious");
    host.link(PARTIAL_2, "../../etc/precious");
    host.update();
    assert_eq!(host.read("etc/precious"), "precious");
    stands(&host, "2", "1");
}

#[test]
fn a_pending_file_is_installed_without_the_network() {
    let (server, host) = between();
    host.write(PENDING_2, "two");
    host.run(&["update", "--offline"]).succeeds();
    assert_eq!(server.take_log(), []);
    assert_eq!(host.tree("srv/target")[0], "app.raw -> app_2.raw");
}

fn pair(server: &Server) -> Host {
    let host = Host::with_app(server);
    let second = app(&server.base, "", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host
}

const PAIR: [(&str, &str); 4] = [ONE, TWO, ("two_1.raw", "ONE"), ("two_2.raw", "TWO")];

/// Every combination of what two transfers can be left in ends in the same tree.
#[test]
fn every_state_of_two_transfers_is_completed() {
    let name = |prefix: &str, state: &str| match state {
        "missing" => None,
        "complete" => Some(format!("srv/target/{prefix}_2.raw")),
        state => Some(format!("srv/target/.sysupdate.{state}.{prefix}_2.raw")),
    };
    let states = ["missing", "partial", "pending", "complete"];
    for first in states {
        for second in states {
            let server = Server::new();
            server.publish(&[PAIR[0], PAIR[2]]);
            let host = pair(&server);
            host.update();
            for (prefix, state, content) in [("app", first, "two"), ("two", second, "TWO")] {
                let content = if state == "partial" { "T" } else { content };
                if let Some(path) = name(prefix, state) {
                    host.write(&path, content);
                }
            }
            server.publish(&PAIR);
            host.update();
            let expected = [
                "app.raw -> app_2.raw",
                "app_1.raw 0644",
                "app_2.raw 0644",
                "two.raw -> two_2.raw",
                "two_1.raw 0644",
                "two_2.raw 0644",
            ];
            assert_eq!(host.tree("srv/target"), expected, "{first}, {second}");
            assert_eq!(host.read("srv/target/app.raw"), "two", "{first}, {second}");
            assert_eq!(host.read("srv/target/two.raw"), "TWO", "{first}, {second}");
            host.update().says("No update needed.");
        }
    }
}

#[test]
fn a_link_that_was_left_on_the_old_version_is_moved() {
    let (_server, host) = between();
    host.update();
    host.leave_behind("srv/target/app.raw", "app_1.raw", "srv/target/app_2.raw");
    host.run(&["check-new"]).succeeds().prints("2\n");
    host.update()
        .says("Updated symlink 'ROOT/srv/target/app.raw' → 'app_2.raw'.");
    stands(&host, "2", "1");
    host.run(&["check-new"]).prints("");
}

#[test]
fn a_link_that_was_left_behind_is_moved_without_the_network_too() {
    let (server, host) = between();
    host.update();
    host.leave_behind("srv/target/app.raw", "app_1.raw", "srv/target/app_2.raw");
    server.take_log();
    host.run(&["update", "--offline"]).succeeds();
    assert_eq!(server.take_log(), []);
    stands(&host, "2", "1");
}

#[test]
fn a_link_that_was_left_behind_is_moved_although_the_old_file_was_touched_since() {
    let (_server, host) = between();
    host.update();
    host.leave_behind("srv/target/app.raw", "app_1.raw", "srv/target/app_2.raw");
    // A relabelling, a backup, a chmod; the kernel's clock for inodes ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(30));
    host.touch("srv/target/app_1.raw");
    host.update();
    stands(&host, "2", "1");
}

#[test]
fn a_missing_or_dangling_link_is_made_again() {
    let (_server, host) = between();
    host.update();
    host.remove("srv/target/app.raw");
    host.update();
    stands(&host, "2", "1");
    for text in [
        "gone.raw",
        "app.raw",
        "/nowhere/app_2.raw",
        "../../../../../../etc/passwd",
    ] {
        host.link("srv/target/app.raw", text);
        host.update();
        stands(&host, "2", "1");
    }
}

#[test]
fn a_link_that_an_operator_set_back_is_kept() {
    let (server, host) = between();
    host.update();
    host.remove("srv/target/app_1.raw");
    host.run(&["update", "1"])
        .succeeds()
        .says("is older than newest installed version");
    stands(&host, "1", "2");
    host.update().says("No update needed.");
    host.run(&["update", "--offline"])
        .succeeds()
        .says("No update needed.");
    stands(&host, "1", "2");
    // Something newer is taken again.
    server.publish(&[ONE, TWO, THREE]);
    host.update();
    assert_eq!(host.tree("srv/target")[0], "app.raw -> app_3.raw");
}

#[test]
fn what_stands_in_the_place_of_the_link_is_left_alone() {
    for directory in [true, false] {
        let (_server, host) = between();
        host.remove("srv/target/app.raw");
        let precious = if directory {
            "srv/target/app.raw/precious"
        } else {
            "srv/target/app.raw"
        };
        host.write(precious, "precious");
        host.run(&["update"])
            .fails()
            .says("'ROOT/srv/target/app.raw' is in the way and is left alone");
        assert_eq!(host.read(precious), "precious");
        assert_eq!(
            host.read("srv/target/app_1.raw"),
            "one",
            "the old version stands"
        );
        let tree = host.tree("srv/target");
        assert!(
            !tree.iter().any(|line| line.contains(".#sysupdate.new.")),
            "{tree:?}"
        );
        if directory {
            fs::remove_dir_all(host.path("srv/target/app.raw")).expect("removed");
        } else {
            host.remove("srv/target/app.raw");
        }
        host.update();
        stands(&host, "2", "1");
    }
}

#[test]
fn temporary_names_of_a_run_that_died_do_no_harm() {
    let (_server, host) = between();
    host.link("srv/target/.#sysupdate.new.app.raw", "app_0.raw");
    host.update();
    stands(&host, "2", "1");
    host.link("srv/target/app.raw", "gone");
    host.write("srv/target/.#sysupdate.new.app.raw", "a file this time");
    host.update();
    stands(&host, "2", "1");
}

#[test]
fn a_server_that_dies_and_comes_back_is_forgiven() {
    let (server, host) = between();
    server.answer("/app_2.raw", Answer::status(500));
    host.run(&["update"]).fails().says("failed with code 500.");
    server.answer("/SHA256SUMS", Answer::status(503));
    host.run(&["update"]).fails().says("failed with code 503.");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    server.publish(&[ONE, TWO]);
    host.update();
    stands(&host, "2", "1");
}

#[test]
fn a_stuck_version_that_is_superseded_goes_with_the_next_update() {
    let (server, host) = between();
    server.put("/app_2.raw", "tampered");
    host.run(&["update"]).fails();
    assert!(host.path(PARTIAL_2).exists());
    server.publish(&[ONE, THREE]);
    host.update();
    stands(&host, "3", "1");
}

#[test]
fn a_stuck_version_that_was_withdrawn_goes_when_there_is_nothing_else_to_do() {
    let (server, host) = between();
    host.write(PARTIAL_2, "t");
    server.publish(&[ONE]);
    host.update().says("No update needed.");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    host.run(&["check-new"]).prints("");
}

/// A payload that is longer than one piece of the pipeline, so that some of it is on disk when it stalls.
fn stall(server: &Server) -> String {
    let big = "0123456789abcdef".repeat(64 * 1024);
    server.publish(&[ONE]);
    server.put("/SHA256SUMS", manifest(&[ONE, ("app_2.raw", &big)]));
    server.answer("/app_2.raw", Answer::ok(big.as_str()).stalled(600_000));
    big
}

#[track_caller]
fn halfway(host: &Host) {
    let file = host.path(PARTIAL_2);
    until("half of it is on disk", || {
        fs::metadata(&file).is_ok_and(|file| file.len() >= 256 * 1024)
    });
}

#[test]
fn a_killed_download_is_completed_by_the_next_run() {
    let (server, host) = between();
    let big = stall(&server);
    let mut running = host.start(&["update"]);
    halfway(&host);
    running.child.kill().expect("killed");
    let killed = running.finish();
    assert_eq!(killed.code, None, "{killed:?}");
    assert_eq!(host.read("srv/target/app.raw"), "one");
    server.put("/app_2.raw", big.as_str());
    host.update();
    stands(&host, "2", "1");
    assert!(host.read("srv/target/app.raw") == big, "whole");
}

#[test]
fn an_interrupted_download_says_that_the_next_run_goes_on() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (server, host) = between();
        let big = stall(&server);
        let running = host.start(&["update"]);
        halfway(&host);
        running.signal(signal);
        let ended = running.finish();
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(code), ""),
            "{ended:?}"
        );
        assert!(
            ended.stderr.contains("interrupted") && ended.stderr.contains("the next run resumes"),
            "{ended:?}"
        );
        assert_eq!(host.read("srv/target/app.raw"), "one");
        server.put("/app_2.raw", big.as_str());
        host.update();
        stands(&host, "2", "1");
    }
}

#[test]
fn an_interrupt_while_the_manifest_is_awaited_ends_the_run_as_well() {
    let (server, host) = between();
    let text = manifest(&[ONE, TWO]);
    server.answer("/SHA256SUMS", Answer::ok(text).stalled(20));
    for verb in ["list", "check-new", "update"] {
        server.take_log();
        let running = host.start(&[verb]);
        until("the manifest is asked for", || {
            !server.take_log().is_empty()
        });
        running.signal(Signal::INT);
        let ended = running.finish();
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(130), ""),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("interrupted"), "{ended:?}");
    }
}

#[test]
fn a_pending_version_that_was_overtaken_goes_with_the_next_update() {
    let (server, host) = between();
    host.run(&["acquire"]).succeeds();
    server.publish(&[ONE, TWO, THREE]);
    host.update();
    stands(&host, "3", "1");
    let (server, host) = between();
    host.run(&["acquire"]).succeeds();
    server.publish(&[ONE, TWO, THREE]);
    host.run(&["acquire"]).succeeds();
    host.run(&["update", "--offline"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "three");
}

#[test]
fn a_directory_in_the_place_of_the_new_file_costs_nothing() {
    let (_server, host) = between();
    host.write("srv/target/app_2.raw/precious", "precious");
    host.run(&["update"]).fails().says("ROOT/srv/target/");
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert_eq!(host.read("srv/target/app_2.raw/precious"), "precious");
    fs::remove_dir_all(host.path("srv/target/app_2.raw")).expect("removed");
    host.update();
    stands(&host, "2", "1");
}

#[test]
fn an_unfinished_twin_of_an_installed_version_does_no_harm() {
    let (_server, host) = between();
    host.update();
    host.write(PARTIAL_2, "t");
    host.write(PENDING_2, "forged");
    host.run(&["check-new"]).prints("");
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
    host.run(&["vacuum"]).succeeds();
    stands(&host, "2", "1");
}

#[test]
fn a_stuck_version_is_vacuumed_offline() {
    let (server, host) = between();
    server.put("/app_2.raw", "tampered");
    host.run(&["update"]).fails();
    host.run(&["--offline", "vacuum"])
        .succeeds()
        .prints("")
        .says("Making room…\n")
        .says(
            "Removing old partial 'ROOT/srv/target/.sysupdate.partial.app_2.raw' (regular-file).\n",
        )
        .says("Removed 1 instances.\n");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    let listed = host.run(&["list", "2"]).succeeds();
    assert!(listed.stdout.contains("State: candidate"), "{listed:?}");
}
