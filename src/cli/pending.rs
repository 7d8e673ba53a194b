//! `pending`: whether a newer OS is installed than the one that is booted. `reboot`: into it.

use std::cmp::Ordering;
use std::path::Path;

use super::{Context, Exit};
use crate::activate::REBOOT_REQUIRED;
use crate::error::Error;
use crate::plan::Reach;
use crate::session::Requirement;
use crate::version::Version;

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Error> {
    Ok(match compare(context)? {
        Some(Ordering::Greater) => Exit::Success,
        _ => Exit::Failure,
    })
}

/// Reboots when that makes a difference.
pub(super) fn reboot(context: &Context<'_>) -> Result<Exit, Error> {
    if context.settings.required {
        return when_required(context);
    }
    match compare(context)? {
        None => return Ok(Exit::Failure),
        Some(Ordering::Greater) => now(context)?,
        Some(_) => {}
    }
    Ok(Exit::Success)
}

/// Reboots when something asked for it (`mode = "reboot"`, or whoever else has written the note), while the window is open.
fn when_required(context: &Context<'_>) -> Result<Exit, Error> {
    let Ok(note) = context.root.read(Path::new(REBOOT_REQUIRED), NOTE_LIMIT) else {
        context.say("Nothing waits for a reboot.");
        return Ok(Exit::Success);
    };
    for line in String::from_utf8_lossy(&note).lines() {
        context.say(line);
    }
    let window = context.config.reboot.window.as_ref();
    let moment = super::present().to_zoned(jiff::tz::TimeZone::system());
    if let Some(window) = window.filter(|window| !window.value.contains(&moment)) {
        context.say(&format!(
            "Not rebooting now: the window is {} ({}).",
            window.value, window.origin
        ));
        return Ok(Exit::Success);
    }
    self::now(context)?;
    Ok(Exit::Success)
}

/// The largest note, in bytes.
const NOTE_LIMIT: u64 = 1024 * 1024;

/// Reboots after an installation, if what was installed is newer than what is booted (`update --reboot`).
pub(super) fn after_update(context: &Context<'_>, installed: &Version) -> Result<(), Error> {
    if *installed > booted(context)? {
        context.say("Newly installed version is newer than booted version, rebooting.");
        now(context)
    } else {
        context.say("Newly installed version is not newer than booted version, not rebooting.");
        Ok(())
    }
}

/// Asks the service manager for a reboot.
pub(super) fn now(context: &Context<'_>) -> Result<(), Error> {
    context.say("Rebooting.");
    let outcome = crate::activate::ask("systemctl", &["reboot"]);
    match outcome {
        Ok(outcome) if outcome.code == Some(0) => Ok(()),
        Ok(outcome) => Err(Error::Request(format!(
            "Cannot reboot: 'systemctl reboot' failed with {}",
            outcome.summary()
        ))),
        Err(error) => Err(Error::Request(format!(
            "Cannot reboot: 'systemctl reboot' cannot be run: {error}"
        ))),
    }
}

/// How the newest installed version compares with the booted one; `None` when nothing is installed.
fn compare(context: &Context<'_>) -> Result<Option<Ordering>, Error> {
    let component = context
        .session
        .load(&context.one()?, Requirement::EnabledTransfer)?;
    let surveyed = context.session.survey(component, Reach::Offline)?;
    let resolution = surveyed.resolve();
    let mut installed = resolution.sets.iter().filter(|set| set.is_installed());
    let Some(newest) = installed.next().map(|set| set.version) else {
        context.say("Couldn't find any suitable installed versions.");
        return Ok(None);
    };
    let booted = booted(context)?;
    let ordering = newest.cmp(&booted);
    context.say(&match ordering {
        Ordering::Equal => {
            format!("Newest installed version '{newest}' matches booted version '{booted}'.")
        }
        Ordering::Greater => format!(
            "Newest installed version '{newest}' is newer than booted version '{booted}'. Reboot recommended."
        ),
        Ordering::Less => {
            format!("Newest installed version '{newest}' is older than booted version '{booted}'.")
        }
    });
    Ok(Some(ordering))
}

fn booted(context: &Context<'_>) -> Result<Version, Error> {
    let os = context.session.loader.host.os_release.as_ref();
    let version = os.and_then(|fields| fields.get("IMAGE_VERSION"));
    version
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::Request("/etc/os-release lacks IMAGE_VERSION= field.".to_owned()))
}
