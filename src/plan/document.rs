//! A plan for people and for later: what `plan` prints, and what `apply` carries out or refuses.
//!
//! Values only. What [`ComponentPlan::changes_since`] compares is what is acted upon; reasons and forecasts are for reading.

use serde::{Deserialize, Serialize};

/// What this program writes and understands.
pub const FORMAT: u32 = 1;

/// The plans of some components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was made (RFC 3339).
    pub time: String,
    /// One per component, those with nothing to do as well.
    pub components: Vec<ComponentPlan>,
}

/// What would happen to one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPlan {
    /// Its name; the default component has none.
    pub component: Option<String>,
    /// The version in use.
    pub current: Option<String>,
    /// The version that would be; none when there is nothing to do.
    pub version: Option<String>,
    /// What the run would say: why there is nothing to do, or what is worth a word.
    pub notes: Vec<String>,
    /// How the manifests are authenticated.
    pub verification: String,
    /// Bytes to fetch, what is here already subtracted; none when a server does not tell.
    pub fetch: Option<u64>,
    /// Bytes that are occupied besides what is now, at the most.
    pub peak: Option<u64>,
    /// What happens to each transfer.
    pub parts: Vec<PartPlan>,
    /// Files that go afterwards.
    pub removals: Vec<RemovalPlan>,
    /// What follows the switch.
    pub activation: Forecast,
    /// Every version, with the reason why it is, or is not, chosen.
    pub reasons: Vec<ReasonLine>,
}

/// What would happen to one transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartPlan {
    /// Its id.
    pub transfer: String,
    /// How the artifact comes to its place.
    pub action: PartAction,
    /// Where it comes from: a URL or a path.
    pub source: Option<String>,
    /// What its bytes hash to, as transferred.
    pub sha256: Option<String>,
    /// Bytes to fetch.
    pub bytes: Option<u64>,
    /// Where it will stand.
    pub path: String,
    /// The link that will lead to it.
    pub link: Option<String>,
    /// Where the link leads now.
    pub link_before: Option<String>,
}

/// How an artifact comes to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartAction {
    /// It stands already.
    Keep,
    /// It is acquired already, and gets its name.
    Install,
    /// It is fetched first.
    Fetch,
}

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalPlan {
    /// The file.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Why.
    pub kind: String,
}

/// What follows the switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// What is merged again: `sysext`, `confext`.
    pub merge: Vec<String>,
    /// Units that are touched, as far as that can be told beforehand.
    pub units: Vec<UnitForecast>,
    /// What waits for the next boot, and why.
    pub later: Vec<String>,
    /// Whether a reboot is asked for.
    pub reboot: bool,
}

/// What happens to a unit if it is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitForecast {
    /// The unit.
    pub unit: String,
    /// `restart`, `reload` or `stop`.
    pub verb: String,
    /// What asks for it.
    pub why: String,
}

/// Why a version is, or is not, chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonLine {
    /// The version.
    pub version: String,
    /// The reason.
    pub reason: String,
}

impl ComponentPlan {
    /// The name as messages show it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.component.as_deref().unwrap_or("<default>")
    }

    /// What differs between this plan and the same component's plan of now, a line each; nothing, if it still holds.
    #[must_use]
    pub fn changes_since(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let none = || "none".to_owned();
        let mut differs = |what: &str, then: Option<String>, is: Option<String>| {
            if then != is {
                let (then, is) = (then.unwrap_or_else(none), is.unwrap_or_else(none));
                changes.push(format!("{what} was {then} and is {is}"));
            }
        };
        differs(
            "the version in use",
            self.current.clone(),
            now.current.clone(),
        );
        differs(
            "the version to install",
            self.version.clone(),
            now.version.clone(),
        );
        differs(
            "the verification",
            Some(self.verification.clone()),
            Some(now.verification.clone()),
        );
        for part in &self.parts {
            let Some(other) = now
                .parts
                .iter()
                .find(|other| other.transfer == part.transfer)
            else {
                differs(
                    &format!("transfer '{}'", part.transfer),
                    Some("there".to_owned()),
                    None,
                );
                continue;
            };
            let of = |what: &str| format!("the {what} of transfer '{}'", part.transfer);
            differs(&of("digest"), part.sha256.clone(), other.sha256.clone());
            differs(&of("source"), part.source.clone(), other.source.clone());
            differs(
                &of("target"),
                Some(part.path.clone()),
                Some(other.path.clone()),
            );
            differs(&of("link"), part.link.clone(), other.link.clone());
            differs(
                &of("link's present target"),
                part.link_before.clone(),
                other.link_before.clone(),
            );
        }
        for other in &now.parts {
            if self
                .parts
                .iter()
                .all(|part| part.transfer != other.transfer)
            {
                differs(
                    &format!("transfer '{}'", other.transfer),
                    None,
                    Some("there".to_owned()),
                );
            }
        }
        let paths = |plan: &Self| {
            let mut paths: Vec<String> =
                plan.removals.iter().map(|gone| gone.path.clone()).collect();
            paths.sort_unstable();
            Some(paths.join(", ")).filter(|paths| !paths.is_empty())
        };
        differs("what is removed", paths(self), paths(now));
        changes
    }
}

/// A saved plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be read.
    #[error("cannot read the plan '{file}'")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is none.
    #[error("'{file}' is no plan of this program")]
    Malformed {
        /// The file.
        file: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// Another version of this program made it.
    #[error("the plan '{file}' has format {format}, this program knows {FORMAT}")]
    Format {
        /// The file.
        file: String,
        /// Its format.
        format: u32,
    },
    /// Something has changed since it was made.
    #[error("the plan for {component} does not hold any more: {}", changes.join("; "))]
    Changed {
        /// The component.
        component: String,
        /// What changed.
        changes: Vec<String>,
    },
}

impl ApplyError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Changed { .. } => {
                "nothing was done; make a new plan: `sysupdate plan --json=short > FILE`"
            }
            _ => "a plan is made by `sysupdate plan --json=short > FILE`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> ComponentPlan {
        ComponentPlan {
            component: Some("app".to_owned()),
            current: Some("1".to_owned()),
            version: Some("2".to_owned()),
            notes: Vec::new(),
            verification: "openpgp".to_owned(),
            fetch: Some(10),
            peak: Some(10),
            parts: vec![PartPlan {
                transfer: "app".to_owned(),
                action: PartAction::Fetch,
                source: Some("http://x/app-2".to_owned()),
                sha256: Some("00".to_owned()),
                bytes: Some(10),
                path: "/srv/app-2".to_owned(),
                link: Some("/srv/app".to_owned()),
                link_before: Some("/srv/app-1".to_owned()),
            }],
            removals: Vec::new(),
            activation: Forecast::default(),
            reasons: Vec::new(),
        }
    }

    #[test]
    fn a_plan_holds_as_long_as_what_it_acts_on_is_the_same() {
        let mut later = plan();
        later.fetch = Some(3);
        later.notes.push("a note".to_owned());
        // Acquired in the meantime: the same bytes in the same place.
        later.parts[0].action = PartAction::Install;
        assert_eq!(plan().changes_since(&later), Vec::<String>::new());
    }

    #[test]
    fn every_change_of_substance_is_named() {
        type Change = fn(&mut ComponentPlan);
        let cases: [(Change, &str); 7] = [
            (
                |plan| plan.current = None,
                "the version in use was 1 and is none",
            ),
            (
                |plan| plan.version = Some("3".to_owned()),
                "the version to install was 2 and is 3",
            ),
            (
                |plan| plan.verification = "unsigned".to_owned(),
                "the verification was openpgp and is unsigned",
            ),
            (
                |plan| plan.parts[0].sha256 = Some("ff".to_owned()),
                "the digest of transfer 'app' was 00 and is ff",
            ),
            (
                |plan| plan.parts[0].link_before = None,
                "the link's present target of transfer 'app' was /srv/app-1 and is none",
            ),
            (
                |plan| plan.parts.clear(),
                "transfer 'app' was there and is none",
            ),
            (
                |plan| {
                    plan.removals.push(RemovalPlan {
                        path: "/srv/app-0".to_owned(),
                        version: "0".to_owned(),
                        kind: "old".to_owned(),
                    });
                },
                "what is removed was none and is /srv/app-0",
            ),
        ];
        for (change, expected) in cases {
            let mut now = plan();
            change(&mut now);
            assert_eq!(plan().changes_since(&now), [expected]);
        }
    }

    #[test]
    fn a_document_comes_back_from_its_json() {
        let document = Document {
            format: FORMAT,
            time: "2026-01-01T00:00:00Z".to_owned(),
            components: vec![plan()],
        };
        let text = serde_json::to_string(&document).expect("JSON");
        let read: Document = serde_json::from_str(&text).expect("its own JSON");
        assert_eq!(read, document);
    }
}
