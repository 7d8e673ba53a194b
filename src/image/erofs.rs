//! EROFS, through the crate `erofs-rs`: its asynchronous reader over reads that never wait.
//!
//! What the crate leaves open is closed here: the block size (it allows 16 MiB), the length of symlinks, the size of
//! compressed directories, and compressed inodes. It decodes one physical cluster at a time, one MiB into twelve at most
//! (with LZMA as much again for its history), and may decode one anew for each block of a file: only there a hostile
//! image can cost more memory than 16 MiB, and seconds of work that the budget, which counts what is read, does not see.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use erofs_rs::r#async::EroFS;
use erofs_rs::backend::AsyncImage;
use erofs_rs::types::{Inode, Layout};

use super::error::ImageError;
use super::source::Source;
use super::tree::{Kind, LINK_LIMIT, Sink, Stat, Tree, Visit};

/// An opened EROFS.
pub(super) struct Erofs {
    source: Source,
    reader: EroFS<Blocking>,
    /// The directory that was looked through last: files are asked for one after the other.
    latest: Option<Directory>,
}

struct Directory {
    path: String,
    names: Vec<(Vec<u8>, Inode)>,
}

/// The source as the crate wants it. Its errors cannot carry ours, so the source keeps them.
#[derive(Clone)]
struct Blocking(Source);

impl AsyncImage for Blocking {
    async fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> erofs_rs::Result<()> {
        self.0.read(offset, buffer).map_err(|error| {
            self.0.keep(error);
            erofs_rs::Error::OutOfBounds("the image cannot be read".to_owned())
        })
    }
}

impl Erofs {
    pub(super) fn open(source: &Source) -> Result<Self, ImageError> {
        let source = source.of_kind("erofs");
        let [bits] = source.array(SUPERBLOCK + 12)?;
        if !(9..=16).contains(&bits) {
            return Err(source.damaged(format!("blocks of 2^{bits} bytes")));
        }
        let incompatible = u32::from_le_bytes(source.array(SUPERBLOCK + 80)?);
        if incompatible & METABOX != 0 {
            // Each inode would be decoded with all that is packed beside it.
            return Err(ImageError::opaque("an erofs with compressed metadata"));
        }
        let opened = now(EroFS::new(Blocking(source.clone())));
        let reader = opened.map_err(|error| failure(&source, &error))?;
        let blocks = reader.super_block().block_count();
        let whole = blocks.checked_mul(1 << bits);
        if whole.is_none_or(|whole| whole > source.length()) {
            let length = source.length();
            return Err(source.damaged(format!("{length} bytes of {blocks} blocks are there")));
        }
        let mut erofs = Self {
            source,
            reader,
            latest: None,
        };
        erofs.find("")?;
        Ok(erofs)
    }

    /// Looks for a file or directory. The crate decodes a whole cluster for each block of a directory.
    fn find(&mut self, path: &str) -> Result<Option<Inode>, ImageError> {
        let found = self.search(path)?;
        let is_costly = |inode: &Inode| {
            let is_packed = matches!(
                inode.layout(),
                Some(Layout::CompressedFull | Layout::CompressedCompact)
            );
            inode.is_dir() && is_packed && inode.data_size() > LARGEST_PACKED
        };
        if found.as_ref().is_some_and(is_costly) {
            return Err(ImageError::opaque(
                "an erofs with large compressed directories",
            ));
        }
        Ok(found)
    }

    fn search(&mut self, path: &str) -> Result<Option<Inode>, ImageError> {
        let Some((directory, name)) = split(path) else {
            let root = self.reader.super_block().root_inode_id();
            let inode = now(self.reader.get_inode(root));
            return inode
                .map(Some)
                .map_err(|error| failure(&self.source, &error));
        };
        let held = self.latest.as_ref().filter(|held| held.path == directory);
        let Some(held) = held else {
            let mut names = Vec::new();
            let mut found = None;
            let mut whole = true;
            self.walk(directory, &mut |entry, inode| {
                if entry == name.as_bytes() {
                    found = Some(inode);
                }
                if names.len() < HELD {
                    names.push((entry.to_vec(), inode));
                } else {
                    whole = false;
                }
                match &found {
                    Some(_) if !whole => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })?;
            let path = directory.to_owned();
            self.latest = whole.then_some(Directory { path, names });
            return Ok(found);
        };
        let found = held
            .names
            .iter()
            .find(|(entry, _)| entry == name.as_bytes());
        Ok(found.map(|(_, inode)| *inode))
    }

    fn walk(
        &self,
        path: &str,
        each: &mut dyn FnMut(&[u8], Inode) -> ControlFlow<()>,
    ) -> Result<(), ImageError> {
        let failed = |error| failure(&self.source, &error);
        let mut directory = now(self.reader.read_dir(path)).map_err(failed)?;
        while let Some(entry) = now(directory.next_entry()) {
            let entry = entry.map_err(failed)?;
            let name = entry.dir_entry.file_name().to_vec();
            if each(&name, entry.inode).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn existing(&mut self, path: &str) -> Result<Inode, ImageError> {
        let missing = self.source.damaged(format!("'{path}' is gone"));
        self.find(path)?.ok_or(missing)
    }
}

impl Tree for Erofs {
    fn stat(&mut self, path: &str) -> Result<Option<Stat>, ImageError> {
        let inode = self.find(path)?;
        Ok(inode.map(|inode| Stat {
            size: if inode.is_dir() { 0 } else { inode.data_size() },
            mtime: inode.modified_unix().0,
            kind: kind(&inode),
        }))
    }

    fn list(&mut self, path: &str, visit: &mut Visit<'_>) -> Result<(), ImageError> {
        self.walk(path, &mut |name, inode| visit(name, kind(&inode)))
    }

    fn target(&mut self, path: &str) -> Result<Vec<u8>, ImageError> {
        let inode = self.existing(path)?;
        if inode.data_size() > LINK_LIMIT as u64 {
            return Err(self.source.damaged("a symlink is too long"));
        }
        let text = now(self.reader.read_link_inode(inode));
        let text = text.map_err(|error| failure(&self.source, &error))?;
        Ok(text.into_vec())
    }

    fn user_attribute(&mut self, path: &str, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let inode = self.existing(path)?;
        let all = now(self.reader.xattrs_inode(inode));
        let mut all = all.map_err(|error| failure(&self.source, &error))?;
        Ok(all.remove(format!("user.{name}").as_bytes()))
    }

    fn copy(&mut self, path: &str, sink: &mut Sink<'_>) -> Result<(), ImageError> {
        let inode = self.existing(path)?;
        let failed = |error| failure(&self.source, &error);
        let mut file = self.reader.open_inode_file(inode).map_err(failed)?;
        let mut buffer = vec![0; PIECE];
        let mut left = file.size();
        while left > 0 {
            let length = now(file.read(&mut buffer)).map_err(failed)?;
            if length == 0 {
                return Err(self.source.damaged("a file is too short"));
            }
            self.source.charge(length as u64)?;
            sink(&buffer[..length])?;
            left = left.saturating_sub(length as u64);
        }
        Ok(())
    }
}

fn kind(inode: &Inode) -> Kind {
    if inode.is_dir() {
        Kind::Directory
    } else if inode.is_file() {
        Kind::File
    } else if inode.is_symlink() {
        Kind::Link
    } else {
        Kind::Other
    }
}

fn failure(source: &Source, error: &erofs_rs::Error) -> ImageError {
    match error {
        erofs_rs::Error::NotSupported(what) => ImageError::opaque(format!("an erofs with {what}")),
        error => source.failure(error),
    }
}

/// Directory and name; `None` for the root.
fn split(path: &str) -> Option<(&str, &str)> {
    (!path.is_empty()).then(|| path.rsplit_once('/').unwrap_or(("", path)))
}

/// The result of a future whose every read is answered at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// Where the superblock begins.
const SUPERBLOCK: u64 = 1024;

/// The largest directory whose inodes are held.
const HELD: usize = 1024;

/// The feature bit of inodes that lie in a packed file.
const METABOX: u32 = 0x100;

/// The largest compressed directory, in bytes.
const LARGEST_PACKED: u64 = 64 << 10;

/// How much of a file is handed on at once.
const PIECE: usize = 64 << 10;
