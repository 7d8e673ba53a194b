//! `cleanup`: removes what was installed once and no transfer owns any more.

use super::settings::Selection;
use super::{Context, Exit, Verb};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::install::cleanup::Emptied;
use crate::install::{cleanup, database};
use crate::session::SessionError;

pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let _lock = context.lock(verb)?;
    Ok(if clean(context)? {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Cleans up the selected components; of all, every one that anything is recorded of. Whether all of it worked.
pub(super) fn clean(context: &Context<'_>) -> Result<bool, Error> {
    let names = match &context.settings.selection {
        Selection::One(name) => vec![name.clone()],
        Selection::All | Selection::Suggested => std::iter::once(ComponentName::Default)
            .chain(database::components(context.root))
            .collect(),
    };
    let mut worked = true;
    for name in names {
        match one(context, &name) {
            Ok(()) => {}
            Err(error) if context.names_components() => {
                context.complain_about(&name, &error);
                worked = false;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(worked)
}

fn one(context: &Context<'_>, name: &ComponentName) -> Result<(), Error> {
    // One of which nothing is defined any more owns nothing; one that cannot be read may own everything.
    let component = context
        .session
        .loader
        .load(name, context.reporter)
        .map_err(SessionError::from)?;
    cleanup::run(&context.executor, name, Some(&component), Emptied::Stays)?;
    Ok(())
}
