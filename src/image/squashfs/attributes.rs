//! Extended attributes of a squashfs: a list of names and values that several inodes may share.
//!
//! Only looked through for one name; values that nobody asked for are passed over piece by piece.

use super::{Cursor, METADATA, Squashfs};
use crate::image::error::ImageError;
use crate::image::source::Fields;

/// The index of an inode without attributes.
pub(super) const NO_ATTRIBUTES: u32 = u32::MAX;

/// The superblock's word for an image without attributes.
const NO_TABLE: u64 = u64::MAX;

/// The bit of a name's type that says "the value lies elsewhere".
const ELSEWHERE: u16 = 0x100;

/// An inode has no more.
const COUNT: u32 = 4096;

/// A longer value is none that means anything here, in bytes.
const VALUE: u32 = 4096;

impl Squashfs {
    /// The value of the `user.` attribute `wanted` in the list with this index.
    pub(super) fn user_attribute(
        &mut self,
        index: u32,
        wanted: &str,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        if index == NO_ATTRIBUTES || self.attribute_table == NO_TABLE {
            return Ok(None);
        }
        let header: [u8; 16] = self.source.array(self.attribute_table)?;
        let header = Fields(&header);
        let (lists, count) = (header.u64(0), header.u32(8));
        if index >= count {
            return Err(self
                .source
                .damaged(format!("there are no attributes {index}")));
        }
        let index = u64::from(index);
        let slot = self.attribute_table.checked_add(16 + index / 512 * 8);
        let slot = slot.ok_or_else(|| self.source.damaged("a table beyond its end"))?;
        let mut cursor = Cursor {
            block: u64::from_le_bytes(self.source.array(slot)?),
            offset: usize::try_from(index % 512 * 16).unwrap_or(0),
        };
        let entry: [u8; 16] = self.fields(&mut cursor)?;
        let entry = Fields(&entry);
        if entry.u32(8) > COUNT {
            return Err(self.source.damaged("an inode with too many attributes"));
        }
        let mut cursor = self.referenced(lists, entry.u64(0))?;
        for _ in 0..entry.u32(8) {
            let header: [u8; 4] = self.fields(&mut cursor)?;
            let header = Fields(&header);
            let (kind, length) = (header.u16(0), usize::from(header.u16(2)));
            if length > 256 {
                return Err(self.source.damaged("an attribute's name is too long"));
            }
            let mut name = [0; 256];
            self.metadata(&mut cursor, &mut name[..length])?;
            let matches = kind & !ELSEWHERE == 0 && name[..length] == *wanted.as_bytes();
            if !matches {
                let size = u32::from_le_bytes(self.fields(&mut cursor)?);
                self.pass_over(&mut cursor, size)?;
                continue;
            }
            if kind & ELSEWHERE != 0 {
                // The value in its place is a reference, after its own length, which is that of a reference.
                let reference: [u8; 12] = self.fields(&mut cursor)?;
                cursor = self.referenced(lists, Fields(&reference).u64(4))?;
            }
            let size = u32::from_le_bytes(self.fields(&mut cursor)?);
            if size > VALUE {
                return Ok(None);
            }
            let mut value = vec![0; size as usize];
            self.metadata(&mut cursor, &mut value)?;
            return Ok(Some(value));
        }
        Ok(None)
    }

    fn referenced(&self, table: u64, reference: u64) -> Result<Cursor, ImageError> {
        #[expect(clippy::cast_possible_truncation, reason = "its low 16 bits")]
        let offset = reference as u16;
        self.position(table, reference >> 16, offset)
    }

    fn pass_over(&mut self, cursor: &mut Cursor, size: u32) -> Result<(), ImageError> {
        let mut left = size as usize;
        let mut piece = [0; 512];
        self.source.charge(u64::from(size).max(64))?;
        while left > 0 {
            let length = left.min(piece.len()).min(METADATA);
            self.metadata(cursor, &mut piece[..length])?;
            left -= length;
        }
        Ok(())
    }
}
