//! The plans of some components, carried out together: fetched side by side, switched, tried with one merge, cleaned up.
//!
//! Every verb that changes what is installed ends here, so there is one order of steps and one place that says how it
//! went.

mod removals;

pub(super) use removals::spare;

use std::path::Path;
use std::time::Instant;

use super::settings::ActivationRequest;
use super::{Context, Exit};
use crate::activate::dbus::SystemBus;
use crate::activate::{self, ActivateError, Installed};
use crate::definition::transfer::Place;
use crate::definition::{Component, ComponentKey, ComponentName};
use crate::error::Error;
use crate::event::{Event, Reporter as _, Severity, chain};
use crate::install::history::{self, Entry, Happening};
use crate::install::{Acquired, InstallError, marks, vacuum};
use crate::inventory::link::LinkState;
use crate::pattern::Pattern;
use crate::plan::{self, Action, Decision, Goal, Idle, Plan, PlanError, Request, Step};
use crate::resolve::{Exclusion, Mark, MarkKind, Resolution, UpdateSet};
use crate::root::Root;
use crate::session::Surveyed;
use crate::trial::links::pending_path;
use crate::trial::record::{LinkMove, Member, OnFailure, Part, Record};
use crate::trial::{self, Begun, Conductor, Ended};
use crate::version::Version;

/// A component may need so many rounds: one that finishes what was begun, one for each image that turns out not to fit.
const ROUNDS: usize = 8;

/// Whether switches take effect on the running system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// They do.
    Running,
    /// Another root, definitions of one's own, an initrd, or `--no-activate`: only files change.
    FilesOnly,
}

impl Scope {
    pub(super) fn of(context: &Context<'_>) -> Self {
        let initrd = context.root.stat(Path::new("/etc/initrd-release")).is_ok();
        let running = context.root.is_host()
            && context.settings.definitions.is_none()
            && context.settings.activation == ActivationRequest::Wanted
            && !initrd;
        if running {
            Self::Running
        } else {
            Self::FilesOnly
        }
    }
}

/// What a run is for, where it is more than an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// New versions.
    Update,
    /// The way back to an old one.
    Rollback,
}

/// How the run went so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    failed: bool,
    reverted: bool,
}

impl Tally {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self { reverted: true, .. } => Exit::Reverted,
            Self { failed: true, .. } => Exit::Failure,
            _ => Exit::Success,
        }
    }

    pub(super) fn fail(&mut self) {
        self.failed = true;
    }
}

/// One run.
pub(super) struct Transaction<'a> {
    context: &'a Context<'a>,
    purpose: Purpose,
    scope: Scope,
    bus: Option<SystemBus>,
    started: Instant,
    pub(super) tally: Tally,
    /// The version that was installed last.
    pub(super) installed: Option<Version>,
}

/// One component's part in a round.
pub(super) struct Job<'s> {
    pub(super) surveyed: &'s Surveyed,
    pub(super) resolution: Resolution<'s>,
    pub(super) plan: Plan<'s>,
}

impl Job<'_> {
    fn name(&self) -> &ComponentName {
        &self.surveyed.component.name
    }
}

impl<'a> Transaction<'a> {
    /// Prepares a run; the lock is the caller's.
    pub(super) fn new(context: &'a Context<'a>, purpose: Purpose) -> Result<Self, Error> {
        let scope = Scope::of(context);
        let bus = match scope {
            Scope::Running => Some(SystemBus::new().map_err(ActivateError::Bus)?),
            Scope::FilesOnly => None,
        };
        Ok(Self {
            context,
            purpose,
            scope,
            bus,
            started: Instant::now(),
            tally: Tally::default(),
            installed: None,
        })
    }

    /// Ends what an earlier run has left on trial.
    pub(super) fn resume(&mut self) {
        let Some(conductor) = self.conductor() else {
            return;
        };
        match conductor.resume() {
            Ok(None) => {}
            Ok(Some(ended)) => self.told_of(&ended),
            Err(error) => {
                self.context.complain(&error.into());
                self.tally.fail();
            }
        }
    }

    /// Early at a boot: what is owed before extensions are merged.
    pub(super) fn at_boot(&mut self) {
        let Some(conductor) = self.conductor() else {
            return;
        };
        match conductor.at_boot() {
            Ok(ended) => self.told_of(&ended),
            Err(error) => {
                self.context.complain(&error.into());
                self.tally.fail();
            }
        }
    }

    /// From now on only files change: the running system is not there yet.
    pub(super) fn touch_files_only(&mut self) {
        self.scope = Scope::FilesOnly;
        self.bus = None;
    }

    /// Activates what waits for a boot; whether there was anything.
    pub(super) fn activate_staged(&mut self) -> Result<bool, Error> {
        let Some(conductor) = self.conductor() else {
            return Ok(false);
        };
        let Some(ended) = conductor.activate_staged()? else {
            return Ok(false);
        };
        self.told_of(&ended);
        Ok(true)
    }

    /// Brings the components where the request wants them, in as many rounds as that takes.
    pub(super) fn update(&mut self, components: Vec<Component>, request: Request<'_>) {
        let mut waiting = components;
        for _ in 0..ROUNDS {
            if waiting.is_empty() {
                return;
            }
            let mut surveys = Vec::new();
            for component in waiting {
                if self.is_interrupted() {
                    return;
                }
                let name = component.name.clone();
                match self
                    .context
                    .session
                    .survey_fitting(component, request.reach, request.version)
                {
                    Ok(surveyed) => surveys.push(surveyed),
                    Err(error) => self.told(&name, &error.into()),
                }
            }
            let mut jobs = Vec::new();
            for surveyed in &surveys {
                match self.decide(surveyed, request) {
                    Ok(job) => jobs.extend(job),
                    Err(error) => self.told(&surveyed.component.name, &error),
                }
            }
            waiting = self.carry_out(&jobs, request);
        }
    }

    /// Carries plans out as they are; the components that have more to do afterwards come back.
    pub(super) fn carry_out(&mut self, jobs: &[Job<'_>], request: Request<'_>) -> Vec<Component> {
        for job in jobs {
            self.announce(job, request);
        }
        let plans: Vec<&Plan<'_>> = jobs.iter().map(|job| &job.plan).collect();
        let acquired = self.context.executor.acquire(&plans);
        let mut ready = Vec::new();
        let mut again = Vec::new();
        for (job, acquired) in jobs.iter().zip(acquired) {
            match acquired {
                Ok(acquired) if self.last_look(job, &acquired) => ready.push((job, acquired)),
                Ok(_) => again.push(job.surveyed.component.clone()),
                Err(error) => {
                    if job.plan.resumes
                        && matches!(error, InstallError::Acquire { .. } | InstallError::Space(_))
                    {
                        // compat: what the original says of a version that it cannot complete, and scripts look for.
                        // Ours tries again by itself with the next run.
                        let text = PlanError::Stuck(job.plan.version.clone()).to_string();
                        self.say(job.name(), &text);
                    }
                    self.told(job.name(), &error.into());
                }
            }
        }
        if request.goal == Goal::Acquire {
            for (job, acquired) in ready {
                self.clear_away(job, &acquired, false);
            }
            return again;
        }
        for (job, _) in &ready {
            // An installation that an earlier run had begun is finished: what is newer comes next.
            let begun = job.resolution.find(job.plan.version);
            if request.version.is_none()
                && begun.is_some_and(|index| job.resolution.sets[index].is_begun())
            {
                again.push(job.surveyed.component.clone());
            }
        }
        if let Err(error) = self.switch_and_try(ready) {
            self.context.complain(&error);
            self.tally.fail();
        }
        again
    }

    /// Switches what is ready, and conducts its trial where there is a running system to try it on.
    fn switch_and_try(&mut self, ready: Vec<(&Job<'_>, Acquired<'_, '_>)>) -> Result<(), Error> {
        if ready.is_empty() {
            return Ok(());
        }
        let members: Vec<Member> = ready
            .iter()
            .map(|(job, _)| member(self.context, job, self.purpose))
            .collect();
        let mut begun = self.begin(&members)?;
        let mut switched = Vec::new();
        for ((job, mut acquired), member) in ready.into_iter().zip(members) {
            self.owe(job, &acquired);
            let staged = std::mem::take(&mut acquired.staged);
            match self.switch(job, staged) {
                Ok(()) => switched.push((job, acquired, member)),
                Err(error) => {
                    self.told(job.name(), &error);
                    if let (Some(conductor), Some(begun)) = (self.conductor(), &mut begun) {
                        // Half a switch is neither version: back, and the next run begins anew.
                        conductor.undo(&member)?;
                        begun.drop_out(&member);
                    }
                    self.remember(Happening::Failed, &member, Some(error.to_string()));
                }
            }
        }
        let ended = match (self.conductor(), begun) {
            (Some(conductor), Some(begun)) => {
                let ended = conductor.conduct(begun.record)?;
                self.told_of(&ended);
                Some(ended)
            }
            _ => None,
        };
        for (job, acquired, member) in switched {
            let is = |members: &[Member]| {
                members
                    .iter()
                    .any(|other| other.component == member.component)
            };
            match &ended {
                None => self.remember(success(&member), &member, None),
                Some(ended) if !trial::concerns(&member) || is(&ended.healthy) => {
                    if !is(&ended.healthy) {
                        self.remember(success(&member), &member, None);
                    }
                }
                Some(ended) if is(&ended.staged) => {
                    self.complete(job, &member);
                    self.clear_away(job, &acquired, true);
                    continue;
                }
                Some(_) => continue,
            }
            self.complete(job, &member);
            self.clear_away(job, &acquired, false);
        }
        Ok(())
    }

    /// Tells those who wait for it that an update is complete.
    fn complete(&mut self, job: &Job<'_>, member: &Member) {
        self.installed = Some(member.version.clone());
        if !self.context.root.is_host() || job.plan.moves_only_links() {
            return;
        }
        let resources: Vec<Installed> = member
            .parts
            .iter()
            .map(|part| Installed {
                transfer: part.transfer.clone(),
                path: part.target.display().to_string(),
            })
            .collect();
        activate::notify(
            self.context.root,
            member.component.as_deref(),
            member.version.as_str(),
            &resources,
            self.context.reporter,
        );
    }

    /// Puts the trial on record, if there is to be one.
    fn begin(&self, members: &[Member]) -> Result<Option<Begun>, Error> {
        let Some(conductor) = self.conductor() else {
            return Ok(None);
        };
        let concerned: Vec<Member> = members
            .iter()
            .filter(|member| trial::concerns(member))
            .cloned()
            .collect();
        if concerned.is_empty() {
            return Ok(None);
        }
        let record = Record::new(
            conductor.boot.map(str::to_owned),
            super::timestamp(),
            self.context.settings.command.clone(),
            concerned,
        );
        Ok(Some(conductor.begin(record)?))
    }

    fn switch(
        &self,
        job: &Job<'_>,
        staged: Vec<Option<crate::install::Verified>>,
    ) -> Result<(), Error> {
        let name = job.name();
        let key = self.key(name);
        if self.purpose == Purpose::Rollback {
            self.leave(job, &key)?;
        }
        let outcome = self.context.executor.switch(name, &key, &job.plan, staged);
        if let Some(error) = outcome.failure {
            return Err(error.into());
        }
        marks::change(self.context.root, &key, |marks| {
            marks.forget(job.plan.version);
        })
        .map_err(crate::session::SessionError::from)?;
        if !job.plan.moves_only_links() {
            self.say(
                name,
                &format!("Successfully installed update '{}'.", job.plan.version),
            );
        }
        Ok(())
    }

    /// Marks the version that the operator goes back from: it does not come back by itself.
    fn leave(&self, job: &Job<'_>, key: &ComponentKey) -> Result<(), Error> {
        let Some(left) = in_use(&job.resolution) else {
            return Ok(());
        };
        let mark = Mark {
            version: left.version.clone(),
            kind: MarkKind::Left,
            digests: digests(&job.resolution, left),
            since: super::timestamp(),
            reason: format!("rolled back to {}", job.plan.version),
        };
        Ok(
            marks::change(self.context.root, key, |marks| marks.set(mark))
                .map_err(crate::session::SessionError::from)?,
        )
    }

    fn decide<'s>(
        &mut self,
        surveyed: &'s Surveyed,
        request: Request<'_>,
    ) -> Result<Option<Job<'s>>, Error> {
        let context = self.context;
        let name = &surveyed.component.name;
        let resolution = surveyed.resolve();
        match plan::decide(&resolution, &surveyed.transfers(), request)? {
            Decision::Do(mut plan) => {
                spare(context, name, &mut plan.removals);
                Ok(Some(Job {
                    surveyed,
                    resolution,
                    plan,
                }))
            }
            Decision::Nothing { idle, leftovers } => {
                self.say(name, &idle_text(&idle, &resolution));
                for removal in &leftovers {
                    vacuum::remove(&context.executor, removal)?;
                }
                if request.goal == Goal::Install {
                    self.clear_owed(surveyed, &resolution);
                }
                Ok(None)
            }
        }
    }

    /// Looks into what has arrived, before any link moves: whether it fits. One that does not is known from now on.
    fn last_look(&self, job: &Job<'_>, acquired: &Acquired<'_, '_>) -> bool {
        let paths: Vec<Option<&Path>> = acquired
            .staged
            .iter()
            .map(|staged| staged.as_ref().map(crate::install::Verified::path))
            .collect();
        let misfit = self
            .context
            .session
            .judge_staged(&job.resolution, job.plan.version, &paths);
        let Some(why) = misfit else {
            return true;
        };
        self.warn(
            job.name(),
            &format!("Version '{}' is passed over: {why}.", job.plan.version),
        );
        false
    }

    fn conductor(&self) -> Option<Conductor<'_>> {
        let bus = self.bus.as_ref()?;
        Some(Conductor {
            root: self.context.root,
            system: bus,
            reporter: self.context.reporter,
            durability: self.context.executor.durability,
            cancel: self.context.executor.cancel,
            boot: self.context.session.loader.host.boot_id.as_deref(),
            architecture: self.context.session.loader.host.architecture.as_deref(),
            now: super::timestamp,
        })
    }

    /// Says how a trial ended, and notes it.
    fn told_of(&mut self, ended: &Ended) {
        for member in &ended.healthy {
            self.remember(success(member), member, None);
        }
        for member in &ended.staged {
            self.remember(Happening::Staged, member, None);
        }
        for member in &ended.reverted {
            let reason = member.verdict.clone();
            match member.on_failure {
                OnFailure::Revert => {
                    self.forgive(&member.name());
                    self.remember(Happening::Reverted, member, reason);
                    self.tally.reverted = true;
                }
                // The way back itself: it has failed, and stays where it is.
                OnFailure::Stay => {
                    self.remember(Happening::Failed, member, reason);
                    self.tally.fail();
                }
            }
        }
        for error in &ended.failures {
            self.context.reporter.error(&chain(error));
            for hint in error.hints() {
                self.context.reporter.error(&format!("hint: {hint}"));
            }
            self.tally.fail();
        }
    }

    fn remember(&self, event: Happening, member: &Member, reason: Option<String>) {
        let settings = self.context.settings;
        let before = member.previous.as_ref().map(ToString::to_string);
        let version = Some(member.version.to_string());
        let (from, to) = match event {
            Happening::Reverted => (version, before),
            _ => (before, version),
        };
        let entry = Entry {
            time: super::timestamp(),
            component: member.component.clone(),
            event,
            from,
            to,
            reason,
            log: member.log.clone(),
            command: settings.command.clone(),
            user: settings.user.clone(),
            seconds: (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        };
        if let Err(error) = history::append(self.context.root, &[entry]) {
            let text = format!("The history is not written: {}", chain(&error));
            // Whoever works on files of his own needs no state of the host's.
            let severity = match self.scope {
                Scope::Running => Severity::Warning,
                Scope::FilesOnly => Severity::Debug,
            };
            self.context
                .reporter
                .report(&Event::Message(severity, text));
        }
    }

    fn announce(&self, job: &Job<'_>, request: Request<'_>) {
        let (name, plan) = (job.name(), &job.plan);
        for notice in &plan.notices {
            self.say(name, notice);
        }
        let version = plan.version;
        let text = if !plan.moves_only_links() {
            format!("Selected update '{version}' for install.")
        } else if request.version.is_some() {
            format!("Selected update '{version}' is already installed. Switching to it.")
        } else {
            format!(
                "Version '{version}' is installed, but its current symlink is not right. Repairing."
            )
        };
        self.say(name, &text);
    }

    fn is_interrupted(&mut self) -> bool {
        let interrupted = self.context.executor.cancel.is_cancelled();
        if interrupted {
            self.context.complain(&InstallError::Cancelled.into());
            self.tally.fail();
        }
        interrupted
    }

    /// Tells of an error of one component.
    pub(super) fn told(&mut self, name: &ComponentName, error: &Error) {
        if self.context.names_components() {
            self.tally.failed |= self.context.failed_among_several(name, error);
        } else {
            self.context.complain(error);
            self.tally.fail();
        }
    }

    fn key(&self, name: &ComponentName) -> ComponentKey {
        self.context.session.loader.key(name)
    }

    fn say(&self, name: &ComponentName, text: &str) {
        self.tell(Severity::Info, name, text);
    }

    fn warn(&self, name: &ComponentName, text: &str) {
        self.tell(Severity::Warning, name, text);
    }

    fn tell(&self, severity: Severity, name: &ComponentName, text: &str) {
        let text = if self.context.names_components() {
            format!("{name}: {text}")
        } else {
            text.to_owned()
        };
        self.context
            .reporter
            .report(&Event::Message(severity, text));
    }
}

/// What a trial that ended well has brought about; another run than the one that began it may tell.
fn success(member: &Member) -> Happening {
    match member.on_failure {
        OnFailure::Revert => Happening::Installed,
        OnFailure::Stay => Happening::RolledBack,
    }
}

/// What one component's trial needs to know.
pub(super) fn member(context: &Context<'_>, job: &Job<'_>, purpose: Purpose) -> Member {
    let index = job.resolution.find(job.plan.version);
    let transfers = job.resolution.transfers.iter().enumerate();
    let parts = transfers
        .zip(&job.plan.steps)
        .map(|((number, (_, inventory)), step)| {
            let target = settled_path(context.root, step);
            let set_part = index.map(|index| &job.resolution.sets[index].parts[number]);
            let link = inventory.link.as_ref().map(|link| LinkMove {
                path: link.path.clone(),
                before: match &link.state {
                    LinkState::To(path) => Some(path.clone()),
                    _ => None,
                },
            });
            Part {
                transfer: step.transfer.id.clone(),
                pending: match step.action {
                    Action::Install(_) | Action::Acquire { .. } if step.slot.is_none() => {
                        Some(pending_path(&target))
                    }
                    // The name of a partition's device says nothing of what it holds, and is not ours to give.
                    _ => None,
                },
                partition: step.slot.is_some(),
                counted: is_counted(step),
                read_only: step.is_sealed(),
                target,
                digest: set_part.and_then(|part| digest(part)),
                link,
            }
        });
    let parts = parts.collect();
    let first = &job.plan.steps[0].transfer;
    Member {
        component: super::plain_name(job.name()),
        version: job.plan.version.clone(),
        previous: in_use(&job.resolution)
            .filter(|set| set.version != job.plan.version)
            .map(|set| set.version.clone()),
        parts,
        activation: first.activation.clone(),
        check: first.check.clone(),
        on_failure: match purpose {
            Purpose::Update => OnFailure::Revert,
            Purpose::Rollback => OnFailure::Stay,
        },
        verdict: None,
        log: Vec::new(),
    }
}

/// Whether a step's file has a boot counter in its name: names are made of the first pattern.
fn is_counted(step: &Step<'_>) -> bool {
    let target = step.transfer.target();
    matches!(target.place, Place::Files(..))
        && target.patterns.first().is_some_and(Pattern::is_counted)
}

/// Where a step's file will be, symlinks above it resolved as the switch resolves them.
fn settled_path(root: &Root, step: &Step<'_>) -> std::path::PathBuf {
    let (Some(parent), Some(name)) = (step.path.parent(), step.path.file_name()) else {
        return step.path.clone();
    };
    root.canonicalize(parent)
        .map_or_else(|_| step.path.clone(), |parent| parent.join(name))
}

/// The version that the current symlinks lead to, or else the one that counts as settled.
pub(super) fn in_use<'r, 's>(resolution: &'r Resolution<'s>) -> Option<&'r UpdateSet<'s>> {
    let linked = |index: &usize| {
        let transfers = 0..resolution.transfers.len();
        transfers
            .clone()
            .any(|transfer| resolution.transfers[transfer].1.link.is_some())
            && transfers
                .clone()
                .all(|transfer| resolution.leads_to(transfer, *index))
    };
    let by_link = (0..resolution.sets.len())
        .filter(|index| resolution.sets[*index].is_complete())
        .find(linked);
    by_link
        .or(resolution.settled)
        .map(|index| &resolution.sets[index])
}

pub(super) fn digest(part: &crate::resolve::Part<'_>) -> Option<String> {
    let offered = part.available.and_then(|instance| instance.metadata.sha256);
    let noted = part
        .installed
        .and_then(|instance| instance.provenance)
        .map(|provenance| provenance.sha256);
    offered.or(noted).map(|digest| digest.to_string())
}

fn digests(
    resolution: &Resolution<'_>,
    set: &UpdateSet<'_>,
) -> std::collections::BTreeMap<String, String> {
    let parts = resolution.transfers.iter().zip(&set.parts);
    parts
        .filter_map(|((transfer, _), part)| Some((transfer.id.clone(), digest(part)?)))
        .collect()
}

/// Whether only the hold keeps an offered version away.
fn is_held_back(set: &UpdateSet<'_>) -> bool {
    set.is_available() && matches!(set.exclusion, Some(Exclusion::Held(_)))
}

pub(super) fn idle_text(idle: &Idle<'_>, resolution: &Resolution<'_>) -> String {
    let unfitting =
        resolution.newest_complete.is_none() && resolution.sets.iter().any(UpdateSet::is_available);
    match idle {
        Idle::UpToDate if unfitting => {
            "No update needed. None of the offered versions fits: `sysupdate list --why` shows why."
                .to_owned()
        }
        Idle::UpToDate if resolution.sets.is_empty() => {
            "No update needed. Nothing is installed, and no version is known that matches the patterns.".to_owned()
        }
        Idle::UpToDate if resolution.sets.iter().any(is_held_back) => {
            "No update needed. The component is held: `sysupdate unhold` lets newer versions come.".to_owned()
        }
        Idle::UpToDate => "No update needed.".to_owned(),
        Idle::AlreadyInstalled(version) => {
            format!("Selected update '{version}' is already installed. Skipping update.")
        }
        Idle::AlreadyAcquired(version) => {
            format!("Selected update '{version}' is already acquired and pending installation.")
        }
    }
}
