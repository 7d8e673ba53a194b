//! `enable-feature`, `disable-component` and their like: a drop-in that says so.

use std::path::Path;

use super::features::features;
use super::settings::{FeatureSelection, Selection};
use super::verb::Switch;
use super::{Context, Exit};
use crate::definition::{ComponentName, ComponentNameError};
use crate::error::Error;
use crate::event::Silent;
use crate::session::SessionError;
use crate::storage::atomic;

/// The drop-in's name; systemd-sysupdate writes the same one.
const DROP_IN: &str = "50-systemd-sysupdate-enabled.conf";

pub(super) fn run(context: &Context<'_>, switch: Switch, names: &[String]) -> Result<Exit, Error> {
    if switch.is_of_components() {
        components(context, switch, names)
    } else {
        features_of(context, switch, names)
    }
}

fn components(context: &Context<'_>, switch: Switch, names: &[String]) -> Result<Exit, Error> {
    let selection = &context.settings.selection;
    let is_default = *selection == Selection::One(ComponentName::Default);
    if !names.is_empty() && !is_default {
        return Err(refused(
            "Either specify component names as positional parameter or via \
             --component=/--component-all/--component-suggested, not both.",
        ));
    }
    let loader = context.session.loader;
    let known = loader.names().map_err(SessionError::from)?;
    let chosen: Vec<ComponentName> = match selection {
        Selection::All => known.clone(),
        Selection::Suggested => suggested_components(context, switch, &known),
        Selection::One(name) if !is_default => vec![name.clone()],
        Selection::One(_) if names.is_empty() => return Err(refused("No component specified.")),
        Selection::One(_) => names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, ComponentNameError>>()
            .map_err(|error| Error::Request(error.to_string()))?,
    };
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        return Err(refused(&format!("Component not found: {unknown}")));
    }
    if chosen.is_empty() {
        context.say("No components selected.");
    }
    for name in &chosen {
        let directory = format!("/etc/sysupdate.{name}.component.d");
        write(context, switch, &directory, "Component")?;
        context.say(&format!("Component '{name}' {}.", done(switch)));
    }
    Ok(Exit::Success)
}

fn suggested_components(
    context: &Context<'_>,
    switch: Switch,
    known: &[ComponentName],
) -> Vec<ComponentName> {
    let mut chosen = Vec::new();
    for name in known {
        let loader = context.session.loader;
        let settings = loader
            .load(name, &Silent)
            .and_then(|_| loader.settings(name, &Silent));
        let suggestion = match settings {
            Ok(settings) => settings.suggestion,
            Err(error) => {
                context.complain(&SessionError::from(error).into());
                continue;
            }
        };
        match context.suggests(&suggestion) {
            Ok(true) => {
                context.say(&format!("{} '{name}'.", doing(switch)));
                chosen.push(name.clone());
            }
            Ok(false) => {}
            Err(error) => context.warn(&format!(
                "Failed to determine whether '{name}' is suggested, skipping: {error}"
            )),
        }
    }
    chosen
}

fn features_of(context: &Context<'_>, switch: Switch, names: &[String]) -> Result<Exit, Error> {
    let by_option = context.settings.features != FeatureSelection::Named;
    if names.is_empty() != by_option {
        return Err(refused(
            "Either specify features as positional parameter or via --feature-all/--feature-suggested, not both.",
        ));
    }
    for name in names {
        let is_file_name = !name.is_empty()
            && name.len() <= 255
            && !name.contains('/')
            && !matches!(name.as_str(), "." | "..");
        if !is_file_name || name.chars().any(|sign| sign.is_ascii_control()) {
            return Err(refused(&format!("Feature name invalid: {name}")));
        }
    }
    let mut failed = false;
    for component in components_with_features(context)? {
        match in_component(context, switch, names, &component) {
            Ok(()) => {}
            Err(error) => {
                context.complain(&error);
                failed = true;
            }
        }
    }
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

/// Whose features are switched. Of all components, the default one only where it has a transfer.
fn components_with_features(context: &Context<'_>) -> Result<Vec<ComponentName>, Error> {
    let loader = context.session.loader;
    match &context.settings.selection {
        Selection::One(name) => Ok(vec![name.clone()]),
        Selection::All | Selection::Suggested => {
            let default = loader
                .has_default(context.reporter)
                .map_err(SessionError::from)?;
            let named = loader.names().map_err(SessionError::from)?;
            Ok(default
                .then_some(ComponentName::Default)
                .into_iter()
                .chain(named)
                .collect())
        }
    }
}

fn in_component(
    context: &Context<'_>,
    switch: Switch,
    names: &[String],
    component: &ComponentName,
) -> Result<(), Error> {
    let known = features(context, component)?;
    let chosen: Vec<&str> = match context.settings.features {
        FeatureSelection::Named => names.iter().map(String::as_str).collect(),
        FeatureSelection::All => known.iter().map(|feature| feature.id.as_str()).collect(),
        FeatureSelection::Suggested => {
            let mut chosen = Vec::new();
            for feature in &known {
                let id = feature.id.as_str();
                match context.suggests(&feature.suggestion) {
                    Ok(true) => {
                        context.say(&format!(
                            "{} feature '{id}' of component '{component}'.",
                            doing(switch)
                        ));
                        chosen.push(id);
                    }
                    Ok(false) => {}
                    Err(error) => context.warn(&format!(
                        "Failed to determine if feature '{id}' of component '{component}' is suggested, skipping: {error}"
                    )),
                }
            }
            chosen
        }
    };
    for id in chosen {
        if known.iter().all(|feature| feature.id != id) {
            return Err(refused(&format!(
                "Optional feature not found in component '{component}': {id}"
            )));
        }
        let set = match component {
            ComponentName::Default => "sysupdate.d".to_owned(),
            ComponentName::Named(name) => format!("sysupdate.{name}.d"),
        };
        let directory = format!("/etc/{set}/{id}.feature.d");
        write(context, switch, &directory, "Feature")?;
        context.say(&format!("Feature '{id}' {}.", done(switch)));
    }
    Ok(())
}

fn write(
    context: &Context<'_>,
    switch: Switch,
    directory: &str,
    section: &str,
) -> Result<(), Error> {
    let verb = switch.name();
    let value = if switch.enables() { "yes" } else { "no" };
    // compat: the original's words, so that files of both tools are the same.
    let text =
        format!("# Generated via 'systemd-sysupdate {verb}'\n\n[{section}]\nEnabled={value}\n");
    atomic::write(
        context.root,
        &Path::new(directory).join(DROP_IN),
        text.as_bytes(),
        0o644,
    )
    .map_err(Error::DropIn)
}

fn doing(switch: Switch) -> &'static str {
    if switch.enables() {
        "Enabling"
    } else {
        "Disabling"
    }
}

fn done(switch: Switch) -> &'static str {
    if switch.enables() {
        "enabled"
    } else {
        "disabled"
    }
}

fn refused(text: &str) -> Error {
    Error::Request(text.to_owned())
}
