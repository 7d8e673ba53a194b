//! The main path: what reference/02 and 09 show, call by call; stdout and exit codes to the byte.

use super::harness::Host;
use super::server::{Server, sha256};

const URLS: &str =
    "ChangeLog=http://127.0.0.1/changelog/@v.html\nAppStream=http://127.0.0.1/app.metainfo.xml\n";
const ONE: (&str, &str) = ("app_1.0.0.raw", "one");
const ONE_ONE: (&str, &str) = ("app_1.1.0.raw", "one and a bit");
const TWO: (&str, &str) = ("app_2.0.0.raw", "two");
const THREE: (&str, &str) = ("app_3.0.0.raw", "three");

/// A call, its exit status, and its whole stdout with `BASE` for the server and `DIGEST` for that of version 1.1.0.
pub(super) type Call<'a> = (&'a [&'a str], i32, &'a str);

#[track_caller]
pub(super) fn check(host: &Host, server: &Server, calls: &[Call<'_>]) {
    for (arguments, code, stdout) in calls {
        let run = host.run(arguments);
        let expected = stdout
            .replace("BASE", &server.base)
            .replace("DIGEST", &sha256(ONE_ONE.1.as_bytes()));
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(*code), expected.as_str()),
            "{arguments:?}: {}",
            run.stderr
        );
    }
}

/// The blanks of a table that a path of any length stands in.
pub(super) fn squeezed(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn server() -> Server {
    let server = Server::new();
    server.publish(&[ONE, ONE_ONE, TWO]);
    server
}

#[test]
fn listing_an_empty_host_is_as_the_reference_shows_it() {
    let server = server();
    let host = Host::new();
    host.app(&server, URLS, "");
    let table = "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 ↻ 2.0.0                 ✓     candidate\n  \
                   1.1.0                 ✓     available\n  \
                   1.0.0                 ✓     available\n";
    let calls: [Call<'_>; 17] = [
        (&[], 0, table),
        (&["list"], 0, table),
        (&["--json=off", "list"], 0, table),
        (
            &["--json=short", "list"],
            0,
            "{\"current\":null,\"all\":[\"2.0.0\",\"1.1.0\",\"1.0.0\"],\"appstreamUrls\":[\"http://127.0.0.1/app.metainfo.xml\"]}\n",
        ),
        (
            &["--json=pretty", "list"],
            0,
            "{\n\t\"current\" : null,\n\t\"all\" : [\n\t\t\"2.0.0\",\n\t\t\"1.1.0\",\n\t\t\"1.0.0\"\n\t],\n\
             \t\"appstreamUrls\" : [\n\t\t\"http://127.0.0.1/app.metainfo.xml\"\n\t]\n}\n",
        ),
        (
            &["--no-legend", "list"],
            0,
            "↻ 2.0.0   ✓ candidate\n  1.1.0   ✓ available\n  1.0.0   ✓ available\n",
        ),
        (
            &["list", "1.1.0"],
            0,
            "  Version: 1.1.0\n    State: available\nInstalled: no\nAvailable: yes\nProtected: no\n Obsolete: no\n\
             ChangeLog: http://127.0.0.1/changelog/1.1.0.html\n\n",
        ),
        (
            &["--json=short", "list", "1.1.0"],
            0,
            "{\"version\":\"1.1.0\",\"newest\":false,\"available\":true,\"installed\":false,\"partial\":false,\
             \"pending\":false,\"obsolete\":false,\"protected\":false,\"incomplete\":false,\
             \"changelogUrls\":[\"http://127.0.0.1/changelog/1.1.0.html\"],\"contents\":[{\"type\":\"url-file\",\
             \"path\":\"BASE/app_1.1.0.raw\",\"sha256\":\"DIGEST\"}]}\n",
        ),
        (
            &["--json=pretty", "list", "1.1.0"],
            0,
            "{\n\t\"version\" : \"1.1.0\",\n\t\"newest\" : false,\n\t\"available\" : true,\n\t\"installed\" : false,\n\
             \t\"partial\" : false,\n\t\"pending\" : false,\n\t\"obsolete\" : false,\n\t\"protected\" : false,\n\
             \t\"incomplete\" : false,\n\t\"changelogUrls\" : [\n\t\t\"http://127.0.0.1/changelog/1.1.0.html\"\n\t],\n\
             \t\"contents\" : [\n\t\t{\n\t\t\t\"type\" : \"url-file\",\n\t\t\t\"path\" : \"BASE/app_1.1.0.raw\",\n\
             \t\t\t\"sha256\" : \"DIGEST\"\n\t\t}\n\t]\n}\n",
        ),
        (&["list", "9.9.9"], 1, ""),
        (&["--json=short", "list", "9.9.9"], 1, ""),
        (
            &["--offline", "list"],
            0,
            "  VERSION INSTALLED AVAILABLE ASSESSMENT\n",
        ),
        (
            &["--offline", "--json=short", "list"],
            0,
            "{\"current\":null,\"all\":[],\"appstreamUrls\":[\"http://127.0.0.1/app.metainfo.xml\"]}\n",
        ),
        (&["check-new"], 0, "2.0.0\n"),
        (
            &["--json=short", "check-new"],
            0,
            "{\"available\":\"2.0.0\"}\n",
        ),
        (
            &["--json=pretty", "check-new"],
            0,
            "{\n\t\"available\" : \"2.0.0\"\n}\n",
        ),
        (&["--offline", "check-new"], 1, ""),
    ];
    for call in &calls {
        if call.0 == ["list", "1.1.0"] {
            // Its table is as wide as the server's port is long.
            let run = host.run(call.0).succeeds();
            let table = format!(
                "TYPE PATH SHA256\nurl-file {}/app_1.1.0.raw {}",
                server.base,
                sha256(ONE_ONE.1.as_bytes())
            );
            let rest = run.stdout.strip_prefix(call.2).expect("the block");
            assert_eq!(squeezed(rest), table);
        } else {
            check(&host, &server, std::slice::from_ref(call));
        }
    }
    host.run(&["list", "9.9.9"])
        .fails()
        .says("Update '9.9.9' not found.");
    host.run(&["list", "bad/version"])
        .fails()
        .says("Update 'bad/version' not found.");
    assert_eq!(host.tree("srv"), [""; 0], "looking changes nothing");
}

#[test]
fn an_older_version_then_the_newest_are_installed_as_the_reference_shows_it() {
    let server = server();
    let host = Host::new();
    host.app(&server, URLS, "");
    let run = host.run(&["update", "1.0.0"]).succeeds().prints("");
    run.says("Selected update '1.0.0' is not the newest, proceeding anyway.\n")
        .says("Selected update '1.0.0' for install.\n")
        .says("ROOT/srv/target/app_1.0.0.raw")
        .says("Updated symlink 'ROOT/srv/target/app.raw' → 'app_1.0.0.raw'.\n")
        .says("Successfully installed update '1.0.0'.\n");
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.0.0.raw", "app_1.0.0.raw 0644"]
    );
    assert_eq!(host.read("srv/target/app.raw"), "one");
    let json = "{\"version\":\"1.0.0\",\"newest\":true,\"available\":true,\"installed\":true,\"partial\":false,\
                \"pending\":false,\"obsolete\":false,\"protected\":false,\"incomplete\":false,\
                \"changelogUrls\":[\"http://127.0.0.1/changelog/1.0.0.html\"],\"contents\":[{\"type\":\"regular-file\",\
                \"path\":\"ROOT/srv/target/app_1.0.0.raw\",\"mtime\":1795414499000000,\"mode\":420}]}\n";
    check(
        &host,
        &server,
        &[
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 ↻ 2.0.0                 ✓     candidate\n  \
                   1.1.0                 ✓     available\n\
                 ● 1.0.0       ✓         ✓     current\n",
            ),
            (
                &["--json=short", "list"],
                0,
                "{\"current\":\"1.0.0\",\"all\":[\"2.0.0\",\"1.1.0\",\"1.0.0\"],\"appstreamUrls\":[\"http://127.0.0.1/app.metainfo.xml\"]}\n",
            ),
            (&["--json=short", "list", "1.0.0"], 0, json),
            (&["check-new"], 0, "2.0.0\n"),
        ],
    );
    let block = host.run(&["list", "1.0.0"]).succeeds().stdout;
    assert_eq!(
        squeezed(&block),
        "● Version: 1.0.0\nState: current\nInstalled: yes (newest)\nAvailable: yes\nProtected: no\nObsolete: no\n\
         ChangeLog: http://127.0.0.1/changelog/1.0.0.html\n\nTYPE PATH MTIME MODE\n\
         regular-file ROOT/srv/target/app_1.0.0.raw Mon 2026-11-23 06:14:59 UTC 0644"
    );
    server.take_log();
    host.update()
        .prints("")
        .says("Updated symlink 'ROOT/srv/target/app.raw' → 'app_2.0.0.raw'.");
    assert_eq!(
        server.take_requests(),
        ["GET /SHA256SUMS 304", "GET /app_2.0.0.raw 200"]
    );
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_2.0.0.raw",
            "app_1.0.0.raw 0644",
            "app_2.0.0.raw 0644"
        ]
    );
    assert_eq!(
        host.tree("var/lib/systemd/sysupdate"),
        [
            "installdb/96ca231f92be6db1ddc1ce13081a8bf82aa92b1ea98505a2c67e59a1750705db -> /srv/target/./app_@v.raw"
        ]
    );
    host.update().prints("").says("No update needed.\n");
    check(
        &host,
        &server,
        &[
            (&["check-new"], 1, ""),
            (&["--json=short", "check-new"], 1, "{\"available\":null}\n"),
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 ● 2.0.0       ✓         ✓     current\n  \
                   1.1.0                 ✓     available\n  \
                   1.0.0       ✓         ✓     installed\n",
            ),
        ],
    );
    host.run(&["update", "2.0.0"])
        .succeeds()
        .says("Selected update '2.0.0' is already installed. Skipping update.");
    host.run(&["update", "7.7.7"])
        .fails()
        .says("Update '7.7.7' not found.");
}

#[test]
fn an_explicit_downgrade_moves_the_link_and_what_it_leads_to_is_current() {
    let server = server();
    let host = Host::with_app(&server);
    host.run(&["update", "1.0.0"]).succeeds();
    host.update();
    host.run(&["update", "1.1.0"])
        .succeeds()
        .prints("")
        .says("Selected update '1.1.0' is not the newest, proceeding anyway.\n")
        .says(
            "Selected update '1.1.0' is older than newest installed version, proceeding anyway.\n",
        )
        .says("Removing old 'ROOT/srv/target/app_1.0.0.raw' (regular-file).\n");
    let tree = [
        "app.raw -> app_1.1.0.raw",
        "app_1.1.0.raw 0644",
        "app_2.0.0.raw 0644",
    ];
    assert_eq!(host.tree("srv/target"), tree);
    // Better than the original, which calls the newest current whatever the link says.
    check(
        &host,
        &server,
        &[
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n  \
                   2.0.0       ✓         ✓     installed\n\
                 ● 1.1.0       ✓         ✓     current\n  \
                   1.0.0                 ✓     available\n",
            ),
            (
                &["--json=short", "list"],
                0,
                "{\"current\":\"1.1.0\",\"all\":[\"2.0.0\",\"1.1.0\",\"1.0.0\"],\"appstreamUrls\":[]}\n",
            ),
            (&["check-new"], 1, ""),
        ],
    );
    host.update().says("No update needed.");
    assert_eq!(host.tree("srv/target"), tree);
}

#[test]
fn an_installed_version_that_is_asked_for_gets_the_link_without_a_download() {
    let server = server();
    let host = Host::with_app(&server);
    host.run(&["update", "1.0.0"]).succeeds();
    host.update();
    server.take_log();
    // The original skips it, wherever the link leads: there is no way back but `ln`.
    for version in ["1.0.0", "2.0.0"] {
        host.run(&["update", version])
            .succeeds()
            .prints("")
            .says("is already installed. Switching to it.");
        let linked = format!("app.raw -> app_{version}.raw");
        assert_eq!(host.tree("srv/target")[0], linked);
        host.run(&["update"]).succeeds().says("No update needed.");
        assert_eq!(
            host.tree("srv/target")[0],
            linked,
            "a plain run respects the choice"
        );
        host.run(&["update", version])
            .succeeds()
            .says("is already installed. Skipping update.");
    }
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"; 6]);
}

#[test]
fn an_acquired_version_waits_for_its_installation() {
    let server = server();
    let host = Host::with_app(&server);
    host.update();
    server.publish(&[ONE, ONE_ONE, TWO, THREE]);
    host.run(&["acquire"])
        .succeeds()
        .prints("")
        .says("Successfully acquired 'http://127.0.0.1:");
    let pending = [
        ".sysupdate.pending.app_3.0.0.raw 0644",
        "app.raw -> app_2.0.0.raw",
        "app_2.0.0.raw 0644",
    ];
    assert_eq!(host.tree("srv/target"), pending);
    let json = "{\"version\":\"3.0.0\",\"newest\":true,\"available\":true,\"installed\":true,\"partial\":false,\
                \"pending\":true,\"obsolete\":false,\"protected\":false,\"incomplete\":false,\"changelogUrls\":[],\
                \"contents\":[{\"type\":\"regular-file\",\"path\":\"ROOT/srv/target/.sysupdate.pending.app_3.0.0.raw\",\
                \"mtime\":1795414499000000,\"mode\":420}]}\n";
    check(
        &host,
        &server,
        &[
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 \\ 3.0.0       ✓         ✓     current+pending\n  \
                   2.0.0       ✓         ✓     installed\n  \
                   1.1.0                 ✓     available\n  \
                   1.0.0                 ✓     available\n",
            ),
            (
                &["--offline", "list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 \\ 3.0.0       ✓               current+pending\n  \
                   2.0.0       ✓               installed\n",
            ),
            (
                &["--offline", "--json=short", "list"],
                0,
                "{\"current+pending\":\"3.0.0\",\"all\":[\"3.0.0\",\"2.0.0\"],\"appstreamUrls\":[]}\n",
            ),
            (&["--json=short", "list", "3.0.0"], 0, json),
            (&["check-new"], 0, "3.0.0\n"),
            (&["--offline", "check-new"], 0, "3.0.0\n"),
        ],
    );
    let block = host.run(&["list", "3.0.0"]).succeeds().stdout;
    assert!(
        block.contains("\nInstalled: yes (newest) (pending)\n"),
        "{block}"
    );
    server.take_log();
    host.run(&["acquire"])
        .succeeds()
        .says("Selected update '3.0.0' is already acquired and pending installation.");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 304"]);
    assert_eq!(host.tree("srv/target"), pending);
    host.run(&["update", "--offline"])
        .succeeds()
        .prints("")
        .says("Selected update '3.0.0' for install.")
        .says("Updated symlink 'ROOT/srv/target/app.raw' → 'app_3.0.0.raw'.");
    assert_eq!(server.take_requests(), [""; 0], "no network at all");
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_3.0.0.raw",
            "app_2.0.0.raw 0644",
            "app_3.0.0.raw 0644"
        ]
    );
    host.run(&["update", "--offline"])
        .succeeds()
        .says("No update needed.");
}

#[test]
fn a_bad_hash_costs_nothing_and_heals_with_the_server() {
    let server = Server::new();
    server.publish(&[ONE]);
    let host = Host::with_app(&server);
    host.update();
    server.publish(&[ONE, TWO]);
    server.put("/app_2.0.0.raw", "tampered");
    check(&host, &server, &[(&["check-new"], 0, "2.0.0\n")]);
    host.run(&["update"])
        .fails()
        .says("/app_2.0.0.raw")
        .says("does not match expected checksum");
    let stuck = [
        // Nobody reads what is not verified.
        ".sysupdate.partial.app_2.0.0.raw 0600",
        "app.raw -> app_1.0.0.raw",
        "app_1.0.0.raw 0644",
    ];
    assert_eq!(host.tree("srv/target"), stuck);
    check(
        &host,
        &server,
        &[
            (
                &["list"],
                0,
                "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                 \\ 2.0.0       ✓         ✓     current+partial\n  \
                   1.0.0       ✓         ✓     installed\n",
            ),
            (
                &["--json=short", "list"],
                0,
                "{\"current\":\"2.0.0\",\"all\":[\"2.0.0\",\"1.0.0\"],\"appstreamUrls\":[]}\n",
            ),
        ],
    );
    let detail = host.run(&["--offline", "list", "2.0.0"]).succeeds();
    assert!(detail.stdout.contains("partial"), "{detail:?}");
    // Scripts look for this sentence (compat 3, section 3.2 rule 6).
    let sentence = "Selected update '2.0.0' is already acquired and partially installed. Vacuum it to try installing again.";
    host.run(&["update"]).fails().says(sentence);
    assert_eq!(host.tree("srv/target"), stuck);
    assert_eq!(host.read("srv/target/app.raw"), "one");

    // Better than the original, which needs a vacuum: a mended server is enough.
    server.publish(&[ONE, TWO]);
    host.update().keeps_quiet_about("Vacuum it");
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_2.0.0.raw",
            "app_1.0.0.raw 0644",
            "app_2.0.0.raw 0644"
        ]
    );
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn the_booted_version_is_protected_and_marked() {
    let server = Server::new();
    server.publish(&[ONE]);
    let host = Host::new();
    host.write("etc/os-release", "ID=test\nIMAGE_VERSION=1.0.0\n");
    host.app(&server, "ProtectVersion=%A\n", "");
    host.update();
    server.publish(&[ONE, TWO]);
    host.update();
    check(
        &host,
        &server,
        &[(
            &["list"],
            0,
            "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
             ● 2.0.0       ✓         ✓     current\n\
             ○ 1.0.0       ✓         ✓     protected\n",
        )],
    );
    server.publish(&[ONE, TWO, THREE]);
    host.update()
        .says("Removing old 'ROOT/srv/target/app_2.0.0.raw' (regular-file).");
    assert_eq!(
        host.tree("srv/target"),
        [
            "app.raw -> app_3.0.0.raw",
            "app_1.0.0.raw 0644",
            "app_3.0.0.raw 0644"
        ]
    );
    let detail = host.run(&["list", "1.0.0"]).succeeds().stdout;
    assert!(detail.contains("\nProtected: yes\n"), "{detail}");
}
