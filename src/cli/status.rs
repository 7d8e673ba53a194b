//! `status`: what is installed, component by component, without asking any source.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::transaction::Scope;
use super::{Context, Exit, Selection};
use crate::activate::dbus::SystemBus;
use crate::activate::system::SystemManager as _;
use crate::definition::ComponentName;
use crate::error::Error;
use crate::extension::ExtensionKind;
use crate::inventory::link::{self, Link, LinkState};
use crate::plan::Reach;
use crate::resolve::{MarkKind, Resolution, UpdateSet};
use crate::session::{Requirement, SessionError};
use crate::trial::TrialError;
use crate::trial::record::{self, Phase, Record};

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
    /// Whether the running system has the extensions merged that its links stand for; none where that does not apply.
    merged: Option<bool>,
    /// The service that merges what is not.
    #[serde(skip)]
    merges: Option<&'static str>,
    /// Since when nothing newer is installed.
    held: Option<String>,
    /// Versions that do not come back by themselves.
    marked: Vec<MarkView>,
    /// A version whose trial is not over.
    trial: Option<TrialView>,
    verification: &'static str,
}

#[derive(Serialize)]
struct MarkView {
    version: String,
    kind: &'static str,
    since: String,
    reason: String,
}

#[derive(Serialize)]
struct TrialView {
    version: String,
    phase: Phase,
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
    let system = System::ask(context)?;
    for name in &names {
        match row(context, name, &system) {
            Ok(row) => {
                if row.needs_attention() {
                    exit = Exit::Failure;
                }
                rows.push(row);
            }
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

/// What the running system says, asked once.
struct System {
    /// The names of the merged extensions of each kind; nothing where this is not the running system.
    merged: BTreeMap<ExtensionKind, Vec<String>>,
    record: Option<Record>,
}

impl System {
    fn ask(context: &Context<'_>) -> Result<Self, Error> {
        let record = record::read(context.root).map_err(TrialError::from)?;
        let mut merged = BTreeMap::new();
        if Scope::of(context) == Scope::Running
            && let Ok(bus) = SystemBus::new()
        {
            for kind in [ExtensionKind::Sysext, ExtensionKind::Confext] {
                // A host without the tool merges nothing, and there is nothing to say of it.
                if let Ok(names) = bus.merged(kind) {
                    merged.insert(kind, names);
                }
            }
        }
        Ok(Self { merged, record })
    }

    /// Those of these entries that are not merged; `None` when none is an extension, or nobody can tell.
    fn unmerged(&self, entries: &[(ExtensionKind, String)]) -> Option<Vec<ExtensionKind>> {
        let known: Vec<_> = entries
            .iter()
            .filter_map(|(kind, name)| Some((*kind, self.merged.get(kind)?.contains(name))))
            .collect();
        let missing = known.iter().filter(|(_, merged)| !merged);
        (!known.is_empty()).then(|| missing.map(|(kind, _)| *kind).collect())
    }
}

impl Row {
    /// Whether an operator should look: a link that leads nowhere, an extension that is not merged, an open trial.
    fn needs_attention(&self) -> bool {
        let broken = |link: &LinkView| matches!(link.state, "dangling" | "occupied");
        let open = self
            .trial
            .as_ref()
            .is_some_and(|trial| trial.phase != Phase::Staged);
        self.links.iter().any(broken) || open || self.lacks_merge().is_some()
    }

    /// The service to restart for what should be merged by now: what is on trial, or waits for a boot, is not over yet.
    fn lacks_merge(&self) -> Option<&'static str> {
        self.merges.filter(|_| self.trial.is_none())
    }
}

fn row(context: &Context<'_>, name: &ComponentName, system: &System) -> Result<Row, Error> {
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
    let marks = &surveyed.knowledge.marks;
    let entries: Vec<_> = resolution
        .transfers
        .iter()
        .filter_map(|(_, inventory)| match inventory.link.as_ref()? {
            Link {
                path,
                state: LinkState::To(_),
            } => ExtensionKind::entry(path),
            _ => None,
        })
        .collect();
    let plain = super::plain_name(name);
    let member = system
        .record
        .as_ref()
        .and_then(|record| {
            let member = record
                .members
                .iter()
                .find(|member| member.component == plain)?;
            Some(TrialView {
                version: member.version.to_string(),
                phase: if crate::trial::is_staged(member) {
                    Phase::Staged
                } else {
                    record.phase
                },
            })
        })
        .filter(|_| context.settings.definitions.is_none());
    let unmerged = system.unmerged(&entries);
    Ok(Row {
        merged: unmerged.as_ref().map(Vec::is_empty),
        merges: unmerged
            .and_then(|kinds| kinds.first().copied())
            .map(ExtensionKind::unit),
        held: marks.hold.as_ref().map(|hold| hold.since.clone()),
        marked: marks
            .versions
            .iter()
            .map(|mark| MarkView {
                version: mark.version.to_string(),
                kind: match mark.kind {
                    MarkKind::Bad => "bad",
                    MarkKind::Left => "left",
                },
                since: mark.since.clone(),
                reason: mark.reason.clone(),
            })
            .collect(),
        trial: member,
        component: plain,
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
    for (index, (transfer, inventory)) in resolution.transfers.iter().enumerate() {
        // A masked link takes no part in anything else.
        let masked = || {
            link::examine(context.root, transfer.target())
                .ok()
                .flatten()
        };
        let Some(link) = inventory.link.clone().or_else(masked) else {
            continue;
        };
        let (target, state) = match &link.state {
            LinkState::Missing => (None, "missing"),
            LinkState::Dangling => (None, "dangling"),
            LinkState::Occupied => (None, "occupied"),
            LinkState::Masked => (None, "masked"),
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
        "MERGED",
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
            if let Some(since) = &row.held {
                notes.push(format!("held since {since}"));
            }
            notes.extend(row.trial.as_ref().map(|trial| match trial.phase {
                Phase::Staged => format!("{} takes effect at the next boot", trial.version),
                _ => format!("{} is on trial", trial.version),
            }));
            notes.extend(
                row.lacks_merge()
                    .map(|unit| format!("not merged: restart {unit}")),
            );
            notes.extend(row.marked.iter().map(|mark| match mark.kind {
                "bad" => format!("{} is bad: {}", mark.version, mark.reason),
                _ => format!("{} is held back", mark.version),
            }));
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
                match row.merged {
                    None => dash(),
                    Some(true) => "yes".to_owned(),
                    Some(false) => "no".to_owned(),
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
