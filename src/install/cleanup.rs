//! Removes what was installed once and no transfer owns any more, as the installation database knows it (compat 3,
//! section 3.4).

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Executor;
use super::database::{self, Record};
use super::vacuum;
use crate::definition::transfer::Transfer;
use crate::definition::{Component, ComponentName};
use crate::inventory::files;
use crate::pattern::{Pattern, Patterns};
use crate::root::{Directory, Root};
use crate::storage::atomic::{self, AtomicError, Durability};

/// What is not owned cannot be found or removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// A directory cannot be read.
    #[error("cannot look for what is not owned any more in '{}'", path.display())]
    Look {
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something cannot be removed.
    #[error(transparent)]
    Remove(#[from] AtomicError),
}

/// Deeper trees are none that any pattern has made.
const DEPTH: usize = 32;

/// What becomes of a directory that nothing is left in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It stays.
    Stays,
    /// It goes, before it is forgotten what it was for.
    Goes,
}

/// Removes what the database knows of a component and none of its transfers, enabled or not, covers. Returns how much.
///
/// # Errors
/// The first failure; what came before it is removed.
pub fn run(
    executor: &Executor<'_>,
    name: &ComponentName,
    component: Option<&Component>,
    emptied: Emptied,
) -> Result<usize, CleanupError> {
    let transfers = component.map_or(&[][..], |component| &component.transfers);
    let owners: Vec<Owner<'_>> = transfers
        .iter()
        .filter_map(|transfer| Owner::of(executor, transfer))
        .collect();
    let mut removed = 0;
    for record in database::records(executor.root, name) {
        let mut search = Search {
            executor,
            owners: &owners,
            record: &record,
            found: Vec::new(),
            kept: false,
        };
        search.look()?;
        for (path, relative) in &search.found {
            remove(executor, &record.directory, path)?;
            removed += 1;
            executor.say(format!(
                "Successfully removed '{relative}' which is no longer owned by any transfer files."
            ));
        }
        let is_owned = owners.iter().any(|owner| owner.made(&record));
        if !search.kept && !is_owned {
            if emptied == Emptied::Goes {
                atomic::remove_if_empty(executor.root, &record.directory, executor.durability)?;
            }
            database::forget(executor.root, name, &record, executor.durability)?;
        }
    }
    Ok(removed)
}

/// The place that a transfer installs to.
struct Owner<'a> {
    directory: PathBuf,
    written: &'a Path,
    patterns: &'a Patterns,
}

impl<'a> Owner<'a> {
    fn of(executor: &Executor<'_>, transfer: &'a Transfer) -> Option<Self> {
        let own = transfer.target();
        let written = own.place.directory()?;
        Some(Self {
            directory: executor
                .root
                .canonicalize(written)
                .unwrap_or_else(|_| written.to_path_buf()),
            written,
            patterns: own.patterns,
        })
    }

    fn covers(&self, path: &Path) -> bool {
        path.strip_prefix(&self.directory)
            .ok()
            .and_then(Path::to_str)
            .is_some_and(|relative| self.patterns.match_path(relative).metadata.is_some())
    }

    fn made(&self, record: &Record) -> bool {
        self.written == record.directory && self.patterns.iter().any(|one| *one == record.pattern)
    }
}

struct Search<'a> {
    executor: &'a Executor<'a>,
    owners: &'a [Owner<'a>],
    record: &'a Record,
    /// What goes: inner path, and path below the record's directory.
    found: Vec<(PathBuf, String)>,
    /// Whether something matches that is owned by a transfer.
    kept: bool,
}

impl Search<'_> {
    fn look(&mut self) -> Result<(), CleanupError> {
        match self.executor.root.directory(&self.record.directory) {
            Ok(directory) => self.directory(&directory, "", 0),
            Err(error) if is_absent(&error) => Ok(()),
            Err(source) => Err(self.failed(&self.record.directory, source)),
        }
    }

    fn directory(
        &mut self,
        directory: &Directory,
        prefix: &str,
        depth: usize,
    ) -> Result<(), CleanupError> {
        let entries = directory
            .entries()
            .map_err(|source| self.failed(directory.path(), source))?;
        let patterns: Patterns = std::iter::once(self.record.pattern.clone()).collect();
        for entry in entries {
            let Some(name) = entry.name.to_str() else {
                continue;
            };
            // What a run that was cut off has left counts as well.
            let (_, bare) = files::split_state(name);
            let relative = format!("{prefix}{bare}");
            let outcome = patterns.match_path(&relative);
            let is_directory = entry.kind == FileType::Directory;
            if outcome.metadata.is_some() && (is_directory || entry.kind == FileType::RegularFile) {
                let path = directory.path().join(&entry.name);
                if self.owners.iter().any(|owner| owner.covers(&path)) {
                    self.kept = true;
                } else {
                    self.found.push((path, relative));
                }
            } else if is_directory && outcome.descend && depth < DEPTH {
                let below = match directory.subdirectory(&entry.name) {
                    Ok(below) => below,
                    Err(error) if is_absent(&error) => continue,
                    Err(source) => return Err(self.failed(&directory.path().join(name), source)),
                };
                self.directory(&below, &format!("{relative}/"), depth + 1)?;
            }
        }
        Ok(())
    }

    fn failed(&self, path: &Path, source: io::Error) -> CleanupError {
        CleanupError::Look {
            path: self.executor.root.outer(path),
            source,
        }
    }
}

/// Removes a file or a tree, and before it the links that lead to it, where such links lie: none may lead nowhere.
fn remove(executor: &Executor<'_>, top: &Path, path: &Path) -> Result<(), CleanupError> {
    let Executor {
        root, durability, ..
    } = *executor;
    let parent = path.parent().unwrap_or(Path::new("/"));
    for place in LINK_PLACES.iter().map(Path::new).chain([parent]) {
        if let Ok(directory) = root.directory(place) {
            remove_links(root, &directory, path, 0, durability)?;
        }
    }
    // `CurrentSymlink=` may lie in a directory of its own.
    if let Ok(directory) = root.directory(top) {
        remove_links(root, &directory, path, LINK_DEPTH, durability)?;
    }
    let is_tree = root
        .stat(path)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    if is_tree {
        vacuum::remove_tree(executor, path, parent)?;
    } else {
        vacuum::remove_file(executor, path, parent)?;
    }
    Ok(())
}

/// Removes the links in a directory, and so many levels below it, that lead to a path, and pushes that to the disk.
fn remove_links(
    root: &Root,
    directory: &Directory,
    path: &Path,
    depth: usize,
    durability: Durability,
) -> Result<(), AtomicError> {
    let mut removed = false;
    for entry in directory.entries().unwrap_or_default() {
        let place = directory.path().join(&entry.name);
        match entry.kind {
            FileType::Symlink if root.canonicalize(&place).is_ok_and(|to| to == path) => {
                atomic::remove(root, directory, &entry.name)?;
                removed = true;
            }
            FileType::Directory if depth > 0 && place != path => {
                if let Ok(below) = directory.subdirectory(&entry.name) {
                    remove_links(root, &below, path, depth - 1, durability)?;
                }
            }
            _ => {}
        }
    }
    if removed {
        // What goes next lies in another directory, perhaps on another file system; btrfs does not keep the order either.
        atomic::sync_directory(root, directory, durability)?;
    }
    Ok(())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Deeper below a target no link is looked for.
const LINK_DEPTH: usize = 2;

/// Where current symlinks of extensions lie, apart from beside what they lead to.
const LINK_PLACES: [&str; 4] = [
    "/var/lib/extensions",
    "/var/lib/confexts",
    "/etc/extensions",
    "/etc/confexts",
];

impl Record {
    /// Reads the text of a database entry: `DIRECTORY/./PATTERN`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (directory, pattern) = text.split_once("/./")?;
        let directory = if directory.is_empty() { "/" } else { directory };
        Some(Self {
            directory: Some(PathBuf::from(directory)).filter(|path| path.is_absolute())?,
            pattern: pattern.parse::<Pattern>().ok()?,
            text: text.to_owned(),
        })
    }
}
