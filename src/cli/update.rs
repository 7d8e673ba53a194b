//! `update` and `acquire`.

use super::transaction::{Purpose, Transaction};
use super::{Context, Exit, Verb, cleanup, pending};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::plan::{Goal, Request};
use crate::session::{Requirement, SessionError};

pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let (goal, version) = match verb {
        Verb::Acquire(version) => (Goal::Acquire, version.as_deref()),
        Verb::Update(version) => (Goal::Install, version.as_deref()),
        _ => return Ok(Exit::Failure),
    };
    let request = Request {
        version,
        goal,
        reach: context.settings.reach,
        instances_max: context.settings.instances_max,
    };
    // Before the lock: a mistake in a definition is told at once, and nothing to do leaves no trace.
    let (components, broken) = load_all(context)?;
    if components.is_empty() {
        return Ok(if broken { Exit::Failure } else { Exit::Success });
    }
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    if broken {
        transaction.tally.fail();
    }
    if goal == Goal::Install {
        transaction.resume();
    }
    transaction.update(components, request);
    let exit = transaction.tally.exit();
    if goal == Goal::Install && exit == Exit::Success {
        if context.settings.cleanup == Some(true) && !cleanup::clean(context)? {
            return Ok(Exit::Failure);
        }
        if let (true, Some(installed)) = (context.settings.reboot, &transaction.installed) {
            pending::after_update(context, installed)?;
        }
    }
    Ok(exit)
}

/// The selected components that can be read, and whether one of them could not.
pub(super) fn load_all(context: &Context<'_>) -> Result<(Vec<Component>, bool), Error> {
    let mut broken = false;
    let mut components = Vec::new();
    for name in &context.selected()? {
        match load(context, name) {
            Ok(component) => components.extend(component),
            Err(error) if context.names_components() => {
                broken |= context.failed_among_several(name, &error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((components, broken))
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
