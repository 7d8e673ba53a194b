//! What exists: the instances that a transfer's source offers and that its target holds.
//!
//! Only reads. [`files`] walks directories, [`remote`] lists what an authenticated manifest names, [`link`] looks where
//! a current symlink points. What follows from it is decided in [`crate::resolve`].

pub mod cache;
pub mod files;
pub mod link;
pub mod remote;

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::metadata::Metadata;
use link::Link;

/// One version of one artifact, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What its name, manifest line or inode says.
    pub metadata: Metadata,
    /// Where it is.
    pub location: Location,
    /// How far it has come; instances of a source are always complete.
    pub state: State,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A line of a manifest: the entry's name, relative to the manifest's URL.
    Remote {
        /// The name as the manifest spells it.
        name: String,
    },
    /// A file.
    File {
        /// The inner path, symlinks above it resolved.
        path: PathBuf,
        /// When the inode last changed (`st_ctime`), in nanoseconds since the epoch: when the file got its name.
        changed: i128,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { name } => formatter.write_str(name),
            Self::File { path, .. } => path.display().fmt(formatter),
        }
    }
}

/// How far an instance has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// In use under its final name.
    Complete,
    /// Whole and verified, but not installed: `.sysupdate.pending.NAME`.
    Pending,
    /// Being written, or left behind by a run that was cut off: `.sysupdate.partial.NAME`.
    Partial,
}

impl State {
    /// What the file name carries in front in this state.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            State::Complete => "",
            State::Pending => ".sysupdate.pending.",
            State::Partial => ".sysupdate.partial.",
        }
    }
}

impl Instance {
    /// The inner path of a local instance.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::File { path, .. } => Some(path),
            Location::Remote { .. } => None,
        }
    }

    /// The order of listings: newest version first, complete before pending before partial, then by path.
    fn listing_order(&self, other: &Self) -> Ordering {
        let version = other.metadata.version.cmp(&self.metadata.version);
        version
            .then_with(|| self.state.cmp(&other.state))
            .then_with(|| self.place().cmp(other.place()))
    }

    fn place(&self) -> &Path {
        match &self.location {
            Location::Remote { name } => Path::new(name),
            Location::File { path, .. } => path,
        }
    }
}

/// Everything known about one transfer.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// What the source offers, newest first; empty when it was not asked.
    pub available: Vec<Instance>,
    /// What the target holds, newest first, unfinished instances included.
    pub installed: Vec<Instance>,
    /// Where the current symlink points, if the transfer has one.
    pub link: Option<Link>,
}

/// Brings instances into listing order and notes versions that stand in several places.
pub(crate) fn sort(instances: &mut [Instance], mut duplicate: impl FnMut(&Instance, &Instance)) {
    instances.sort_by(Instance::listing_order);
    for pair in instances.windows(2) {
        if pair[0].metadata.version == pair[1].metadata.version
            && pair[0].location != pair[1].location
        {
            duplicate(&pair[0], &pair[1]);
        }
    }
}
