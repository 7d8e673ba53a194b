//! Every call of the program that the README shows is made here, in an order in which it makes sense. A call that stands
//! there and not here is a failure, and the other way round. So is a test that it names and that is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::bakery::bakery;
use super::extension::{FITS, OS, sysext};
use super::harness::{Host, Run};
use super::layers;
use super::server::{Server, manifest};

/// A call as the README has it, the words that are written for those that stand for something (nothing: as it is), the exit
/// code, and what is in one of its outputs.
type Call = (&'static str, &'static str, i32, &'static str);

/// In the order in which they are made. ROOT is the host's directory.
#[rustfmt::skip]
const CALLS: &[Call] = &[
    ("--help", "", 0, "check-new"),
    ("update -C wasmtime", "", 0, "Selected update '2.0'"),
    ("remove wasmtime", "remove wasmtime --yes", 0, "Removed 'wasmtime'"),
    ("add wasmtime --now", "", 0, "Added 'wasmtime'"),
    ("list --why -C NAME", "list --why -C wasmtime", 0, "not newer than the installed 2.0"),
    ("status -C NAME", "status -C wasmtime", 0, "linked"),
    ("config", "", 0, "rewrites"),
    ("doctor", "", 0, "Nothing is wrong."),
    ("doctor --online", "", 0, "Nothing is wrong."),
    ("search docker", "", 0, "docker-compose"),
    ("search [WORD]", "search", 0, "kubernetes"),
    ("add docker-compose --now", "", 0, "Added 'docker-compose'"),
    ("add NAME[@RANGE]", "add docker-compose@2", 1, "is defined already"),
    ("add kubernetes@1.32 --restart kubelet.service", "", 0, "Added 'kubernetes'"),
    ("remove docker-compose", "remove docker-compose --yes", 0, "Removed 'docker-compose'"),
    ("components", "", 0, "kubernetes"),
    ("features [ID]", "features more", 0, "Enabled: no"),
    ("enable-feature ID…", "enable-feature more", 0, "Feature 'more' enabled."),
    ("disable-feature", "disable-feature more", 0, "Feature 'more' disabled."),
    ("disable-component", "disable-component kubernetes", 0, "disabled"),
    ("enable-component NAME…", "enable-component kubernetes", 0, "enabled"),
    ("list", "", 0, "candidate"),
    ("list VERSION", "list 2", 0, "app_2.raw"),
    ("check-new", "", 0, "3\n"),
    ("plan", "", 0, "app_3.raw"),
    ("acquire [VERSION]", "acquire 1", 0, "Successfully acquired"),
    ("update [VERSION]", "update 1", 0, "Successfully installed update '1'."),
    ("plan [VERSION]", "plan 2", 0, "app_2.raw"),
    ("plan -A --json=short > p.json", "", 0, "\"version\":\"3\""),
    ("apply p.json", "", 0, "Successfully installed update '3'."),
    ("apply FILE", "apply p.json", 1, "does not hold any more"),
    ("status", "", 0, "<default>  3"),
    ("rollback [VERSION]", "rollback 1", 0, "Updated symlink"),
    ("rollback -C NAME", "rollback -C kubernetes", 1, "no older version to go back to"),
    ("hold", "", 0, "<default> is held"),
    ("unhold", "", 0, "<default> is no longer held"),
    ("unhold -C NAME", "unhold -C wasmtime", 0, "wasmtime is not held."),
    ("SYSTEMD_LOG_LEVEL=debug sysupdate update", "", 0, "/SHA256SUMS is unchanged."),
    ("update -C NAME --accept-manifest", "update -C wasmtime --accept-manifest", 0, "No update needed"),
    ("activate", "", 1, "nothing is staged"),
    ("history", "", 0, ": add wasmtime"),
    ("vacuum -m 2", "", 0, "Found nothing to remove."),
    ("vacuum", "", 0, "Found nothing to remove."),
    ("cleanup", "", 0, ""),
    ("gate", "", 1, "--for-os-release=FILE is missing"),
    ("gate -A --for-os-release=FILE", "gate -A --for-os-release=ROOT/etc/os-release", 0, "wasmtime: 2.0 fits."),
    ("select", "", 0, "No update needed."),
    ("select -A", "", 0, "wasmtime: No update needed."),
    ("settle", "", 0, ""),
    ("import", "import --yes", 0, "There is nothing to import."),
    ("pending", "", 1, "may not be combined"),
    ("reboot", "", 1, "may not be combined"),
    ("generate bash > /etc/bash_completion.d/sysupdate", "", 0, "complete"),
    ("generate man > sysupdate.8", "", 0, ".TH SYSUPDATE 8"),
    ("generate man 5 > sysupdate.toml.5", "", 0, ".TH SYSUPDATE.TOML 5"),
    ("remove NAME…", "remove kubernetes wasmtime --yes", 0, "Removed 'kubernetes'"),
];

#[test]
fn every_call_in_the_readme_does_what_is_said() {
    let server = offered();
    let host = host(&server);
    for &(shown, written, code, tells) in CALLS {
        let written = if written.is_empty() { shown } else { written };
        let written = written.replace("ROOT", &host.path("").display().to_string());
        let (variable, words) = match written.split_once(" sysupdate ") {
            Some((variable, words)) => (variable.split_once('='), words),
            None => (None, written.as_str()),
        };
        let (words, output) = match words.split_once(" > ") {
            Some((words, output)) => (words, Some(output)),
            None => (words, None),
        };
        let mut command = host.command(&words.split(' ').collect::<Vec<_>>());
        command.envs(variable).current_dir(host.path(""));
        let run = Run::of(command, &host.path(""));
        let told = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, Some(code), "{shown}: {run:#?}");
        assert!(told.contains(tells), "{shown}: no '{tells}' in {run:#?}");
        if let Some(output) = output {
            let root = host.path("").display().to_string();
            host.write(
                output,
                &run.stdout.replace("ROOT", root.trim_end_matches('/')),
            );
        }
    }
}

#[test]
fn the_readme_shows_those_calls_and_no_others() {
    let shown = shown(&readme());
    let made: BTreeSet<String> = CALLS
        .iter()
        .map(|(shown, ..)| (*shown).to_owned())
        .collect();
    assert_eq!(made, shown);
}

/// What the README lets systemd do is asked of units that are there, and that can be enabled where it enables them.
#[test]
fn the_units_in_the_readme_are_shipped() {
    let readme = readme();
    let lines = readme
        .lines()
        .filter_map(|line| line.strip_prefix("    systemctl "));
    let mut seen = 0;
    for line in lines {
        let words = line.split("  #").next().unwrap_or(line).split_whitespace();
        for unit in words.filter(|word| word.starts_with("sysupdate")) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("units")
                .join(unit);
            let text = fs::read_to_string(path).expect(unit);
            assert!(
                !line.starts_with("enable") || text.contains("[Install]"),
                "{unit}"
            );
            seen += 1;
        }
    }
    assert!(seen > 2, "{seen}");
}

/// What is said to hold something is there, and has tests.
#[test]
fn what_the_readme_names_as_holding_something_is_there() {
    let readme = readme();
    let mut names = BTreeSet::new();
    for passage in readme.split("eld by ").skip(1) {
        names.extend(spans(passage));
    }
    for table in readme.split("| held by |\n").skip(1) {
        let rows = table
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        for row in rows {
            let cell = row.trim_end_matches(" |").rsplit(" | ").next();
            names.extend(spans(cell.unwrap_or_default()));
        }
    }
    assert!(names.len() > 80, "{names:?}");
    for name in names {
        assert!(holds(name), "'{name}' is no test");
    }
}

/// The code spans that a text begins with, with commas between them.
fn spans(text: &str) -> Vec<&str> {
    let mut parts = text.split('`');
    let mut spans = Vec::new();
    while parts
        .next()
        .is_some_and(|between| matches!(between.trim(), "" | ","))
    {
        spans.extend(parts.next());
    }
    spans
}

/// Whether a name is that of a file with tests: a case, a program of `integration`, or a module of either place.
fn holds(name: &str) -> bool {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(case) = name.strip_prefix("case ") {
        return project
            .join(format!("integration/cases/{case}.sh"))
            .is_file();
    }
    if name.starts_with("integration/") {
        return project.join(name).exists();
    }
    let path = name.replace("::", "/");
    let places = [
        format!("tests/suite/{path}.rs"),
        format!("src/{path}.rs"),
        format!("src/{path}/mod.rs"),
        format!("src/{path}/tests.rs"),
    ];
    places.iter().any(|place| {
        let text = fs::read_to_string(project.join(place));
        text.is_ok_and(|text| text.contains("#[test]"))
    })
}

/// Nothing is kept in a place that the README does not show.
#[test]
fn what_is_kept_on_disk_is_in_the_readme() {
    const OURS: [&str; 3] = [
        "/run/sysupdate/",
        "/var/cache/sysupdate/",
        "/var/lib/sysupdate/",
    ];
    let readme = readme();
    let mut files = Vec::new();
    layers::files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut places = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let constants = text.lines().filter(|line| line.contains("const "));
        let texts = constants.filter_map(|line| line.split('"').nth(1));
        let kept = texts.filter(|text| OURS.iter().any(|place| text.starts_with(place)));
        places.extend(kept.map(str::to_owned));
    }
    assert!(places.len() > 8, "{places:?}");
    for place in places {
        assert!(readme.contains(&format!("| `{place}")), "{place}");
    }
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README")
}

/// The calls of the program: in lines of their own, between backquotes, and, without its name, in the table of verbs.
fn shown(readme: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    let prose = readme.split("```").step_by(2).flat_map(str::lines);
    for line in prose {
        if let Some(code) = line.strip_prefix("    ") {
            calls.extend(called(code.split("  #").next().unwrap_or(code).trim()));
        }
        let spans = line.split('`').skip(1).step_by(2);
        let row = line.starts_with("| `sysupdate ");
        for (number, span) in spans.enumerate() {
            calls.extend(called(span));
            let first = line.split(" | ").next().unwrap_or(line);
            if row && number > 0 && first.contains(&format!("`{span}`")) {
                calls.insert(span.to_owned());
            }
        }
    }
    calls
}

/// The words after the program's name, with what stands before it.
fn called(code: &str) -> Option<String> {
    match code.split_once("sysupdate ")? {
        ("", words) => Some(words.to_owned()),
        (before, _) if before.ends_with(' ') && before.contains('=') => Some(code.to_owned()),
        _ => None,
    }
}

/// A bakery with three extensions, and the files of the default component.
fn offered() -> Server {
    let mut images = Vec::new();
    for (name, version) in [
        ("wasmtime", "1.0"),
        ("wasmtime", "2.0"),
        ("docker-compose", "2.30.1"),
        ("kubernetes", "v1.32.9"),
        ("kubernetes", "v1.33.1"),
    ] {
        images.push((name, version, sysext(name, &format!("{FITS}# {version}\n"))));
    }
    let server = bakery(&images);
    let files = [
        ("app_1.raw", "one"),
        ("app_2.raw", "two"),
        ("app_3.raw", "three"),
    ];
    for (name, content) in files {
        server.put(&format!("/{name}"), content);
    }
    server.put("/SHA256SUMS", manifest(&files));
    server
}

/// A host with the README's first definition and with a default component, for which that server stands for the community's.
fn host(server: &Server) -> Host {
    let host = Host::new();
    host.write("etc/os-release", OS);
    host.write(
        "etc/sysupdate/config.toml",
        &format!(
            "[network]\nrewrites = {{ \"https://extensions.flatcar.org/\" = \"{}/\" }}\n",
            server.base
        ),
    );
    let readme = readme();
    let block = readme
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    host.write(
        "etc/sysupdate/transfer.d/wasmtime.toml",
        block.expect("the first definition"),
    );
    host.write("etc/sysupdate.d/more.feature", "[Feature]\nEnabled=no\n");
    host.app(server, "", "");
    host
}
