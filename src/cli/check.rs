//! `check-new`: is there anything to install?

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit, Selection};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::session::Requirement;

#[derive(Serialize)]
struct Answer {
    available: Option<String>,
}

#[derive(Serialize)]
struct Answers {
    components: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    component: Option<String>,
    available: Option<String>,
}

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Error> {
    match &context.settings.selection {
        Selection::One(name) => one(context, name),
        Selection::All | Selection::Suggested => all(context),
    }
}

fn offered(context: &Context<'_>, name: &ComponentName) -> Result<Option<String>, Error> {
    let component = context.load(name, Requirement::EnabledTransfer)?;
    let surveyed = context
        .session
        .survey_fitting(component, context.settings.reach, None)?;
    Ok(surveyed
        .resolve()
        .offered()
        .map(|set| set.version.to_string()))
}

fn one(context: &Context<'_>, name: &ComponentName) -> Result<Exit, Error> {
    let available = offered(context, name)?;
    let exit = if available.is_some() {
        Exit::Success
    } else {
        Exit::Failure
    };
    let text = match (context.settings.json, &available) {
        (JsonFormat::Off, None) => Ok(String::new()),
        (JsonFormat::Off, Some(version)) => Ok(format!("{version}\n")),
        (format, _) => json::text(format, &Answer { available }),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(exit)
}

/// A line per component that has something new; exit status 0 if any has, and if nothing at all is defined.
fn all(context: &Context<'_>) -> Result<Exit, Error> {
    let names = context.selected()?;
    let mut rows = Vec::new();
    let mut failed = false;
    for name in &names {
        match offered(context, name) {
            Ok(available) => rows.push(Row {
                component: super::plain_name(name),
                available,
            }),
            Err(error) => failed |= context.failed_among_several(name, &error),
        }
    }
    let undefined = rows.is_empty() && !failed;
    let news = rows.iter().any(|row| row.available.is_some());
    let text = match context.settings.json {
        JsonFormat::Off => {
            let cells = |row: &Row| {
                let version = row.available.clone()?;
                Some(vec![
                    row.component
                        .clone()
                        .unwrap_or_else(|| ComponentName::Default.to_string()),
                    version,
                ])
            };
            let lines: Vec<_> = rows.iter().filter_map(cells).collect();
            let columns = [Column::left("COMPONENT"), Column::left("VERSION")];
            if lines.is_empty() {
                Ok(String::new())
            } else {
                Ok(table::render(&columns, &lines, context.settings.legend))
            }
        }
        format => json::text(format, &Answers { components: rows }),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(if undefined || (news && !failed) {
        Exit::Success
    } else {
        Exit::Failure
    })
}
