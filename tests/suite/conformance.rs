//! What the real systemd-sysupdate 262.1 said, written down row by row (`integration/differential/record`), and what we say.

use std::cmp::Ordering;

use serde::Deserialize;
use sysupdate::pattern::{Pattern, Patterns};
use sysupdate::version;

use super::harness::Host;

const VERSIONS: &str = include_str!("../conformance/versions.json");
const NAMES: &str = include_str!("../conformance/names.json");
const MANIFESTS: &str = include_str!("../conformance/manifests.json");
const DEFINITIONS: &str = include_str!("../conformance/definitions.json");

fn rows<'a, T: Deserialize<'a>>(table: &'a str, at_least: usize) -> Vec<T> {
    let rows: Vec<T> = serde_json::from_str(table).expect("a table");
    assert!(rows.len() >= at_least, "only {} rows", rows.len());
    rows
}

#[test]
fn versions_have_the_order_of_the_original() {
    for (one, order, other) in rows::<(String, String, String)>(VERSIONS, 900) {
        let found = match version::compare(&one, &other) {
            Ordering::Less => "<",
            Ordering::Equal => "==",
            Ordering::Greater => ">",
        };
        assert_eq!(found, order, "'{one}' and '{other}'");
    }
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the words of the table")]
struct Name {
    patterns: String,
    name: String,
    version: Option<String>,
}

#[test]
fn names_match_as_they_do_there() {
    for row in rows::<Name>(NAMES, 70) {
        let patterns: Patterns = row
            .patterns
            .split_whitespace()
            .map(|text| text.parse::<Pattern>().expect(text))
            .collect();
        let found = patterns.match_path(&row.name).metadata;
        let version = found.map(|metadata| metadata.version.to_string());
        assert_eq!(version, row.version, "{} and {}", row.patterns, row.name);
    }
}

/// A text of bytes, each written as the character of its number.
fn bytes(text: &str) -> Vec<u8> {
    let bytes = text.chars().map(|one| u8::try_from(u32::from(one)));
    bytes.map(|byte| byte.expect("a byte")).collect()
}

fn lay_out(host: &Host, path: &str, text: &str) {
    host.write(path, "");
    std::fs::write(host.path(path), bytes(text)).expect("written");
}

/// `list`, and the versions that it shows; `None` when it is refused.
fn listed(host: &Host) -> (Option<Vec<String>>, String) {
    let run = host.run(&["--json=short", "list"]);
    let versions = (run.code == Some(0)).then(|| {
        let found: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        let all = found["all"].as_array().expect("versions").iter();
        all.map(|one| one.as_str().expect("text").to_owned())
            .collect()
    });
    (versions, run.stderr)
}

#[derive(Deserialize)]
struct Manifest {
    name: String,
    text: String,
    versions: Option<Vec<String>>,
    #[serde(default)]
    refusal: Vec<String>,
}

#[test]
fn manifests_are_taken_and_refused_as_they_are_there() {
    for row in rows::<Manifest>(MANIFESTS, 25) {
        let host = Host::new();
        host.write("etc/sysupdate.d/a.transfer", &format!(
            "[Transfer]\nVerify=no\n[Source]\nType=url-file\nPath=file://{}\nMatchPattern=a-@v.raw\n[Target]\nType=regular-file\nPath=/srv/t\nMatchPattern=a-@v.raw\n",
            host.path("srv/s").display()
        ));
        lay_out(&host, "srv/s/SHA256SUMS", &row.text);
        let (versions, said) = listed(&host);
        assert_eq!(versions, row.versions, "{}: {said}", row.name);
        for line in &row.refusal {
            // The time of the call stands in one of them.
            let fixed = line.split(" (THEN").next().unwrap_or(line);
            assert!(said.contains(fixed), "{}: no '{fixed}' in {said}", row.name);
        }
    }
}

#[derive(Deserialize)]
struct Definition {
    name: String,
    text: String,
    said: Vec<String>,
    versions: Option<Vec<String>>,
}

#[test]
fn definitions_are_read_and_refused_with_the_same_words() {
    for row in rows::<Definition>(DEFINITIONS, 50) {
        let host = Host::new();
        lay_out(&host, "etc/sysupdate.d/10-a.transfer", &row.text);
        host.write("srv/s/a-1", "1");
        let (versions, said) = listed(&host);
        assert_eq!(versions, row.versions, "{}: {said}", row.name);
        let said: Vec<String> = said
            .lines()
            .filter(|line| !line.contains("Did you mean") && !line.starts_with("hint: "))
            .map(|line| line.replace("ROOT", ""))
            .collect();
        for line in &row.said {
            // Below another root definitions are named without the slash (compat 1, section 2.12).
            let line = line
                .strip_prefix("/etc")
                .map_or(line.clone(), |rest| format!("etc{rest}"));
            assert!(
                said.contains(&line),
                "{}: no '{line}' in {said:#?}",
                row.name
            );
        }
    }
}
