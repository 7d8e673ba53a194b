//! Manifests with faults: reference/03 and compat 2, B6, row by row.

use super::harness::Host;
use super::server::{Server, manifest, sha256};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NINE: &str = "19581e27de7ced00ff1ce50b2047e7a567c76b1cbaebabe5ef03f7c3017bb5b7";

const HEADER: &str = "  VERSION INSTALLED AVAILABLE ASSESSMENT\n";
const INSTALLED: &str = "● 2.0.0       ✓               current\n";
const NEW: &str = "↻ 9                     ✓     candidate\n";

/// A host with version 2.0.0, whose server is about to be changed.
fn installed() -> (Server, Host) {
    let server = Server::new();
    server.publish(&[("app_2.0.0.raw", "two")]);
    let host = Host::with_app(&server);
    host.update();
    (server, host)
}

/// What is wrong, the text with `HASH` for a digest of 64 digits, and what is said.
const FAULTS: [(&str, &str, &str); 22] = [
    (
        "no manifest",
        "garbage\n",
        "Corrupt manifest at line 1, refusing.",
    ),
    (
        "no hex",
        "xHASH  app_9.raw\n",
        "Failed to parse digest at manifest line 1, refusing.",
    ),
    (
        "65 digits",
        "HASH0  app_9.raw\n",
        "Missing space separator at manifest line 1, refusing.",
    ),
    (
        "tabs",
        "HASH\t\tapp_9.raw\n",
        "Missing space separator at manifest line 1, refusing.",
    ),
    (
        "one space",
        "HASH app_9.raw\n",
        "Missing binary/text input marker at manifest line 1, refusing.",
    ),
    (
        "no final newline",
        "HASH  app_9.raw",
        "Truncated manifest file at line 1, refusing.",
    ),
    (
        "no name",
        "HASH  \n",
        "Empty filename specified at manifest line 1, refusing.",
    ),
    (
        "a way out",
        "HASH  ../app_9.raw\n",
        "Invalid filename specified at manifest line 1, refusing.",
    ),
    (
        "a way out below",
        "HASH  a/../app_9.raw\n",
        "Invalid filename specified at manifest line 1, refusing.",
    ),
    (
        "an absolute name",
        "HASH  /app_9.raw\n",
        "Invalid filename specified at manifest line 1, refusing.",
    ),
    (
        "a dot",
        "HASH  ./app_9.raw\n",
        "Invalid filename specified at manifest line 1, refusing.",
    ),
    (
        "two slashes",
        "HASH  a//app_9.raw\n",
        "Invalid filename specified at manifest line 1, refusing.",
    ),
    (
        "a per cent",
        "HASH  app_%39.raw\n",
        "Invalid filename specified at manifest line 1, refusing.",
    ),
    (
        "CRLF",
        "HASH  app_9.raw\r\n",
        "Filename contains control characters at manifest line 1, refusing.",
    ),
    (
        "an escape",
        "HASH  app_\u{1b}[2J.raw\n",
        "Filename contains control characters at manifest line 1, refusing.",
    ),
    (
        "beside the pattern",
        "HASH  app_9.raw\nHASH  x\t\n",
        "Filename contains control characters at manifest line 2, refusing.",
    ),
    (
        "a blank line at the end",
        "HASH  app_9.raw\n\n",
        "Corrupt manifest at line 2, refusing.",
    ),
    (
        "a blank line",
        "HASH  app_9.raw\n\nHASH  app_9.raw\n",
        "Failed to parse digest at manifest line 2, refusing.",
    ),
    (
        "a comment",
        "# made by hand\nHASH  app_9.raw\n",
        "Failed to parse digest at manifest line 1, refusing.",
    ),
    (
        "BSD style",
        "SHA256 (app_9.raw) = HASH\n",
        "Failed to parse digest at manifest line 1, refusing.",
    ),
    (
        "escaped names",
        "\\HASH  app\\n_9.raw\n",
        "File names with escapes not supported in manifest at line 1, refusing.",
    ),
    (
        "a byte order mark",
        "\u{feff}HASH  app_9.raw\n",
        "Failed to parse digest at manifest line 1, refusing.",
    ),
];

#[test]
fn a_faulty_manifest_is_refused_with_its_line() {
    let (server, host) = installed();
    let text = |(what, text, message): (_, &str, _)| {
        (what, text.replace("HASH", NINE).into_bytes(), message)
    };
    let mut rows: Vec<(&str, Vec<u8>, &str)> = FAULTS.into_iter().map(text).collect();
    let mut row = |what, bytes: Vec<u8>, message| rows.push((what, bytes, message));
    let short = &NINE[..62];
    row(
        "31 bytes",
        format!("{short}\t\t  app_9.raw\n").into(),
        "Manifest hash at line 1 decoded to 31 bytes, refusing.",
    );
    row(
        "an odd digit",
        format!("{short}1\t  app_9.raw\n").into(),
        "Failed to parse digest at manifest line 1, refusing.",
    );
    row(
        "a long name",
        format!("{NINE}  {}\n", "a".repeat(256)).into(),
        "Invalid filename specified at manifest line 1, refusing.",
    );
    row(
        "a NUL byte",
        format!("{NINE}  app_9.raw\n\0").into(),
        "Manifest file has embedded NUL byte, refusing.",
    );
    row(
        "Latin-1",
        [NINE.as_bytes(), b"  app_\xe9.raw\n"].concat(),
        "Manifest file is not valid UTF-8, refusing.",
    );
    let before = host.tree("srv");
    for (what, text, message) in rows {
        server.put("/SHA256SUMS", text);
        for verb in ["list", "check-new", "update"] {
            let run = host.run(&[verb]);
            assert_eq!(
                (run.code, run.stdout.as_str()),
                (Some(1), ""),
                "{what}: {run:?}"
            );
            assert!(run.stderr.contains(message), "{what}: {run:?}");
        }
        assert_eq!(host.tree("srv"), before, "{what}");
    }
}

#[test]
fn an_odd_but_valid_manifest_is_read() {
    let (server, host) = installed();
    let rows: [(&str, String, &str); 12] = [
        ("empty", String::new(), INSTALLED),
        (
            "plain",
            format!("{NINE}  app_9.raw\n"),
            &format!("{NEW}{INSTALLED}"),
        ),
        (
            "binary marker",
            format!("{NINE} *app_9.raw\n"),
            &format!("{NEW}{INSTALLED}"),
        ),
        (
            "upper-case digits",
            format!("{}  app_9.raw\n", NINE.to_uppercase()),
            &format!("{NEW}{INSTALLED}"),
        ),
        (
            "twice",
            format!("{NINE}  app_9.raw\n").repeat(2),
            &format!("{NEW}{INSTALLED}"),
        ),
        (
            "a sub-directory that no pattern names",
            format!("{NINE}  s/app_9.raw\n"),
            INSTALLED,
        ),
        ("a third blank", format!("{NINE}   app_9.raw\n"), INSTALLED),
        (
            "a trailing slash",
            format!("{NINE}  app_9.raw/\n"),
            INSTALLED,
        ),
        (
            "a name that is no text of a version",
            format!("{NINE}  app_9,0.raw\n"),
            INSTALLED,
        ),
        (
            "the mark of an unfinished file",
            format!("{NINE}  .sysupdate.partial.app_9.raw\n"),
            INSTALLED,
        ),
        ("non-ASCII elsewhere", format!("{NINE}  é\n"), INSTALLED),
        (
            "an invalid freshness marker",
            format!("{EMPTY}  BEST-BEFORE-2020-13-41\n"),
            INSTALLED,
        ),
    ];
    for (what, text, table) in rows {
        server.put("/SHA256SUMS", text);
        let run = host.run(&["list"]);
        assert_eq!(run.code, Some(0), "{what}: {run:?}");
        assert_eq!(run.stdout, format!("{HEADER}{table}"), "{what}");
    }
    server.put("/SHA256SUMS", "");
    host.update().says("No update needed.");
    host.run(&["check-new"]).prints("");
}

#[test]
fn the_order_of_versions_is_that_of_the_specification() {
    let newest_first = [
        "20240101", "2^1", "2-1", "2", "2~rc1", "1.10", "1.9", "1.0+x", "1.0.0", "1.0-rc1", "1.0",
        "1.0~beta", "1", "v3", "b", "a",
    ];
    let mut names: Vec<String> = newest_first
        .iter()
        .map(|version| format!("app_{version}.raw"))
        .collect();
    names.sort();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let server = Server::new();
    server.publish(&files);
    let host = Host::with_app(&server);
    let listed = host.run(&["--json=short", "list"]).succeeds().json();
    assert_eq!(listed["all"], serde_json::json!(newest_first));
    let table = host.run(&["list"]).succeeds().stdout;
    assert!(table.starts_with(
        "  VERSION  INSTALLED AVAILABLE ASSESSMENT\n↻ 20240101               ✓     candidate\n"
    ));
}

#[test]
fn a_stale_manifest_is_refused_unless_told_otherwise() {
    let (server, mut host) = installed();
    let files = [("app_4.0.0.raw", "four")];
    let publish = |marker: &str| {
        server.publish(&files);
        server.put(
            "/SHA256SUMS",
            format!("{}{EMPTY}  {marker}\n", manifest(&files)),
        );
    };
    publish("BEST-BEFORE-2020-01-01");
    let refusal = "Best before marker indicates out-of-date file list, refusing (Wed 2020-01-01 00:00:00 UTC < ";
    for verb in ["list", "check-new", "update", "acquire"] {
        host.run(&[verb]).fails().says(refusal);
        host.run(&["--verify=no", verb]).fails().says(refusal);
    }
    assert_eq!(host.tree("srv/target").len(), 2, "nothing new");
    for ineffective in ["1", "", "perhaps"] {
        host.set("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS", ineffective);
        host.run(&["check-new"]).fails().says(refusal);
    }
    host.set("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS", "0");
    host.update()
        .says("Best before marker indicates out-of-date file list, but told to ignore this, hence ignoring (Wed 2020-01-01");
    assert_eq!(host.read("srv/target/app.raw"), "four");

    host.set("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS", "1");
    publish("BEST-BEFORE-9999-12-31");
    host.update().says("No update needed.");
}

#[test]
fn odd_markers_do_not_flood_the_log() {
    let (server, host) = installed();
    let odd: Vec<String> = (0..5000)
        .map(|number| format!("{NINE}  BEST-BEFORE-{number}\n"))
        .collect();
    server.put("/SHA256SUMS", format!("{}{}", manifest(&[]), odd.concat()));
    let run = host.run(&["check-new"]);
    let told = run
        .stderr
        .lines()
        .filter(|line| line.contains("best before"));
    assert_eq!(told.count(), 10, "{}", run.stderr);
    run.says("… and 9990 more.\n");
}

#[test]
fn a_digest_in_the_name_must_agree_with_the_manifest() {
    let server = Server::new();
    let host = Host::new();
    let definition =
        super::harness::app(&server.base, "", "").replacen("app_@v.raw", "app_@v_@h.raw", 1);
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
    let (right, wrong) = (sha256(b"x"), sha256(b"y"));
    server.publish(&[(&format!("app_1_{wrong}.raw"), "x")]);
    host.run(&["update"])
        .fails()
        .says("SHA256 sum parsed from filename and manifest don't match at line 1, refusing.");
    server.publish(&[(&format!("app_1_{right}.raw"), "x")]);
    host.update();
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
}

#[test]
fn a_manifest_that_is_missing_or_unreachable_fails_every_verb_that_needs_it() {
    let (server, host) = installed();
    let offline = format!("{HEADER}{INSTALLED}");
    server.remove("/SHA256SUMS");
    let message = format!(
        "HTTP request to {}/SHA256SUMS failed with code 404.",
        server.base
    );
    for verb in ["list", "check-new", "update", "acquire"] {
        host.run(&[verb]).fails().says(&message);
    }
    host.run(&["--json=short", "list"]).fails();
    host.run(&["--offline", "list"]).succeeds().prints(&offline);

    // A port that was free a moment ago: nobody listens there.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let dead = format!("http://{}", free.expect("a port"));
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &super::harness::app(&dead, "", ""),
    );
    for verb in ["list", "check-new", "update", "acquire"] {
        host.run(&[verb])
            .fails()
            .says("Transfer failed: ")
            .says("Could not connect to server");
    }
    host.run(&["--offline", "list"]).succeeds().prints(&offline);
}
