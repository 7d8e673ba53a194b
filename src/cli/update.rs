//! `update` and `acquire`.

use std::path::Path;

use super::settings::ActivationRequest;
use super::{Context, Exit, Verb};
use crate::activate::dbus::SystemBus;
use crate::activate::{self, ActivateError, ActivationPlan};
use crate::definition::ComponentName;
use crate::definition::transfer::Verification;
use crate::error::Error;
use crate::install::{InstallError, Moved, vacuum};
use crate::plan::{self, Decision, Goal, Idle, PlanError, Request};
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
    // Definitions are read before the lock is taken: a mistake in them is told at once.
    let _lock = context.lock(verb)?;
    let mut failed = false;
    let mut moved = Vec::new();
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
        let updated = component(context, name, request, several).unwrap_or_else(Updated::failed);
        if let Some(error) = updated.failure {
            if several {
                failed |= context.failed_among_several(name, &error);
            } else {
                context.complain(&error);
                failed = true;
            }
        }
        moved.extend(updated.moved.into_iter().map(|moved| (name, moved)));
    }
    if let Err(error) = activate(context, &moved) {
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
    several: bool,
) -> Result<Updated, Error> {
    let say = |text: &str| {
        if several {
            context.say(&format!("{name}: {text}"));
        } else {
            context.say(text);
        }
    };
    let component = context.session.load(name, Requirement::EnabledTransfer)?;
    if !component.enabled {
        if several {
            say("Component is disabled.");
            return Ok(Updated::default());
        }
        return Err(SessionError::Disabled.into());
    }
    if component
        .transfers
        .iter()
        .any(|transfer| transfer.enabled && transfer.verification == Verification::Skip)
    {
        context.warn_unsigned(name);
    }
    let surveyed = context.session.survey(component, request.reach)?;
    let resolution = surveyed.resolve();
    let transfers = surveyed.transfers();
    let plan = match plan::decide(&resolution, &transfers, request)? {
        Decision::Do(plan) => plan,
        Decision::Nothing { idle, leftovers } => {
            say(&match idle {
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
            return Ok(Updated::default());
        }
    };
    for notice in &plan.notices {
        say(notice);
    }
    say(&format!("Selected update '{}' for install.", plan.version));
    match context.executor.execute(name, &plan) {
        Ok(outcome) => {
            if request.goal == Goal::Install {
                say(&format!(
                    "Successfully installed update '{}'.",
                    plan.version
                ));
            }
            Ok(Updated {
                moved: outcome.moved,
                failure: outcome.failure.map(Error::from),
            })
        }
        Err(error) => {
            if plan.resumes && !matches!(error, InstallError::Cancelled) {
                // compat: what the original says of a version that it cannot complete, and scripts look for. Ours
                // tries again by itself with the next run.
                say(&PlanError::Stuck(plan.version.clone()).to_string());
            }
            Err(error.into())
        }
    }
}

/// One activation for the whole run, after all components; nothing when no link moved, or this is not the host.
fn activate(context: &Context<'_>, moved: &[(&ComponentName, Moved)]) -> Result<(), Error> {
    let settings = context.settings;
    let in_initrd = context.root.stat(Path::new("/etc/initrd-release")).is_ok();
    let host = context.root.is_host() && settings.definitions.is_none() && !in_initrd;
    if !host || settings.activation == ActivationRequest::Unwanted || moved.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = moved.iter().map(|(name, _)| name.to_string()).collect();
    let moves: Vec<activate::Moved<'_>> = moved
        .iter()
        .zip(&names)
        .map(|((_, moved), name)| activate::Moved {
            component: name,
            version: &moved.version,
            activation: &moved.activation,
            target: &moved.target,
            link: moved.link.as_deref(),
        })
        .collect();
    let plan: ActivationPlan = activate::plan(&moves);
    activate::require_reboot(context.root, &plan.reboot)?;
    if !plan.is_empty() {
        let bus = SystemBus::new().map_err(ActivateError::Bus)?;
        activate::activate(&plan, &bus, context.reporter)?;
    }
    Ok(())
}
