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
pub mod cleanup;
pub mod database;
pub mod history;
mod journal;
pub mod lock;
pub mod marks;
pub mod metrics;
mod origin;
pub mod owed;
mod partial;
mod sink;
mod slot;
pub mod space;
mod stream;
pub mod switch;
pub mod tree;
pub(crate) mod twin;
pub mod vacuum;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::definition::{ComponentKey, ComponentName};
use crate::event::{Event, Reporter, Severity};
use crate::fetch::{Cancel, Fetch};
use crate::plan::{self, Action, Choice, Plan, Removal, Step};
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
    /// Where the files will lie cannot be recorded.
    #[error("cannot record the installation for `cleanup`")]
    Database(#[source] AtomicError),
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

/// What switching a plan has brought about. A failure may come after some artifacts have changed already.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What changed for those who use the artifacts, in order.
    pub moved: Vec<Moved>,
    /// What kept the plan from its end.
    pub failure: Option<InstallError>,
}

/// A plan whose artifacts are all here.
#[derive(Debug)]
pub struct Acquired<'p, 'v> {
    /// The plan.
    pub plan: &'p Plan<'v>,
    /// What waits for installation, one per step; `None` where the artifact stands already.
    pub staged: Vec<Option<Verified>>,
    /// What goes once the new version has proved itself.
    pub removals: Vec<&'p Removal<'v>>,
}

impl Executor<'_> {
    /// Fetches everything that the plans need, side by side; one result per plan, in order. A plan that fails costs the
    /// others nothing, and what it has fetched is kept for the next run.
    pub fn acquire<'p, 'v>(
        &self,
        plans: &[&'p Plan<'v>],
    ) -> Vec<Result<Acquired<'p, 'v>, InstallError>> {
        let rooms: Vec<_> = plans.iter().map(|plan| self.make_room(plan)).collect();
        let wanted: Vec<&Plan<'_>> = plans
            .iter()
            .zip(&rooms)
            .filter(|(_, room)| room.is_ok())
            .map(|(plan, _)| *plan)
            .collect();
        let mut staged = self.acquire_all(&wanted).into_iter();
        plans
            .iter()
            .zip(rooms)
            .map(|(plan, room)| {
                let removals = room?;
                let staged = staged.next().expect("one result per plan with room")?;
                Ok(Acquired {
                    plan,
                    staged,
                    removals,
                })
            })
            .collect()
    }

    /// Gives everything its final name and moves the links of one component.
    pub fn switch(
        &self,
        component: &ComponentName,
        key: &ComponentKey,
        plan: &Plan<'_>,
        staged: Vec<Option<Verified>>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.failure = self
            .try_switch(component, key, plan, staged, &mut outcome.moved)
            .err();
        outcome
    }

    fn try_switch(
        &self,
        component: &ComponentName,
        key: &ComponentKey,
        plan: &Plan<'_>,
        staged: Vec<Option<Verified>>,
        moved: &mut Vec<Moved>,
    ) -> Result<(), InstallError> {
        database::record(self.root, component, plan, self.durability, self.reporter)
            .map_err(InstallError::Database)?;
        // Before the first link moves: one that leads to an older version is either chosen or left behind.
        match plan.choice {
            Choice::Made => choice::write(self.root, key, plan.version),
            Choice::Over => choice::clear(self.root, key, self.durability),
            Choice::Untouched => Ok(()),
        }
        .map_err(InstallError::Choice)?;
        for (step, verified) in plan.steps.iter().zip(staged) {
            let switched = switch::install(self, plan.version, step, verified);
            moved.extend(switched.map_err(|source| InstallError::Switch {
                version: plan.version.clone(),
                transfer: step.transfer.id.clone(),
                source,
            })?);
        }
        Ok(())
    }

    /// Removes what a plan leaves behind.
    ///
    /// # Errors
    /// The first removal that failed; the others are tried all the same.
    pub fn clear_away(&self, removals: &[&Removal<'_>]) -> Result<(), InstallError> {
        let (versions, disabled) = plan::count(removals.iter().copied());
        let mut result = Ok(());
        for removal in removals {
            result = result.and(vacuum::remove(self, removal));
        }
        if versions + disabled > 0 {
            self.say(vacuum::summary(versions, disabled));
        }
        Ok(result?)
    }

    /// Pushes to the disk what was installed at these paths by a run that was killed, and may not have got to that.
    ///
    /// # Errors
    /// A write error of any byte written before.
    pub fn push(&self, paths: &[&Path]) -> Result<(), InstallError> {
        let parents: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        for parent in parents {
            if let Ok(directory) = self.root.directory(parent) {
                crate::storage::tree::sync(self.root, &directory, self.durability)
                    .map_err(VacuumError::from)?;
            }
        }
        Ok(())
    }

    /// Removes old versions before anything is fetched, but only as far as the file systems force it.
    fn make_room<'p, 'v>(&self, plan: &'p Plan<'v>) -> Result<Vec<&'p Removal<'v>>, InstallError> {
        self.evict(plan)?;
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

    /// Empties the partitions that a plan needs, once it is known that what comes fits into them.
    fn evict(&self, plan: &Plan<'_>) -> Result<(), InstallError> {
        for step in &plan.steps {
            if let (Action::Acquire { source, .. }, Some(slot)) = (&step.action, &step.slot) {
                slot::refuse_what_does_not_fit(self, step, slot, source).map_err(|source| {
                    InstallError::Acquire {
                        version: plan.version.clone(),
                        transfer: step.transfer.id.clone(),
                        source,
                    }
                })?;
            }
        }
        for removal in &plan.evictions {
            vacuum::remove(self, removal)?;
        }
        let (versions, _) = plan::count(&plan.evictions);
        if versions > 0 {
            self.say(vacuum::summary(versions, 0));
        }
        Ok(())
    }

    /// The first pass: every part that is missing is fetched, verified and synced, several at a time.
    fn acquire_all(&self, plans: &[&Plan<'_>]) -> Vec<Result<Vec<Option<Verified>>, InstallError>> {
        let steps: Vec<(usize, &Step<'_>)> = plans
            .iter()
            .enumerate()
            .flat_map(|(index, plan)| plan.steps.iter().map(move |step| (index, step)))
            .collect();
        let results: Vec<Mutex<Option<Result<Verified, AcquireError>>>> =
            steps.iter().map(|_| Mutex::new(None)).collect();
        let failed: Vec<AtomicBool> = plans.iter().map(|_| AtomicBool::new(false)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((index, (plan, step))) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                steps.get(index).map(|step| (index, step))
            } {
                // What runs beside is finished and kept; nothing more is begun.
                if failed[*plan].load(Ordering::Relaxed) || self.cancel.is_cancelled() {
                    continue;
                }
                let result = acquire::step(self, step);
                if matches!(result, Some(Err(_))) {
                    failed[*plan].store(true, Ordering::Relaxed);
                }
                *lock(&results[index]) = result;
            }
        };
        let fetched = steps
            .iter()
            .filter(|(_, step)| matches!(step.action, Action::Acquire { .. }))
            .count();
        std::thread::scope(|scope| {
            for _ in 1..fetched.min(self.jobs) {
                scope.spawn(work);
            }
            work();
        });
        let mut results = results.iter().map(|slot| lock(slot).take());
        plans
            .iter()
            .map(|plan| {
                let own: Vec<_> = results.by_ref().take(plan.steps.len()).collect();
                collected(plan, own)
            })
            .collect()
    }

    fn say(&self, text: String) {
        self.reporter.report(&Event::Message(Severity::Info, text));
    }

    fn warn(&self, text: String) {
        let warning = Event::Message(Severity::Warning, text);
        self.reporter.report(&warning);
    }
}

/// The artifacts of one plan, or the first reason why they are not all here.
fn collected(
    plan: &Plan<'_>,
    results: Vec<Option<Result<Verified, AcquireError>>>,
) -> Result<Vec<Option<Verified>>, InstallError> {
    let mut staged = Vec::with_capacity(results.len());
    let mut interrupted = false;
    for (step, result) in plan.steps.iter().zip(results) {
        match result {
            Some(Ok(verified)) => staged.push(Some(verified)),
            None if matches!(step.action, Action::Keep) => staged.push(None),
            // Not begun: another part failed, or the user wants out.
            None | Some(Err(AcquireError::Cancelled)) => interrupted = true,
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
    if interrupted {
        return Err(InstallError::Cancelled);
    }
    Ok(staged)
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every slot is written in one step.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
