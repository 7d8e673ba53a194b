//! Watches whether what was activated lives.
//!
//! Asks the service manager again and again until everything has stood its time, something has failed, or the user
//! wants out. Never acts on what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::event::{Event, Reporter, Severity, chain};

use super::system::{SystemError, SystemManager, UnitState};

/// What one component's health is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// Units that must be active at the end.
    pub required: BTreeSet<String>,
    /// Units that must not fail, if they run.
    pub shipped: BTreeSet<String>,
    /// A program with its arguments that must succeed at the end; empty: none.
    pub command: Vec<String>,
    /// How long the units are watched.
    pub settle: Duration,
}

/// What the watch came to.
#[derive(Debug)]
pub enum Health {
    /// Everything has stood its time.
    Healthy,
    /// Something has not.
    Sick {
        /// What was seen, at least one.
        findings: Vec<Finding>,
    },
    /// The user wanted out.
    Interrupted,
    /// Nobody was there to be asked, so nobody knows.
    Unanswered {
        /// What was asked about: a unit, or the check's program.
        object: String,
        /// Why there was no answer.
        source: SystemError,
    },
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The index of the watch.
    pub watch: usize,
    /// What was seen.
    pub what: String,
    /// The last lines of the unit's log.
    pub log: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)?;
        if let Some(last) = self.log.last() {
            write!(formatter, " ({last})")?;
        }
        Ok(())
    }
}

/// Watches all of them at once. `failed_before` are units that had failed before anything was activated.
pub fn watch(
    watches: &[Watch],
    failed_before: &BTreeSet<String>,
    system: &dyn SystemManager,
    reporter: &dyn Reporter,
    wants_out: &dyn Fn() -> bool,
) -> Health {
    let longest = watches.iter().map(|watch| watch.settle).max();
    let limit = longest.unwrap_or_default();
    if watches.iter().any(Watch::has_units) && !limit.is_zero() {
        let text = format!("Watching the units for {} s.", limit.as_secs());
        reporter.report(&Event::Message(Severity::Info, text));
    }
    watch_every(INTERVAL, watches, failed_before, system, wants_out)
}

fn watch_every(
    interval: Duration,
    watches: &[Watch],
    failed_before: &BTreeSet<String>,
    system: &dyn SystemManager,
    wants_out: &dyn Fn() -> bool,
) -> Health {
    let mut observer = Observer {
        system,
        failed_before,
        first: BTreeMap::new(),
        findings: BTreeMap::new(),
        unanswered: None,
    };
    // Each has its own time: what happens afterwards is not this version's trial.
    let mut open: BTreeSet<usize> = (0..watches.len()).collect();
    let started = Instant::now();
    while !open.is_empty() {
        let elapsed = started.elapsed();
        open.retain(|index| {
            let watch = &watches[*index];
            let at_end = elapsed >= watch.settle;
            let sick = observer.look(*index, watch, at_end);
            !at_end && !sick
        });
        if wants_out() {
            return Health::Interrupted;
        }
        let left = open
            .iter()
            .map(|index| watches[*index].settle.saturating_sub(elapsed));
        if let Some(next) = left.min() {
            std::thread::sleep(interval.min(next));
        }
    }
    for (index, watch) in watches.iter().enumerate() {
        if wants_out() {
            return Health::Interrupted;
        }
        if !observer.findings.contains_key(&index) {
            observer.run(index, watch);
        }
    }
    if let Some((object, source)) = observer.unanswered {
        return Health::Unanswered { object, source };
    }
    let findings: Vec<Finding> = observer.findings.into_values().flatten().collect();
    if findings.is_empty() {
        Health::Healthy
    } else {
        Health::Sick { findings }
    }
}

impl Watch {
    fn has_units(&self) -> bool {
        !self.required.is_empty() || !self.shipped.is_empty()
    }
}

struct Observer<'a> {
    system: &'a dyn SystemManager,
    failed_before: &'a BTreeSet<String>,
    /// Each unit as it was when it was first seen up.
    first: BTreeMap<String, UnitState>,
    findings: BTreeMap<usize, Vec<Finding>>,
    /// What could not be asked about when it counted.
    unanswered: Option<(String, SystemError)>,
}

impl Observer<'_> {
    /// Looks at the units of one watch; `at_end`: those that are required must be up now. Whether something is wrong.
    fn look(&mut self, index: usize, watch: &Watch, at_end: bool) -> bool {
        let mut findings = Vec::new();
        for unit in watch.required.union(&watch.shipped) {
            let required = watch.required.contains(unit);
            match self.system.state(unit) {
                Ok(state) => {
                    if let Some(what) = self.verdict(unit, state, required, at_end) {
                        let log = self.log(unit);
                        findings.push(Finding {
                            watch: index,
                            what,
                            log,
                        });
                    }
                }
                // The manager may be busy reloading; at the end it must answer.
                Err(error) if at_end && error.is_unreachable() => {
                    self.unanswered = Some((unit.clone(), error));
                }
                Err(error) if at_end && required => findings.push(Finding {
                    watch: index,
                    what: format!("unit '{unit}' cannot be looked at: {}", chain(&error)),
                    log: Vec::new(),
                }),
                Err(_) => {}
            }
        }
        let sick = !findings.is_empty();
        if sick {
            self.findings.insert(index, findings);
        }
        sick
    }

    fn verdict(
        &mut self,
        unit: &str,
        state: UnitState,
        required: bool,
        at_end: bool,
    ) -> Option<String> {
        if state.active == "failed" && (required || !self.failed_before.contains(unit)) {
            return Some(format!("unit '{unit}' failed (result '{}')", state.result));
        }
        let up = state.is_up();
        if let Some(first) = self.first.get(unit) {
            // What its timer or its socket starts again and again is well, as long as nobody requires that it stays.
            let anew = first.invocation != state.invocation
                && (required || state.restarts > 0 && state.restarts != first.restarts);
            if anew && up {
                return Some(format!(
                    "unit '{unit}' did not stay up: it was started anew"
                ));
            }
            // What ends by itself when its work is done, or when nobody needs it any more, is well.
            let done = !required
                && state.active == "inactive"
                && matches!(state.result.as_str(), "success" | "");
            if !up && !done {
                return Some(format!(
                    "unit '{unit}' did not stay up: it is {}",
                    state.active
                ));
            }
        } else if up && state.active != "activating" {
            self.first.insert(unit.to_owned(), state);
            return None;
        }
        // What is shown as starting anew after a failure is not up; what has never been up may still come.
        if state.sub == "auto-restart" {
            return Some(format!(
                "unit '{unit}' keeps failing (result '{}')",
                state.result
            ));
        }
        if at_end && required && (!up || state.active == "activating") {
            return Some(format!("unit '{unit}' is {} and not active", state.active));
        }
        None
    }

    /// Runs the command of a watch.
    fn run(&mut self, index: usize, watch: &Watch) {
        let Some(program) = watch.command.first() else {
            return;
        };
        let what = match self.system.run_transient(&watch.command, COMMAND_LIMIT) {
            Ok(outcome) if outcome.code == Some(0) => return,
            Ok(outcome) => format!("the check '{program}' failed: {}", outcome.summary()),
            Err(error) if error.is_unreachable() => {
                self.unanswered = Some((program.clone(), error));
                return;
            }
            Err(error @ SystemError::RunTimeout { .. }) => {
                format!("the check '{program}' did not end: {}", chain(&error))
            }
            Err(error) => format!("the check '{program}' cannot be run: {}", chain(&error)),
        };
        let finding = Finding {
            watch: index,
            what,
            log: Vec::new(),
        };
        self.findings.insert(index, vec![finding]);
    }

    fn log(&self, unit: &str) -> Vec<String> {
        self.system
            .journal_tail(unit, LOG_LINES)
            .unwrap_or_default()
    }
}

/// How often the manager is asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long a check's command may run.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);

/// Lines of a failed unit's log that are kept.
const LOG_LINES: usize = 5;

#[cfg(test)]
mod tests;
