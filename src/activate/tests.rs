//! `activate()` against a system that records what it is asked and answers from tables.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;

use super::system::UnitState;
use super::*;
use crate::event::{Event, Reporter};

/// A system where all units are loaded and up and all jobs succeed, except as told.
#[derive(Default)]
struct Recorder {
    calls: RefCell<Vec<String>>,
    missing: BTreeSet<&'static str>,
    inactive: BTreeSet<&'static str>,
    /// The result of a call, spelled as in `calls`: a job's result, an exit status, or `!` for an error.
    results: BTreeMap<&'static str, &'static str>,
    /// What the listing says; `None`: it cannot be had.
    merged: Option<Vec<&'static str>>,
}

impl Recorder {
    fn merging(names: &[&'static str]) -> Self {
        Self {
            merged: Some(names.to_vec()),
            ..Self::default()
        }
    }

    fn with_result(mut self, call: &'static str, result: &'static str) -> Self {
        self.results.insert(call, result);
        self
    }

    fn note(&self, call: String) -> Result<&'static str, SystemError> {
        let result = self.results.get(call.as_str()).copied().unwrap_or("done");
        self.calls.borrow_mut().push(call.clone());
        match result {
            "!" => Err(SystemError::Call {
                operation: "reach",
                object: call,
                source: Box::new(io::Error::other("no answer")),
            }),
            result => Ok(result),
        }
    }

    fn job(&self, call: String) -> Result<JobResult, SystemError> {
        let Ok(result) = self.note(call)?.parse();
        Ok(result)
    }
}

impl SystemManager for Recorder {
    fn is_loaded(&self, unit: &str) -> Result<bool, SystemError> {
        Ok(!self.missing.contains(unit))
    }

    fn is_active(&self, unit: &str) -> Result<bool, SystemError> {
        Ok(!self.inactive.contains(unit) && !self.missing.contains(unit))
    }

    fn restart(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.job(format!("restart {unit}"))
    }

    fn try_restart(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.job(format!("try-restart {unit}"))
    }

    fn reload_unit(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.job(format!("reload {unit}"))
    }

    fn stop(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.job(format!("stop {unit}"))
    }

    fn state(&self, unit: &str) -> Result<UnitState, SystemError> {
        let up = self.is_active(unit)?;
        Ok(UnitState {
            active: if up { "active" } else { "inactive" }.to_owned(),
            ..UnitState::default()
        })
    }

    fn active_units(&self, _: &str) -> Result<Vec<String>, SystemError> {
        Ok(Vec::new())
    }

    fn failed_units(&self) -> Result<BTreeSet<String>, SystemError> {
        Ok(BTreeSet::new())
    }

    fn version(&self) -> Result<Option<u32>, SystemError> {
        Ok(Some(257))
    }

    fn reload_manager(&self) -> Result<(), SystemError> {
        self.note("daemon-reload".to_owned()).map(|_| ())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<CommandOutcome, SystemError> {
        let result = self.note(format!("run {program} {}", arguments.join(" ")))?;
        Ok(CommandOutcome {
            code: result.parse().ok().or(Some(0)),
            stdout: Vec::new(),
            stderr: b"why\n".to_vec(),
        })
    }

    fn merged(&self, kind: ExtensionKind) -> Result<Vec<String>, SystemError> {
        self.note(format!("merged {}", kind.program()))?;
        match &self.merged {
            Some(names) => Ok(names.iter().map(ToString::to_string).collect()),
            None => Err(SystemError::RunTimeout {
                program: kind.program().to_owned(),
                seconds: 1,
            }),
        }
    }
}

/// Keeps what is reported, with a mark for warnings.
#[derive(Default)]
struct Talk(Mutex<Vec<String>>);

impl Reporter for Talk {
    fn report(&self, event: &Event<'_>) {
        let mark = if event.severity() == Severity::Warning {
            "W "
        } else {
            ""
        };
        self.0
            .lock()
            .expect("no reporter panics")
            .push(format!("{mark}{event}"));
    }
}

/// A plan that merges `extensions` of one kind, each a component of its own with one unit to restart.
fn merging(kind: ExtensionKind, extensions: &[&str]) -> ActivationPlan {
    let dependents: Vec<_> = extensions
        .iter()
        .map(|name| Dependent {
            component: (*name).to_owned(),
            version: "2".to_owned(),
            kind,
            extension: Some((*name).to_owned()),
            units: vec![format!("{name}.service")],
        })
        .collect();
    let restart = dependents
        .iter()
        .flat_map(|dependent| dependent.units.clone())
        .collect();
    ActivationPlan {
        merge: BTreeSet::from([kind]),
        dependents,
        restart,
        ..ActivationPlan::default()
    }
}

fn units(reload: &[&str], restart: &[&str]) -> ActivationPlan {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    ActivationPlan {
        reload: owned(reload),
        restart: owned(restart),
        ..ActivationPlan::default()
    }
}

/// The calls, the talk, and the failures as text.
fn run(plan: &ActivationPlan, system: &Recorder) -> (Vec<String>, Vec<String>, Vec<String>) {
    let talk = Talk::default();
    let failures = match activate(plan, system, &talk) {
        Ok(()) => Vec::new(),
        Err(ActivateError::Failed { failures }) => {
            failures.iter().map(ToString::to_string).collect()
        }
        Err(other) => panic!("activation writes no note: {other}"),
    };
    (
        system.calls.take(),
        talk.0.into_inner().expect("no reporter panics"),
        failures,
    )
}

#[test]
fn an_empty_plan_asks_for_nothing() {
    let (calls, talk, failures) = run(&ActivationPlan::default(), &Recorder::default());
    assert!(calls.is_empty() && talk.is_empty() && failures.is_empty());
}

#[test]
fn merges_come_first_then_the_manager_then_reloads_then_restarts() {
    let mut plan = merging(ExtensionKind::Sysext, &["a", "b"]);
    plan.merge.insert(ExtensionKind::Confext);
    plan.reload.push("r.service".to_owned());
    let (calls, talk, failures) = run(&plan, &Recorder::merging(&["a", "b", "other"]));
    assert_eq!(
        calls,
        [
            "restart systemd-sysext.service",
            "merged systemd-sysext",
            "restart systemd-confext.service",
            "daemon-reload",
            "reload r.service",
            "try-restart a.service",
            "try-restart b.service",
        ]
    );
    assert_eq!(
        talk,
        [
            "Merging system extensions: restarting 'systemd-sysext.service'.",
            "Merging configuration extensions: restarting 'systemd-confext.service'.",
            "Reloading the service manager.",
            "Reloading 'r.service'.",
            "Restarting 'a.service'.",
            "Restarting 'b.service'.",
        ]
    );
    assert!(failures.is_empty());
}

#[test]
fn without_its_service_the_tool_merges() {
    for (kind, unit, command) in [
        (
            ExtensionKind::Sysext,
            "systemd-sysext.service",
            "run systemd-sysext refresh",
        ),
        (
            ExtensionKind::Confext,
            "systemd-confext.service",
            "run systemd-confext refresh",
        ),
    ] {
        let system = Recorder {
            missing: BTreeSet::from([unit]),
            ..Recorder::merging(&["a"])
        };
        let (calls, _, failures) = run(&merging(kind, &["a"]), &system);
        assert_eq!(calls[0], command);
        assert_eq!(calls[2..], ["daemon-reload", "try-restart a.service"]);
        assert!(failures.is_empty(), "{failures:?}");
    }
}

#[test]
fn after_a_failed_merge_its_units_are_left_alone() {
    let refresh = "run systemd-sysext refresh";
    let restart = "restart systemd-sysext.service";
    let job = |result: &str| {
        format!("cannot restart unit 'systemd-sysext.service': the job's result is '{result}'")
    };
    let cases = [
        (Recorder::merging(&["a"]).with_result(restart, "failed"), job("failed")),
        (Recorder::merging(&["a"]).with_result(restart, "canceled"), job("canceled")),
        (Recorder::merging(&["a"]).with_result(restart, "skipped"), job("skipped")),
        (
            Recorder::merging(&["a"]).with_result(restart, "!"),
            "cannot merge with 'systemd-sysext.service': cannot reach 'restart systemd-sysext.service': no answer"
                .to_owned(),
        ),
        (
            Recorder { inactive: BTreeSet::from(["systemd-sysext.service"]), ..Recorder::merging(&["a"]) },
            "unit 'systemd-sysext.service' is not active after its restart, an unmet condition may have stopped it"
                .to_owned(),
        ),
        (
            Recorder { missing: BTreeSet::from(["systemd-sysext.service"]), ..Recorder::merging(&["a"]) }
                .with_result(refresh, "1"),
            "'systemd-sysext refresh' failed with exit status 1: why".to_owned(),
        ),
    ];
    for (system, expected) in cases {
        let mut plan = merging(ExtensionKind::Sysext, &["a"]);
        // Of a component that needs no merge.
        plan.restart.push("other.service".to_owned());
        let (calls, talk, failures) = run(&plan, &system);
        assert_eq!(failures, [expected.as_str()]);
        assert_eq!(calls[1..], ["try-restart other.service"], "{expected}");
        let warning =
            "W Unit 'a.service' is left as it is: the extension it belongs to was not merged.";
        assert!(talk.iter().any(|line| line == warning), "{talk:?}");
    }
}

#[test]
fn one_failed_merge_does_not_stop_the_other() {
    let mut plan = merging(ExtensionKind::Confext, &["c"]);
    plan.merge.insert(ExtensionKind::Sysext);
    let system = Recorder::merging(&["c"]).with_result("restart systemd-sysext.service", "timeout");
    let (calls, _, failures) = run(&plan, &system);
    assert_eq!(failures.len(), 1);
    assert_eq!(
        calls[1..],
        [
            "restart systemd-confext.service",
            "merged systemd-confext",
            "daemon-reload",
            "try-restart c.service"
        ]
    );
}

#[test]
fn an_extension_that_was_skipped_silently_is_a_failure_and_keeps_its_units_running() {
    let (calls, _, failures) = run(
        &merging(ExtensionKind::Sysext, &["a", "b"]),
        &Recorder::merging(&["b", "ab"]),
    );
    assert_eq!(
        failures,
        [
            "system extension 'a' (a 2) is installed, but not merged: it may be built for another system or architecture, \
          lack 'extension-release.a', or be masked"
        ]
    );
    assert_eq!(calls[2..], ["daemon-reload", "try-restart b.service"]);
}

#[test]
fn a_listing_that_cannot_be_had_is_only_a_warning() {
    let (calls, talk, failures) = run(
        &merging(ExtensionKind::Sysext, &["a"]),
        &Recorder::default(),
    );
    assert!(failures.is_empty());
    assert_eq!(
        calls.last().map(String::as_str),
        Some("try-restart a.service")
    );
    let warning = "W Cannot tell which system extensions are merged: 'systemd-sysext' did not end within 1 s and was \
                   killed";
    assert!(talk.iter().any(|line| line == warning), "{talk:?}");
}

#[test]
fn a_merge_that_nothing_can_be_looked_for_is_not_looked_at() {
    let mut plan = merging(ExtensionKind::Sysext, &["a"]);
    plan.dependents[0].extension = None;
    let (calls, _, failures) = run(&plan, &Recorder::default());
    assert_eq!(
        calls,
        [
            "restart systemd-sysext.service",
            "daemon-reload",
            "try-restart a.service"
        ]
    );
    assert!(failures.is_empty());
}

#[test]
fn all_units_are_tried_and_all_failures_are_told() {
    let system = Recorder::default()
        .with_result("reload a.service", "failed")
        .with_result("try-restart b.service", "dependency")
        .with_result("try-restart c.service", "!")
        .with_result("try-restart d.service", "collected")
        .with_result("daemon-reload", "!");
    let plan = units(
        &["a.service"],
        &["b.service", "c.service", "d.service", "e.service"],
    );
    let (calls, _, failures) = run(&plan, &system);
    assert_eq!(calls.len(), 6, "{calls:?}");
    assert_eq!(calls[5], "try-restart e.service");
    assert_eq!(
        failures,
        [
            "cannot reload 'systemd': cannot reach 'daemon-reload': no answer",
            "cannot reload unit 'a.service': the job's result is 'failed'",
            "cannot restart unit 'b.service': the job's result is 'dependency'",
            "cannot restart 'c.service': cannot reach 'try-restart c.service': no answer",
            "cannot restart unit 'd.service': the job's result is 'collected'",
        ]
    );
}

#[test]
fn a_unit_that_is_not_up_stays_so_and_is_told() {
    let system = Recorder {
        inactive: BTreeSet::from(["down.service", "quiet.service"]),
        missing: BTreeSet::from(["typo.service"]),
        ..Recorder::default()
    };
    let (calls, talk, failures) = run(
        &units(&["quiet.service"], &["down.service", "typo.service"]),
        &system,
    );
    assert_eq!(calls, ["daemon-reload"]);
    assert_eq!(
        talk[1..],
        [
            "Unit 'quiet.service' is not active and stays so.",
            "Unit 'down.service' is not active and stays so.",
            "W Unit 'typo.service', to restart, does not exist or cannot be loaded.",
        ]
    );
    assert!(failures.is_empty());
}

#[test]
fn what_waits_for_a_boot_is_told_and_touches_nothing() {
    let plan = ActivationPlan {
        staged: vec!["a 1 takes effect at the next boot".to_owned()],
        reboot: vec!["b 2 needs a reboot to take effect".to_owned()],
        ..ActivationPlan::default()
    };
    let (calls, talk, failures) = run(&plan, &Recorder::default());
    assert!(calls.is_empty() && failures.is_empty());
    assert_eq!(
        talk,
        [
            "a 1 takes effect at the next boot.",
            "b 2 needs a reboot to take effect."
        ]
    );
}

#[test]
fn every_failure_has_a_next_step_and_none_is_given_twice() {
    let job = |unit: &str, result| Failure::Job {
        verb: Verb::Restart,
        unit: unit.to_owned(),
        result,
    };
    let manager = |object: &str, source| Failure::Manager {
        operation: "restart",
        object: object.to_owned(),
        source,
    };
    let bus = || SystemError::Connect(Box::new(io::Error::from(io::ErrorKind::NotFound)));
    let error = ActivateError::Failed {
        failures: vec![
            job("a.service", JobResult::Failed),
            job("a.service", JobResult::Timeout),
            Failure::Inactive {
                unit: "systemd-sysext.service".to_owned(),
            },
            manager("b.service", bus()),
            manager("c.service", bus()),
            manager(
                "d.service",
                SystemError::JobTimeout {
                    operation: "restart",
                    unit: "d.service".to_owned(),
                    seconds: 90,
                },
            ),
            manager(
                "e.service",
                SystemError::RunTimeout {
                    program: "p".to_owned(),
                    seconds: 1,
                },
            ),
            Failure::NotMerged {
                kind: ExtensionKind::Confext,
                extension: "c".to_owned(),
                component: "c".to_owned(),
                version: "1".to_owned(),
            },
        ],
    };
    assert_eq!(
        error.hints(),
        [
            "see 'journalctl -u a.service'",
            "see 'journalctl -u systemd-sysext.service'",
            "is the system bus running? see 'systemctl status dbus.service'",
            "see what the job waits for with 'systemctl list-jobs --after --before'",
            "see 'systemctl status e.service'",
            "run 'SYSTEMD_LOG_LEVEL=debug systemd-confext refresh' to see why it is skipped",
        ]
    );
    let text = error.to_string();
    assert!(
        text.starts_with("cannot activate what was installed: cannot restart unit 'a.service'"),
        "{text}"
    );
    assert!(!text.contains('\n'));
}

#[test]
fn units_that_were_up_before_are_started_again_and_others_stay_down() {
    let plan = ActivationPlan {
        restart: vec!["a.service".to_owned(), "b.service".to_owned()],
        revive: [
            "a.service".to_owned(),
            "c.service".to_owned(),
            "d.service".to_owned(),
        ]
        .into(),
        ..ActivationPlan::default()
    };
    let system = Recorder {
        inactive: ["a.service", "b.service", "c.service"].into(),
        ..Recorder::default()
    };
    let talk = Talk::default();
    activate(&plan, &system, &talk).expect("everything is done");
    assert_eq!(
        *system.calls.borrow(),
        ["daemon-reload", "restart a.service", "restart c.service",]
    );
}
