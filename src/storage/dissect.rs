//! Mounts the file systems of a disk image where nobody else sees them (`--image=`).
//!
//! The process gets a mount namespace of its own, so that nothing is left when it ends, however it ends: its mounts go with
//! it, and the loop devices, which release themselves, with the mounts. Must be called before any other thread exists.
//!
//! Which partition goes where is said by the partition types (Discoverable Partitions Specification). Data that would have
//! to be authenticated or decrypted first is not handled: a policy that wants that refuses the image.

pub mod policy;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Setter, ioctl};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

use self::policy::{ImagePolicy, Judgement};
use super::atomic::{self, AtomicError, Durability};
use super::disk::{Access, Disk, DiskError};
use crate::gpt::types::PartitionType;
use crate::gpt::{NO_AUTO, READ_ONLY, SIGNATURE};
use crate::root::Root;

/// An image whose file systems cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DissectError {
    /// It cannot be opened.
    #[error("cannot open the image '{}'", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its partitions cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The policy forbids it.
    #[error("image '{}' violates the policy: its {designator} partition {why}", path.display())]
    Policy {
        /// Its path.
        path: PathBuf,
        /// The kind of partition.
        designator: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// It has no operating system for this machine.
    #[error("image '{}' has neither a root nor a usr partition for {architecture}", path.display())]
    Nothing {
        /// Its path.
        path: PathBuf,
        /// This machine's architecture.
        architecture: String,
    },
    /// A file system is of no known kind.
    #[error("no known file system is in the {designator} partition of '{}'", path.display())]
    Unknown {
        /// The image's path.
        path: PathBuf,
        /// The kind of partition.
        designator: &'static str,
    },
    /// The kernel refuses.
    #[error("cannot {operation} for the image '{}'", path.display())]
    Kernel {
        /// What was tried.
        operation: &'static str,
        /// The image's path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The place where it is mounted cannot be made.
    #[error(transparent)]
    Place(#[from] AtomicError),
}

/// Where images are mounted, in a namespace of the process.
const PLACE: &str = "/run/sysupdate/image";

/// Kinds of partitions and where they are mounted; of those that are there several times, the first counts.
const PLACES: [(&str, &str); 8] = [
    ("root", "/"),
    ("usr", "/usr"),
    ("home", "/home"),
    ("srv", "/srv"),
    ("var", "/var"),
    ("tmp", "/var/tmp"),
    ("xbootldr", "/boot"),
    ("esp", "/efi"),
];

/// A piece of an image that is mounted.
#[derive(Debug, Clone, Copy)]
struct Piece {
    designator: &'static str,
    place: &'static str,
    /// Where it begins in the image, and how long it is, in bytes.
    range: (u64, u64),
    is_read_only: bool,
}

/// Mounts an image for this process alone, and gives the directory that it is mounted at.
///
/// # Errors
/// When it is none, the policy forbids it, or the kernel refuses (it wants `CAP_SYS_ADMIN`).
pub fn mount(
    image: &Path,
    access: Access,
    policy: &ImagePolicy,
    architecture: &str,
) -> Result<PathBuf, DissectError> {
    let path = std::path::absolute(image).and_then(|path| path.canonicalize());
    let path = path.map_err(|source| DissectError::Open {
        path: image.to_path_buf(),
        source,
    })?;
    let opened = OpenOptions::new()
        .read(true)
        .write(access == Access::Write)
        .open(&path);
    let file = opened.map_err(|source| DissectError::Open {
        path: path.clone(),
        source,
    })?;
    let kernel = |operation, error: rustix::io::Errno| DissectError::Kernel {
        operation,
        path: path.clone(),
        source: error.into(),
    };
    let pieces = pieces(&path, &file, policy, architecture)?;
    #[expect(
        unsafe_code,
        reason = "other flags could take what libraries rely upon away; this one does not"
    )]
    // SAFETY: only the mount namespace becomes one of its own; descriptors and memory stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|error| kernel("make a mount namespace", error))?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave)
        .map_err(|error| kernel("detach the mount namespace", error))?;
    atomic::create_directory(&Root::host(), Path::new(PLACE), Durability::Unsynced)?;
    if !pieces.iter().any(|piece| piece.place == "/") {
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        rustix::mount::mount("tmpfs", PLACE, "tmpfs", flags, Some(c"mode=0755"))
            .map_err(|error| kernel("mount a root", error))?;
        let root = Root::open(Path::new(PLACE)).map_err(|source| DissectError::Kernel {
            operation: "mount a root",
            path: path.clone(),
            source,
        })?;
        for piece in &pieces {
            atomic::create_directory(&root, Path::new(piece.place), Durability::Unsynced)?;
        }
    }
    for piece in &pieces {
        mount_piece(&path, &file, piece, access)?;
    }
    Ok(PathBuf::from(PLACE))
}

/// What is mounted of an image, what is above before what is below it.
fn pieces(
    path: &Path,
    file: &File,
    policy: &ImagePolicy,
    architecture: &str,
) -> Result<Vec<Piece>, DissectError> {
    let refused = |designator, why| DissectError::Policy {
        path: path.to_path_buf(),
        designator,
        why,
    };
    let found = if has_table(file) {
        of_table(path, architecture)?
    } else {
        let length = length(file).map_err(|source| DissectError::Open {
            path: path.to_path_buf(),
            source,
        })?;
        vec![Piece {
            designator: "root",
            place: "/",
            range: (0, length),
            is_read_only: false,
        }]
    };
    let mut pieces = Vec::new();
    for (designator, _) in PLACES {
        let piece = found.iter().find(|piece| piece.designator == designator);
        match (policy.judge(designator, piece.is_some()), piece) {
            (Judgement::Use, Some(piece)) => pieces.push(*piece),
            (Judgement::Use | Judgement::Skip, _) => {}
            (Judgement::Forbidden, _) => return Err(refused(designator, "must not be there")),
            (Judgement::Required, _) => return Err(refused(designator, "is missing")),
            (Judgement::Unprotected, _) => {
                return Err(refused(
                    designator,
                    "must be authenticated or encrypted, which cannot be set up here",
                ));
            }
        }
    }
    if !pieces
        .iter()
        .any(|piece| matches!(piece.designator, "root" | "usr"))
    {
        return Err(DissectError::Nothing {
            path: path.to_path_buf(),
            architecture: architecture.to_owned(),
        });
    }
    Ok(pieces)
}

fn of_table(path: &Path, architecture: &str) -> Result<Vec<Piece>, DissectError> {
    let disk = Disk::open(&Root::host(), path, Access::Read)?;
    let table = disk.table()?;
    let mut found: Vec<Piece> = Vec::new();
    for (designator, place) in PLACES {
        let Some(kind) = PartitionType::parse(designator, Some(architecture)) else {
            continue;
        };
        let mut fitting = table.partitions().filter(|partition| {
            partition.kind == kind.0 && (designator == "esp" || partition.flags & NO_AUTO == 0)
        });
        if let Some(partition) = fitting.next()
            && let Some(range) = partition.range(disk.sector())
        {
            found.push(Piece {
                designator,
                place,
                range,
                is_read_only: partition.flags & READ_ONLY != 0,
            });
        }
    }
    Ok(found)
}

fn has_table(file: &File) -> bool {
    [512, 4096].into_iter().any(|sector| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, sector).is_ok() && bytes == *SIGNATURE
    })
}

fn length(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.file_type().is_block_device() {
        return Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?);
    }
    Ok(metadata.len())
}

fn mount_piece(
    path: &Path,
    file: &File,
    piece: &Piece,
    access: Access,
) -> Result<(), DissectError> {
    let failed = |source| DissectError::Kernel {
        operation: "mount a file system",
        path: path.to_path_buf(),
        source,
    };
    // An ESP goes to /boot where there is no other place for it, and nowhere where there is none at all.
    let boot = (piece.designator == "esp").then_some("/boot");
    for place in [piece.place].into_iter().chain(boot) {
        if let Some(place) = place_of(place).map_err(failed)? {
            return mount_at(path, file, piece, access, &place).map_err(|error| match error {
                DissectError::Kernel { source, .. } => failed(source),
                other => other,
            });
        }
    }
    Ok(())
}

/// Opens the directory of the image that something is to be mounted at, if there is one. What is mounted already is
/// somebody else's: a link in it leads to where it would once the image has booted, never out of it, or the host's own
/// directories (its keys are among them) would be covered by the image's.
fn place_of(place: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = Root::open(Path::new(PLACE))
        .and_then(|root| root.open_with(Path::new(place), flags, Mode::empty()));
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn mount_at(
    path: &Path,
    file: &File,
    piece: &Piece,
    access: Access,
    place: &OwnedFd,
) -> Result<(), DissectError> {
    let kernel = |operation, source: io::Error| DissectError::Kernel {
        operation,
        path: path.to_path_buf(),
        source,
    };
    let Some(kind) = file_system(file, piece.range.0) else {
        return Err(DissectError::Unknown {
            path: path.to_path_buf(),
            designator: piece.designator,
        });
    };
    let is_read_only =
        access == Access::Read || piece.is_read_only || matches!(kind, "squashfs" | "erofs");
    let (device, node) = attach(file, piece.range, is_read_only)
        .map_err(|error| kernel("attach a loop device", error))?;
    let mut flags = MountFlags::NODEV;
    if is_read_only {
        flags |= MountFlags::RDONLY;
    }
    // A log that was not written back can be read around, not replayed.
    let data = match kind {
        "xfs" if is_read_only => Some(c"norecovery"),
        "ext4" if is_read_only => Some(c"noload"),
        _ => None,
    };
    // mount(2) takes names alone: this one is that of the open directory.
    let place = format!("/proc/self/fd/{}", place.as_raw_fd());
    let mounted = rustix::mount::mount(&node, place, kind, flags, data);
    drop(device);
    mounted.map_err(|error| kernel("mount a file system", error.into()))
}

/// The file system that begins at an offset, by what its own tools look for.
fn file_system(file: &File, start: u64) -> Option<&'static str> {
    let is = |offset: u64, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        let place = start.checked_add(offset);
        place.is_some_and(|place| file.read_exact_at(&mut bytes, place).is_ok()) && bytes == magic
    };
    let known: [(&str, u64, &[u8]); 7] = [
        ("squashfs", 0, b"hsqs"),
        ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        ("ext4", 1080, &[0x53, 0xef]),
        ("xfs", 0, b"XFSB"),
        ("btrfs", 0x10040, b"_BHRfS_M"),
        ("vfat", 82, b"FAT32   "),
        ("vfat", 54, b"FAT1"),
    ];
    let found = known.iter().find(|(_, offset, magic)| is(*offset, magic));
    found.map(|(name, ..)| *name)
}

/// `struct loop_config` (linux/loop.h).
#[repr(C)]
struct LoopConfig {
    descriptor: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

const LOOP_GET_FREE: u32 = 0x4c82;
const LOOP_CONFIGURE: u32 = 0x4c0a;
const FLAG_READ_ONLY: u32 = 1;
const FLAG_AUTOCLEAR: u32 = 4;
/// Somebody else may take the free device first.
const ATTEMPTS: usize = 32;

/// Binds a piece of the image to a loop device, which releases itself when nothing uses it any more.
fn attach(
    file: &File,
    (offset, length): (u64, u64),
    read_only: bool,
) -> io::Result<(File, PathBuf)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    let flags = if read_only { FLAG_READ_ONLY } else { 0 };
    let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
    for _ in 0..ATTEMPTS {
        let number = free(&control)?;
        let node = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(&node)?;
        let config = LoopConfig {
            descriptor: file.as_raw_fd().cast_unsigned(),
            block_size: 0,
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size_limit: length,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: flags | FLAG_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
            reserved: [0; 8],
        };
        #[expect(unsafe_code, reason = "rustix has no call of its own for this request")]
        // SAFETY: the request reads the structure, which has the kernel's layout.
        let configured =
            unsafe { ioctl(&device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) };
        match configured {
            Ok(()) => return Ok((device, node)),
            Err(rustix::io::Errno::BUSY) => last = rustix::io::Errno::BUSY.into(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last)
}

/// The number of a free device.
fn free(control: &File) -> io::Result<u32> {
    #[expect(unsafe_code, reason = "rustix has no call of its own for this request")]
    // SAFETY: the request takes no argument and touches no memory of ours.
    unsafe { ioctl(control, FreeNumber) }.map_err(io::Error::from)
}

/// A request without argument, with the number that the kernel gives back.
struct FreeNumber;

#[expect(
    unsafe_code,
    reason = "the number is the return value, which rustix's own patterns drop"
)]
// SAFETY: no pointer is passed, and the output is the return value itself.
unsafe impl rustix::ioctl::Ioctl for FreeNumber {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        LOOP_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        number: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<u32> {
        Ok(number.cast_unsigned())
    }
}
