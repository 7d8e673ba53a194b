//! Components whose files were switched and not yet activated.
//!
//! A note is made before the first link moves and removed after activation has been tried. A run that is killed in
//! between leaves it, and the next run activates what that one did not. The notes lie in /run: a boot merges and starts
//! everything anew, and owes nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::definition::ComponentKey;
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

const DIRECTORY: &str = "/run/sysupdate/unactivated";

/// Notes that a component is about to be switched.
///
/// # Errors
/// When the note cannot be written.
pub fn note(root: &Root, component: &ComponentKey) -> Result<(), AtomicError> {
    let directory = atomic::create_directory(root, Path::new(DIRECTORY), Durability::Unsynced)?;
    atomic::create_file(root, &directory, OsStr::new(component.as_str())).map(drop)
}

/// Whether a component was switched by a run that ended before it activated it.
pub fn is_noted(root: &Root, component: &ComponentKey) -> bool {
    root.stat(&path(component)).is_ok()
}

/// Removes the note of a component.
///
/// # Errors
/// When it exists and cannot be removed.
pub fn clear(root: &Root, component: &ComponentKey) -> Result<(), AtomicError> {
    let directory = Path::new(DIRECTORY);
    atomic::remove_file_and_empty_parents(root, &path(component), directory, Durability::Unsynced)
}

fn path(component: &ComponentKey) -> PathBuf {
    Path::new(DIRECTORY).join(component.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::ComponentName;

    #[test]
    fn a_note_stays_until_it_is_cleared_and_is_its_components_own() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let key = ComponentKey::new(&ComponentName::Default, None);
        let named = ComponentKey::new(&ComponentName::Named("default".to_owned()), None);
        clear(&root, &key).expect("nothing to clear is fine");
        note(&root, &key).expect("noted");
        note(&root, &key).expect("noted again");
        assert!(is_noted(&root, &key) && !is_noted(&root, &named));
        clear(&root, &key).expect("cleared");
        assert!(!is_noted(&root, &key));
    }
}
