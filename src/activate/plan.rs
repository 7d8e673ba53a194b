//! What has to happen after links moved, decided before anything acts.
//!
//! Pure: [`plan`] turns the list of moved artifacts into an [`ActivationPlan`]; [`super::activate`] obeys it. The
//! rules are those of product.md, "Activation".

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::definition::transfer::{Activation, ActivationMode};
use crate::extension::ExtensionKind;

/// One transfer whose link (or file, when the target itself lies in a search path) really changed.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// The component's name.
    pub component: &'a str,
    /// The version that is current now.
    pub version: &'a str,
    /// What its definition wants to happen.
    pub activation: &'a Activation,
    /// The installed file, as an inner path.
    pub target: &'a Path,
    /// The current symlink that now points to it, as an inner path.
    pub link: Option<&'a Path>,
}

/// What will be done, once for all components of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ActivationPlan {
    /// The kinds to merge again, each once.
    pub merge: BTreeSet<ExtensionKind>,
    /// What depends on these merges, in the order of the transfers.
    pub dependents: Vec<Dependent>,
    /// Units to reload, if they are active; none of them is in `restart`.
    pub reload: Vec<String>,
    /// Units to restart, if they are active.
    pub restart: Vec<String>,
    /// Units that were up before and are started again if they are not now: the way back of what a version has broken.
    pub revive: BTreeSet<String>,
    /// One line for each reason to reboot, for [`super::require_reboot`].
    pub reboot: Vec<String>,
    /// One line for each artifact that waits for the next boot.
    pub staged: Vec<String>,
}

/// One artifact that takes effect by a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependent {
    /// The component's name.
    pub component: String,
    /// The version that is current now.
    pub version: String,
    /// The merge it needs.
    pub kind: ExtensionKind,
    /// The name under which a merge lists it; `None` when it lies in no search path (mode `refresh`).
    pub extension: Option<String>,
    /// The units its definition names: restarting them without the extension would stop what still runs.
    pub units: Vec<String>,
}

impl ActivationPlan {
    /// Whether there is nothing to do, nothing to tell and no reason to reboot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merge.is_empty()
            && self.reload.is_empty()
            && self.restart.is_empty()
            && self.revive.is_empty()
            && self.reboot.is_empty()
            && self.staged.is_empty()
    }

    fn add_merge(&mut self, moved: &Moved<'_>, kind: ExtensionKind, extension: Option<String>) {
        let activation = moved.activation;
        let mut units = Vec::new();
        push_unique(
            &mut units,
            activation
                .restart
                .named()
                .iter()
                .chain(activation.reload.named()),
        );
        self.merge.insert(kind);
        self.dependents.push(Dependent {
            component: moved.component.to_owned(),
            version: moved.version.to_owned(),
            kind,
            extension,
            units,
        });
    }
}

/// Decides what the moved artifacts need: a merge, units, a reboot, or only patience.
///
/// * `auto`: a merge if the file or its link lies in an extension search path; then the units it names.
/// * `refresh`: always a merge (of system extensions unless the path says otherwise); then the units it names.
/// * `stage`: nothing now.
/// * `reboot`: nothing now, and a reason to reboot.
///
/// A unit named twice is handled once; one to be both reloaded and restarted is restarted; the merging service
/// itself, if named, is left out where the merge restarts it anyway.
#[must_use]
pub fn plan(moved: &[Moved<'_>]) -> ActivationPlan {
    let mut plan = ActivationPlan::default();
    let mut reload = Vec::new();
    for one in moved {
        match one.activation.mode {
            ActivationMode::Auto | ActivationMode::Refresh => {
                plan_merge(&mut plan, one);
                push_unique(&mut reload, one.activation.reload.named());
                push_unique(&mut plan.restart, one.activation.restart.named());
            }
            ActivationMode::Stage => {
                let line = format!(
                    "{} {} takes effect at the next boot",
                    one.component, one.version
                );
                push_unique(&mut plan.staged, [&line]);
            }
            ActivationMode::Reboot => {
                let line = format!(
                    "{} {} needs a reboot to take effect",
                    one.component, one.version
                );
                push_unique(&mut plan.reboot, [&line]);
            }
        }
    }
    let merge = plan.merge.clone();
    let merges_itself = |unit: &String| merge.iter().any(|kind| kind.unit() == unit);
    plan.restart.retain(|unit| !merges_itself(unit));
    reload.retain(|unit| !merges_itself(unit) && !plan.restart.contains(unit));
    plan.reload = reload;
    plan
}

/// The merges that one artifact of mode `auto` or `refresh` needs.
fn plan_merge(plan: &mut ActivationPlan, moved: &Moved<'_>) {
    let link = moved.link.and_then(ExtensionKind::entry);
    let target = ExtensionKind::entry(moved.target);
    // A link gives the extension its name; the file behind it counts by itself only where it is an entry of the
    // other kind, or where there is no such link.
    if let Some((kind, name)) = &link {
        plan.add_merge(moved, *kind, Some(name.clone()));
    }
    if let Some((kind, name)) = &target {
        match &link {
            Some((linked, _)) if linked == kind => {}
            _ => plan.add_merge(moved, *kind, Some(name.clone())),
        }
    }
    if link.is_none() && target.is_none() && moved.activation.mode == ActivationMode::Refresh {
        plan.add_merge(moved, ExtensionKind::Sysext, None);
    }
}

fn push_unique<'a>(list: &mut Vec<String>, more: impl IntoIterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::transfer::Units;
    use ExtensionKind::{Confext, Sysext};

    fn activation(mode: ActivationMode, restart: &[&str], reload: &[&str]) -> Activation {
        let owned = |list: &[&str]| Units::Named(list.iter().map(ToString::to_string).collect());
        Activation {
            mode,
            restart: owned(restart),
            reload: owned(reload),
        }
    }

    fn moved<'a>(activation: &'a Activation, target: &'a str, link: Option<&'a str>) -> Moved<'a> {
        Moved {
            component: "tool",
            version: "1.2",
            activation,
            target: Path::new(target),
            link: link.map(Path::new),
        }
    }

    /// Mode, file, link; the kinds to merge, the names to look for.
    type Case = (
        ActivationMode,
        &'static str,
        Option<&'static str>,
        &'static [ExtensionKind],
        &'static [Option<&'static str>],
    );

    #[test]
    fn each_mode_merges_where_its_rule_says() {
        use ActivationMode::{Auto, Reboot, Refresh, Stage};
        let stored = "/var/lib/extensions.d/tool/tool-1.2.raw";
        let link = "/var/lib/extensions/tool.raw";
        let none: &'static [ExtensionKind] = &[];
        let cases: &[Case] = &[
            (Auto, stored, Some(link), &[Sysext], &[Some("tool")]),
            (Auto, stored, None, none, &[]),
            (Auto, stored, Some("/opt/tool/current"), none, &[]),
            (Auto, link, None, &[Sysext], &[Some("tool")]),
            // The link gives the name; the file beside it counts only as another kind.
            (
                Auto,
                "/var/lib/extensions/tool-1.2.raw",
                Some(link),
                &[Sysext],
                &[Some("tool")],
            ),
            (
                Auto,
                "/etc/confexts/c.raw",
                Some(link),
                &[Sysext, Confext],
                &[Some("tool"), Some("c")],
            ),
            (
                Auto,
                "/etc/confexts/c.raw",
                Some("/opt/current"),
                &[Confext],
                &[Some("c")],
            ),
            (
                Auto,
                stored,
                Some("/etc/confexts/tool.raw"),
                &[Confext],
                &[Some("tool")],
            ),
            (Refresh, stored, None, &[Sysext], &[None]),
            (Refresh, stored, Some(link), &[Sysext], &[Some("tool")]),
            (
                Refresh,
                stored,
                Some("/run/confexts/tool.raw"),
                &[Confext],
                &[Some("tool")],
            ),
            (Stage, stored, Some(link), none, &[]),
            (Reboot, stored, Some(link), none, &[]),
        ];
        for (mode, target, link, merge, names) in cases {
            let wish = activation(*mode, &[], &[]);
            let plan = plan(&[moved(&wish, target, *link)]);
            let case = format!("{mode:?} {target} {link:?}");
            assert_eq!(
                plan.merge.iter().copied().collect::<Vec<_>>(),
                *merge,
                "{case}"
            );
            let found: Vec<_> = plan
                .dependents
                .iter()
                .map(|one| one.extension.as_deref())
                .collect();
            assert_eq!(found, *names, "{case}");
        }
    }

    #[test]
    fn named_units_are_done_in_auto_and_refresh_and_never_otherwise() {
        use ActivationMode::{Auto, Reboot, Refresh, Stage};
        for (mode, done) in [
            (Auto, true),
            (Refresh, true),
            (Stage, false),
            (Reboot, false),
        ] {
            // No extension: the units are done without a merge, too.
            let wish = activation(mode, &["a.service"], &["b.service"]);
            let plan = plan(&[moved(&wish, "/opt/tool/tool-1.2", None)]);
            assert_eq!(plan.restart == ["a.service"], done, "{mode:?}");
            assert_eq!(plan.reload == ["b.service"], done, "{mode:?}");
            assert!(
                done || (plan.restart.is_empty() && plan.reload.is_empty()),
                "{mode:?}"
            );
        }
    }

    #[test]
    fn all_components_share_one_merge_and_each_unit_is_handled_once() {
        let first = activation(
            ActivationMode::Auto,
            &["z.service", "a.service"],
            &["r.service"],
        );
        let second = activation(
            ActivationMode::Auto,
            &[
                "a.service",
                "r.service",
                "systemd-sysext.service",
                "systemd-confext.service",
            ],
            &["s.service", "z.service", "s.service"],
        );
        let plan = plan(&[
            moved(&first, "/srv/a_1.raw", Some("/var/lib/extensions/a.raw")),
            moved(&second, "/srv/b_1.raw", Some("/var/lib/extensions/b.raw")),
        ]);
        assert_eq!(plan.merge.iter().copied().collect::<Vec<_>>(), [Sysext]);
        assert_eq!(
            plan.restart,
            [
                "z.service",
                "a.service",
                "r.service",
                "systemd-confext.service"
            ]
        );
        assert_eq!(plan.reload, ["s.service"]);
        assert_eq!(plan.dependents.len(), 2);
        assert_eq!(
            plan.dependents[0].units,
            ["z.service", "a.service", "r.service"]
        );
    }

    #[test]
    fn stage_and_reboot_only_leave_a_line_each() {
        let stage = activation(ActivationMode::Stage, &["a.service"], &[]);
        let reboot = activation(ActivationMode::Reboot, &[], &[]);
        let link = Some("/var/lib/extensions/tool.raw");
        let plan = plan(&[
            moved(&stage, "/srv/t.raw", link),
            moved(&reboot, "/srv/t.raw", link),
            moved(&reboot, "/srv/u.raw", link),
        ]);
        assert_eq!(plan.staged, ["tool 1.2 takes effect at the next boot"]);
        assert_eq!(plan.reboot, ["tool 1.2 needs a reboot to take effect"]);
        assert!(plan.merge.is_empty() && plan.restart.is_empty() && plan.dependents.is_empty());
        assert!(!plan.is_empty());
    }

    #[test]
    fn nothing_moved_is_an_empty_plan() {
        assert!(plan(&[]).is_empty());
        let wish = activation(ActivationMode::Auto, &[], &[]);
        assert!(plan(&[moved(&wish, "/opt/tool/tool-1.2", None)]).is_empty());
    }
}
