//! `status`: what is installed, component by component, without asking any source.

use std::path::Path;

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit, Selection};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::inventory::link::LinkState;
use crate::plan::Reach;
use crate::resolve::{Resolution, UpdateSet};
use crate::session::{Requirement, SessionError};

/// One component.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    component: Option<String>,
    enabled: bool,
    /// The version that is in use.
    current: Option<String>,
    /// Complete versions, newest first.
    installed: Vec<String>,
    /// Acquired, not installed.
    pending: Option<String>,
    /// Cut off while it was fetched.
    partial: Option<String>,
    links: Vec<LinkView>,
    verification: &'static str,
}

#[derive(Serialize)]
struct LinkView {
    path: String,
    target: Option<String>,
    state: &'static str,
}

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Error> {
    let names = match &context.settings.selection {
        Selection::One(ComponentName::Default) if context.settings.definitions.is_none() => {
            context.all_components()?
        }
        _ => context.selected()?,
    };
    let mut rows = Vec::new();
    let mut exit = Exit::Success;
    for name in &names {
        match row(context, name) {
            Ok(row) => rows.push(row),
            // Most hosts have named components only.
            Err(Error::Session(SessionError::Undefined(ComponentName::Default))) => {}
            Err(error) => {
                context.complain_about(name, &error);
                exit = Exit::Failure;
            }
        }
    }
    if rows.is_empty() && exit == Exit::Success {
        context.say("No transfer definitions found.");
    }
    let text = match context.settings.json {
        JsonFormat::Off if rows.is_empty() => Ok(String::new()),
        JsonFormat::Off => Ok(render(context, &rows)),
        format => json::text(format, &rows),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(exit)
}

fn row(context: &Context<'_>, name: &ComponentName) -> Result<Row, Error> {
    let component = context.session.load(name, Requirement::EnabledTransfer)?;
    let surveyed = context.session.survey(component, Reach::Offline)?;
    let resolution = surveyed.resolve();
    let version = |set: &UpdateSet<'_>| set.version.to_string();
    let in_use = resolution
        .current
        .map(|index| &resolution.sets[index])
        .filter(|set| set.is_complete());
    let in_use = in_use.or_else(|| {
        resolution
            .newest_complete
            .map(|index| &resolution.sets[index])
    });
    Ok(Row {
        component: super::plain_name(name),
        enabled: surveyed.component.enabled,
        current: in_use.map(version),
        installed: resolution
            .sets
            .iter()
            .filter(|set| set.is_complete())
            .map(version)
            .collect(),
        pending: resolution
            .sets
            .iter()
            .find(|set| set.is_pending() && !set.is_partial())
            .map(version),
        partial: resolution
            .sets
            .iter()
            .find(|set| set.is_partial())
            .map(version),
        links: links(context, &resolution),
        verification: super::verification(
            resolution.transfers.iter().map(|(transfer, _)| *transfer),
        ),
    })
}

fn links(context: &Context<'_>, resolution: &Resolution<'_>) -> Vec<LinkView> {
    let outer = |path: &Path| context.root.outer(path).display().to_string();
    let mut views = Vec::new();
    for (index, (_, inventory)) in resolution.transfers.iter().enumerate() {
        let Some(link) = &inventory.link else {
            continue;
        };
        let (target, state) = match &link.state {
            LinkState::Missing => (None, "missing"),
            LinkState::Dangling => (None, "dangling"),
            LinkState::Occupied => (None, "occupied"),
            LinkState::To(path) if resolution.stale_links.contains(&index) => {
                (Some(outer(path)), "stale")
            }
            LinkState::To(path) => (Some(outer(path)), "linked"),
        };
        views.push(LinkView {
            path: outer(&link.path),
            target,
            state,
        });
    }
    views
}

fn render(context: &Context<'_>, rows: &[Row]) -> String {
    let columns = [
        "COMPONENT",
        "CURRENT",
        "INSTALLED",
        "PENDING",
        "LINK",
        "VERIFICATION",
        "NOTE",
    ]
    .map(Column::left);
    let dash = || "-".to_owned();
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let links: Vec<&str> = row.links.iter().map(|link| link.state).collect();
            let mut notes = Vec::new();
            if !row.enabled {
                notes.push("disabled".to_owned());
            }
            notes.extend(
                row.partial
                    .as_ref()
                    .map(|version| format!("{version} is partial")),
            );
            vec![
                row.component
                    .clone()
                    .unwrap_or_else(|| ComponentName::Default.to_string()),
                row.current.clone().unwrap_or_else(dash),
                if row.installed.is_empty() {
                    dash()
                } else {
                    row.installed.join(" ")
                },
                row.pending.clone().unwrap_or_else(dash),
                if links.is_empty() {
                    dash()
                } else {
                    links.join(" ")
                },
                row.verification.to_owned(),
                if notes.is_empty() {
                    dash()
                } else {
                    notes.join(", ")
                },
            ]
        })
        .collect();
    table::render(&columns, &lines, context.settings.legend)
}
