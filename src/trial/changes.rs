//! What a trial changes on the running system: the merges, the units and why, and what is watched afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::activate::effects::{self, Contents, Effect, Files, ReleaseKeys, Touch};
use crate::activate::health::Watch;
use crate::activate::system::SystemManager;
use crate::activate::{self, ActivationPlan, Verb};
use crate::definition::transfer::Units;
use crate::extension::ExtensionKind;
use crate::image::{Facts, Image, Release, UnitFacts};
use crate::plan::document::{Forecast, UnitForecast};
use crate::root::Root;

use super::record::{Member, Part};

/// systemd honours the release file's wishes itself from this version on.
const KEEPS_WISHES: u32 = 262;

/// How long units that a definition names are watched where it does not say.
const CHECKED: Duration = Duration::from_secs(10);

/// How long the units that an image ships are watched where no definition asks for it: a program that cannot run at all
/// fails at once.
const SHIPPED: Duration = Duration::from_secs(2);

/// Which way a trial moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the new versions.
    Forward,
    /// To those before.
    Back,
}

/// All that follows the switch of some members.
#[derive(Debug)]
pub(super) struct Change {
    /// What is done.
    pub(super) plan: ActivationPlan,
    /// Units that the new versions do not ship any more: to be stopped once these stand.
    pub(super) gone: Vec<String>,
    /// The units of each member, by index.
    members: Vec<Own>,
    /// What asks for a unit to be touched, where that is an image.
    why: BTreeMap<String, String>,
}

/// The units of one member.
#[derive(Debug, Default)]
struct Own {
    /// Those that are restarted or reloaded.
    touched: BTreeSet<String>,
    /// Those that its image ships.
    shipped: BTreeSet<String>,
    /// Those that its image ships no more.
    gone: BTreeSet<String>,
}

/// What a host's images and service manager are asked with.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) root: &'a Root,
    pub(super) architecture: &'a str,
    pub(super) system: Option<&'a dyn SystemManager>,
    /// What is known of images that are not here yet, by transfer.
    pub(super) expected: Option<&'a BTreeMap<String, Facts>>,
}

impl Change {
    /// Decides what follows the switch of the members. Must be asked while both images are still where the record says.
    pub(super) fn of(look: Look<'_>, members: &[Member], direction: Direction) -> Self {
        let mut plan = plan_of(members, direction);
        let mut gone = Vec::new();
        let mut owns = Vec::new();
        let mut why = BTreeMap::new();
        let keys = release_keys(look);
        for member in members {
            let mut own = Own::default();
            own.shipped.extend(member.check.units.iter().cloned());
            for unit in named(member) {
                own.touched.insert(unit.clone());
            }
            for part in &member.parts {
                let Some(entry) = extension(part) else {
                    continue;
                };
                let (old, new) = images(look.root, part, direction);
                let old = old.and_then(|path| contents(look, path, &entry));
                let to_nothing = new.is_none();
                let new = new
                    .and_then(|path| contents(look, path, &entry))
                    .or_else(|| expected(look, part));
                if new.is_none() && !to_nothing {
                    // It is not here yet, or cannot be looked into: nothing says that it lacks what the old one ships.
                    if let Some(old) = &old {
                        own.shipped.extend(effects::own_units(&old.units));
                    }
                    continue;
                }
                if let Some(new) = &new {
                    own.shipped.extend(effects::own_units(&new.units));
                }
                for effect in effects::effects(old, new, keys) {
                    apply(look, member, &effect, &mut plan, &mut gone, &mut own);
                    why.entry(effect.unit).or_insert(effect.why);
                }
            }
            owns.push(own);
        }
        plan.reload
            .retain(|unit| !plan.restart.contains(unit) && !gone.contains(unit));
        for dependent in &mut plan.dependents {
            let owner = members
                .iter()
                .position(|member| member.name().to_string() == dependent.component);
            if let Some(owner) = owner {
                dependent.units = owns[owner].touched.iter().cloned().collect();
            }
        }
        Self {
            plan,
            gone,
            members: owns,
            why,
        }
    }

    /// Those units of the members that are up now: they have to be so again if the members go back.
    pub(super) fn up(&self, system: &dyn SystemManager) -> BTreeSet<String> {
        let all: BTreeSet<&String> = self
            .members
            .iter()
            .flat_map(|own| own.touched.iter().chain(&own.shipped))
            .chain(&self.gone)
            .collect();
        all.into_iter()
            .filter(|unit| !unit.contains("@.") && system.is_active(unit).unwrap_or(false))
            .cloned()
            .collect()
    }

    /// Lets the activation end with these units up, as far as the new versions ship them: one that is caught by the merge
    /// while it starts, its program being away for a moment, has failed for no fault of the version's.
    pub(super) fn keeping(mut self, up: &[String]) -> Self {
        self.plan.revive = up
            .iter()
            .filter(|unit| !self.gone.contains(unit) && !self.owners(unit).is_empty())
            .cloned()
            .collect();
        self
    }

    /// Lets the way back end with these units up, as far as they belong to the members.
    pub(super) fn reviving(mut self, up: &[String]) -> Self {
        self.plan.revive = up
            .iter()
            .filter(|unit| !self.owners(unit).is_empty() || self.gone.contains(unit))
            .cloned()
            .collect();
        self
    }

    /// The members (by index) that a unit belongs to.
    pub(super) fn owners(&self, unit: &str) -> Vec<usize> {
        let owns = |own: &Own| own.touched.contains(unit) || own.shipped.contains(unit);
        (0..self.members.len())
            .filter(|index| owns(&self.members[*index]))
            .collect()
    }

    /// The units that a member's new version does not ship any more, unless another member ships them now.
    pub(super) fn gone_of(&self, index: usize) -> Vec<String> {
        let gone = self.members[index].gone.iter();
        gone.filter(|unit| self.owners(unit).is_empty())
            .cloned()
            .collect()
    }

    /// What is watched of a member. What it ships is watched as far as it runs; a time is taken for that where the
    /// definition gives none.
    pub(super) fn watch(&self, index: usize, member: &Member, system: &dyn SystemManager) -> Watch {
        let own = &self.members[index];
        let required: BTreeSet<String> = member.check.units.iter().cloned().collect();
        let candidates = own.shipped.union(&own.touched);
        let shipped: BTreeSet<String> = candidates
            .filter(|unit| !unit.contains("@.") && !required.contains(*unit))
            .filter(|unit| system.is_loaded(unit).unwrap_or(false))
            .cloned()
            .collect();
        let settle = match member.check.settle {
            Some(settle) => settle,
            None if !required.is_empty() => CHECKED,
            None if !shipped.is_empty() => SHIPPED,
            None => Duration::ZERO,
        };
        Watch {
            required,
            shipped,
            command: member.check.command.clone(),
            settle,
        }
    }
}

/// What can be told of a member's activation before anything has happened, for people.
pub(super) fn forecast(look: Look<'_>, member: &Member) -> Forecast {
    let members = std::slice::from_ref(member);
    let change = Change::of(look, members, Direction::Forward);
    let named: BTreeSet<&String> = named(member).collect();
    let line = |verb: &str, unit: &String| {
        let told = change.why.get(unit).filter(|_| !named.contains(unit));
        UnitForecast {
            unit: unit.clone(),
            verb: verb.to_owned(),
            why: told.map_or_else(|| "named by the definition".to_owned(), String::clone),
        }
    };
    let restart = change.plan.restart.iter().map(|unit| line("restart", unit));
    let reload = change.plan.reload.iter().map(|unit| line("reload", unit));
    let stop = change.gone.iter().map(|unit| UnitForecast {
        unit: unit.clone(),
        verb: "stop".to_owned(),
        why: "not part of the new version".to_owned(),
    });
    Forecast {
        merge: change.plan.merge.iter().map(|kind| word(*kind)).collect(),
        units: restart.chain(reload).chain(stop).collect(),
        later: change
            .plan
            .staged
            .iter()
            .chain(&change.plan.reboot)
            .cloned()
            .collect(),
        reboot: !change.plan.reboot.is_empty(),
    }
}

/// The word of the plan's document.
fn word(kind: ExtensionKind) -> String {
    match kind {
        ExtensionKind::Sysext => "sysext".to_owned(),
        ExtensionKind::Confext => "confext".to_owned(),
    }
}

/// What the definitions alone ask for.
pub(super) fn plan_of(members: &[Member], direction: Direction) -> ActivationPlan {
    let names: Vec<(String, String)> = members
        .iter()
        .map(|member| {
            let version = match direction {
                Direction::Forward => Some(&member.version),
                Direction::Back => member.previous.as_ref(),
            };
            let version = version.map_or_else(String::new, ToString::to_string);
            (member.name().to_string(), version)
        })
        .collect();
    let mut moved = Vec::new();
    for (member, (name, version)) in members.iter().zip(&names) {
        for part in &member.parts {
            moved.push(activate::Moved {
                component: name,
                version,
                activation: &member.activation,
                target: &part.target,
                link: part.link.as_ref().map(|link| link.path.as_path()),
            });
        }
    }
    let mut plan = activate::plan(&moved);
    if direction == Direction::Back {
        // Where nothing was before, nothing can be expected to be merged afterwards.
        let without: BTreeSet<&String> = members
            .iter()
            .zip(&names)
            .filter(|(member, _)| {
                member
                    .parts
                    .iter()
                    .all(|part| part.link.as_ref().is_none_or(|link| link.before.is_none()))
            })
            .map(|(_, (name, _))| name)
            .collect();
        for dependent in &mut plan.dependents {
            if without.contains(&dependent.component) {
                dependent.extension = None;
            }
        }
    }
    plan
}

fn named(member: &Member) -> impl Iterator<Item = &String> {
    let activation = &member.activation;
    activation
        .restart
        .named()
        .iter()
        .chain(activation.reload.named())
}

/// Enters one effect of a new image into what is done, unless the definition says otherwise.
fn apply(
    look: Look<'_>,
    member: &Member,
    effect: &Effect,
    plan: &mut ActivationPlan,
    gone: &mut Vec<String>,
    own: &mut Own,
) {
    let units = instances(look, &effect.unit);
    let (list, choice) = match effect.verb {
        Touch::Stop => {
            own.gone.extend(units.iter().cloned());
            gone.extend(units);
            return;
        }
        Touch::Job(Verb::Restart | Verb::Start) => (&mut plan.restart, &member.activation.restart),
        Touch::Job(Verb::Reload) => (&mut plan.reload, &member.activation.reload),
    };
    if *choice != Units::Auto || !plan.merge.iter().any(|_| true) {
        return;
    }
    for unit in units {
        own.touched.insert(unit.clone());
        if !list.contains(&unit) {
            list.push(unit);
        }
    }
}

/// The unit, or the running instances of a template.
fn instances(look: Look<'_>, unit: &str) -> Vec<String> {
    match (unit.split_once("@."), look.system) {
        (Some((name, kind)), Some(system)) => system
            .active_units(&format!("{name}@*.{kind}"))
            .unwrap_or_default(),
        _ => vec![unit.to_owned()],
    }
}

fn release_keys(look: Look<'_>) -> ReleaseKeys {
    match look.system.map(SystemManager::version) {
        Some(Ok(Some(version))) if version >= KEEPS_WISHES => ReleaseKeys::Systemds,
        _ => ReleaseKeys::Ours,
    }
}

type Entry = (ExtensionKind, String);

fn extension(part: &Part) -> Option<Entry> {
    let link = part.link.as_ref().map(|link| link.path.as_path());
    link.and_then(ExtensionKind::entry)
        .or_else(|| ExtensionKind::entry(&part.target))
}

/// Whether a member is a matter of merges alone.
pub(super) fn is_merged(member: &Member) -> bool {
    !member.has_partition() && member.parts.iter().any(|part| extension(part).is_some())
}

/// The image that is left and the one that is gone to. A file on its way may have its pending name still, or again.
fn images<'p>(
    root: &Root,
    part: &'p Part,
    direction: Direction,
) -> (Option<&'p Path>, Option<&'p Path>) {
    let before = part.link.as_ref().and_then(|link| link.before.as_deref());
    let pending = part.pending.as_deref();
    let target = match pending.filter(|_| root.stat(&part.target).is_err()) {
        Some(pending) => Some(pending),
        None => Some(part.target.as_path()),
    };
    match direction {
        Direction::Forward => (before, target),
        Direction::Back => (target, before),
    }
}

fn contents<'a>(look: Look<'a>, path: &Path, (kind, name): &Entry) -> Option<Contents<'a>> {
    let mut image = Image::of_path(look.root, path, look.architecture).ok()??;
    let units = image.units().ok()?;
    let release = match image.release(*kind, name) {
        Ok(Release::Fields(fields)) => fields,
        _ => BTreeMap::new(),
    };
    Some(Contents {
        units: UnitFacts::all(units),
        release,
        files: Files::Here(Box::new(move |path| image.digest(path).ok().flatten())),
    })
}

/// What a look into an image that is not here yet has shown.
fn expected<'a>(look: Look<'a>, part: &Part) -> Option<Contents<'a>> {
    let facts = look.expected?.get(&part.transfer)?;
    Some(Contents {
        units: facts.units.clone(),
        release: match &facts.release {
            Release::Fields(fields) => fields.clone(),
            Release::Named(_) | Release::None => BTreeMap::new(),
        },
        files: Files::Elsewhere,
    })
}
