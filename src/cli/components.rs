//! `components`: what is defined.

use serde::Serialize;

use super::features::{or_dash, tick};
use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit, Selection};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::event::Silent;
use crate::session::SessionError;

#[derive(Serialize)]
struct View {
    default: bool,
    components: Vec<String>,
}

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Error> {
    let loader = context.session.loader;
    let definition = |error| Error::from(SessionError::from(error));
    let names = loader.names().map_err(definition)?;
    // compat: with --component= the default is left out (compat 1, section 7.6).
    let default = context.settings.selection == Selection::One(ComponentName::Default)
        && loader.has_default(context.reporter).map_err(definition)?;
    if context.settings.json != JsonFormat::Off {
        let view = View {
            default,
            components: names.iter().filter_map(super::plain_name).collect(),
        };
        json::text(context.settings.json, &view)
            .and_then(|text| output::print(&text))
            .map_err(Error::Output)?;
        return Ok(Exit::Success);
    }
    if names.is_empty() && !default {
        context.reporter.error("No components defined.");
        return Ok(Exit::Success);
    }
    let columns = [
        Column::left("ENABLED"),
        Column::left("SUGGESTED"),
        Column::left("COMPONENT"),
        Column::left("DESCRIPTION"),
        Column::left("DOCUMENTATION"),
    ];
    let mut rows = Vec::new();
    if default {
        rows.push(
            ["-", "-", "<default>", "Default Component", "-"]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    for name in &names {
        let loaded = loader.load(name, context.reporter);
        match loaded
            .and_then(|component| Ok((component, loader.settings(name, &Silent)?.suggestion)))
        {
            Ok((component, suggestion)) => {
                let documentation = component.documentation.join(" ");
                rows.push(vec![
                    tick(context.settings.glyphs, component.enabled),
                    context
                        .suggests(&suggestion)
                        .map_or_else(|_| "-".to_owned(), |yes| tick(context.settings.glyphs, yes)),
                    name.to_string(),
                    or_dash(component.description.unwrap_or_default()),
                    or_dash(documentation),
                ]);
            }
            // compat: a component that cannot be read is left out, and the exit status stays 0.
            Err(error) => context.complain(&definition(error)),
        }
    }
    output::print(&table::render(&columns, &rows, context.settings.legend))
        .map_err(Error::Output)?;
    Ok(Exit::Success)
}
