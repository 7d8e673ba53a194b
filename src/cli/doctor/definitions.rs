//! What definitions say that they better would not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Context, Finding, Severity, option};
use crate::definition::Component;
use crate::definition::transfer::{Disk, Place, Transfer, Verification};
use crate::extension::ExtensionKind;

pub(super) fn look(context: &Context<'_>, components: &[Component], findings: &mut Vec<Finding>) {
    for component in components {
        for transfer in component.transfers.iter().filter(|one| one.enabled) {
            unsigned(transfer, findings);
            noop(transfer, findings);
            versions_among_extensions(transfer, findings);
            unreachable(context, transfer, findings);
        }
        if component.transfers.iter().all(|one| !one.enabled) {
            findings.push(Finding::new(
                Severity::Note,
                component.transfers[0].file.display().to_string(),
                "no transfer takes part: their features are off",
                format!("`sysupdate{} features` shows them", option(&component.name)),
            ));
        }
    }
    shared_places(components, findings);
}

/// What kept systemd-sysupdate from failing is of no use to a program that does not.
fn noop(transfer: &Transfer, findings: &mut Vec<Finding>) {
    if transfer.is_noop() {
        findings.push(Finding::new(
            Severity::Note,
            transfer.file.display().to_string(),
            "it installs nothing",
            "remove it unless systemd-sysupdate is used as well: this program succeeds where nothing is defined",
        ));
    }
}

fn unsigned(transfer: &Transfer, findings: &mut Vec<Finding>) {
    let is_remote = transfer.source().is_remote();
    if is_remote && transfer.verification == Verification::Skip {
        findings.push(Finding::new(
            Severity::Note,
            transfer.file.display().to_string(),
            "what it fetches is not authenticated (`verify = \"none\"`, `Verify=no`)",
            "whoever controls the server, or the way there, becomes root on this host; ask the publisher for signatures",
        ));
    }
}

/// systemd-sysext takes every image in its directories for an extension, under the name of its file.
fn versions_among_extensions(transfer: &Transfer, findings: &mut Vec<Finding>) {
    let Some(directory) = transfer.target().place.directory() else {
        return;
    };
    let probe = directory.join("x.raw");
    let directly = ExtensionKind::entry(&probe).is_some_and(|(_, name)| name == "x");
    if directly {
        findings.push(Finding::new(
            Severity::Warning,
            transfer.file.display().to_string(),
            format!(
                "its versions lie in '{}', where each of them is merged under a name that does not match its release file",
                directory.display()
            ),
            "let `Path=` in [Target] be another directory (/var/lib/extensions.d/NAME), and `CurrentSymlink=` lead from here",
        ));
    }
}

/// A target below something that is no directory can never be written.
fn unreachable(context: &Context<'_>, transfer: &Transfer, findings: &mut Vec<Finding>) {
    let Some(directory) = transfer.target().place.directory() else {
        return;
    };
    let mut ancestors = directory.ancestors().filter_map(|path| {
        let stat = context.root.stat(path).ok()?;
        Some((path, rustix::fs::FileType::from_raw_mode(stat.st_mode)))
    });
    if let Some((path, kind)) = ancestors.next()
        && !kind.is_dir()
    {
        findings.push(Finding::new(
            Severity::Error,
            transfer.file.display().to_string(),
            format!(
                "its target '{}' cannot be made: '{}' is no directory",
                directory.display(),
                path.display()
            ),
            "move that away, or change `Path=` in [Target]",
        ));
    }
}

/// Two definitions that write the same link, or the same names into one directory.
fn shared_places(components: &[Component], findings: &mut Vec<Finding>) {
    let mut places: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let transfers = components.iter().flat_map(|component| &component.transfers);
    for transfer in transfers.filter(|transfer| transfer.enabled) {
        let own = transfer.target();
        let link = own.link();
        let first = own.patterns.first();
        let names = match own.place {
            Place::Files(directory) | Place::Trees(directory, _) => {
                first.map(|pattern| directory.join(pattern.as_str()))
            }
            Place::Slots(slots) => first.map(|pattern| {
                let disk = match &slots.disk {
                    Disk::At(path) => path.clone(),
                    Disk::OfRoot => PathBuf::from("auto"),
                };
                disk.join(slots.kind.to_string()).join(pattern.as_str())
            }),
        };
        for place in link.into_iter().chain(names) {
            let Some(other) = places.insert(place.clone(), &transfer.file) else {
                continue;
            };
            findings.push(Finding::new(
                Severity::Error,
                transfer.file.display().to_string(),
                format!("'{}' writes '{}' as well", other.display(), place.display()),
                "give one of them another `MatchPattern=`, `Path=` or `CurrentSymlink=` in [Target]",
            ));
        }
    }
}
