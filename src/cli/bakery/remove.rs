//! `remove`: takes extensions away, with their units, images and definitions.

use std::path::{Path, PathBuf};

use super::super::transaction::{Scope, in_use};
use super::super::{Context, Exit, Verb};
use super::{confirmed, definition_path};
use crate::activate::dbus::SystemBus;
use crate::activate::system::SystemManager as _;
use crate::activate::{self, ActivateError, effects};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::extension::ExtensionKind;
use crate::install::cleanup::Emptied;
use crate::install::{InstallError, choice, cleanup, database, marks, owed, vacuum};
use crate::inventory::Instance;
use crate::plan::Reach;
use crate::session::{Requirement, SessionError, Surveyed};
use crate::storage::atomic;

/// One extension that goes.
enum Doomed {
    Defined(Box<Defined>),
    /// Files of one whose definition is gone: a removal that was cut off, or one that kept the images.
    Remains(ComponentName),
}

struct Defined {
    name: ComponentName,
    definition: PathBuf,
    surveyed: Surveyed,
}

/// Takes the extensions away, after a look at the list.
pub(in super::super) fn remove(
    context: &Context<'_>,
    verb: &Verb,
    names: &[String],
) -> Result<Exit, Error> {
    let doomed: Vec<Doomed> = names
        .iter()
        .map(|name| look(context, name))
        .collect::<Result<_, _>>()?;
    for one in &doomed {
        for line in lines(context, one) {
            context.say(&line);
        }
    }
    let refusal = "Not removed without a word: call again with --yes.";
    if !confirmed(context, refusal, "Remove all of this? [y/N] ")? {
        context.say("Nothing was removed.");
        return Ok(Exit::Failure);
    }
    let _lock = context.lock(verb)?;
    for one in &doomed {
        let name = match one {
            Doomed::Defined(defined) => {
                take_away(context, defined)?;
                &defined.name
            }
            Doomed::Remains(name) => {
                cleanup::run(&context.executor, name, None, Emptied::Goes)?;
                name
            }
        };
        forget(context, name)?;
        context.say(&format!("Removed '{name}'."));
    }
    Ok(Exit::Success)
}

/// What is defined under this name; only a definition of the operator's own can go.
fn look(context: &Context<'_>, name: &str) -> Result<Doomed, Error> {
    let name: ComponentName = name
        .parse()
        .map_err(|error| Error::Request(format!("{error}")))?;
    let definition = definition_path(&name.to_string());
    let known = context.session.loader.names().map_err(SessionError::from)?;
    if !known.contains(&name) && !database::records(context.root, &name).is_empty() {
        return Ok(Doomed::Remains(name));
    }
    let component: Component = context.session.load(&name, Requirement::AnyTransfer)?;
    if context.root.stat(&definition).is_err() {
        let file = component.transfers[0].file.display().to_string();
        return Err(Error::Request(format!(
            "'{name}' is defined by '{file}', which was not written by `sysupdate add`; nothing was removed. Delete the \
             definition, then `sysupdate -C {name} cleanup` removes what it has installed."
        )));
    }
    let surveyed = context.session.survey(component, Reach::Offline)?;
    Ok(Doomed::Defined(Box::new(Defined {
        name,
        definition,
        surveyed,
    })))
}

/// What goes, a line each.
fn lines(context: &Context<'_>, doomed: &Doomed) -> Vec<String> {
    let outer = |path: &Path| context.root.outer(path).display().to_string();
    let doomed = match doomed {
        Doomed::Defined(doomed) => doomed,
        Doomed::Remains(name) => {
            let mut lines = vec![format!(
                "'{name}' is defined no more, what is left of it goes:"
            )];
            for record in database::records(context.root, name) {
                lines.push(format!(
                    "  '{}' in {}",
                    record.pattern,
                    outer(&record.directory)
                ));
            }
            return lines;
        }
    };
    let mut lines = vec![format!("'{}' goes:", doomed.name)];
    lines.push(format!("  definition {}", outer(&doomed.definition)));
    for inventory in &doomed.surveyed.inventories {
        if let Some(link) = &inventory.link {
            lines.push(format!("  link {}", outer(&link.path)));
        }
        if !context.settings.bakery.keep_images {
            let paths = inventory.installed.iter().filter_map(Instance::path);
            lines.extend(paths.map(|path| format!("  image {}", outer(path))));
        }
    }
    lines
}

/// First the link and the merge, then what still runs, then the files. The definition goes before the images: a run that is
/// killed in between leaves files that `cleanup` knows, and so does the next call of this one.
fn take_away(context: &Context<'_>, doomed: &Defined) -> Result<(), Error> {
    let root = context.root;
    let bus = match Scope::of(context) {
        Scope::Running => Some(SystemBus::new().map_err(ActivateError::Bus)?),
        Scope::FilesOnly => None,
    };
    let units = units(context, &doomed.surveyed);
    let mut kinds = Vec::new();
    for inventory in &doomed.surveyed.inventories {
        let Some(link) = &inventory.link else {
            continue;
        };
        if let Some(kind) = ExtensionKind::of_path(&link.path) {
            kinds.push(kind);
        }
    }
    for inventory in &doomed.surveyed.inventories {
        if let Some(link) = &inventory.link
            && matches!(root.read_link(&link.path), Ok(Some(_)))
        {
            remove_file(context, &link.path)?;
        }
    }
    if let Some(bus) = &bus {
        let plan = activate::ActivationPlan {
            merge: kinds.into_iter().collect(),
            ..activate::ActivationPlan::default()
        };
        activate::activate(&plan, bus, context.reporter)?;
    }
    // Not before: what `Upholds=` of the extension wants would be started again at once.
    if let Some(bus) = &bus {
        for unit in &units {
            if bus.is_active(unit).unwrap_or(false) {
                context.say(&format!("Stopping '{unit}'."));
                if let Err(error) = bus.stop(unit) {
                    context.warn(&format!("'{unit}' cannot be stopped: {error}"));
                }
            }
        }
    }
    remove_file(context, &doomed.definition)?;
    if !context.settings.bakery.keep_images {
        for (transfer, inventory) in doomed.surveyed.transfers() {
            for instance in &inventory.installed {
                let slot = instance.slot().map(|slot| slot.number);
                if let Some(path) = instance.path() {
                    vacuum::discard(&context.executor, transfer, path, slot)
                        .map_err(InstallError::from)?;
                }
            }
        }
        cleanup::run(&context.executor, &doomed.name, None, Emptied::Goes)?;
    }
    Ok(())
}

/// What the program remembers of a component.
fn forget(context: &Context<'_>, name: &ComponentName) -> Result<(), Error> {
    let (root, durability) = (context.root, context.executor.durability);
    let key = context.session.loader.key(name);
    choice::clear(root, &key, durability).map_err(Error::DropIn)?;
    owed::clear(root, &key, durability).map_err(Error::DropIn)?;
    marks::change(root, &key, |marks| {
        *marks = crate::resolve::Marks::default();
    })
    .map_err(SessionError::from)?;
    Ok(())
}

/// The units that the version in use ships.
fn units(context: &Context<'_>, surveyed: &Surveyed) -> Vec<String> {
    let resolution = surveyed.resolve();
    let Some(current) = in_use(&resolution) else {
        return Vec::new();
    };
    let facts = context.session.facts_of(&resolution, current.version);
    facts
        .values()
        .flat_map(|facts| effects::own_units(&facts.units))
        .collect()
}

fn remove_file(context: &Context<'_>, path: &Path) -> Result<(), Error> {
    atomic::remove_file_and_empty_parents(
        context.root,
        path,
        path.parent().unwrap_or(Path::new("/")),
        context.executor.durability,
    )
    .map_err(Error::DropIn)
}
