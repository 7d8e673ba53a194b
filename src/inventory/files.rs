//! Instances that are files in a directory.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, StatxFlags, StatxTimestamp};

use super::{Arrival, Instance, Location, Provenance, State};
use crate::pattern::Patterns;
use crate::root::{Directory, Root};

/// Which names count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A source: unfinished names are somebody else's work and ignored.
    // compat: the original lists them and dies with an assertion (compat 2, B5.4 rule 4).
    Source,
    /// A target: unfinished names are instances in their state.
    Target,
}

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Regular files.
    Files,
    /// Directories.
    Trees,
}

/// A directory that cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory exists but does not open.
    #[error("Failed to open directory '{}'", path.display())]
    Open {
        /// The outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An entry cannot be examined.
    #[error("Failed to stat '{}'", path.display())]
    Stat {
        /// The outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Lists the files or directories below `directory` that match, newest version first. A directory that is missing holds
/// nothing (compat 2, B5.2).
///
/// # Errors
/// When a directory exists and cannot be read.
pub fn list(
    root: &Root,
    directory: &Path,
    patterns: &Patterns,
    sort: Sort,
    side: Side,
) -> Result<Vec<Instance>, FilesError> {
    let Some(top) = open(root, directory)? else {
        return Ok(Vec::new());
    };
    let mut walk = Walk {
        root,
        patterns,
        sort,
        side,
        found: Vec::new(),
    };
    walk.directory(&top, "", State::Complete)?;
    Ok(walk.found)
}

/// Names of unfinished files or directories directly in `directory` that none of the patterns covers (what `RemoveTemporary=` removes).
///
/// # Errors
/// When the directory exists and cannot be read.
pub fn unclaimed_temporaries(
    root: &Root,
    directory: &Path,
    patterns: &[&Patterns],
    sort: Sort,
) -> Result<Vec<PathBuf>, FilesError> {
    let Some(opened) = open(root, directory)? else {
        return Ok(Vec::new());
    };
    let entries = opened.entries().map_err(|source| FilesError::Open {
        path: root.outer(directory),
        source,
    })?;
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind == sort.file_type())
        .filter(|entry| match entry.name.to_str().map(split_state) {
            // compat: what was acquired under another name may be wanted again; what was cut off is not.
            Some((State::Complete | State::Pending, _)) | None => false,
            Some((State::Partial, name)) => patterns
                .iter()
                .all(|patterns| patterns.match_path(name).metadata.is_none()),
        })
        .map(|entry| opened.path().join(entry.name))
        .collect())
}

/// Opens a directory; `None` when it is missing.
fn open(root: &Root, directory: &Path) -> Result<Option<Directory>, FilesError> {
    match root.directory(directory) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FilesError::Open {
            path: root.outer(directory),
            source,
        }),
    }
}

struct Walk<'a> {
    root: &'a Root,
    patterns: &'a Patterns,
    sort: Sort,
    side: Side,
    found: Vec<Instance>,
}

impl Sort {
    fn file_type(self) -> FileType {
        match self {
            Self::Files => FileType::RegularFile,
            Self::Trees => FileType::Directory,
        }
    }
}

impl Walk<'_> {
    /// Looks at all entries of a directory whose names below the top are `prefix` + entry.
    fn directory(
        &mut self,
        directory: &Directory,
        prefix: &str,
        inherited: State,
    ) -> Result<(), FilesError> {
        let entries = directory.entries().map_err(|source| FilesError::Open {
            path: self.root.outer(directory.path()),
            source,
        })?;
        for entry in entries {
            // A name that is no UTF-8 cannot match: patterns are text.
            let Some(raw) = entry.name.to_str() else {
                continue;
            };
            let (own, name) = split_state(raw);
            if own != State::Complete && self.side == Side::Source {
                continue;
            }
            // A mark on a directory above is another kind of transfer's: below it nothing can be installed from.
            let state = if inherited == State::Complete {
                own
            } else {
                State::Partial
            };
            let path = format!("{prefix}{name}");
            // compat: a directory can be an instance, and lead to others (compat 2, B2 rule 11).
            if entry.kind == self.sort.file_type() {
                self.found(directory, &entry.name, &path, state)?;
            }
            match entry.kind {
                FileType::Directory
                    if self.patterns.is_recursive() || self.patterns.match_path(&path).descend =>
                {
                    let below = match directory.subdirectory(&entry.name) {
                        Ok(below) => below,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        Err(source) => {
                            let path = self.root.outer(&directory.path().join(&entry.name));
                            return Err(FilesError::Open { path, source });
                        }
                    };
                    self.directory(&below, &format!("{path}/"), state)?;
                }
                // Symlinks, devices and pipes are never instances, nor ways to them.
                _ => {}
            }
        }
        Ok(())
    }

    fn found(
        &mut self,
        directory: &Directory,
        name: &OsStr,
        path: &str,
        state: State,
    ) -> Result<(), FilesError> {
        let Some(mut metadata) = self.patterns.match_path(path).metadata else {
            return Ok(());
        };
        let place = directory.path().join(name);
        let stat = match directory.stat_with_birth(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(FilesError::Stat {
                    path: self.root.outer(&place),
                    source,
                });
            }
        };
        metadata.mtime = metadata
            .mtime
            .or(u64::try_from(nanoseconds(stat.stx_mtime) / 1000).ok());
        metadata.mode = metadata.mode.or(Some(u32::from(stat.stx_mode) & 0o775));
        let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let is_cut_off = self.side == Side::Target && directory.is_cut_off(stat.stx_size);
        let state = if is_cut_off { State::Partial } else { state };
        let provenance = match state {
            State::Pending => provenance(directory, name),
            State::Complete | State::Partial => None,
        };
        let arrival = Arrival {
            created: has_birth.then(|| nanoseconds(stat.stx_btime)),
            changed: nanoseconds(stat.stx_ctime),
        };
        self.found.push(Instance {
            metadata,
            location: Location::File {
                path: place,
                arrival,
            },
            state,
            provenance,
        });
        Ok(())
    }
}

/// What the file says of its download; file systems without extended attributes keep none.
fn provenance(directory: &Directory, name: &OsStr) -> Option<Provenance> {
    let file = directory.open_to_read(name).ok()?;
    let mut text = [0; 128];
    let length = rustix::fs::fgetxattr(&file, Provenance::ATTRIBUTE, &mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.parse().ok()
}

fn nanoseconds(stamp: StatxTimestamp) -> i128 {
    i128::from(stamp.tv_sec) * 1_000_000_000 + i128::from(stamp.tv_nsec)
}

/// Splits the mark of an unfinished file off its name.
pub(crate) fn split_state(name: &str) -> (State, &str) {
    for state in [State::Pending, State::Partial] {
        if let Some(rest) = name.strip_prefix(state.prefix()) {
            return (state, rest);
        }
    }
    (State::Complete, name)
}
