//! Where boot loader files lie: the EFI System Partition and the Extended Boot Loader Partition (boot loader
//! specification), for `PathRelativeTo=`.
//!
//! Only reads. An override of the environment is taken as it is; otherwise a mount point counts, whose partition type says
//! what it is, where the device manager knows that.

use std::io;
use std::path::{Path, PathBuf};

use crate::root::Root;

/// What the environment says, in the place of a search (`SYSTEMD_ESP_PATH`, `SYSTEMD_XBOOTLDR_PATH`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootPaths<'a> {
    /// The EFI System Partition.
    pub esp: Option<&'a Path>,
    /// The Extended Boot Loader Partition.
    pub xbootldr: Option<&'a Path>,
}

/// Which of them is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Esp,
    /// The Extended Boot Loader Partition where there is one, else the other.
    Boot,
}

/// The inner path of the place, or why there is none, in the original's words.
pub(super) fn find(root: &Root, paths: BootPaths<'_>, place: Place) -> Result<PathBuf, String> {
    if place == Place::Boot
        && let Some(found) = xbootldr(root, paths)?
    {
        return Ok(found);
    }
    esp(root, paths)?
        .ok_or_else(|| "Failed to resolve $BOOT: Required key not available".to_owned())
}

fn esp(root: &Root, paths: BootPaths<'_>) -> Result<Option<PathBuf>, String> {
    if let Some(path) = paths.esp {
        return given(root, "SYSTEMD_ESP_PATH", path).map(Some);
    }
    let is_esp = |path: &&str| match partition_type(root, path) {
        Some(kind) => kind == ESP,
        None => is_mount_point(root, path) && root.stat(&Path::new(path).join("EFI")).is_ok(),
    };
    let found = ["/efi", "/boot", "/boot/efi"].into_iter().find(is_esp);
    Ok(found.map(PathBuf::from))
}

fn xbootldr(root: &Root, paths: BootPaths<'_>) -> Result<Option<PathBuf>, String> {
    if let Some(path) = paths.xbootldr {
        return given(root, "SYSTEMD_XBOOTLDR_PATH", path).map(Some);
    }
    let is_there = partition_type(root, "/boot").is_some_and(|kind| kind == XBOOTLDR);
    Ok(is_there.then(|| PathBuf::from("/boot")))
}

/// A path of the environment: absolute, below the root, and there.
fn given(root: &Root, variable: &str, path: &Path) -> Result<PathBuf, String> {
    if !path.is_absolute() {
        return Err(format!(
            "${variable} does not refer to an absolute path, refusing to use it: \"{}\"",
            path.display()
        ));
    }
    match root.stat(path) {
        Ok(_) => Ok(path.to_path_buf()),
        Err(error) => {
            let text = match error.kind() {
                io::ErrorKind::NotFound => "No such file or directory".to_owned(),
                _ => error.to_string(),
            };
            Err(format!(
                "Failed to resolve $BOOT: \"{}\": {text}",
                path.display()
            ))
        }
    }
}

/// Whether another file system begins here.
fn is_mount_point(root: &Root, path: &str) -> bool {
    let device = |path: &Path| root.stat(path).ok().map(|stat| stat.st_dev);
    let path = Path::new(path);
    let above = path.parent().and_then(device);
    device(path).is_some_and(|own| Some(own) != above)
}

/// The type of the partition that is mounted here, as the device manager has noted it.
fn partition_type(root: &Root, path: &str) -> Option<String> {
    if !is_mount_point(root, path) {
        return None;
    }
    let device = root.stat(Path::new(path)).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let note = format!("/run/udev/data/b{major}:{minor}");
    let text = Root::host().read(Path::new(&note), NOTE_LIMIT).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    lines.find_map(|line| Some(line.strip_prefix("E:ID_PART_ENTRY_TYPE=")?.to_lowercase()))
}

/// A note of the device manager is far smaller, in bytes.
const NOTE_LIMIT: u64 = 1 << 20;

const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_says_is_taken_and_else_there_is_none_without_a_mount() {
        let outer = tempfile::tempdir().expect("a directory");
        for name in ["esp", "xboot", "efi", "boot/efi"] {
            std::fs::create_dir_all(outer.path().join(name)).expect("created");
        }
        let root = Root::open(outer.path()).expect("opened");
        let (esp, xbootldr) = (Some(Path::new("/esp")), Some(Path::new("/xboot")));
        let neither = BootPaths::default();
        let none = "Failed to resolve $BOOT: Required key not available";
        for (paths, place, expected) in [
            (BootPaths { esp, ..neither }, Place::Esp, Ok("/esp")),
            (BootPaths { esp, ..neither }, Place::Boot, Ok("/esp")),
            (BootPaths { esp, xbootldr }, Place::Boot, Ok("/xboot")),
            (BootPaths { esp, xbootldr }, Place::Esp, Ok("/esp")),
            (
                BootPaths {
                    xbootldr,
                    ..neither
                },
                Place::Esp,
                Err(none),
            ),
            (neither, Place::Boot, Err(none)),
        ] {
            let found = find(&root, paths, place);
            let expected = expected.map(PathBuf::from).map_err(str::to_owned);
            assert_eq!(found, expected, "{paths:?} {place:?}");
        }
        for (path, text) in [
            ("relative", "absolute path"),
            ("/nope", "No such file or directory"),
        ] {
            let paths = BootPaths {
                esp: Some(Path::new(path)),
                xbootldr: None,
            };
            let error = find(&root, paths, Place::Esp).expect_err(path);
            assert!(error.contains(text), "{error}");
        }
    }
}
