//! The verbs: their words, their arguments, and with which options they make sense.

use super::UsageError;
use super::generate::Product;
use super::os;
use super::settings::{FeatureSelection, Selection, Settings};
use crate::definition::ComponentName;
use crate::definition::nearest::nearest;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    List(Option<String>),
    CheckNew,
    Update(Option<String>),
    Acquire(Option<String>),
    Vacuum,
    Cleanup,
    Pending,
    Reboot,
    Components,
    Features(Option<String>),
    Switch(Switch, Vec<String>),
    Status,
    Rollback(Option<String>),
    Hold,
    Unhold,
    Activate,
    Settle,
    History,
    Plan(Option<String>),
    Apply(String),
    Gate,
    Select,
    Config,
    Doctor,
    Generate(Product),
    Search(Option<String>),
    Add(String),
    Remove(Vec<String>),
    Import,
}

/// What is switched on or off by a drop-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    EnableFeature,
    DisableFeature,
    EnableComponent,
    DisableComponent,
}

impl Verb {
    /// Whether it changes nothing that is on record or installed.
    pub(super) fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::List(_)
                | Self::CheckNew
                | Self::Components
                | Self::Features(_)
                | Self::Status
                | Self::History
                | Self::Config
        )
    }
}

impl Switch {
    /// The verb.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EnableFeature => "enable-feature",
            Self::DisableFeature => "disable-feature",
            Self::EnableComponent => "enable-component",
            Self::DisableComponent => "disable-component",
        }
    }

    /// Whether it is switched on.
    pub(super) fn enables(self) -> bool {
        matches!(self, Self::EnableFeature | Self::EnableComponent)
    }

    /// Whether a component is switched, not a feature.
    pub(super) fn is_of_components(self) -> bool {
        matches!(self, Self::EnableComponent | Self::DisableComponent)
    }
}

/// What can be completed after a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completion {
    Nothing,
    Components,
    Features,
    Versions,
    Files,
}

/// Every verb: its arguments, what completes them, and what it does, in a line; in the order of [`GROUPS`].
pub(super) const ARGUMENTS: [(&str, &str, Completion, &str); 32] = [
    (
        "list",
        "[VERSION]",
        Completion::Versions,
        "Show installed and available versions, or one in full (the default)",
    ),
    (
        "check-new",
        "",
        Completion::Nothing,
        "Print the version that `update` would install; exit 1 if none",
    ),
    (
        "update",
        "[VERSION]",
        Completion::Versions,
        "Install the newest version that fits, or VERSION, now",
    ),
    (
        "acquire",
        "[VERSION]",
        Completion::Versions,
        "Download and verify it only; `update --offline` installs it",
    ),
    (
        "vacuum",
        "",
        Completion::Nothing,
        "Remove old versions and leftovers",
    ),
    (
        "cleanup",
        "",
        Completion::Nothing,
        "Remove what was installed and no transfer owns any more",
    ),
    (
        "pending",
        "",
        Completion::Nothing,
        "Tell whether a newer OS version is installed than booted",
    ),
    (
        "reboot",
        "",
        Completion::Nothing,
        "Reboot if so; with --required, whenever something waits for it",
    ),
    ("components", "", Completion::Nothing, "Show the components"),
    (
        "enable-component",
        "NAME...",
        Completion::Components,
        "Switch components on",
    ),
    (
        "disable-component",
        "NAME...",
        Completion::Components,
        "Switch components off",
    ),
    (
        "features",
        "[ID]",
        Completion::Features,
        "Show the optional features, or one in full",
    ),
    (
        "enable-feature",
        "ID...",
        Completion::Features,
        "Switch features on",
    ),
    (
        "disable-feature",
        "ID...",
        Completion::Features,
        "Switch features off",
    ),
    (
        "plan",
        "[VERSION]",
        Completion::Versions,
        "Show what `update` would do, and why not otherwise",
    ),
    (
        "apply",
        "FILE",
        Completion::Files,
        "Carry out a plan saved by `plan --json=short`, or refuse",
    ),
    (
        "status",
        "",
        Completion::Nothing,
        "Show what is installed, linked, merged, held and bad",
    ),
    (
        "history",
        "",
        Completion::Nothing,
        "Show what happened to the components",
    ),
    (
        "config",
        "",
        Completion::Nothing,
        "Show the global settings and where each comes from",
    ),
    (
        "doctor",
        "",
        Completion::Nothing,
        "Look for what is wrong, or about to be; --fix repairs what is safe",
    ),
    (
        "rollback",
        "[VERSION]",
        Completion::Versions,
        "Go back to the previous version, or VERSION, at once",
    ),
    (
        "hold",
        "",
        Completion::Nothing,
        "Install nothing newer until `unhold`",
    ),
    (
        "unhold",
        "",
        Completion::Nothing,
        "Let newer versions come, and forget which were bad",
    ),
    (
        "activate",
        "",
        Completion::Nothing,
        "Let what waits for the next boot take effect now",
    ),
    (
        "search",
        "[WORD]",
        Completion::Nothing,
        "Show what a bakery offers for this machine",
    ),
    (
        "add",
        "NAME[@RANGE]",
        Completion::Nothing,
        "Define an extension of a bakery and install its newest version",
    ),
    (
        "remove",
        "NAME...",
        Completion::Components,
        "Take extensions away, with their definitions and images",
    ),
    (
        "import",
        "",
        Completion::Nothing,
        "Define what was set up by hand for systemd-sysupdate",
    ),
    (
        "gate",
        "",
        Completion::Nothing,
        "Acquire what the next OS needs; fail while something is missing",
    ),
    (
        "select",
        "",
        Completion::Nothing,
        "Early at a boot: link the installed versions that fit this OS",
    ),
    (
        "settle",
        "",
        Completion::Nothing,
        "Late at a boot: end the trial that it or a crash left open",
    ),
    (
        "generate",
        "man|bash|zsh|fish",
        Completion::Nothing,
        "Print a man page or a completion for a shell",
    ),
];

/// What the verbs are listed under, and the first of each.
pub(super) const GROUPS: [(&str, &str); 6] = [
    ("Commands", "list"),
    ("What happens, and what happened", "plan"),
    ("The operator's word", "rollback"),
    ("The bakery", "search"),
    ("At boots and before them", "gate"),
    ("For the manual and the shell", "generate"),
];

impl Verb {
    /// Whether it may change what is installed, or what is on record of it.
    pub(super) fn changes(&self) -> bool {
        matches!(
            self,
            Self::Update(_)
                | Self::Apply(_)
                | Self::Rollback(_)
                | Self::Hold
                | Self::Unhold
                | Self::Activate
                | Self::Settle
                | Self::Select
                | Self::Vacuum
                | Self::Add(_)
                | Self::Remove(_)
        )
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Cleanup => "cleanup",
            Self::Pending => "pending",
            Self::Reboot => "reboot",
            Self::Features(_) => "features",
            Self::Switch(switch, _) => switch.name(),
            Self::List(_) => "list",
            Self::CheckNew => "check-new",
            Self::Update(_) => "update",
            Self::Acquire(_) => "acquire",
            Self::Vacuum => "vacuum",
            Self::Components => "components",
            Self::Status => "status",
            Self::Rollback(_) => "rollback",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
            Self::Activate => "activate",
            Self::Settle => "settle",
            Self::History => "history",
            Self::Plan(_) => "plan",
            Self::Apply(_) => "apply",
            Self::Gate => "gate",
            Self::Select => "select",
            Self::Config => "config",
            Self::Doctor => "doctor",
            Self::Generate(_) => "generate",
            Self::Search(_) => "search",
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Import => "import",
        }
    }
}

/// Understands the words of a call.
pub(super) fn parse(words: &[String]) -> Result<Verb, UsageError> {
    let (name, arguments) = match words.split_first() {
        Some((name, arguments)) => (name.as_str(), arguments),
        None => ("list", words),
    };
    let too_many = || UsageError::new("Too many arguments.");
    let optional = || match arguments {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        _ => Err(too_many()),
    };
    let alone = |verb| {
        if arguments.is_empty() {
            Ok(verb)
        } else {
            Err(too_many())
        }
    };
    let switch = |switch| Ok(Verb::Switch(switch, arguments.to_vec()));
    match name {
        "list" => optional().map(Verb::List),
        "update" => optional().map(Verb::Update),
        "acquire" => optional().map(Verb::Acquire),
        "check-new" => alone(Verb::CheckNew),
        "vacuum" => alone(Verb::Vacuum),
        "cleanup" => alone(Verb::Cleanup),
        "pending" => alone(Verb::Pending),
        "reboot" => alone(Verb::Reboot),
        "components" => alone(Verb::Components),
        "features" => optional().map(Verb::Features),
        "enable-feature" => switch(Switch::EnableFeature),
        "disable-feature" => switch(Switch::DisableFeature),
        "enable-component" => switch(Switch::EnableComponent),
        "disable-component" => switch(Switch::DisableComponent),
        "status" => alone(Verb::Status),
        "rollback" => optional().map(Verb::Rollback),
        "hold" => alone(Verb::Hold),
        "unhold" => alone(Verb::Unhold),
        "activate" => alone(Verb::Activate),
        "settle" => alone(Verb::Settle),
        "history" => alone(Verb::History),
        "plan" => optional().map(Verb::Plan),
        "gate" => alone(Verb::Gate),
        "select" => alone(Verb::Select),
        "config" => alone(Verb::Config),
        "doctor" => alone(Verb::Doctor),
        "generate" => Product::parse(arguments).map(Verb::Generate),
        "search" => optional().map(Verb::Search),
        "add" => match arguments {
            [name] => Ok(Verb::Add(name.clone())),
            [] => Err(UsageError::new(
                "add: the name of the extension is missing.\nhint: `sysupdate search` shows what there is",
            )),
            _ => Err(too_many()),
        },
        "remove" => match arguments {
            [] => Err(UsageError::new(
                "remove: the name of the extension is missing.\nhint: `sysupdate components` shows what is defined",
            )),
            names => Ok(Verb::Remove(names.to_vec())),
        },
        "import" => alone(Verb::Import),
        "apply" => match arguments {
            [file] => Ok(Verb::Apply(file.clone())),
            [] => Err(UsageError::new(
                "apply: the file with the plan is missing.\nhint: `sysupdate plan --json=short > FILE` makes one",
            )),
            _ => Err(too_many()),
        },
        _ => Err(unknown_verb(name)),
    }
}

fn unknown_verb(name: &str) -> UsageError {
    let text = format!("Unknown command verb '{name}'.");
    let verbs = ARGUMENTS.iter().map(|(verb, ..)| *verb);
    UsageError::new(match nearest(name, verbs) {
        Some(near) => format!("{text}\nhint: did you mean '{near}'?"),
        None => format!("{text}\nhint: `sysupdate --help` lists the commands"),
    })
}

/// Combinations that make no sense (compat 1, table before section 8).
pub(super) fn refuse(verb: &Verb, settings: &Settings) -> Result<(), UsageError> {
    let refusal = selection_refusal(verb, settings)
        .or_else(|| feature_refusal(verb, settings))
        .or_else(|| definitions_refusal(verb, settings))
        .or_else(|| option_refusal(verb, settings))
        .or_else(|| bakery_refusal(verb, settings));
    match refusal {
        Some(text) => Err(UsageError::new(text)),
        None => os_refusal(verb, settings),
    }
}

/// What `--component=` and its like cannot be used with.
fn selection_refusal(verb: &Verb, settings: &Settings) -> Option<String> {
    let name = verb.name();
    let is_elsewhere = settings.root.is_some() || settings.image.is_some();
    if is_elsewhere && matches!(verb, Verb::Pending | Verb::Reboot) {
        return Some(format!(
            "The --root=/--image= switches may not be combined with the '{name}' operation."
        ));
    }
    let selection = &settings.selection;
    let unsupported =
        |switches: &str| Some(format!("{switches} currently not supported for '{name}'."));
    match (selection, verb) {
        (Selection::One(ComponentName::Default), _) => None,
        (_, Verb::Pending | Verb::Reboot) => Some(format!(
            "The --component=, --component-all and --component-suggested switches may not be combined with the '{name}' \
             operation, which only applies to the booted OS version."
        )),
        (_, Verb::Update(_)) if settings.reboot => Some(
            "The --reboot switch may not be combined with --component=/--component-all/--component-suggested, as automatic \
             reboots only apply to the booted OS version."
                .to_owned(),
        ),
        (
            Selection::All | Selection::Suggested,
            Verb::List(_) | Verb::Features(_) | Verb::CheckNew | Verb::Vacuum | Verb::Components,
        ) if !(matches!(verb, Verb::CheckNew) && *selection == Selection::All) => {
            unsupported("--component-all/--component-suggested")
        }
        (Selection::Suggested, Verb::Switch(switch, _)) if !switch.is_of_components() => Some(format!(
            "--component-suggested is not supported for '{name}'."
        )),
        (Selection::Suggested, Verb::Switch(..)) => None,
        (Selection::Suggested, _) => unsupported("--component-suggested"),
        _ => None,
    }
}

/// What only some verbs know.
fn bakery_refusal(verb: &Verb, settings: &Settings) -> Option<String> {
    let bakery = &settings.bakery;
    let is_add = matches!(verb, Verb::Add(_));
    let is_remove = matches!(verb, Verb::Remove(_));
    let looks = matches!(verb, Verb::Search(_) | Verb::List(_) | Verb::Import) || is_add;
    let refused = [
        ("--fix", settings.fix && *verb != Verb::Doctor, "doctor"),
        (
            "--online",
            settings.online && *verb != Verb::Doctor,
            "doctor",
        ),
        (
            "--required",
            settings.required && *verb != Verb::Reboot,
            "reboot",
        ),
        (
            "--from=",
            bakery.from.is_some() && !looks,
            "search`, `list`, `add`, `import",
        ),
        ("--restart=", !bakery.restart.is_empty() && !is_add, "add"),
        ("--mode=", bakery.mode.is_some() && !is_add, "add"),
        ("--key=", bakery.key.is_some() && !is_add, "add"),
        ("--version=", bakery.version.is_some() && !is_add, "add"),
        ("--now", bakery.now && !is_add, "add"),
        ("--keep-images", bakery.keep_images && !is_remove, "remove"),
    ];
    let (switch, _, verbs) = refused.into_iter().find(|(_, refused, _)| *refused)?;
    Some(format!(
        "{switch} cannot be used with '{}'.\nhint: it belongs to `{verbs}`",
        verb.name()
    ))
}

fn feature_refusal(verb: &Verb, settings: &Settings) -> Option<String> {
    let is_of_features = matches!(verb, Verb::Switch(switch, _) if !switch.is_of_components());
    match settings.features {
        FeatureSelection::Named => None,
        _ if is_of_features => None,
        _ => Some(format!(
            "--feature-all/--feature-suggested is not supported for '{}'.",
            verb.name()
        )),
    }
}

fn definitions_refusal(verb: &Verb, settings: &Settings) -> Option<String> {
    let refused = matches!(
        verb,
        Verb::Components | Verb::Switch(..) | Verb::Add(_) | Verb::Remove(_) | Verb::Import
    );
    (settings.definitions.is_some() && refused).then(|| {
        format!(
            "The --definitions= switch may not be combined with '{}'.",
            verb.name()
        )
    })
}

fn option_refusal(verb: &Verb, settings: &Settings) -> Option<String> {
    let text = match (settings.instances_max, verb) {
        (Some(0), Verb::Vacuum) => "The --instances-max= argument must be >= 1 while vacuuming",
        (Some(0 | 1), Verb::Update(_) | Verb::Acquire(_)) => {
            "The --instances-max= argument must be >= 2 while updating"
        }
        _ if *verb == Verb::Cleanup && settings.cleanup == Some(false) => {
            "Invocation of 'cleanup' with --cleanup=no is contradictory, refusing."
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn os_refusal(verb: &Verb, settings: &Settings) -> Result<(), UsageError> {
    match (&settings.for_os_release, verb) {
        (None, Verb::Gate) => Err(os::os_release_missing()),
        (
            Some(_),
            Verb::List(_) | Verb::CheckNew | Verb::Plan(_) | Verb::Acquire(_) | Verb::Gate,
        )
        | (None, _) => Ok(()),
        (Some(_), _) => Err(UsageError::new(format!(
            "--for-os-release= cannot be used with '{}': what is installed must fit this system.",
            verb.name()
        ))),
    }
}
