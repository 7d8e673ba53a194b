//! Components whose files were switched and not yet activated.
//!
//! A note is made before the first link moves and removed after activation has been tried. A run that is killed in
//! between leaves it, and the next run activates what that one did not. The notes lie in /run: a boot merges and starts
//! everything anew, and owes nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::definition::ComponentName;
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

const DIRECTORY: &str = "/run/sysupdate/unactivated";

/// Notes that a component is about to be switched.
///
/// # Errors
/// When the note cannot be written.
pub fn note(root: &Root, component: &ComponentName) -> Result<(), AtomicError> {
    let directory = atomic::create_directory(root, Path::new(DIRECTORY), Durability::Unsynced)?;
    atomic::create_file(root, &directory, &name(component)).map(drop)
}

/// Whether a component was switched by a run that ended before it activated it.
pub fn is_noted(root: &Root, component: &ComponentName) -> bool {
    root.stat(&path(component)).is_ok()
}

/// Removes the note of a component.
///
/// # Errors
/// When it exists and cannot be removed.
pub fn clear(root: &Root, component: &ComponentName) -> Result<(), AtomicError> {
    let directory = Path::new(DIRECTORY);
    atomic::remove_file_and_empty_parents(root, &path(component), directory, Durability::Unsynced)
}

fn path(component: &ComponentName) -> PathBuf {
    Path::new(DIRECTORY).join(name(component))
}

/// The default component has no name of its own that another one could not have.
fn name(component: &ComponentName) -> OsString {
    match component {
        ComponentName::Default => "default".into(),
        ComponentName::Named(name) => format!("component-{name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stays_until_it_is_cleared_and_is_its_components_own() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(directory.path()).expect("it opens");
        let named = ComponentName::Named("default".to_owned());
        clear(&root, &ComponentName::Default).expect("nothing to clear is fine");
        note(&root, &ComponentName::Default).expect("noted");
        note(&root, &ComponentName::Default).expect("noted again");
        assert!(is_noted(&root, &ComponentName::Default) && !is_noted(&root, &named));
        clear(&root, &ComponentName::Default).expect("cleared");
        assert!(!is_noted(&root, &ComponentName::Default));
    }
}
