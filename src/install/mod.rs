//! Carries a [`Plan`] out: acquire everything, then switch everything, then remove what is in the way no more.
//!
//! The order is the promise: nothing old goes before the new version stands complete under its final name and the
//! current symlinks lead to it. Each step leaves a state that the next plain run recognises on disk and continues from:
//!
//! | cut off after            | found by the next run as                    | which then                  |
//! |--------------------------|---------------------------------------------|-----------------------------|
//! | part of a download       | partial                                     | fetches the rest            |
//! | some downloads           | pending, others missing                     | fetches the others          |
//! | all downloads            | pending                                     | installs                    |
//! | some installations       | complete, others pending                    | installs the others         |
//! | all, but a link          | complete, the link on an older inode        | moves the link              |
//! | all links, but removals  | complete                                    | removes with its next plan  |

pub mod acquire;
pub mod choice;
pub mod database;
pub mod lock;
pub mod marks;
mod origin;
mod partial;
mod sink;
pub mod space;
pub mod switch;
pub mod vacuum;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::definition::{ComponentKey, ComponentName};
use crate::event::{Event, Reporter, Severity};
use crate::fetch::{Cancel, Fetch};
use crate::plan::{self, Action, Goal, Plan, Removal};
use crate::root::Root;
use crate::storage::atomic::{AtomicError, Durability};
use crate::version::Version;

pub use acquire::{AcquireError, Verified};
pub use space::SpaceError;
pub use switch::{Moved, SwitchError};
pub use vacuum::VacuumError;

/// What the executor works with.
#[derive(Clone, Copy)]
pub struct Executor<'a> {
    /// The file system.
    pub root: &'a Root,
    /// The way to sources.
    pub fetch: &'a dyn Fetch,
    /// Who is told.
    pub reporter: &'a dyn Reporter,
    /// Set when the user wants out.
    pub cancel: &'a Cancel,
    /// `--sync=`.
    pub durability: Durability,
    /// Downloads at a time, at least 1.
    pub jobs: usize,
}

/// A plan that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not enough room.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A download failed; others may have succeeded and are kept for the next run.
    #[error("cannot acquire version '{version}' of transfer '{transfer}'")]
    Acquire {
        /// The version.
        version: Version,
        /// The transfer's id.
        transfer: String,
        /// The cause.
        source: AcquireError,
    },
    /// A switch failed.
    #[error("cannot install version '{version}' of transfer '{transfer}'")]
    Switch {
        /// The version.
        version: Version,
        /// The transfer's id.
        transfer: String,
        /// The cause.
        source: SwitchError,
    },
    /// The choice of an older version cannot be put on record, or not be forgotten.
    #[error("cannot keep the record of the chosen version")]
    Choice(#[source] AtomicError),
    /// Something old could not be removed; the new version stands.
    #[error(transparent)]
    Vacuum(#[from] VacuumError),
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
}

/// What a plan has brought about. A failure may come after some artifacts have changed already.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What changed for those who use the artifacts, in order.
    pub moved: Vec<Moved>,
    /// What kept the plan from its end.
    pub failure: Option<InstallError>,
}

impl Executor<'_> {
    /// Carries out a plan, as far as it goes.
    pub fn execute(
        &self,
        component: &ComponentName,
        key: &ComponentKey,
        plan: &Plan<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.failure = self.carry_out(component, key, plan, &mut outcome).err();
        outcome
    }

    fn carry_out(
        &self,
        component: &ComponentName,
        key: &ComponentKey,
        plan: &Plan<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InstallError> {
        let remaining = self.make_room(plan)?;
        let verified = self.acquire_all(plan)?;
        if plan.goal == Goal::Install {
            database::record(self.root, component, plan, self.durability, self.reporter);
            // Before the first link moves: one that leads to an older version is either chosen or left behind.
            if plan.steps_back {
                choice::write(self.root, key, plan.version).map_err(InstallError::Choice)?;
            } else {
                choice::clear(self.root, key, self.durability).map_err(InstallError::Choice)?;
            }
            for (step, verified) in plan.steps.iter().zip(verified) {
                let moved = switch::install(self, plan.version, step, verified);
                let moved = moved.map_err(|source| InstallError::Switch {
                    version: plan.version.clone(),
                    transfer: step.transfer.id.clone(),
                    source,
                })?;
                outcome.moved.extend(moved);
            }
        }
        let (versions, disabled) = plan::count(remaining.iter().copied());
        let mut result = Ok(());
        for removal in remaining {
            // One that fails does not keep the others.
            result = result.and(vacuum::remove(self, removal));
        }
        if versions + disabled > 0 {
            self.say(vacuum::summary(versions, disabled));
        }
        Ok(result?)
    }

    /// Removes old versions before anything is fetched, but only as far as the file systems force it.
    fn make_room<'p, 'v>(&self, plan: &'p Plan<'v>) -> Result<Vec<&'p Removal<'v>>, InstallError> {
        let mut needs = space::Needs::of(self, plan)?;
        let mut remaining: Vec<&Removal<'_>> = plan.removals.iter().collect();
        while let Some(shortage) = needs.shortage(self.root)? {
            let relief: Vec<usize> = (0..remaining.len())
                .filter(|index| shortage.is_relieved_by(self.root, remaining[*index]))
                .collect();
            // Nothing goes for an update that would not fit all the same.
            let gained = relief
                .iter()
                .map(|index| space::occupied(self.root, remaining[*index].path))
                .sum();
            let Some(first) = relief.first().filter(|_| shortage.would_end_with(gained)) else {
                return Err(shortage.into_error().into());
            };
            vacuum::remove(self, remaining[*first])?;
            remaining.remove(*first);
        }
        Ok(remaining)
    }

    /// The first pass: every part that is missing is fetched, verified and synced, several at a time.
    fn acquire_all(&self, plan: &Plan<'_>) -> Result<Vec<Option<Verified>>, InstallError> {
        let results: Vec<Mutex<Option<Result<Verified, AcquireError>>>> =
            plan.steps.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(step) = plan.steps.get(index) else {
                    break;
                };
                let result = acquire::step(self, step);
                if matches!(result, Some(Err(_))) || self.cancel.is_cancelled() {
                    // What runs beside is finished and kept; nothing more is begun.
                    next.store(plan.steps.len(), Ordering::Relaxed);
                }
                *lock(&results[index]) = result;
            }
        };
        let fetched = plan
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::Acquire { .. }))
            .count();
        std::thread::scope(|scope| {
            for _ in 1..fetched.min(self.jobs) {
                scope.spawn(work);
            }
            work();
        });
        let mut verified = Vec::with_capacity(results.len());
        for (step, result) in plan.steps.iter().zip(&results) {
            match lock(result).take() {
                Some(Ok(staged)) => verified.push(Some(staged)),
                None if matches!(step.action, Action::Keep) => verified.push(None),
                None | Some(Err(AcquireError::Cancelled)) => return Err(InstallError::Cancelled),
                Some(Err(source)) => {
                    let (version, transfer) = (plan.version.clone(), step.transfer.id.clone());
                    return Err(InstallError::Acquire {
                        version,
                        transfer,
                        source,
                    });
                }
            }
        }
        Ok(verified)
    }

    fn say(&self, text: String) {
        self.reporter.report(&Event::Message(Severity::Info, text));
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every slot is written in one step.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
