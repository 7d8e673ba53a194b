//! What exists: the instances that a transfer's source offers and that its target holds.
//!
//! Only reads. [`files`] walks directories, [`slots`] looks at partitions, [`remote`] lists what an authenticated manifest
//! names, or the releases of a repository, [`link`] looks where a current symlink points. What follows from it is decided
//! in [`crate::resolve`].

pub mod cache;
pub mod files;
pub mod link;
pub mod remote;
pub mod seen;
pub mod shared;
pub mod slots;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::definition::transfer::Verification;
use crate::metadata::{Metadata, MetadataError, Sha256};
use crate::verify::memory::Changed;
use crate::version::Version;
use link::Link;
use slots::Slot;

/// One version of one artifact, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What its name, manifest line or inode says.
    pub metadata: Metadata,
    /// Where it is.
    pub location: Location,
    /// How far it has come; instances of a source are always complete.
    pub state: State,
    /// What a pending file says of its download, if it was acquired by this program.
    pub provenance: Option<Provenance>,
}

/// What the run that acquired a file wrote down at it, in an extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// The digest of the bytes as transferred.
    pub sha256: Sha256,
    /// How the manifest that named the digest was authenticated.
    pub verification: Verification,
}

impl Provenance {
    /// The attribute's name.
    pub const ATTRIBUTE: &str = "user.sysupdate.provenance";
}

impl fmt::Display for Provenance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.sha256, self.verification.word())
    }
}

impl FromStr for Provenance {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, MetadataError> {
        let (digest, verification) = text.split_once(' ').unwrap_or((text, ""));
        let known = [Verification::OpenPgp, Verification::Minisign];
        let verification = known
            .into_iter()
            .find(|known| known.word() == verification)
            .unwrap_or(Verification::Skip);
        Ok(Self {
            sha256: digest.parse()?,
            verification,
        })
    }
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A line of a manifest: the entry's name, relative to the manifest's URL.
    Remote {
        /// The name as the manifest spells it.
        name: String,
    },
    /// An asset of a release: something that has an address of its own.
    Asset {
        /// `TAG/NAME`.
        name: String,
        /// The address.
        url: String,
        /// Its size in bytes, as announced.
        size: u64,
    },
    /// A file, or a directory.
    File {
        /// The inner path, symlinks above it resolved.
        path: PathBuf,
        /// When it came here.
        arrival: Arrival,
    },
    /// A partition.
    Slot(Slot),
}

/// When a file came to its place, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When the inode was made (`stx_btime`), where the file system keeps it: when the download began.
    pub created: Option<i128>,
    /// When the inode last changed (`stx_ctime`): when the file got its name, or any later change.
    pub changed: i128,
}

impl Arrival {
    /// Whether this came after the other, as far as that can be told: neither a touched file nor one that was
    /// downloaded long before it was installed counts as later.
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        let created = match (self.created, other.created) {
            (Some(own), Some(others)) => own > others,
            _ => true,
        };
        created && self.changed > other.changed
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { name } | Self::Asset { name, .. } => formatter.write_str(name),
            Self::File { path, .. } | Self::Slot(Slot { path, .. }) => {
                path.display().fmt(formatter)
            }
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
            Location::File { path, .. } | Location::Slot(Slot { path, .. }) => Some(path),
            Location::Remote { .. } | Location::Asset { .. } => None,
        }
    }

    /// The partition of one that is in one.
    #[must_use]
    pub fn slot(&self) -> Option<&Slot> {
        match &self.location {
            Location::Slot(slot) => Some(slot),
            Location::File { .. } | Location::Remote { .. } | Location::Asset { .. } => None,
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
            Location::Remote { name } | Location::Asset { name, .. } => Path::new(name),
            Location::File { path, .. } | Location::Slot(Slot { path, .. }) => path,
        }
    }
}

/// Everything known about one transfer.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// What the source offers, newest first; empty when it was not asked.
    pub available: Vec<Instance>,
    /// Versions that are offered, but with other bytes than they were seen with.
    pub changed: BTreeMap<Version, Changed>,
    /// What the target holds, newest first, unfinished instances included.
    pub installed: Vec<Instance>,
    /// Partitions of the target that hold nothing.
    pub free: Vec<Slot>,
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
