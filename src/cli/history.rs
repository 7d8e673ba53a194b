//! `history`: what happened to this host's components, oldest first.

use std::io;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit, Selection};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::install::history::{self, Entry};

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Error> {
    let mut entries = history::read(context.root).map_err(Error::History)?;
    if let Selection::One(ComponentName::Named(name)) = &context.settings.selection {
        entries.retain(|entry| entry.component.as_ref() == Some(name));
    }
    if entries.is_empty() && context.settings.json == JsonFormat::Off {
        context.say("Nothing has happened yet.");
        return Ok(Exit::Success);
    }
    let text: io::Result<String> = match context.settings.json {
        JsonFormat::Off => Ok(render(context, &entries)),
        format => json::text(format, &entries),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(Exit::Success)
}

fn render(context: &Context<'_>, entries: &[Entry]) -> String {
    let columns = ["TIME", "COMPONENT", "EVENT", "FROM", "TO", "BY", "NOTE"].map(Column::left);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            vec![
                entry.time.clone(),
                entry
                    .component
                    .clone()
                    .unwrap_or_else(|| ComponentName::Default.to_string()),
                entry.event.as_str().to_owned(),
                or_dash(&entry.from),
                or_dash(&entry.to),
                format!("{}: {}", entry.user, entry.command),
                or_dash(&entry.reason),
            ]
        })
        .collect();
    table::render(&columns, &rows, context.settings.legend)
}
