//! `update` and `acquire`.

use super::activation::Activation;
use super::{Context, Exit, Verb};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::install::{InstallError, Moved, vacuum};
use crate::plan::{self, Decision, Goal, Idle, Plan, PlanError, Request};
use crate::resolve::{Resolution, UpdateSet};
use crate::session::{Requirement, SessionError};

/// What one component's update came to.
#[derive(Default)]
struct Updated {
    moved: Vec<Moved>,
    failure: Option<Error>,
}

pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let (goal, version) = match verb {
        Verb::Acquire(version) => (Goal::Acquire, version.as_deref()),
        Verb::Update(version) => (Goal::Install, version.as_deref()),
        _ => return Ok(Exit::Failure),
    };
    let settings = context.settings;
    let request = Request {
        version,
        goal,
        reach: settings.reach,
        instances_max: settings.instances_max,
    };
    // Before the lock: a mistake in a definition is told at once, and nothing to do leaves no trace.
    let mut failed = false;
    let mut components = Vec::new();
    for name in &context.selected()? {
        match load(context, name) {
            Ok(component) => components.extend(component),
            Err(error) => failed |= told(context, name, &error),
        }
    }
    if components.is_empty() {
        return Ok(if failed { Exit::Failure } else { Exit::Success });
    }
    let _lock = context.lock(verb)?;
    let mut activation = Activation::new(*context, goal);
    for component in components {
        if context.executor.cancel.is_cancelled() {
            context.complain(&InstallError::Cancelled.into());
            failed = true;
            break;
        }
        let name = component.name.clone();
        let updated = Task {
            context,
            activation: &activation,
            request,
        }
        .update(&component)
        .unwrap_or_else(|error| Updated {
            moved: Vec::new(),
            failure: Some(error),
        });
        if let Some(error) = updated.failure {
            failed |= told(context, &name, &error);
        }
        activation.add(&name, updated.moved);
    }
    if let Err(error) = activation.run() {
        context.complain(&error);
        failed = true;
    }
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

/// Tells of an error; whether it makes the run a failure.
fn told(context: &Context<'_>, name: &ComponentName, error: &Error) -> bool {
    if context.names_components() {
        return context.failed_among_several(name, error);
    }
    context.complain(error);
    true
}

/// Reads a component; one that is switched off is passed over among several, and refused alone.
fn load(context: &Context<'_>, name: &ComponentName) -> Result<Option<Component>, Error> {
    let component = context.load(name, Requirement::EnabledTransfer)?;
    match (component.enabled, context.names_components()) {
        (true, _) => Ok(Some(component)),
        (false, true) => {
            context.say(&format!("{name}: {}", SessionError::Disabled));
            Ok(None)
        }
        (false, false) => Err(SessionError::Disabled.into()),
    }
}

/// The update of one component.
#[derive(Clone, Copy)]
struct Task<'a> {
    context: &'a Context<'a>,
    activation: &'a Activation<'a>,
    request: Request<'a>,
}

/// What remains after one pass over a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// An installation that an earlier run had begun is finished: what is newer comes next.
    Newer,
}

impl Task<'_> {
    fn update(self, component: &Component) -> Result<Updated, Error> {
        let (first, rest) = self.pass(component.clone())?;
        if rest == Rest::Nothing {
            return Ok(first);
        }
        let (second, _) = self.pass(component.clone())?;
        let mut moved = first.moved;
        moved.retain(|moved| {
            second
                .moved
                .iter()
                .all(|later| later.transfer != moved.transfer)
        });
        moved.extend(second.moved);
        Ok(Updated {
            moved,
            failure: second.failure,
        })
    }

    fn pass(self, component: Component) -> Result<(Updated, Rest), Error> {
        let Self {
            context,
            activation,
            request,
        } = self;
        let name = component.name.clone();
        let surveyed = context.session.survey(component, request.reach)?;
        let resolution = surveyed.resolve();
        let mut plan = match plan::decide(&resolution, &surveyed.transfers(), request)? {
            Decision::Do(plan) => plan,
            Decision::Nothing { idle, leftovers } => {
                self.say(&name, &idle_text(&idle, &resolution));
                for removal in &leftovers {
                    vacuum::remove(&context.executor, removal)?;
                }
                let moved = activation.owed(&surveyed, &resolution);
                return Ok((
                    Updated {
                        moved,
                        failure: None,
                    },
                    Rest::Nothing,
                ));
            }
        };
        if !plan.removals.is_empty() {
            let linked = context.session.linked_elsewhere(&name);
            plan.removals
                .retain(|removal| !linked.contains(removal.path));
        }
        // Asked before this run makes a note of its own.
        let owed = activation.owed(&surveyed, &resolution);
        self.announce(&name, &plan);
        if request.goal == Goal::Install {
            activation.prepare(&name)?;
        }
        let key = context.session.loader.key(&name);
        let outcome = context.executor.execute(&name, &key, &plan);
        self.conclude(&name, &plan, outcome.failure.as_ref());
        let mut moved = outcome.moved;
        let failure = outcome.failure.map(Error::from);
        if moved.is_empty() {
            moved = owed;
        }
        let begun = resolution
            .find(plan.version)
            .is_some_and(|index| resolution.sets[index].is_begun());
        let finished = begun
            && request.version.is_none()
            && request.goal == Goal::Install
            && failure.is_none();
        Ok((
            Updated { moved, failure },
            if finished { Rest::Newer } else { Rest::Nothing },
        ))
    }

    fn announce(self, name: &ComponentName, plan: &Plan<'_>) {
        for notice in &plan.notices {
            self.say(name, notice);
        }
        self.say(
            name,
            &if plan.moves_only_links() && self.request.version.is_some() {
                format!(
                    "Selected update '{}' is already installed. Switching to it.",
                    plan.version
                )
            } else if plan.moves_only_links() {
                format!(
                    "Version '{}' is installed, but its current symlink is not right. Repairing.",
                    plan.version
                )
            } else {
                format!("Selected update '{}' for install.", plan.version)
            },
        );
    }

    fn conclude(self, name: &ComponentName, plan: &Plan<'_>, failure: Option<&InstallError>) {
        match failure {
            None if plan.goal == Goal::Acquire || plan.moves_only_links() => {}
            None | Some(InstallError::Vacuum(_)) => {
                self.say(
                    name,
                    &format!("Successfully installed update '{}'.", plan.version),
                );
            }
            // compat: what the original says of a version that it cannot complete, and scripts look for. Ours tries
            // again by itself with the next run.
            Some(InstallError::Acquire { .. } | InstallError::Space(_)) if plan.resumes => {
                self.say(name, &PlanError::Stuck(plan.version.clone()).to_string());
            }
            Some(_) => {}
        }
    }

    fn say(self, name: &ComponentName, text: &str) {
        if self.context.names_components() {
            self.context.say(&format!("{name}: {text}"));
        } else {
            self.context.say(text);
        }
    }
}

fn idle_text(idle: &Idle<'_>, resolution: &Resolution<'_>) -> String {
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
        Idle::UpToDate => "No update needed.".to_owned(),
        Idle::AlreadyInstalled(version) => {
            format!("Selected update '{version}' is already installed. Skipping update.")
        }
        Idle::AlreadyAcquired(version) => {
            format!("Selected update '{version}' is already acquired and pending installation.")
        }
    }
}
