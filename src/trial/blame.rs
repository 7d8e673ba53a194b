//! Who is to blame for what failed: pure, over the failures of an activation.

use std::collections::BTreeMap;

use crate::activate::{ActivateError, ActivationPlan, ExtensionKind, Failure};

use super::changes::Change;
use super::record::Member;

/// What failed, sorted by whose fault it is.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// Members (by index) that failed, with the reason.
    pub(super) members: BTreeMap<usize, String>,
    /// The last lines of the logs of their units.
    pub(super) logs: BTreeMap<usize, Vec<String>>,
    /// Failures that are no version's fault.
    pub(super) passing: Vec<ActivateError>,
    /// Whether a merge failed as a whole.
    pub(super) merge_failed: bool,
}

impl Blame {
    /// Adds a reason against a member.
    pub(super) fn add(&mut self, member: usize, reason: &str) {
        let all = self.members.entry(member).or_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(reason);
    }
}

/// Sorts what an activation reports.
pub(super) fn of(members: &[Member], change: &Change, error: ActivateError) -> Blame {
    let plan = &change.plan;
    let mut blame = Blame::default();
    let failures = match error {
        ActivateError::Failed { failures } => failures,
        other => {
            blame.passing.push(other);
            return blame;
        }
    };
    let mut passing = Vec::new();
    for failure in failures {
        let reason = failure.to_string();
        let guilty = match &failure {
            Failure::NotMerged { component, .. } => named(members, component),
            Failure::Refresh { .. } => {
                blame.merge_failed = true;
                merging(members, plan, None)
            }
            Failure::Inactive { unit } => {
                blame.merge_failed = true;
                merging(members, plan, kind_of(unit))
            }
            Failure::Job { unit, .. } if kind_of(unit).is_some() => {
                blame.merge_failed = true;
                merging(members, plan, kind_of(unit))
            }
            Failure::Job { unit, .. } => change.owners(unit),
            Failure::Manager { source, .. } if source.is_unreachable() => Vec::new(),
            Failure::Manager { object, .. } if kind_of(object).is_none() => change.owners(object),
            Failure::Manager { .. } => Vec::new(),
        };
        if guilty.is_empty() {
            passing.push(failure);
        }
        for member in guilty {
            blame.add(member, &reason);
        }
    }
    // What has a culprit is judged now; what has none only counts where nobody is to blame.
    if !passing.is_empty() && blame.members.is_empty() {
        blame
            .passing
            .push(ActivateError::Failed { failures: passing });
    }
    blame
}

fn kind_of(unit: &str) -> Option<ExtensionKind> {
    [ExtensionKind::Sysext, ExtensionKind::Confext]
        .into_iter()
        .find(|kind| kind.unit() == unit)
}

fn named(members: &[Member], component: &str) -> Vec<usize> {
    (0..members.len())
        .filter(|index| members[*index].name().to_string() == component)
        .collect()
}

/// The members that need a merge, of one kind or of any.
fn merging(members: &[Member], plan: &ActivationPlan, kind: Option<ExtensionKind>) -> Vec<usize> {
    let needs = |member: &Member| {
        plan.dependents.iter().any(|dependent| {
            dependent.component == member.name().to_string()
                && kind.is_none_or(|kind| dependent.kind == kind)
        })
    };
    (0..members.len())
        .filter(|index| needs(&members[*index]))
        .collect()
}
