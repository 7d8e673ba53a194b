//! How many versions are kept, and which are never removed.

use super::harness::Host;
use super::server::Server;

const NAMES: [&str; 5] = [
    "app_1.raw",
    "app_2.raw",
    "app_3.raw",
    "app_4.raw",
    "app_5.raw",
];

/// Installs the first `count` versions, one run after the other, keeping all of them.
fn installed(count: usize) -> (Server, Host) {
    let (server, host) = (Server::new(), Host::new());
    host.app(&server, "", "InstancesMax=9\n");
    for last in 1..=count {
        publish(&server, last);
        host.update();
    }
    (server, host)
}

fn publish(server: &Server, last: usize) {
    let files: Vec<(&str, &str)> = NAMES[..last].iter().map(|name| (*name, *name)).collect();
    server.publish(&files);
}

/// The versions in the target, complete ones.
fn versions(host: &Host) -> Vec<String> {
    let tree = host.tree("srv/target");
    let files = tree
        .iter()
        .filter_map(|line| line.strip_prefix("app_")?.strip_suffix(".raw 0644"));
    files.map(str::to_owned).collect()
}

#[test]
fn what_an_open_trial_may_go_back_to_stays() {
    let (server, host) = installed(3);
    let record = |component: &str| {
        format!(
            r#"{{"format": 1, "boot": null, "started": "2026-01-01T00:00:00Z", "command": "update", "phase": "staged",
                 "members": [{{"component": {component}, "version": "3", "previous": "1", "parts": [],
                 "activation": {{"mode": "stage", "restart": "auto", "reload": "auto"}},
                 "check": {{"units": [], "command": [], "settle": null}}, "on_failure": "revert"}}]}}"#
        )
    };
    let path = "var/lib/sysupdate/trial/record.json";
    host.write(path, &record("null"));
    host.run(&["-m", "2", "vacuum"]).succeeds();
    assert_eq!(versions(&host), ["1", "2", "3"]);
    publish(&server, 4);
    host.run(&["-m", "2", "update"]).succeeds();
    assert_eq!(versions(&host)[0], "1");

    host.write(path, "{");
    host.run(&["-m", "1", "vacuum"])
        .succeeds()
        .says("nothing is removed: the record of the unfinished trial");
    assert_eq!(versions(&host)[0], "1");

    host.write(path, &record("\"other\""));
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(versions(&host), ["4"]);
}

#[test]
fn an_update_keeps_as_many_versions_as_are_wanted() {
    for (kept, left) in [
        (2, vec!["3", "4"]),
        (3, vec!["2", "3", "4"]),
        (9, vec!["1", "2", "3", "4"]),
    ] {
        let (server, host) = installed(3);
        host.app(&server, "", &format!("InstancesMax={kept}\n"));
        publish(&server, 4);
        host.update();
        assert_eq!(versions(&host), left);
    }
    let (server, host) = installed(3);
    publish(&server, 4);
    host.run(&["-m", "2", "update"]).succeeds();
    assert_eq!(
        versions(&host),
        ["3", "4"],
        "the option overrides the definition"
    );
}

#[test]
fn vacuum_removes_the_oldest_and_counts_versions() {
    let (server, host) = installed(4);
    host.run(&["vacuum"])
        .succeeds()
        .prints("")
        .says("Making room…\n")
        .says("Found nothing to remove.\n");
    host.app(&server, "", "InstancesMax=2\n");
    host.run(&["vacuum"])
        .succeeds()
        .says("Removing old 'ROOT/srv/target/app_1.raw' (regular-file).\n")
        .says("Removed 2 instances.\n");
    assert_eq!(versions(&host), ["3", "4"]);
    host.run(&["-m", "1", "--json=short", "vacuum"])
        .succeeds()
        .prints("{\"removed\":1,\"disabledTransfers\":0}\n");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_4.raw", "app_4.raw 0644"]
    );
}

#[test]
fn what_the_link_leads_to_is_never_removed() {
    let (_server, host) = installed(4);
    host.link("srv/target/app.raw", "app_1.raw");
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );

    // Through a second link, too.
    let (_server, host) = installed(3);
    host.link("srv/target/app.raw", "../other");
    host.link("srv/other", "target/app_2.raw");
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(versions(&host), ["2"]);
}

#[test]
fn an_operators_choice_survives_the_retention_of_the_next_update_only_as_an_old_version() {
    let (server, host) = installed(2);
    host.remove("srv/target/app_1.raw");
    host.run(&["update", "1"]).succeeds();
    host.app(&server, "", "InstancesMax=2\n");
    publish(&server, 3);
    host.update();
    assert_eq!(host.tree("srv/target")[0], "app.raw -> app_3.raw");
    assert_eq!(versions(&host).len(), 2);
}

#[test]
fn without_a_link_the_newest_is_never_removed() {
    let (server, host) = installed(3);
    let text = host
        .read("etc/sysupdate.d/10-app.transfer")
        .replace("CurrentSymlink=app.raw\n", "");
    host.write("etc/sysupdate.d/10-app.transfer", &text);
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(versions(&host), ["3"]);
    publish(&server, 4);
    host.update();
    assert_eq!(versions(&host), ["3", "4"]);
}

#[test]
fn protected_versions_count_and_stay() {
    let (server, host) = installed(4);
    host.app(&server, "ProtectVersion=1\n", "InstancesMax=2\n");
    host.run(&["vacuum"]).succeeds();
    assert_eq!(versions(&host), ["1", "4"]);
    // Better than the original, which would remove the newest here (compat 3, section 3.2 rule 2).
    host.run(&["-m", "1", "vacuum"]).succeeds();
    assert_eq!(versions(&host), ["1", "4"]);
    publish(&server, 5);
    host.update();
    assert_eq!(versions(&host), ["1", "5"]);
}

#[test]
fn vacuum_takes_leftovers_and_leaves_strangers() {
    let (_server, host) = installed(2);
    for name in [
        ".sysupdate.pending.app_6.raw",
        ".sysupdate.partial.app_5.raw",
        ".sysupdate.partial.nobody",
        "README",
        "app_7.img",
        ".hidden",
    ] {
        host.write(&format!("srv/target/{name}"), "x");
    }
    let listed = host.run(&["--offline", "list"]).succeeds().stdout;
    let expected = "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                    \\ 6           ✓               current+pending\n\
                    \\ 5           ✓               installed+partial\n  \
                      2           ✓               installed\n  \
                      1           ✓               installed\n";
    assert_eq!(listed, expected, "the original aborts here");
    host.run(&["vacuum"])
        .succeeds()
        .says(
            "Removing old pending 'ROOT/srv/target/.sysupdate.pending.app_6.raw' (regular-file).\n",
        )
        .says(
            "Removing old partial 'ROOT/srv/target/.sysupdate.partial.app_5.raw' (regular-file).\n",
        )
        .keeps_quiet_about("nobody")
        .says("Removed 2 instances.\n");
    let mut left: Vec<String> = [".hidden", "README", "app_1.raw", "app_2.raw", "app_7.img"]
        .map(|name| format!("{name} 0644"))
        .into();
    left.push("app.raw -> app_2.raw".to_owned());
    left.sort();
    assert_eq!(host.tree("srv/target"), left);
}

#[test]
fn leftovers_can_be_kept() {
    let (server, host) = installed(1);
    host.app(&server, "", "RemoveTemporary=no\n");
    host.write("srv/target/.sysupdate.partial.nobody", "x");
    host.run(&["vacuum"]).succeeds();
    assert!(host.path("srv/target/.sysupdate.partial.nobody").exists());
}

#[test]
fn a_failed_update_has_cost_no_old_version() {
    let (server, host) = installed(2);
    host.app(&server, "", "InstancesMax=2\n");
    publish(&server, 3);
    server.put("/app_3.raw", "tampered");
    host.run(&["update"]).fails();
    assert_eq!(versions(&host), ["1", "2"]);
    host.run(&["acquire"]).fails();
    publish(&server, 3);
    host.run(&["acquire"]).succeeds();
    assert_eq!(
        versions(&host),
        ["1", "2"],
        "nothing old goes before the new one stands"
    );
    host.run(&["update", "--offline"]).succeeds();
    assert_eq!(versions(&host), ["2", "3"]);
}

#[test]
fn instances_that_are_links_or_directories_are_nobodys() {
    let (server, host) = installed(1);
    host.link("srv/target/app_8.raw", "app_1.raw");
    host.write("srv/target/app_9.raw/file", "x");
    let listed = host
        .run(&["--offline", "--json=short", "list"])
        .succeeds()
        .json();
    assert_eq!(listed["all"], serde_json::json!(["1"]));
    publish(&server, 2);
    host.run(&["-m", "2", "update"]).succeeds();
    assert!(
        host.path("srv/target/app_9.raw/file").exists()
            && host.path("srv/target/app_8.raw").is_symlink()
    );
}

#[test]
fn what_a_killed_run_had_yet_to_remove_goes_with_the_next_one_and_nothing_else() {
    let (_server, host) = installed(3);
    let note = |text: &str| host.write("var/lib/sysupdate/owed/default", text);
    // What is current, what is no instance, and what is not there stay what they are.
    host.write("srv/target/other", "mine");
    note(
        "[\"/srv/target/app_1.raw\", \"/srv/target/app_3.raw\", \"/srv/target/other\", \"/srv/target/app_9.raw\"]",
    );
    host.run(&["update"]).succeeds().says("No update needed.");
    assert_eq!(versions(&host), ["2", "3"]);
    assert_eq!(host.read("srv/target/other"), "mine");
    assert!(!host.path("var/lib/sysupdate/owed/default").exists());
    note("{garbled");
    host.run(&["update"]).succeeds();
    assert_eq!(versions(&host), ["2", "3"]);
}

#[test]
fn an_update_leaves_no_note_of_what_it_has_removed() {
    let (server, host) = installed(3);
    host.app(&server, "", "InstancesMax=2\n");
    host.run(&["update"]).succeeds().says("No update needed.");
    assert_eq!(
        versions(&host),
        ["1", "2", "3"],
        "only an update makes room"
    );
    publish(&server, 4);
    host.update();
    assert_eq!(versions(&host), ["3", "4"]);
    assert!(!host.path("var/lib/sysupdate/owed/default").exists());
}
