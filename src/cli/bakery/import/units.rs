//! The units that people write by hand around systemd-sysupdate: what they are about, and whether they are needed.

use std::path::{Path, PathBuf};

use super::{Context, removal};
use crate::root::Root;

const DROP_INS: &str = "/etc/systemd/system/systemd-sysupdate.service.d";
const TIMER: &str = "systemd-sysupdate.timer";
const OWN_TIMER: &str = "sysupdate.timer";
/// The largest drop-in that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// What lines do that this program does by itself: updates, comparisons before and after, the merge, the note.
const KNOWN: [&str; 7] = [
    "systemd-sysupdate",
    "readlink ",
    "cmp ",
    "/run/reboot-required",
    "restart systemd-sysext",
    "restart ensure-sysext",
    "systemd-sysext refresh",
];

/// The drop-ins of the stock service.
pub(super) struct HandWritten {
    drop_ins: Vec<DropIn>,
}

struct DropIn {
    /// An inner path.
    path: PathBuf,
    /// Without blank ones, comments and headings.
    lines: Vec<String>,
}

impl HandWritten {
    pub(super) fn read(root: &Root) -> Self {
        let opened = root.directory(Path::new(DROP_INS));
        let entries = opened
            .and_then(|opened| opened.entries())
            .unwrap_or_default();
        let paths = entries
            .into_iter()
            .map(|entry| Path::new(DROP_INS).join(entry.name))
            .filter(|path| path.extension().is_some_and(|suffix| suffix == "conf"));
        let drop_ins = paths.filter_map(|path| {
            let text = root.read(&path, LIMIT).ok()?;
            let lines = lines(&String::from_utf8_lossy(&text));
            Some(DropIn { path, lines })
        });
        Self {
            drop_ins: drop_ins.collect(),
        }
    }

    /// The drop-in that asks for a reboot when one of these has changed.
    pub(super) fn reboots(&self, names: &[&str]) -> Option<&Path> {
        let about = |drop_in: &&DropIn| names.iter().any(|name| drop_in.is_about(name));
        let asking = |drop_in: &&DropIn| {
            let mut lines = drop_in.lines.iter();
            lines.any(|line| line.contains("/run/reboot-required"))
        };
        let mut drop_ins = self.drop_ins.iter();
        let found = drop_ins.find(|drop_in| about(drop_in) && asking(drop_in));
        found.map(|drop_in| drop_in.path.as_path())
    }

    /// The commands that take away what is not needed when these components are updated by this program.
    pub(super) fn superfluous(&self, context: &Context<'_>, defined: &[String]) -> Vec<String> {
        let mut commands = Vec::new();
        let (known, other): (Vec<_>, Vec<_>) = self
            .drop_ins
            .iter()
            .partition(|drop_in| drop_in.is_superfluous(defined));
        if !known.is_empty() {
            let paths: Vec<PathBuf> = known.iter().map(|drop_in| drop_in.path.clone()).collect();
            commands.push(removal(context, &paths));
        }
        for drop_in in other {
            let path = context.root.outer(&drop_in.path);
            commands.push(format!(
                "# look at {} yourself: it does more than updates and merges of what is defined",
                path.display()
            ));
        }
        let root = context.root;
        let systemctl = |verb: &str, now: &str, unit: &str| {
            if root.is_host() {
                format!("systemctl {verb} {now}{unit}")
            } else {
                let root = root.outer(Path::new("/"));
                format!("systemctl --root={} {verb} {unit}", root.display())
            }
        };
        let wanted = |base: &str, timer: &str| {
            let wants = [
                "timers.target.wants",
                "multi-user.target.wants",
                "sysinit.target.wants",
            ];
            wants.iter().any(|wants| {
                let link = Path::new(base)
                    .join("systemd/system")
                    .join(wants)
                    .join(timer);
                matches!(root.read_link(&link), Ok(Some(_)))
            })
        };
        let mask = Path::new("/etc/systemd/system").join(TIMER);
        let is_masked =
            matches!(root.read_link(&mask), Ok(Some(text)) if text == Path::new("/dev/null"));
        if !is_masked && wanted("/usr/lib", TIMER) {
            // What the OS enables by itself cannot be disabled.
            commands.push(systemctl("mask", "--now ", TIMER));
        } else if wanted("/etc", TIMER) {
            commands.push(systemctl("disable", "--now ", TIMER));
        }
        if !commands.is_empty() && root.is_host() {
            commands.push("systemctl daemon-reload".to_owned());
        }
        if !commands.is_empty() && !wanted("/etc", OWN_TIMER) && !wanted("/usr/lib", OWN_TIMER) {
            commands.push(systemctl("enable", "--now ", OWN_TIMER));
        }
        commands
    }
}

impl DropIn {
    /// Whether it updates or watches the component, or the extension, of this name.
    fn is_about(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    /// The components and extensions in it.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|line| names(line))
    }

    /// Whether it does nothing that this program does not do for these components.
    fn is_superfluous(&self, defined: &[String]) -> bool {
        let is_known = |line: &String| {
            line.starts_with("Exec") && KNOWN.iter().any(|known| line.contains(known))
        };
        self.lines.iter().all(is_known)
            && self
                .names()
                .all(|name| defined.iter().any(|one| one == name))
    }
}

/// The lines that say something; those that end in a backslash go on.
fn lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';', '[']))
        .map(str::to_owned)
        .collect()
}

/// What follows `-C` or `--component`, and the stems of links to extensions.
fn names(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let is_end = |sign: char| sign.is_whitespace() || "\"';&|)".contains(sign);
    for option in ["-C ", "--component=", "--component "] {
        for (_, rest) in line
            .match_indices(option)
            .map(|(at, _)| line.split_at(at + option.len()))
        {
            let rest = rest.trim_start();
            found.push(&rest[..rest.find(is_end).unwrap_or(rest.len())]);
        }
    }
    for (at, _) in line.match_indices("/extensions/") {
        let rest = &line[at + "/extensions/".len()..];
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        found.extend(word.strip_suffix(".raw").filter(|stem| !stem.contains('/')));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_in(text: &str) -> DropIn {
        DropIn {
            path: PathBuf::from("/x.conf"),
            lines: lines(text),
        }
    }

    #[test]
    fn drop_ins_of_the_bakerys_documentation_are_understood() {
        let reboot = drop_in(
            "[Service]\n# kured does the rest\nExecStartPre=/usr/bin/sh -c \"readlink --canonicalize /etc/extensions/k8s.raw > /tmp/k8s\"\n\
             ExecStartPre=/usr/lib/systemd/systemd-sysupdate -C kubernetes update\n\
             ExecStartPost=/usr/bin/sh -c \"if ! cmp --silent /tmp/k8s /tmp/k8s-new; then touch /run/reboot-required; fi\"\n",
        );
        assert_eq!(reboot.names().collect::<Vec<_>>(), ["k8s", "kubernetes"]);
        let both = ["k8s".to_owned(), "kubernetes".to_owned()];
        assert!(reboot.is_superfluous(&both));
        assert!(!reboot.is_superfluous(&both[1..]));
        let merge = drop_in("[Service]\nExecStartPost=systemctl restart systemd-sysext\n");
        assert!(merge.is_superfluous(&[]));
        let units = HandWritten {
            drop_ins: vec![merge, reboot],
        };
        assert_eq!(units.reboots(&["kubernetes"]), Some(Path::new("/x.conf")));
        assert_eq!(units.reboots(&["docker"]), None);
    }

    #[test]
    fn a_drop_in_that_does_more_is_not_superfluous() {
        for text in [
            "[Service]\nExecStartPost=/opt/bin/mine\n",
            "[Service]\nEnvironment=https_proxy=http://proxy\n",
            "[Service]\nExecStartPre=/usr/lib/systemd/systemd-sysupdate --component=other update\n",
            "[Service]\nExecStartPre=/usr/lib/systemd/systemd-sysupdate \\\n  -C other update\n",
        ] {
            assert!(!drop_in(text).is_superfluous(&[]), "{text}");
        }
    }
}
