//! What lies beside the files of a transfer, or looks like one of them.

use std::ffi::OsString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::harness::{Host, app};
use super::server::Server;

const ONE: (&str, &str) = ("app_1.raw", "one");

#[test]
fn the_file_of_a_disabled_transfer_goes_with_its_own_link() {
    let server = Server::new();
    server.publish(&[ONE, ("two_1.raw", "ONE")]);
    let host = Host::with_app(&server);
    let second = app(&server.base, "Features=more\n", "").replace("app", "two");
    let second = second.replace(
        "CurrentSymlink=two.raw",
        "CurrentSymlink=/srv/links/two.raw",
    );
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=yes\n");
    host.update();
    let link = host.path("srv/links/two.raw");
    assert!(link.is_symlink());
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=no\n");
    host.run(&["vacuum"]).succeeds();
    assert!(!link.is_symlink(), "it would lead nowhere");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
}

#[test]
fn a_link_that_the_disabled_transfer_does_not_hold_stays() {
    let server = Server::new();
    server.publish(&[("two_1.raw", "ONE"), ONE]);
    let host = Host::with_app(&server);
    let second = app(&server.base, "Features=more\n", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=yes\n");
    host.update();
    host.write("srv/own.raw", "the operator's");
    host.link("srv/target/two.raw", "../own.raw");
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=no\n");
    host.run(&["vacuum"]).succeeds();
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_1.raw",
            "app_1.raw 0644",
            "two.raw -> ../own.raw"
        ]
    );
}

/// A component whose only transfer installs `NAME-@v-x.raw` into the directory of all of them.
fn component(host: &Host, server: &Server, name: &str) {
    let text = app(&server.base, "", "")
        .replace("app_@v.raw", &format!("{name}-@v-x.raw"))
        .replace("app.raw", &format!("{name}.raw"));
    host.write(&format!("etc/sysupdate.{name}.d/10-{name}.transfer"), &text);
}

#[test]
fn components_with_overlapping_patterns_leave_each_others_current_version_alone() {
    let server = Server::new();
    let host = Host::new();
    component(&host, &server, "docker");
    component(&host, &server, "docker-compose");
    let in_use = |version: &str| {
        assert_eq!(host.read("srv/target/docker.raw"), version);
        assert_eq!(host.read("srv/target/docker-compose.raw"), "c5");
    };
    server.publish(&[("docker-1-x.raw", "1"), ("docker-compose-5-x.raw", "c5")]);
    host.run(&["-C", "docker-compose", "update"]).succeeds();
    // What the pattern takes for a version of its own is the neighbour's: not refused, not offered, not removed.
    host.run(&["-C", "docker", "update", "1"]).succeeds();
    in_use("1");
    for version in ["2", "3", "4"] {
        let file = format!("docker-{version}-x.raw");
        server.publish(&[(&file, version), ("docker-compose-5-x.raw", "c5")]);
        host.run(&["-C", "docker", "update"]).succeeds();
        in_use(version);
        host.run(&["-C", "docker-compose", "update"]).succeeds();
        in_use(version);
    }
    for name in ["docker", "docker-compose"] {
        host.run(&["-C", name, "-m", "1", "vacuum"]).succeeds();
        in_use("4");
    }
    host.run(&["-A", "update"]).succeeds();
    in_use("4");
}

#[test]
fn components_with_overlapping_patterns_and_disabled_transfers_are_spared_too() {
    let server = Server::new();
    let host = Host::new();
    component(&host, &server, "docker");
    component(&host, &server, "docker-compose");
    server.publish(&[("docker-1-x.raw", "1"), ("docker-compose-5-x.raw", "c5")]);
    host.run(&["-C", "docker-compose", "update"]).succeeds();
    let path = "etc/sysupdate.docker.d/10-docker.transfer";
    let text = host
        .read(path)
        .replace("[Transfer]\n", "[Transfer]\nFeatures=more\n");
    host.write(path, &text);
    host.write(
        "etc/sysupdate.docker.d/more.feature",
        "[Feature]\nEnabled=no\n",
    );
    host.run(&["-C", "docker", "vacuum"]).succeeds();
    assert_eq!(host.read("srv/target/docker-compose.raw"), "c5");
}

/// A target whose versions are directories.
fn directories(server: &Server, more: &[&str]) -> Host {
    let host = Host::new();
    for prefix in [&["d"], more].concat() {
        let text = app(&server.base, "", "")
            .replacen("app_@v.raw", &format!("{prefix}_@v.raw"), 1)
            .replace("app_@v.raw", &format!("{prefix}-@v/f"))
            .replace("app.raw", &format!("{prefix}.raw"));
        host.write(&format!("etc/sysupdate.d/10-{prefix}.transfer"), &text);
    }
    host
}

/// The call comes to an end, whichever; one that does not is not left running.
#[track_caller]
fn ends(host: &Host, arguments: &[&str]) {
    let mut running = host.start(arguments);
    let started = Instant::now();
    while running.child.try_wait().expect("a child of ours").is_none() {
        if started.elapsed() > Duration::from_secs(10) {
            running.child.kill().expect("killed");
            let run = running.finish();
            let steps = run.stderr.matches("Successfully installed update").count();
            panic!("{arguments:?} runs without end, {steps} installations so far");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pending_mark_on_a_directory_is_never_installed_from() {
    let server = Server::new();
    server.publish(&[("d_1.raw", "one")]);
    let host = directories(&server, &[]);
    host.update();
    let stands = ["d-1/f 0644", "d.raw -> d-1/f"];
    assert_eq!(host.tree("srv/target"), stands);
    host.write("srv/target/.sysupdate.pending.d-3/f", "forged");
    for arguments in [
        &["--offline", "update"][..],
        &["update"],
        &["update", "3"],
        &["--offline", "update", "3"],
        &["update"],
    ] {
        ends(&host, arguments);
        assert_eq!(host.read("srv/target/d.raw"), "one", "{arguments:?}");
        assert!(!host.path("srv/target/d-3").exists(), "{arguments:?}");
    }
    host.run(&["vacuum"]).succeeds();
    assert_eq!(host.tree("srv/target"), stands);
    assert!(!host.path("srv/target/.sysupdate.pending.d-3").exists());
}

#[test]
fn a_pending_mark_on_a_directory_beside_an_installed_part_does_not_loop() {
    let server = Server::new();
    server.publish(&[("d_1.raw", "one"), ("e_1.raw", "ONE")]);
    let host = directories(&server, &["e"]);
    host.update();
    host.write("srv/target/e-3/f", "three");
    host.write("srv/target/.sysupdate.pending.d-3/f", "forged");
    for _ in 0..2 {
        ends(&host, &["update"]);
        assert_eq!(host.read("srv/target/d.raw"), "one");
        assert_eq!(host.read("srv/target/e.raw"), "ONE");
    }
    host.run(&["vacuum"]).succeeds();
    assert!(!host.path("srv/target/.sysupdate.pending.d-3").exists());
}

#[test]
fn a_version_that_lies_under_a_marked_directory_is_fetched_like_any_other() {
    let server = Server::new();
    server.publish(&[("d_3.raw", "three")]);
    let host = directories(&server, &[]);
    host.write("srv/target/.sysupdate.pending.d-3/f", "forged");
    host.update();
    assert_eq!(host.read("srv/target/d.raw"), "three");
    let text = fs::read_link(host.path("srv/target/d.raw")).expect("a link");
    assert_eq!(text, Path::new("d-3/f"));
}

/// systemd-sysext takes every name for an image that does not begin with `.#`.
#[test]
fn only_names_that_sysext_passes_over_appear_beside_the_link() {
    let server = Server::new();
    server.publish(&[ONE]);
    let host = Host::new();
    let text = app(&server.base, "", "").replace("app.raw\n", "/var/lib/extensions/app.raw\n");
    host.write("etc/sysupdate.d/10-app.transfer", &text);
    fs::create_dir_all(host.path("var/lib/extensions")).expect("created");
    let watch = inotify::init(CreateFlags::NONBLOCK).expect("inotify");
    let wanted = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
    inotify::add_watch(&watch, host.path("var/lib/extensions"), wanted).expect("watched");
    host.update();
    server.publish(&[ONE, ("app_2.raw", "two")]);
    // What a run left that died in between is replaced.
    host.link("var/lib/extensions/.#sysupdate.new.app.raw", "nowhere");
    host.update();
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut names = Vec::new();
    while let Ok(event) = reader.next() {
        let name = event.file_name().map(|name| name.to_bytes().to_vec());
        names.push(OsString::from_vec(name.unwrap_or_default()));
    }
    assert!(names.len() >= 6, "two swaps: {names:?}");
    for name in &names {
        let name = name.to_string_lossy();
        assert!(name == "app.raw" || name.starts_with(".#"), "{names:?}");
    }
    assert_eq!(
        host.tree("var/lib/extensions"),
        ["app.raw -> ../../../srv/target/app_2.raw"]
    );
}
