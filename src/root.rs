//! The file system that a run works on: `/`, or the directory of `--root=`.
//!
//! Owns the translation of the absolute paths that definitions and settings speak ("inner" paths) into open
//! files. With `--root=` the kernel resolves every path beneath the root (`openat2` with `RESOLVE_IN_ROOT`), so that
//! neither an absolute symlink nor `..` inside the tree leaves it. This module only reads; whatever creates, renames
//! or removes stands in [`crate::storage::atomic`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

/// The root directory of a run.
#[derive(Debug)]
pub struct Root {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Host,
    Alternate {
        path: PathBuf,
        directory: OwnedFd,
        /// The image that it is mounted from: a path of the host.
        image: Option<PathBuf>,
    },
}

impl Root {
    /// The root of the running host, `/`.
    #[must_use]
    pub fn host() -> Self {
        Self { place: Place::Host }
    }

    /// Opens an alternate root; `/` itself (under any spelling) is the host's.
    ///
    /// # Errors
    /// When `path` is missing or is no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?.canonicalize()?;
        if path == Path::new("/") {
            return Ok(Self::host());
        }
        let directory = rustix::fs::open(&path, directory_flags(), Mode::empty())?;
        Ok(Self {
            place: Place::Alternate {
                path,
                directory,
                image: None,
            },
        })
    }

    /// The same root, known to be mounted from this image of the host.
    #[must_use]
    pub fn mounted_from(mut self, disk: PathBuf) -> Self {
        if let Place::Alternate { image, .. } = &mut self.place {
            *image = Some(disk);
        }
        self
    }

    /// The image of the host that this root is mounted from, if it is from one.
    #[must_use]
    pub fn image(&self) -> Option<&Path> {
        match &self.place {
            Place::Host => None,
            Place::Alternate { image, .. } => image.as_deref(),
        }
    }

    /// Whether this is `/` of the running host.
    #[must_use]
    pub fn is_host(&self) -> bool {
        matches!(self.place, Place::Host)
    }

    /// The path of `inner` as a process on the host names it: what messages and listings show.
    #[must_use]
    pub fn outer(&self, inner: &Path) -> PathBuf {
        match &self.place {
            Place::Host => inner.to_path_buf(),
            // The partitions of the image itself lie outside.
            Place::Alternate {
                image: Some(image), ..
            } if is_of(image, inner) => inner.to_path_buf(),
            Place::Alternate { path, .. } if inner == Path::new("/") => path.clone(),
            Place::Alternate { path, .. } => path.join(relative(inner)),
        }
    }

    /// Opens `inner` with the given flags (`O_CLOEXEC` is added), symlinks resolved beneath the root.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub fn open_with(&self, inner: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let file = match &self.place {
            Place::Host => rustix::fs::open(inner, flags, mode)?,
            Place::Alternate { directory, .. } => {
                let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                let open = || rustix::fs::openat2(directory, relative(inner), flags, mode, inside);
                // openat2(2): EAGAIN when something was renamed anywhere while `..` was resolved; to be tried again.
                let mut result = open();
                for _ in 0..OPEN_ATTEMPTS {
                    match result {
                        Err(Errno::AGAIN) => result = open(),
                        _ => break,
                    }
                }
                result?
            }
        };
        Ok(file)
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, or is larger ([`io::ErrorKind::FileTooLarge`]).
    pub fn read(&self, inner: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file =
            File::from(self.open_with(inner, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        read_at_most(file, limit)
    }

    /// What `inner` is, symlinks followed.
    ///
    /// # Errors
    /// Whatever the kernel answers, [`io::ErrorKind::NotFound`] among it.
    pub fn stat(&self, inner: &Path) -> io::Result<rustix::fs::Stat> {
        Ok(rustix::fs::fstat(self.open_with(
            inner,
            OFlags::PATH,
            Mode::empty(),
        )?)?)
    }

    /// Opens the directory `inner`.
    ///
    /// # Errors
    /// When it is missing or no directory.
    pub fn directory(&self, inner: &Path) -> io::Result<Directory> {
        let descriptor = self.open_with(inner, directory_flags(), Mode::empty())?;
        let path = self.resolved(&descriptor)?;
        Ok(Directory { descriptor, path })
    }

    /// The text of the symlink `inner`, `None` when it is no symlink.
    ///
    /// # Errors
    /// Whatever the kernel answers, [`io::ErrorKind::NotFound`] among it.
    pub fn read_link(&self, inner: &Path) -> io::Result<Option<PathBuf>> {
        let Some(name) = inner.file_name() else {
            return Ok(None);
        };
        self.directory(inner.parent().unwrap_or(Path::new("/")))?
            .read_link(name)
    }

    /// The inner path with every symlink resolved.
    ///
    /// # Errors
    /// When `inner` does not exist.
    pub fn canonicalize(&self, inner: &Path) -> io::Result<PathBuf> {
        let descriptor = self.open_with(inner, OFlags::PATH, Mode::empty())?;
        self.resolved(&descriptor)
    }

    /// Where the kernel says `descriptor` is, as an inner path.
    fn resolved(&self, descriptor: &OwnedFd) -> io::Result<PathBuf> {
        let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let outer = std::fs::read_link(link).map_err(|error| {
            io::Error::other(format!("cannot resolve a path, is /proc mounted? {error}"))
        })?;
        match &self.place {
            Place::Host => Ok(outer),
            Place::Alternate { path, .. } => match outer.strip_prefix(path) {
                Ok(rest) => Ok(Path::new("/").join(rest)),
                Err(_) => Err(io::Error::other(format!(
                    "'{}' is outside the root",
                    outer.display()
                ))),
            },
        }
    }
}

/// Whether a path is that of an image or of one of its partitions.
fn is_of(image: &Path, path: &Path) -> bool {
    let (image, path) = (image.as_os_str().as_bytes(), path.as_os_str().as_bytes());
    path.starts_with(image) && !path[image.len()..].contains(&b'/')
}

/// An open directory and its resolved inner path.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// The inner path, symlinks resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names and kinds of all entries but `.` and `..`, sorted by name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say: ask.
                FileType::Unknown => match self.stat(name) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                },
                known => known,
            };
            entries.push(Entry {
                name: name.to_os_string(),
                kind,
            });
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    /// What the entry `name` is; a symlink is not followed.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub fn stat(&self, name: &OsStr) -> io::Result<rustix::fs::Stat> {
        Ok(rustix::fs::statat(
            &self.descriptor,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// The same with the time when the inode was made, as far as the file system keeps it (statx(2)).
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub fn stat_with_birth(&self, name: &OsStr) -> io::Result<Statx> {
        let fields = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        Ok(rustix::fs::statx(
            &self.descriptor,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
            fields,
        )?)
    }

    /// The text of the symlink `name`, `None` when it is something else.
    ///
    /// # Errors
    /// Whatever the kernel answers, [`io::ErrorKind::NotFound`] among it.
    pub fn read_link(&self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        match rustix::fs::readlinkat(&self.descriptor, name, Vec::new()) {
            Ok(text) => Ok(Some(PathBuf::from(OsString::from_vec(text.into_bytes())))),
            Err(Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the sub-directory `name`; a symlink is refused.
    ///
    /// # Errors
    /// When it is missing or no directory.
    pub fn subdirectory(&self, name: &OsStr) -> io::Result<Self> {
        let flags = directory_flags() | OFlags::NOFOLLOW;
        let descriptor = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty())?;
        Ok(Self {
            descriptor,
            path: self.path.join(name),
        })
    }

    /// Whether this is FAT, where a name is all that there is of an inode. The kernel gives a file that is renamed a new entry, and the
    /// size in it is zero until the file is synced again.
    pub fn is_fat(&self) -> bool {
        /// statfs(2).
        const MSDOS_SUPER_MAGIC: rustix::fs::FsWord = 0x4d44;
        rustix::fs::fstatfs(&self.descriptor).is_ok_and(|found| found.f_type == MSDOS_SUPER_MAGIC)
    }

    /// Whether a file of so many bytes may be all that a power cut has left of a renaming: on FAT the new entry is written
    /// before its size.
    #[must_use]
    pub fn is_cut_off(&self, size: u64) -> bool {
        size == 0 && self.is_fat()
    }

    /// Opens the entry `name` for reading, whatever it is: nobody is waited for at the other end of a pipe.
    ///
    /// # Errors
    /// Whatever the kernel answers; a symlink is refused.
    pub fn open_to_read(&self, name: &OsStr) -> io::Result<File> {
        self.open(name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
    }

    /// Opens the entry `name` with the given flags (`O_CLOEXEC` and `O_NOFOLLOW` are added).
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub fn open(&self, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(File::from(rustix::fs::openat(
            &self.descriptor,
            name,
            flags,
            mode,
        )?))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// One name in a [`Directory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without any directory.
    pub name: OsString,
    /// What it is, a symlink not followed.
    pub kind: FileType,
}

/// Reads `source` to its end, refusing more than `limit` bytes.
///
/// # Errors
/// A read error, or [`io::ErrorKind::FileTooLarge`].
pub fn read_at_most(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// How often an opening is repeated that a rename elsewhere has disturbed.
const OPEN_ATTEMPTS: usize = 1000;

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn relative(inner: &Path) -> &Path {
    let rest = inner.strip_prefix("/").unwrap_or(inner);
    if rest.as_os_str().is_empty() {
        Path::new(".")
    } else {
        rest
    }
}
