//! What fits which operating system: `gate` for the next one, `select` for the one that has booted.

use super::transaction::{Purpose, Transaction};
use super::update::load_all;
use super::{Context, Exit, Verb};
use crate::definition::Component;
use crate::error::Error;
use crate::extension::ExtensionKind;
use crate::plan::{Goal, Reach, Request};
use crate::resolve::Resolution;

/// Acquires what the next operating system needs; fails, with the list, while an extension has no image that fits it.
pub(super) fn gate(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let (components, broken) = load_all(context)?;
    let extensions: Vec<Component> = components.into_iter().filter(is_extension).collect();
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    if broken {
        transaction.tally.fail();
    }
    let request = Request {
        version: None,
        goal: Goal::Acquire,
        reach: context.settings.reach,
        instances_max: context.settings.instances_max,
    };
    let missing: Vec<Component> = extensions
        .iter()
        .filter(|component| !matches!(here(context, component), Ok(Some(_))))
        .cloned()
        .collect();
    transaction.update(missing, request);
    let mut lacking = Vec::new();
    for component in &extensions {
        match here(context, component) {
            Ok(Some(version)) => context.say(&format!("{}: {version} fits.", component.name)),
            Ok(None) => lacking.push(component.name.to_string()),
            Err(error) => transaction.told(&component.name, &error),
        }
    }
    if !lacking.is_empty() {
        context.reporter.error(&format!(
            "No image that fits is here for: {}.",
            lacking.join(", ")
        ));
        context.reporter.error(
            "hint: `sysupdate list --why --for-os-release=FILE` shows why each version does not fit",
        );
        return Ok(Exit::Failure);
    }
    Ok(transaction.tally.exit())
}

/// The newest version that is here whole, installed or acquired, and fits.
fn here(context: &Context<'_>, component: &Component) -> Result<Option<String>, Error> {
    let surveyed = context
        .session
        .survey_all_fitting(component.clone(), Reach::Offline)?;
    let resolution = surveyed.resolve();
    let fits = |resolution: &Resolution<'_>| {
        resolution
            .sets
            .iter()
            .find(|set| {
                set.is_usable() && set.is_installed() && !set.is_incomplete() && !set.is_partial()
            })
            .map(|set| set.version.to_string())
    };
    Ok(fits(&resolution))
}

fn is_extension(component: &Component) -> bool {
    component.transfers.iter().any(|transfer| {
        let own = transfer.target();
        let among = own.place.directory().map(|directory| directory.join("x"));
        transfer.enabled
            && [own.link(), among]
                .into_iter()
                .flatten()
                .any(|path| ExtensionKind::of_path(&path).is_some())
    })
}

/// Early at a boot: takes back what two boots did not confirm, then lets each link lead to the newest installed version
/// that fits the system that has booted.
pub(super) fn select(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    transaction.at_boot();
    let (components, broken) = load_all(context)?;
    if broken {
        transaction.tally.fail();
    }
    transaction.touch_files_only();
    let request = Request {
        version: None,
        goal: Goal::Relink,
        reach: Reach::Offline,
        instances_max: context.settings.instances_max,
    };
    transaction.update(components, request);
    Ok(transaction.tally.exit())
}

/// For the error of a call without the file.
pub(super) fn os_release_missing() -> super::UsageError {
    super::UsageError::new(
        "gate: --for-os-release=FILE is missing.\nhint: give the os-release file of the next operating system",
    )
}
