//! `vacuum`: removes old versions and leftovers.

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::{self};
use super::transaction::spare;
use super::{Context, Exit, Selection, Verb};
use crate::error::Error;
use crate::install::vacuum;
use crate::plan::{self, Reach};
use crate::session::Requirement;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    removed: usize,
    disabled_transfers: usize,
}

pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let Selection::One(name) = &context.settings.selection else {
        return Ok(Exit::Failure);
    };
    let component = context.session.load(name, Requirement::AnyTransfer)?;
    let _lock = context.lock(verb)?;
    let surveyed = context.session.survey(component, Reach::Offline)?;
    context.say("Making room…");
    let transfers = surveyed.transfers();
    let mut removals = plan::removals(&transfers, None, context.settings.instances_max);
    spare(context, name, &mut removals);
    let mut result = Ok(());
    for removal in &removals {
        // One that fails does not keep the others.
        result = result.and(vacuum::remove(&context.executor, removal));
    }
    result?;
    let all: Vec<_> = surveyed.component.transfers.iter().collect();
    vacuum::remove_unclaimed(&context.executor, &all)?;
    let (removed, disabled_transfers) = plan::count(&removals);
    context.say(&vacuum::summary(removed, disabled_transfers));
    if context.settings.json != JsonFormat::Off {
        let report = Report {
            removed,
            disabled_transfers,
        };
        json::text(context.settings.json, &report)
            .and_then(|text| output::print(&text))
            .map_err(Error::Output)?;
    }
    Ok(Exit::Success)
}
