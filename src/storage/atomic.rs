//! The only file that creates, renames, links, removes and syncs.
//!
//! Every change follows one rule: the new thing is written under a temporary name, synced, moved over the old one
//! with a single `rename`, and the directory is synced. A crash between any two steps leaves the old thing or the new
//! one, and at most a temporary name that the next run replaces: temporary names are derived from the final one, so
//! that they cannot pile up.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::root::{Directory, Root};

/// What the name of a thing that is being prepared begins with.
pub const TEMPORARY_PREFIX: &str = ".#sysupdate.new.";

/// Whether changes are pushed to the disk before they count as done (`--sync=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every step is synced: what was reported done survives a power cut.
    #[default]
    Synced,
    /// The kernel writes when it likes: safe against a crash of the program, not of the machine.
    Unsynced,
}

/// A change of the file system that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} '{}'", path.display())]
pub struct AtomicError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl AtomicError {
    fn new(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }

    /// The cause as the kernel gave it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Opens the directory `inner`, creating it and its parents (mode 0755) where they are missing.
///
/// # Errors
/// When one of them cannot be created or is no directory.
pub fn create_directory(
    root: &Root,
    inner: &Path,
    durability: Durability,
) -> Result<Directory, AtomicError> {
    let failed = |reached: &Path, error: io::Error| {
        AtomicError::new("open directory", root.outer(reached), error)
    };
    match root.directory(inner) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(|error| failed(inner, error)),
    }
    let mut reached = PathBuf::from("/");
    let mut directory = root
        .directory(&reached)
        .map_err(|error| failed(&reached, error))?;
    for component in inner.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        reached.push(name);
        // Opened through the root again: what exists may be a symlink to elsewhere inside it.
        directory = match root.directory(&reached) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_subdirectory(root, &directory, name)?;
                sync_directory(root, &directory, durability)?;
                root.directory(&reached)
                    .map_err(|error| failed(&reached, error))?
            }
            other => other.map_err(|error| failed(&reached, error))?,
        };
    }
    Ok(directory)
}

fn create_subdirectory(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
) -> Result<(), AtomicError> {
    match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(AtomicError::new(
            "create directory",
            root.outer(&directory.path().join(name)),
            error,
        )),
    }
}

/// Creates the file `name` for writing (mode 0600), replacing whatever non-directory stood there.
///
/// # Errors
/// Whatever the kernel answers.
pub fn create_file(root: &Root, directory: &Directory, name: &OsStr) -> Result<File, AtomicError> {
    remove(root, directory, name)?;
    directory
        .open(
            name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Mode::from_raw_mode(0o600),
        )
        .map_err(|error| {
            AtomicError::new("create", root.outer(&directory.path().join(name)), error)
        })
}

/// Pushes a file's content and metadata to the disk.
///
/// # Errors
/// A write error of any byte written before.
pub fn sync_file(
    root: &Root,
    file: &File,
    path: &Path,
    durability: Durability,
) -> Result<(), AtomicError> {
    match durability {
        Durability::Synced => file
            .sync_all()
            .map_err(|error| AtomicError::new("sync", root.outer(path), error)),
        Durability::Unsynced => Ok(()),
    }
}

/// Pushes the names in a directory to the disk.
///
/// # Errors
/// Whatever the kernel answers; file systems that cannot sync a directory are left to their own order.
pub fn sync_directory(
    root: &Root,
    directory: &Directory,
    durability: Durability,
) -> Result<(), AtomicError> {
    if durability == Durability::Unsynced {
        return Ok(());
    }
    match rustix::fs::fsync(directory) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(AtomicError::new(
            "sync directory",
            root.outer(directory.path()),
            error,
        )),
    }
}

/// Renames `from` to `to` inside one directory, replacing what was there, and syncs the directory.
///
/// # Errors
/// Whatever the kernel answers.
pub fn rename(
    root: &Root,
    directory: &Directory,
    from: &OsStr,
    to: &OsStr,
    durability: Durability,
) -> Result<(), AtomicError> {
    rustix::fs::renameat(directory, from, directory, to).map_err(|error| {
        AtomicError::new("rename", root.outer(&directory.path().join(from)), error)
    })?;
    if durability == Durability::Synced && directory.is_fat() {
        sync_entry(root, directory, to)?;
    }
    sync_directory(root, directory, durability)
}

fn sync_entry(root: &Root, directory: &Directory, name: &OsStr) -> Result<(), AtomicError> {
    directory
        .open_to_read(name)
        .and_then(|file| file.sync_all())
        .map_err(|error| AtomicError::new("sync", root.outer(&directory.path().join(name)), error))
}

/// Points the symlink `name` to `text` in one step, and syncs the directory.
///
/// # Errors
/// Whatever the kernel answers; a directory in the link's place is left alone.
pub fn replace_symlink(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    text: &Path,
    durability: Durability,
) -> Result<(), AtomicError> {
    let temporary = temporary_name(name);
    remove(root, directory, &temporary)?;
    rustix::fs::symlinkat(text, directory, &temporary).map_err(|error| {
        AtomicError::new(
            "create symlink",
            root.outer(&directory.path().join(&temporary)),
            error,
        )
    })?;
    rustix::fs::renameat(directory, &temporary, directory, name).map_err(|error| {
        // The refusal stands; a temporary link that stays is replaced by the next run.
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        AtomicError::new(
            "replace symlink",
            root.outer(&directory.path().join(name)),
            error,
        )
    })?;
    sync_directory(root, directory, durability)
}

/// Creates the symlink `name` unless something stands there.
///
/// # Errors
/// Whatever the kernel answers.
pub fn create_symlink(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    text: &Path,
) -> Result<(), AtomicError> {
    match rustix::fs::symlinkat(text, directory, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(AtomicError::new(
            "create symlink",
            root.outer(&directory.path().join(name)),
            error,
        )),
    }
}

/// Replaces the file `inner` by one with this content and mode, creating its directory.
///
/// # Errors
/// Whatever the kernel answers; the old file stands then.
pub fn write(root: &Root, inner: &Path, bytes: &[u8], mode: u32) -> Result<(), AtomicError> {
    let not_a_file = || {
        AtomicError::new(
            "write",
            root.outer(inner),
            io::Error::from(io::ErrorKind::InvalidInput),
        )
    };
    let name = inner.file_name().ok_or_else(not_a_file)?;
    let directory = create_directory(
        root,
        inner.parent().ok_or_else(not_a_file)?,
        Durability::Synced,
    )?;
    let temporary = temporary_name(name);
    let path = directory.path().join(&temporary);
    let written = || {
        let mut file = create_file(root, &directory, &temporary)?;
        file.write_all(bytes)
            .map_err(|error| AtomicError::new("write", root.outer(&path), error))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
            .map_err(|error| AtomicError::new("set the mode of", root.outer(&path), error))?;
        sync_file(root, &file, &path, Durability::Synced)?;
        rename(root, &directory, &temporary, name, Durability::Synced)
    };
    written().inspect_err(|_| {
        // A courtesy: the next file by that name would take its place.
        let _ = remove(root, &directory, &temporary);
    })
}

/// Removes the entry `name`; one that is not there is fine.
///
/// # Errors
/// Whatever the kernel answers; a directory is refused.
pub fn remove(root: &Root, directory: &Directory, name: &OsStr) -> Result<(), AtomicError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(AtomicError::new(
            "remove",
            root.outer(&directory.path().join(name)),
            error,
        )),
    }
}

/// Removes a directory if it is empty. One that is not, that something is mounted on, or that is not there, stays.
///
/// # Errors
/// Whatever else the kernel answers.
pub fn remove_if_empty(
    root: &Root,
    inner: &Path,
    durability: Durability,
) -> Result<(), AtomicError> {
    let failed = |error: io::Error| AtomicError::new("remove", root.outer(inner), error);
    let parent = inner.parent().unwrap_or(Path::new("/"));
    let above = match root.directory(parent) {
        Ok(above) => above,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let name = inner.file_name().unwrap_or_default();
    match rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR) {
        Ok(()) => sync_directory(root, &above, durability),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR | Errno::BUSY) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Removes a file or, with all that is in it, a directory under the name that it has; links are removed, never followed.
///
/// # Errors
/// Whatever the kernel answers; a part of it may be left.
pub fn remove_unseen_tree(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
) -> Result<(), AtomicError> {
    remove_entries(directory, name).map_err(|error| failure("remove", root, directory, name, error))
}

/// What failed at an entry of a directory.
pub(super) fn failure(
    operation: &'static str,
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    error: io::Error,
) -> AtomicError {
    AtomicError::new(operation, root.outer(&directory.path().join(name)), error)
}

/// Removes what `name` holds, and it; deeper directories first, without recursion.
///
/// Each level that is gone through holds an open directory, of which a process has few: what is deeper is moved up to
/// the top of the tree first.
fn remove_entries(directory: &Directory, name: &OsStr) -> io::Result<()> {
    let top = match directory.subdirectory(name) {
        Ok(top) => top,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?);
        }
        Err(error) => return Err(error),
    };
    let mut left = vec![(name.to_owned(), top.entries()?.into_iter())];
    let mut opened = vec![top];
    let mut moved: u64 = 0;
    while let (Some((_, entries)), Some(deepest)) = (left.last_mut(), opened.last()) {
        let below = entries.by_ref().find_map(|entry| {
            if entry.kind == FileType::Directory {
                return Some(Ok(entry.name));
            }
            let removed = rustix::fs::unlinkat(deepest, &entry.name, AtFlags::empty());
            removed.err().map(Err)
        });
        if let Some(name) = below {
            let name = name?;
            if opened.len() == OPENED {
                moved = lift(deepest, &name, &opened[0], moved)?;
                continue;
            }
            let below = deepest.subdirectory(&name)?;
            left.push((name, below.entries()?.into_iter()));
            opened.push(below);
            continue;
        }
        if let ([only], true) = (&opened[..], moved > 0) {
            // What was moved up, and all that is found to be too deep there.
            moved = 0;
            left[0].1 = only.entries()?.into_iter();
            continue;
        }
        let Some((name, _)) = left.pop() else { break };
        opened.pop();
        let above = opened.last().unwrap_or(directory);
        rustix::fs::unlinkat(above, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Moves a directory to the top of a tree, under a name that nothing has there; `tried` names were.
fn lift(from: &Directory, name: &OsStr, top: &Directory, mut tried: u64) -> io::Result<u64> {
    loop {
        tried += 1;
        let free = format!("{TEMPORARY_PREFIX}{tried}");
        match rustix::fs::renameat(from, name, top, &free) {
            // An empty directory by that name is replaced: it would have to go as well.
            Ok(()) => return Ok(tried),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// So many levels of a tree are held open while it is removed. A process has 1024 open files where nobody says otherwise.
const OPENED: usize = 64;

/// Removes the file `inner`, then those of its parents below `stop` that have become empty.
///
/// # Errors
/// When the file cannot be removed, or a directory not be synced.
pub fn remove_file_and_empty_parents(
    root: &Root,
    inner: &Path,
    stop: &Path,
    durability: Durability,
) -> Result<(), AtomicError> {
    let (Some(parent), Some(name)) = (inner.parent(), inner.file_name()) else {
        return Ok(());
    };
    let opened = |path: &Path| match root.directory(path) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AtomicError::new("open directory", root.outer(path), error)),
    };
    let Some(mut directory) = opened(parent)? else {
        return Ok(());
    };
    // FAT frees the blocks of a file together with its name, and they may reach the disk in any order, unless somebody
    // holds the file: no name is left of what is not there any more.
    let held = directory.is_fat().then(|| directory.open_to_read(name));
    remove(root, &directory, name)?;
    sync_directory(root, &directory, durability)?;
    if let Some(held) = held {
        drop(held);
        // Blocks that are free only in memory would be lost.
        sync_directory(root, &directory, durability)?;
    }
    let mut emptied = parent;
    while emptied != stop && emptied.starts_with(stop) {
        let (Some(above), Some(name)) = (emptied.parent(), emptied.file_name()) else {
            break;
        };
        let Some(above_directory) = opened(above)? else {
            break;
        };
        // Not empty, or busy: it stays.
        if rustix::fs::unlinkat(&above_directory, name, AtFlags::REMOVEDIR).is_err() {
            break;
        }
        directory = above_directory;
        sync_directory(root, &directory, durability)?;
        emptied = above;
    }
    Ok(())
}

/// Like [`remove_file_and_empty_parents`], of a file that may not be there: then nothing is done, and nothing synced.
///
/// # Errors
/// When the file is there and cannot be removed, or a directory not be synced.
pub fn remove_file_if_any(
    root: &Root,
    inner: &Path,
    stop: &Path,
    durability: Durability,
) -> Result<(), AtomicError> {
    if root.stat(inner).is_err() {
        return Ok(());
    }
    remove_file_and_empty_parents(root, inner, stop, durability)
}

/// The name under which a new `name` is prepared.
///
/// It begins with `.#` because systemd-sysext takes everything else in its directories for an image, hidden names too,
/// and merges nothing at all when one of them cannot be read.
#[must_use]
pub fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(TEMPORARY_PREFIX);
    temporary.push(name);
    temporary
}

/// Whether `name` still is the name of this open file.
#[must_use]
pub fn is_named(file: &File, directory: &Directory, name: &OsStr) -> bool {
    let (Ok(opened), Ok(named)) = (rustix::fs::fstat(file), directory.stat(name)) else {
        return false;
    };
    opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("the directory opens");
        (directory, root)
    }

    #[test]
    fn write_creates_parents_and_replaces_content() {
        let (outer, root) = root();
        for content in ["one", "two"] {
            write(
                &root,
                Path::new("/var/lib/x/file"),
                content.as_bytes(),
                0o640,
            )
            .expect("written");
            let read =
                std::fs::read_to_string(outer.path().join("var/lib/x/file")).expect("readable");
            assert_eq!(read, content);
        }
        let names: Vec<_> = root
            .directory(Path::new("/var/lib/x"))
            .and_then(|d| d.entries())
            .expect("listed");
        assert_eq!(names.len(), 1, "no temporary name stays: {names:?}");
    }

    #[test]
    fn write_survives_a_temporary_name_left_by_a_crash() {
        let (outer, root) = root();
        std::fs::create_dir(outer.path().join("d")).expect("created");
        std::fs::write(outer.path().join("d/.#sysupdate.new.file"), "half").expect("written");
        write(&root, Path::new("/d/file"), b"whole", 0o644).expect("written");
        assert_eq!(
            std::fs::read(outer.path().join("d/file")).expect("readable"),
            b"whole"
        );
        assert!(!outer.path().join("d/.#sysupdate.new.file").exists());
    }

    #[test]
    fn symlink_is_replaced_and_a_directory_in_its_place_is_not() {
        let (outer, root) = root();
        let directory = root.directory(Path::new("/")).expect("opens");
        for text in ["a", "b"] {
            replace_symlink(
                &root,
                &directory,
                OsStr::new("link"),
                Path::new(text),
                Durability::Synced,
            )
            .expect("linked");
            assert_eq!(
                std::fs::read_link(outer.path().join("link")).expect("a link"),
                Path::new(text)
            );
        }
        std::fs::create_dir(outer.path().join("taken")).expect("created");
        let refused = replace_symlink(
            &root,
            &directory,
            OsStr::new("taken"),
            Path::new("a"),
            Durability::Synced,
        )
        .expect_err("refused");
        assert!(refused.to_string().contains("taken"), "{refused}");
        assert!(!outer.path().join(".#sysupdate.new.taken").exists());
    }

    #[test]
    fn a_tree_is_removed_however_deep_it_is() {
        let (outer, root) = root();
        let directory = root.directory(Path::new("/")).expect("opens");
        let mode = Mode::from_raw_mode(0o700);
        // Twice as deep as there are open files for a process by default, and what is lifted meets names of its own.
        for branch in ["a", "b"] {
            let mut deepest = directory.subdirectory(OsStr::new(".")).expect("opens");
            for level in 0..2048 {
                let name = if level == 0 { "tree" } else { branch };
                let _ = rustix::fs::mkdirat(&deepest, name, mode);
                deepest = deepest.subdirectory(OsStr::new(name)).expect("opens");
                if level == 0 {
                    for taken in [".#sysupdate.new.1", ".#sysupdate.new.3"] {
                        let _ = rustix::fs::mkdirat(&deepest, taken, mode);
                    }
                    std::fs::write(outer.path().join("tree/.#sysupdate.new.2"), "")
                        .expect("written");
                    std::fs::write(outer.path().join("tree/.#sysupdate.new.1/f"), "")
                        .expect("written");
                }
            }
            let flags = OFlags::WRONLY | OFlags::CREATE;
            deepest.open(OsStr::new("f"), flags, mode).expect("created");
        }
        let opened = || {
            std::fs::read_dir("/proc/self/fd")
                .expect("readable")
                .count()
        };
        let before = opened();
        remove_unseen_tree(&root, &directory, OsStr::new("tree")).expect("removed");
        assert!(!outer.path().join("tree").exists());
        assert!(opened() < before + 512, "nothing stays open");
    }

    #[test]
    fn alternate_root_is_not_left_through_an_absolute_symlink() {
        let (outer, root) = root();
        std::fs::create_dir(outer.path().join("inside")).expect("created");
        std::os::unix::fs::symlink("/inside", outer.path().join("link")).expect("linked");
        write(&root, Path::new("/link/file"), b"x", 0o644).expect("written");
        assert!(outer.path().join("inside/file").exists());
        std::os::unix::fs::symlink("/../../../../etc", outer.path().join("escape"))
            .expect("linked");
        write(&root, Path::new("/escape/sysupdate-test"), b"x", 0o644)
            .expect_err("there is no /etc inside the root");
    }

    #[test]
    fn emptied_parents_go_up_to_the_target_directory() {
        let (outer, root) = root();
        write(&root, Path::new("/t/a/b/file"), b"x", 0o644).expect("written");
        write(&root, Path::new("/t/a/other"), b"x", 0o644).expect("written");
        let durability = Durability::Synced;
        remove_file_and_empty_parents(&root, Path::new("/t/a/b/file"), Path::new("/t"), durability)
            .expect("removed");
        assert!(!outer.path().join("t/a/b").exists());
        assert!(outer.path().join("t/a/other").exists());
        remove_file_and_empty_parents(&root, Path::new("/t/a/other"), Path::new("/t"), durability)
            .expect("removed");
        assert!(outer.path().join("t").exists() && !outer.path().join("t/a").exists());
    }
}
