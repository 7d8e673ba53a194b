//! A transfer while its files are read: every setting as given, nothing checked against another.
//!
//! Filled by the key table, judged by [`super::check`].

use std::path::PathBuf;
use std::time::Duration;

use super::github;
use super::transfer::{
    Activation, Authentication, Check, Located, Overrides, SourceAccess, Verification,
};
use crate::gpt::types::PartitionType;
use crate::pattern::Patterns;
use crate::version::{Version, VersionRange};

/// All settings of one transfer.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) description: Option<String>,
    pub(super) min_version: Option<Located<Version>>,
    pub(super) max_version: Option<Located<Version>>,
    pub(super) range: Option<Located<VersionRange>>,
    pub(super) skip: Vec<Located<Version>>,
    pub(super) protected: Vec<Version>,
    /// Whether the manifest is authenticated at all.
    pub(super) verified: bool,
    /// How it is, if it is.
    pub(super) scheme: Verification,
    pub(super) keys: Vec<PathBuf>,
    pub(super) threshold: usize,
    pub(super) max_age: Option<Located<Duration>>,
    pub(super) changelog: Vec<String>,
    pub(super) appstream: Vec<String>,
    pub(super) features: Vec<String>,
    pub(super) requisite_features: Vec<String>,
    pub(super) source: End,
    pub(super) target: End,
    pub(super) manifest: Option<String>,
    pub(super) access: SourceAccess,
    pub(super) github: github::Settings,
    pub(super) instances_max: Option<u64>,
    pub(super) remove_temporary: bool,
    pub(super) current_symlink: Option<PathBuf>,
    pub(super) overrides: Overrides,
    pub(super) partition_type: Option<PartitionType>,
    pub(super) zero_fill: Option<bool>,
    pub(super) activation: Activation,
    pub(super) check: Check,
}

impl Default for Draft {
    fn default() -> Self {
        let usual = Authentication::default();
        Self {
            description: None,
            min_version: None,
            max_version: None,
            range: None,
            skip: Vec::new(),
            protected: Vec::new(),
            verified: true,
            scheme: usual.scheme,
            keys: Vec::new(),
            threshold: usual.threshold,
            max_age: usual.max_age,
            changelog: Vec::new(),
            appstream: Vec::new(),
            features: Vec::new(),
            requisite_features: Vec::new(),
            source: End::default(),
            target: End::default(),
            manifest: None,
            access: SourceAccess::default(),
            github: github::Settings::default(),
            instances_max: None,
            remove_temporary: true,
            current_symlink: None,
            overrides: Overrides::default(),
            partition_type: None,
            zero_fill: None,
            activation: Activation::default(),
            check: Check::default(),
        }
    }
}

/// What `[Source]` and `[Target]` have in common.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) kind: Option<ResourceType>,
    pub(super) path: PathSetting,
    pub(super) relative_to: RelativeTo,
    pub(super) patterns: Patterns,
}

/// `Path=`.
#[derive(Debug, Default)]
pub(super) enum PathSetting {
    #[default]
    Unset,
    /// The word `auto`.
    Automatic,
    /// May be empty, which is refused later.
    At(Located<String>),
}

/// `Type=`, of sources and targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourceType {
    UrlFile,
    UrlTar,
    Tar,
    RegularFile,
    Directory,
    Subvolume,
    Partition,
    /// Of sources in the native form.
    Github,
}

impl ResourceType {
    /// Those that systemd knows.
    pub(super) const ALL: [Self; 7] = [
        Self::UrlFile,
        Self::UrlTar,
        Self::Tar,
        Self::RegularFile,
        Self::Directory,
        Self::Subvolume,
        Self::Partition,
    ];

    /// The word in definitions and messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::UrlFile => "url-file",
            Self::UrlTar => "url-tar",
            Self::Tar => "tar",
            Self::RegularFile => "regular-file",
            Self::Directory => "directory",
            Self::Subvolume => "subvolume",
            Self::Partition => "partition",
            Self::Github => "github",
        }
    }
}

/// `PathRelativeTo=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum RelativeTo {
    #[default]
    Root,
    Esp,
    Xbootldr,
    Boot,
    Explicit,
}

impl RelativeTo {
    pub(super) const ALL: [Self; 5] = [
        Self::Root,
        Self::Esp,
        Self::Xbootldr,
        Self::Boot,
        Self::Explicit,
    ];

    /// The word in definitions and messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Esp => "esp",
            Self::Xbootldr => "xbootldr",
            Self::Boot => "boot",
            Self::Explicit => "explicit",
        }
    }
}
