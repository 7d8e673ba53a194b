//! What follows from all that exists.

use sysupdate::compat::{Os, Verdict, judge_fields};
use sysupdate::definition::Component;
use sysupdate::extension::ExtensionKind;
use sysupdate::host::parse_environment;
use sysupdate::inventory::{Arrival, Instance, Inventory, Location, State};
use sysupdate::metadata::Metadata;
use sysupdate::plan::{Decision, Goal, Reach, Request, decide};
use sysupdate::resolve::{Knowledge, Reason, Resolution};
use sysupdate::version::Version;

use crate::Work;
use crate::definitions::{FEATURE, TRANSFER, lay, load};
use crate::listings::versions;

pub(crate) fn plan() -> Work {
    let (component, inventories) = surveyed();
    Box::new(move || {
        let transfers: Vec<_> = component.transfers.iter().zip(&inventories).collect();
        let resolution = Resolution::new(&transfers, &Knowledge::default());
        let request = Request {
            version: None,
            goal: Goal::Install,
            reach: Reach::Online,
            instances_max: None,
        };
        match decide(&resolution, &transfers, request) {
            Ok(Decision::Do(plan)) => plan.steps.len() + plan.removals.len(),
            _ => 0,
        }
    })
}

/// Why each version is, or is not, what is installed next, as `list --why` tells.
pub(crate) fn reasons() -> Work {
    let (component, inventories) = surveyed();
    Box::new(move || {
        let transfers: Vec<_> = component.transfers.iter().zip(&inventories).collect();
        let resolution = Resolution::new(&transfers, &Knowledge::default());
        let reasons = (0..resolution.sets.len()).map(|index| resolution.reason(index));
        let texts = reasons.filter(|reason| *reason != Reason::Candidate);
        texts.map(|reason| reason.to_string().len()).sum()
    })
}

/// A component of two transfers, one of which lacks some versions; three are installed.
fn surveyed() -> (Component, Vec<Inventory>) {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["a.transfer", "b.transfer"] {
        lay(directory.path(), name, &TRANSFER.replace("app", name));
    }
    lay(directory.path(), "extra.feature", FEATURE);
    let mut sorted = versions();
    sorted.sort_by(|one, two| two.cmp(one));
    let inventories = (0_usize..2).map(|transfer| {
        let offered = sorted.iter().zip(0_usize..);
        let offered = offered.filter(|(_, number)| transfer == 0 || number % 7 != 0);
        let installed = [3000, 3100, 3200].map(|index: usize| &sorted[index]);
        Inventory {
            available: offered
                .map(|(version, _)| instance(version, remote(version)))
                .collect(),
            installed: installed
                .map(|version| instance(version, local(transfer, version)))
                .into(),
            ..Inventory::default()
        }
    });
    let inventories = inventories.collect();
    (load(directory.path()), inventories)
}

fn remote(version: &Version) -> Location {
    Location::Remote {
        name: format!("app_{version}.raw"),
    }
}

fn local(transfer: usize, version: &Version) -> Location {
    Location::File {
        path: format!("/var/lib/extensions.d/{transfer}_{version}.raw").into(),
        arrival: Arrival {
            created: None,
            changed: 0,
        },
    }
}

fn instance(version: &Version, location: Location) -> Instance {
    Instance {
        metadata: Metadata::new(version.clone()),
        location,
        state: State::Complete,
        provenance: None,
    }
}

pub(crate) fn compat() -> Work {
    let os = "NAME=\"Example OS\"\nID=example\nID_LIKE='debian other'\nVERSION_ID=12\nSYSEXT_LEVEL=1.0\nSYSEXT_SCOPE=system\n";
    let release =
        "# An extension's.\nID=example\nVERSION_ID=\"12\"\nARCHITECTURE=x86-64\nSYSEXT_LEVEL=1.0\n";
    Box::new(move || {
        let fits = (0..100).map(|_| {
            let os = Os::parse(os, Some("x86-64".to_owned()));
            judge_fields(&os, ExtensionKind::Sysext, &parse_environment(release))
        });
        fits.filter(|verdict| matches!(verdict, Verdict::Fits))
            .count()
    })
}
