//! What a transaction removes, and makes sure of: old versions go last, by this run or, if it is killed, by the next.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Context, Job, Transaction, in_use};
use crate::definition::ComponentName;
use crate::event::{Event, Reporter as _, Severity, chain};
use crate::install::{Acquired, owed};
use crate::inventory::{Instance, State};
use crate::plan::{self, Goal, Planned, Removal};
use crate::resolve::Resolution;
use crate::session::Surveyed;
use crate::trial::record;

/// Takes from a list of removals what must stay whoever asks: what another component's link leads to, and what a trial of
/// this one may go back to. Nothing is left of it where nobody knows what that is.
pub(in super::super) fn spare(
    context: &Context<'_>,
    name: &ComponentName,
    removals: &mut Vec<Removal<'_>>,
) {
    if removals.is_empty() {
        return;
    }
    let linked = context.session.linked_elsewhere(name);
    match record::of(context.root, name) {
        Ok(trial) => {
            let fallback = trial.and_then(|trial| trial.previous);
            removals.retain(|removal| {
                !linked.contains(removal.path) && fallback.as_ref() != Some(removal.version)
            });
        }
        Err(error) => {
            let text = format!("{name}: nothing is removed: {}", chain(&error));
            context
                .reporter
                .report(&Event::Message(Severity::Warning, text));
            removals.clear();
        }
    }
}

impl Transaction<'_> {
    /// Notes what is to go, before anything is switched.
    pub(super) fn owe(&self, job: &Job<'_>, acquired: &Acquired<'_, '_>) {
        let noted = owed::note(
            self.context.root,
            &self.key(job.name()),
            &acquired.removals,
            self.context.executor.durability,
        );
        if let Err(error) = noted {
            // Only a run that is killed would need it.
            let text = format!("What is to be removed is not noted: {}", chain(&error));
            self.tell(Severity::Debug, job.name(), &text);
        }
    }

    /// Removes what the plan leaves behind; where the new version has not proved itself, never the one in use before.
    pub(super) fn clear_away(
        &mut self,
        job: &Job<'_>,
        acquired: &Acquired<'_, '_>,
        unproved: bool,
    ) {
        let previous = in_use(&job.resolution).map(|set| set.version);
        let (removals, later): (Vec<_>, Vec<_>) = acquired
            .removals
            .iter()
            .copied()
            .partition(|removal| !unproved || Some(removal.version) != previous);
        self.remove(job.name(), &removals, later.is_empty());
    }

    /// Removes what an earlier run still owes, if any of it may go.
    pub(super) fn clear_owed(&mut self, surveyed: &Surveyed, resolution: &Resolution<'_>) {
        let name = &surveyed.component.name;
        let noted = owed::read(self.context.root, &self.key(name));
        // With its trial open, what settles is not settled: the run that ends it comes back to this.
        let is_on_trial = || !matches!(record::of(self.context.root, name), Ok(None));
        if noted.is_empty() || is_on_trial() {
            return;
        }
        let settled = resolution.settled.map(|index| &resolution.sets[index]);
        let paths: Vec<&Path> = settled
            .iter()
            .flat_map(|set| &set.parts)
            .filter_map(|part| part.installed.and_then(Instance::path))
            .collect();
        let planned = settled.map(|set| Planned {
            version: set.version,
            goal: Goal::Install,
            paths: &paths,
        });
        // How many are kept was decided by the run that wrote the note.
        let transfers = surveyed.transfers();
        let mut removals = plan::removals(&transfers, planned, Some(0));
        removals
            .retain(|removal| noted.contains(removal.path) || noted.contains(&bare(removal.path)));
        spare(self.context, name, &mut removals);
        let removals: Vec<&Removal<'_>> = removals.iter().collect();
        if !removals.is_empty()
            && let Err(error) = self.context.executor.push(&paths)
        {
            // A power cut could leave neither.
            self.told(name, &error.into());
            return;
        }
        self.remove(name, &removals, true);
    }

    /// Forgets what was to go: the version that was to take its place did not prove itself.
    pub(super) fn forgive(&self, name: &ComponentName) {
        let durability = self.context.executor.durability;
        if let Err(error) = owed::clear(self.context.root, &self.key(name), durability) {
            self.warn(name, &chain(&error));
        }
    }

    fn remove(&mut self, name: &ComponentName, removals: &[&Removal<'_>], whole: bool) {
        match self.context.executor.clear_away(removals) {
            Ok(()) if whole => self.forgive(name),
            Ok(()) => {}
            Err(error) => self.told(name, &error.into()),
        }
    }
}

/// The path that something had before its removal began: a directory goes under the name of an unfinished one.
fn bare(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = name.strip_prefix(State::Partial.prefix()).unwrap_or(name);
    path.with_file_name(name)
}
