//! Squashfs 4, read on demand: directories are walked from the root, and only what lies on the way is decoded.
//!
//! A reader of our own, although there is a crate: `backhand` reads all inodes and directories before the first answer,
//! without a bound on what they decode to, and descends into directories by recursion, so that a deep hostile tree
//! ends the process. Nothing here recurses, and nothing is larger than a block (one MiB at most).

mod attributes;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::codec::Codec;
use super::error::ImageError;
use super::source::{Fields, Source};
use super::tree::{Kind, Sink, Stat, Tree, Visit};
use attributes::NO_ATTRIBUTES;

/// An opened squashfs.
pub(super) struct Squashfs {
    source: Source,
    codec: Codec,
    block_size: u32,
    fragments: u32,
    root: u64,
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    attribute_table: u64,
    metadata: VecDeque<(u64, Block)>,
    /// The last fragment block: small files lie side by side in it.
    fragment: Option<(u64, Vec<u8>)>,
}

/// A decoded metadata block and where the next one begins.
#[derive(Clone)]
struct Block {
    bytes: std::sync::Arc<[u8]>,
    next: u64,
}

/// A position within metadata: a block's place in the image and an offset into what it decodes to.
#[derive(Clone, Copy)]
struct Cursor {
    block: u64,
    offset: usize,
}

/// What an inode says, as far as it matters here.
struct Inode {
    kind: Kind,
    mtime: u32,
    size: u64,
    /// The index of its extended attributes.
    attributes: u32,
    body: Body,
}

/// Called with name, kind and inode reference of an entry.
type Each<'a> = dyn FnMut(&[u8], Kind, u64) -> ControlFlow<()> + 'a;

enum Body {
    Directory {
        block: u32,
        offset: u16,
    },
    File {
        start: u64,
        fragment: u32,
        offset: u32,
        sizes: Cursor,
    },
    Link {
        text: Cursor,
    },
    Other,
}

impl Squashfs {
    pub(super) fn open(source: &Source) -> Result<Self, ImageError> {
        let source = source.of_kind("squashfs");
        let bytes: [u8; 96] = source.array(0)?;
        let fields = Fields(&bytes);
        let (major, minor) = (fields.u16(28), fields.u16(30));
        if (major, minor) != (4, 0) {
            return Err(ImageError::opaque(format!(
                "a squashfs of version {major}.{minor}"
            )));
        }
        let codec = match fields.u16(20) {
            1 => Codec::Gzip,
            2 => return Err(ImageError::opaque("a squashfs compressed with lzma")),
            3 => return Err(ImageError::opaque("a squashfs compressed with lzo")),
            4 => Codec::Xz,
            5 => Codec::Lz4,
            6 => Codec::Zstd,
            other => {
                return Err(ImageError::opaque(format!(
                    "a squashfs compressed with codec {other}"
                )));
            }
        };
        let block_size = fields.u32(12);
        let log = u32::from(fields.u16(22));
        if !(12..=20).contains(&log) || block_size != 1 << log {
            return Err(source.damaged(format!("blocks of {block_size} bytes")));
        }
        let used = fields.u64(40);
        if used > source.length() {
            let length = source.length();
            return Err(source.damaged(format!("{length} of {used} bytes are there")));
        }
        Ok(Self {
            codec,
            block_size,
            fragments: fields.u32(16),
            root: fields.u64(32),
            inode_table: fields.u64(64),
            directory_table: fields.u64(72),
            fragment_table: fields.u64(80),
            attribute_table: fields.u64(56),
            metadata: VecDeque::new(),
            fragment: None,
            source: source.window(0, used),
        })
    }

    // ---- metadata ----

    fn block(&mut self, at: u64) -> Result<Block, ImageError> {
        if let Some((_, block)) = self.metadata.iter().find(|(held, _)| *held == at) {
            return Ok(block.clone());
        }
        let header = u16::from_le_bytes(self.source.array(at)?);
        let size = usize::from(header & 0x7fff);
        if size == 0 || size > METADATA {
            return Err(self
                .source
                .damaged(format!("metadata of {size} bytes at {at}")));
        }
        let mut stored = vec![0; size];
        // The header has been read, so this cannot overflow.
        self.source.read(at + 2, &mut stored)?;
        let bytes = if header & 0x8000 == 0 {
            let mut bytes = vec![0; METADATA];
            let length = self.decode(&stored, &mut bytes, at)?;
            bytes.truncate(length);
            bytes
        } else {
            stored
        };
        let block = Block {
            bytes: bytes.into(),
            next: at + 2 + size as u64,
        };
        if self.metadata.len() == METADATA_BLOCKS {
            self.metadata.pop_front();
        }
        self.metadata.push_back((at, block.clone()));
        Ok(block)
    }

    fn decode(&self, input: &[u8], output: &mut [u8], at: u64) -> Result<usize, ImageError> {
        self.source.charge(output.len() as u64)?;
        let length = self.codec.decode(input, output);
        length.ok_or_else(|| {
            self.source
                .damaged(format!("the block at {at} does not decode"))
        })
    }

    /// Fills `buffer` from the cursor on, over the borders of blocks, and moves it.
    fn metadata(&mut self, cursor: &mut Cursor, buffer: &mut [u8]) -> Result<(), ImageError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let block = self.block(cursor.block)?;
            let available = block.bytes.get(cursor.offset..).unwrap_or_default();
            if available.is_empty() {
                // Only a position at the end leads into the next block.
                if cursor.offset != block.bytes.len() {
                    return Err(self.source.damaged("a position beyond its metadata block"));
                }
                *cursor = Cursor {
                    block: block.next,
                    offset: 0,
                };
                self.source.charge(METADATA as u64)?;
                continue;
            }
            let part = available.len().min(buffer.len() - filled);
            buffer[filled..filled + part].copy_from_slice(&available[..part]);
            filled += part;
            cursor.offset += part;
        }
        Ok(())
    }

    fn fields<const N: usize>(&mut self, cursor: &mut Cursor) -> Result<[u8; N], ImageError> {
        let mut bytes = [0; N];
        self.metadata(cursor, &mut bytes)?;
        Ok(bytes)
    }

    fn position(&self, table: u64, block: u64, offset: u16) -> Result<Cursor, ImageError> {
        let block = table
            .checked_add(block)
            .ok_or_else(|| self.source.damaged("a table beyond its end"))?;
        Ok(Cursor {
            block,
            offset: usize::from(offset),
        })
    }

    fn inode(&mut self, reference: u64) -> Result<Inode, ImageError> {
        #[expect(clippy::cast_possible_truncation, reason = "its low 16 bits")]
        let offset = reference as u16;
        let mut cursor = self.position(self.inode_table, reference >> 16, offset)?;
        let header: [u8; 16] = self.fields(&mut cursor)?;
        let header = Fields(&header);
        let mut attributes = NO_ATTRIBUTES;
        let (size, kind, body) = match header.u16(0) {
            1 => {
                let bytes: [u8; 16] = self.fields(&mut cursor)?;
                let fields = Fields(&bytes);
                let body = Body::Directory {
                    block: fields.u32(0),
                    offset: fields.u16(10),
                };
                (u64::from(fields.u16(8)), Kind::Directory, body)
            }
            8 => {
                let bytes: [u8; 24] = self.fields(&mut cursor)?;
                let fields = Fields(&bytes);
                let body = Body::Directory {
                    block: fields.u32(8),
                    offset: fields.u16(18),
                };
                (u64::from(fields.u32(4)), Kind::Directory, body)
            }
            2 => {
                let bytes: [u8; 16] = self.fields(&mut cursor)?;
                let fields = Fields(&bytes);
                let body = Body::File {
                    start: u64::from(fields.u32(0)),
                    fragment: fields.u32(4),
                    offset: fields.u32(8),
                    sizes: cursor,
                };
                (u64::from(fields.u32(12)), Kind::File, body)
            }
            9 => {
                let bytes: [u8; 40] = self.fields(&mut cursor)?;
                let fields = Fields(&bytes);
                // Of directories, links and devices nobody asks for them.
                attributes = fields.u32(36);
                let body = Body::File {
                    start: fields.u64(0),
                    fragment: fields.u32(28),
                    offset: fields.u32(32),
                    sizes: cursor,
                };
                (fields.u64(8), Kind::File, body)
            }
            3 | 10 => {
                let bytes: [u8; 8] = self.fields(&mut cursor)?;
                let body = Body::Link { text: cursor };
                (u64::from(Fields(&bytes).u32(4)), Kind::Link, body)
            }
            4..=7 | 11..=14 => (0, Kind::Other, Body::Other),
            other => {
                return Err(self.source.damaged(format!("an inode of type {other}")));
            }
        };
        Ok(Inode {
            kind,
            mtime: header.u32(8),
            size,
            attributes,
            body,
        })
    }

    fn walk(&mut self, inode: &Inode, each: &mut Each<'_>) -> Result<(), ImageError> {
        let Body::Directory { block, offset } = inode.body else {
            return Err(self.source.damaged("a directory that is none"));
        };
        let mut cursor = self.position(self.directory_table, u64::from(block), offset)?;
        // compat: the size counts the entries `.` and `..`, which are not there, as three bytes.
        let mut left = inode.size.saturating_sub(3);
        while left > 0 {
            let header: [u8; 12] = self.fields(&mut cursor)?;
            let header = Fields(&header);
            let count = u64::from(header.u32(0)) + 1;
            if count > 256 {
                return Err(self.source.damaged("a directory's list is too long"));
            }
            left = left.saturating_sub(12);
            for _ in 0..count {
                let entry: [u8; 8] = self.fields(&mut cursor)?;
                let entry = Fields(&entry);
                let length = usize::from(entry.u16(6)) + 1;
                if length > 256 {
                    return Err(self.source.damaged("a name is too long"));
                }
                let mut name = [0; 256];
                self.metadata(&mut cursor, &mut name[..length])?;
                left = left.saturating_sub(8 + length as u64);
                let kind = match entry.u16(4) {
                    1 | 8 => Kind::Directory,
                    2 | 9 => Kind::File,
                    3 | 10 => Kind::Link,
                    _ => Kind::Other,
                };
                let reference = u64::from(header.u32(4)) << 16 | u64::from(entry.u16(0));
                self.source.charge(64)?;
                if each(&name[..length], kind, reference).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, path: &str) -> Result<Option<Inode>, ImageError> {
        let mut inode = self.inode(self.root)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if inode.kind != Kind::Directory {
                return Ok(None);
            }
            let mut found = None;
            self.walk(&inode, &mut |entry, _, reference| {
                if entry == name.as_bytes() {
                    found = Some(reference);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            let Some(reference) = found else {
                return Ok(None);
            };
            inode = self.inode(reference)?;
        }
        Ok(Some(inode))
    }

    fn existing(&mut self, path: &str) -> Result<Inode, ImageError> {
        let missing = self.source.damaged(format!("'{path}' is gone"));
        self.find(path)?.ok_or(missing)
    }

    // ---- data ----

    /// One block of data, `length` bytes when decoded, into `output`.
    fn data(&self, at: u64, size: u32, output: &mut [u8]) -> Result<usize, ImageError> {
        let stored = size & !DATA_PLAIN;
        if stored > self.block_size {
            return Err(self.source.damaged(format!("a block of {stored} bytes")));
        }
        if size & DATA_PLAIN != 0 {
            let length = (stored as usize).min(output.len());
            self.source.read(at, &mut output[..length])?;
            return Ok(length);
        }
        let mut input = vec![0; stored as usize];
        self.source.read(at, &mut input)?;
        self.decode(&input, output, at)
    }

    /// The part of a fragment block that is the end of a file.
    fn fragment(&mut self, index: u32, offset: u32, length: usize) -> Result<&[u8], ImageError> {
        if index >= self.fragments {
            return Err(self.source.damaged(format!("there is no fragment {index}")));
        }
        let index = u64::from(index);
        let slot = self.fragment_table.checked_add(index / 512 * 8);
        let slot = slot.ok_or_else(|| self.source.damaged("a table beyond its end"))?;
        let mut cursor = Cursor {
            block: u64::from_le_bytes(self.source.array(slot)?),
            offset: usize::try_from(index % 512 * 16).unwrap_or(0),
        };
        let entry: [u8; 16] = self.fields(&mut cursor)?;
        let entry = Fields(&entry);
        let at = entry.u64(0);
        if self.fragment.as_ref().is_none_or(|(held, _)| *held != at) {
            self.fragment = None;
            let mut bytes = vec![0; self.block_size as usize];
            let size = self.data(at, entry.u32(8), &mut bytes)?;
            bytes.truncate(size);
            self.fragment = Some((at, bytes));
        }
        let bytes = self.fragment.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let part = (offset as usize)
            .checked_add(length)
            .and_then(|end| bytes.get(offset as usize..end));
        part.ok_or_else(|| self.source.damaged("a fragment is too short"))
    }
}

impl Tree for Squashfs {
    fn stat(&mut self, path: &str) -> Result<Option<Stat>, ImageError> {
        let inode = self.find(path)?;
        Ok(inode.map(|inode| Stat {
            size: if inode.kind == Kind::Directory {
                0
            } else {
                inode.size
            },
            mtime: i64::from(inode.mtime),
            kind: inode.kind,
        }))
    }

    fn list(&mut self, path: &str, visit: &mut Visit<'_>) -> Result<(), ImageError> {
        let inode = self.existing(path)?;
        self.walk(&inode, &mut |name, kind, _| visit(name, kind))
    }

    fn target(&mut self, path: &str) -> Result<Vec<u8>, ImageError> {
        let inode = self.existing(path)?;
        let (Body::Link { text: mut cursor }, Ok(size @ ..=super::tree::LINK_LIMIT)) =
            (inode.body, usize::try_from(inode.size))
        else {
            return Err(self.source.damaged("a symlink that is none"));
        };
        let mut text = vec![0; size];
        self.metadata(&mut cursor, &mut text)?;
        Ok(text)
    }

    fn user_attribute(&mut self, path: &str, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let inode = self.existing(path)?;
        Squashfs::user_attribute(self, inode.attributes, name)
    }

    fn copy(&mut self, path: &str, sink: &mut Sink<'_>) -> Result<(), ImageError> {
        let inode = self.existing(path)?;
        let Body::File {
            start,
            fragment,
            offset,
            mut sizes,
        } = inode.body
        else {
            return Err(self.source.damaged("a file that is none"));
        };
        let mut at = start;
        let mut left = inode.size;
        let block_size = u64::from(self.block_size);
        let mut block = vec![0; self.block_size as usize];
        while left > 0 {
            // At most a block, so it fits.
            let length = usize::try_from(left.min(block_size)).unwrap_or(0);
            if left < block_size && fragment != NO_FRAGMENT {
                sink(self.fragment(fragment, offset, length)?)?;
                break;
            }
            let size = u32::from_le_bytes(self.fields(&mut sizes)?);
            let block = &mut block[..length];
            if size == 0 {
                self.source.charge(length as u64)?;
                block.fill(0);
            } else if self.data(at, size, block)? != length {
                return Err(self.source.damaged("a block is too short"));
            }
            sink(block)?;
            at = at.saturating_add(u64::from(size & !DATA_PLAIN));
            left -= length as u64;
        }
        Ok(())
    }
}

/// A metadata block decodes to no more.
const METADATA: usize = 8192;

/// How many decoded metadata blocks are held.
const METADATA_BLOCKS: usize = 32;

/// The bit of a data block's size that says "stored as it is".
const DATA_PLAIN: u32 = 1 << 24;

/// The fragment index of a file without one.
const NO_FRAGMENT: u32 = u32::MAX;
