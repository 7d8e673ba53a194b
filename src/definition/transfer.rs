//! Typed transfer definitions: what a run works with once text has been parsed and checked.
//!
//! Owns the types only. They are made by [`super::Loader`], from either syntax; nothing here reads or decides.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::github::GithubSource;
use crate::gpt::types::PartitionType;
use crate::metadata::Uuid;
use crate::pattern::Patterns;
use crate::version::{Version, VersionRange};

/// Where a setting stands; displayed as `FILE:LINE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as shown in messages: without leading slash when it was found in an alternate root.
    pub file: PathBuf,
    /// The physical line, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file.display(), self.line)
    }
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The assignment it comes from.
    pub origin: Origin,
}

/// One transfer of a component.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// File name without its extension (native: the component's name).
    pub id: String,
    /// The main file, as shown in messages.
    pub file: PathBuf,
    /// One line for people (`X-Description=`).
    pub description: Option<String>,
    /// Older versions are obsolete (`MinVersion=`).
    pub min_version: Option<Located<Version>>,
    /// Newer versions are no candidates (`MaxVersion=`).
    pub max_version: Option<Located<Version>>,
    /// Only versions inside are candidates (`X-VersionRange=`).
    pub range: Option<Located<VersionRange>>,
    /// Versions never to install (`X-SkipVersion=`).
    pub skip: Vec<Located<Version>>,
    /// Versions never to remove (`ProtectVersion=`).
    pub protected: Vec<Version>,
    /// How the manifest is authenticated (`Verify=`, `X-Signature=`).
    pub verification: Verification,
    /// What an authenticated manifest has to show.
    pub authentication: Authentication,
    /// URLs of change logs; `@v` stands for the version (`ChangeLog=`).
    pub changelog: Vec<String>,
    /// URLs of `AppStream` metadata (`AppStream=`).
    pub appstream: Vec<String>,
    /// At least one of these features must be enabled, if there are any (`Features=`).
    pub features: Vec<String>,
    /// All of these features must be enabled (`RequisiteFeatures=`).
    pub requisite_features: Vec<String>,
    /// Whether its features let it take part (compat 1 section 6.2).
    pub enabled: bool,
    /// From where to where.
    pub route: Route,
    /// Versions to keep, at least 2.
    pub instances_max: u64,
    /// Whether leftovers that match no pattern are removed.
    pub remove_temporary: bool,
    /// What happens after a link moved.
    pub activation: Activation,
    /// What counts as healthy then.
    pub check: Check,
}

/// How the manifest is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verification {
    /// By a detached `OpenPGP` signature over it.
    OpenPgp,
    /// By detached minisign signatures over it.
    Minisign,
    /// Not at all: the definition says so.
    Skip,
}

impl Verification {
    /// The word in definitions, listings and provenance.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OpenPgp => "openpgp",
            Self::Minisign => "minisign",
            Self::Skip => "none",
        }
    }
}

/// What an authenticated manifest has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// What verification means here while nobody turns it off: never [`Verification::Skip`] (`X-Signature=`).
    pub scheme: Verification,
    /// Whose signatures count (`X-Keys=`).
    pub keys: Keys,
    /// By so many distinct keys it must be signed, at least 1 (`X-Threshold=`).
    pub threshold: usize,
    /// It must not have been signed longer ago (`X-MaxAge=`).
    pub max_age: Option<Located<Duration>>,
}

impl Default for Authentication {
    /// What holds where a definition says nothing of it: one signature by a key of the host's keyrings.
    fn default() -> Self {
        Self {
            scheme: Verification::OpenPgp,
            keys: Keys::Usual(Vec::new()),
            threshold: 1,
            max_age: None,
        }
    }
}

/// Whose signatures count. All paths are inner ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Keys {
    /// The keys in all of these files.
    Listed(Vec<PathBuf>),
    /// The usual ones. For minisign those in the first of these files that exists, for `OpenPGP` the host's keyrings.
    Usual(Vec<PathBuf>),
}

/// The allowed pairs of source and target: a bad pair cannot be built.
#[derive(Debug, Clone)]
pub enum Route {
    /// One sequence of bytes into one file or partition.
    Blob {
        /// Where the bytes come from.
        source: BlobSource,
        /// What they become.
        target: BlobTarget,
    },
    /// A tree of files into one directory.
    Tree {
        /// Where the tree comes from.
        source: TreeSource,
        /// Where the directories lie.
        target: FileTarget,
        /// What the directories are.
        kind: TreeKind,
    },
}

/// Where the bytes come from.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// Files named by a manifest below a URL.
    Url(UrlSource),
    /// Files of a local directory.
    Directory(DirectorySource),
    /// `type = "github"`: assets of a repository's releases.
    Github(GithubSource),
}

/// What bytes become.
#[derive(Debug, Clone)]
pub enum BlobTarget {
    /// `Type=regular-file`.
    File(FileTarget),
    /// `Type=partition`.
    Slot(SlotTarget),
}

/// Where a tree comes from.
#[derive(Debug, Clone)]
pub enum TreeSource {
    /// `Type=url-tar` and `Type=tar`: archives.
    Archive(BlobSource),
    /// `Type=directory` and `Type=subvolume`: directories in a local one.
    Directory(DirectorySource, TreeKind),
}

/// What holds a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeKind {
    /// An ordinary directory.
    Directory,
    /// A btrfs subvolume; an ordinary directory on other file systems.
    Subvolume,
}

impl TreeKind {
    /// The word in definitions and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Subvolume => "subvolume",
        }
    }
}

/// A source, whatever it offers.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// What a manifest below a URL names.
    Url(&'a UrlSource),
    /// What a local directory holds.
    Directory(&'a DirectorySource),
    /// What the releases of a repository carry.
    Github(&'a GithubSource),
}

impl Source<'_> {
    /// Whether others than this host offer it.
    #[must_use]
    pub fn is_remote(self) -> bool {
        !matches!(self, Self::Directory(_))
    }
}

/// A target, whatever it holds.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Where and as what the instances stand.
    pub place: Place<'a>,
    /// What they are called; never empty.
    pub patterns: &'a Patterns,
    /// Normalized; relative means below the directory.
    pub current_symlink: Option<&'a Path>,
    /// The keys of `[Target]` that override what a source's name says.
    pub overrides: &'a Overrides,
}

/// Where instances stand.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// As files in this directory.
    Files(&'a Path),
    /// As directories in this directory.
    Trees(&'a Path, TreeKind),
    /// In partitions.
    Slots(&'a SlotTarget),
}

impl<'a> Place<'a> {
    /// The word in definitions and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Files(_) => "regular-file",
            Self::Trees(_, kind) => kind.word(),
            Self::Slots(_) => "partition",
        }
    }

    /// The directory that holds them, an absolute inner path; partitions have none.
    #[must_use]
    pub fn directory(self) -> Option<&'a Path> {
        match self {
            Self::Files(directory) | Self::Trees(directory, _) => Some(directory),
            Self::Slots(_) => None,
        }
    }
}

impl Target<'_> {
    /// The current symlink's inner path, if there is to be one.
    #[must_use]
    pub fn link(&self) -> Option<PathBuf> {
        let link = self.current_symlink?;
        Some(match self.place.directory() {
            Some(directory) => directory.join(link),
            None => link.to_path_buf(),
        })
    }
}

impl Transfer {
    /// Where its versions come from.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        match &self.route {
            Route::Blob { source, .. }
            | Route::Tree {
                source: TreeSource::Archive(source),
                ..
            } => match source {
                BlobSource::Url(source) => Source::Url(source),
                BlobSource::Directory(source) => Source::Directory(source),
                BlobSource::Github(source) => Source::Github(source),
            },
            Route::Tree {
                source: TreeSource::Directory(source, _),
                ..
            } => Source::Directory(source),
        }
    }

    /// Whether its source offers directories, not files.
    #[must_use]
    pub fn copies_trees(&self) -> bool {
        matches!(
            self.route,
            Route::Tree {
                source: TreeSource::Directory(..),
                ..
            }
        )
    }

    /// Whether it is one of those that only keep systemd-sysupdate from failing where nothing is defined: from `/` to `/`,
    /// by a pattern that nothing there matches.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        let top = Path::new("/");
        let target = self.target();
        matches!(self.source(), Source::Directory(source) if source.path == top)
            && target.place.directory() == Some(top)
            && target.current_symlink.is_none()
    }

    /// The word for what its source offers, in definitions and messages.
    #[must_use]
    pub fn source_word(&self) -> &'static str {
        match &self.route {
            Route::Blob { source, .. } => match source {
                BlobSource::Url(_) => "url-file",
                BlobSource::Directory(_) => "regular-file",
                BlobSource::Github(_) => "github",
            },
            Route::Tree { source, .. } => match source {
                TreeSource::Archive(BlobSource::Url(_)) => "url-tar",
                TreeSource::Archive(BlobSource::Directory(_)) => "tar",
                TreeSource::Archive(BlobSource::Github(_)) => "github",
                TreeSource::Directory(_, kind) => kind.word(),
            },
        }
    }

    /// Where its versions go.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        fn of_files(target: &FileTarget) -> (&Patterns, Option<&Path>, &Overrides) {
            let link = target.current_symlink.as_deref();
            (&target.patterns, link, &target.overrides)
        }
        let (place, (patterns, current_symlink, overrides)) = match &self.route {
            Route::Blob {
                target: BlobTarget::File(target),
                ..
            } => (Place::Files(&target.directory), of_files(target)),
            Route::Blob {
                target: BlobTarget::Slot(slots),
                ..
            } => (
                Place::Slots(slots),
                (
                    &slots.patterns,
                    slots.current_symlink.as_deref(),
                    &slots.overrides,
                ),
            ),
            Route::Tree { target, kind, .. } => {
                (Place::Trees(&target.directory, *kind), of_files(target))
            }
        };
        Target {
            place,
            patterns,
            current_symlink,
            overrides,
        }
    }
}

/// A manifest below a URL.
#[derive(Debug, Clone)]
pub struct UrlSource {
    /// `Path=` as written (specifiers expanded): manifests are fetched once per distinct text.
    pub base: String,
    /// The manifest's file name, `SHA256SUMS` by default.
    pub manifest: String,
    /// What the files are called.
    pub patterns: Patterns,
    /// How it is reached.
    pub access: SourceAccess,
}

/// How such a source is reached, besides its URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceAccess {
    /// Other URLs with the same layout, tried in order (`X-Mirrors=`).
    pub mirrors: Vec<String>,
    /// Headers of each request, name and value (`X-Header=`).
    pub headers: Vec<(String, String)>,
    /// What lets us in.
    pub credential: Option<SourceCredential>,
}

/// What lets us in: never a secret itself, unless somebody has written it into the URL.
#[derive(Clone, PartialEq, Eq)]
pub enum SourceCredential {
    /// The name of a credential that is passed to the service (`X-Credential=NAME`).
    Named(String),
    /// A file that only its owner can read (`X-Credential=/PATH`).
    File(PathBuf),
    /// The user and the password of the URL, percent-decoded.
    Login(String, String),
}

impl fmt::Debug for SourceCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(formatter),
            Self::File(path) => path.fmt(formatter),
            Self::Login(..) => formatter.write_str("Login"),
        }
    }
}

/// A local directory as a source.
#[derive(Debug, Clone)]
pub struct DirectorySource {
    /// The directory, an absolute inner path.
    pub path: PathBuf,
    /// What its entries are called, relative to the directory.
    pub patterns: Patterns,
}

/// Files or directories in a directory as a target.
#[derive(Debug, Clone)]
pub struct FileTarget {
    /// The directory, an absolute inner path.
    pub directory: PathBuf,
    /// What the files are called; never with the `**/` prefix, never empty.
    pub patterns: Patterns,
    /// Normalized; relative means below `directory`.
    pub current_symlink: Option<PathBuf>,
    /// The keys of `[Target]` that override what a source's name says (compat 2, B3.2).
    pub overrides: Overrides,
}

/// Partitions of one type as a target.
#[derive(Debug, Clone)]
pub struct SlotTarget {
    /// The disk that they are on.
    pub disk: Disk,
    /// Their type (`MatchPartitionType=`).
    pub kind: PartitionType,
    /// What they are labelled; never with the `**/` prefix, never empty.
    pub patterns: Patterns,
    /// Absolute and normalized.
    pub current_symlink: Option<PathBuf>,
    /// The keys of `[Target]` that override what a source's name says.
    pub overrides: Overrides,
    /// Whether the rest of the partition is zeroed (`PartitionZeroFill=`).
    pub zero_fill: bool,
}

/// A disk with a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disk {
    /// The one that the root file system is on (`Path=auto`).
    OfRoot,
    /// A block device or an image file, an absolute inner path.
    At(PathBuf),
}

/// Explicit `[Target]` keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `PartitionUUID=`, for `@u`.
    pub partition_uuid: Option<Uuid>,
    /// `PartitionFlags=`, for `@f`.
    pub partition_flags: Option<u64>,
    /// `PartitionNoAuto=`, for `@a`.
    pub no_auto: Option<bool>,
    /// `PartitionGrowFileSystem=`, for `@g`.
    pub grow_file_system: Option<bool>,
    /// `ReadOnly=`, for `@r`.
    pub read_only: Option<bool>,
    /// `Mode=`, bits of 07777, for `@m`.
    pub mode: Option<u32>,
    /// `TriesLeft=`, for `@l`.
    pub tries_left: Option<u64>,
    /// `TriesDone=`, for `@d`.
    pub tries_done: Option<u64>,
}

/// What happens after a link moved (`[X-Activate]`, `[activate]`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Whether and when extensions are merged again.
    pub mode: ActivationMode,
    /// Units to restart after the merge.
    pub restart: Units,
    /// Units to reload after the merge.
    pub reload: Units,
}

/// Which units are restarted or reloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Units {
    /// The active ones that the new image changes.
    #[default]
    Auto,
    /// These, and no others.
    Named(Vec<String>),
}

impl Units {
    /// The units that the definition names.
    #[must_use]
    pub fn named(&self) -> &[String] {
        match self {
            Self::Auto => &[],
            Self::Named(units) => units,
        }
    }
}

/// Whether and when extensions are merged again (product.md, "Activation").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationMode {
    /// Merge if the target lies in an extension search path.
    #[default]
    Auto,
    /// Merge in any case.
    Refresh,
    /// Switch nothing now, the next boot does.
    Stage,
    /// Like `Stage`, and ask for a reboot.
    Reboot,
}

/// What counts as healthy after activation (`[check]`, `Check…=` and `Settle=` in `[X-Activate]`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Units that must be active at the end, and must not have failed or been started anew on the way.
    pub units: Vec<String>,
    /// A command that must succeed, with its arguments; empty: none.
    pub command: Vec<String>,
    /// How long all this is watched; without it, as long as what the new version ships needs.
    pub settle: Option<Duration>,
}

impl Check {
    /// Whether nothing is to be checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.command.is_empty()
    }
}
