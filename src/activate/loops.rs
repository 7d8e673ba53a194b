//! Whether the kernel has a loop device to spare: without one no image can be merged (loop(4)).
//!
//! Only asks. What cannot be asked, in a sandbox or a container without the device, is for the merge itself to find out.

use std::fs::OpenOptions;
use std::io;

use rustix::ioctl::{NoArg, ioctl};

/// Gives out, and if need be makes, a free device, without binding it (`LOOP_CTL_GET_FREE`).
const GET_FREE: u32 = 0x4c82;

/// Asks for a free loop device.
///
/// # Errors
/// When the kernel has none and makes none.
pub(super) fn ask() -> io::Result<()> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control");
    let Ok(control) = opened else {
        return Ok(());
    };
    #[expect(unsafe_code, reason = "rustix has no call of its own for this request")]
    // SAFETY: the request takes no argument and touches no memory of ours.
    let asked = unsafe { ioctl(&control, NoArg::<GET_FREE>::new()) };
    Ok(asked?)
}
