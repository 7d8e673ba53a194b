//! The installation database: which places a component has ever installed to, so that `cleanup` finds them when the
//! definitions are gone. Shared with systemd-sysupdate (compat 3, section 3.4).

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use crate::definition::ComponentName;
use crate::event::{Event, Reporter, Severity};
use crate::metadata::Sha256;
use crate::plan::{Plan, target};
use crate::root::Root;
use crate::storage::atomic::{self, AtomicError, Durability};

/// Records every place of a plan: one symlink per directory and pattern, its text `DIRECTORY/./PATTERN`, its name the
/// SHA-256 of the text. To somebody who may not write there it is only told: who works on files of their own can do
/// without.
///
/// # Errors
/// When the record cannot be written for another reason: `cleanup` would never find what is installed.
pub fn record(
    root: &Root,
    component: &ComponentName,
    plan: &Plan<'_>,
    durability: Durability,
    reporter: &dyn Reporter,
) -> Result<(), AtomicError> {
    match write(root, component, plan, durability) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!("The installation is not recorded for `cleanup`: {error}");
            reporter.report(&Event::Message(Severity::Warning, text));
            Ok(())
        }
        result => result,
    }
}

fn write(
    root: &Root,
    component: &ComponentName,
    plan: &Plan<'_>,
    durability: Durability,
) -> Result<(), AtomicError> {
    let path = directory(component);
    // The usual case first: everything is recorded since the first installation.
    let known = root
        .directory(&path)
        .and_then(|directory| directory.entries())
        .unwrap_or_default();
    let texts = plan.steps.iter().flat_map(|step| {
        let target = target(step.transfer);
        target
            .patterns
            .iter()
            .map(|pattern| format!("{}/./{pattern}", target.directory.display()))
    });
    let missing: Vec<(String, String)> = texts
        .map(|text| {
            (
                Sha256(sha2::Sha256::digest(text.as_bytes()).into()).to_string(),
                text,
            )
        })
        .filter(|(name, _)| !known.iter().any(|entry| entry.name == OsStr::new(name)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let directory = atomic::create_directory(root, &path, durability)?;
    for (name, text) in missing {
        atomic::create_symlink(root, &directory, OsStr::new(&name), Path::new(&text))?;
    }
    atomic::sync_directory(root, &directory, durability)
}

fn directory(component: &ComponentName) -> PathBuf {
    let base = Path::new("/var/lib/systemd/sysupdate");
    match component {
        ComponentName::Default => base.join("installdb"),
        ComponentName::Named(name) => base.join(format!("installdb.{name}")),
    }
}
