//! What every file system inside an image answers, whatever its format.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::error::ImageError;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// What an inode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes; 0 for a directory.
    pub size: u64,
    /// Modification time in seconds since the epoch.
    pub mtime: i64,
    /// What it is.
    pub kind: Kind,
}

/// Called with each name of a directory.
pub(super) type Visit<'a> = dyn FnMut(&[u8], Kind) -> ControlFlow<()> + 'a;

/// Called with each piece of a file.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), ImageError> + 'a;

/// A file system. Paths are names joined by `/`, without symlinks, dots or a slash at either end; the root is empty.
pub(super) trait Tree: Send {
    /// The inode at `path`, which is not followed; `None` when there is none.
    fn stat(&mut self, path: &str) -> Result<Option<Stat>, ImageError>;

    /// Visits the names of a directory, without `.` and `..`.
    fn list(&mut self, path: &str, visit: &mut Visit<'_>) -> Result<(), ImageError>;

    /// The text of a symlink, [`LINK_LIMIT`] bytes at most.
    fn target(&mut self, path: &str) -> Result<Vec<u8>, ImageError>;

    /// The value of the extended attribute `user.NAME` of a regular file; `None` also where it cannot be read.
    fn user_attribute(&mut self, path: &str, name: &str) -> Result<Option<Vec<u8>>, ImageError>;

    /// Streams a regular file.
    fn copy(&mut self, path: &str, sink: &mut Sink<'_>) -> Result<(), ImageError>;
}

/// A symlink's text is shorter (`PATH_MAX`).
pub(super) const LINK_LIMIT: usize = 4096;
