//! The variables that are read: the README names all of them and no others, and they do what is said there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::harness::{Host, app};
use super::secrets::proxy;
use super::server::Server;
use super::tls;

/// Read by libraries, each with its own rules.
const OTHERS: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TZ",
];

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).expect("a file of the project")
}

#[test]
fn the_readme_names_every_variable_that_is_read_and_no_other() {
    let settings = source("src/cli/settings.rs");
    let is_variable = |word: &&str| {
        let mut letters = word.bytes();
        word.len() > 2 && letters.all(|byte| byte.is_ascii_uppercase() || b"_8".contains(&byte))
    };
    let read: BTreeSet<&str> = settings
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(is_variable)
        .chain(OTHERS)
        .collect();
    let readme = source("README.md");
    let section = readme.split("\n## Environment\n").nth(1).expect("it");
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let named: BTreeSet<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, read);
}

#[test]
fn the_proxy_of_the_environment_is_asked_unless_it_is_to_be_spared() {
    let rows = [
        ("http_proxy", "", true),
        ("HTTP_PROXY", "", true),
        ("all_proxy", "", true),
        ("ALL_PROXY", "", true),
        ("http_proxy", "nowhere.example", false),
        ("http_proxy", "elsewhere.example", true),
        // What is meant for the other scheme.
        ("https_proxy", "", false),
    ];
    for (variable, spared, asked) in rows {
        for spare in ["no_proxy", "NO_PROXY"] {
            let (proxy, mut host) = (proxy(), Host::new());
            let definition = app("http://nowhere.example", "", "");
            host.write("etc/sysupdate.d/10-app.transfer", &definition);
            host.set(variable, proxy.base.clone());
            host.set(spare, spared);
            let run = host.run(&["--network-timeout=1", "check-new"]);
            let code = if asked { Some(0) } else { Some(1) };
            assert_eq!(run.code, code, "{variable} {spare}={spared}: {run:#?}");
            assert_eq!(proxy.take_log().is_empty(), !asked, "{variable} {spare}");
        }
    }
}

#[test]
fn authorities_of_the_environment_are_trusted_and_no_others() {
    let mut host = Host::new();
    let base = tls::stranger("server.pem");
    host.write("etc/sysupdate.d/10-app.transfer", &app(&base, "", ""));
    // In a directory they have the names that OpenSSL looks for.
    for (directory, authority) in [("ours", "ca.pem"), ("theirs", "times.pem")] {
        let pem = fs::read_to_string(tls::file(authority)).expect("readable");
        host.write(&format!("{directory}/0123abcd.0"), &pem);
    }
    let file = |name: &str| tls::file(name).display().to_string();
    let directory = |host: &Host, name: &str| host.path(name).display().to_string();
    for (variable, ours, theirs) in [
        ("SSL_CERT_FILE", file("ca.pem"), file("times.pem")),
        (
            "SSL_CERT_DIR",
            directory(&host, "ours"),
            directory(&host, "theirs"),
        ),
    ] {
        host.set("SSL_CERT_FILE", "");
        host.set("SSL_CERT_DIR", "");
        host.set(variable, theirs);
        host.run(&["check-new"]).fails().says("certificate");
        // The server is heard then. What it says is no manifest.
        host.set(variable, ours);
        let run = host.run(&["check-new"]).fails().says("SHA256SUMS");
        run.keeps_quiet_about("certificate");
    }
}

#[test]
fn temporary_directories_are_those_of_the_first_variable_that_names_one() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    for specifier in ["%T", "%V"] {
        let mut host = Host::new();
        let definition = app(&server.base, "", "");
        let definition = definition.replace("Path=/srv/target", &format!("Path={specifier}/here"));
        host.write("etc/sysupdate.d/10-app.transfer", &definition);
        host.write("second/file", "");
        let second = host.path("second").display().to_string();
        host.set("TMPDIR", "no/absolute/path");
        host.set("TEMP", second.clone());
        host.set("TMP", "/");
        host.update();
        assert_eq!(host.read(&format!("{second}/here/app_1.raw")), "one");
    }
}

#[test]
fn times_are_shown_in_the_zone_of_the_environment() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let mut host = Host::with_app(&server);
    host.update();
    let file = fs::File::open(host.path("srv/target/app_1.raw")).expect("it is there");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(time).expect("set");
    for (zone, shown) in [
        ("UTC", "Sun 2001-09-09 01:46:40"),
        ("JST-9", "Sun 2001-09-09 10:46:40"),
    ] {
        host.set("TZ", zone);
        host.run(&["list", "1"]).succeeds().shows(shown);
    }
}

#[test]
fn the_history_names_who_called() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    for (variable, named) in [("SUDO_USER", "alice"), ("PKEXEC_UID", "1001")] {
        let mut host = Host::with_app(&server);
        host.set(variable, named);
        host.update();
        let history = host.run(&["--json=short", "history"]).succeeds().json();
        assert_eq!(history[0]["user"], named);
    }
}
