//! A tar archive into a tree: ustar, pax and GNU's forms (pax(1), "EXTENDED DESCRIPTION"; GNU tar, "Basic Tar Format").
//!
//! Reads a stream that may be hostile. Headers are the `tar` crate's; everything with a length is read here, within bounds,
//! because an archive of a few bytes can announce a name of gigabytes. Names stay below the tree, which the writer sees to.

mod pax;
mod sparse;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use tar::{EntryType, Header};

use self::pax::Records;
use self::sparse::Extent;
use crate::storage::tree::{Attributes, Node, TreeError, TreeWriter};
use crate::verify::reader::Limited;

/// An archive that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no archive.
    #[error("Failed to initialize archive context: Unrecognized archive format")]
    Unrecognized,
    /// It is damaged, or of a kind that nothing here reads.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// It cannot be read to its end.
    #[error("cannot read the archive")]
    Read(#[from] io::Error),
    /// The tree cannot be written.
    #[error(transparent)]
    Write(#[from] TreeError),
    /// A file of the tree cannot be written.
    #[error("cannot write '{}'", path.display())]
    Fill {
        /// Its path in the tree.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Headers, and what they are padded to, in bytes.
const BLOCK: usize = 512;
/// The longest name, and the largest set of records, in bytes.
const RECORDS_LIMIT: u64 = 1 << 20;
/// All that several headers say together of one member, in memory, in bytes.
const OWN_LIMIT: usize = 8 << 20;
/// The same of all members. Little is, as each has a copy of it: `git archive` notes a commit there.
const GLOBAL_LIMIT: usize = 64 << 10;
/// Most headers that say something of one member; two or three are usual.
const EXTENSIONS: usize = 64;
/// Bytes are moved in pieces of this size.
const PIECE: usize = 256 << 10;
/// Pieces of this size that hold only zeros are left as holes.
const HOLE: usize = 4096;
/// No file and no archive is larger, in bytes: what is a hole, or passed over, takes no room and packs to next to nothing,
/// but has an end.
const LARGEST: u64 = 64 << 30;

/// Unpacks everything; what follows the end mark is left to the caller.
///
/// # Errors
/// When this is no archive, it is damaged or larger than 64 GiB (a reading error of the kind
/// [`io::ErrorKind::FileTooLarge`]), a name leads out of it, or the tree cannot be written.
pub fn unpack(reader: &mut dyn Read, writer: &mut TreeWriter) -> Result<(), ArchiveError> {
    let mut archive = Archive {
        reader: &mut Limited::new(reader, LARGEST),
        global: Records::default(),
        own: Records::default(),
        extensions: 0,
        is_recognized: false,
    };
    while let Some(header) = archive.header()? {
        archive.member(&header, writer)?;
    }
    Ok(())
}

struct Archive<'a> {
    reader: &'a mut dyn Read,
    /// What holds for all members from here on.
    global: Records,
    /// What holds for the next one.
    own: Records,
    /// How many headers have said something of members that are still to come.
    extensions: usize,
    /// Whether a header was read.
    is_recognized: bool,
}

/// One member, with all that is said of it.
struct Member {
    path: PathBuf,
    attributes: Attributes,
    /// What follows its header, in bytes.
    size: u64,
}

impl Archive<'_> {
    /// The next header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK];
        match read_full(self.reader, &mut block)? {
            0 if self.is_recognized => return Ok(None),
            BLOCK => {}
            _ if self.is_recognized => return Err(damaged("it is cut short")),
            _ => return Err(ArchiveError::Unrecognized),
        }
        if block.iter().all(|byte| *byte == 0) {
            // One such block is the end for everybody, though there should be two.
            return Ok(None);
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        if !is_sound(&header) {
            return Err(if self.is_recognized {
                damaged("a header has a wrong checksum")
            } else {
                ArchiveError::Unrecognized
            });
        }
        self.is_recognized = true;
        Ok(Some(header))
    }

    fn member(&mut self, header: &Header, writer: &mut TreeWriter) -> Result<(), ArchiveError> {
        let kind = header.entry_type();
        self.extensions += 1;
        if self.extensions > EXTENSIONS {
            return Err(damaged(format!("{EXTENSIONS} headers without a member")));
        }
        match kind {
            EntryType::XGlobalHeader => {
                let records = self.records(header)?;
                self.global.extend(records, GLOBAL_LIMIT)?;
                return Ok(());
            }
            EntryType::XHeader => {
                let records = self.records(header)?;
                self.own.extend(records, OWN_LIMIT)?;
                return Ok(());
            }
            EntryType::GNULongName | EntryType::GNULongLink => {
                let mut name = self.small(header)?;
                name.truncate(
                    name.iter()
                        .position(|byte| *byte == 0)
                        .unwrap_or(name.len()),
                );
                let key = if kind == EntryType::GNULongName {
                    "path"
                } else {
                    "linkpath"
                };
                self.own.insert(key, name);
                return Ok(());
            }
            _ => {}
        }
        self.extensions = 0;
        let own = std::mem::take(&mut self.own);
        let records = self.global.clone().overridden_by(own);
        let member = member(header, &records)?;
        let link = || link_of(header, &records);
        match kind {
            _ if member.path.as_os_str().is_empty() && kind != EntryType::Directory => {
                // The volume's label, or a file that is called like the top.
                self.skip(member.size)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if header.path_bytes().ends_with(b"/") && records.get("path").is_none() {
                    // The oldest form has no mark for directories.
                    writer.directory(&member.path, member.attributes)?;
                    return self.skip(member.size);
                }
                self.file(header, &records, &member, writer)
            }
            EntryType::Directory => {
                writer.directory(&member.path, member.attributes)?;
                self.skip(member.size)
            }
            EntryType::Symlink => {
                writer.symlink(
                    &member.path,
                    &OsString::from_vec(link()?),
                    &member.attributes,
                )?;
                self.skip(member.size)
            }
            EntryType::Link => {
                let to = inside(&link()?)?;
                writer.hard_link(&member.path, &to)?;
                self.skip(member.size)
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                writer.node(&member.path, node(header, kind)?, &member.attributes)?;
                self.skip(member.size)
            }
            other if other.as_byte() == b'V' => self.skip(member.size),
            other => Err(damaged(format!(
                "'{}' is of the unknown type {:?}",
                member.path.display(),
                char::from(other.as_byte())
            ))),
        }
    }

    fn file(
        &mut self,
        header: &Header,
        records: &Records,
        member: &Member,
        writer: &mut TreeWriter,
    ) -> Result<(), ArchiveError> {
        let (size, extents, used) = self.layout(header, records, member)?;
        if size > LARGEST {
            return Err(damaged(format!(
                "'{}' has {size} bytes",
                member.path.display()
            )));
        }
        let mut left = member.size - used;
        writer.file(&member.path, &member.attributes, |writer, file| {
            let fill = |source| ArchiveError::Fill {
                path: member.path.clone(),
                source,
            };
            for extent in &extents {
                if extent.length > left {
                    return Err(damaged("a sparse file has less data than its map"));
                }
                self.copy(file, *extent, writer, &fill)?;
                left -= extent.length;
            }
            file.set_len(size).map_err(fill)
        })?;
        self.discard(left)?;
        self.discard(padding(member.size))
    }

    /// The size of a file, where its data belongs, and how much of what follows the header has been read for that.
    fn layout(
        &mut self,
        header: &Header,
        records: &Records,
        member: &Member,
    ) -> Result<(u64, Vec<Extent>, u64), ArchiveError> {
        if header.entry_type() == EntryType::GNUSparse {
            let gnu = header
                .as_gnu()
                .ok_or_else(|| damaged("a sparse file of no known form"))?;
            let (size, extents) = sparse::of_header(gnu, self.reader)?;
            return Ok((size, extents, 0));
        }
        let Some(size) = sparse::real_size(records)? else {
            let whole = Extent {
                offset: 0,
                length: member.size,
            };
            return Ok((member.size, vec![whole], 0));
        };
        let (extents, used) = if let Some(extents) = sparse::of_records(records)? {
            (extents, 0)
        } else {
            sparse::of_data(self.reader, member.size)?
        };
        let extents = sparse::checked(extents, size)?;
        Ok((size, extents, used))
    }

    /// Moves data to its place; long zeros become holes.
    fn copy(
        &mut self,
        file: &File,
        extent: Extent,
        writer: &mut TreeWriter,
        fill: &dyn Fn(io::Error) -> ArchiveError,
    ) -> Result<(), ArchiveError> {
        let mut buffer = vec![0; PIECE.min(usize::try_from(extent.length).unwrap_or(PIECE))];
        let (mut offset, mut left) = (extent.offset, extent.length);
        while left > 0 {
            let room = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            if read_full(self.reader, &mut buffer[..room])? < room {
                return Err(damaged("it is cut short"));
            }
            for piece in buffer[..room].chunks(HOLE) {
                if piece.iter().any(|byte| *byte != 0) {
                    writer.count(piece.len() as u64)?;
                    file.write_all_at(piece, offset).map_err(fill)?;
                }
                offset += piece.len() as u64;
            }
            left -= room as u64;
        }
        Ok(())
    }

    fn records(&mut self, header: &Header) -> Result<Records, ArchiveError> {
        Records::parse(&self.small(header)?)
    }

    /// What follows a header that is about another one.
    fn small(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header
            .entry_size()
            .map_err(|_| damaged("a header has no size"))?;
        if size > RECORDS_LIMIT {
            return Err(damaged(format!("a header of {size} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        if read_full(self.reader, &mut bytes)? < bytes.len() {
            return Err(damaged("it is cut short"));
        }
        self.discard(padding(size))?;
        Ok(bytes)
    }

    /// Passes over what follows a header.
    fn skip(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.discard(size)?;
        self.discard(padding(size))
    }

    fn discard(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        let passed = io::copy(&mut (&mut *self.reader).take(bytes), &mut io::sink())?;
        if passed < bytes {
            return Err(damaged("it is cut short"));
        }
        Ok(())
    }
}

/// What a header and the records before it say of a member.
fn member(header: &Header, records: &Records) -> Result<Member, ArchiveError> {
    let old = header.as_old();
    let number = |name: &str, bytes: &[u8], field: io::Result<u64>| match records.number(name)? {
        Some(number) => Ok(number),
        // Old programs leave out what they do not know.
        None if is_blank(bytes) => Ok(0),
        None => field.map_err(|_| damaged(format!("a header has a bad {name}"))),
    };
    let name = match records.get("GNU.sparse.name").or(records.get("path")) {
        Some(name) => name.to_vec(),
        None => header.path_bytes().into_owned(),
    };
    let narrow = |number: u64| u32::try_from(number).map_err(|_| damaged("an owner out of range"));
    let owner = (
        narrow(number("uid", &old.uid, header.uid())?)?,
        narrow(number("gid", &old.gid, header.gid())?)?,
    );
    let modified = if let Some(time) = records.time("mtime")? {
        time
    } else {
        let seconds = number("mtime", &old.mtime, header.mtime())?;
        (i64::try_from(seconds).unwrap_or(i64::MAX), 0)
    };
    let mode = number("mode", &old.mode, header.mode().map(u64::from))?;
    let is_link = header.entry_type() == EntryType::Link;
    let size = number("size", &old.size, header.entry_size())?;
    Ok(Member {
        path: inside(&name)?,
        attributes: Attributes {
            mode: u32::try_from(mode & 0o7777).unwrap_or_default(),
            owner: Some(owner),
            modified: Some(modified),
            xattrs: records.attributes()?,
        },
        // A second name has no data of its own, whatever size old programs give it.
        size: if is_link && header.as_ustar().is_none() {
            0
        } else {
            size
        },
    })
}

fn link_of(header: &Header, records: &Records) -> Result<Vec<u8>, ArchiveError> {
    let link = match records.get("linkpath") {
        Some(link) => link.to_vec(),
        None => header
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default(),
    };
    if link.is_empty() || link.contains(&0) {
        return Err(damaged("a link leads nowhere"));
    }
    Ok(link)
}

fn node(header: &Header, kind: EntryType) -> Result<Node, ArchiveError> {
    let part = |part: io::Result<Option<u32>>| {
        part.ok()
            .flatten()
            .ok_or_else(|| damaged("a device has no number"))
    };
    let device = || {
        let (major, minor) = (part(header.device_major())?, part(header.device_minor())?);
        Ok::<_, ArchiveError>(rustix::fs::makedev(major, minor))
    };
    Ok(match kind {
        EntryType::Char => Node::Character(device()?),
        EntryType::Block => Node::Block(device()?),
        _ => Node::Pipe,
    })
}

/// The path of a member below the top: without a leading slash and without dots.
fn inside(name: &[u8]) -> Result<PathBuf, ArchiveError> {
    let path = PathBuf::from(OsString::from_vec(name.to_vec()));
    let mut clean = PathBuf::new();
    for component in Path::new(&path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(TreeError::Path(path).into()),
        }
    }
    if name.is_empty() || name.contains(&0) {
        return Err(TreeError::Path(path).into());
    }
    Ok(clean)
}

/// Whether the checksum of a header holds: of its bytes, unsigned or, as some old programs do it, signed.
fn is_sound(header: &Header) -> bool {
    let Ok(expected) = header.cksum() else {
        return false;
    };
    let bytes = header.as_bytes().iter().enumerate();
    let counted = bytes.map(|(index, byte)| {
        if (148..156).contains(&index) {
            b' '
        } else {
            *byte
        }
    });
    let unsigned: u32 = counted.clone().map(u32::from).sum();
    let signed: i32 = counted.map(|byte| i32::from(byte.cast_signed())).sum();
    unsigned == expected || i32::try_from(expected) == Ok(signed)
}

/// Whether a field has no digits at all.
fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// Reads until the buffer is full or the stream ends.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn damaged(what: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged(what.into())
}

#[cfg(test)]
mod tests;
