//! What an update has yet to remove: a note per component, from before its switch until its removals are done.
//!
//! Old versions go last, when the new one stands. A run that is killed in between leaves more of them than are to be
//! kept, and the next one, which has nothing to install, would not look. Whether what is noted may still go is decided
//! anew then; a note says only what the run that wrote it would have removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::definition::ComponentKey;
use crate::plan::Removal;
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

const DIRECTORY: &str = "/var/lib/sysupdate/owed";
/// The largest note, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Notes what is to be removed once the new version stands; nothing, if that is nothing.
///
/// # Errors
/// When the note cannot be written.
pub fn note(
    root: &Root,
    component: &ComponentKey,
    removals: &[&Removal<'_>],
    durability: Durability,
) -> Result<(), AtomicError> {
    if removals.is_empty() {
        return clear(root, component, durability);
    }
    let paths: Vec<&Path> = removals.iter().map(|removal| removal.path).collect();
    // Paths that are no UTF-8 match no pattern, so none of them is an instance.
    let text = serde_json::to_vec(&paths).unwrap_or_default();
    atomic::write(root, &path(component), &text, 0o644)
}

/// The inner paths that are noted; none, if there is no note that can be read.
#[must_use]
pub fn read(root: &Root, component: &ComponentKey) -> BTreeSet<PathBuf> {
    root.read(&path(component), LIMIT)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Forgets the note, if there is one.
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
