//! `features`: the optional features of a component, and one in full.

use std::fmt::Write as _;

use serde::Serialize;

use super::output::glyphs::Glyphs;
use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::settings::Legend;
use super::{Context, Exit};
use crate::definition::{Component, ComponentName, Feature};
use crate::error::Error;
use crate::session::{Requirement, SessionError};
use crate::suggest::SuggestError;

#[derive(Serialize)]
struct View {
    features: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    documentation: &'a [String],
    #[serde(rename = "appStream", skip_serializing_if = "Option::is_none")]
    appstream: Option<&'a str>,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggested: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transfers: Vec<&'a str>,
}

pub(super) fn run(context: &Context<'_>, id: Option<&str>) -> Result<Exit, Error> {
    let name = context.one()?;
    let component = context.session.load(&name, Requirement::AnyTransfer)?;
    let features = features(context, &name)?;
    match id {
        None => overview(context, &features),
        Some(id) => {
            let feature = features
                .iter()
                .find(|feature| feature.id == id)
                .ok_or_else(|| Error::Request(format!("Optional feature not found: {id}")))?;
            detail(context, &component, feature)
        }
    }
}

/// The features of a component, sorted by id.
pub(super) fn features(context: &Context<'_>, name: &ComponentName) -> Result<Vec<Feature>, Error> {
    let loader = context.session.loader;
    let mut features = loader
        .features(name, context.reporter)
        .map_err(SessionError::from)?;
    features.sort_by(|one, two| one.id.cmp(&two.id));
    Ok(features)
}

fn overview(context: &Context<'_>, features: &[Feature]) -> Result<Exit, Error> {
    if context.settings.json != JsonFormat::Off {
        let view = View {
            features: features.iter().map(|feature| feature.id.clone()).collect(),
        };
        return json::text(context.settings.json, &view)
            .and_then(|text| output::print(&text))
            .map(|()| Exit::Success)
            .map_err(Error::Output);
    }
    let columns = [
        Column::left("ENABLED"),
        Column::left("SUGGESTED"),
        Column::left("FEATURE"),
        Column::left("DESCRIPTION"),
        Column::left("DOCUMENTATION"),
    ];
    let rows: Vec<Vec<String>> = features
        .iter()
        .map(|feature| {
            let suggested = context.suggests(&feature.suggestion);
            vec![
                tick(context.settings.glyphs, feature.enabled),
                suggested.map_or_else(|_| "-".to_owned(), |yes| tick(context.settings.glyphs, yes)),
                feature.id.clone(),
                or_dash(feature.description.clone().unwrap_or_default()),
                or_dash(feature.documentation.join(" ")),
            ]
        })
        .collect();
    let legend = context.settings.legend;
    let mut text = table::render(&columns, &rows, legend);
    match (legend, features.len()) {
        (Legend::Hidden, _) => {}
        (Legend::Shown, 0) => context.reporter.error("No features."),
        (Legend::Shown, count) => {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n{count} features listed.");
        }
    }
    output::print(&text).map_err(Error::Output)?;
    Ok(Exit::Success)
}

fn detail(context: &Context<'_>, component: &Component, feature: &Feature) -> Result<Exit, Error> {
    let suggested = context.suggests(&feature.suggestion);
    let names = |list: &[String]| list.contains(&feature.id);
    let transfers: Vec<&str> = component
        .transfers
        .iter()
        .filter(|transfer| names(&transfer.features) || names(&transfer.requisite_features))
        .map(|transfer| transfer.id.as_str())
        .collect();
    let text = match context.settings.json {
        JsonFormat::Off => Ok(vertical(context, feature, &suggested, &transfers)),
        format => json::text(
            format,
            &Detail {
                id: &feature.id,
                description: feature.description.as_deref(),
                documentation: &feature.documentation,
                appstream: feature.appstream.as_deref(),
                enabled: feature.enabled,
                suggested: suggested.ok(),
                transfers,
            },
        ),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(Exit::Success)
}

fn vertical(
    context: &Context<'_>,
    feature: &Feature,
    suggested: &Result<bool, SuggestError>,
    transfers: &[&str],
) -> String {
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let suggested = match suggested {
        Ok(suggested) => word(*suggested),
        Err(error) => format!("error ({error})"),
    };
    let rows = [
        ("Name:", Some(feature.id.clone())),
        ("Enabled:", Some(word(feature.enabled))),
        ("Suggested:", Some(suggested)),
        ("Description:", feature.description.clone()),
        (
            "Documentation:",
            Some(feature.documentation.join(" ")).filter(|text| !text.is_empty()),
        ),
        ("AppStream:", feature.appstream.clone()),
        (
            "Transfers:",
            Some(transfers.join(" ")).filter(|text| !text.is_empty()),
        ),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .filter_map(|(key, value)| Some(vec![key.to_owned(), value?]))
        .collect();
    let columns = [Column::right("KEY"), Column::left("VALUE")];
    table::render(&columns, &rows, context.settings.legend)
}

/// A yes or no in a table.
pub(super) fn tick(glyphs: Glyphs, yes: bool) -> String {
    if yes { glyphs.yes() } else { glyphs.no() }.to_owned()
}

/// A cell that has something in it.
pub(super) fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
