//! The Butane example: its files, links and units are laid out as Ignition would, and its first boot is lived through.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::bakery::{ARCHITECTURE, bakery};
use super::extension::{FITS, OS, sysext};
use super::harness::Host;
use super::server::Server;

/// What the example uses of Butane; a word that is not here is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Butane {
    variant: String,
    version: String,
    storage: Storage,
    systemd: Systemd,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Storage {
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    /// Octal by YAML 1.1, as Butane reads it.
    mode: String,
    contents: Contents,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    inline: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    name: String,
    #[serde(default)]
    mask: bool,
    #[serde(default)]
    enabled: bool,
    contents: Option<String>,
}

fn project(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn example() -> (String, Butane) {
    let text = project("examples/first-boot.butane.yaml");
    let butane = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    (text, butane)
}

/// Lays everything out; all sources are at the server.
fn provision(host: &Host, butane: &Butane, server: &Server) {
    host.write("etc/os-release", OS);
    for file in &butane.storage.files {
        assert_eq!(file.mode, "0644", "{}", file.path);
        let text = [
            "https://extensions.flatcar.org",
            "https://bakery.example.com",
        ]
        .iter()
        .fold(file.contents.inline.clone(), |text, base| {
            text.replace(base, &server.base)
        });
        assert!(!text.contains("https://"), "{text}");
        host.write(&file.path, &text);
    }
    for unit in &butane.systemd.units {
        let path = format!("etc/systemd/system/{}", unit.name);
        if unit.mask {
            host.link(&path, "/dev/null");
        }
        if let Some(contents) = &unit.contents {
            host.write(&path, contents);
            for target in values(contents, "WantedBy").filter(|_| unit.enabled) {
                let link = format!("etc/systemd/system/{target}.wants/{}", unit.name);
                host.link(&link, &format!("/{path}"));
            }
        }
    }
}

fn values<'t>(unit: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    unit.lines()
        .filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

/// Carries out what a unit runs, as far as it concerns files; returns the rest.
fn start(host: &Host, unit: &str) -> Vec<String> {
    let mut rest = Vec::new();
    for command in values(unit, "ExecStart") {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            // The program understands whatever is said to the other one.
            [
                "/usr/lib/systemd/systemd-sysupdate" | "sysupdate",
                ref arguments @ ..,
            ] => {
                host.run(&[arguments, &["--no-activate"]].concat())
                    .succeeds();
            }
            ["/usr/bin/systemctl", "start", unit] => {
                rest.extend(start(host, &project(&format!("units/{unit}"))));
            }
            ["/usr/bin/touch", path] => host.write(path, ""),
            ["/usr/bin/mkdir", "-p", ref paths @ ..] => {
                for path in paths {
                    fs::create_dir_all(host.path(path)).expect("made");
                }
            }
            _ => rest.push(command.to_owned()),
        }
    }
    rest
}

fn publish(names: &[(&'static str, &'static str)]) -> Server {
    let images: Vec<_> = names
        .iter()
        .map(|(name, version)| {
            let release = format!("{FITS}# {version}\n");
            (*name, *version, sysext(name, &release))
        })
        .collect();
    bakery(&images)
}

const VERSIONS: [(&str, &str); 6] = [
    ("sysupdate", "0.9.0"),
    ("sysupdate", "0.10.0"),
    ("docker-compose", "2.24.5"),
    ("docker-compose", "2.30.1"),
    ("tailscale", "1.80.0"),
    ("tailscale", "1.80.3"),
];

#[test]
fn the_example_installs_the_newest_versions_at_the_first_boot() {
    let (text, butane) = example();
    assert_eq!(
        (butane.variant.as_str(), butane.version.as_str()),
        ("flatcar", "1.0.0")
    );
    let server = publish(&VERSIONS);
    let host = Host::new();
    provision(&host, &butane, &server);
    let wanted = host.tree("etc/systemd/system");
    assert_eq!(
        wanted,
        [
            "multi-user.target.wants/sysupdate-first-boot.service -> /etc/systemd/system/sysupdate-first-boot.service",
            "systemd-sysupdate.timer -> /dev/null",
            "sysupdate-first-boot.service 0644",
        ]
    );
    let rest = start(
        &host,
        &host.read("etc/systemd/system/sysupdate-first-boot.service"),
    );
    assert_eq!(
        rest,
        [
            "/usr/bin/systemctl restart systemd-sysext.service",
            "/usr/bin/systemctl daemon-reload",
            "/usr/bin/systemctl enable --now sysupdate.timer",
        ]
    );
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("units/sysupdate.timer")
            .exists()
    );
    let link = |name: &str, version: &str| {
        format!("{name}.raw -> ../extensions.d/{name}/{name}-{version}-{ARCHITECTURE}.raw")
    };
    let newest = [
        link("docker-compose", "2.30.1"),
        link("sysupdate", "0.10.0"),
        link("tailscale", "1.80.3"),
    ];
    assert_eq!(host.tree("var/lib/extensions"), newest);
    // What the unit asks before it begins.
    let unit = host.read("etc/systemd/system/sysupdate-first-boot.service");
    let condition: Vec<&str> = values(&unit, "ConditionPathExists").collect();
    assert_eq!(condition, ["!/var/lib/sysupdate/first-boot"]);
    assert!(host.path("var/lib/sysupdate/first-boot").exists());

    // No version is written anywhere.
    for (name, version) in VERSIONS {
        assert!(!text.contains(version), "{name} {version}");
    }
    for file in &butane.storage.files {
        let inline = &file.contents.inline;
        let is_version = |word: &str| {
            let digits = word.split('.').filter(|part| part.parse::<u32>().is_ok());
            digits.count() > 1
        };
        let mut words = inline.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '.');
        assert!(!words.any(is_version), "{inline}");
    }
    // Nothing is left to do, nothing to complain of.
    host.run(&["update", "-A", "--no-activate"]).succeeds();
    assert_eq!(host.tree("var/lib/extensions"), newest);
    host.run(&["doctor"]).succeeds();
}

#[test]
fn a_first_boot_that_was_cut_off_is_repeated() {
    let (_, butane) = example();
    let server = publish(&VERSIONS);
    let host = Host::new();
    provision(&host, &butane, &server);
    host.run(&["--component=sysupdate", "update"]).succeeds();
    let unit = host.read("etc/systemd/system/sysupdate-first-boot.service");
    start(&host, &unit);
    start(&host, &unit);
    assert_eq!(host.tree("var/lib/extensions").len(), 3);
}
