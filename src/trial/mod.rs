//! A new version on trial: switched to, merged, units restarted, healthy, or back.
//!
//! Owns the order of these steps and the [`record`] that survives a crash between any two of them. It obeys the plan of a
//! run and the definitions; how a merge or a restart is done is [`crate::activate`]'s business.
//!
//! | found in the record   | same boot                                 | after a boot                                        |
//! |-----------------------|-------------------------------------------|-----------------------------------------------------|
//! | `switching`           | the switch is finished, then activated    | the same                                            |
//! | `activating`          | activated again, then checked             | checked: the boot has activated it                  |
//! | `checking`            | checked again                             | checked; a version that two boots interrupted goes back |
//! | `staged`              | left alone until `activate`               | checked like any other                              |
//! | `reverting`           | the way back is finished                  | the same                                            |

mod blame;
mod changes;
mod error;
pub mod links;
pub mod record;

use std::collections::{BTreeMap, BTreeSet};

use crate::activate::health::{self, Health, Watch};
use crate::activate::system::{SystemError, SystemManager};
use crate::activate::{self, ActivateError, Failure};
use crate::definition::ComponentKey;
use crate::definition::transfer::ActivationMode;
use crate::event::{Event, Reporter, Severity, chain};
use crate::fetch::Cancel;
use crate::image::Facts;
use crate::install::marks;
use crate::install::switch::SwitchError;
use crate::plan::document::Forecast;
use crate::resolve::{Mark, MarkKind};
use crate::root::Root;
use crate::storage::atomic::Durability;

use blame::Blame;
use changes::{Change, Direction, Look};
pub use error::TrialError;
use links::Step;
use record::{Member, OnFailure, Phase, Record};

/// So many boots may interrupt a trial before its version goes back.
const BOOTS: u32 = 2;

/// Conducts trials on the running system.
#[derive(Clone, Copy)]
pub struct Conductor<'a> {
    /// The file system.
    pub root: &'a Root,
    /// The service manager.
    pub system: &'a dyn SystemManager,
    /// Who is told.
    pub reporter: &'a dyn Reporter,
    /// `--sync=`.
    pub durability: Durability,
    /// Set when the user wants out: a trial goes back then.
    pub cancel: &'a Cancel,
    /// The id of this boot.
    pub boot: Option<&'a str>,
    /// systemd's name of this machine's architecture.
    pub architecture: Option<&'a str>,
    /// The present (RFC 3339).
    pub now: fn() -> String,
}

/// A trial that is on record.
#[derive(Debug)]
pub struct Begun {
    /// What is on record.
    pub record: Record,
    /// Who was on record before, and whose place others have taken.
    replaced: Vec<Member>,
}

impl Begun {
    /// Takes a component off that could not be switched and is back where it was before this run: on trial still, if it
    /// was then.
    pub fn drop_out(&mut self, member: &Member) {
        let is_own = |other: &Member| other.component == member.component;
        self.record.members.retain(|other| !is_own(other));
        let before = self.replaced.iter().find(|other| is_own(other));
        self.record.members.extend(before.cloned());
    }
}

/// How a trial ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Versions that stand.
    pub healthy: Vec<Member>,
    /// Versions that take effect later.
    pub staged: Vec<Member>,
    /// Versions that went back, with their verdicts.
    pub reverted: Vec<Member>,
    /// What failed for reasons that are not the versions' own; the next run tries again.
    pub failures: Vec<ActivateError>,
}

/// What can be told of a member's activation before anything has happened; `expected`, by transfer, is what is known of
/// images that are not here yet.
#[must_use]
pub fn forecast(
    root: &Root,
    architecture: Option<&str>,
    member: &Member,
    expected: &BTreeMap<String, Facts>,
) -> Forecast {
    let look = Look {
        root,
        architecture: architecture.unwrap_or_default(),
        system: None,
        expected: Some(expected),
    };
    changes::forecast(look, member)
}

/// Whether a member changes anything on the running system, now or at the next boot.
#[must_use]
pub fn concerns(member: &Member) -> bool {
    !changes::plan_of(std::slice::from_ref(member), Direction::Forward).is_empty()
        || !member.check.is_empty()
}

impl Conductor<'_> {
    fn look(&self) -> Look<'_> {
        Look {
            root: self.root,
            architecture: self.architecture.unwrap_or_default(),
            system: Some(self.system),
            expected: None,
        }
    }

    /// Puts the record on disk: after this, links may move. What an earlier run has staged, or could not end, stays on
    /// record, unless its component is on trial again.
    ///
    /// # Errors
    /// When the record cannot be written, an earlier trial's cannot be read, or no image could be merged whatever it is:
    /// then nothing of the versions is at fault, and nothing moves.
    pub fn begin(&self, mut record: Record) -> Result<Begun, TrialError> {
        let earlier = record::read(self.root)?;
        let replaced = earlier.map_or_else(Vec::new, |earlier| record.inherit(earlier));
        record.failed_before = self.failed_units();
        // Now, not once the links have moved: a boot in between would start the new version's units.
        let change = Change::of(self.look(), &record.members, Direction::Forward);
        if !change.plan.merge.is_empty() && record.members.iter().any(Member::has_image) {
            self.system.can_attach_images()?;
        }
        record.up_before = change.up(self.system).into_iter().collect();
        record::write(self.root, &record)?;
        Ok(Begun { record, replaced })
    }

    /// Takes one member's moves back, after a switch that failed in the middle.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn undo(&self, member: &Member) -> Result<(), TrialError> {
        links::back(self.root, member, self.durability)
            .map_err(|source| back_failed(member, source))
    }

    /// Conducts a trial whose links have moved to its end.
    ///
    /// # Errors
    /// When the record cannot be kept, or the way back is barred; what failed of the new versions is in [`Ended`].
    pub fn conduct(&self, mut record: Record) -> Result<Ended, TrialError> {
        let (staged, on_trial) = record.members.into_iter().partition(is_staged);
        record.members = on_trial;
        let mut ended = Ended {
            staged,
            ..Ended::default()
        };
        self.stage(&ended.staged)?;
        if record.members.is_empty() {
            self.close(&record, &ended.staged)?;
            return Ok(ended);
        }
        let change = Change::of(self.look(), &record.members, Direction::Forward);
        if record.phase == Phase::Staged {
            record.up_before = change.up(self.system).into_iter().collect();
        }
        let change = change.keeping(&record.up_before);
        self.advance(&mut record, &ended.staged, Phase::Activating)?;
        let blame = match activate::activate(&change.plan, self.system, self.reporter) {
            Ok(()) => Blame::default(),
            Err(error) => blame::of(&record.members, &change, error),
        };
        if !blame.passing.is_empty() {
            // Nobody can tell what runs: the record stays, and the next run tries again.
            ended.failures = blame.passing;
            return Ok(ended);
        }
        if self.is_going_down(&blame) {
            ended.failures.push(ActivateError::GoingDown);
            return Ok(ended);
        }
        if blame.merge_failed && record.members.len() > 1 {
            return self.one_by_one(record, ended);
        }
        self.judge(record, ended, blame, &change)
    }

    /// Whether what is held against the versions may come from a shutdown, which stops good units too, and this run with
    /// them. The record stays as it is then: after the boot it is found out.
    fn is_going_down(&self, blame: &Blame) -> bool {
        !blame.members.is_empty() && self.system.is_going_down().unwrap_or(true)
    }

    /// Watches what was activated, and ends the trial one way or the other.
    fn judge(
        &self,
        mut record: Record,
        mut ended: Ended,
        mut blame: Blame,
        change: &Change,
    ) -> Result<Ended, TrialError> {
        if blame.members.len() < record.members.len() {
            self.advance(&mut record, &ended.staged, Phase::Checking)?;
            self.watch(&record, change, &mut blame);
        }
        if !blame.passing.is_empty() {
            // The record stays, and the next run watches again.
            ended.failures = blame.passing;
            return Ok(ended);
        }
        if self.is_going_down(&blame) {
            ended.failures.push(ActivateError::GoingDown);
            return Ok(ended);
        }
        for (index, member) in record.members.iter_mut().enumerate() {
            member.verdict = blame.members.remove(&index);
            member.log = blame.logs.remove(&index).unwrap_or_default();
            if member.verdict.is_none() {
                self.stop_gone(&change.gone_of(index));
                self.forget_bad(member)?;
            }
        }
        let (failed, healthy): (Vec<_>, Vec<_>) = record
            .members
            .into_iter()
            .partition(|member| member.verdict.is_some());
        ended.healthy = healthy;
        record.members = failed;
        if record.members.is_empty() {
            self.close(&record, &ended.staged)?;
            return Ok(ended);
        }
        self.revert(record, ended)
    }

    /// Takes the members back, each with its verdict; they are on record as bad before the first link moves.
    fn revert(&self, mut record: Record, mut ended: Ended) -> Result<Ended, TrialError> {
        for member in &record.members {
            let reason = member.verdict.as_deref().unwrap_or_default();
            self.tell(
                Severity::Error,
                format!("{} {}: {reason}.", member.name(), member.version),
            );
            if member.on_failure == OnFailure::Revert {
                self.mark_bad(member, reason)?;
            }
        }
        let (back, stay): (Vec<_>, Vec<_>) = record
            .members
            .into_iter()
            .partition(|member| member.on_failure == OnFailure::Revert);
        record.members = back;
        ended.reverted.extend(stay);
        if record.members.is_empty() {
            self.close(&record, &ended.staged)?;
            return Ok(ended);
        }
        self.advance(&mut record, &ended.staged, Phase::Reverting)?;
        // Before the links move: afterwards nobody can compare the two images.
        let change =
            Change::of(self.look(), &record.members, Direction::Back).reviving(&record.up_before);
        for member in &record.members {
            let to = member
                .previous
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            self.tell(
                Severity::Info,
                format!(
                    "Reverting {} from {} to {to}.",
                    member.name(),
                    member.version
                ),
            );
            self.undo(member)?;
        }
        if let Err(error) = activate::activate(&change.plan, self.system, self.reporter) {
            let passing = error.is_worth_another_try();
            ended.failures.push(error);
            if passing {
                ended.reverted.extend(record.members);
                return Ok(ended);
            }
        }
        self.close(&record, &ended.staged)?;
        ended.reverted.extend(record.members);
        Ok(ended)
    }

    /// A merge that failed as a whole says nothing of who spoiled it: all go back, then each is tried alone, so that one
    /// bad image does not cost the others theirs.
    fn one_by_one(&self, mut record: Record, mut ended: Ended) -> Result<Ended, TrialError> {
        self.tell(
            Severity::Warning,
            "The merge failed as a whole: trying each component alone.".to_owned(),
        );
        let members = std::mem::take(&mut record.members);
        record.members.clone_from(&members);
        self.advance(&mut record, &ended.staged, Phase::Reverting)?;
        let change = Change::of(self.look(), &members, Direction::Back).reviving(&record.up_before);
        // What is no extension has no part in it: a kernel that runs keeps its name.
        for member in members.iter().filter(|member| changes::is_merged(member)) {
            self.undo(member)?;
        }
        if let Err(error) = activate::activate(&change.plan, self.system, self.reporter) {
            // Not even the old versions merge: nothing more is tried on this system.
            ended.failures.push(error);
            return Ok(ended);
        }
        for member in members {
            let mut alone = record.clone();
            alone.members = vec![member];
            self.advance(&mut alone, &ended.staged, Phase::Switching)?;
            // Its end must leave what is staged on record.
            alone.members.extend_from_slice(&ended.staged);
            let one = self.finish_switch(alone, Ended::default())?;
            ended.healthy.extend(one.healthy);
            ended.reverted.extend(one.reverted);
            ended.failures.extend(one.failures);
        }
        Ok(ended)
    }

    /// Goes on with a trial that an earlier run did not end. `None` when there is none, or only what waits for a boot.
    ///
    /// # Errors
    /// Those of [`Self::conduct`].
    pub fn resume(&self) -> Result<Option<Ended>, TrialError> {
        let Some(mut record) = record::read(self.root)? else {
            return Ok(None);
        };
        let booted = record.boot.as_deref() != self.boot;
        if record.phase == Phase::Staged && !booted {
            return Ok(None);
        }
        self.tell(
            Severity::Info,
            format!(
                "Going on with the trial of {} that began at {}.",
                names(&record.members),
                record.started
            ),
        );
        self.resume_from(&mut record, booted).map(Some)
    }

    fn resume_from(&self, record: &mut Record, booted: bool) -> Result<Ended, TrialError> {
        let record = record.clone();
        match record.phase {
            Phase::Reverting => {
                let (staged, members) = record.members.iter().cloned().partition(is_staged);
                let reverting = Record { members, ..record };
                let ended = Ended {
                    staged,
                    ..Ended::default()
                };
                // Without verdicts it was a merge that failed as a whole: each is tried alone.
                if reverting
                    .members
                    .iter()
                    .all(|member| member.verdict.is_some())
                {
                    self.revert(reverting, ended)
                } else {
                    self.one_by_one(reverting, ended)
                }
            }
            Phase::Switching => self.finish_switch(record, Ended::default()),
            Phase::Activating if !booted => self.conduct(record),
            Phase::Activating | Phase::Checking | Phase::Staged => self.check_only(record, booted),
        }
    }

    /// Activates what waits for the next boot now.
    ///
    /// # Errors
    /// Those of [`Self::conduct`].
    pub fn activate_staged(&self) -> Result<Option<Ended>, TrialError> {
        let Some(mut record) = record::read(self.root)? else {
            return Ok(None);
        };
        for member in &mut record.members {
            if is_staged(member) {
                member.activation.mode = ActivationMode::Auto;
            }
        }
        self.conduct(record).map(Some)
    }

    /// Early at a boot, before extensions are merged: counts the attempt, or takes back what two boots did not confirm.
    ///
    /// # Errors
    /// When the record or a link cannot be written.
    pub fn at_boot(&self) -> Result<Ended, TrialError> {
        let mut ended = Ended::default();
        let Some(mut record) = record::read(self.root)? else {
            return Ok(ended);
        };
        if record.boot.as_deref() == self.boot {
            return Ok(ended);
        }
        match record.phase {
            Phase::Switching => {
                record.members = self.finish_moves(record.members)?;
                if record.members.is_empty() {
                    record::clear(self.root)?;
                    return Ok(ended);
                }
            }
            Phase::Reverting => {
                let (staged, back): (Vec<_>, Vec<_>) =
                    record.members.into_iter().partition(is_staged);
                for member in &back {
                    self.undo(member)?;
                }
                ended.reverted = back;
                record.members = staged;
                if record.members.is_empty() {
                    record::clear(self.root)?;
                    return Ok(ended);
                }
            }
            Phase::Activating | Phase::Checking | Phase::Staged => {}
        }
        for member in &mut record.members {
            if is_staged(member) {
                // This boot is what it waited for.
                member.activation.mode = ActivationMode::Auto;
            }
        }
        record.boots += 1;
        if record.boots > BOOTS {
            let (back, stay): (Vec<_>, Vec<_>) = record
                .members
                .into_iter()
                .partition(|member| member.on_failure == OnFailure::Revert);
            for mut member in back {
                let reason = format!("{BOOTS} boots ended before it had proved itself");
                self.mark_bad(&member, &reason)?;
                self.undo(&member)?;
                member.verdict = Some(reason);
                ended.reverted.push(member);
            }
            ended.healthy = stay;
            record::clear(self.root)?;
            return Ok(ended);
        }
        record.phase = Phase::Checking;
        record.boot = self.boot.map(str::to_owned);
        record.failed_before.clear();
        record::write(self.root, &record)?;
        Ok(ended)
    }

    /// Finishes the switch that another run began, then conducts the trial.
    fn finish_switch(&self, mut record: Record, mut ended: Ended) -> Result<Ended, TrialError> {
        record.members = self.finish_moves(record.members)?;
        let conducted = self.conduct(record)?;
        ended.healthy.extend(conducted.healthy);
        ended.staged.extend(conducted.staged);
        ended.reverted.extend(conducted.reverted);
        ended.failures.extend(conducted.failures);
        Ok(ended)
    }

    /// Finishes the moves of members that another run began, and gives back those whose trial goes on.
    fn finish_moves(&self, members: Vec<Member>) -> Result<Vec<Member>, TrialError> {
        let mut moved = Vec::new();
        for member in members {
            let step = links::forward(self.root, &member, self.durability)
                .map_err(|source| forward_failed(&member, source))?;
            let name = format!("{} {}", member.name(), member.version);
            match step {
                Step::Moved | Step::Stood => moved.push(member),
                Step::Lost => {
                    self.undo(&member)?;
                    let text = format!("{name} is not here any more; its trial is over.");
                    self.tell(Severity::Warning, text);
                }
                Step::Left => {
                    let text = format!("{name} is not switched to yet; the next update goes on.");
                    self.tell(Severity::Info, text);
                }
            }
        }
        Ok(moved)
    }

    /// The trial of what has been activated already: by an earlier run, or by the boot.
    fn check_only(&self, mut record: Record, booted: bool) -> Result<Ended, TrialError> {
        if booted {
            for member in &mut record.members {
                if is_staged(member) {
                    member.activation.mode = ActivationMode::Auto;
                }
            }
            record.boot = self.boot.map(str::to_owned);
            record.failed_before.clear();
        }
        let (staged, on_trial) = record.members.into_iter().partition(is_staged);
        record.members = on_trial;
        let ended = Ended {
            staged,
            ..Ended::default()
        };
        // Whoever cannot be asked says nothing against a version.
        if let Err(source) = self.system.version()
            && source.is_unreachable()
        {
            let failures = vec![unanswered("systemd".to_owned(), source)];
            return Ok(Ended { failures, ..ended });
        }
        let change = Change::of(self.look(), &record.members, Direction::Forward);
        if (booted || record.boots > 0) && !change.plan.merge.is_empty() {
            self.reload_manager();
        }
        let blame = match activate::confirm(&change.plan, self.system, self.reporter) {
            Ok(()) => Blame::default(),
            Err(error) => blame::of(&record.members, &change, error),
        };
        if !blame.passing.is_empty() {
            return Ok(Ended {
                failures: blame.passing,
                ..ended
            });
        }
        if blame.members.len() > 1 {
            // The boot's merge may have failed as a whole.
            return self.one_by_one(record, ended);
        }
        self.judge(record, ended, blame, &change)
    }

    /// A boot merges, but does not make the manager read what has been merged: without this the units of a good version
    /// would be down.
    fn reload_manager(&self) {
        if let Err(error) = self.system.reload_manager() {
            let why = chain(&error);
            self.tell(
                Severity::Warning,
                format!("The service manager cannot be reloaded: {why}"),
            );
        }
    }

    /// Stops what the new versions do not ship any more: only now is it certain that nobody goes back to it.
    fn stop_gone(&self, units: &[String]) {
        for unit in units {
            let stopped = match self.system.is_active(unit) {
                Ok(false) => continue,
                Ok(true) => {
                    self.tell(
                        Severity::Info,
                        format!("Stopping '{unit}': not part of the new version."),
                    );
                    self.system.stop(unit)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = stopped {
                let why = chain(&error);
                self.tell(
                    Severity::Warning,
                    format!("Unit '{unit}' cannot be stopped: {why}"),
                );
            }
        }
    }

    fn watch(&self, record: &Record, change: &Change, blame: &mut Blame) {
        let mut watches: Vec<Watch> = Vec::new();
        let mut owners: Vec<usize> = Vec::new();
        for (index, member) in record.members.iter().enumerate() {
            if blame.members.contains_key(&index) {
                continue;
            }
            watches.push(change.watch(index, member, self.system));
            owners.push(index);
        }
        let failed: BTreeSet<String> = record.failed_before.iter().cloned().collect();
        let health = health::watch(&watches, &failed, self.system, self.reporter, &|| {
            self.cancel.is_cancelled()
        });
        match health {
            Health::Healthy => {}
            Health::Sick { findings } => {
                for finding in findings {
                    let text = finding.to_string();
                    let owner = owners[finding.watch];
                    blame.add(owner, &text);
                    blame.logs.entry(owner).or_default().extend(finding.log);
                }
            }
            Health::Interrupted => {
                for index in owners {
                    blame.add(index, "interrupted before it had proved itself");
                }
            }
            Health::Unanswered { object, source } => {
                blame.passing.push(unanswered(object, source));
            }
        }
    }

    /// Notes why a reboot is wanted.
    fn stage(&self, staged: &[Member]) -> Result<(), TrialError> {
        let plan = changes::plan_of(staged, Direction::Forward);
        for line in plan.staged.iter().chain(&plan.reboot) {
            self.tell(Severity::Info, format!("{line}."));
        }
        Ok(activate::require_reboot(self.root, &plan.reboot)?)
    }

    fn mark_bad(&self, member: &Member, reason: &str) -> Result<(), TrialError> {
        let key = ComponentKey::new(&member.name(), None);
        let mark = Mark {
            version: member.version.clone(),
            kind: MarkKind::Bad,
            digests: member.digests(),
            since: (self.now)(),
            reason: reason.to_owned(),
        };
        Ok(marks::change(self.root, &key, |marks| marks.set(mark))?)
    }

    /// A run that was killed between its verdict and the way back has left a mark that does not hold.
    fn forget_bad(&self, member: &Member) -> Result<(), TrialError> {
        let key = ComponentKey::new(&member.name(), None);
        Ok(marks::change(self.root, &key, |marks| {
            if marks
                .of(&member.version)
                .is_some_and(|mark| mark.kind == MarkKind::Bad)
            {
                marks.forget(&member.version);
            }
        })?)
    }

    fn advance(
        &self,
        record: &mut Record,
        staged: &[Member],
        phase: Phase,
    ) -> Result<(), TrialError> {
        record.phase = phase;
        let mut whole = record.clone();
        whole.members.extend_from_slice(staged);
        Ok(record::write(self.root, &whole)?)
    }

    /// Ends the trial; what is staged stays on record.
    fn close(&self, record: &Record, staged: &[Member]) -> Result<(), TrialError> {
        if staged.is_empty() {
            return Ok(record::clear(self.root)?);
        }
        let rest = Record {
            phase: Phase::Staged,
            members: staged.to_vec(),
            ..record.clone()
        };
        Ok(record::write(self.root, &rest)?)
    }

    fn failed_units(&self) -> Vec<String> {
        match self.system.failed_units() {
            Ok(units) => units.into_iter().collect(),
            // Without a manager there is nothing to compare with; activation says so by itself.
            Err(error) if error.is_unreachable() => Vec::new(),
            Err(error) => {
                let why = chain(&error);
                self.tell(
                    Severity::Debug,
                    format!("Cannot tell which units have failed: {why}"),
                );
                Vec::new()
            }
        }
    }

    fn tell(&self, severity: Severity, text: String) {
        self.reporter.report(&Event::Message(severity, text));
    }
}

/// Whether a member waits for a boot.
#[must_use]
pub fn is_staged(member: &Member) -> bool {
    matches!(
        member.activation.mode,
        ActivationMode::Stage | ActivationMode::Reboot
    )
}

/// Nobody is there who could say how a unit is.
fn unanswered(object: String, source: SystemError) -> ActivateError {
    let failure = Failure::Manager {
        operation: "ask about",
        object,
        source,
    };
    ActivateError::Failed {
        failures: vec![failure],
    }
}

fn names(members: &[Member]) -> String {
    let names: Vec<String> = members
        .iter()
        .map(|member| format!("{} {}", member.name(), member.version))
        .collect();
    names.join(", ")
}

fn back_failed(member: &Member, source: SwitchError) -> TrialError {
    TrialError::Back {
        component: member.name().to_string(),
        version: member.version.to_string(),
        source,
    }
}

fn forward_failed(member: &Member, source: SwitchError) -> TrialError {
    TrialError::Forward {
        component: member.name().to_string(),
        version: member.version.to_string(),
        source,
    }
}

#[cfg(test)]
mod tests;
