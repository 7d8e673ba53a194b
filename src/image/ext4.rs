//! ext2, ext3 and ext4, through the crate `ext4-view`.
//!
//! Checked here before the crate sees the image: that it is all there, that its block groups, which the crate loads at
//! once, are few, and that no journal waits to be replayed. Symlinks are measured before they are read, because the
//! crate allocates what an inode claims. The file system is opened anew for each question, which costs nothing since
//! the source holds its blocks: the crate's handle cannot go to another thread.

use std::panic::AssertUnwindSafe;

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, Metadata};

use super::error::ImageError;
use super::source::{Fields, Source};
use super::tree::{Kind, LINK_LIMIT, Sink, Stat, Tree, Visit};

/// A checked ext4 file system.
pub(super) struct Ext {
    source: Source,
}

struct Reader(Source);

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.read(start, buffer).map_err(|error| {
            self.0.keep(error);
            "the image cannot be read".into()
        })
    }
}

impl Ext {
    pub(super) fn open(source: &Source) -> Result<Self, ImageError> {
        let source = source.of_kind("ext4");
        let bytes: [u8; 1024] = source.array(1024)?;
        let fields = Fields(&bytes);
        let incompatible = fields.u32(0x60);
        let log = fields.u32(0x18);
        if log > 6 {
            return Err(source.damaged(format!("blocks of 2^{log} KiB")));
        }
        // Like the crate, with or without the feature bit of 64-bit block numbers.
        let blocks = u64::from(fields.u32(0x150)) << 32 | u64::from(fields.u32(4));
        let whole = blocks.checked_mul(1024 << log);
        if whole.is_none_or(|whole| whole > source.length()) {
            let length = source.length();
            return Err(source.damaged(format!("{length} bytes of {blocks} blocks are there")));
        }
        let groups = blocks / u64::from(fields.u32(0x20)).max(1);
        if groups > GROUPS {
            return Err(source.damaged(format!("{groups} block groups")));
        }
        if incompatible & RECOVERY != 0 {
            return Err(ImageError::opaque(
                "an ext4 file system whose journal has to be replayed",
            ));
        }
        let ext = Self { source };
        ext.with(|_| Ok(()))?;
        Ok(ext)
    }

    /// Asks the crate something. It trusts a length in the checksummed part of a directory, and panics when that is wrong.
    pub(super) fn with<T>(
        &self,
        ask: impl FnOnce(&Ext4) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let answer = || {
            let ext = Ext4::load(Box::new(Reader(self.source.clone())));
            ask(&ext.map_err(|error| self.failure(&error))?)
        };
        std::panic::catch_unwind(AssertUnwindSafe(answer))
            .unwrap_or_else(|_| Err(self.source.damaged("a length in it cannot be")))
    }

    fn failure(&self, error: &Ext4Error) -> ImageError {
        match error {
            Ext4Error::Incompatible(_) => {
                ImageError::opaque(format!("an ext4 file system: {error}"))
            }
            Ext4Error::Encrypted => ImageError::opaque("an encrypted ext4 file system"),
            error => self.source.failure(error),
        }
    }

    fn metadata(&self, ext: &Ext4, path: &str) -> Result<Option<Metadata>, ImageError> {
        match ext.symlink_metadata(absolute(path).as_str()) {
            // The crate goes through all of a directory, also what its blocks repeat.
            Ok(metadata) if metadata.is_dir() && metadata.len() > LARGEST_DIRECTORY => {
                let size = metadata.len();
                Err(self.source.damaged(format!("a directory of {size} bytes")))
            }
            Ok(metadata) => Ok(Some(metadata)),
            Err(
                Ext4Error::NotFound
                | Ext4Error::NotADirectory
                | Ext4Error::MalformedPath
                | Ext4Error::PathTooLong,
            ) => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }
}

impl Tree for Ext {
    fn stat(&mut self, path: &str) -> Result<Option<Stat>, ImageError> {
        let metadata = self.with(|ext| self.metadata(ext, path))?;
        Ok(metadata.map(|metadata| Stat {
            size: if metadata.is_dir() { 0 } else { metadata.len() },
            mtime: metadata.modified().seconds(),
            kind: kind(metadata.file_type()),
        }))
    }

    fn list(&mut self, path: &str, visit: &mut Visit<'_>) -> Result<(), ImageError> {
        let failed = |error| self.failure(&error);
        self.with(|ext| {
            for entry in ext.read_dir(absolute(path).as_str()).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let name = name.as_ref();
                if name == b"." || name == b".." {
                    continue;
                }
                self.source.charge(64)?;
                let kind = kind(entry.file_type().map_err(failed)?);
                if visit(name, kind).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn target(&mut self, path: &str) -> Result<Vec<u8>, ImageError> {
        self.with(|ext| {
            let length = self.metadata(ext, path)?.map(|metadata| metadata.len());
            if length.is_none_or(|length| length > LINK_LIMIT as u64) {
                return Err(self.source.damaged("a symlink is too long"));
            }
            let text = ext.read_link(absolute(path).as_str());
            let text = text.map_err(|error| self.failure(&error))?;
            Ok(AsRef::<[u8]>::as_ref(&text).to_vec())
        })
    }

    fn user_attribute(&mut self, _: &str, _: &str) -> Result<Option<Vec<u8>>, ImageError> {
        // The crate reads none.
        Ok(None)
    }

    fn copy(&mut self, path: &str, sink: &mut Sink<'_>) -> Result<(), ImageError> {
        let failed = |error| self.failure(&error);
        self.with(|ext| {
            // The crate would follow a link, and believe in the length of what it leads to.
            let metadata = self.metadata(ext, path)?;
            if metadata.is_none_or(|metadata| kind(metadata.file_type()) != Kind::File) {
                return Err(self.source.damaged(format!("'{path}' is no file")));
            }
            let mut file = ext.open(absolute(path).as_str()).map_err(failed)?;
            let mut buffer = vec![0; PIECE];
            loop {
                let length = file.read_bytes(&mut buffer).map_err(failed)?;
                if length == 0 {
                    return Ok(());
                }
                self.source.charge(length as u64)?;
                sink(&buffer[..length])?;
            }
        })
    }
}

fn absolute(path: &str) -> String {
    format!("/{path}")
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::Directory => Kind::Directory,
        FileType::Regular => Kind::File,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

/// The feature bit of a journal that has to be replayed.
const RECOVERY: u32 = 0x4;

/// The crate holds 16 bytes for each; a group of the usual size is 8 MiB or more.
const GROUPS: u64 = 16 << 10;

/// Some hundred thousand names, in bytes.
const LARGEST_DIRECTORY: u64 = 16 << 20;

/// How much of a file is handed on at once.
const PIECE: usize = 64 << 10;
