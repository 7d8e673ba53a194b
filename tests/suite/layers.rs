//! The layer picture of `src/lib.rs`, held against what the files say.
//!
//! The picture itself is read: who may use whom, and which modules are pure. A line here is code without its comments
//! and without the tests beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Modules of one layer do not use each other, but for these.
const SIBLINGS: [(&str, &str, &str); 3] = [
    (
        "metadata",
        "version",
        "a version is a part of what a name says",
    ),
    ("pattern", "metadata", "a match yields metadata"),
    ("pattern", "version", "`@v` accepts versions"),
];

/// Files that are as pure as a pure module, though the module around them is not.
const PURE_FILES: [&str; 13] = [
    "definition/ini.rs",
    "definition/keys.rs",
    "definition/keys/handlers.rs",
    "definition/nearest.rs",
    "definition/value.rs",
    "definition/words.rs",
    "fetch/retry.rs",
    "verify/manifest.rs",
    "verify/manifest/freshness.rs",
    "verify/memory.rs",
    "verify/minisign.rs",
    "verify/openpgp.rs",
    "verify/openpgp/certificate.rs",
];

/// What a pure file has no business with.
const EFFECTS: [&str; 13] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::time::Instant",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "rustix::",
    "tokio::",
    "reqwest::",
    "zbus::",
];

/// What only one place may do: the words, the places (a prefix of the file's name), and the reason.
const HOMES: [(&[&str], &[&str], &str); 5] = [
    (
        &["std::env"],
        &["cli/settings.rs", "main.rs"],
        "the environment has one reader",
    ),
    (
        &["SystemTime::now", "Timestamp::now"],
        &["cli/mod.rs"],
        "the present is passed as a value",
    ),
    (
        &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "io::stdout()",
            "io::stderr()",
            "dbg!",
        ],
        &["cli/output/", "cli/settings.rs"],
        "the command line is the only printer; the settings ask whether there is a terminal",
    ),
    (
        &[
            "fs::rename",
            "fs::remove_file",
            "fs::remove_dir",
            "fs::remove_dir_all",
            "fs::write",
            "renameat",
            "unlinkat",
            "symlinkat",
            "fsync",
            "fdatasync",
            "sync_all",
            "sync_data",
        ],
        &["storage/"],
        "state on disk changes in one file",
    ),
    (
        &["tokio::", "reqwest::"],
        &["fetch/", "activate/dbus.rs"],
        "everything else is blocking code",
    ),
];

/// No file is longer.
const LINES: usize = 800;

/// The picture: rank by module, 0 at the top, and whether it is pure.
struct Picture(BTreeMap<String, (usize, bool)>);

impl Picture {
    /// Reads the block below the heading `# Layers` of a crate documentation.
    fn read(text: &str) -> Self {
        let after = text.split("//! # Layers").nth(1).expect("the heading");
        let block = after
            .split("//! ```")
            .nth(1)
            .expect("the block")
            .lines()
            .skip(1);
        let rows =
            block.filter_map(|line| Some((line.strip_prefix("//! ")?.split("   ").next()?, line)));
        let mut modules = BTreeMap::new();
        for (rank, (names, line)) in rows.enumerate() {
            for name in names.split_whitespace() {
                modules.insert(name.to_owned(), (rank, line.ends_with("(pure)")));
            }
        }
        Self(modules)
    }

    fn rank(&self, module: &str) -> Option<usize> {
        self.0.get(module).map(|(rank, _)| *rank)
    }

    fn is_pure(&self, file: &str) -> bool {
        self.0.get(module(file)).is_some_and(|(_, pure)| *pure) || PURE_FILES.contains(&file)
    }

    /// What is wrong with a file's code; `file` is relative to src.
    fn judge(&self, file: &str, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if text.lines().count() > LINES {
            faults.push(format!("{file} has more than {LINES} lines"));
        }
        if is_test(file) {
            return faults;
        }
        let code = code(text);
        // The roots of the two crates stand above and beside the picture.
        if !matches!(file, "lib.rs" | "main.rs") {
            self.arrows(file, &code, &mut faults);
        }
        let words = flat(&code);
        let says = |word: &str| mentions(&words, word);
        if self.is_pure(file) {
            let effects = EFFECTS.into_iter().filter(|word| says(word));
            faults.extend(effects.map(|word| format!("{file} is pure, and says {word}")));
        }
        for (words, homes, reason) in HOMES {
            if !homes.iter().any(|home| file.starts_with(home)) {
                let strays = words.iter().filter(|word| says(word));
                faults.extend(strays.map(|word| format!("{file} says {word}: {reason}")));
            }
        }
        faults
    }

    fn arrows(&self, file: &str, code: &str, faults: &mut Vec<String>) {
        let from = module(file);
        let Some(own) = self.rank(from) else {
            faults.push(format!("{file}: module {from} is not in the picture"));
            return;
        };
        for to in used(file, code) {
            let allowed = |pair: &(&str, &str, &str)| (pair.0, pair.1) == (from, to.as_str());
            match self.rank(&to) {
                _ if to == from => {}
                Some(rank) if rank > own => {}
                Some(rank) if rank == own && SIBLINGS.iter().any(allowed) => {}
                Some(rank) if rank == own => {
                    faults.push(format!("{file}: {from} uses its sibling {to}"));
                }
                Some(_) => faults.push(format!("{file}: the arrow from {from} to {to} runs up")),
                None => faults.push(format!(
                    "{file} uses crate::{to}, which is not in the picture"
                )),
            }
        }
    }
}

/// The module at the top that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs")
}

fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// A file without comments and without what is compiled for tests only.
fn code(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let item = lines.next().unwrap_or_default();
            if !item.ends_with(';') {
                // Formatted code: an item at the margin ends with a brace at the margin.
                lines.by_ref().find(|line| *line == "}");
            }
        } else if !line.trim_start().starts_with("//") {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Modules of this crate that the code names: `crate::x`, `crate::{x, y}`, and `super::` up to the crate's root.
fn used(file: &str, code: &str) -> Vec<String> {
    let depth = file.trim_end_matches("/mod.rs").split('/').count();
    let climbed = "super::".repeat(depth);
    let mut found: Vec<String> = ["crate::", climbed.as_str()]
        .iter()
        .flat_map(|root| code.split(root).skip(1))
        .flat_map(first_names)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The name at the beginning of a path, or those at the beginning of each path of a group.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let letter = |character: &char| character.is_alphanumeric() || *character == '_';
        text.trim_start().chars().take_while(letter).collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[index + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The code with groups of `std` spelled out, so that `use std::{env, fs}` says `std::env` and `std::fs`.
fn flat(code: &str) -> String {
    let groups = code
        .split("std::")
        .skip(1)
        .filter(|rest| rest.starts_with('{'));
    let names = groups
        .flat_map(first_names)
        .map(|name| format!("\nstd::{name}"));
    code.chars()
        .chain(names.collect::<String>().chars())
        .collect()
}

/// Whether the word stands there as a word of its own.
fn mentions(code: &str, word: &str) -> bool {
    let letter = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        let joined = word.ends_with(letter) && after.is_some_and(letter);
        !before.is_some_and(letter) && !joined
    })
}

/// Every source below a directory.
pub(crate) fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn picture() -> Picture {
    Picture::read(include_str!("../../src/lib.rs"))
}

#[test]
fn the_sources_keep_to_the_picture() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&top, &mut found);
    assert!(found.len() > 50, "the sources are there");
    let picture = picture();
    let mut faults = Vec::new();
    for path in &found {
        let name = path
            .strip_prefix(&top)
            .expect("below src")
            .display()
            .to_string();
        faults.extend(picture.judge(&name, &fs::read_to_string(path).expect("readable")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for file in PURE_FILES {
        assert!(
            top.join(file).exists(),
            "{file} is gone: take it off the list"
        );
    }
}

#[test]
fn no_source_is_too_long() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for top in ["src", "tests", "examples", "fuzz/src"] {
        files(&project.join(top), &mut found);
    }
    for path in found {
        let lines = fs::read_to_string(&path).expect("readable").lines().count();
        assert!(lines <= LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_picture_has_every_module_and_no_other() {
    let picture = picture();
    let text = include_str!("../../src/lib.rs");
    let mut declared: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .collect();
    declared.sort_unstable();
    let drawn: Vec<&str> = picture.0.keys().map(String::as_str).collect();
    assert_eq!(drawn, declared);
    assert_eq!(picture.rank("cli"), Some(0));
    assert_eq!(picture.rank("install"), picture.rank("activate"));
    assert!(
        picture.is_pure("resolve.rs")
            && picture.is_pure("pattern/grammar.rs")
            && !picture.is_pure("host.rs")
    );
}

#[test]
fn a_file_that_breaks_a_rule_is_found() {
    let picture = picture();
    let rows = [
        ("root.rs", "use crate::cli::Verb;", "runs up"),
        (
            "plan.rs",
            "use crate::{\n    resolve::Reason,\n    install::Executor,\n};",
            "from plan to install runs up",
        ),
        (
            "fetch/http.rs",
            "fn f() { crate::verify::g(); }",
            "sibling verify",
        ),
        (
            "fetch/http/body.rs",
            "use super::super::super::session::Session;",
            "from fetch to session runs up",
        ),
        ("event.rs", "use super::cli;", "runs up"),
        ("install/mod.rs", "use super::activate;", "sibling activate"),
        (
            "version.rs",
            "use crate::metadata::Metadata;",
            "sibling metadata",
        ),
        ("novel.rs", "", "not in the picture"),
        ("plan.rs", "use crate::novel::X;", "not in the picture"),
        ("plan.rs", "use std::fs;", "is pure"),
        (
            "plan.rs",
            "use std::{fmt, net::{TcpStream, Shutdown}};",
            "is pure, and says std::net",
        ),
        ("resolve.rs", "let now = jiff::Timestamp::now();", "is pure"),
        ("event.rs", "fn f() { println!(); }", "only printer"),
        ("verify/manifest.rs", "use std::time::Instant;", "is pure"),
        ("host.rs", "use std::env;", "one reader"),
        ("host.rs", "use std::{env, fmt};", "one reader"),
        ("install/acquire.rs", "std::fs::rename(a, b)", "in one file"),
        ("install/acquire.rs", "file.sync_all()?;", "in one file"),
        ("session.rs", "SystemTime::now()", "passed as a value"),
        ("install/mod.rs", "use tokio::fs;", "blocking code"),
    ];
    for (file, text, fault) in rows {
        let faults = picture.judge(file, text);
        assert!(
            faults.iter().any(|found| found.contains(fault)),
            "{file}: {text}: {faults:?}"
        );
    }
    let long = "\n".repeat(LINES + 1);
    for file in ["plan.rs", "plan/tests.rs"] {
        assert_eq!(
            picture.judge(file, &long),
            [format!("{file} has more than {LINES} lines")]
        );
    }
}

#[test]
fn a_file_that_keeps_the_rules_is_left_alone() {
    let rows = [
        (
            "plan.rs",
            "use crate::{resolve::Reason, version::Version};\nuse std::fmt;",
        ),
        (
            "plan.rs",
            "//! Not like [`crate::cli`].\n/// See `std::fs`.\n    // crate::install\nuse std::path::Path;",
        ),
        (
            "plan.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::cli;\n    use std::fs;\n}",
        ),
        ("plan.rs", "#[cfg(test)]\nmod tests;\nuse crate::resolve;"),
        ("plan/tests.rs", "use std::fs;\nuse crate::cli;"),
        ("pattern/render.rs", "use super::super::metadata::Metadata;"),
        ("pattern/render.rs", "use super::grammar;"),
        (
            "storage/atomic.rs",
            "rustix::fs::renameat(a, b, c, d)?; file.sync_all()?;",
        ),
        ("cli/settings.rs", "use std::env;"),
        ("host.rs", "let environment = std::environment;"),
    ];
    for (file, text) in rows {
        assert_eq!(picture().judge(file, text), [""; 0], "{file}: {text}");
    }
    // What comes after a test module counts again.
    let text = "#[cfg(test)]\nmod tests {\n}\nuse crate::cli;";
    assert_eq!(picture().judge("plan.rs", text).len(), 1);
}
