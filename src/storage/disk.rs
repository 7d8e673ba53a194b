//! A disk with a partition table, a block device or an image file: reads the table, changes one partition of it, and tells
//! the kernel.
//!
//! Both copies of a table are written, one after the other, each with a single write and a sync behind it: whatever is cut
//! off, one copy is whole and says what was or what is. The damaged one, if there is one, is never the only one meanwhile.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::atomic::Durability;
use crate::gpt::{Change, GptError, Header, Partition, SIGNATURE, Table};
use crate::root::Root;

/// A disk that cannot be used as one.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It does not open, or answers with an error.
    #[error("cannot {operation} '{}'", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Its outer path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Neither copy of a partition table is whole.
    #[error("no partition table can be read from '{}'", path.display())]
    Table {
        /// Its outer path.
        path: PathBuf,
        /// What is wrong with the first copy.
        source: GptError,
    },
    /// The partition is not what was found before.
    #[error("partition {number} of '{}' was changed by somebody else meanwhile", path.display())]
    Changed {
        /// Its outer path.
        path: PathBuf,
        /// The partition's number.
        number: u32,
    },
    /// No disk is behind the root file system.
    #[error("Failed to determine block device of file system")]
    NoRootDisk,
}

/// An open disk.
#[derive(Debug)]
pub struct Disk {
    file: File,
    inner: PathBuf,
    outer: PathBuf,
    length: u64,
    sector: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Device,
    Image,
}

/// What is wanted of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only to look.
    Read,
    /// To change it.
    Write,
}

/// A partition table as it was found.
struct Found {
    table: Table,
    /// Whether the first copy is whole.
    first: bool,
}

impl Disk {
    /// Opens a block device or an image file.
    ///
    /// # Errors
    /// When it does not open, or is neither.
    pub fn open(root: &Root, inner: &Path, access: Access) -> Result<Self, DiskError> {
        let outer = root.outer(inner);
        let failed = |operation, source: io::Error| DiskError::Io {
            operation,
            path: outer.clone(),
            source,
        };
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        let opened = root.open_with(inner, flags | OFlags::NONBLOCK, Mode::empty());
        let file = File::from(opened.map_err(|error| failed("open", error))?);
        let metadata = file.metadata().map_err(|error| failed("examine", error))?;
        let kind = match metadata.file_type() {
            kind if kind.is_block_device() => Kind::Device,
            kind if kind.is_file() => Kind::Image,
            _ => {
                let neither = io::Error::other("neither a block device nor a file");
                return Err(failed("open", neither));
            }
        };
        let length = match kind {
            Kind::Image => metadata.len(),
            Kind::Device => rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))
                .map_err(|error| failed("measure", error.into()))?,
        };
        let sector = match kind {
            Kind::Device => u64::from(
                rustix::fs::ioctl_blksszget(&file)
                    .map_err(|error| failed("ask for the sectors of", error.into()))?,
            ),
            Kind::Image => sector_of(&file, length).map_err(|error| failed("read", error))?,
        };
        Ok(Self {
            file,
            inner: inner.to_path_buf(),
            outer,
            length,
            sector,
            kind,
        })
    }

    /// The size of its sectors, in bytes.
    #[must_use]
    pub fn sector(&self) -> u64 {
        self.sector
    }

    /// The open device or image, whose bytes lie where those of the disk do.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The inner path by which the device node of a partition would be known.
    #[must_use]
    pub fn partition_path(&self, number: u32) -> PathBuf {
        partition_path(&self.inner, number)
    }

    /// Whether a partition is mounted, or held by something stacked upon it. A disk may be known by a link (`by-id`), whose
    /// partitions are called by other rules than the kernel's. (open(2): `O_EXCL` on block devices)
    #[must_use]
    pub fn is_in_use(&self, root: &Root, number: u32) -> bool {
        let own = root.canonicalize(&self.inner);
        let node = partition_path(own.as_deref().unwrap_or(&self.inner), number);
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK;
        let is_device = root
            .stat(&node)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_block_device());
        is_device
            && root
                .open_with(&node, flags, Mode::empty())
                .is_err_and(|error| {
                    error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error())
                })
    }

    /// The partition table.
    ///
    /// # Errors
    /// When neither copy of it is whole.
    pub fn table(&self) -> Result<Table, DiskError> {
        Ok(self.found()?.table)
    }

    fn found(&self) -> Result<Found, DiskError> {
        let first = self.copy(1);
        let other = match &first {
            Ok(table) => {
                return Ok(Found {
                    table: table.clone(),
                    first: true,
                });
            }
            Err(_) => (self.length / self.sector).saturating_sub(1),
        };
        match (self.copy(other), first) {
            (Ok(table), _) => Ok(Found {
                table,
                first: false,
            }),
            (Err(_), Err(error)) => Err(error),
            (Err(_), Ok(_)) => unreachable!("a whole first copy has been returned"),
        }
    }

    /// One copy of the table.
    fn copy(&self, sector: u64) -> Result<Table, DiskError> {
        let read = |start: u64, length: usize| {
            let mut bytes = vec![0; length];
            let start = start
                .checked_mul(self.sector)
                .ok_or_else(|| self.failed("read", io::Error::from(io::ErrorKind::InvalidData)))?;
            match self.file.read_exact_at(&mut bytes, start) {
                Ok(()) => Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(self.no_table(GptError::Absent))
                }
                Err(error) => Err(self.failed("read", error)),
            }
        };
        let size = usize::try_from(self.sector).unwrap_or_default();
        let header =
            Header::parse(&read(sector, size)?, sector).map_err(|error| self.no_table(error))?;
        let entries = read(header.entries, header.array_length())?;
        Table::new(header, entries).map_err(|error| self.no_table(error))
    }

    /// Changes a partition, if it still is what `is_expected` accepts. The table is read again under a lock that others
    /// respect (<https://systemd.io/BLOCK_DEVICE_LOCKING>), so that nobody's change is lost.
    ///
    /// # Errors
    /// When it is something else by now, or the disk answers with an error.
    pub fn change(
        &self,
        number: u32,
        change: &Change,
        is_expected: impl FnOnce(&Partition) -> bool,
        durability: Durability,
    ) -> Result<(), DiskError> {
        let lock = || rustix::fs::flock(&self.file, FlockOperation::LockExclusive);
        rustix::io::retry_on_intr(lock).map_err(|error| self.failed("lock", error.into()))?;
        let changed = self.change_locked(number, change, is_expected, durability);
        // The file is closed soon anyway.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        changed
    }

    fn change_locked(
        &self,
        number: u32,
        change: &Change,
        is_expected: impl FnOnce(&Partition) -> bool,
        durability: Durability,
    ) -> Result<(), DiskError> {
        let Found { mut table, first } = self.found()?;
        let refused = || self.changed(number);
        let partition = table.partition(number).ok_or_else(refused)?;
        if !is_expected(&partition) || !table.change(number, change) {
            return Err(refused());
        }
        self.write(&table, first, durability)?;
        self.announce(number);
        Ok(())
    }

    /// Writes both copies, a damaged one first.
    fn write(&self, table: &Table, first: bool, durability: Durability) -> Result<(), DiskError> {
        let header = table.header();
        let array = (table.entries().len() as u64).div_ceil(self.sector);
        let last = (self.length / self.sector).saturating_sub(1);
        let (primary_entries, backup) = if first {
            (header.entries, header.other)
        } else {
            (2, header.own)
        };
        // Where a disk has grown the copy stays where it is; where it has shrunk, it goes to the end.
        let backup = if backup > 1 && backup <= last {
            backup
        } else {
            last
        };
        let backup_entries = backup.saturating_sub(array);
        let primary = || {
            let header = table.header_at(1, backup, primary_entries);
            self.write_copy(1, &header, primary_entries, table.entries(), durability)
        };
        let copy = || {
            let header = table.header_at(backup, 1, backup_entries);
            self.write_copy(backup, &header, backup_entries, table.entries(), durability)
        };
        if first {
            copy()?;
            primary()
        } else {
            primary()?;
            copy()
        }
    }

    fn write_copy(
        &self,
        at: u64,
        header: &[u8],
        entries_at: u64,
        entries: &[u8],
        durability: Durability,
    ) -> Result<(), DiskError> {
        let failed = |source| self.failed("write the partition table of", source);
        let size = usize::try_from(self.sector).unwrap_or_default();
        let mut sector = header.to_vec();
        sector.resize(size.max(header.len()), 0);
        let mut array = entries.to_vec();
        array.resize(entries.len().next_multiple_of(size), 0);
        let sectors = array.len() as u64 / self.sector;
        // Header and entries lie side by side, before or behind: one write, so that no kill comes between them.
        if entries_at == at + 1 {
            sector.extend(&array);
            self.file.write_all_at(&sector, at * self.sector)
        } else if entries_at + sectors == at {
            array.extend(&sector);
            self.file.write_all_at(&array, entries_at * self.sector)
        } else {
            let written = self.file.write_all_at(&array, entries_at * self.sector);
            written.and_then(|()| self.file.write_all_at(&sector, at * self.sector))
        }
        .map_err(failed)?;
        match durability {
            Durability::Synced => self.file.sync_data().map_err(failed),
            Durability::Unsynced => Ok(()),
        }
    }

    /// Pushes what was written to the disk.
    ///
    /// # Errors
    /// A write error of any byte written before.
    pub fn sync(&self, durability: Durability) -> Result<(), DiskError> {
        match durability {
            Durability::Synced => self
                .file
                .sync_data()
                .map_err(|error| self.failed("sync", error)),
            Durability::Unsynced => Ok(()),
        }
    }

    /// Lets the device manager look at a partition again: its label, type and UUID have changed, not its place, so that
    /// the kernel needs to forget nothing and a partition that is in use is no obstacle.
    fn announce(&self, number: u32) {
        if self.kind != Kind::Device {
            return;
        }
        let Ok(stat) = rustix::fs::fstat(self.file.as_fd()) else {
            return;
        };
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let whole = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let node = whole.canonicalize();
        let name = partition_path(node.as_deref().unwrap_or(&self.inner), number);
        let partition = name.file_name().map(|name| whole.join(name).join("uevent"));
        // Who has no device manager misses nothing.
        for uevent in [Some(whole.join("uevent")), partition]
            .into_iter()
            .flatten()
        {
            if let Ok(mut file) = File::options().write(true).open(uevent) {
                let _ = file.write_all(b"change\n");
            }
        }
    }

    /// The error of a partition that is not what was found before.
    #[must_use]
    pub fn changed(&self, number: u32) -> DiskError {
        DiskError::Changed {
            path: self.outer.clone(),
            number,
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> DiskError {
        DiskError::Io {
            operation,
            path: self.outer.clone(),
            source,
        }
    }

    fn no_table(&self, source: GptError) -> DiskError {
        DiskError::Table {
            path: self.outer.clone(),
            source,
        }
    }
}

/// The sectors that the table in an image speaks of; 512 bytes where nothing tells.
fn sector_of(file: &File, length: u64) -> io::Result<u64> {
    for sector in [512, 4096] {
        for at in [sector, (length / sector).saturating_sub(1) * sector] {
            let mut bytes = [0; 8];
            if at + 8 <= length {
                file.read_exact_at(&mut bytes, at)?;
            }
            if bytes == *SIGNATURE {
                return Ok(sector);
            }
        }
    }
    Ok(512)
}

/// What the node of a partition is called, as fdisk(8) and the kernel do it.
fn partition_path(disk: &Path, number: u32) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    if name
        .as_encoded_bytes()
        .last()
        .is_some_and(u8::is_ascii_digit)
    {
        name.push("p");
    }
    name.push(number.to_string());
    PathBuf::from(name)
}

/// The node of the disk that the root file system is on, or that of `/usr` where the root is none of a disk.
///
/// # Errors
/// When there is none: a network file system, memory, several disks.
pub fn of_root(root: &Root) -> Result<PathBuf, DiskError> {
    ["/", "/usr"]
        .iter()
        .filter_map(|place| root.stat(Path::new(place)).ok())
        .find_map(|stat| {
            let (major, minor) = (
                rustix::fs::major(stat.st_dev),
                rustix::fs::minor(stat.st_dev),
            );
            whole_disk(Path::new(&format!("/sys/dev/block/{major}:{minor}")), 0)
        })
        .ok_or(DiskError::NoRootDisk)
}

/// Goes from a partition, or what is stacked upon one, to the disk beneath.
fn whole_disk(device: &Path, depth: usize) -> Option<PathBuf> {
    let device = device.canonicalize().ok()?;
    if device.join("partition").exists() {
        let disk = device.parent()?.file_name()?;
        return Some(Path::new("/dev").join(disk));
    }
    let mut below = std::fs::read_dir(device.join("slaves")).ok()?;
    let first = below.next()?.ok()?;
    if depth >= STACK {
        return None;
    }
    // Verity has data and hashes, often on one disk; a volume of several is no disk of ours.
    let others = below.filter_map(Result::ok);
    let disk = whole_disk(&first.path(), depth + 1)?;
    others
        .map(|other| whole_disk(&other.path(), depth + 1))
        .all(|other| other.as_ref() == Some(&disk))
        .then_some(disk)
}

/// Deeper stacks of devices are none that anybody boots from.
const STACK: usize = 8;

#[cfg(test)]
mod tests;
