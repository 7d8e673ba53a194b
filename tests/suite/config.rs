//! The global file, `/etc/sysupdate/config.toml`, as a run obeys it.

use super::harness::{Host, app};
use super::server::{Answer, Server, manifest};

const FILE: &str = "etc/sysupdate/config.toml";

fn published() -> Server {
    let server = Server::new();
    server.put("/SHA256SUMS", manifest(&[("app_1.raw", "one")]));
    server.put("/app_1.raw", "one");
    server
}

#[test]
fn a_rewrite_leads_all_requests_elsewhere_and_the_definition_stays_as_it_is() {
    let server = published();
    let host = Host::new();
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &app("http://publisher.invalid/app", "Verify=no\n", ""),
    );
    host.write(
        FILE,
        &format!(
            "[network.rewrites]\n\"http://publisher.invalid/app\" = \"{}\"\n",
            server.base
        ),
    );
    host.run(&["update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

#[test]
fn what_the_file_says_is_obeyed_and_the_command_line_has_the_last_word() {
    let server = published();
    let host = Host::with_app(&server);
    host.write(
        FILE,
        "[network]\nproxy = \"http://127.0.0.1:9\"\nretries = 0\n",
    );
    host.run(&["check-new"]).fails();
    assert_eq!(server.take_log(), [], "everything goes through the proxy");
    host.write(FILE, "[network]\nretries = 0\n");
    host.run(&["check-new"]).succeeds().prints("1\n");
}

#[test]
fn a_mistake_in_the_file_stops_every_verb_with_its_place() {
    let server = published();
    let host = Host::with_app(&server);
    host.write(FILE, "[network]\nretires = 3\n");
    for verb in ["list", "check-new", "update", "status"] {
        host.run(&[verb])
            .fails()
            .says("etc/sysupdate/config.toml:2:1: ")
            .says("'retries'");
    }
    assert_eq!(server.take_log(), []);
}

#[test]
fn a_manifest_that_drips_a_little_too_fast_to_be_stalled_has_to_be_whole_in_time() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let drips = Answer::ok("a".repeat(100_000)).dripping();
    server.answer("/SHA256SUMS", drips);
    let host = Host::with_app(&server);
    host.write(
        "etc/sysupdate/config.toml",
        "[network]\nmanifest_timeout = \"1s\"\n",
    );
    host.run(&["check-new"])
        .fails()
        .says("/SHA256SUMS' takes longer than 1 s");
}

const EXAMPLE: &str = include_str!("../../config.toml.example");

/// The example with every key switched on.
fn whole() -> String {
    let key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(name, _)| !name.contains(' '))
    };
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if key(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_names_every_setting_and_says_what_the_defaults_are() {
    let host = Host::new();
    let keys = |text: &str| -> Vec<(String, String)> {
        let rows = host.run(&["--json=short", "config"]).succeeds().json();
        assert!(!text.is_empty());
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| {
            let text = |key: &str| row[key].as_str().expect("a text").to_owned();
            (text("key"), text("value"))
        })
        .collect()
    };
    let defaults = keys("none");
    // The example as it is changes nothing.
    host.write(FILE, EXAMPLE);
    assert_eq!(keys(EXAMPLE), defaults);
    host.write(FILE, &whole());
    let rows = host.run(&["--json=short", "config"]).succeeds().json();
    let rows = rows.as_array().expect("rows");
    for row in rows {
        let origin = row["origin"].as_str().expect("a text");
        assert!(
            origin.starts_with("etc/sysupdate/config.toml:"),
            "{row} is not in the example"
        );
    }
    for (key, _) in defaults {
        assert!(rows.iter().any(|row| row["key"] == key.as_str()), "{key}");
    }
    let table = host.run(&["config"]).succeeds();
    assert!(table.stdout.contains("network.jobs"), "{table:?}");
    assert!(
        table.stdout.contains("etc/sysupdate/config.toml:"),
        "{table:?}"
    );
}

#[test]
fn metrics_follow_each_run_that_changes_something() {
    let server = published();
    let host = Host::with_app(&server);
    host.write(
        FILE,
        "[metrics]\ntextfile = \"/var/lib/metrics/sysupdate.prom\"\n",
    );
    let file = "var/lib/metrics/sysupdate.prom";
    host.run(&["list"]).succeeds();
    assert!(!host.path(file).exists());
    host.run(&["update"]).succeeds();
    let text = host.read(file);
    for line in [
        "sysupdate_component_info{component=\"<default>\",version=\"1\"} 1\n",
        "sysupdate_last_result{component=\"<default>\",result=\"installed\"} 1\n",
        "sysupdate_held{component=\"<default>\"} 0\n",
        "sysupdate_reboot_required 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    host.run(&["hold"]).succeeds();
    assert!(
        host.read(file)
            .contains("sysupdate_held{component=\"<default>\"} 1\n")
    );
    // A file that cannot be written costs nobody the update.
    host.write(FILE, "[metrics]\ntextfile = \"/etc/os-release/x\"\n");
    host.write("etc/os-release", "ID=test\n");
    host.run(&["unhold"])
        .succeeds()
        .says("The metrics are not written");
}
