//! What is known of a component's versions beyond what lies on disk and at the source: decisions of the operator, what
//! earlier runs learned, and what a look into the images has shown.
//!
//! Values only. `install::marks` keeps [`Marks`] on disk, `session::fit` finds misfits.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// All that weighs on the choice of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// The version that an explicit downgrade has chosen.
    pub choice: Option<Version>,
    /// What is on record.
    pub marks: Marks,
    /// Versions whose image does not fit this host, with the reason.
    pub misfits: Vec<(Version, String)>,
}

impl Knowledge {
    /// Why the image of a version does not fit, as far as it was looked at.
    #[must_use]
    pub fn misfit(&self, version: &Version) -> Option<&str> {
        let mut misfits = self.misfits.iter();
        misfits
            .find(|(misfit, _)| misfit == version)
            .map(|(_, why)| why.as_str())
    }
}

/// What is on record of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marks {
    /// Nothing newer is installed while this stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Versions that do not come back by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Mark>,
}

impl Marks {
    /// The mark of a version.
    #[must_use]
    pub fn of(&self, version: &Version) -> Option<&Mark> {
        self.versions.iter().find(|mark| mark.version == *version)
    }

    /// Puts a mark in the place of the version's old one.
    pub fn set(&mut self, mark: Mark) {
        self.forget(&mark.version);
        self.versions.push(mark);
    }

    /// Drops the mark of a version; whether there was one.
    pub fn forget(&mut self, version: &Version) -> bool {
        let before = self.versions.len();
        self.versions.retain(|mark| mark.version != *version);
        self.versions.len() < before
    }

    /// Whether nothing is on record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The operator's wish that a component stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Since when (RFC 3339).
    pub since: String,
}

/// A version that is not installed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The version.
    pub version: Version,
    /// What happened.
    pub kind: MarkKind,
    /// The SHA-256 of its parts, by transfer: a version that is published anew with other bytes is another one.
    #[serde(default)]
    pub digests: BTreeMap<String, String>,
    /// When (RFC 3339).
    pub since: String,
    /// What was seen, in a line.
    pub reason: String,
}

/// What happened to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// It failed its trial and was reverted.
    Bad,
    /// The operator went back from it.
    Left,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (since, reason) = (&self.since, &self.reason);
        match self.kind {
            MarkKind::Bad => write!(formatter, "bad since {since}: {reason}"),
            MarkKind::Left => write!(formatter, "held back since {since}: {reason}"),
        }
    }
}
