//! `import`: what was set up by hand for systemd-sysupdate gets definitions of this program's own form.
//!
//! First a look at definitions, links and units, then a list, then a word, then one file per component. Nothing of
//! anybody else's is changed or removed: what is superfluous afterwards is told with the commands that remove it.

mod look;
mod text;
mod units;

use std::path::{Path, PathBuf};

use super::super::transaction::in_use;
use super::super::{Context, Exit, Verb};
use super::{DIRECTORY, confirmed, definition_path};
use crate::definition::transfer::{ActivationMode, Located, Transfer};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::event::Silent;
use crate::plan::Reach;
use crate::session::SessionError;
use crate::storage::atomic;
use crate::version::Version;
use look::Found;
use units::HandWritten;

/// One component that gets a native definition.
struct Adoption {
    name: ComponentName,
    /// Where its definition will lie: an inner path.
    path: PathBuf,
    text: String,
    /// What the definition is made of, for the list.
    origin: String,
    /// The transfer that it must mean, where there is one to compare with.
    original: Option<Transfer>,
    /// The file that the link leads to: an inner path.
    image: Option<PathBuf>,
    /// The link: an inner path.
    link: Option<PathBuf>,
    /// The drop-in that asked for reboots: an inner path.
    reboots: Option<PathBuf>,
}

/// Writes native definitions for what was set up by hand, after a look at the list.
pub(in super::super) fn import(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let units = HandWritten::read(context.root);
    let Found {
        adoptions,
        left,
        is_complete,
    } = look::look(context, &units)?;
    for line in adoptions.iter().flat_map(|one| lines(context, one)) {
        context.say(&line);
    }
    for line in &left {
        context.say(line);
    }
    if adoptions.is_empty() {
        context.say("There is nothing to import.");
    } else {
        let refusal = "Not imported without a word: call again with --yes.";
        if !confirmed(context, refusal, "Write these definitions? [y/N] ")? {
            context.say("Nothing was imported.");
            return Ok(Exit::Failure);
        }
        let _lock = context.lock(verb)?;
        for one in &adoptions {
            adopt(context, one)?;
        }
    }
    let superfluous = superfluous(context, &units)?;
    if !superfluous.is_empty() {
        context.say("Superfluous now; nothing of it was changed. These commands take it away:");
        for line in superfluous {
            context.say(&format!("  {line}"));
        }
    }
    Ok(if is_complete {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// What is written, a line each.
fn lines(context: &Context<'_>, one: &Adoption) -> Vec<String> {
    let outer = |path: &Path| context.root.outer(path).display().to_string();
    let mut lines = vec![format!("'{}' is imported from {}:", one.name, one.origin)];
    lines.push(format!("  definition {}", outer(&one.path)));
    if let Some(link) = &one.link {
        lines.push(format!("  link {}", outer(link)));
    }
    if let Some(image) = &one.image {
        lines.push(format!("  image {}, which is installed", outer(image)));
    }
    if let Some(drop_in) = &one.reboots {
        lines.push(format!(
            "  updates wait for a reboot, as '{}' had it",
            outer(drop_in)
        ));
    }
    lines
}

/// Writes a definition, and sees whether it means what it was made of.
fn adopt(context: &Context<'_>, one: &Adoption) -> Result<(), Error> {
    super::write(context, &one.path, one.text.as_bytes())?;
    match read_back(context, one) {
        Ok(installed) => {
            let installed = installed.map_or_else(
                || "nothing of it is installed".to_owned(),
                |version| format!("version {version} is installed"),
            );
            context.say(&format!("Imported '{}': {installed}.", one.name));
            Ok(())
        }
        Err(error) => {
            let _ = atomic::remove_file_and_empty_parents(
                context.root,
                &one.path,
                Path::new(DIRECTORY),
                context.executor.durability,
            );
            Err(error)
        }
    }
}

/// The version that is in use by the new definition.
fn read_back(context: &Context<'_>, one: &Adoption) -> Result<Option<String>, Error> {
    let component = context
        .session
        .loader
        .load(&one.name, &Silent)
        .map_err(SessionError::from)?;
    let is_same = match (&one.original, &component.transfers[..]) {
        (Some(original), [transfer]) => means_the_same(original, transfer),
        (None, [_]) => true,
        _ => false,
    };
    if !is_same {
        return Err(Error::Request(format!(
            "'{}' was not imported: its definition says what the other form cannot. It is read as it is.",
            one.name
        )));
    }
    in_use_of(context, component)
}

/// The version of a component that is in use, without asking any server.
fn in_use_of(context: &Context<'_>, component: Component) -> Result<Option<String>, Error> {
    let surveyed = context
        .session
        .survey_all_fitting(component, Reach::Offline)?;
    let resolution = surveyed.resolve();
    Ok(in_use(&resolution).map(|set| set.version.to_string()))
}

/// Whether two transfers take the same to the same place. Where a setting stands does not count, nor does what `import`
/// itself adds: how updates take effect.
fn means_the_same(one: &Transfer, two: &Transfer) -> bool {
    let said = |transfer: &Transfer| {
        let version = |at: &Option<Located<Version>>| at.as_ref().map(|at| at.value.clone());
        let skip: Vec<_> = transfer.skip.iter().map(|at| at.value.clone()).collect();
        let route = format!("{:?}", transfer.route);
        let versions = (
            version(&transfer.min_version),
            version(&transfer.max_version),
            transfer.range.as_ref().map(|at| at.value.clone()),
            skip,
            transfer.protected.clone(),
        );
        let trust = (transfer.verification, transfer.authentication.clone());
        let activation = (
            transfer.activation.restart.clone(),
            transfer.activation.reload.clone(),
        );
        (route, versions, trust, transfer.instances_max, activation)
    };
    let modes = (one.activation.mode, two.activation.mode);
    let mode_fits = modes.0 == modes.1 || modes == (ActivationMode::Auto, ActivationMode::Reboot);
    said(one) == said(two) && mode_fits
}

/// The commands that take away what nobody needs any more.
fn superfluous(context: &Context<'_>, units: &HandWritten) -> Result<Vec<String>, Error> {
    let root = context.root;
    let loader = context.session.loader;
    let mut commands = Vec::new();
    let mut defined = Vec::new();
    for name in loader.names().map_err(SessionError::from)? {
        let Ok(component) = loader.load(&name, &Silent) else {
            continue;
        };
        if component.transfers.is_empty() {
            continue;
        }
        if loader.native(&name).ok().flatten().is_some() {
            // It loads, so the native file stands in for all of them.
            let files = loader.files(&name).unwrap_or_default();
            let own: Vec<PathBuf> = files
                .into_iter()
                .filter(|file| file.starts_with("/etc"))
                .collect();
            if !own.is_empty() {
                commands.push(removal(context, &own));
                // Drop-ins lie deeper than what they add to.
                let mut directories: Vec<PathBuf> = own
                    .iter()
                    .filter_map(|file| file.parent().map(Path::to_path_buf))
                    .collect();
                directories.sort_by(|one, two| two.cmp(one));
                directories.dedup();
                commands.push(format!(
                    "rmdir --ignore-fail-on-non-empty {}",
                    words(context, &directories)
                ));
            }
        }
        defined.push(name.to_string());
    }
    if !defined.is_empty() {
        let noop: Vec<PathBuf> = ["noop.conf", "noop.transfer"]
            .iter()
            .map(|name| Path::new("/etc/sysupdate.d").join(name))
            .filter(|path| root.stat(path).is_ok())
            .collect();
        if !noop.is_empty() {
            commands.push(removal(context, &noop));
        }
        commands.extend(units.superfluous(context, &defined));
    }
    Ok(commands)
}

/// `rm` of these inner paths.
fn removal(context: &Context<'_>, paths: &[PathBuf]) -> String {
    format!("rm {}", words(context, paths))
}

/// The outer paths as words of a shell.
fn words(context: &Context<'_>, paths: &[PathBuf]) -> String {
    let words = paths.iter().map(|path| {
        let text = context.root.outer(path).display().to_string();
        let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "/._+-@:=".contains(sign);
        if text.chars().all(is_plain) {
            text
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Where the link of a transfer stands, if it has one.
fn link_of(context: &Context<'_>, transfer: &Transfer) -> Option<PathBuf> {
    let link = crate::inventory::link::examine(context.root, transfer.target());
    link.ok().flatten().map(|link| link.path)
}

/// The path of a component's native definition.
fn place(name: &ComponentName) -> PathBuf {
    definition_path(&name.to_string())
}
