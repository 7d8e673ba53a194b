//! What a source has shown before, and whether what it shows now can follow that.
//!
//! Owns the decision alone. Pure: the record comes as a value, and a new one is handed back when something has changed
//! ([`crate::inventory`] keeps it on disk). Roll-back, fast-forward and exchanged files of The Update Framework's
//! specification (section 1.5.2) end here.
//!
//! | | signed | unsigned |
//! |---|---|---|
//! | signed before the manifest that was seen, and another one | refused | – |
//! | the newest version is gone | refused | a warning |
//! | another checksum under a known name | refused; a warning when it was signed later | that file is passed over |
//!
//! Something that was refused can be accepted once ([`Acceptance::Once`]): then it is what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::metadata::Sha256;
use crate::version::Version;

/// Most files that are remembered of a source: those with the newest versions.
pub const FILES_LIMIT: usize = 1024;

/// The most that they take in the text of a record, in bytes. A record that is too large to be read back would be no
/// memory at all, and whoever wants that only has to list long names.
const BYTES_LIMIT: usize = 2 << 20;

/// What a source has shown to one transfer: each sees files of its own in one manifest, and judges it at its own time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The digest of the manifest that was last accepted.
    manifest: String,
    /// When that was signed, as far as it is known, in seconds since the epoch.
    signed: Option<i64>,
    /// When it was first seen, in seconds since the epoch.
    seen: i64,
    /// The newest version.
    newest: Option<String>,
    /// The files by name.
    files: BTreeMap<String, Known>,
}

/// A file that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    version: String,
    /// More than one when the manifest names it more than once.
    sha256: BTreeSet<String>,
}

/// What a source shows now.
#[derive(Debug, Clone)]
pub struct Offer<'o> {
    /// The digest of the manifest.
    pub manifest: Sha256,
    /// How it is authenticated.
    pub standing: Standing,
    /// The files that are the transfer's.
    pub files: Vec<File<'o>>,
    /// The present.
    pub now: Timestamp,
}

/// A file of a manifest.
#[derive(Debug, Clone, Copy)]
pub struct File<'o> {
    /// As the manifest spells it.
    pub name: &'o str,
    /// What the pattern makes of it.
    pub version: &'o Version,
    /// Its digest.
    pub sha256: Sha256,
}

/// How a manifest is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// By signatures, made at that time if it is known.
    Signed(Option<Timestamp>),
    /// Not at all: what is seen first is trusted.
    Unsigned,
}

impl Standing {
    fn time(self) -> Option<i64> {
        match self {
            Self::Signed(time) => time.map(Timestamp::as_second),
            Self::Unsigned => None,
        }
    }
}

/// Whether what would be refused is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acceptance {
    /// It is not.
    #[default]
    Never,
    /// It is, in this run (`--accept-manifest`).
    Once,
}

/// A manifest that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What is odd about it all the same.
    pub warnings: Vec<Finding>,
    /// The files that must not be used, by name and the digest that is offered.
    pub changed: Vec<Changed>,
    /// What is to be remembered, if that has changed.
    pub record: Option<Record>,
}

/// Something that does not follow from what was seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The manifest is another one, and was not signed later.
    Older {
        /// When it was signed.
        offered: Option<Timestamp>,
        /// When the one that is known was.
        known: Timestamp,
        /// When that was seen.
        seen: Timestamp,
    },
    /// The newest version is gone.
    Vanished {
        /// What is the newest now.
        offered: Option<String>,
        /// What was.
        known: String,
        /// When that was seen.
        seen: Timestamp,
    },
    /// A file has another checksum.
    Changed {
        /// Which: the newest one.
        file: Changed,
        /// So many other files are changed as well.
        others: usize,
    },
}

/// A file that has another checksum than the one it was seen with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// What the pattern makes of it.
    pub version: Version,
    /// The digest that it has now.
    pub offered: Sha256,
    /// The one that it had.
    pub known: String,
    /// When that was last seen.
    pub seen: Timestamp,
}

impl fmt::Display for Changed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            offered,
            known,
            seen,
            ..
        } = self;
        write!(
            formatter,
            "'{}' has the checksum {offered}, but it had {known} when it was seen here on {seen}",
            name.escape_debug()
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older {
                offered: Some(offered),
                known,
                seen,
            } => write!(
                formatter,
                "it was signed on {offered}, but one that was signed on {known} was seen here on {seen}"
            ),
            Self::Older { known, seen, .. } => write!(
                formatter,
                "its signature does not say when it was made, but one that was made on {known} was seen here on {seen}"
            ),
            Self::Vanished {
                offered: Some(offered),
                known,
                seen,
            } => write!(
                formatter,
                "the newest version in it is '{offered}', but '{known}' was seen here on {seen}"
            ),
            Self::Vanished { known, seen, .. } => write!(
                formatter,
                "it offers no version, but '{known}' was seen here on {seen}"
            ),
            Self::Changed { file, others } => {
                file.fmt(formatter)?;
                match others {
                    0 => Ok(()),
                    1 => formatter.write_str(", and so has another file"),
                    _ => write!(formatter, ", and so have {others} other files"),
                }
            }
        }
    }
}

impl std::error::Error for Finding {}

/// Holds what is offered against what was seen before.
///
/// # Errors
/// The gravest finding that refuses it. What was seen before stands then.
pub fn judge(
    known: Option<&Record>,
    offer: &Offer<'_>,
    acceptance: Acceptance,
) -> Result<Judgement, Finding> {
    let nothing = Judgement {
        warnings: Vec::new(),
        changed: Vec::new(),
        record: None,
    };
    let Some(known) = known else {
        return Ok(Judgement {
            record: Some(Record::first(offer)),
            ..nothing
        });
    };
    let is_signed = offer.standing != Standing::Unsigned;
    let same = known.manifest == offer.manifest.to_string();
    if same && is_signed && !known.is_resigned(offer) {
        return Ok(nothing);
    }
    let mut changed = known.changed(offer);
    // What was passed over of an unsigned one is passed over again; else there is nothing to do.
    if same && !is_signed && (changed.is_empty() || acceptance == Acceptance::Never) {
        return Ok(Judgement {
            warnings: exchange(&changed).into_iter().collect(),
            changed,
            ..nothing
        });
    }
    let mut warnings = Vec::new();
    for (finding, grave) in [
        (known.older(offer, same), true),
        (known.vanished(offer), is_signed),
        (exchange(&changed), is_signed && !known.is_resigned(offer)),
    ] {
        match finding {
            Some(finding) if grave && acceptance == Acceptance::Never => return Err(finding),
            finding => warnings.extend(finding),
        }
    }
    if is_signed || acceptance == Acceptance::Once {
        changed.clear();
    }
    let record = known.follow(offer, same, &changed);
    Ok(Judgement {
        warnings,
        changed,
        record: (record != *known).then_some(record),
    })
}

/// What is told of changed files: the one with the newest version is what people know.
fn exchange(changed: &[Changed]) -> Option<Finding> {
    // Of several, the first in the manifest.
    let shown = changed
        .iter()
        .rev()
        .max_by(|left, right| left.version.cmp(&right.version))?;
    Some(Finding::Changed {
        file: shown.clone(),
        others: changed.len() - 1,
    })
}

impl Record {
    fn first(offer: &Offer<'_>) -> Self {
        let nothing = Self {
            manifest: String::new(),
            signed: None,
            seen: offer.now.as_second(),
            newest: None,
            files: BTreeMap::new(),
        };
        nothing.follow(offer, false, &[])
    }

    /// When it was first seen.
    #[must_use]
    pub fn seen(&self) -> Timestamp {
        moment(self.seen)
    }

    /// Whether the manifest certainly was signed later than the one that is known.
    fn is_resigned(&self, offer: &Offer<'_>) -> bool {
        matches!((self.signed, offer.standing.time()), (Some(known), Some(offered)) if offered > known)
    }

    fn older(&self, offer: &Offer<'_>, same: bool) -> Option<Finding> {
        let known = self.signed.filter(|_| !same)?;
        let offered = offer.standing.time();
        // None is less than any time: an old manifest may come from before the signatures had one.
        (offered < Some(known)).then_some(Finding::Older {
            offered: offered.map(moment),
            known: moment(known),
            seen: moment(self.seen),
        })
    }

    fn vanished(&self, offer: &Offer<'_>) -> Option<Finding> {
        let known = self.newest.as_ref()?;
        let offered = offer.newest();
        let version: Version = known.parse().ok()?;
        (offered < Some(&version)).then(|| Finding::Vanished {
            offered: offered.map(ToString::to_string),
            known: known.clone(),
            seen: moment(self.seen),
        })
    }

    /// The files that have another checksum than all that they were seen with.
    fn changed(&self, offer: &Offer<'_>) -> Vec<Changed> {
        let changed = |file: &File<'_>| {
            let known = &self.files.get(file.name)?.sha256;
            (!known.contains(&file.sha256.to_string())).then(|| Changed {
                name: file.name.to_owned(),
                version: file.version.clone(),
                offered: file.sha256,
                known: known.first().cloned().unwrap_or_default(),
                seen: moment(self.seen),
            })
        };
        offer.files.iter().filter_map(changed).collect()
    }

    /// What is remembered once the offer is accepted, all but the files that are passed over: of those, what is known stays.
    /// Files that are gone are not forgotten: they may come back changed.
    fn follow(&self, offer: &Offer<'_>, same: bool, passed_over: &[Changed]) -> Self {
        let passed_over: BTreeSet<&str> =
            passed_over.iter().map(|file| file.name.as_str()).collect();
        let mut next = self.clone();
        let signed = offer.standing.time();
        next.signed = if same {
            self.signed.max(signed)
        } else {
            signed
        };
        next.manifest = offer.manifest.to_string();
        next.newest = offer.newest().map(ToString::to_string);
        let used = |file: &&File<'_>| !passed_over.contains(file.name);
        let mut files: Vec<&File<'_>> = offer.files.iter().filter(used).collect();
        files.sort_by(|left, right| (right.version, right.name).cmp(&(left.version, left.name)));
        let mut offered: BTreeMap<&str, Known> = BTreeMap::new();
        for file in files {
            // Those that follow are older than all that can be remembered.
            if offered.len() == FILES_LIMIT && !offered.contains_key(file.name) {
                break;
            }
            let known = offered.entry(file.name).or_insert_with(|| Known {
                version: file.version.to_string(),
                sha256: BTreeSet::new(),
            });
            known.sha256.insert(file.sha256.to_string());
        }
        let offered = offered
            .into_iter()
            .map(|(name, known)| (name.to_owned(), known));
        next.files.extend(offered);
        bound(&mut next.files);
        if next != *self {
            next.seen = offer.now.as_second();
        }
        next
    }
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

/// Leaves the files with the newest versions, as many as are allowed and fit.
fn bound(files: &mut BTreeMap<String, Known>) {
    let taken: usize = files.iter().map(|(name, known)| size(name, known)).sum();
    if files.len() <= FILES_LIMIT && taken <= BYTES_LIMIT {
        return;
    }
    let mut all: Vec<(Option<Version>, String, Known)> = std::mem::take(files)
        .into_iter()
        .map(|(name, known)| (known.version.parse().ok(), name, known))
        .collect();
    all.sort_by(|left, right| (&right.0, &right.1).cmp(&(&left.0, &left.1)));
    let mut left = BYTES_LIMIT;
    let fits = |(_, name, known): &(_, String, Known)| {
        let rest = left.checked_sub(size(name, known));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let kept = all.into_iter().filter(fits).take(FILES_LIMIT);
    files.extend(kept.map(|(_, name, known)| (name, known)));
}

/// The most that a file takes in the text of a record, in bytes: each of its signs may need another one before it.
fn size(name: &str, known: &Known) -> usize {
    2 * name.len() + 2 * known.version.len() + 128 * (1 + known.sha256.len())
}

impl Offer<'_> {
    fn newest(&self) -> Option<&Version> {
        self.files.iter().map(|file| file.version).max()
    }
}

#[cfg(test)]
mod tests;
