//! The freshness markers of a manifest: `BEST-BEFORE-DATE` (compat 2 B6.3).
//!
//! Owns what a marker is and what it says at a given time. Never reads the clock.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Entry;
use crate::metadata::Sha256;

/// What a line says about freshness: at most a warning about its digest and a verdict.
pub(super) fn judge<'m>(
    entry: Entry<'m>,
    now: Timestamp,
    zone: &TimeZone,
) -> [Option<Finding<'m>>; 2] {
    let Entry { sha256, name, line } = entry;
    if let Some((_, last)) = name.rsplit_once('/') {
        let is_marker = last.starts_with(MARKER_PREFIX);
        return [
            is_marker.then_some(Finding::InSubdirectory { name, line }),
            None,
        ];
    }
    if !name.starts_with(MARKER_PREFIX) {
        return [None, None];
    }
    let warning = (sha256 != Sha256::EMPTY).then_some(Finding::UnexpectedDigest { name });
    // A date beyond the range of timestamps (9999-12-31) is later than any `now`.
    let verdict = match marker_date(name).map(|date| date.to_zoned(TimeZone::UTC)) {
        None => Finding::InvalidDate { name },
        Some(Ok(midnight)) if midnight.timestamp() < now => Finding::Past(PastMarker {
            best_before: midnight.timestamp(),
            now,
            zone: zone.clone(),
        }),
        Some(_) => Finding::ChecksOut,
    };
    [warning, Some(verdict)]
}

/// The date of a valid marker; `None` for every other name.
pub(super) fn marker_date(name: &str) -> Option<Date> {
    let mut parts = name.strip_prefix(MARKER_PREFIX)?.split('-');
    let year = number::<i16>(parts.next()?, 4..=4)?;
    let month = number::<i8>(parts.next()?, 1..=2)?;
    let day = number::<i8>(parts.next()?, 1..=2)?;
    if parts.next().is_some() {
        return None;
    }
    Date::new(year, month, day).ok()
}

/// Reads a number of so many decimal digits.
fn number<N: std::str::FromStr>(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<N> {
    let valid = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok())?
}

/// What the name of a marker begins with; its date follows.
pub(super) const MARKER_PREFIX: &str = "BEST-BEFORE-";

/// What one line says about freshness; displayed as the original prints it (compat 2 B6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding<'m> {
    /// A marker whose day has not begun yet.
    ChecksOut,
    /// A marker without a valid date: an entry like any other.
    InvalidDate {
        /// The entry's name.
        name: &'m str,
    },
    /// The digest of a marker is not that of an empty file; the verdict on the marker follows.
    UnexpectedDigest {
        /// The entry's name.
        name: &'m str,
    },
    /// A marker that counts for nothing: an entry like any other.
    InSubdirectory {
        /// The entry's name.
        name: &'m str,
        /// The line's number from 1.
        line: usize,
    },
    /// A marker whose day has begun.
    Past(PastMarker),
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChecksOut => {
                f.write_str("Found best before marker, and it checks out, proceeding.")
            }
            Self::InvalidDate { name } => write!(
                f,
                "Found best before marker with an invalid date, ignoring: {name}"
            ),
            Self::UnexpectedDigest { name } => write!(
                f,
                "Hash of best before marker file '{name}' has unexpected value, proceeding anyway."
            ),
            Self::InSubdirectory { name, line } => write!(
                f,
                "Ignoring best-before marker '{name}' in subdirectory at manifest line {line}."
            ),
            Self::Past(past) => past.fmt(f),
        }
    }
}

/// A marker whose day has begun; displayed as the refusal of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Best before marker indicates out-of-date file list, refusing ({}).", self.comparison())]
pub struct PastMarker {
    best_before: Timestamp,
    now: Timestamp,
    zone: TimeZone,
}

impl PastMarker {
    /// The beginning, in UTC, of the marker's day.
    pub fn best_before(&self) -> Timestamp {
        self.best_before
    }

    /// The message in place of the refusal when the caller was told to go on.
    pub fn ignored(&self) -> impl fmt::Display {
        format!(
            "Best before marker indicates out-of-date file list, but told to ignore this, hence ignoring ({}).",
            self.comparison()
        )
    }

    fn comparison(&self) -> String {
        let local = |time: Timestamp| {
            time.to_zoned(self.zone.clone())
                .strftime(TIME_FORMAT)
                .to_string()
        };
        format!("{} < {}", local(self.best_before), local(self.now))
    }
}

/// How the original writes a time: `Wed 2020-01-01 00:00:00 UTC`.
const TIME_FORMAT: &str = "%a %Y-%m-%d %H:%M:%S %Z";
