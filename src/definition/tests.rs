//! The loader over real directory trees: both syntaxes, search, checks and messages.

mod hostile;
mod native;
mod search;
mod systemd;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;

use super::transfer::{BlobSource, BlobTarget, FileTarget, Route, Source, Transfer};
use super::{Component, ComponentName, DefinitionError, Loader};
use crate::event::{Event, Reporter, Severity};
use crate::host::Host;
use crate::root::Root;

/// A root directory with definitions, and what a load of it said.
struct World {
    directory: tempfile::TempDir,
    root: Root,
    host: Host,
    log: Log,
}

/// All messages but those of severity debug, hints marked by `hint: `.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Reporter for Log {
    fn report(&self, event: &Event<'_>) {
        let mark = if event.severity() == Severity::Info {
            "hint: "
        } else {
            ""
        };
        self.0
            .lock()
            .expect("no test panics while it reports")
            .push(format!("{mark}{event}"));
    }
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let root = Root::open(directory.path()).expect("it can be opened");
        let os_release = BTreeMap::from([
            ("ID".to_owned(), "flatcar".to_owned()),
            ("VERSION_ID".to_owned(), "4.2".to_owned()),
        ]);
        let host = Host {
            os_release: Some(os_release),
            architecture: Some("x86-64".to_owned()),
            ..Host::default()
        };
        Self {
            directory,
            root,
            host,
            log: Log::default(),
        }
    }

    /// A world with one file.
    fn with(path: &str, text: impl AsRef<[u8]>) -> Self {
        let world = Self::new();
        world.write(path, text);
        world
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.place(path);
        fs::create_dir_all(path.parent().expect("every path of a test has a parent"))
            .expect("it can be made");
        fs::write(path, text).expect("it can be written");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.place(path);
        fs::create_dir_all(path.parent().expect("every path of a test has a parent"))
            .expect("it can be made");
        symlink(target, path).expect("it can be linked");
    }

    fn place(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn loader(&self) -> Loader<'_> {
        Loader {
            root: &self.root,
            host: &self.host,
            directory: None,
            transfer_source: None,
            boot: crate::definition::BootPaths::default(),
        }
    }

    fn load(&self, name: &str) -> Result<Component, DefinitionError> {
        self.loader().load(&named(name), &self.log)
    }

    /// The only transfer of the component.
    fn transfer(&self, name: &str) -> Transfer {
        let mut transfers = self
            .load(name)
            .unwrap_or_else(|error| panic!("{error}"))
            .transfers;
        assert_eq!(transfers.len(), 1);
        transfers.remove(0)
    }

    fn refusal(&self, name: &str) -> String {
        match self.load(name) {
            Ok(component) => panic!("loaded: {component:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// What was said since the last call.
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.log.0.lock().expect("no test panics while it reports"))
    }
}

/// The empty name is the default component.
fn named(name: &str) -> ComponentName {
    if name.is_empty() {
        ComponentName::Default
    } else {
        name.parse().expect("the names of tests are valid")
    }
}

fn ids(component: &Component) -> Vec<&str> {
    component
        .transfers
        .iter()
        .map(|transfer| transfer.id.as_str())
        .collect()
}

fn target(transfer: &Transfer) -> &FileTarget {
    match &transfer.route {
        Route::Blob {
            target: BlobTarget::File(target),
            ..
        }
        | Route::Tree { target, .. } => target,
        other @ Route::Blob { .. } => panic!("no files: {other:?}"),
    }
}

fn source(transfer: &Transfer) -> Source<'_> {
    transfer.source()
}

fn source_patterns(transfer: &Transfer) -> Vec<String> {
    let patterns = match source(transfer) {
        Source::Url(url) => &url.patterns,
        Source::Directory(directory) => &directory.patterns,
        Source::Github(github) => &github.patterns,
    };
    patterns.iter().map(ToString::to_string).collect()
}

fn target_patterns(transfer: &Transfer) -> Vec<String> {
    target(transfer)
        .patterns
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_hundred_components_load_in_linear_time() {
    let world = World::new();
    for number in 0..100 {
        world.write(
            &format!("usr/lib/sysupdate.c{number}.d/a.transfer"),
            systemd::APP,
        );
        world.write(
            &format!("etc/sysupdate/transfer.d/n{number}.toml"),
            "source.url = 'https://example.org/x'",
        );
    }
    let names = world.loader().names().expect("names are listed");
    assert_eq!(names.len(), 200);
    for name in names {
        let component = world
            .loader()
            .load(&name, &world.log)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(component.transfers.len(), 1);
    }
}

#[test]
fn names_are_the_union_of_directories_and_native_files() {
    let world = World::with("usr/lib/sysupdate.b.d/x.transfer", "broken");
    world.write("etc/sysupdate.b.d/y.feature", "");
    world.write("etc/sysupdate.a.component.d/x.conf", "");
    world.write("etc/sysupdate.solo.component", "");
    world.write("run/sysupdate.component.d/.keep", "");
    world.write("etc/sysupdate.d/x.transfer", "");
    world.write("etc/sysupdate.file.d", "");
    world.write("etc/sysupdate/transfer.d/k.toml", "broken");
    world.write("etc/sysupdate/transfer.d/.k.toml", "broken");
    world.write("etc/sysupdate/transfer.d/k.toml~", "broken");
    world.write("etc/sysupdate/transfer.d/masked.toml", "");
    world.write("usr/lib/sysupdate/transfer.d/masked.toml", "broken");
    world.link(
        "usr/local/lib/sysupdate/transfer.d/nulled.toml",
        "/dev/null",
    );
    world.link("etc/sysupdate.linked.d", "/usr/lib/sysupdate.b.d");
    world.link("etc/sysupdate.dangling.d", "/nowhere");
    let names: Vec<_> = world
        .loader()
        .names()
        .expect("names are listed")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["b", "component", "k", "linked"]);
    let definitions = Loader {
        directory: Some(Path::new("/etc/sysupdate.d")),
        ..world.loader()
    };
    assert!(definitions.names().expect("names are listed").is_empty());

    world.write("etc/sysupdate/transfer.d/x.component.toml", "");
    assert_eq!(
        world
            .loader()
            .names()
            .expect("a mask defines nothing")
            .len(),
        4
    );
    world.write("etc/sysupdate/transfer.d/x.component.toml", "broken");
    let error = world
        .loader()
        .names()
        .expect_err("the name is invalid")
        .to_string();
    assert_eq!(
        error,
        "etc/sysupdate/transfer.d/x.component.toml: Component name invalid: x.component"
    );
}

#[test]
fn a_name_that_was_not_parsed_reaches_no_file() {
    let world = World::with("etc/x.d/a.transfer", systemd::APP);
    let name = ComponentName::Named("../x".to_owned());
    let error = world
        .loader()
        .load(&name, &world.log)
        .expect_err("the name is invalid")
        .to_string();
    assert_eq!(error, "Component name invalid: ../x");
    assert!(world.loader().features(&name, &world.log).is_err());
}
