//! `search`, `add`, `remove`: extensions of a bakery, from what it offers to a definition and back.

mod add;
mod remove;

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit};
use crate::catalog::Catalog;
use crate::definition::ComponentName;
use crate::error::Error;
use crate::session::SessionError;

pub(super) use add::add;
pub(super) use remove::remove;

/// The bakery that is asked when nobody says which: that of the Flatcar community.
const BAKERY: &str = "https://extensions.flatcar.org/extensions";

#[derive(Serialize)]
struct Row {
    name: String,
    /// The newest version for this architecture.
    newest: Option<String>,
    versions: usize,
    /// Whether a component of that name is defined.
    defined: bool,
    /// Where there are images for, when there is none for this architecture.
    elsewhere: Vec<String>,
}

/// What a bakery offers.
pub(super) fn search(context: &Context<'_>, word: Option<&str>) -> Result<Exit, Error> {
    let url = url(context)?;
    let catalog = context.session.catalog(&url)?;
    let defined = context.session.loader.names().map_err(SessionError::from)?;
    let rows: Vec<Row> = catalog
        .matching(word.unwrap_or_default())
        .map(|(name, offer)| Row {
            name: name.to_owned(),
            newest: offer.versions.first().map(ToString::to_string),
            versions: offer.versions.len(),
            defined: defined.contains(&ComponentName::Named(name.to_owned())),
            elsewhere: if offer.versions.is_empty() {
                offer.elsewhere.clone()
            } else {
                Vec::new()
            },
        })
        .collect();
    let nothing = rows.is_empty();
    let text = match context.settings.json {
        JsonFormat::Off => Ok(render(context, &rows)),
        format => json::text(format, &rows),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    if nothing {
        let what = word.map_or_else(String::new, |word| format!(" whose name contains '{word}'"));
        context
            .reporter
            .error(&format!("'{url}' offers nothing{what}."));
        return Ok(Exit::Failure);
    }
    Ok(Exit::Success)
}

fn render(context: &Context<'_>, rows: &[Row]) -> String {
    let columns = [
        Column::left("NAME"),
        Column::left("NEWEST"),
        Column::right("VERSIONS"),
        Column::left("DEFINED"),
    ];
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                row.newest
                    .clone()
                    .unwrap_or_else(|| format!("- (only for {})", row.elsewhere.join(", "))),
                row.versions.to_string(),
                if row.defined { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    if cells.is_empty() {
        return String::new();
    }
    table::render(&columns, &cells, context.settings.legend)
}

/// The versions of an extension that nobody has defined (`list NAME`), newest first; `None` when there is none by that name.
pub(super) fn versions(context: &Context<'_>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let catalog = context.session.catalog(&url(context)?)?;
    Ok(catalog.find(name).map(|offer| {
        let versions = offer.versions.iter();
        versions.map(ToString::to_string).collect()
    }))
}

/// The bakery's URL: that of `--from`, or the one that it names.
fn url(context: &Context<'_>) -> Result<String, Error> {
    let known = &context.config.bakeries;
    let named = |name: &str| {
        let bakery = known.iter().find(|bakery| bakery.value.name == name)?;
        Some(bakery.value.url.trim_end_matches('/').to_owned())
    };
    let Some(from) = &context.settings.bakery.from else {
        return Ok(named("default").unwrap_or_else(|| BAKERY.to_owned()));
    };
    if let Some(url) = named(from) {
        return Ok(url);
    }
    if ["http://", "https://", "file:///"]
        .iter()
        .any(|scheme| from.starts_with(scheme))
    {
        return Ok(from.trim_end_matches('/').to_owned());
    }
    let names: Vec<&str> = known
        .iter()
        .map(|bakery| bakery.value.name.as_str())
        .collect();
    Err(Error::Request(format!(
        "--from={from} is neither a URL nor a bakery of config.toml ([bakeries] has {}).",
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    )))
}

/// An extension that is not there, and what may have been meant.
fn unknown(catalog: &Catalog, url: &str, name: &str) -> Error {
    let near = catalog
        .near(name)
        .map_or_else(String::new, |near| format!(" Did you mean '{near}'?"));
    Error::Request(format!(
        "'{url}' offers no extension '{name}'.{near} `sysupdate search` shows all of them."
    ))
}
