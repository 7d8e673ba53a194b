//! `search`, `add`, `remove`, `import`: extensions of a bakery, from what it offers to a definition and back.

mod add;
mod import;
mod remove;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit};
use crate::catalog::Catalog;
use crate::definition::ComponentName;
use crate::error::Error;
use crate::session::SessionError;
use crate::storage::atomic;

pub(super) use add::add;
pub(super) use import::import;
pub(super) use remove::remove;

/// The bakery that is asked when nobody says which: that of the Flatcar community.
const BAKERY: &str = "https://extensions.flatcar.org/extensions";

/// Where the operator's own definitions lie.
const DIRECTORY: &str = "/etc/sysupdate/transfer.d";
/// A jump of the minor version is no update for these: their clusters have to be led through it.
const SERIES: [&str; 3] = ["kubernetes", "k3s", "rke2"];

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

/// The path of the definition of a component that is the operator's own.
fn definition_path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.toml"))
}

/// Writes a file that must be new.
fn write(context: &Context<'_>, path: &Path, content: &[u8]) -> Result<(), Error> {
    if context.root.read_link(path).is_ok() {
        return Err(Error::Request(format!(
            "'{}' exists already and is left alone; move it away first.",
            context.root.outer(path).display()
        )));
    }
    atomic::write(context.root, path, content, 0o644).map_err(Error::DropIn)
}

/// Asks on the terminal, unless the answer was given before; where nobody can answer it is an error.
fn confirmed(context: &Context<'_>, refusal: &str, question: &str) -> Result<bool, Error> {
    let request = &context.settings.bakery;
    if request.yes {
        return Ok(true);
    }
    if !request.answers {
        return Err(Error::Request(refusal.to_owned()));
    }
    let answer = output::ask(question).map_err(Error::Output)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(sign);
            }
            sign if sign.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(sign));
            }
            sign => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
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
