//! What the host lacks, or has too much of.

use std::path::Path;

use super::{Context, Finding, Severity};
use crate::activate::{self, REBOOT_REQUIRED};
use crate::definition::Component;
use crate::event::chain;
use crate::extension::ExtensionKind;
use crate::install::space;
use crate::inventory::link::{self, LinkState};
use crate::plan::Reach;

/// A clock before this is wrong: this program did not exist (2025-01-01, in seconds since the epoch).
const YOUNGEST: i64 = 1_735_689_600;
/// So much room is left to every target, in bytes.
const ROOM: u64 = 256 * 1024 * 1024;

pub(super) fn look(context: &Context<'_>, components: &[Component], findings: &mut Vec<Finding>) {
    clock(findings);
    timers(context, findings);
    room(context, components, findings);
    extensions(context, components, findings);
    if context.root.stat(Path::new(REBOOT_REQUIRED)).is_ok() {
        findings.push(Finding::new(
            Severity::Note,
            context
                .root
                .outer(Path::new(REBOOT_REQUIRED))
                .display()
                .to_string(),
            "something waits for a reboot",
            "`sysupdate reboot --required` reboots, within the window of config.toml",
        ));
    }
    if context.settings.online {
        sources(context, components, findings);
    }
}

fn clock(findings: &mut Vec<Finding>) {
    let now = super::super::present();
    if now.as_second() < YOUNGEST {
        findings.push(Finding::new(
            Severity::Error,
            "the clock",
            format!("it says {now}"),
            "set it (`timedatectl`): no certificate and no signature is valid then",
        ));
    }
}

/// Two updaters on one host do not wait for each other.
fn timers(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let wanted = |timer: &str| {
        let link = Path::new("/etc/systemd/system/timers.target.wants").join(timer);
        matches!(context.root.read_link(&link), Ok(Some(_)))
    };
    if wanted("sysupdate.timer") && wanted("systemd-sysupdate.timer") {
        findings.push(Finding::new(
            Severity::Warning,
            "systemd-sysupdate.timer",
            "it is enabled beside sysupdate.timer, and the two do not wait for each other",
            "systemctl disable --now systemd-sysupdate.timer",
        ));
    }
}

fn room(context: &Context<'_>, components: &[Component], findings: &mut Vec<Finding>) {
    let mut told: Vec<u64> = Vec::new();
    for transfer in components.iter().flat_map(|component| &component.transfers) {
        let Some(directory) = transfer.target().place.directory() else {
            continue;
        };
        let mut existing = directory.ancestors();
        let Some(place) = existing.find(|path| context.root.stat(path).is_ok()) else {
            continue;
        };
        let (Ok(stat), Some(free)) = (
            context.root.stat(place),
            space::free_at(context.root, place),
        ) else {
            continue;
        };
        if free < ROOM && !told.contains(&stat.st_dev) {
            told.push(stat.st_dev);
            findings.push(Finding::new(
                Severity::Warning,
                context.root.outer(place).display().to_string(),
                format!("only {} MiB are free", free >> 20),
                "free some space, or keep fewer versions with `instances_max`",
            ));
        }
    }
}

/// What a merge needs.
fn extensions(context: &Context<'_>, components: &[Component], findings: &mut Vec<Finding>) {
    let is_extension = |component: &&Component| {
        let mut transfers = component.transfers.iter();
        transfers.any(|transfer| {
            let link = transfer.target().link();
            link.is_some_and(|link| ExtensionKind::of_path(&link).is_some())
        })
    };
    let Some(component) = components.iter().find(is_extension) else {
        return;
    };
    if !context.root.is_host() {
        return;
    }
    if activate::ask("systemd-sysext", &["--version"]).is_err() {
        findings.push(Finding::new(
            Severity::Error,
            "systemd-sysext",
            format!(
                "it is not here, so '{}' and the like cannot be merged",
                component.name
            ),
            "install it: it is part of systemd, or a package of its own",
        ));
    }
    labels(context, components, findings);
    if let Err(error) = activate::loop_device() {
        findings.push(Finding::new(
            Severity::Error,
            "/dev/loop-control",
            format!("no loop device is to be had: {error}"),
            "`losetup --list` shows who uses them",
        ));
    }
}

/// Under `SELinux` (selinux(8)) a file without a label is nobody's: services of an extension would not start.
fn labels(context: &Context<'_>, components: &[Component], findings: &mut Vec<Finding>) {
    if context
        .root
        .stat(Path::new("/sys/fs/selinux/enforce"))
        .is_err()
    {
        return;
    }
    let transfers = components.iter().flat_map(|component| &component.transfers);
    for transfer in transfers {
        let link = link::examine(context.root, transfer.target())
            .ok()
            .flatten();
        let Some(LinkState::To(path)) = link.map(|link| link.state) else {
            continue;
        };
        let outer = context.root.outer(&path);
        let mut label = [0; 256];
        let read = rustix::fs::getxattr(&outer, "security.selinux", &mut label);
        if read == Err(rustix::io::Errno::NODATA) {
            findings.push(Finding::new(
                Severity::Warning,
                outer.display().to_string(),
                "it has no SELinux label",
                format!(
                    "`restorecon -v '{}'` gives it the one of its place",
                    outer.display()
                ),
            ));
        }
    }
}

fn sources(context: &Context<'_>, components: &[Component], findings: &mut Vec<Finding>) {
    for component in components {
        if let Err(error) = context.session.survey(component.clone(), Reach::Online) {
            findings.push(Finding::new(
                Severity::Error,
                component.name.to_string(),
                chain(&error),
                error
                    .hint()
                    .unwrap_or("look at the source's URL, and at the network"),
            ));
        }
    }
}
