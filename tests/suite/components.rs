//! Several components: selection, isolation, the native form, and what `status`, `components` and `list --why` tell.

use std::fmt::Write as _;

use super::harness::{Host, app};
use super::server::{Server, sha256};

/// The architecture as `%a` spells it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Serves versions of an extension below `/NAME/`.
fn extension(server: &Server, name: &str, versions: &[&str]) {
    let mut manifest = String::new();
    for version in versions {
        let file = format!("{name}-{version}-{}.raw", architecture());
        let content = format!("{name} {version}");
        let digest = sha256(content.as_bytes());
        let _ = writeln!(manifest, "{digest}  {file}");
        server.put(&format!("/{name}/{file}"), content);
    }
    server.put(&format!("/{name}/SHA256SUMS"), manifest);
}

fn native(host: &Host, server: &Server, name: &str, more: &str) {
    let text = format!(
        "[source]\nurl = \"{}/{name}\"\n[transfer]\nverify = \"none\"\n{more}",
        server.base
    );
    host.write(&format!("etc/sysupdate/transfer.d/{name}.toml"), &text);
}

/// Three components named in the native form, version 1 of each installed, 2 published.
fn three() -> (Server, Host) {
    let (server, host) = (Server::new(), Host::new());
    for name in ["alpha", "beta", "gamma"] {
        extension(&server, name, &["1"]);
        native(&host, &server, name, "");
    }
    host.run(&["-A", "update"]).succeeds().prints("");
    for name in ["alpha", "beta", "gamma"] {
        extension(&server, name, &["1", "2"]);
    }
    (server, host)
}

fn linked(host: &Host, name: &str) -> String {
    host.read(&format!("var/lib/extensions/{name}.raw"))
}

#[test]
fn the_shortest_native_definition_installs_an_extension() {
    let (server, host) = (Server::new(), Host::new());
    extension(&server, "wasmtime", &["26.0.0", "27.0.0"]);
    native(&host, &server, "wasmtime", "");
    host.run(&["--component=wasmtime", "check-new"])
        .succeeds()
        .prints("27.0.0\n");
    host.run(&["-C", "wasmtime", "update"]).succeeds();
    let file = format!("wasmtime-27.0.0-{}.raw", architecture());
    assert_eq!(
        host.tree_without_memory("var/lib"),
        [
            format!("extensions.d/wasmtime/{file} 0644"),
            format!("extensions/wasmtime.raw -> ../extensions.d/wasmtime/{file}"),
            format!(
                "systemd/sysupdate/installdb.wasmtime/{} -> {}",
                sha256(record().as_bytes()),
                record()
            ),
            "sysupdate/history.jsonl 0644".to_owned(),
        ]
    );
    assert_eq!(linked(&host, "wasmtime"), "wasmtime 27.0.0");
}

fn record() -> String {
    format!(
        "/var/lib/extensions.d/wasmtime/./wasmtime-@v-{}.raw",
        architecture()
    )
}

#[test]
fn only_the_selected_component_is_touched() {
    let (_server, host) = three();
    host.run(&["-C", "beta", "update"]).succeeds();
    assert_eq!(
        ["alpha", "beta", "gamma"].map(|name| linked(&host, name)),
        ["alpha 1", "beta 2", "gamma 1"]
    );
    // The last of several selections counts.
    host.run(&["-A", "-C", "gamma", "update"]).succeeds();
    assert_eq!(
        ["alpha", "beta", "gamma"].map(|name| linked(&host, name)),
        ["alpha 1", "beta 2", "gamma 2"]
    );
}

#[test]
fn one_broken_component_does_not_hold_up_the_others() {
    type Breakage = fn(&Server, &Host);
    let breakages: [(&str, Breakage); 4] = [
        ("its payload is tampered with", |server, _| {
            server.put(&format!("/beta/beta-2-{}.raw", architecture()), "tampered");
        }),
        ("its manifest is gone", |server, _| {
            server.remove("/beta/SHA256SUMS");
        }),
        ("its definition is broken", |_, host| {
            host.write("etc/sysupdate/transfer.d/beta.toml", "[source]\nurl = 7\n");
        }),
        ("it is defined twice", |server, host| {
            host.write(
                "etc/sysupdate.beta.d/10-app.transfer",
                &app(&server.base, "", ""),
            );
        }),
    ];
    for (what, break_it) in breakages {
        let (server, host) = three();
        break_it(&server, &host);
        let run = host.run(&["-A", "update"]);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(1), ""),
            "{what}: {run:?}"
        );
        assert!(run.stderr.contains("beta: "), "{what}: {run:?}");
        let now = ["alpha", "beta", "gamma"].map(|name| linked(&host, name));
        assert_eq!(now, ["alpha 2", "beta 1", "gamma 2"], "{what}");
    }
    let (server, host) = three();
    server.remove("/beta/SHA256SUMS");
    let check = host.run(&["-A", "check-new"]);
    assert_eq!(check.code, Some(1), "not all could be asked: {check:?}");
    check
        .prints("COMPONENT VERSION\nalpha     2\ngamma     2\n")
        .says("beta: ");
}

#[test]
fn checking_all_components_lists_what_is_new() {
    let (server, host) = three();
    extension(&server, "gamma", &["1"]);
    host.run(&["-A", "check-new"])
        .succeeds()
        .prints("COMPONENT VERSION\nalpha     2\nbeta      2\n");
    host.run(&["-A", "--no-legend", "check-new"])
        .succeeds()
        .prints("alpha 2\nbeta  2\n");
    host.run(&["-A", "--json=short", "check-new"]).succeeds().prints(
        "{\"components\":[{\"component\":\"alpha\",\"available\":\"2\"},{\"component\":\"beta\",\"available\":\"2\"},\
         {\"component\":\"gamma\",\"available\":null}]}\n",
    );
    host.run(&["-A", "update"]).succeeds();
    let quiet = host.run(&["-A", "check-new"]);
    assert_eq!(
        (quiet.code, quiet.stdout.as_str()),
        (Some(1), ""),
        "{quiet:?}"
    );
    host.run(&["-A", "update"])
        .succeeds()
        .says("alpha: No update needed.");
}

#[test]
fn nothing_defined_is_told_in_json_as_an_empty_list() {
    let host = Host::new();
    host.run(&["-A", "--json=short", "check-new"])
        .succeeds()
        .prints("{\"components\":[]}\n");
    host.run(&["--json=short", "components"])
        .succeeds()
        .prints("{\"default\":false,\"components\":[]}\n");
    host.run(&["--json=short", "status"])
        .succeeds()
        .prints("[]\n");
}

#[test]
fn the_default_component_takes_part_in_all() {
    let (server, host) = three();
    server.put("/app_1.raw", "one");
    server.put("/SHA256SUMS", format!("{}  app_1.raw\n", sha256(b"one")));
    host.app(&server, "", "");
    host.run(&["-A", "check-new"])
        .succeeds()
        .prints("COMPONENT VERSION\n<default> 1\nalpha     2\nbeta      2\ngamma     2\n");
    host.run(&["-A", "update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert_eq!(linked(&host, "gamma"), "gamma 2");
}

#[test]
fn a_disabled_component_is_passed_over_and_refused_by_name() {
    let (_server, host) = three();
    host.write("etc/sysupdate.beta.component", "[Component]\nEnabled=no\n");
    host.run(&["-A", "update"])
        .succeeds()
        .says("Component is disabled.");
    assert_eq!(
        ["alpha", "beta", "gamma"].map(|name| linked(&host, name)),
        ["alpha 2", "beta 1", "gamma 2"]
    );
    host.run(&["-C", "beta", "update"])
        .fails()
        .says("Component is disabled.");
}

#[test]
fn a_disabled_feature_keeps_its_transfers_out() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one"), ("extra_1.raw", "ONE")]);
    let host = Host::with_app(&server);
    let extra = app(&server.base, "Features=more\n", "").replace("app", "extra");
    host.write("etc/sysupdate.d/20-extra.transfer", &extra);
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=no\n");
    host.update();
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=yes\n");
    host.run(&["check-new"]).succeeds().prints("1\n");
    host.update();
    assert_eq!(host.tree("srv/target").len(), 4);
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=no\n");
    let vacuum = host
        .run(&["--json=short", "vacuum"])
        .succeeds()
        .prints("{\"removed\":0,\"disabledTransfers\":1}\n");
    vacuum.says("Removing disabled 'ROOT/srv/target/extra_1.raw' (regular-file).");
    let left = ["app.raw -> app_1.raw", "app_1.raw 0644"];
    assert_eq!(host.tree("srv/target"), left, "no link leads nowhere");
}

#[test]
fn each_exclusion_names_the_line_that_makes_it() {
    let (server, host) = (Server::new(), Host::new());
    extension(
        &server,
        "tool",
        &["1.0.0", "1.2.0", "1.3.0", "1.3.1", "2.0.0", "v1.3.5"],
    );
    let more = "range = \"~1.3\"\nmin_version = \"1.1\"\nskip = [\"1.3.1\"]\n";
    native(&host, &server, "tool", more);
    let file = "etc/sysupdate/transfer.d/tool.toml";
    let table = host.run(&["-C", "tool", "list", "--why"]).succeeds().stdout;
    let why = |version: &str| {
        let mut lines = table
            .lines()
            .filter(|line| line.split_whitespace().any(|word| word == version));
        lines
            .next()
            .unwrap_or_else(|| panic!("no {version} in {table}"))
            .to_owned()
    };
    assert!(
        why("2.0.0").ends_with(&format!("outside the version range ~1.3 ({file}:5)")),
        "{table}"
    );
    assert!(
        why("1.3.1").ends_with(&format!("on the list of versions to skip ({file}:7)")),
        "{table}"
    );
    assert!(
        why("1.2.0").ends_with(&format!("outside the version range ~1.3 ({file}:5)")),
        "{table}"
    );
    assert!(
        why("1.0.0").ends_with(&format!("older than the minimum version 1.1 ({file}:6)")),
        "{table}"
    );
    // A leading v is ignored by the range; in the version order letters are older than digits.
    assert!(
        why("v1.3.5").ends_with(&format!("older than the minimum version 1.1 ({file}:6)")),
        "{table}"
    );
    assert!(
        why("1.3.0").ends_with("newest version that fits"),
        "{table}"
    );
    host.run(&["-C", "tool", "check-new"])
        .succeeds()
        .prints("1.3.0\n");
    for (version, message) in [
        ("2.0.0", "Selected update '2.0.0' is excluded, refusing"),
        ("1.3.1", "Selected update '1.3.1' is excluded, refusing"),
        ("1.0.0", "Selected update '1.0.0' is obsolete, refusing."),
    ] {
        host.run(&["-C", "tool", "update", version])
            .fails()
            .says(message);
    }
    assert_eq!(host.tree_without_memory("var/lib"), [""; 0]);
    host.run(&["-C", "tool", "update"]).succeeds();
    assert_eq!(linked(&host, "tool"), "tool 1.3.0");
    let json = host
        .run(&["-C", "tool", "--json=short", "list", "--why"])
        .succeeds()
        .json();
    let reasons = json.as_array().expect("a list");
    assert_eq!(reasons.len(), 6);
    assert!(
        reasons
            .iter()
            .all(|row| row["reason"].is_string() && row["verification"] == "unsigned"),
        "{json}"
    );
}

#[test]
fn a_maximum_keeps_newer_versions_out_in_systemds_form_too() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "1"), ("app_2.raw", "2"), ("app_3.raw", "3")]);
    let host = Host::new();
    host.app(&server, "MaxVersion=2\nMinVersion=2\n", "");
    host.run(&["check-new"]).succeeds().prints("2\n");
    let table = "  VERSION INSTALLED AVAILABLE ASSESSMENT\n  \
                   3                     ✓     available\n\
                 ↻ 2                     ✓     candidate\n\
                 × 1                     ✓     available+obsolete\n";
    host.run(&["list"]).succeeds().prints(table);
    let why = host.run(&["list", "--why"]).succeeds().stdout;
    assert!(
        why.contains("newer than the maximum version 2 (etc/sysupdate.d/10-app.transfer:3)"),
        "{why}"
    );
}

#[test]
fn components_are_listed_in_both_forms() {
    let (server, host) = (Server::new(), Host::new());
    native(&host, &server, "zeta", "description = \"The last one\"\n");
    host.write(
        "etc/sysupdate.mid.d/10-app.transfer",
        &app(&server.base, "", ""),
    );
    host.write(
        "etc/sysupdate.mid.component",
        "[Component]\nDescription=The one between\nDocumentation=https://example.org/mid\nEnabled=no\n",
    );
    host.run(&["--json=short", "components"])
        .succeeds()
        .prints("{\"default\":false,\"components\":[\"mid\",\"zeta\"]}\n");
    host.app(&server, "", "");
    host.run(&["--json=short", "components"])
        .succeeds()
        .prints("{\"default\":true,\"components\":[\"mid\",\"zeta\"]}\n");
    host.run(&["--json=short", "-C", "zeta", "components"])
        .succeeds()
        .prints("{\"default\":false,\"components\":[\"mid\",\"zeta\"]}\n");
    let table = "ENABLED SUGGESTED COMPONENT DESCRIPTION       DOCUMENTATION\n\
                 -       -         <default> Default Component -\n\
                 ✗       ✗         mid       The one between   https://example.org/mid\n\
                 ✓       ✗         zeta      The last one      -\n";
    host.run(&["components"]).succeeds().prints(table);
    // Without a line of its own it has that of a transfer.
    host.write("etc/sysupdate.mid.component", "[Component]\nEnabled=no\n");
    host.write(
        "etc/sysupdate.mid.d/20-told.transfer",
        &app(&server.base, "X-Description=Of a transfer\n", "").replace("app", "told"),
    );
    host.run(&["components"])
        .succeeds()
        .shows("mid       Of a transfer");
    // A broken one is named in JSON, and left out of the table after its message.
    host.write("etc/sysupdate.mid.d/10-app.transfer", "[Source]\n");
    host.run(&["--json=short", "components"])
        .succeeds()
        .prints("{\"default\":true,\"components\":[\"mid\",\"zeta\"]}\n");
    let broken = host.run(&["--no-legend", "components"]).succeeds();
    assert_eq!(broken.stdout.lines().count(), 2, "{broken:?}");
    broken.says("etc/sysupdate.mid.d/10-app.transfer:1: ");
}

#[test]
fn status_shows_each_component_without_the_network() {
    let (server, host) = three();
    host.run(&["-C", "alpha", "update"]).succeeds();
    host.run(&["-C", "beta", "acquire"]).succeeds();
    host.remove("var/lib/extensions/gamma.raw");
    server.take_log();
    let table = host.run(&["status"]).succeeds().stdout;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "COMPONENT",
            "CURRENT",
            "INSTALLED",
            "PENDING",
            "LINK",
            "MERGED",
            "VERIFICATION",
            "NOTE"
        ]
    );
    assert_eq!(
        lines[1],
        ["alpha", "2", "2", "1", "-", "linked", "-", "unsigned", "-"]
    );
    assert_eq!(
        lines[2],
        ["beta", "1", "1", "2", "linked", "-", "unsigned", "-"]
    );
    assert_eq!(
        lines[3],
        ["gamma", "1", "1", "-", "missing", "-", "unsigned", "-"]
    );
    let json = host.run(&["--json=short", "status"]).succeeds().json();
    assert_eq!(json[0]["component"], "alpha");
    assert_eq!(json[0]["installed"], serde_json::json!(["2", "1"]));
    assert_eq!(json[1]["pending"], "2");
    assert_eq!(json[2]["links"][0]["state"], "missing");
    assert_eq!(server.take_log(), [], "nobody was asked");
    let one = host
        .run(&["-C", "beta", "--json=short", "status"])
        .succeeds()
        .json();
    assert_eq!(one.as_array().map(Vec::len), Some(1));
}

#[test]
fn status_fails_when_somebody_should_look() {
    let (_server, host) = three();
    host.run(&["status"]).succeeds();
    // Others are shown all the same.
    let beta = host.read("etc/sysupdate/transfer.d/beta.toml");
    host.write("etc/sysupdate/transfer.d/beta.toml", "[source]\nurl = 7\n");
    let run = host.run(&["status"]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.shows("alpha").shows("gamma").says("beta.toml:2:7");
    host.write("etc/sysupdate/transfer.d/beta.toml", &beta);
    host.run(&["status"]).succeeds();
    host.link("var/lib/extensions/gamma.raw", "../nowhere.raw");
    let run = host.run(&["status"]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.shows("dangling");
    host.run(&["components"]).succeeds();
}

#[test]
fn native_files_are_strict() {
    let (server, host) = (Server::new(), Host::new());
    let rows = [
        (
            "[source]\nurl = \"BASE\"\nmacth = [\"x-@v\"]\n",
            ":3:1: ",
            "match",
        ),
        ("[source]\nurl = \"BASE\"\n[targte]\n", ":3:2: ", "target"),
        (
            "[source]\nurl = \"BASE\"\n[transfer]\ninstances = 1\n",
            ":4:1: ",
            "instances",
        ),
        ("[source]\nurl = 7\n", ":2:7: ", "must be a string"),
        ("[source\n", ":1:", ""),
        (
            "[source]\nurl = \"BASE\"\n[transfer]\nrange = \"newest\"\n",
            ":4:",
            "newest",
        ),
        ("", ":1:1: ", "the source has no 'url'"),
    ];
    for (text, place, message) in rows {
        host.write(
            "etc/sysupdate/transfer.d/x.toml",
            &text.replace("BASE", &server.base),
        );
        let run = host.run(&["-C", "x", "list"]);
        if text.is_empty() {
            // An empty file is a mask.
            run.fails()
                .says("No transfer definitions for component 'x' found.");
        } else {
            run.fails()
                .says(&format!("etc/sysupdate/transfer.d/x.toml{place}"))
                .says(message);
        }
    }
}
