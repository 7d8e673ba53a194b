//! Writes a tree of files below one directory, and nothing outside it.
//!
//! Every name is reached from the top directory, component by component, without following a link: whatever an archive
//! says, and whoever plays with links meanwhile, nothing leaves the tree. Directories get their owner, mode and times last,
//! when nothing is written into them any more.

mod btrfs;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::atomic::{self, AtomicError, Durability};
use crate::root::{Directory, Root};

/// What an inode of a tree carries besides its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, with set-user-ID and the like.
    pub mode: u32,
    /// The owner and the group; only somebody privileged can give files away.
    pub owner: Option<(u32, u32)>,
    /// When it was last modified: seconds and nanoseconds since the epoch.
    pub modified: Option<(i64, u32)>,
    /// Extended attributes by their full names.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    /// The extended attributes that are not this program's own notes, which nothing else may write.
    fn foreign(&self) -> impl Iterator<Item = &(OsString, Vec<u8>)> {
        let is_ours = |name: &OsStr| name.as_encoded_bytes().starts_with(b"user.sysupdate.");
        self.xattrs.iter().filter(move |(name, _)| !is_ours(name))
    }
}

/// What is no file, directory or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A character device of this number.
    Character(u64),
    /// A block device of this number.
    Block(u64),
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
}

/// A tree that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The kernel refuses.
    #[error("cannot {operation} '{}'", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A name that is none of something in the tree.
    #[error("Invalid path name in entry, refusing. ('{}')", shortened(.0))]
    Path(PathBuf),
    /// More comes than may be written.
    #[error("more than {0} bytes would be written")]
    TooLarge(u64),
    /// It is deeper than anybody builds trees.
    #[error("'{}' is nested too deeply", shortened(.0))]
    Depth(PathBuf),
    /// There are more directories, or they carry more attributes, than can be kept in mind.
    #[error("the directories and their attributes are more than {HELD} bytes")]
    Directories,
}

/// A tree that is being written.
pub struct TreeWriter {
    top: Directory,
    /// For messages.
    outer: PathBuf,
    privilege: Privilege,
    /// What directories get at the end.
    directories: Vec<(PathBuf, Attributes)>,
    /// So many bytes those take.
    held: usize,
    /// The directory that was written to last.
    last: Option<(PathBuf, Directory)>,
    written: u64,
    limit: u64,
}

/// Whether owners, devices and attributes of the system can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privilege {
    Root,
    User,
}

/// So many bytes each inode counts for, whatever is in it: their names and themselves take room as well.
const INODE: u64 = 512;
/// What an extended attribute takes in memory besides its bytes: two lists and what the allocator adds.
const ATTRIBUTE: usize = size_of::<(OsString, Vec<u8>)>() + 64;

/// Deeper trees are refused: no path of the kernel's leads to what is in them, and nobody could clean up behind them.
pub const DEPTH: usize = 256;

/// The directories of a tree take no more memory, in bytes: some million of the usual ones.
const HELD: usize = 256 << 20;

/// The mode of a top directory that nothing says another for.
const TOP_MODE: u32 = 0o755;

impl TreeWriter {
    /// Goes to work in a directory that is empty, and writes at most `limit` bytes.
    #[must_use]
    pub fn new(root: &Root, top: Directory, limit: u64) -> Self {
        let privilege = if rustix::process::geteuid().is_root() {
            Privilege::Root
        } else {
            Privilege::User
        };
        Self {
            outer: root.outer(top.path()),
            top,
            privilege,
            directories: Vec::new(),
            held: 0,
            last: None,
            written: 0,
            limit,
        }
    }

    /// The top directory.
    #[must_use]
    pub fn top(&self) -> &Directory {
        &self.top
    }

    /// Counts what is about to be written.
    ///
    /// # Errors
    /// When it is more than may be.
    pub fn count(&mut self, bytes: u64) -> Result<(), TreeError> {
        self.written = self.written.saturating_add(bytes);
        if self.written > self.limit {
            return Err(TreeError::TooLarge(self.limit));
        }
        Ok(())
    }

    /// The error of a file that there was no room for.
    #[must_use]
    pub fn full(&self, source: io::Error) -> TreeError {
        self.failed("write below", Path::new(""), source)
    }

    /// Makes a directory, or takes one that an entry below it has made. The empty path is the top.
    ///
    /// # Errors
    /// When something else is there, or the kernel refuses.
    pub fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<(), TreeError> {
        self.count(INODE)?;
        if path.as_os_str().is_empty() {
            return self.hold(path, attributes);
        }
        let name = name_of(path)?.to_owned();
        let made = {
            let parent = self.parent(path)?;
            match rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => parent.subdirectory(&name).map(drop),
                other => other.map_err(io::Error::from),
            }
        };
        made.map_err(|error| self.failed("create directory", path, error))?;
        self.hold(path, attributes)
    }

    /// Keeps in mind what a directory gets at the end.
    fn hold(&mut self, path: &Path, attributes: Attributes) -> Result<(), TreeError> {
        let xattrs = attributes.xattrs.iter();
        let carried: usize = xattrs
            .map(|(name, value)| ATTRIBUTE + name.len() + value.len())
            .sum();
        self.held += size_of::<(PathBuf, Attributes)>() + path.as_os_str().len() + carried;
        if self.held > HELD {
            return Err(TreeError::Directories);
        }
        self.directories.push((path.to_path_buf(), attributes));
        Ok(())
    }

    /// Makes a file; `fill` writes it.
    ///
    /// # Errors
    /// When a directory is in its place, the kernel refuses, or `fill` fails.
    pub fn file<E: From<TreeError>>(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        fill: impl FnOnce(&mut Self, &File) -> Result<(), E>,
    ) -> Result<(), E> {
        self.count(INODE)?;
        let name = name_of(path)?.to_owned();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = self.replacing("create", path, |parent| {
            parent.open(&name, flags, Mode::from_raw_mode(0o600))
        })?;
        fill(self, &file)?;
        self.dress(&file, attributes)
            .map_err(|error| self.failed("set the attributes of", path, error))?;
        Ok(())
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// When a directory is in its place, or the kernel refuses.
    pub fn symlink(
        &mut self,
        path: &Path,
        text: &OsStr,
        attributes: &Attributes,
    ) -> Result<(), TreeError> {
        self.count(INODE)?;
        let name = name_of(path)?.to_owned();
        self.replacing("create symlink", path, |parent| {
            rustix::fs::symlinkat(text, parent, &name).map_err(io::Error::from)
        })?;
        self.dress_named(path, attributes, None)
    }

    /// Makes a device, a pipe or a socket.
    ///
    /// # Errors
    /// When a directory is in its place, or the kernel refuses.
    pub fn node(
        &mut self,
        path: &Path,
        node: Node,
        attributes: &Attributes,
    ) -> Result<(), TreeError> {
        self.count(INODE)?;
        let name = name_of(path)?.to_owned();
        let (kind, device) = match node {
            Node::Character(device) => (FileType::CharacterDevice, device),
            Node::Block(device) => (FileType::BlockDevice, device),
            Node::Pipe => (FileType::Fifo, 0),
            Node::Socket => (FileType::Socket, 0),
        };
        self.replacing("create node", path, |parent| {
            rustix::fs::mknodat(parent, &name, kind, Mode::from_raw_mode(0o600), device)
                .map_err(io::Error::from)
        })?;
        self.dress_named(path, attributes, Some(attributes.mode))
    }

    /// Gives something in the tree another name.
    ///
    /// # Errors
    /// When it is not in the tree, a directory is in the new name's place, or the kernel refuses.
    pub fn hard_link(&mut self, path: &Path, to: &Path) -> Result<(), TreeError> {
        self.count(INODE)?;
        let name = name_of(path)?.to_owned();
        let other = name_of(to)?.to_owned();
        let above = to.parent().unwrap_or(Path::new(""));
        let place = self.existing(above)?;
        if path == to {
            return Err(self.failed("link", path, io::Error::from(io::ErrorKind::InvalidInput)));
        }
        self.replacing("link", path, |parent| {
            rustix::fs::linkat(&place, &other, parent, &name, AtFlags::empty())
                .map_err(io::Error::from)
        })
    }

    /// Gives all directories their attributes. `mode` is what the top gets whatever came before.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn finish(mut self, mode: Option<u32>) -> Result<Directory, TreeError> {
        self.last = None;
        let mut directories = std::mem::take(&mut self.directories);
        if !directories
            .iter()
            .any(|(path, _)| path.as_os_str().is_empty())
        {
            let top = Attributes {
                mode: TOP_MODE,
                ..Attributes::default()
            };
            directories.push((PathBuf::new(), top));
        }
        // What was said last counts, and what is deep comes first: a change below changes the time above.
        directories.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (path, attributes) in &directories {
            let opened = self.existing(path)?;
            let mut attributes = attributes.clone();
            if path.as_os_str().is_empty() {
                attributes.mode = mode.unwrap_or(attributes.mode);
            }
            self.dress(&opened, &attributes)
                .map_err(|error| self.failed("set the attributes of", path, error))?;
        }
        Ok(self.top)
    }

    /// Does something in the directory above `path`, once more after what is in the way (no directory) has been removed.
    fn replacing<T>(
        &mut self,
        operation: &'static str,
        path: &Path,
        act: impl Fn(&Directory) -> io::Result<T>,
    ) -> Result<T, TreeError> {
        let name = name_of(path)?;
        let parent = self.parent(path)?;
        let done = match act(parent) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let removed = rustix::fs::unlinkat(parent, name, AtFlags::empty());
                removed.map_err(io::Error::from).and_then(|()| act(parent))
            }
            other => other,
        };
        done.map_err(|error| self.failed(operation, path, error))
    }

    /// The directory above `path`; those that are missing are made.
    fn parent(&mut self, path: &Path) -> Result<&Directory, TreeError> {
        let above = path.parent().unwrap_or(Path::new(""));
        if above.as_os_str().is_empty() {
            return Ok(&self.top);
        }
        let known = matches!(&self.last, Some((known, _)) if known == above);
        if !known {
            if above.components().count() > DEPTH {
                return Err(TreeError::Depth(path.to_path_buf()));
            }
            // What nothing names takes room as well.
            let mut made = 0;
            let opened = self.walk(above, Some(&mut made));
            self.count(made * INODE)?;
            self.last = Some((above.to_path_buf(), opened?));
        }
        match &self.last {
            Some((_, opened)) => Ok(opened),
            None => Ok(&self.top),
        }
    }

    /// A directory of the tree.
    fn existing(&self, path: &Path) -> Result<Directory, TreeError> {
        self.walk(path, None)
    }

    /// A directory of the tree; what is missing is made, and counted, if that is wanted.
    fn walk(&self, path: &Path, mut made: Option<&mut u64>) -> Result<Directory, TreeError> {
        let mut opened = self
            .top
            .subdirectory(OsStr::new("."))
            .map_err(|error| self.failed("open directory", Path::new(""), error))?;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(TreeError::Path(path.to_path_buf()));
            };
            opened = match opened.subdirectory(name) {
                Err(error) if made.is_some() && error.kind() == io::ErrorKind::NotFound => {
                    if let Some(made) = &mut made {
                        **made += 1;
                    }
                    rustix::fs::mkdirat(&opened, name, Mode::from_raw_mode(0o700))
                        .map_err(io::Error::from)
                        .and_then(|()| opened.subdirectory(name))
                }
                other => other,
            }
            .map_err(|error| self.failed("open directory", path, error))?;
        }
        Ok(opened)
    }

    /// Gives an open file or directory its owner, mode, attributes and time, in this order: a change of the owner takes
    /// set-user-ID bits and capabilities away.
    fn dress(
        &self,
        file: impl std::os::fd::AsFd + Copy,
        attributes: &Attributes,
    ) -> io::Result<()> {
        if let (Privilege::Root, Some((user, group))) = (self.privilege, attributes.owner) {
            rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode & 0o7777))?;
        for (name, value) in attributes.foreign() {
            let set = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
            self.judge_attribute(name, set)?;
        }
        if let Some(modified) = attributes.modified {
            rustix::fs::futimens(file, &stamps(modified))?;
        }
        Ok(())
    }

    /// The same for what cannot be opened; `mode` where there is one.
    fn dress_named(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        mode: Option<u32>,
    ) -> Result<(), TreeError> {
        let name = name_of(path)?.to_owned();
        let privilege = self.privilege;
        let parent = self.parent(path)?;
        let dressed = || {
            if let (Privilege::Root, Some((user, group))) = (privilege, attributes.owner) {
                let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(parent, &name, Some(user), Some(group), flags)?;
            }
            if let Some(mode) = mode {
                let mode = Mode::from_raw_mode(mode & 0o7777);
                rustix::fs::chmodat(parent, &name, mode, AtFlags::empty())?;
            }
            // There is no call for the attribute of a name in an open directory.
            let place = Path::new("/proc/self/fd")
                .join(std::os::fd::AsFd::as_fd(parent).as_raw_fd().to_string())
                .join(&name);
            let set: Vec<_> = attributes
                .foreign()
                .map(|(key, value)| {
                    (
                        key,
                        rustix::fs::lsetxattr(&place, key, value, XattrFlags::empty()),
                    )
                })
                .collect();
            if let Some(modified) = attributes.modified {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(parent, &name, &stamps(modified), flags)?;
            }
            Ok(set)
        };
        let outcome: io::Result<Vec<_>> = dressed();
        let judged = outcome.and_then(|set| {
            set.into_iter()
                .try_for_each(|(key, set)| self.judge_attribute(key, set))
        });
        judged.map_err(|error| self.failed("set the attributes of", path, error))
    }

    /// What a program would not run without must be set; the rest is a courtesy where a file system, or whoever is not
    /// root, cannot do it.
    fn judge_attribute(&self, name: &OsStr, set: Result<(), Errno>) -> io::Result<()> {
        match set {
            Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS)
                if self.privilege == Privilege::User || !NEEDED.iter().any(|one| *one == name) =>
            {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn failed(&self, operation: &'static str, path: &Path, source: io::Error) -> TreeError {
        let path = self.outer.join(path);
        TreeError::Io {
            operation,
            path,
            source,
        }
    }
}

/// Attributes without which what is in a tree is something else.
const NEEDED: [&str; 3] = [
    "security.capability",
    "system.posix_acl_access",
    "system.posix_acl_default",
];

/// A path that may be longer than anybody wants to read.
fn shortened(path: &Path) -> String {
    path.display().to_string().chars().take(128).collect()
}

fn name_of(path: &Path) -> Result<&OsStr, TreeError> {
    path.file_name()
        .ok_or_else(|| TreeError::Path(path.to_path_buf()))
}

fn stamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let stamp = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    Timestamps {
        last_access: stamp,
        last_modification: stamp,
    }
}

/// Makes an empty directory for a tree (mode 0700), as a subvolume if that is wanted and the file system has such.
///
/// # Errors
/// Whatever the kernel answers.
pub fn create(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    is_subvolume: bool,
) -> Result<Directory, AtomicError> {
    let failed =
        |error: io::Error| atomic::failure("create directory", root, directory, name, error);
    let made = is_subvolume && btrfs::create(directory, name).map_err(failed)?;
    if made {
        let mode = Mode::from_raw_mode(0o700);
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty())
            .map_err(|error| failed(error.into()))?;
    } else {
        rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o700))
            .map_err(|error| failed(error.into()))?;
    }
    directory.subdirectory(name).map_err(failed)
}

/// Makes a tree unchangeable, and pushes that to the disk: a subvolume read-only, a directory immutable. File systems that
/// have no such mark are left, and those that are mounted read-only.
///
/// # Errors
/// Whatever the kernel answers.
pub fn seal(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    durability: Durability,
) -> Result<(), AtomicError> {
    match mark(directory, name, true) {
        // Also one that has its mark already: whoever set it may have been killed before this.
        Ok(Some(tree)) => atomic::sync_directory(root, &tree, durability),
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        Err(error) => Err(atomic::failure("protect", root, directory, name, error)),
    }
}

/// Makes a tree changeable again, so that it can be renamed and removed.
///
/// # Errors
/// Whatever the kernel answers.
pub fn unseal(root: &Root, directory: &Directory, name: &OsStr) -> Result<(), AtomicError> {
    mark(directory, name, false)
        .map(|_| ())
        .map_err(|error| atomic::failure("unprotect", root, directory, name, error))
}

/// Sets or clears the mark; the tree, if there is one.
fn mark(directory: &Directory, name: &OsStr, sealed: bool) -> io::Result<Option<Directory>> {
    let tree = match directory.subdirectory(name) {
        Ok(tree) => tree,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if btrfs::set_read_only(&tree, sealed)? {
        return Ok(Some(tree));
    }
    let flags = match rustix::fs::ioctl_getflags(&tree) {
        Ok(flags) => flags,
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => return Ok(Some(tree)),
        Err(error) => return Err(error.into()),
    };
    let mut wanted = flags;
    wanted.set(IFlags::IMMUTABLE, sealed);
    if wanted == flags {
        return Ok(Some(tree));
    }
    match rustix::fs::ioctl_setflags(&tree, wanted) {
        // Only root may; a user's tree is no system's. Some file systems have other flags, not this one.
        Err(Errno::PERM) if sealed && !rustix::process::geteuid().is_root() => {}
        Err(Errno::NOTSUP | Errno::NOTTY) => {}
        other => other?,
    }
    Ok(Some(tree))
}

/// Removes a tree that nothing looks at: an unfinished one, whose name says so.
///
/// # Errors
/// Whatever the kernel answers; a part of it may be left.
pub fn remove(root: &Root, directory: &Directory, name: &OsStr) -> Result<(), AtomicError> {
    unseal(root, directory, name)?;
    atomic::remove_unseen_tree(root, directory, name)
}

/// Pushes a whole tree to the disk.
///
/// # Errors
/// A write error of any byte written before.
pub fn sync(root: &Root, top: &Directory, durability: Durability) -> Result<(), AtomicError> {
    match durability {
        Durability::Unsynced => Ok(()),
        Durability::Synced => rustix::fs::syncfs(top)
            .map_err(|error| atomic::failure("sync", root, top, OsStr::new(""), error.into())),
    }
}

#[cfg(test)]
mod tests;
