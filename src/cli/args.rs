//! The command line, as text; nothing is computed here.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::generate;

/// Keeps versioned artifacts on this host current
#[derive(Debug, Parser)]
#[command(
    name = "sysupdate",
    version,
    disable_version_flag = true,
    help_template = generate::help(),
    infer_long_args = true
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a command line are booleans"
)]
pub(crate) struct Args {
    /// The verb and its arguments
    #[arg(hide = true, value_name = "COMMAND")]
    pub(crate) words: Vec<String>,
    /// Work on component NAME
    #[arg(short = 'C', long = "component", value_name = "NAME", overrides_with_all = ["component", "component_all", "component_suggested"])]
    pub(crate) component: Option<String>,
    /// Work on all components (not with `list`, `vacuum`, `components`)
    #[arg(short = 'A', long, overrides_with_all = ["component", "component_all", "component_suggested"])]
    pub(crate) component_all: bool,
    /// Work on all suggested components (with `enable-component`, `disable-component`)
    #[arg(short = 'S', long, overrides_with_all = ["component", "component_all", "component_suggested"])]
    pub(crate) component_suggested: bool,
    /// Work on all features (with `enable-feature`, `disable-feature`)
    #[arg(short = 'a', long, overrides_with_all = ["feature_all", "feature_suggested"])]
    pub(crate) feature_all: bool,
    /// Work on all suggested features
    #[arg(short = 's', long, overrides_with_all = ["feature_all", "feature_suggested"])]
    pub(crate) feature_suggested: bool,
    /// Read transfer definitions from DIR only
    #[arg(long, value_name = "DIR", overrides_with = "definitions", value_parser = path())]
    pub(crate) definitions: Option<PathBuf>,
    /// Work on the file system tree below PATH
    #[arg(long, value_name = "PATH", overrides_with = "root", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
    /// Work on the file systems in the disk image PATH
    #[arg(long, value_name = "PATH", overrides_with = "image", value_parser = path())]
    pub(crate) image: Option<PathBuf>,
    /// What that image must, may and must not have
    #[arg(long, value_name = "POLICY", overrides_with = "image_policy")]
    pub(crate) image_policy: Option<String>,
    /// The directory that `PathRelativeTo=explicit` sources lie in
    #[arg(long, value_name = "PATH", overrides_with = "transfer_source", value_parser = path())]
    pub(crate) transfer_source: Option<PathBuf>,
    /// How many versions to keep
    #[arg(
        short = 'm',
        long,
        value_name = "NUMBER",
        overrides_with = "instances_max"
    )]
    pub(crate) instances_max: Option<String>,
    /// Reboot when something was installed (with `update`)
    #[arg(long, overrides_with = "reboot")]
    pub(crate) reboot: bool,
    /// Reboot when anything waits for it, within the window of config.toml (with `reboot`)
    #[arg(long, overrides_with = "required")]
    pub(crate) required: bool,
    /// Repair what is safe to repair (with `doctor`)
    #[arg(long, overrides_with = "fix")]
    pub(crate) fix: bool,
    /// Ask the sources as well (with `doctor`)
    #[arg(long, overrides_with = "online")]
    pub(crate) online: bool,
    /// Also remove what no transfer owns any more (with `update`)
    #[arg(long, value_name = "BOOL", overrides_with = "cleanup")]
    pub(crate) cleanup: Option<String>,
    /// Whether to sync data to the disk
    #[arg(long, value_name = "BOOL", overrides_with = "sync")]
    pub(crate) sync: Option<String>,
    /// Force verification of signatures on or off
    #[arg(long, value_name = "BOOL", overrides_with = "verify")]
    pub(crate) verify: Option<String>,
    /// Accept, once, what does not follow from what was seen of a source
    #[arg(long, overrides_with = "accept_manifest")]
    pub(crate) accept_manifest: bool,
    /// Do not use the network: only what is on this host counts
    #[arg(long, overrides_with = "offline")]
    pub(crate) offline: bool,
    /// Switch files and links, but merge, reload and restart nothing
    #[arg(long, overrides_with = "no_activate")]
    pub(crate) no_activate: bool,
    /// Seconds to wait for another run (120 if not given), or `infinity`
    #[arg(long, value_name = "SECONDS", overrides_with = "wait")]
    pub(crate) wait: Option<String>,
    /// Judge images by the os-release file of the next operating system (with `list`, `check-new`, `plan`, `acquire`,
    /// `gate`)
    #[arg(long, value_name = "FILE", overrides_with = "for_os_release")]
    pub(crate) for_os_release: Option<PathBuf>,
    /// Downloads at a time (8 if not given)
    #[arg(long, value_name = "NUMBER", overrides_with = "jobs")]
    pub(crate) jobs: Option<usize>,
    /// The most that all downloads together may use, in bytes per second (K, M, G: 1024, …)
    #[arg(long, value_name = "RATE", overrides_with = "limit_rate")]
    pub(crate) limit_rate: Option<String>,
    /// Write progress as JSON lines to this file descriptor, a pipe or a file
    #[arg(long, value_name = "FD", overrides_with = "progress_fd")]
    pub(crate) progress_fd: Option<String>,
    /// Seconds to wait for a connection, an answer, or bytes that come too slowly (30 and 60 if not given)
    #[arg(
        long,
        hide = true,
        value_name = "SECONDS",
        overrides_with = "network_timeout"
    )]
    pub(crate) network_timeout: Option<u64>,
    /// Milliseconds before a failed request is repeated for the first time (200 if not given)
    #[arg(
        long,
        hide = true,
        value_name = "MILLISECONDS",
        overrides_with = "retry_delay"
    )]
    pub(crate) retry_delay: Option<u64>,
    /// Show why each version is, or is not, chosen (with `list`)
    #[arg(long, overrides_with = "why")]
    pub(crate) why: bool,
    /// Print JSON: short, pretty or off
    #[arg(long, value_name = "FORMAT", overrides_with = "json")]
    pub(crate) json: Option<String>,
    /// Do not print headers and footers
    #[arg(long, overrides_with = "no_legend")]
    pub(crate) no_legend: bool,
    /// Do not start a pager (none is ever started)
    #[arg(long, hide = true, overrides_with = "no_pager")]
    pub(crate) no_pager: bool,
    /// Print nothing but results and errors
    #[arg(short, long, overrides_with = "quiet")]
    pub(crate) quiet: bool,
    /// The bakery to look into: its URL, or its name in config.toml (with `search`, `list`, `add`, `import`)
    #[arg(long, value_name = "BAKERY", overrides_with = "from")]
    pub(crate) from: Option<String>,
    /// A unit to restart after each update (with `add`; several times)
    #[arg(long, value_name = "UNIT")]
    pub(crate) restart: Vec<String>,
    /// How updates take effect: auto, refresh, stage or reboot (with `add`)
    #[arg(long, value_name = "MODE", overrides_with = "mode")]
    pub(crate) mode: Option<String>,
    /// The public key that the publisher signs with, OpenPGP or minisign (with `add`)
    #[arg(long, value_name = "FILE", overrides_with = "key")]
    pub(crate) key: Option<PathBuf>,
    /// Let what was added take effect at once (with `add`)
    #[arg(long, overrides_with = "now")]
    pub(crate) now: bool,
    /// Leave the images where they are (with `remove`)
    #[arg(long, overrides_with = "keep_images")]
    pub(crate) keep_images: bool,
    /// Do not ask (with `remove`, `import`)
    #[arg(long, short = 'y', overrides_with = "yes")]
    pub(crate) yes: bool,
    /// Show the version of this program; with `add`, the version to install
    #[arg(long, short = 'V', value_name = "VERSION", num_args = 0..=1, default_missing_value = "", overrides_with = "version")]
    pub(crate) version: Option<String>,
}

/// A path, which may be empty: that takes an earlier one back.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
