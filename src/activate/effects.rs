//! Which units a new image touches, and how: pure, over what two images of one extension hold.
//!
//! A unit whose fragment, drop-ins, environment files or programs differ runs something else after a restart, so it is
//! restarted; one of which only other files that it names differ is reloaded if it can be. Units of others are left
//! alone, whatever an image ships for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::UnitFacts;
use crate::metadata::Sha256;

use super::Verb;

/// What one image holds, as far as units are concerned.
pub struct Contents<'a> {
    /// Unit files, drop-ins and links by path (`usr/lib/systemd/system/a.service`).
    pub units: BTreeMap<String, UnitFacts>,
    /// The fields of its release file.
    pub release: BTreeMap<String, String>,
    /// Tells what other files hold.
    pub files: Files<'a>,
}

/// Finds the digest of a file by its path without leading slash.
pub type Digests<'a> = dyn FnMut(&str) -> Option<Sha256> + 'a;

/// Tells what the files of an image hold.
pub enum Files<'a> {
    /// The digest of a file, by its path without leading slash; `None` when it is not in the image.
    Here(Box<Digests<'a>>),
    /// The image is not here yet: nobody knows.
    Elsewhere,
}

impl Files<'_> {
    /// Whether a file differs from that of another image; `None` when that cannot be told yet.
    fn differ(&mut self, other: &mut Files<'_>, path: &str) -> Option<bool> {
        match (self, other) {
            (Self::Here(own), Files::Here(others)) => {
                let inner = path.trim_start_matches('/');
                Some(own(inner) != others(inner))
            }
            _ => None,
        }
    }
}

/// What happens to one unit if it is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The unit; a template (`a@.service`) stands for its instances.
    pub unit: String,
    /// What is done to it.
    pub verb: Touch,
    /// What asks for it.
    pub why: String,
}

/// What is done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Reload or restart.
    Job(Verb),
    /// Stop it: the new image does not ship it any more.
    Stop,
}

/// Whether systemd itself honours `EXTENSION_RESTART_UNITS=` and its like when it merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseKeys {
    /// It does (systemd 262 and newer).
    Systemds,
    /// It does not: they are ours.
    Ours,
}

/// Compares two images of one extension. Without an old one nothing that runs can have changed; without a new one
/// everything that the old one shipped is gone.
#[must_use]
pub fn effects(
    mut old: Option<Contents<'_>>,
    mut new: Option<Contents<'_>>,
    keys: ReleaseKeys,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    let shipped = |contents: &Option<Contents<'_>>| {
        contents
            .as_ref()
            .map_or_else(BTreeSet::new, |contents| own_units(&contents.units))
    };
    let (before, after) = (shipped(&old), shipped(&new));
    for unit in before.difference(&after) {
        effects.push(Effect {
            unit: unit.clone(),
            verb: Touch::Stop,
            why: "not part of the new version".to_owned(),
        });
    }
    if let (Some(old), Some(new)) = (&mut old, &mut new) {
        for unit in before.intersection(&after) {
            if let Some((verb, why)) = difference(old, new, unit) {
                effects.push(Effect {
                    unit: unit.clone(),
                    verb: Touch::Job(verb),
                    why,
                });
            }
        }
    }
    if keys == ReleaseKeys::Ours
        && let Some(new) = &new
    {
        wanted_by_release(&new.release, &mut effects);
    }
    effects
}

/// The units that an image ships itself: those with a fragment, not those it only adds drop-ins or links to. Targets
/// and slices have nothing to restart.
#[must_use]
pub fn own_units(units: &BTreeMap<String, UnitFacts>) -> BTreeSet<String> {
    units
        .iter()
        .filter(|(_, unit)| unit.link.is_none())
        .filter_map(|(path, _)| fragment(path))
        .filter(|name| {
            TYPES
                .iter()
                .any(|suffix| name.ends_with(suffix) && name.len() > suffix.len())
        })
        .map(str::to_owned)
        .collect()
}

/// The name of the unit whose fragment lies at this path.
fn fragment(path: &str) -> Option<&str> {
    let (directory, name) = path.rsplit_once('/')?;
    directory.ends_with("systemd/system").then_some(name)
}

/// How a unit that both images ship differs.
fn difference(
    old: &mut Contents<'_>,
    new: &mut Contents<'_>,
    unit: &str,
) -> Option<(Verb, String)> {
    let (before, after) = (texts(&old.units, unit), texts(&new.units, unit));
    if let Some(path) = first_difference(&before, &after) {
        return Some((Verb::Restart, format!("{path} changed")));
    }
    let named = References::of(&after);
    let programs = named.programs.iter().map(|path| (Verb::Restart, path));
    let taken_in = if named.can_reload {
        Verb::Reload
    } else {
        Verb::Restart
    };
    let configuration = named.configuration.iter().map(|path| (taken_in, path));
    for (verb, path) in programs.chain(configuration) {
        match old.files.differ(&mut new.files, path) {
            Some(true) => return Some((verb, format!("{path} changed"))),
            Some(false) => {}
            None => return Some((verb, format!("if {path} changed, which its download tells"))),
        }
    }
    None
}

/// The fragment and the drop-ins of a unit, also those of its template and of its type (`a-.service.d`, `service.d`).
fn texts<'u>(
    units: &'u BTreeMap<String, UnitFacts>,
    unit: &str,
) -> BTreeMap<&'u str, &'u UnitFacts> {
    let directory = format!("{unit}.d");
    units
        .iter()
        .filter(|(path, _)| {
            let mut parts = path.rsplit('/');
            let (name, parent) = (parts.next(), parts.next());
            name == Some(unit) && parent == Some("system") || parent == Some(&directory)
        })
        .map(|(path, unit)| (path.as_str(), unit))
        .collect()
}

fn first_difference(
    before: &BTreeMap<&str, &UnitFacts>,
    after: &BTreeMap<&str, &UnitFacts>,
) -> Option<String> {
    let paths: BTreeSet<&&str> = before.keys().chain(after.keys()).collect();
    paths
        .into_iter()
        .find(|path| {
            let digest = |units: &BTreeMap<&str, &UnitFacts>| {
                let unit = units.get(**path)?;
                Some((unit.sha256, unit.link.is_some()))
            };
            digest(before) != digest(after)
        })
        .map(|path| format!("/{path}"))
}

/// The files that a unit's text names by absolute path.
#[derive(Debug, Default)]
struct References {
    /// What it runs, and what it runs it with.
    programs: BTreeSet<String>,
    /// What its programs read.
    configuration: BTreeSet<String>,
    can_reload: bool,
}

impl References {
    fn of(texts: &BTreeMap<&str, &UnitFacts>) -> Self {
        let mut references = Self::default();
        for text in texts.values().filter_map(|unit| unit.text.as_deref()) {
            for line in text.lines() {
                references.line(line.trim());
            }
        }
        references
    }

    fn line(&mut self, line: &str) {
        let Some((key, value)) = line.split_once('=') else {
            return;
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "ExecStart" | "ExecStartPre" | "ExecStartPost" | "ExecStop" | "ExecStopPost"
            | "ExecCondition" | "ExecReload" => {
                self.can_reload |= key == "ExecReload" && !value.is_empty();
                let mut words = value.split_ascii_whitespace();
                if let Some(program) = words.next() {
                    let path = program.trim_start_matches(['@', '-', ':', '+', '!', '|']);
                    if path.starts_with('/') {
                        self.programs.insert(path.to_owned());
                    }
                }
                for word in words {
                    // `--config=/etc/a`, `"/etc/a"`.
                    let path = word
                        .rsplit('=')
                        .next()
                        .unwrap_or(word)
                        .trim_matches(['"', '\'']);
                    if path.starts_with('/') {
                        self.configuration.insert(path.to_owned());
                    }
                }
            }
            "EnvironmentFile" => {
                let path = value.trim_start_matches('-');
                if path.starts_with('/') {
                    self.programs.insert(path.to_owned());
                }
            }
            _ => {}
        }
    }
}

/// What the new image's release file asks for (systemd-sysext(8), systemd 262).
fn wanted_by_release(release: &BTreeMap<String, String>, effects: &mut Vec<Effect>) {
    for (key, verb) in [
        ("EXTENSION_RESTART_UNITS", Verb::Restart),
        ("EXTENSION_RELOAD_OR_RESTART_UNITS", Verb::Reload),
    ] {
        let units = release.get(key).map(String::as_str).unwrap_or_default();
        for unit in units.split_ascii_whitespace().filter(|unit| is_unit(unit)) {
            if effects.iter().all(|effect| effect.unit != unit) {
                effects.push(Effect {
                    unit: unit.to_owned(),
                    verb: Touch::Job(verb),
                    why: format!("{key}= of the image"),
                });
            }
        }
    }
}

fn is_unit(name: &str) -> bool {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || ":-_.\\@".contains(sign);
    name.len() < 256
        && name.chars().all(plain)
        && name
            .rsplit_once('.')
            .is_some_and(|(stem, _)| !stem.is_empty())
}

/// Units that can be restarted with effect.
const TYPES: [&str; 7] = [
    ".service",
    ".socket",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Unit;

    const SERVICE: &str = "usr/lib/systemd/system/a.service";

    /// An image of the given files; what is below systemd/system is a unit.
    fn image<'a>(files: &[(&'a str, &'a str)], release: &[(&str, &str)]) -> Contents<'a> {
        let (units, others): (Vec<_>, Vec<_>) = files
            .iter()
            .copied()
            .partition(|(path, _)| path.contains("systemd/system/"));
        let units = units.into_iter().map(|(path, text)| {
            let unit = match text.strip_prefix("-> ") {
                Some(link) => Unit::Link(link.to_owned()),
                None => Unit::File(text.as_bytes().to_vec()),
            };
            (path.to_owned(), unit)
        });
        let texts = release.iter();
        Contents {
            units: UnitFacts::all(units.collect()),
            release: texts
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            files: Files::Here(Box::new(move |path| {
                let (_, text) = others.iter().find(|(other, _)| *other == path)?;
                let mut digest = [0; 32];
                digest[..text.len()].copy_from_slice(text.as_bytes());
                Some(Sha256(digest))
            })),
        }
    }

    fn told(effects: &[Effect]) -> Vec<String> {
        let told = effects.iter().map(|effect| {
            let verb = match effect.verb {
                Touch::Stop => "stop".to_owned(),
                Touch::Job(verb) => verb.to_string(),
            };
            format!("{verb} {}: {}", effect.unit, effect.why)
        });
        told.collect()
    }

    type Tree = &'static [(&'static str, &'static str)];

    #[test]
    fn what_differs_decides_what_happens() {
        const RUNS: &str = "[Service]\nExecStart=-/usr/bin/a --config=/etc/a.conf\n";
        const RELOADS: &str =
            "ExecStart=/usr/bin/a /etc/a.conf\nExecReload=/bin/kill -HUP $MAINPID";
        let cases: [(Tree, Tree, &[&str]); 12] = [
            (&[(SERVICE, RUNS)], &[(SERVICE, RUNS)], &[]),
            (
                &[(SERVICE, RUNS)],
                &[(SERVICE, "[Service]\nExecStart=/usr/bin/b\n")],
                &["restart a.service: /usr/lib/systemd/system/a.service changed"],
            ),
            (
                &[(SERVICE, RUNS), ("usr/bin/a", "1")],
                &[(SERVICE, RUNS), ("usr/bin/a", "2")],
                &["restart a.service: /usr/bin/a changed"],
            ),
            (
                &[(SERVICE, RELOADS), ("etc/a.conf", "1")],
                &[(SERVICE, RELOADS), ("etc/a.conf", "2")],
                &["reload a.service: /etc/a.conf changed"],
            ),
            // No ExecReload=: only a restart takes it in.
            (
                &[(SERVICE, RUNS), ("etc/a.conf", "1")],
                &[(SERVICE, RUNS), ("etc/a.conf", "2")],
                &["restart a.service: /etc/a.conf changed"],
            ),
            // The program counts more than its configuration.
            (
                &[(SERVICE, RELOADS), ("etc/a.conf", "1"), ("usr/bin/a", "1")],
                &[(SERVICE, RELOADS), ("etc/a.conf", "2"), ("usr/bin/a", "2")],
                &["restart a.service: /usr/bin/a changed"],
            ),
            (
                &[(SERVICE, RUNS)],
                &[
                    (SERVICE, RUNS),
                    ("usr/lib/systemd/system/a.service.d/10.conf", "x"),
                ],
                &["restart a.service: /usr/lib/systemd/system/a.service.d/10.conf changed"],
            ),
            (
                &[(SERVICE, RUNS)],
                &[],
                &["stop a.service: not part of the new version"],
            ),
            // New units are started by whatever wants them.
            (&[], &[(SERVICE, RUNS)], &[]),
            // A drop-in for a unit of another's touches nobody.
            (
                &[("usr/lib/systemd/system/multi-user.target.d/10-a.conf", "1")],
                &[("usr/lib/systemd/system/multi-user.target.d/10-a.conf", "2")],
                &[],
            ),
            (
                &[("usr/lib/systemd/system/a.target", "1")],
                &[("usr/lib/systemd/system/a.target", "2")],
                &[],
            ),
            // An alias is no unit of its own.
            (
                &[("usr/lib/systemd/system/b.service", "-> a.service")],
                &[("usr/lib/systemd/system/b.service", "-> c.service")],
                &[],
            ),
        ];
        for (old, new, expected) in cases {
            let found = effects(
                Some(image(old, &[])),
                Some(image(new, &[])),
                ReleaseKeys::Ours,
            );
            assert_eq!(told(&found), expected, "{old:?} -> {new:?}");
        }
    }

    #[test]
    fn the_release_file_is_honoured_where_systemd_does_not_and_never_twice() {
        let release = [
            ("EXTENSION_RESTART_UNITS", "dbus.service a.service bad;name"),
            ("EXTENSION_RELOAD_OR_RESTART_UNITS", "udev.service"),
        ];
        let old = || image(&[(SERVICE, "1")], &[]);
        let new = || image(&[(SERVICE, "2")], &release);
        let found = effects(Some(old()), Some(new()), ReleaseKeys::Ours);
        assert_eq!(
            told(&found),
            [
                "restart a.service: /usr/lib/systemd/system/a.service changed",
                "restart dbus.service: EXTENSION_RESTART_UNITS= of the image",
                "reload udev.service: EXTENSION_RELOAD_OR_RESTART_UNITS= of the image",
            ]
        );
        let found = effects(Some(old()), Some(new()), ReleaseKeys::Systemds);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn of_an_image_that_is_not_here_yet_only_the_units_are_known() {
        const RUNS: &str = "[Service]\nExecStart=/usr/bin/a --config=/etc/a.conf\n";
        let effects = |old: &[(&str, &str)], new: &[(&str, &str)]| {
            let new = Contents {
                files: Files::Elsewhere,
                ..image(new, &[])
            };
            effects(Some(image(old, &[])), Some(new), ReleaseKeys::Ours)
        };
        let old = &[(SERVICE, RUNS), ("usr/bin/a", "1")];
        assert_eq!(
            told(&effects(old, &[(SERVICE, RUNS)])),
            ["restart a.service: if /usr/bin/a changed, which its download tells"]
        );
        assert_eq!(
            told(&effects(old, &[(SERVICE, "ExecStart=/usr/bin/b")])),
            ["restart a.service: /usr/lib/systemd/system/a.service changed"]
        );
        assert_eq!(
            told(&effects(old, &[])),
            ["stop a.service: not part of the new version"]
        );
    }

    #[test]
    fn without_one_of_the_images_nothing_is_restarted() {
        let one = || image(&[(SERVICE, "1")], &[]);
        assert!(effects(None, Some(one()), ReleaseKeys::Ours).is_empty());
        let gone = effects(Some(one()), None, ReleaseKeys::Ours);
        assert_eq!(told(&gone), ["stop a.service: not part of the new version"]);
    }
}
