//! The crash-safe record of a trial: what moved, from where to where, and how far its trial has come.
//!
//! Written before the first link moves and removed when the trial has ended, so whoever finds it knows that an end is
//! owed. It holds all that is needed to go on or to go back: definitions may have changed in between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::definition::ComponentName;
use crate::definition::transfer::{Activation, Check};
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};
use crate::version::Version;

const DIRECTORY: &str = "/var/lib/sysupdate/trial";
const FILE: &str = "/var/lib/sysupdate/trial/record.json";
/// The largest record, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;
/// What this program writes and understands.
const FORMAT: u32 = 1;

/// The trial of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How it is written.
    pub(super) format: u32,
    /// The boot during which the phase was written.
    pub boot: Option<String>,
    /// When the trial began (RFC 3339).
    pub started: String,
    /// What asked for it.
    pub command: String,
    /// How far it has come.
    pub phase: Phase,
    /// How many boots have tried it since.
    #[serde(default)]
    pub boots: u32,
    /// Units that had failed before it began.
    #[serde(default)]
    pub failed_before: Vec<String>,
    /// Units of the components that were up before it began.
    #[serde(default)]
    pub up_before: Vec<String>,
    /// The components on trial.
    pub members: Vec<Member>,
}

/// How far a trial has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Files get their names and links move.
    Switching,
    /// Extensions are merged, units reloaded and restarted.
    Activating,
    /// Everything is done, and its health is watched.
    Checking,
    /// Everything stands; it takes effect with the next boot, or by `activate`.
    Staged,
    /// Those members that have a verdict go back.
    Reverting,
}

/// One component on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; the default component has none.
    pub component: Option<String>,
    /// The version on trial.
    pub version: Version,
    /// The version that was in use before.
    pub previous: Option<Version>,
    /// Its artifacts.
    pub parts: Vec<Part>,
    /// What its definition wants to happen.
    pub activation: Activation,
    /// What its definition calls healthy.
    pub check: Check,
    /// What follows a failure.
    pub on_failure: OnFailure,
    /// Why it goes back, once that is decided.
    #[serde(default)]
    pub verdict: Option<String>,
    /// The last lines of the logs of its units that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// What follows a failed trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The way back.
    Revert,
    /// Nothing: this is the way back already.
    Stay,
}

/// One artifact of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The transfer's id.
    pub transfer: String,
    /// The inner path of the installed file.
    pub target: PathBuf,
    /// Where it was before this trial, if this trial gave it its name: an inner path.
    pub pending: Option<PathBuf>,
    /// Whether it is written into a partition, whose table says whether it is installed: a trial moves files only.
    #[serde(default)]
    pub partition: bool,
    /// Whether its name has a boot counter, which the boot loader and systemd-bless-boot change.
    #[serde(default)]
    pub counted: bool,
    /// Whether it is a tree that is made unchangeable once it is installed.
    #[serde(default)]
    pub read_only: bool,
    /// The SHA-256 that its manifest names, if one does.
    pub digest: Option<String>,
    /// The link that leads to it, if its transfer has one.
    pub link: Option<LinkMove>,
}

/// The move of one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkMove {
    /// Its inner path.
    pub path: PathBuf,
    /// The inner path of the file it led to, if it led to one.
    pub before: Option<PathBuf>,
}

impl Record {
    /// Takes over what stands of an earlier record. Returns the members whose place others have taken: they are tried no
    /// more, but what has proved itself before them is what those go back to.
    pub(super) fn inherit(&mut self, earlier: Self) -> Vec<Member> {
        let mut replaced = Vec::new();
        // Whoever has a verdict is back where it was; on record with the others it would be switched to again.
        for old in earlier
            .members
            .into_iter()
            .filter(|old| old.verdict.is_none())
        {
            let own = |new: &&mut Member| new.component == old.component;
            let Some(new) = self.members.iter_mut().find(own) else {
                self.members.push(old);
                continue;
            };
            new.go_back_like(&old);
            replaced.push(old);
        }
        replaced
    }

    /// A trial that begins.
    #[must_use]
    pub fn new(
        boot: Option<String>,
        started: String,
        command: String,
        members: Vec<Member>,
    ) -> Self {
        Self {
            format: FORMAT,
            boot,
            started,
            command,
            phase: Phase::Switching,
            boots: 0,
            failed_before: Vec::new(),
            up_before: Vec::new(),
            members,
        }
    }
}

impl Member {
    /// Whether it brings an image that a merge has to attach.
    pub(super) fn has_image(&self) -> bool {
        let image = |part: &Part| {
            part.target
                .extension()
                .is_some_and(|suffix| suffix == "raw")
        };
        self.parts.iter().any(image)
    }

    /// Goes back to what another would have gone back to, whose version never proved itself.
    fn go_back_like(&mut self, other: &Self) {
        let both = [self.on_failure, other.on_failure];
        if both != [OnFailure::Revert; 2] || other.previous.as_ref() == Some(&self.version) {
            return;
        }
        self.previous.clone_from(&other.previous);
        for part in &mut self.parts {
            let same = |old: &&Part| old.transfer == part.transfer;
            let old = other
                .parts
                .iter()
                .find(same)
                .and_then(|old| old.link.as_ref());
            if let (Some(link), Some(old)) = (&mut part.link, old)
                && link.path == old.path
            {
                link.before.clone_from(&old.before);
            }
        }
    }

    /// Whether a part of it is in a partition.
    pub(super) fn has_partition(&self) -> bool {
        self.parts.iter().any(|part| part.partition)
    }

    /// The component's name.
    #[must_use]
    pub fn name(&self) -> ComponentName {
        match &self.component {
            None => ComponentName::Default,
            Some(name) => ComponentName::Named(name.clone()),
        }
    }

    /// The digests of its parts, by transfer.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, String> {
        let parts = self.parts.iter();
        parts
            .filter_map(|part| Some((part.transfer.clone(), part.digest.clone()?)))
            .collect()
    }
}

/// The record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read the record of the unfinished trial, '{}'", path.display())]
    Read {
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no record.
    #[error("the record of the unfinished trial, '{}', is damaged", path.display())]
    Damaged {
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// Another version of this program wrote it.
    #[error("the record of the unfinished trial, '{}', has format {format}; this program knows {FORMAT}", path.display())]
    Unknown {
        /// Its outer path.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// It cannot be written or removed.
    #[error("cannot keep the record of the trial")]
    Write(#[source] AtomicError),
}

impl RecordError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Write(_) => "nothing was switched",
            Self::Damaged { .. } | Self::Unknown { .. } => {
                "look at it; when `sysupdate status` shows what should be there, remove the file, and the next run goes on"
            }
        }
    }
}

/// The open trial of a component, if there is one.
///
/// # Errors
/// When there is a record that cannot be read.
pub fn of(root: &Root, name: &ComponentName) -> Result<Option<Member>, RecordError> {
    let mut members = read(root)?.into_iter().flat_map(|record| record.members);
    Ok(members.find(|member| member.name() == *name))
}

/// The record of an unfinished trial, if there is one.
///
/// # Errors
/// When it cannot be read or is not understood.
pub fn read(root: &Root) -> Result<Option<Record>, RecordError> {
    let path = || root.outer(Path::new(FILE));
    let bytes = match root.read(Path::new(FILE), LIMIT) {
        Ok(bytes) => bytes,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(source) => {
            return Err(RecordError::Read {
                path: path(),
                source,
            });
        }
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|source| RecordError::Damaged {
        path: path(),
        source,
    })?;
    if record.format != FORMAT {
        return Err(RecordError::Unknown {
            path: path(),
            format: record.format,
        });
    }
    Ok(Some(record))
}

/// Puts a record on disk; it is there when this returns.
///
/// # Errors
/// When the file system refuses.
pub fn write(root: &Root, record: &Record) -> Result<(), RecordError> {
    let mut text = serde_json::to_vec_pretty(record).expect("texts, paths and lists are JSON");
    text.push(b'\n');
    atomic::write(root, Path::new(FILE), &text, 0o644).map_err(RecordError::Write)
}

/// Removes the record.
///
/// # Errors
/// When the file system refuses.
pub fn clear(root: &Root) -> Result<(), RecordError> {
    atomic::remove_file_if_any(
        root,
        Path::new(FILE),
        Path::new(DIRECTORY),
        Durability::Synced,
    )
    .map_err(RecordError::Write)
}
