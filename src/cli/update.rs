//! `update` and `acquire`.

use super::activation::Activation;
use super::{Context, Exit, Verb};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::install::{InstallError, Moved, vacuum};
use crate::plan::{self, Decision, Goal, Idle, PlanError, Request};
use crate::resolve::UpdateSet;
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
    let names = context.selected()?;
    let several = context.names_components();
    let _lock = context.lock(verb)?;
    let mut failed = false;
    let mut activation = Activation::new(*context, goal);
    for name in &names {
        if context.executor.cancel.is_cancelled() {
            context.complain(&InstallError::Cancelled.into());
            failed = true;
            break;
        }
        let request = Request {
            version,
            goal,
            reach: context.settings.reach,
            instances_max: context.settings.instances_max,
        };
        let updated =
            component(context, name, request, &activation).unwrap_or_else(Updated::failed);
        if let Some(error) = updated.failure {
            if several {
                failed |= context.failed_among_several(name, &error);
            } else {
                context.complain(&error);
                failed = true;
            }
        }
        activation.add(name, updated.moved);
    }
    if let Err(error) = activation.run() {
        context.complain(&error);
        failed = true;
    }
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

impl Updated {
    fn failed(error: Error) -> Self {
        Self {
            moved: Vec::new(),
            failure: Some(error),
        }
    }
}

fn component(
    context: &Context<'_>,
    name: &ComponentName,
    request: Request<'_>,
    activation: &Activation<'_>,
) -> Result<Updated, Error> {
    let say = |text: &str| {
        if context.names_components() {
            context.say(&format!("{name}: {text}"));
        } else {
            context.say(text);
        }
    };
    let component = context.load(name, Requirement::EnabledTransfer)?;
    if !component.enabled {
        if context.names_components() {
            say("Component is disabled.");
            return Ok(Updated::default());
        }
        return Err(SessionError::Disabled.into());
    }
    let surveyed = context.session.survey(component, request.reach)?;
    let resolution = surveyed.resolve();
    let transfers = surveyed.transfers();
    let plan = match plan::decide(&resolution, &transfers, request)? {
        Decision::Do(plan) => plan,
        Decision::Nothing { idle, leftovers } => {
            let unfitting = idle == Idle::UpToDate
                && resolution.newest_complete.is_none()
                && resolution.sets.iter().any(UpdateSet::is_available);
            say(&match idle {
                Idle::UpToDate if unfitting => {
                    "No update needed: none of the offered versions fits, `sysupdate list --why` shows why.".to_owned()
                }
                Idle::UpToDate => "No update needed.".to_owned(),
                Idle::AlreadyInstalled(version) => {
                    format!("Selected update '{version}' is already installed. Skipping update.")
                }
                Idle::AlreadyAcquired(version) => {
                    format!(
                        "Selected update '{version}' is already acquired and pending installation."
                    )
                }
            });
            for removal in &leftovers {
                vacuum::remove(&context.executor, removal)?;
            }
            let moved = activation.owed(&surveyed, &resolution);
            return Ok(Updated {
                moved,
                failure: None,
            });
        }
    };
    for notice in &plan.notices {
        say(notice);
    }
    say(&format!("Selected update '{}' for install.", plan.version));
    if request.goal == Goal::Install {
        activation.prepare(name)?;
    }
    let outcome = context.executor.execute(name, &plan);
    match &outcome.failure {
        None if request.goal == Goal::Acquire => {}
        None | Some(InstallError::Vacuum(_)) => {
            say(&format!(
                "Successfully installed update '{}'.",
                plan.version
            ));
        }
        // compat: what the original says of a version that it cannot complete, and scripts look for. Ours tries again
        // by itself with the next run.
        Some(InstallError::Acquire { .. } | InstallError::Space(_)) if plan.resumes => {
            say(&PlanError::Stuck(plan.version.clone()).to_string());
        }
        Some(_) => {}
    }
    let mut moved = outcome.moved;
    if moved.is_empty() {
        moved = activation.owed(&surveyed, &resolution);
    }
    Ok(Updated {
        moved,
        failure: outcome.failure.map(Error::from),
    })
}
