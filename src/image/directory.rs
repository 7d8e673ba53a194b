//! An extension that is no image but a directory: the same answers, from the kernel.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;

use super::error::ImageError;
use super::tree::{Kind, LINK_LIMIT, Sink, Stat, Tree, Visit};
use crate::root::Directory;

/// A directory; nothing below it is reached through a symlink.
pub(super) struct Files {
    top: Directory,
}

impl Files {
    pub(super) fn new(top: Directory) -> Self {
        Self { top }
    }

    /// The directory that holds the last name of a path, and that name; the top has none.
    fn place<'p>(&self, path: &'p str) -> Result<Option<(Directory, &'p OsStr)>, ImageError> {
        let Some(name) = Path::new(path).file_name() else {
            return Ok(None);
        };
        let above = Path::new(path).parent().unwrap_or(Path::new(""));
        Ok(self.walk(above)?.map(|above| (above, name)))
    }

    /// A directory; `None` when it is not there.
    fn walk(&self, path: &Path) -> Result<Option<Directory>, ImageError> {
        let mut opened = self
            .top
            .subdirectory(OsStr::new("."))
            .map_err(ImageError::Read)?;
        for name in path {
            opened = match opened.subdirectory(name) {
                Ok(below) => below,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(ImageError::Read(error)),
            };
        }
        Ok(Some(opened))
    }

    fn open(&self, path: &str) -> Result<Option<File>, ImageError> {
        let Some((above, name)) = self.place(path)? else {
            return Ok(None);
        };
        match above.open_to_read(name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(ImageError::Read(error)),
        }
    }
}

impl Tree for Files {
    fn stat(&mut self, path: &str) -> Result<Option<Stat>, ImageError> {
        let stat = match self.place(path)? {
            None if path.is_empty() => rustix::fs::fstat(&self.top).map_err(io::Error::from),
            None => return Ok(None),
            Some((above, name)) => above.stat(name),
        };
        match stat {
            Ok(stat) => {
                let kind = kind(FileType::from_raw_mode(stat.st_mode));
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                Ok(Some(Stat {
                    size: if kind == Kind::Directory { 0 } else { size },
                    mtime: stat.st_mtime,
                    kind,
                }))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(ImageError::Read(error)),
        }
    }

    fn list(&mut self, path: &str, visit: &mut Visit<'_>) -> Result<(), ImageError> {
        let Some(opened) = self.walk(Path::new(path))? else {
            return Ok(());
        };
        for entry in opened.entries().map_err(ImageError::Read)? {
            if let ControlFlow::Break(()) = visit(entry.name.as_bytes(), kind(entry.kind)) {
                break;
            }
        }
        Ok(())
    }

    fn target(&mut self, path: &str) -> Result<Vec<u8>, ImageError> {
        let text = match self.place(path)? {
            Some((above, name)) => above.read_link(name).map_err(ImageError::Read)?,
            None => None,
        };
        let text =
            text.ok_or_else(|| ImageError::damaged("directory", "a link is none any more"))?;
        let mut bytes = text.as_os_str().as_bytes().to_vec();
        bytes.truncate(LINK_LIMIT);
        Ok(bytes)
    }

    fn user_attribute(&mut self, path: &str, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let mut value = vec![0; 4096];
        let length = rustix::fs::fgetxattr(&file, format!("user.{name}"), &mut value);
        Ok(length.ok().map(|length| {
            value.truncate(length);
            value
        }))
    }

    fn copy(&mut self, path: &str, sink: &mut Sink<'_>) -> Result<(), ImageError> {
        let Some(mut file) = self.open(path)? else {
            return Err(ImageError::damaged("directory", "a file has gone"));
        };
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer).map_err(ImageError::Read)? {
                0 => return Ok(()),
                length => sink(&buffer[..length])?,
            }
        }
    }
}

fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
