//! A directory into a tree: everything in it, with owners, modes, times, attributes, hard links and holes.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, SeekFrom, Stat};
use rustix::io::Errno;

use crate::fetch::Cancel;
use crate::root::Directory;
use crate::storage::tree::{Attributes, DEPTH, Node, TreeError, TreeWriter};

/// A directory that cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something in it cannot be read.
    #[error("cannot read '{}'", path.display())]
    Read {
        /// Its inner path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The tree cannot be written.
    #[error(transparent)]
    Write(#[from] TreeError),
    /// It is deeper than anybody builds trees.
    #[error("'{}' is nested too deeply", .0.display())]
    Depth(PathBuf),
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
}

/// Lists of attributes, and attributes, are shorter (xattr(7)).
const ATTRIBUTE_LIMIT: usize = 64 << 10;

/// Copies all of `source`, itself included.
///
/// # Errors
/// When something cannot be read or written.
pub fn copy(source: &Directory, writer: &mut TreeWriter, cancel: &Cancel) -> Result<(), CopyError> {
    let mut copy = Copy {
        writer,
        cancel,
        links: HashMap::new(),
    };
    copy.directory(source, Path::new(""), 0)
}

struct Copy<'a> {
    writer: &'a mut TreeWriter,
    cancel: &'a Cancel,
    /// Where files of several names have gone, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        source: &Directory,
        path: &Path,
        depth: usize,
    ) -> Result<(), CopyError> {
        let read = |error| failed(source.path(), error);
        if depth > DEPTH {
            return Err(CopyError::Depth(source.path().to_path_buf()));
        }
        let stat = rustix::fs::fstat(source).map_err(|error| read(error.into()))?;
        let attributes = attributes(&stat, of_open(source).map_err(read)?);
        self.writer.directory(path, attributes)?;
        for entry in source.entries().map_err(read)? {
            if self.cancel.is_cancelled() {
                return Err(CopyError::Cancelled);
            }
            let place = path.join(&entry.name);
            if entry.kind == FileType::Directory {
                let below = source.subdirectory(&entry.name);
                let below =
                    below.map_err(|error| failed(&source.path().join(&entry.name), error))?;
                self.directory(&below, &place, depth + 1)?;
            } else {
                self.entry(source, &entry.name, &place)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, source: &Directory, name: &OsStr, path: &Path) -> Result<(), CopyError> {
        let read = |error| failed(&source.path().join(name), error);
        let stat = source.stat(name).map_err(read)?;
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&key) {
                return Ok(self.writer.hard_link(path, first)?);
            }
            self.links.insert(key, path.to_path_buf());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = source.open_to_read(name).map_err(read)?;
                let attributes = attributes(&stat, of_open(&file).map_err(read)?);
                self.writer.file(path, &attributes, |writer, copy| {
                    fill(&file, copy, writer, self.cancel, &source.path().join(name))
                })
            }
            FileType::Symlink => {
                let text = source.read_link(name).map_err(read)?;
                let text = text.ok_or_else(|| read(io::Error::from(io::ErrorKind::NotFound)))?;
                let attributes = attributes(&stat, of_name(source, name));
                Ok(self.writer.symlink(path, text.as_os_str(), &attributes)?)
            }
            kind => {
                let node = match kind {
                    FileType::CharacterDevice => Node::Character(stat.st_rdev),
                    FileType::BlockDevice => Node::Block(stat.st_rdev),
                    FileType::Fifo => Node::Pipe,
                    _ => Node::Socket,
                };
                let attributes = attributes(&stat, of_name(source, name));
                Ok(self.writer.node(path, node, &attributes)?)
            }
        }
    }
}

/// Copies the content of a file: shares its blocks where the file system can do that, leaves its holes elsewhere.
fn fill(
    from: &File,
    to: &File,
    writer: &mut TreeWriter,
    cancel: &Cancel,
    path: &Path,
) -> Result<(), CopyError> {
    let read = |error: io::Error| failed(path, error);
    let length = from.metadata().map_err(read)?.len();
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut position = 0;
    while position < length {
        let Some((start, end)) = data(from, position, length).map_err(read)? else {
            break;
        };
        rustix::fs::seek(to, SeekFrom::Start(start)).map_err(|error| read(error.into()))?;
        rustix::fs::seek(from, SeekFrom::Start(start)).map_err(|error| read(error.into()))?;
        let mut left = end - start;
        while left > 0 {
            if cancel.is_cancelled() {
                return Err(CopyError::Cancelled);
            }
            let piece = left.min(PIECE);
            writer.count(piece)?;
            let (mut source, mut target) = (io::Read::take(from, piece), to);
            let copied =
                io::copy(&mut source, &mut target).map_err(|error| match error.kind() {
                    io::ErrorKind::StorageFull => writer.full(error).into(),
                    _ => read(error),
                })?;
            if copied == 0 {
                break;
            }
            left -= copied.min(left);
        }
        position = end;
    }
    to.set_len(length).map_err(read)
}

/// Copied between two looks at whether the user wants out, in bytes.
const PIECE: u64 = 8 << 20;

/// The next piece of a file that is no hole.
fn data(file: &File, position: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((position, length))),
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(length);
    Ok(Some((start, end.min(length))))
}

fn attributes(stat: &Stat, xattrs: Vec<(OsString, Vec<u8>)>) -> Attributes {
    Attributes {
        mode: stat.st_mode & 0o7777,
        owner: Some((stat.st_uid, stat.st_gid)),
        modified: Some((
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        )),
        xattrs,
    }
}

fn of_open(file: impl AsFd) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let file = file.as_fd();
    let mut buffer = vec![0; ATTRIBUTE_LIMIT];
    let length = match rustix::fs::flistxattr(file, &mut buffer) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = buffer[..length].split(|byte| *byte == 0);
    let mut found = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        let name = OsString::from_vec(name.to_vec());
        let mut value = vec![0; ATTRIBUTE_LIMIT];
        // One that may not be read, or has gone, is not copied.
        if let Ok(length) = rustix::fs::fgetxattr(file, &name, &mut value) {
            value.truncate(length);
            found.push((name, value));
        }
    }
    Ok(found)
}

/// The attributes of what cannot be opened.
fn of_name(directory: &Directory, name: &OsStr) -> Vec<(OsString, Vec<u8>)> {
    let place = Path::new("/proc/self/fd")
        .join(directory.as_fd().as_raw_fd().to_string())
        .join(name);
    let mut buffer = vec![0; ATTRIBUTE_LIMIT];
    let length = rustix::fs::llistxattr(&place, &mut buffer).unwrap_or(0);
    let names = buffer[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    names
        .filter_map(|key| {
            let key = OsString::from_vec(key.to_vec());
            let mut value = vec![0; ATTRIBUTE_LIMIT];
            let length = rustix::fs::lgetxattr(&place, &key, &mut value).ok()?;
            value.truncate(length);
            Some((key, value))
        })
        .collect()
}

fn failed(path: &Path, source: io::Error) -> CopyError {
    CopyError::Read {
        path: path.to_path_buf(),
        source,
    }
}
