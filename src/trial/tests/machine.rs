//! A machine for trials: a real directory with links, and a service manager that merges what these lead to. What a
//! version does is written in its file: `sick`, `spoils` (the whole merge), `skipped` (by the merge), or anything else.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::super::record::{LinkMove, Member, OnFailure, Part, Phase, Record};
use super::super::{Begun, Conductor, Ended, TrialError};
use crate::activate::system::{CommandOutcome, JobResult, SystemError, SystemManager, UnitState};
use crate::definition::transfer::{Activation, ActivationMode, Check, Units};
use crate::definition::{ComponentKey, ComponentName};
use crate::event::{Event, Reporter};
use crate::extension::ExtensionKind;
use crate::fetch::Cancel;
use crate::install::marks;
use crate::resolve::Marks;
use crate::root::Root;
use crate::storage::atomic::Durability;
use crate::trial::record;

const MERGE: &str = "systemd-sysext.service";

pub(super) struct Machine {
    directory: TempDir,
    pub(super) root: Root,
    pub(super) manager: Manager,
    pub(super) talk: Talk,
    pub(super) cancel: Cancel,
    boot: RefCell<String>,
}

/// The service manager.
pub(super) struct Manager {
    extensions: PathBuf,
    /// What each merged extension holds; `None` after a failed merge.
    merged: RefCell<Option<BTreeMap<String, String>>>,
    /// What each unit that is up runs.
    running: RefCell<BTreeMap<String, String>>,
    pub(super) calls: RefCell<Vec<String>>,
    pub(super) reachable: Cell<bool>,
    /// Nothing is said of how units are, as when the bus goes away after the restarts.
    pub(super) mute: Cell<bool>,
    pub(super) going_down: Cell<bool>,
    pub(super) without_loop_devices: Cell<bool>,
    fuse: AtomicUsize,
}

/// What was told; each line burns the fuse as well, if it is lit.
#[derive(Default)]
pub(super) struct Talk {
    pub(super) lines: Mutex<Vec<String>>,
    fuse: AtomicUsize,
}

/// Not lit.
const OUT: usize = usize::MAX;

fn burn(fuse: &AtomicUsize) {
    match fuse.load(Ordering::Relaxed) {
        OUT => {}
        0 => std::panic::resume_unwind(Box::new("a crash")),
        left => fuse.store(left - 1, Ordering::Relaxed),
    }
}

impl Reporter for Talk {
    fn report(&self, event: &Event<'_>) {
        burn(&self.fuse);
        self.lines
            .lock()
            .expect("no test panics with the lock held")
            .push(event.to_string());
    }
}

impl Machine {
    /// Where each of these components runs version 1.
    pub(super) fn new(names: &[&str]) -> Self {
        // In memory, where that can be had: what matters here is the order of the steps, and there are thousands.
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let machine = Self {
            manager: Manager {
                extensions: directory.path().join("var/lib/extensions"),
                merged: RefCell::new(None),
                running: RefCell::default(),
                calls: RefCell::default(),
                reachable: Cell::new(true),
                mute: Cell::new(false),
                going_down: Cell::new(false),
                without_loop_devices: Cell::new(false),
                fuse: AtomicUsize::new(OUT),
            },
            talk: Talk {
                fuse: AtomicUsize::new(OUT),
                ..Talk::default()
            },
            cancel: Cancel::new(),
            boot: RefCell::new("boot-1".to_owned()),
            directory,
            root,
        };
        for name in names {
            machine.write(&file(name, "1"), "1");
            machine.lead(name, "1");
        }
        machine.boots("boot-1");
        machine
    }

    pub(super) fn outer(&self, inner: &Path) -> PathBuf {
        self.directory
            .path()
            .join(inner.strip_prefix("/").expect("an absolute path"))
    }

    pub(super) fn write(&self, inner: &Path, content: &str) {
        let path = self.outer(inner);
        fs::create_dir_all(path.parent().expect("below the root")).expect("created");
        fs::write(path, content).expect("written");
    }

    pub(super) fn lead(&self, name: &str, version: &str) {
        let link = self.outer(&link(name));
        fs::create_dir_all(link.parent().expect("below the root")).expect("created");
        let _ = fs::remove_file(&link);
        symlink(
            Path::new("../extensions.d").join(format!("{name}/{name}-{version}.raw")),
            link,
        )
        .expect("linked");
    }

    /// Version 2 is acquired, and waits.
    pub(super) fn acquires(&self, name: &str, content: &str) {
        self.write(&pending(name), content);
    }

    /// Version 2 has its name and the link leads to it.
    pub(super) fn switches(&self, name: &str, content: &str) {
        self.write(&file(name, "2"), content);
        let _ = fs::remove_file(self.outer(&pending(name)));
        self.lead(name, "2");
    }

    /// Down, and up again: merged and started is what the links lead to.
    pub(super) fn boots(&self, id: &str) {
        id.clone_into(&mut self.boot.borrow_mut());
        self.manager.merge();
        let merged = self.manager.merged.borrow().clone().unwrap_or_default();
        let units = merged
            .iter()
            .map(|(name, content)| (unit(name), content.clone()));
        *self.manager.running.borrow_mut() = units.collect();
    }

    /// Merges what the links lead to and restarts these units, as the activation of an earlier run did.
    pub(super) fn activates(&self, names: &[&str]) {
        self.manager.merge();
        for name in names {
            self.manager.start(&unit(name));
        }
        self.manager.calls.borrow_mut().clear();
    }

    /// Crashes with the call or the line of this number.
    pub(super) fn light(&self, calls: usize, lines: usize) {
        self.manager.fuse.store(calls, Ordering::Relaxed);
        self.talk.fuse.store(lines, Ordering::Relaxed);
    }

    pub(super) fn put_out(&self) {
        self.light(OUT, OUT);
    }

    fn boot(&self) -> String {
        self.boot.borrow().clone()
    }

    fn conductor<'a>(&'a self, boot: &'a str) -> Conductor<'a> {
        Conductor {
            root: &self.root,
            system: &self.manager,
            reporter: &self.talk,
            durability: Durability::Unsynced,
            cancel: &self.cancel,
            boot: Some(boot),
            architecture: Some("x86-64"),
            now: || "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    pub(super) fn resume(&self) -> Option<Ended> {
        self.try_resume().expect("a trial that can be conducted")
    }

    pub(super) fn try_resume(&self) -> Result<Option<Ended>, TrialError> {
        self.conductor(&self.boot()).resume()
    }

    /// A trial that is on record, and nothing moved.
    pub(super) fn begins(&self, members: &[Member]) -> Begun {
        let record = self.record(members, Phase::Switching);
        let begun = self.conductor(&self.boot()).begin(record);
        begun.expect("on record")
    }

    pub(super) fn at_boot(&self) -> Ended {
        let ended = self.conductor(&self.boot()).at_boot();
        ended.expect("a trial that can be conducted")
    }

    pub(super) fn activate_staged(&self) -> Option<Ended> {
        let ended = self.conductor(&self.boot()).activate_staged();
        ended.expect("a trial that can be conducted")
    }

    /// A whole run as the command line does it: on record, switched, conducted.
    pub(super) fn run(&self, members: &[Member]) -> Result<Ended, TrialError> {
        let boot = self.boot();
        let conductor = self.conductor(&boot);
        let begun = conductor.begin(self.record(members, Phase::Switching))?;
        for member in members {
            super::super::links::forward(&self.root, member, Durability::Unsynced)
                .expect("a switch");
        }
        conductor.conduct(begun.record)
    }

    pub(super) fn record(&self, members: &[Member], phase: Phase) -> Record {
        let boot = Some(self.boot());
        Record {
            phase,
            up_before: members
                .iter()
                .filter_map(|member| member.component.as_deref())
                .map(unit)
                .collect(),
            ..Record::new(
                boot,
                "2026-01-01T00:00:00Z".to_owned(),
                "update".to_owned(),
                members.to_vec(),
            )
        }
    }

    /// Leaves a record as an earlier run does.
    pub(super) fn leaves(&self, members: &[Member], phase: Phase) {
        record::write(&self.root, &self.record(members, phase)).expect("written");
    }

    pub(super) fn on_record(&self) -> Option<Record> {
        record::read(&self.root).expect("readable")
    }

    pub(super) fn marks(&self, name: &str) -> Marks {
        let name = ComponentName::Named(name.to_owned());
        marks::read(&self.root, &ComponentKey::new(&name, None)).expect("readable")
    }

    /// Which version the link leads to, what of version 2 is there, whether it is bad, which version's program runs.
    pub(super) fn shows(&self, name: &str) -> String {
        let mut words = match fs::read_link(self.outer(&link(name))) {
            Err(_) => vec!["none".to_owned()],
            Ok(text) => {
                let text = text.display().to_string();
                let version = text.trim_end_matches(".raw").rsplit('-').next();
                vec![version.unwrap_or_default().to_owned()]
            }
        };
        if self.outer(&pending(name)).exists() {
            words.push("pending".to_owned());
        }
        words.extend(
            self.marks(name)
                .versions
                .iter()
                .map(|mark| format!("{:?}", mark.kind).to_lowercase()),
        );
        let running = self.manager.running.borrow();
        words.push(match running.get(&unit(name)) {
            None => "down".to_owned(),
            Some(content) => format!("runs '{content}'"),
        });
        words.join(" ")
    }

    /// The same, and what is on record.
    pub(super) fn shows_all(&self, name: &str) -> String {
        let record = self.on_record().map_or_else(String::new, |record| {
            let members: Vec<String> = record
                .members
                .iter()
                .filter_map(|member| member.component.clone())
                .collect();
            format!(", {:?} {}", record.phase, members.join(" ")).to_lowercase()
        });
        format!("{}{record}", self.shows(name))
    }
}

pub(super) fn unit(name: &str) -> String {
    format!("{name}.service")
}

pub(super) fn link(name: &str) -> PathBuf {
    Path::new("/var/lib/extensions").join(format!("{name}.raw"))
}

pub(super) fn file(name: &str, version: &str) -> PathBuf {
    Path::new("/var/lib/extensions.d").join(format!("{name}/{name}-{version}.raw"))
}

pub(super) fn pending(name: &str) -> PathBuf {
    super::super::links::pending_path(&file(name, "2"))
}

/// A component on its way from version 1 to 2, whose unit is restarted and has to be up.
pub(super) fn member(name: &str, mode: ActivationMode) -> Member {
    Member {
        component: Some(name.to_owned()),
        version: "2".parse().expect("a version"),
        previous: Some("1".parse().expect("a version")),
        parts: vec![Part {
            transfer: name.to_owned(),
            target: file(name, "2"),
            pending: Some(pending(name)),
            partition: false,
            counted: false,
            read_only: false,
            digest: Some("00ff".to_owned()),
            link: Some(LinkMove {
                path: link(name),
                before: Some(file(name, "1")),
            }),
        }],
        activation: Activation {
            mode,
            restart: Units::Named(vec![unit(name)]),
            reload: Units::Auto,
        },
        check: Check {
            units: vec![unit(name)],
            command: Vec::new(),
            settle: Some(Duration::ZERO),
        },
        on_failure: OnFailure::Revert,
        verdict: None,
        log: Vec::new(),
    }
}

impl Manager {
    fn asked(&self, call: String) -> Result<(), SystemError> {
        burn(&self.fuse);
        self.calls.borrow_mut().push(call);
        if self.reachable.get() {
            Ok(())
        } else {
            let source = io::Error::from(io::ErrorKind::ConnectionRefused);
            Err(SystemError::Connect(Box::new(source)))
        }
    }

    /// Merges all that links lead to; one that spoils it costs all of them theirs.
    fn merge(&self) -> JobResult {
        let mut merged = BTreeMap::new();
        let entries = fs::read_dir(&self.extensions).into_iter().flatten();
        for entry in entries.map(|entry| entry.expect("readable")) {
            let Ok(content) = fs::read_to_string(entry.path()) else {
                continue;
            };
            let name = entry.file_name().to_string_lossy().replace(".raw", "");
            if content.contains("spoils") {
                *self.merged.borrow_mut() = None;
                return JobResult::Failed;
            }
            if !content.contains("skipped") {
                merged.insert(name, content);
            }
        }
        *self.merged.borrow_mut() = Some(merged);
        JobResult::Done
    }

    fn start(&self, unit: &str) -> JobResult {
        let name = unit.trim_end_matches(".service");
        let merged = self.merged.borrow();
        let content = merged.as_ref().and_then(|merged| merged.get(name));
        let mut running = self.running.borrow_mut();
        if let Some(content) = content {
            running.insert(unit.to_owned(), content.clone());
            JobResult::Done
        } else {
            running.remove(unit);
            JobResult::Failed
        }
    }

    fn knows(&self, unit: &str) -> bool {
        let name = unit.trim_end_matches(".service");
        let merged = self.merged.borrow();
        merged
            .as_ref()
            .is_some_and(|merged| merged.contains_key(name))
    }
}

impl SystemManager for Manager {
    fn is_loaded(&self, unit: &str) -> Result<bool, SystemError> {
        self.asked(format!("is-loaded {unit}"))?;
        Ok(unit == MERGE || self.knows(unit))
    }

    fn is_active(&self, unit: &str) -> Result<bool, SystemError> {
        self.asked(format!("is-active {unit}"))?;
        if unit == MERGE {
            return Ok(self.merged.borrow().is_some());
        }
        let running = self.running.borrow();
        Ok(running
            .get(unit)
            .is_some_and(|content| !content.contains("sick")))
    }

    fn restart(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.asked(format!("restart {unit}"))?;
        Ok(if unit == MERGE {
            self.merge()
        } else {
            self.start(unit)
        })
    }

    fn try_restart(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.asked(format!("try-restart {unit}"))?;
        if self.running.borrow().contains_key(unit) {
            Ok(self.start(unit))
        } else {
            Ok(JobResult::Done)
        }
    }

    fn reload_unit(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.asked(format!("reload {unit}"))?;
        Ok(JobResult::Done)
    }

    fn stop(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.asked(format!("stop {unit}"))?;
        self.running.borrow_mut().remove(unit);
        Ok(JobResult::Done)
    }

    fn state(&self, unit: &str) -> Result<UnitState, SystemError> {
        self.asked(format!("state {unit}"))?;
        if self.mute.get() {
            return Err(SystemError::Lost {
                operation: "look up",
                object: unit.to_owned(),
                source: "broken pipe".into(),
            });
        }
        let running = self.running.borrow();
        let (active, result) = match running.get(unit) {
            None => ("inactive", "success"),
            Some(content) if content.contains("sick") => ("failed", "exit-code"),
            Some(_) => ("active", "success"),
        };
        Ok(UnitState {
            active: active.to_owned(),
            result: result.to_owned(),
            ..UnitState::default()
        })
    }

    fn active_units(&self, _: &str) -> Result<Vec<String>, SystemError> {
        self.asked("active-units".to_owned())?;
        Ok(self.running.borrow().keys().cloned().collect())
    }

    fn failed_units(&self) -> Result<BTreeSet<String>, SystemError> {
        self.asked("failed-units".to_owned())?;
        let running = self.running.borrow();
        let sick = running
            .iter()
            .filter(|(_, content)| content.contains("sick"));
        Ok(sick.map(|(unit, _)| unit.clone()).collect())
    }

    fn version(&self) -> Result<Option<u32>, SystemError> {
        self.asked("version".to_owned())?;
        Ok(Some(257))
    }

    fn is_going_down(&self) -> Result<bool, SystemError> {
        Ok(self.going_down.get())
    }

    fn can_attach_images(&self) -> Result<(), SystemError> {
        if self.without_loop_devices.get() {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(SystemError::NoLoopDevice(full));
        }
        Ok(())
    }

    fn reload_manager(&self) -> Result<(), SystemError> {
        self.asked("daemon-reload".to_owned())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<CommandOutcome, SystemError> {
        self.asked(format!("run {program} {}", arguments.join(" ")))?;
        Ok(CommandOutcome {
            code: Some(0),
            stdout: Vec::new(),
            stderr: Vec::new(),
        })
    }

    fn merged(&self, kind: ExtensionKind) -> Result<Vec<String>, SystemError> {
        self.asked(format!("merged {kind}"))?;
        let merged = self.merged.borrow();
        Ok(merged.iter().flat_map(BTreeMap::keys).cloned().collect())
    }
}
