//! The one reader of the environment, and of what the command line's texts mean.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one home of environment reads"
)]

use std::env;
use std::fs::File;
use std::io::IsTerminal as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::UsageError;
use super::args::Args;
use super::output::glyphs::{Glyphs, Words};
use super::output::json::JsonFormat;
use crate::definition::ComponentName;
use crate::definition::transfer::Verification;
use crate::definition::value;
use crate::event::Severity;
use crate::host::TemporaryDirectories;
use crate::install::lock::Patience;
use crate::inventory::remote::Freshness;
use crate::plan::Reach;
use crate::storage::atomic::Durability;
use crate::storage::dissect::policy::{ImagePolicy, PolicyError};
use crate::verify::memory::Acceptance;

/// How long another run is waited for without `--wait=`: a timer and an operator may well meet.
const WAIT: Duration = Duration::from_secs(120);
/// Downloads at a time without `--jobs=`.
pub(super) const JOBS: usize = 8;

/// What a run was asked for, apart from the verb.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a command line are booleans"
)]
pub(super) struct Settings {
    pub(super) selection: Selection,
    pub(super) features: FeatureSelection,
    /// `--reboot`: after an installation.
    pub(super) reboot: bool,
    /// `--fix`: `doctor` repairs.
    pub(super) fix: bool,
    /// `--online`: `doctor` asks the sources.
    pub(super) online: bool,
    /// `--required`: reboot for whatever waits for it.
    pub(super) required: bool,
    /// `--cleanup=`.
    pub(super) cleanup: Option<bool>,
    /// What `search`, `add` and `remove` are told.
    pub(super) bakery: BakeryRequest,
    /// The directories with credentials, encrypted ones too.
    pub(super) all_credentials: Vec<PathBuf>,
    /// In the place of `/etc/machine-info`.
    pub(super) machine_info: Option<PathBuf>,
    pub(super) definitions: Option<PathBuf>,
    /// The signs of tables.
    pub(super) glyphs: Glyphs,
    pub(super) root: Option<PathBuf>,
    /// `--image=`.
    pub(super) image: Option<PathBuf>,
    pub(super) image_policy: ImagePolicy,
    pub(super) transfer_source: Option<PathBuf>,
    /// `SYSTEMD_ESP_PATH`.
    pub(super) esp: Option<PathBuf>,
    /// `SYSTEMD_XBOOTLDR_PATH`.
    pub(super) xbootldr: Option<PathBuf>,
    pub(super) instances_max: Option<u64>,
    pub(super) durability: Durability,
    pub(super) verification: Option<Verification>,
    pub(super) reach: Reach,
    pub(super) activation: ActivationRequest,
    pub(super) patience: Patience,
    pub(super) jobs: Option<usize>,
    pub(super) progress: Option<File>,
    pub(super) notify: Option<String>,
    pub(super) limit_rate: Option<NonZeroU64>,
    pub(super) network_timeout: Option<Duration>,
    pub(super) retry_delay: Option<Duration>,
    pub(super) json: JsonFormat,
    pub(super) legend: Legend,
    pub(super) reasons: Reasons,
    pub(super) talk: Talk,
    pub(super) keyring: Option<PathBuf>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) freshness: Freshness,
    pub(super) acceptance: Acceptance,
    pub(super) temporary: TemporaryDirectories,
    /// `--for-os-release=`: images have to fit this operating system.
    pub(super) for_os_release: Option<PathBuf>,
    /// The call, for the history.
    pub(super) command: String,
    /// Who called, for the history.
    pub(super) user: String,
}

/// Which components a verb works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// One: the default, or the one of `--component=`.
    One(ComponentName),
    /// `--component-all`.
    All,
    /// `--component-suggested`.
    Suggested,
}

/// Which features a verb works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeatureSelection {
    /// Those of the arguments.
    Named,
    /// `--feature-all`.
    All,
    /// `--feature-suggested`.
    Suggested,
}

/// What is asked of a bakery's extensions.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a command line are booleans"
)]
pub(super) struct BakeryRequest {
    /// `--from=`.
    pub(super) from: Option<String>,
    /// `--restart=`.
    pub(super) restart: Vec<String>,
    /// `--mode=`.
    pub(super) mode: Option<String>,
    /// `--key=`.
    pub(super) key: Option<PathBuf>,
    /// `--version=`, with `add`.
    pub(super) version: Option<String>,
    /// `--now`.
    pub(super) now: bool,
    /// `--keep-images`.
    pub(super) keep_images: bool,
    /// `--yes`.
    pub(super) yes: bool,
    /// Whether there is somebody to ask.
    pub(super) answers: bool,
}

impl BakeryRequest {
    fn of(args: &Args) -> Self {
        Self {
            from: args.from.clone(),
            restart: args.restart.clone(),
            mode: args.mode.clone(),
            key: args.key.clone(),
            version: args.version.clone().filter(|version| !version.is_empty()),
            now: args.now,
            keep_images: args.keep_images,
            yes: args.yes,
            answers: std::io::stdin().is_terminal(),
        }
    }
}

/// Whether switches are followed by activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActivationRequest {
    Wanted,
    /// `--no-activate`.
    Unwanted,
}

/// Whether tables have headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Legend {
    Shown,
    /// `--no-legend`.
    Hidden,
}

/// Whether `list` explains itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reasons {
    Hidden,
    /// `--why`.
    Shown,
}

/// How much is said on stderr, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talk {
    /// What matters less is not said.
    pub(super) threshold: Severity,
    /// Whether bars can be drawn.
    pub(super) terminal: bool,
}

impl Settings {
    pub(super) fn read(args: &Args) -> Result<Self, UsageError> {
        let selection = selection(args)?;
        let json = match &args.json {
            None => JsonFormat::Off,
            Some(text) => text.parse()?,
        };
        let verification = match boolean("--verify=", args.verify.as_deref())? {
            None => None,
            Some(true) => Some(Verification::OpenPgp),
            Some(false) => Some(Verification::Skip),
        };
        let durability = match boolean("--sync=", args.sync.as_deref())? {
            Some(false) => Durability::Unsynced,
            Some(true) | None => Durability::Synced,
        };
        if args.definitions.is_some() && selection != Selection::One(ComponentName::Default) {
            return Err(UsageError::new(
                "The --definitions= and --component=/--component-all/--component-suggested switches may not be \
                 combined.",
            ));
        }
        let (image, image_policy) = image(args)?;
        Ok(Self {
            selection,
            features: features(args),
            reboot: args.reboot,
            fix: args.fix,
            online: args.online,
            required: args.required,
            cleanup: boolean("--cleanup=", args.cleanup.as_deref())?,
            bakery: BakeryRequest::of(args),
            all_credentials: all_credentials(),
            machine_info: env::var_os("SYSTEMD_ETC_MACHINE_INFO").map(PathBuf::from),
            definitions: args
                .definitions
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            root: args
                .root
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            glyphs: glyphs(),
            image,
            image_policy,
            transfer_source: args.transfer_source.clone(),
            esp: env::var_os("SYSTEMD_ESP_PATH").map(PathBuf::from),
            xbootldr: env::var_os("SYSTEMD_XBOOTLDR_PATH").map(PathBuf::from),
            instances_max: args
                .instances_max
                .as_deref()
                .map(instances_max)
                .transpose()?,
            durability,
            verification,
            reach: reach(args),
            activation: activation(args),
            patience: args
                .wait
                .as_deref()
                .map_or(Ok(Patience::For(WAIT)), patience)?,
            jobs: args.jobs,
            limit_rate: args.limit_rate.as_deref().map_or(Ok(None), rate)?,
            network_timeout: args.network_timeout.map(Duration::from_secs),
            retry_delay: args.retry_delay.map(Duration::from_millis),
            progress: args.progress_fd.as_deref().map(progress).transpose()?,
            notify: env::var("NOTIFY_SOCKET").ok(),
            json,
            legend: if args.no_legend {
                Legend::Hidden
            } else {
                Legend::Shown
            },
            reasons: if args.why {
                Reasons::Shown
            } else {
                Reasons::Hidden
            },
            talk: talk(args),
            keyring: keyring()?,
            credentials: credentials(),
            freshness: freshness(),
            acceptance: if args.accept_manifest {
                Acceptance::Once
            } else {
                Acceptance::Never
            },
            temporary: temporary(),
            for_os_release: args.for_os_release.clone(),
            command: args.words.join(" "),
            user: user(),
        })
    }
}

fn reach(args: &Args) -> Reach {
    if args.offline {
        Reach::Offline
    } else {
        Reach::Online
    }
}

fn activation(args: &Args) -> ActivationRequest {
    if args.no_activate {
        ActivationRequest::Unwanted
    } else {
        ActivationRequest::Wanted
    }
}

fn features(args: &Args) -> FeatureSelection {
    match (args.feature_all, args.feature_suggested) {
        (true, _) => FeatureSelection::All,
        (_, true) => FeatureSelection::Suggested,
        _ => FeatureSelection::Named,
    }
}

fn all_credentials() -> Vec<PathBuf> {
    ["CREDENTIALS_DIRECTORY", "ENCRYPTED_CREDENTIALS_DIRECTORY"]
        .into_iter()
        .filter_map(env::var_os)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .collect()
}

fn selection(args: &Args) -> Result<Selection, UsageError> {
    Ok(match &args.component {
        _ if args.component_all => Selection::All,
        _ if args.component_suggested => Selection::Suggested,
        None => Selection::One(ComponentName::Default),
        Some(name) if name.is_empty() => Selection::One(ComponentName::Default),
        Some(name) => Selection::One(
            name.parse()
                .map_err(|error| UsageError::new(format!("{error}")))?,
        ),
    })
}

/// Who is behind this process: the user that sudo or pkexec names, else the number of the effective one.
fn user() -> String {
    let named = ["SUDO_USER", "PKEXEC_UID"]
        .into_iter()
        .find_map(|name| env::var(name).ok())
        .filter(|name| !name.is_empty() && !name.chars().any(char::is_control));
    named.unwrap_or_else(|| match rustix::process::geteuid() {
        rustix::process::Uid::ROOT => "root".to_owned(),
        other => other.as_raw().to_string(),
    })
}

fn talk(args: &Args) -> Talk {
    let debug =
        env::var_os("SYSTEMD_LOG_LEVEL").is_some_and(|level| level == "debug" || level == "7");
    let threshold = match (args.quiet, debug) {
        (true, _) => Severity::Error,
        (false, true) => Severity::Debug,
        (false, false) => Severity::Info,
    };
    let dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    Talk {
        threshold,
        terminal: std::io::stderr().is_terminal() && !dumb && !args.quiet,
    }
}

/// The first of the usual variables that names a directory by an absolute path (compat 1, section 5).
fn temporary() -> TemporaryDirectories {
    let named = ["TMPDIR", "TEMP", "TMP"]
        .into_iter()
        .filter_map(|name| env::var(name).ok());
    match named
        .into_iter()
        .find(|path| Path::new(path).is_absolute() && Path::new(path).is_dir())
    {
        Some(path) => TemporaryDirectories {
            short_lived: path.clone(),
            persistent: path,
        },
        None => TemporaryDirectories::default(),
    }
}

/// compat 2, B7.3: an empty variable is as if unset; a relative path is refused.
fn keyring() -> Result<Option<PathBuf>, UsageError> {
    let Some(path) = env::var_os("SYSTEMD_OPENPGP_KEYRING").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    let normalized = path.to_str().is_some_and(value::is_normalized_absolute);
    if !normalized {
        return Err(UsageError::new(format!(
            "$SYSTEMD_OPENPGP_KEYRING must be an absolute, normalized path, got '{}'.",
            path.display()
        )));
    }
    Ok(Some(path))
}

/// Where systemd puts the credentials of a service (systemd.exec(5)).
fn credentials() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?);
    path.is_absolute().then_some(path)
}

fn freshness() -> Freshness {
    let text = env::var("SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS").ok();
    match text.as_deref().map(value::boolean) {
        Some(Ok(false)) => Freshness::Ignored,
        Some(Ok(true) | Err(_)) | None => Freshness::Enforced,
    }
}

fn boolean(option: &str, text: Option<&str>) -> Result<Option<bool>, UsageError> {
    let Some(text) = text else { return Ok(None) };
    match value::boolean(text) {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(UsageError::new(format!(
            "Failed to parse boolean argument to '{option}': {text}"
        ))),
    }
}

fn instances_max(text: &str) -> Result<u64, UsageError> {
    text.parse().map_err(|_| {
        UsageError::new(format!(
            "Failed to parse --instances-max= parameter: {text}"
        ))
    })
}

/// `0` means no limit, as it does to curl(1) and others.
fn rate(text: &str) -> Result<Option<NonZeroU64>, UsageError> {
    let (digits, factor) = match text.chars().next_back() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1 << 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 1 << 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64),
    };
    let rate = digits
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(factor));
    rate.map(NonZeroU64::new).ok_or_else(|| {
        UsageError::new(format!(
            "Failed to parse --limit-rate= parameter: {text} (expected bytes per second, like '500K' or '10M')"
        ))
    })
}

/// Opened once more by its name in /proc, so that ours can be set not to wait without that of the caller changing.
fn progress(text: &str) -> Result<File, UsageError> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let number: u32 = text.parse().map_err(|_| {
        UsageError::new(format!("Failed to parse --progress-fd= parameter: {text}"))
    })?;
    rustix::fs::open(format!("/proc/self/fd/{number}"), flags, Mode::empty())
        .map(File::from)
        .map_err(|error| {
            let cause = std::io::Error::from(error);
            UsageError::new(format!(
                "Cannot write to the file descriptor of --progress-fd={text}: {cause}"
            ))
        })
}

fn patience(text: &str) -> Result<Patience, UsageError> {
    if text == "infinity" {
        return Ok(Patience::Forever);
    }
    let seconds = text.strip_suffix('s').unwrap_or(text);
    match seconds.parse() {
        Ok(seconds) => Ok(Patience::For(Duration::from_secs(seconds))),
        Err(_) => Err(UsageError::new(format!(
            "Failed to parse --wait= parameter: {text} (expected a number of seconds, or 'infinity')"
        ))),
    }
}

/// The signs that tables may have.
fn glyphs() -> Glyphs {
    let text = |name| env::var(name).ok();
    let flag = |name| text(name).and_then(|text| boolean(name, Some(&text)).ok().flatten());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(text);
    let terminal = text("TERM");
    Glyphs::of(Words {
        locale: [0, 1, 2].map(|index| locale[index].as_deref()),
        terminal: terminal.as_deref(),
        unicode: flag("SYSTEMD_UTF8"),
        emoji: flag("SYSTEMD_EMOJI"),
    })
}

/// The image to work on, and what it must be like.
fn image(args: &Args) -> Result<(Option<PathBuf>, ImagePolicy), UsageError> {
    let named = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let image = named(&args.image);
    if image.is_some() && args.root.is_some() {
        return Err(UsageError::new(
            "Please specify either --root= or --image=, the combination of both is not supported.",
        ));
    }
    if named(&args.definitions).is_some() && (args.root.is_some() || image.is_some()) {
        return Err(UsageError::new(
            "The --definitions= switch may not be combined with --root= or --image=.",
        ));
    }
    let policy = args.image_policy.as_deref().map(str::parse).transpose();
    let policy = policy.map_err(|error: PolicyError| UsageError::new(error.to_string()))?;
    Ok((image, policy.unwrap_or(ImagePolicy::ALLOW)))
}
