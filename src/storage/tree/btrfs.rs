//! Subvolumes of btrfs, by the kernel's own requests (`linux/btrfs.h`).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use rustix::ioctl::{Getter, Setter, ioctl, opcode};

use crate::root::Directory;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Arguments {
    descriptor: i64,
    name: [u8; 4088],
}

const MAGIC: u32 = 0x9123_683e;
const GROUP: u8 = 0x94;
const CREATE: rustix::ioctl::Opcode = opcode::write::<Arguments>(GROUP, 14);
const GET_FLAGS: rustix::ioctl::Opcode = opcode::read::<u64>(GROUP, 25);
const SET_FLAGS: rustix::ioctl::Opcode = opcode::write::<u64>(GROUP, 26);
/// `BTRFS_SUBVOL_RDONLY`.
const READ_ONLY: u64 = 1 << 1;
/// The inode number of every subvolume's top.
const TOP: u64 = 256;

fn is_btrfs(directory: &Directory) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(directory)?.f_type;
    // The field's type is another on each machine; the numbers have 32 bits.
    Ok(kind.cast_unsigned() & 0xffff_ffff == u64::from(MAGIC))
}

/// Makes a subvolume; `false` where there are none.
pub(super) fn create(directory: &Directory, name: &OsStr) -> io::Result<bool> {
    let bytes = name.as_bytes();
    let mut arguments = Arguments {
        descriptor: 0,
        name: [0; 4088],
    };
    if !is_btrfs(directory)? || bytes.len() >= 256 {
        return Ok(false);
    }
    arguments.name[..bytes.len()].copy_from_slice(bytes);
    #[expect(unsafe_code, reason = "rustix has no call of its own for this request")]
    // SAFETY: the request reads the structure, which has the kernel's layout and a name that ends with a zero byte.
    unsafe {
        ioctl(directory, Setter::<CREATE, Arguments>::new(arguments))?;
    }
    Ok(true)
}

/// Sets or clears the mark of a subvolume; `false` when this is none.
pub(super) fn set_read_only(tree: &Directory, read_only: bool) -> io::Result<bool> {
    if !is_btrfs(tree)? || rustix::fs::fstat(tree)?.st_ino != TOP {
        return Ok(false);
    }
    #[expect(unsafe_code, reason = "rustix has no call of its own for this request")]
    // SAFETY: the request writes one number of 64 bits.
    let flags = unsafe { ioctl(tree, Getter::<GET_FLAGS, u64>::new())? };
    let wanted = if read_only {
        flags | READ_ONLY
    } else {
        flags & !READ_ONLY
    };
    if wanted != flags {
        #[expect(unsafe_code, reason = "rustix has no call of its own for this request")]
        // SAFETY: the request reads one number of 64 bits.
        unsafe {
            ioctl(tree, Setter::<SET_FLAGS, u64>::new(wanted))?;
        }
    }
    Ok(true)
}
