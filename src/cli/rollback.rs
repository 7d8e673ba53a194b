//! `rollback`, `hold`, `unhold`, `activate`: the operator's word on what is installed.

use super::transaction::{Purpose, Transaction, in_use};
use super::update::load_all;
use super::{Context, Exit, Verb};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::event::chain;
use crate::install::choice;
use crate::install::history::{self, Entry, Happening};
use crate::install::marks::{self, MarksError};
use crate::inventory::Inventory;
use crate::plan::{Goal, PlanError, Reach, Request};
use crate::resolve::{Hold, MarkKind, Resolution};
use crate::session::SessionError;
use crate::version::Version;

/// The previous version again, at once, from what is on this host.
pub(super) fn run(
    context: &Context<'_>,
    verb: &Verb,
    version: Option<&str>,
) -> Result<Exit, Error> {
    let (components, broken) = load_all(context)?;
    let seen: Vec<_> = components
        .into_iter()
        .map(|component| {
            // Who names a version leaves no doubt.
            let before = version.is_none().then(|| used(context, &component));
            (before.flatten(), component)
        })
        .collect();
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Rollback)?;
    if broken {
        transaction.tally.fail();
    }
    transaction.resume();
    for (before, component) in seen {
        let name = component.name.clone();
        // A trial that failed, or another run, may have gone back while this one waited: twice is once too often.
        if let Some(before) = before
            && let Some(now) = used(context, &component)
            && now < before
        {
            context.say(&format!(
                "{name} has gone back from {before} to {now} in the meantime."
            ));
            continue;
        }
        match target(context, &component, version) {
            Ok(target) => {
                let request = Request {
                    version: Some(target.as_str()),
                    goal: Goal::Install,
                    reach: Reach::Offline,
                    instances_max: context.settings.instances_max,
                };
                transaction.update(vec![component], request);
            }
            Err(error) => transaction.told(&name, &error),
        }
    }
    Ok(transaction.tally.exit())
}

/// The version in use, as far as that can be seen.
fn used(context: &Context<'_>, component: &Component) -> Option<Version> {
    let surveyed = context.session.survey(component.clone(), Reach::Offline);
    let surveyed = surveyed.ok()?;
    in_use(&surveyed.resolve()).map(|set| set.version.clone())
}

/// The version to go back to: the one asked for, or the newest that is older than the one in use and may be used.
fn target(
    context: &Context<'_>,
    component: &Component,
    version: Option<&str>,
) -> Result<Version, Error> {
    let surveyed = context
        .session
        .survey_fitting(component.clone(), Reach::Offline, version)?;
    let resolution = surveyed.resolve();
    let has_link = |(_, inventory): &(_, &Inventory)| inventory.link.is_some();
    if !resolution.transfers.iter().any(has_link) {
        let component = component.name.to_string();
        return Err(PlanError::NoLink { component }.into());
    }
    if let Some(text) = version {
        let parsed: Option<Version> = text.parse().ok();
        let found = parsed.filter(|version| {
            resolution
                .find(version)
                .is_some_and(|index| resolution.sets[index].is_complete())
        });
        return found.ok_or_else(|| PlanError::NotFound(text.to_owned()).into());
    }
    previous(&resolution).cloned().ok_or_else(|| {
        PlanError::NothingOlder {
            component: component.name.to_string(),
        }
        .into()
    })
}

fn previous<'s>(resolution: &Resolution<'s>) -> Option<&'s Version> {
    let now = in_use(resolution)?.version;
    resolution
        .sets
        .iter()
        .find(|set| set.is_complete() && set.is_usable() && set.version < now)
        .map(|set| set.version)
}

/// Nothing newer from now on.
pub(super) fn hold(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let _lock = context.lock(verb)?;
    for name in named(context)? {
        let key = context.session.loader.key(&name);
        marks::change(context.root, &key, |marks| {
            marks.hold.get_or_insert_with(|| Hold {
                since: super::timestamp(),
            });
        })
        .map_err(SessionError::from)?;
        remember(context, &name, Happening::Held);
        context.say(&format!("{name} is held: nothing newer is installed."));
    }
    Ok(Exit::Success)
}

/// Lifts the hold, and forgets which versions were bad or gone back from.
pub(super) fn unhold(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let _lock = context.lock(verb)?;
    for name in named(context)? {
        let key = context.session.loader.key(&name);
        let before = marks::read(context.root, &key).map_err(SessionError::from)?;
        if before.is_empty() {
            context.say(&format!("{name} is not held."));
            continue;
        }
        let was_left = before
            .versions
            .iter()
            .any(|mark| mark.kind == MarkKind::Left);
        if was_left {
            // The older version was chosen along with the way back to it.
            choice::clear(context.root, &key, context.executor.durability)
                .map_err(|error| SessionError::from(MarksError::from(error)))?;
        }
        marks::change(context.root, &key, |marks| {
            *marks = crate::resolve::Marks::default();
        })
        .map_err(SessionError::from)?;
        remember(context, &name, Happening::Unheld);
        let versions: Vec<String> = before
            .versions
            .iter()
            .map(|mark| mark.version.to_string())
            .collect();
        context.say(&if versions.is_empty() {
            format!("{name} is no longer held.")
        } else {
            format!(
                "{name} is no longer held; {} may be installed again.",
                versions.join(", ")
            )
        });
    }
    Ok(Exit::Success)
}

/// The selected components, all of which must exist: holding a name with a typing error holds nothing.
fn named(context: &Context<'_>) -> Result<Vec<ComponentName>, Error> {
    let (components, _) = load_all(context)?;
    Ok(components
        .into_iter()
        .map(|component| component.name)
        .collect())
}

fn remember(context: &Context<'_>, name: &ComponentName, event: Happening) {
    let entry = Entry {
        time: super::timestamp(),
        component: super::plain_name(name),
        event,
        from: None,
        to: None,
        reason: None,
        log: Vec::new(),
        command: context.settings.command.clone(),
        user: context.settings.user.clone(),
        seconds: 0.0,
    };
    if let Err(error) = history::append(context.root, &[entry]) {
        context.say(&format!("The history is not written: {}", chain(&error)));
    }
}

/// What waits for the next boot takes effect now.
pub(super) fn activate(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    if !transaction.activate_staged()? {
        return Err(PlanError::NothingStaged.into());
    }
    Ok(transaction.tally.exit())
}

/// Ends what a boot or a crash has left on trial: for the boot unit, after everything has been started.
pub(super) fn settle(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    transaction.resume();
    Ok(transaction.tally.exit())
}
