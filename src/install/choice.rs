//! The version that an explicit downgrade has chosen, on record for as long as nothing newer is installed.
//!
//! Without the record a link on an older version looks like one that a crash has left behind, and would be repaired.

use std::path::{Path, PathBuf};

use crate::definition::ComponentKey;
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};
use crate::version::Version;

const DIRECTORY: &str = "/var/lib/sysupdate/chosen";

/// The version on record, if any.
#[must_use]
pub fn read(root: &Root, component: &ComponentKey) -> Option<Version> {
    let text = root.read(&path(component), 1024).ok()?;
    std::str::from_utf8(&text).ok()?.trim_end().parse().ok()
}

/// Puts a version on record.
///
/// # Errors
/// When the record cannot be written.
pub fn write(root: &Root, component: &ComponentKey, version: &Version) -> Result<(), AtomicError> {
    atomic::write(
        root,
        &path(component),
        format!("{version}\n").as_bytes(),
        0o644,
    )
}

/// Forgets the record, if there is one.
///
/// # Errors
/// When it exists and cannot be removed.
pub fn clear(
    root: &Root,
    component: &ComponentKey,
    durability: Durability,
) -> Result<(), AtomicError> {
    atomic::remove_file_if_any(root, &path(component), Path::new(DIRECTORY), durability)
}

fn path(component: &ComponentKey) -> PathBuf {
    Path::new(DIRECTORY).join(component.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::ComponentName;

    #[test]
    fn a_choice_is_read_as_it_was_written_until_it_is_cleared() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let key = ComponentKey::new(&ComponentName::Default, None);
        let version: Version = "1.0~rc1".parse().expect("a version");
        assert_eq!(read(&root, &key), None);
        write(&root, &key, &version).expect("written");
        assert_eq!(read(&root, &key).as_ref(), Some(&version));
        for _ in 0..2 {
            clear(&root, &key, Durability::Synced).expect("cleared");
            assert_eq!(read(&root, &key), None);
        }
    }
}
