//! What earlier runs, or somebody else, have left behind.

use std::path::{Path, PathBuf};

use super::{Context, Finding, Repair, Severity, option};
use crate::definition::{Component, ComponentName};
use crate::install::database;
use crate::inventory::State;
use crate::inventory::link::{self, LinkState};
use crate::plan::Reach;
use crate::resolve::MarkKind;
use crate::storage::atomic::TEMPORARY_PREFIX;
use crate::trial::record;

pub(super) fn look(
    context: &Context<'_>,
    components: &[Component],
    broken: &[ComponentName],
    findings: &mut Vec<Finding>,
) {
    for component in components {
        instances(context, component, findings);
        for transfer in &component.transfers {
            let own = transfer.target();
            if let Some(directory) = own.place.directory() {
                temporaries(context, directory, findings);
            }
            let link = link::examine(context.root, own).ok().flatten();
            let Some(link) = link else { continue };
            if let Some(parent) = link.path.parent() {
                temporaries(context, parent, findings);
            }
            let place = context.root.outer(&link.path).display().to_string();
            match link.state {
                LinkState::Dangling => findings.push(
                    Finding::new(
                        Severity::Error,
                        place,
                        "the current symlink leads nowhere",
                        format!(
                            "`sysupdate update{}` puts it right",
                            option(&component.name)
                        ),
                    )
                    .repaired_by(Repair::Relink(component.name.clone())),
                ),
                LinkState::Occupied => findings.push(Finding::new(
                    Severity::Error,
                    place,
                    "something that is no symlink stands where the current symlink belongs",
                    "move it away; the next update makes the link",
                )),
                LinkState::Masked => findings.push(Finding::new(
                    Severity::Note,
                    place,
                    "masked by a link to /dev/null: what is installed is not seen",
                    "remove the link to let it be seen again",
                )),
                LinkState::To(_) | LinkState::Missing => {}
            }
        }
    }
    trial(context, findings);
    orphans(context, components, broken, findings);
}

fn instances(context: &Context<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let surveyed = match context
        .session
        .survey_all_fitting(component.clone(), Reach::Offline)
    {
        Ok(surveyed) => surveyed,
        Err(error) => {
            findings.push(Finding::new(
                Severity::Error,
                component.name.to_string(),
                crate::event::chain(&error),
                "until that is mended the component is not updated",
            ));
            return;
        }
    };
    for mark in &surveyed.knowledge.marks.versions {
        if mark.kind == MarkKind::Bad {
            findings.push(Finding::new(
                Severity::Note,
                component.name.to_string(),
                format!(
                    "version {} is bad since {}: {}",
                    mark.version, mark.since, mark.reason
                ),
                format!(
                    "it does not come back by itself; `sysupdate unhold{}` forgets it",
                    option(&component.name)
                ),
            ));
        }
    }
    let resolution = surveyed.resolve();
    let current = super::super::transaction::in_use(&resolution);
    if let Some(set) = current
        && let Some(why) = surveyed.knowledge.misfit(set.version)
    {
        findings.push(Finding::new(
            Severity::Error,
            component.name.to_string(),
            format!(
                "version {} is in use and does not fit this system: {why}",
                set.version
            ),
            format!(
                "`sysupdate update{}` looks for one that does",
                option(&component.name)
            ),
        ));
    }
    let unfinished = surveyed.inventories.iter().flat_map(|one| &one.installed);
    for instance in unfinished.filter(|instance| instance.state == State::Partial) {
        let place = instance
            .path()
            .map(|path| context.root.outer(path).display().to_string());
        findings.push(Finding::new(
            Severity::Note,
            place.unwrap_or_default(),
            "a download that was cut off",
            format!(
                "`sysupdate update{}` goes on with it, `vacuum` removes it",
                option(&component.name)
            ),
        ));
    }
}

/// Files that a killed run had not yet renamed. Of a run that is at work just now they are none.
fn temporaries(context: &Context<'_>, directory: &Path, findings: &mut Vec<Finding>) {
    let Ok(opened) = context.root.directory(directory) else {
        return;
    };
    for entry in opened.entries().unwrap_or_default() {
        let is_ours = entry
            .name
            .to_str()
            .is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
        let path: PathBuf = opened.path().join(&entry.name);
        let place = context.root.outer(&path).display().to_string();
        if is_ours && findings.iter().all(|finding| finding.place != place) {
            findings.push(
                Finding::new(
                    Severity::Note,
                    place,
                    "a leftover of a run that was cut off",
                    "it does no harm, and can be removed",
                )
                .repaired_by(Repair::Remove(path)),
            );
        }
    }
}

fn trial(context: &Context<'_>, findings: &mut Vec<Finding>) {
    match record::read(context.root) {
        Ok(Some(record)) if record.phase != record::Phase::Staged => {
            let names: Vec<String> = record
                .members
                .iter()
                .map(|member| format!("{} {}", member.name(), member.version))
                .collect();
            findings.push(
                Finding::new(
                    Severity::Warning,
                    names.join(", "),
                    format!(
                        "the trial that '{}' began at {} has not ended",
                        record.command, record.started
                    ),
                    "the next update ends it, or `sysupdate settle`",
                )
                .repaired_by(Repair::Settle),
            );
        }
        Ok(_) => {}
        Err(error) => findings.push(Finding::new(
            Severity::Error,
            "the record of the trial",
            crate::event::chain(&error),
            error.hint(),
        )),
    }
}

/// Components that were installed once and are not defined any more. One whose definition is broken may well be.
fn orphans(
    context: &Context<'_>,
    components: &[Component],
    broken: &[ComponentName],
    findings: &mut Vec<Finding>,
) {
    let recorded =
        std::iter::once(ComponentName::Default).chain(database::components(context.root));
    for name in recorded {
        let is_defined =
            broken.contains(&name) || components.iter().any(|component| component.name == name);
        if !is_defined && !database::records(context.root, &name).is_empty() {
            findings.push(Finding::new(
                Severity::Warning,
                name.to_string(),
                "it is not defined any more, and what it installed may still be here",
                match &name {
                    ComponentName::Default => "`sysupdate cleanup` removes it".to_owned(),
                    ComponentName::Named(name) => {
                        format!("`sysupdate -C {name} cleanup` removes it")
                    }
                },
            ));
        }
    }
}
