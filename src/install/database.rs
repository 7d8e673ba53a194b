//! The installation database: which places a component has ever installed to, so that `cleanup` finds them when the
//! definitions are gone. Shared with systemd-sysupdate (compat 3, section 3.4).

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use crate::definition::ComponentName;
use crate::event::{Event, Reporter, Severity};
use crate::metadata::Sha256;
use crate::pattern::Pattern;
use crate::plan::Plan;
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
        let target = step.transfer.target();
        // Partitions are not on record: they stay where they are.
        target
            .place
            .directory()
            .into_iter()
            .flat_map(move |directory| {
                let patterns = target.patterns.iter();
                patterns.map(move |pattern| format!("{}/./{pattern}", directory.display()))
            })
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

/// One place that was installed to.
#[derive(Debug, Clone)]
pub struct Record {
    /// The directory: an inner path.
    pub directory: PathBuf,
    /// What the files in it are called.
    pub pattern: Pattern,
    /// As it is written.
    pub(super) text: String,
}

impl Record {
    fn name(&self) -> String {
        Sha256(sha2::Sha256::digest(self.text.as_bytes()).into()).to_string()
    }
}

/// What is recorded of a component, by the names of the entries; what is none, or cannot be read, is passed over.
#[must_use]
pub fn records(root: &Root, component: &ComponentName) -> Vec<Record> {
    let Ok(directory) = root.directory(&directory(component)) else {
        return Vec::new();
    };
    let mut entries = directory.entries().unwrap_or_default();
    entries.sort_by(|one, two| one.name.cmp(&two.name));
    let records = entries.into_iter().filter_map(|entry| {
        let text = directory.read_link(&entry.name).ok()??;
        Record::parse(text.to_str()?)
    });
    records.collect()
}

/// Forgets a record.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(
    root: &Root,
    component: &ComponentName,
    record: &Record,
    durability: Durability,
) -> Result<(), AtomicError> {
    let place = directory(component);
    atomic::remove_file_and_empty_parents(root, &place.join(record.name()), &place, durability)
}

/// The named components of which anything was ever recorded, in order.
#[must_use]
pub fn components(root: &Root) -> Vec<ComponentName> {
    let entries = root
        .directory(Path::new(BASE))
        .and_then(|directory| directory.entries())
        .unwrap_or_default();
    let names = entries.into_iter().filter_map(|entry| {
        let name = entry.name.to_str()?.strip_prefix("installdb.")?;
        name.parse().ok()
    });
    let mut names: Vec<ComponentName> = names.collect();
    names.sort();
    names
}

const BASE: &str = "/var/lib/systemd/sysupdate";

fn directory(component: &ComponentName) -> PathBuf {
    let base = Path::new(BASE);
    match component {
        ComponentName::Default => base.join("installdb"),
        ComponentName::Named(name) => base.join(format!("installdb.{name}")),
    }
}
