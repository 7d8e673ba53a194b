//! The command line: verbs over the library, results on stdout, talk on stderr, one exit code.

mod args;
mod bakery;
mod check;
mod cleanup;
mod components;
mod config;
mod doctor;
mod features;
mod generate;
mod history;
mod list;
mod metrics;
mod network;
mod os;
mod output;
mod pending;
mod plan;
mod rollback;
mod settings;
mod status;
mod switch;
mod transaction;
mod update;
mod vacuum;
mod verb;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Parser as _;
use clap::error::{ContextKind, ErrorKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use signal_hook::consts::signal::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::compat::Os;
use crate::definition::config::Config;
use crate::definition::transfer::{Transfer, Verification};
use crate::definition::{BootPaths, Component, ComponentName, DefinitionError, Loader, Suggestion};
use crate::error::Error;
use crate::event::{Event, Reporter as _, Severity, chain};
use crate::fetch::{Cancel, Fetch};
use crate::host::{self, Host, parse_environment};
use crate::install::Executor;
use crate::install::lock::Lock;
use crate::inventory::remote::{Manifests, Policy};
use crate::plan::Reach;
use crate::root::Root;
use crate::session::{Requirement, Session, SessionError};
use crate::storage::disk::Access as DiskAccess;
use crate::storage::dissect;
use crate::suggest::{Scene, SuggestError};
use args::Args;
use output::frontend::Frontend;
use output::progress::Narrator;
use settings::{Selection, Settings};
use verb::Verb;

/// A call that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl UsageError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// How a run ended, as an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// 0.
    Success,
    /// 1: a failure, or "no" as the answer.
    Failure,
    /// 3: a new version failed its trial, and the one before is back.
    Reverted,
    /// 128 and the signal's number, as a shell reports a program that a signal ended.
    Interrupted(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::FAILURE,
            Exit::Reverted => Self::from(3),
            Exit::Interrupted(signal) => Self::from(128 + signal),
        }
    }
}

/// Runs the program with its arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match understand(arguments) {
        Ok(Some((verb, settings))) => execute(&verb, &settings).into(),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            output::talk(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// `None` when the call was for help or the version, which has been printed.
fn understand(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<(Verb, Settings)>, UsageError> {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            let _ = output::print(&error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(usage_error(&error)),
    };
    // With `add` it names the version to install.
    if args.version.is_some() && args.words.first().map(String::as_str) != Some("add") {
        let _ = output::print(concat!("sysupdate ", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(None);
    }
    if args.json.as_deref() == Some("help") {
        let _ = output::print("pretty\nshort\noff\n");
        return Ok(None);
    }
    let verb = verb::parse(&args.words)?;
    let settings = Settings::read(&args)?;
    verb::refuse(&verb, &settings)?;
    Ok(Some((verb, settings)))
}

fn usage_error(error: &clap::Error) -> UsageError {
    let named = |kind| error.get(kind).map(ToString::to_string);
    match (error.kind(), named(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(option)) => {
            let near = named(ContextKind::SuggestedArg)
                .map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
            UsageError::new(format!("sysupdate: unrecognized option '{option}'{near}"))
        }
        // The rest is the usage, which `--help` shows better.
        _ => UsageError::new(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: "),
        ),
    }
}

/// What every verb works with.
#[derive(Clone, Copy)]
struct Context<'a> {
    settings: &'a Settings,
    config: &'a Config,
    root: &'a Root,
    session: Session<'a>,
    executor: Executor<'a>,
    reporter: &'a Narrator,
}

impl Context<'_> {
    fn say(&self, text: &str) {
        self.reporter
            .report(&Event::Message(Severity::Info, text.to_owned()));
    }

    fn warn(&self, text: &str) {
        self.reporter
            .report(&Event::Message(Severity::Warning, text.to_owned()));
    }

    /// Whether something suggests itself on this host.
    fn suggests(&self, suggestion: &Suggestion) -> Result<bool, SuggestError> {
        let scene = Scene {
            root: self.root,
            host: self.session.loader.host,
            credentials: &self.settings.all_credentials,
            machine_info: self.settings.machine_info.as_deref(),
            run: &run_program,
        };
        scene.suggests(suggestion)
    }

    /// The component of a verb that works on one.
    fn one(&self) -> Result<ComponentName, Error> {
        match &self.settings.selection {
            Selection::One(name) => Ok(name.clone()),
            // Refused before: only a verb's own table can let it through.
            Selection::All | Selection::Suggested => {
                Err(Error::Request("One component has to be chosen.".to_owned()))
            }
        }
    }

    /// Prints an error and its next step; the run goes on.
    fn complain(&self, error: &Error) {
        self.reporter.error(&chain(error));
        self.hint(error);
    }

    /// Like [`Self::complain`], where it must be told which component is meant.
    fn complain_about(&self, component: &ComponentName, error: &Error) {
        self.reporter
            .error(&format!("{component}: {}", chain(error)));
        self.hint(error);
    }

    fn hint(&self, error: &Error) {
        let undefined = matches!(error, Error::Session(SessionError::Undefined(_)));
        for hint in if undefined {
            self.undefined_hints()
        } else {
            error.hints()
        } {
            self.reporter.error(&format!("hint: {hint}"));
        }
    }

    /// Where definitions are looked for, and what was found instead.
    fn undefined_hints(&self) -> Vec<String> {
        if let Some(directory) = &self.settings.definitions {
            let place = directory.display();
            return vec![if directory.is_dir() {
                format!(
                    "no *.transfer or *.conf file lies in '{place}'; TOML files are not read from there"
                )
            } else {
                format!("'{place}' is no directory")
            }];
        }
        let names: Vec<String> = self
            .session
            .loader
            .names()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        if names.is_empty() {
            return vec![
                "definitions are read from sysupdate/transfer.d/NAME.toml, sysupdate.d/*.transfer and \
                 sysupdate.NAME.d/*.transfer in /etc, /run, /usr/local/lib and /usr/lib; `sysupdate search` shows \
                 extensions, and `sysupdate add NAME` defines one"
                    .to_owned(),
            ];
        }
        vec![format!(
            "defined components: {}; choose with `-C NAME`, or `-A` for all",
            names.join(", ")
        )]
    }

    /// Reads a component; one whose manifest nobody authenticates gets a line of warning.
    fn load(&self, name: &ComponentName, requirement: Requirement) -> Result<Component, Error> {
        let component = self.session.load(name, requirement)?;
        let enabled = component
            .transfers
            .iter()
            .filter(|transfer| transfer.enabled);
        if self.settings.reach == Reach::Online && verification(enabled) == "unsigned" {
            let text = match self.settings.verification {
                Some(_) => format!("{name} is unsigned: --verify=no turns verification off."),
                None => format!("{name} is unsigned: its definition turns verification off."),
            };
            self.reporter
                .report(&Event::Message(Severity::Warning, text));
        }
        Ok(component)
    }

    /// Whether messages must say which component they are about.
    fn names_components(&self) -> bool {
        !matches!(self.settings.selection, Selection::One(_))
    }

    fn lock(&self, verb: &Verb) -> Result<Lock, Error> {
        let command = format!("sysupdate {}", verb.name());
        let patience = self.settings.patience;
        Ok(Lock::acquire(
            self.root,
            patience,
            &command,
            self.reporter,
            self.executor.cancel,
        )?)
    }

    /// The components that the selection names: of all of them the default first.
    fn selected(&self) -> Result<Vec<ComponentName>, Error> {
        match &self.settings.selection {
            Selection::One(name) => Ok(vec![name.clone()]),
            Selection::All | Selection::Suggested => self.all_components(),
        }
    }

    fn all_components(&self) -> Result<Vec<ComponentName>, Error> {
        let definition = |error: DefinitionError| Error::from(SessionError::from(error));
        let named = self.session.loader.names().map_err(definition)?;
        Ok(std::iter::once(ComponentName::Default)
            .chain(named)
            .collect())
    }

    /// Tells of a component that failed among several. That nothing is defined for the default one is no failure then
    /// (compat 1, section 7.13), only worth a word.
    fn failed_among_several(&self, component: &ComponentName, error: &Error) -> bool {
        if matches!(
            error,
            Error::Session(SessionError::Undefined(ComponentName::Default))
        ) {
            self.say(&error.to_string());
            return false;
        }
        self.complain_about(component, error);
        true
    }
}

fn execute(verb: &Verb, settings: &Settings) -> Exit {
    let lines = settings.progress.as_ref().map(File::try_clone);
    let frontend = Frontend::new(lines.and_then(Result::ok), settings.notify.as_deref());
    let narrator = Arc::new(Narrator::new(settings.talk).with(frontend));
    let root = match open_root(verb, settings) {
        Ok(root) => root,
        Err(text) => {
            narrator.error(&text);
            return Exit::Failure;
        }
    };
    let cancel = Cancel::new();
    watch_signals(&cancel);
    let host = Host::read(&root, settings.temporary.clone());
    let loader = Loader {
        root: &root,
        host: &host,
        directory: settings.definitions.as_deref(),
        transfer_source: settings.transfer_source.as_deref(),
        boot: BootPaths {
            esp: settings.esp.as_deref(),
            xbootldr: settings.xbootldr.as_deref(),
        },
    };
    let config = match Config::load(&root, &*narrator) {
        Ok(config) => config,
        Err(error) => {
            narrator.error(&chain(&error));
            if let Some(hint) = error.hint() {
                narrator.error(&format!("hint: {hint}"));
            }
            return Exit::Failure;
        }
    };
    let transport: Arc<dyn Fetch> = Arc::new(network::transport(
        &config.network,
        settings,
        &root,
        &cancel,
        &narrator,
    ));
    let peeks = config.compat.peek.as_ref().is_none_or(|peek| peek.value);
    let os = match target_os(settings, &host) {
        Ok(os) => os,
        Err(text) => {
            narrator.error(&text);
            return Exit::Failure;
        }
    };
    let policy = Policy {
        keyring: settings.keyring.clone(),
        freshness: settings.freshness,
        acceptance: settings.acceptance,
        manifest_timeout: network::manifest_timeout(&config.network),
        now: present(),
        zone: TimeZone::system,
    };
    let manifests = Manifests::new(&*transport, &root, policy, &*narrator);
    let context = Context {
        settings,
        config: &config,
        root: &root,
        session: Session {
            root: &root,
            loader: &loader,
            manifests: &manifests,
            reporter: &narrator,
            verification: settings.verification,
            fetch: &*transport,
            credentials: settings.credentials.as_deref(),
            os: &os,
            peek: (settings.reach == Reach::Online && peeks).then_some(&transport),
        },
        executor: Executor {
            root: &root,
            fetch: &*transport,
            reporter: &narrator,
            cancel: &cancel,
            durability: settings.durability,
            jobs: network::jobs(&config.network, settings),
        },
        reporter: &narrator,
    };
    let result = perform(&context, verb);
    let exit = result.unwrap_or_else(|error| {
        context.complain(&error);
        Exit::Failure
    });
    metrics::write(&context, verb);
    match signal() {
        Some(signal) if exit == Exit::Failure => Exit::Interrupted(signal),
        _ => exit,
    }
}

/// Carries the verb out.
fn perform(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    match verb {
        Verb::List(version) => list::run(context, version.as_deref()),
        Verb::CheckNew => check::run(context),
        Verb::Update(_) | Verb::Acquire(_) => update::run(context, verb),
        Verb::Vacuum => vacuum::run(context, verb),
        Verb::Cleanup => cleanup::run(context, verb),
        Verb::Pending => pending::run(context),
        Verb::Reboot => pending::reboot(context),
        Verb::Components => components::run(context),
        Verb::Features(id) => features::run(context, id.as_deref()),
        Verb::Switch(switch, names) => switch::run(context, *switch, names),
        Verb::Status => status::run(context),
        Verb::Rollback(version) => rollback::run(context, verb, version.as_deref()),
        Verb::Hold => rollback::hold(context, verb),
        Verb::Unhold => rollback::unhold(context, verb),
        Verb::Activate => rollback::activate(context, verb),
        Verb::Settle => rollback::settle(context, verb),
        Verb::History => history::run(context),
        Verb::Gate => os::gate(context, verb),
        Verb::Select => os::select(context, verb),
        Verb::Config => config::run(context),
        Verb::Doctor => doctor::run(context, verb),
        Verb::Generate(product) => generate::run(context, *product),
        Verb::Search(word) => bakery::search(context, word.as_deref()),
        Verb::Add(name) => bakery::add(context, verb, name),
        Verb::Remove(names) => bakery::remove(context, verb, names),
        Verb::Import => bakery::import(context, verb),
        Verb::Plan(version) => plan::run(context, version.as_deref()),
        Verb::Apply(file) => plan::apply(context, verb, file),
    }
}

/// Runs a program of the host for a condition: what it prints, and whether it succeeded.
fn run_program(program: &str, arguments: &[&str]) -> io::Result<(String, bool)> {
    let outcome = crate::activate::ask(program, arguments)?;
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    Ok((text, outcome.code == Some(0)))
}

/// A component's name in JSON; the default has none.
fn plain_name(name: &ComponentName) -> Option<String> {
    match name {
        ComponentName::Default => None,
        ComponentName::Named(name) => Some(name.clone()),
    }
}

/// How the manifests of these transfers are authenticated, in one word.
fn verification<'a>(transfers: impl IntoIterator<Item = &'a Transfer>) -> &'static str {
    let ways: Vec<Verification> = transfers
        .into_iter()
        .filter(|transfer| transfer.source().is_remote())
        .map(|transfer| transfer.verification)
        .collect();
    let uses = |way| ways.contains(&way);
    match (uses(Verification::OpenPgp), uses(Verification::Minisign)) {
        _ if uses(Verification::Skip) => "unsigned",
        (false, false) => "local",
        (true, false) => "openpgp",
        (false, true) => "minisign",
        (true, true) => "openpgp and minisign",
    }
}

/// The operating system that images have to fit: this one, or that of `--for-os-release=`.
fn target_os(settings: &Settings, host: &Host) -> Result<Os, String> {
    let fields = match &settings.for_os_release {
        None => host.os_release.clone().unwrap_or_default(),
        Some(file) => os_release(file)?,
    };
    Ok(Os::new(fields, host.architecture.clone()))
}

/// The fields of the os-release file of another operating system.
fn os_release(file: &Path) -> Result<BTreeMap<String, String>, String> {
    let place = file.display();
    let root = Root::host();
    let path =
        std::path::absolute(file).map_err(|error| format!("cannot read '{place}': {error}"))?;
    let bytes = root
        .read(&path, 1024 * 1024)
        .map_err(|error| format!("cannot read '{place}': {error}"))?;
    let fields = parse_environment(&String::from_utf8_lossy(&bytes));
    if fields.contains_key("ID") {
        Ok(fields)
    } else {
        Err(format!(
            "'{place}' is no os-release file: it has no ID=\nhint: it is etc/os-release or usr/lib/os-release of the next \
             operating system"
        ))
    }
}

fn open_root(verb: &Verb, settings: &Settings) -> Result<Root, String> {
    if let Some(image) = &settings.image {
        return open_image(verb, settings, image);
    }
    let Some(path) = settings.root.as_deref() else {
        return Ok(Root::host());
    };
    Root::open(path).map_err(|error| {
        // compat: the original's sentence, without its second one about features.
        let text = match error.kind() {
            io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            io::ErrorKind::NotADirectory => "Not a directory".to_owned(),
            _ => error.to_string(),
        };
        format!(
            "Failed to determine if '{}' points to the root directory: {text}\nhint: --root= takes a directory that exists",
            path.display()
        )
    })
}

/// Mounts an image, for as long as this process lives.
fn open_image(verb: &Verb, settings: &Settings, image: &Path) -> Result<Root, String> {
    let access = if verb.only_reads() {
        DiskAccess::Read
    } else {
        DiskAccess::Write
    };
    let architecture = host::machine().unwrap_or_default();
    let mounted = dissect::mount(image, access, &settings.image_policy, architecture);
    let path = mounted.map_err(|error| chain(&error))?;
    let disk = std::path::absolute(image).unwrap_or_else(|_| image.to_path_buf());
    let root = Root::open(&path).map_err(|error| chain(&error))?;
    Ok(root.mounted_from(disk))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock is read here, once, and passed on as a value"
)]
fn present() -> Timestamp {
    Timestamp::now()
}

/// The present, to the second, as records show it (RFC 3339).
fn timestamp() -> String {
    present()
        .round(jiff::Unit::Second)
        .unwrap_or_else(|_| present())
        .to_string()
}

static SIGNAL: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

fn signal() -> Option<u8> {
    Some(SIGNAL.load(std::sync::atomic::Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// The first Ctrl-C (or SIGTERM) lets the run stop at the next safe point, the second one ends it at once: every point
/// is safe, only slower to go on from.
fn watch_signals(cancel: &Cancel) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    let cancel = cancel.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            if cancel.is_cancelled() {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            SIGNAL.store(
                u8::try_from(signal).unwrap_or_default(),
                std::sync::atomic::Ordering::SeqCst,
            );
            cancel.cancel();
        }
    });
}
