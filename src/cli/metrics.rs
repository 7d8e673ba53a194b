//! Writes the metrics after a run that may have changed something, if anybody wants them.

use std::path::Path;

use super::transaction::in_use;
use super::{Context, Verb};
use crate::activate::REBOOT_REQUIRED;
use crate::event::{Silent, chain};
use crate::install::history;
use crate::install::metrics::{self, Component};
use crate::plan::Reach;
use crate::resolve::MarkKind;

/// Rewrites the text file. What cannot be read is left out; a file that cannot be written is told, and no more.
pub(super) fn write(context: &Context<'_>, verb: &Verb) {
    let Some(textfile) = &context.config.metrics.textfile else {
        return;
    };
    if !verb.changes() {
        return;
    }
    let written = metrics::write(
        context.root,
        &textfile.value,
        &components(context),
        &history::read(context.root).unwrap_or_default(),
        context.root.stat(Path::new(REBOOT_REQUIRED)).is_ok(),
        super::present(),
    );
    if let Err(error) = written {
        context.warn(&format!("The metrics are not written: {}", chain(&error)));
    }
}

fn components(context: &Context<'_>) -> Vec<Component> {
    let names = context.all_components().unwrap_or_default();
    let known = names.into_iter().filter_map(|name| {
        let component = context.session.loader.load(&name, &Silent).ok()?;
        if component.transfers.is_empty() {
            return None;
        }
        let surveyed = context.session.survey(component, Reach::Offline).ok()?;
        let resolution = surveyed.resolve();
        let marks = &surveyed.knowledge.marks;
        let bad = marks
            .versions
            .iter()
            .filter(|mark| mark.kind == MarkKind::Bad);
        Some(Component {
            name: name.to_string(),
            current: in_use(&resolution).map(|set| set.version.to_string()),
            bad: bad.count(),
            held: marks.hold.is_some(),
        })
    });
    known.collect()
}
