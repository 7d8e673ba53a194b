//! Which files define something: search directories, precedence, masks, drop-ins (compat 1 section 2).
//!
//! Lists directories and looks at inodes; opens no definition.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::error::DefinitionError;
use crate::event::{Event, Reporter, Severity};
use crate::root::Root;

/// Where definitions lie, highest priority first.
pub(super) const DIRECTORIES: [&str; 4] = ["/etc", "/run", "/usr/local/lib", "/usr/lib"];

/// Looks through a list of directories.
pub(super) struct Search<'a> {
    pub(super) root: &'a Root,
    pub(super) reporter: &'a dyn Reporter,
    /// Inner paths, highest priority first.
    pub(super) directories: Vec<PathBuf>,
}

/// A file that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Without its suffix.
    pub(super) stem: String,
    pub(super) path: PathBuf,
}

impl Search<'_> {
    /// The files with the suffix, sorted by name: of one name only that of the first directory, and not when that is a mask.
    ///
    /// # Errors
    /// When a directory or an inode cannot be read.
    pub(super) fn files(&self, suffix: &str) -> Result<Vec<Found>, DefinitionError> {
        self.collect("", suffix, |kind| match kind {
            Kind::File => Verdict::Use,
            Kind::Empty | Kind::Null => Verdict::Mask,
            Kind::Other => Verdict::Ignore,
        })
    }

    /// The drop-ins of `unit` (`x.transfer`), sorted by name. A link to /dev/null is among them: reading it fails.
    ///
    /// # Errors
    /// When a directory or an inode cannot be read.
    pub(super) fn drop_ins(&self, unit: &str) -> Result<Vec<PathBuf>, DefinitionError> {
        let files = self.collect(&format!("{unit}.d"), ".conf", |kind| match kind {
            Kind::File | Kind::Empty | Kind::Null => Verdict::Use,
            Kind::Other => Verdict::Ignore,
        })?;
        Ok(files.into_iter().map(|found| found.path).collect())
    }

    /// The file `name` of the first directory that has one.
    ///
    /// # Errors
    /// When an inode cannot be read.
    pub(super) fn first(&self, name: &str) -> Result<Option<(PathBuf, Kind)>, DefinitionError> {
        for directory in &self.directories {
            let path = directory.join(name);
            match self.kind(&path)? {
                None | Some(Kind::Other) => {}
                Some(kind) => return Ok(Some((path, kind))),
            }
        }
        Ok(None)
    }

    fn collect(
        &self,
        subdirectory: &str,
        suffix: &str,
        judge: fn(Kind) -> Verdict,
    ) -> Result<Vec<Found>, DefinitionError> {
        let mut names: BTreeMap<OsString, Option<PathBuf>> = BTreeMap::new();
        for directory in &self.directories {
            let directory = if subdirectory.is_empty() {
                directory.clone()
            } else {
                directory.join(subdirectory)
            };
            for name in list(self.root, &directory, |_| true)? {
                let stem = name.as_bytes().strip_suffix(suffix.as_bytes());
                if stem.is_none() || name.as_bytes().starts_with(b".") || names.contains_key(&name)
                {
                    continue;
                }
                let path = directory.join(&name);
                match self.kind(&path)?.map_or(Verdict::Ignore, judge) {
                    Verdict::Use => names.insert(name, Some(path)),
                    Verdict::Mask => names.insert(name, None),
                    Verdict::Ignore => None,
                };
            }
        }
        let found = |(name, path): (OsString, Option<PathBuf>)| {
            let stem = name.as_bytes().strip_suffix(suffix.as_bytes())?;
            Some(Found {
                stem: String::from_utf8_lossy(stem).into_owned(),
                path: path?,
            })
        };
        Ok(names.into_iter().filter_map(found).collect())
    }

    /// What the path leads to; `None` when nothing is there. A link that leads nowhere is reported.
    fn kind(&self, path: &Path) -> Result<Option<Kind>, DefinitionError> {
        let (kind, dangling) = kind(self.root, path)?;
        if dangling {
            let text = format!(
                "Failed to chase '{}': No such file or directory",
                shown(self.root, path).display()
            );
            self.reporter
                .report(&Event::Message(Severity::Warning, text));
        }
        Ok(kind)
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file with something in it.
    File,
    /// A regular file of 0 bytes.
    Empty,
    /// /dev/null.
    Null,
    /// A directory, a device, a pipe.
    Other,
}

enum Verdict {
    Use,
    Mask,
    Ignore,
}

/// What `path` leads to, and whether it is a link that leads nowhere.
fn kind(root: &Root, path: &Path) -> Result<(Option<Kind>, bool), DefinitionError> {
    let fail = |source: io::Error| DefinitionError::Read {
        path: shown(root, path),
        source,
    };
    let link = match root.read_link(path) {
        Ok(link) => link,
        Err(error) if is_absent(&error) => return Ok((None, false)),
        Err(error) => return Err(fail(error)),
    };
    // An alternate root often has no /dev/null: the link's text is enough.
    if link.as_deref() == Some(Path::new("/dev/null")) {
        return Ok((Some(Kind::Null), false));
    }
    let stat = match root.stat(path) {
        Ok(stat) => stat,
        Err(error) if is_absent(&error) => return Ok((None, link.is_some())),
        Err(error) => return Err(fail(error)),
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_size == 0 => Kind::Empty,
        FileType::RegularFile => Kind::File,
        FileType::CharacterDevice if stat.st_rdev == rustix::fs::makedev(1, 3) => Kind::Null,
        _ => Kind::Other,
    };
    Ok((Some(kind), false))
}

/// The names in a directory whose type passes; none when the directory is missing.
fn list(
    root: &Root,
    directory: &Path,
    wanted: fn(FileType) -> bool,
) -> Result<Vec<OsString>, DefinitionError> {
    let fail = |source: io::Error| DefinitionError::List {
        path: shown(root, directory),
        source,
    };
    let opened = match root.directory(directory) {
        Ok(opened) => opened,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let entries = opened.entries().map_err(fail)?;
    Ok(entries
        .into_iter()
        .filter(|entry| wanted(entry.kind))
        .map(|entry| entry.name)
        .collect())
}

/// All NAMEs of `sysupdate.NAME.d` directories (compat 1 section 7.1), not yet judged; some twice.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn component_directories(root: &Root) -> Result<Vec<String>, DefinitionError> {
    let mut names = Vec::new();
    for directory in DIRECTORIES {
        let directory = Path::new(directory);
        for name in list(root, directory, |kind| {
            matches!(kind, FileType::Directory | FileType::Symlink)
        })? {
            let Some(component) = component_of(&name) else {
                continue;
            };
            let leads_to_directory = root
                .stat(&directory.join(&name))
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
            if leads_to_directory {
                names.push(component.to_owned());
            }
        }
    }
    Ok(names)
}

fn component_of(name: &OsStr) -> Option<&str> {
    name.to_str()?
        .strip_prefix("sysupdate.")?
        .strip_suffix(".d")
}

/// How messages name an inner path: relative when it lies in an alternate root (compat 1 section 2.12).
pub(super) fn shown(root: &Root, inner: &Path) -> PathBuf {
    if root.is_host() {
        inner.to_path_buf()
    } else {
        inner.strip_prefix("/").unwrap_or(inner).to_path_buf()
    }
}

/// Nothing is there, or a link leads in a circle.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
