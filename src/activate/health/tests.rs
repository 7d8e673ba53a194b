//! Watches over a manager that shows one state after the other.

use std::cell::{Cell, RefCell};
use std::io;

use crate::activate::system::{CommandOutcome, JobResult};
use crate::event::Silent;
use crate::extension::ExtensionKind;

use super::*;

/// Each unit is in the next state of its list with each question; the last one lasts.
#[derive(Default)]
struct Script {
    states: BTreeMap<&'static str, Vec<&'static str>>,
    asked: RefCell<BTreeMap<String, usize>>,
    /// What the check's command comes to: its exit status, or `-1` for a time-out and `-2` for none at all.
    command: i32,
    ran: RefCell<Vec<Vec<String>>>,
}

impl Script {
    fn of(states: &[(&'static str, &[&'static str])]) -> Self {
        let states = states.iter();
        Self {
            states: states.map(|(unit, list)| (*unit, list.to_vec())).collect(),
            ..Self::default()
        }
    }

    fn ending(mut self, command: i32) -> Self {
        self.command = command;
        self
    }
}

fn unreachable<T>() -> Result<T, SystemError> {
    let source = io::Error::from(io::ErrorKind::NotFound);
    Err(SystemError::Connect(Box::new(source)))
}

impl SystemManager for Script {
    fn state(&self, unit: &str) -> Result<UnitState, SystemError> {
        let mut asked = self.asked.borrow_mut();
        let count = asked.entry(unit.to_owned()).or_default();
        let states = &self.states[unit];
        let text = states[(*count).min(states.len() - 1)];
        *count += 1;
        if text == "!" {
            return unreachable();
        }
        // ACTIVE/SUB#INVOCATION+RESTARTS RESULT
        let (state, result) = text.split_once(' ').unwrap_or((text, "success"));
        let (state, invocation) = state.split_once('#').unwrap_or((state, "1"));
        let (invocation, restarts) = invocation.split_once('+').unwrap_or((invocation, "0"));
        let (active, sub) = state.split_once('/').unwrap_or((state, ""));
        Ok(UnitState {
            active: active.to_owned(),
            sub: sub.to_owned(),
            invocation: invocation.as_bytes().to_vec(),
            restarts: restarts.parse().expect("a number"),
            result: result.to_owned(),
        })
    }

    fn run_transient(
        &self,
        command: &[String],
        limit: Duration,
    ) -> Result<CommandOutcome, SystemError> {
        self.ran.borrow_mut().push(command.to_vec());
        match self.command {
            -1 => Err(SystemError::RunTimeout {
                program: command[0].clone(),
                seconds: limit.as_secs(),
            }),
            -2 => Err(SystemError::Run {
                program: command[0].clone(),
                source: io::Error::from(io::ErrorKind::NotFound),
            }),
            code => Ok(CommandOutcome {
                code: Some(code),
                stdout: Vec::new(),
                stderr: b"no route\n".to_vec(),
            }),
        }
    }

    fn journal_tail(&self, unit: &str, lines: usize) -> Result<Vec<String>, SystemError> {
        assert_eq!(lines, LOG_LINES);
        Ok(vec!["before".to_owned(), format!("{unit} says why")])
    }

    fn is_loaded(&self, _: &str) -> Result<bool, SystemError> {
        unreachable()
    }
    fn is_active(&self, _: &str) -> Result<bool, SystemError> {
        unreachable()
    }
    fn restart(&self, _: &str) -> Result<JobResult, SystemError> {
        unreachable()
    }
    fn try_restart(&self, _: &str) -> Result<JobResult, SystemError> {
        unreachable()
    }
    fn reload_unit(&self, _: &str) -> Result<JobResult, SystemError> {
        unreachable()
    }
    fn stop(&self, _: &str) -> Result<JobResult, SystemError> {
        unreachable()
    }
    fn active_units(&self, _: &str) -> Result<Vec<String>, SystemError> {
        unreachable()
    }
    fn failed_units(&self) -> Result<BTreeSet<String>, SystemError> {
        unreachable()
    }
    fn version(&self) -> Result<Option<u32>, SystemError> {
        unreachable()
    }
    fn reload_manager(&self) -> Result<(), SystemError> {
        unreachable()
    }
    fn run(&self, _: &str, _: &[&str]) -> Result<CommandOutcome, SystemError> {
        unreachable()
    }
    fn merged(&self, _: ExtensionKind) -> Result<Vec<String>, SystemError> {
        unreachable()
    }
}

const SETTLE: Duration = Duration::from_millis(150);

fn set(units: &[&str]) -> BTreeSet<String> {
    units.iter().map(ToString::to_string).collect()
}

fn requiring(units: &[&str]) -> Watch {
    Watch {
        required: set(units),
        settle: SETTLE,
        ..Watch::default()
    }
}

fn shipping(units: &[&str]) -> Watch {
    Watch {
        shipped: set(units),
        settle: SETTLE,
        ..Watch::default()
    }
}

fn watching(watches: &[Watch], failed_before: &[&str], script: &Script) -> Health {
    watch_every(
        Duration::from_millis(1),
        watches,
        &set(failed_before),
        script,
        &|| false,
    )
}

/// `healthy`, or what was found of which watch.
fn told(health: Health) -> Vec<String> {
    match health {
        Health::Healthy => vec!["healthy".to_owned()],
        Health::Interrupted => vec!["interrupted".to_owned()],
        Health::Unanswered { object, source } => vec![format!("'{object}': {source}")],
        Health::Sick { findings } => findings
            .iter()
            .map(|finding| format!("{}: {finding}", finding.watch))
            .collect(),
    }
}

#[test]
fn a_required_unit_must_be_up_at_the_end_and_stay_so() {
    let log = "(a says why)";
    let cases: [(&[&str], String); 14] = [
        (&["active/running"], "healthy".to_owned()),
        (
            &["activating/start", "active/running"],
            "healthy".to_owned(),
        ),
        (&["inactive/dead", "active/running"], "healthy".to_owned()),
        (
            &["active/running", "reloading/reload", "active/running"],
            "healthy".to_owned(),
        ),
        // The manager is busy for a moment.
        (&["!", "active/running"], "healthy".to_owned()),
        (
            &["failed/failed exit-code"],
            format!("0: unit 'a' failed (result 'exit-code') {log}"),
        ),
        (
            &["active/running", "failed/failed signal"],
            format!("0: unit 'a' failed (result 'signal') {log}"),
        ),
        (
            &["active/running", "inactive/dead"],
            format!("0: unit 'a' did not stay up: it is inactive {log}"),
        ),
        (
            &["active/running", "deactivating/stop"],
            format!("0: unit 'a' did not stay up: it is deactivating {log}"),
        ),
        (
            &["active/running#1", "active/running#2"],
            format!("0: unit 'a' did not stay up: it was started anew {log}"),
        ),
        (
            &["activating/auto-restart exit-code"],
            format!("0: unit 'a' keeps failing (result 'exit-code') {log}"),
        ),
        (
            &["inactive/dead"],
            format!("0: unit 'a' is inactive and not active {log}"),
        ),
        (
            &["activating/start"],
            format!("0: unit 'a' is activating and not active {log}"),
        ),
        (&["!"], "'a': cannot connect to the system bus".to_owned()),
    ];
    for (states, expected) in cases {
        let script = Script::of(&[("a", states)]);
        let found = told(watching(&[requiring(&["a"])], &[], &script));
        assert_eq!(found, [expected], "{states:?}");
    }
}

#[test]
fn a_shipped_unit_need_not_run_but_must_not_fail() {
    let log = "(a says why)";
    let cases: [(&[&str], String); 11] = [
        (&["inactive/dead"], "healthy".to_owned()),
        (&["activating/start"], "healthy".to_owned()),
        // Nobody can tell.
        (&["!"], "'a': cannot connect to the system bus".to_owned()),
        // Work that is done, a daemon that nobody needs any more.
        (&["active/running", "inactive/dead"], "healthy".to_owned()),
        (
            &["active/running", "failed/failed core-dump"],
            format!("0: unit 'a' failed (result 'core-dump') {log}"),
        ),
        (
            &["active/running", "inactive/dead exit-code"],
            format!("0: unit 'a' did not stay up: it is inactive {log}"),
        ),
        (
            &["active/running#1", "active/running#2+1"],
            format!("0: unit 'a' did not stay up: it was started anew {log}"),
        ),
        (
            &["active/running#1+3", "active/running#2+4"],
            format!("0: unit 'a' did not stay up: it was started anew {log}"),
        ),
        // Its timer, its socket, or somebody has started it again.
        (
            &["active/running#1", "active/running#2"],
            "healthy".to_owned(),
        ),
        (
            &["activating/auto-restart exit-code"],
            format!("0: unit 'a' keeps failing (result 'exit-code') {log}"),
        ),
        (
            &["inactive/dead", "failed/failed exit-code"],
            format!("0: unit 'a' failed (result 'exit-code') {log}"),
        ),
    ];
    for (states, expected) in cases {
        let script = Script::of(&[("a", states)]);
        let found = told(watching(&[shipping(&["a"])], &[], &script));
        assert_eq!(found, [expected], "{states:?}");
    }
}

#[test]
fn what_had_failed_before_counts_only_where_it_is_required() {
    let script = Script::of(&[("a", &["failed/failed exit-code"])]);
    assert_eq!(
        told(watching(&[shipping(&["a"])], &["a"], &script)),
        ["healthy"]
    );
    let found = watching(&[requiring(&["a"])], &["a"], &script);
    assert!(matches!(found, Health::Sick { .. }), "{found:?}");
}

#[test]
fn each_of_several_is_judged_by_itself() {
    let script = Script::of(&[
        ("a", &["active/running"]),
        ("b", &["active/running", "failed/failed exit-code"]),
        ("c", &["inactive/dead"]),
    ]);
    let watches = [requiring(&["a"]), requiring(&["b"]), requiring(&["c"])];
    assert_eq!(
        told(watching(&watches, &[], &script)),
        [
            "1: unit 'b' failed (result 'exit-code') (b says why)",
            "2: unit 'c' is inactive and not active (c says why)",
        ]
    );
}

#[test]
fn what_happens_after_a_watch_is_over_is_not_its_business() {
    let mut states = vec!["active/running"];
    states.extend(["failed/failed exit-code"; 3]);
    let script = Script::of(&[("a", &states), ("b", &["active/running"])]);
    let short = Watch {
        settle: Duration::ZERO,
        ..requiring(&["a"])
    };
    let found = told(watching(&[short, requiring(&["b"])], &[], &script));
    assert_eq!(found, ["healthy"]);
    assert_eq!(script.asked.borrow()["a"], 1);
}

#[test]
fn a_watch_ends_as_soon_as_all_of_them_are_sick() {
    let script = Script::of(&[("a", &["failed/failed exit-code"])]);
    let long = Watch {
        settle: Duration::from_secs(3600),
        ..requiring(&["a"])
    };
    let found = watching(&[long], &[], &script);
    assert!(matches!(found, Health::Sick { .. }), "{found:?}");
}

#[test]
fn the_check_runs_at_the_end_and_only_where_the_units_stand() {
    let cases = [
        (0, "healthy"),
        (
            1,
            "0: the check '/usr/bin/check' failed: exit status 1: no route",
        ),
        (
            -1,
            "0: the check '/usr/bin/check' did not end: '/usr/bin/check' did not end within 90 s and was killed",
        ),
        (
            -2,
            "0: the check '/usr/bin/check' cannot be run: cannot run '/usr/bin/check': entity not found",
        ),
    ];
    let with_check = |units: &[&str]| Watch {
        command: vec!["/usr/bin/check".to_owned(), "--all".to_owned()],
        settle: Duration::ZERO,
        ..requiring(units)
    };
    for (command, expected) in cases {
        let script = Script::of(&[("a", &["active/running"])]).ending(command);
        let found = told(watching(&[with_check(&["a"])], &[], &script));
        assert_eq!(found, [expected]);
        assert_eq!(*script.ran.borrow(), [["/usr/bin/check", "--all"]]);
    }
    let script = Script::of(&[("a", &["inactive/dead"])]);
    watching(&[with_check(&["a"])], &[], &script);
    assert!(script.ran.borrow().is_empty());
    // Without units there is nothing to wait for, and the check runs all the same.
    let script = Script::of(&[]).ending(1);
    let found = watching(&[with_check(&[])], &[], &script);
    assert!(matches!(found, Health::Sick { .. }), "{found:?}");
}

#[test]
fn who_wants_out_gets_out() {
    for after in [0, 2] {
        let script = Script::of(&[("a", &["active/running"])]);
        let long = Watch {
            settle: Duration::from_secs(3600),
            ..requiring(&["a"])
        };
        let looks = Cell::new(0);
        let wants_out = || looks.replace(looks.get() + 1) >= after;
        let interval = Duration::from_millis(1);
        let found = watch_every(interval, &[long], &BTreeSet::new(), &script, &wants_out);
        assert_eq!(told(found), ["interrupted"]);
    }
}

#[test]
fn nothing_to_watch_is_healthy_at_once() {
    let script = Script::of(&[]);
    assert_eq!(told(watching(&[], &[], &script)), ["healthy"]);
    let health = watch(
        &[Watch::default()],
        &BTreeSet::new(),
        &script,
        &Silent,
        &|| false,
    );
    assert_eq!(told(health), ["healthy"]);
}
