//! Where the data of a sparse file belongs: GNU's old form and the three of pax (GNU tar, "Storing Sparse Files").

use std::io::Read;

use tar::{GnuExtSparseHeader, GnuHeader, GnuSparseHeader};

use super::pax::{Records, number};
use super::{ArchiveError, BLOCK, damaged, read_full};

/// A piece of data in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    /// How long it is, in bytes.
    pub(super) length: u64,
}

/// Files of more pieces are none.
const EXTENTS: usize = 1 << 20;

/// The size and the pieces of a file in GNU's old form; further headers follow the first.
pub(super) fn of_header(
    header: &GnuHeader,
    reader: &mut dyn Read,
) -> Result<(u64, Vec<Extent>), ArchiveError> {
    let size = header
        .real_size()
        .map_err(|_| damaged("a sparse file has no size"))?;
    let mut extents = Vec::new();
    push(&mut extents, &header.sparse)?;
    let mut goes_on = header.is_extended();
    while goes_on {
        let mut further = GnuExtSparseHeader::new();
        if read_full(reader, further.as_mut_bytes())? < BLOCK {
            return Err(damaged("it is cut short"));
        }
        push(&mut extents, further.sparse())?;
        goes_on = further.is_extended();
    }
    Ok((size, checked(extents, size)?))
}

fn push(extents: &mut Vec<Extent>, headers: &[GnuSparseHeader]) -> Result<(), ArchiveError> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        let part = |part: std::io::Result<u64>| part.map_err(|_| damaged("a bad sparse map"));
        extents.push(Extent {
            offset: part(header.offset())?,
            length: part(header.length())?,
        });
    }
    if extents.len() > EXTENTS {
        return Err(damaged("a sparse file of too many pieces"));
    }
    Ok(())
}

/// The size of a file that records say is sparse.
pub(super) fn real_size(records: &Records) -> Result<Option<u64>, ArchiveError> {
    Ok(match records.number("GNU.sparse.realsize")? {
        Some(size) => Some(size),
        None => records.number("GNU.sparse.size")?,
    })
}

/// The pieces that records name; `None` where the map stands before the data.
pub(super) fn of_records(records: &Records) -> Result<Option<Vec<Extent>>, ArchiveError> {
    let numbers = if let Some(map) = records.get("GNU.sparse.map") {
        let parts = map
            .split(|byte| *byte == b',')
            .filter(|part| !part.is_empty());
        parts
            .map(|part| number(part, "sparse map"))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        let offsets = records.all("GNU.sparse.offset");
        let lengths = records.all("GNU.sparse.numbytes");
        if offsets.len() != lengths.len() {
            return Err(damaged("a bad sparse map"));
        }
        if offsets.is_empty() && records.get("GNU.sparse.major").is_some() {
            return Ok(None);
        }
        let pairs = offsets
            .iter()
            .zip(lengths)
            .flat_map(|(offset, length)| [offset, length]);
        pairs
            .map(|part| number(part, "sparse map"))
            .collect::<Result<Vec<_>, _>>()?
    };
    paired(&numbers).map(Some)
}

/// The pieces that stand, line by line, before the data of a file, and how many bytes they take.
pub(super) fn of_data(
    reader: &mut dyn Read,
    size: u64,
) -> Result<(Vec<Extent>, u64), ArchiveError> {
    let bad = || damaged("a bad sparse map");
    let mut used = 0;
    let mut numbers: Vec<u64> = Vec::new();
    let mut wanted: Option<usize> = None;
    let mut line = Vec::new();
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        let mut block = [0; BLOCK];
        used += BLOCK as u64;
        if used > size || read_full(reader, &mut block)? < BLOCK {
            return Err(bad());
        }
        for byte in block {
            if wanted.is_some_and(|wanted| numbers.len() >= wanted) {
                break;
            }
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(bad());
                }
                continue;
            }
            let value = number(&line, "sparse map")?;
            line.clear();
            if wanted.is_some() {
                numbers.push(value);
            } else {
                let count = usize::try_from(value).ok();
                let count = count.filter(|count| *count <= EXTENTS);
                wanted = Some(2 * count.ok_or_else(bad)?);
            }
        }
    }
    Ok((paired(&numbers)?, used))
}

fn paired(numbers: &[u64]) -> Result<Vec<Extent>, ArchiveError> {
    if !numbers.len().is_multiple_of(2) {
        return Err(damaged("a bad sparse map"));
    }
    let pairs = numbers.chunks_exact(2);
    Ok(pairs
        .map(|pair| Extent {
            offset: pair[0],
            length: pair[1],
        })
        .collect())
}

/// The pieces, if they lie one behind the other within the file.
pub(super) fn checked(extents: Vec<Extent>, size: u64) -> Result<Vec<Extent>, ArchiveError> {
    let mut end = 0;
    for extent in &extents {
        let next = extent
            .offset
            .checked_add(extent.length)
            .filter(|next| *next <= size);
        if extent.offset < end || next.is_none() {
            return Err(damaged("a bad sparse map"));
        }
        end = next.unwrap_or(end);
    }
    Ok(extents)
}
