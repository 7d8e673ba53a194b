//! The manifest `SHA256SUMS`: its grammar (compat 2 B6.2) and its freshness markers (B6.3).
//!
//! Owns the text and reads it again for each walk, so that a manifest of a million lines costs no more memory than its bytes. Never
//! fetches it, never checks its signature, and never decides whether a past marker is forgiven: that is the caller's.

mod freshness;

pub use freshness::{Finding, PastMarker};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::metadata::Sha256;
use freshness::{MARKER_PREFIX, judge, marker_date};

/// A manifest that obeys the grammar in every line.
#[derive(Debug, Clone)]
pub struct Manifest {
    text: String,
}

impl Manifest {
    /// Takes the unpacked bytes of a manifest; no bytes at all are a manifest without entries.
    ///
    /// The rules hold for every line, also for those that no pattern will match. The time is linear in the size.
    ///
    /// # Errors
    ///
    /// The first fault, looked for in the order of compat 2 B6.2: that of the whole file, then line by line.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        if bytes.len() >= SIZE_LIMIT {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        if bytes.contains(&0) {
            return Err(ManifestError::NulByte);
        }
        let text = String::from_utf8(bytes).map_err(|_| ManifestError::NotUtf8)?;
        let mut rest = text.as_str();
        let mut line = 0;
        while !rest.is_empty() {
            line += 1;
            rest = check_line(rest, line)?;
        }
        Ok(Self { text })
    }

    /// Walks the lines in file order, valid freshness markers left out.
    ///
    /// A file may be listed more than once. The digest is decoded on the way.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.lines()
            .filter(|entry| marker_date(entry.name).is_none())
    }

    /// Judges the freshness markers at the time `now`, in line order; what is found is displayed with times in `zone`.
    ///
    /// The caller goes through the findings: the first [`Finding::Past`] refuses the manifest unless it is told to ignore that.
    pub fn freshness(&self, now: Timestamp, zone: &TimeZone) -> impl Iterator<Item = Finding<'_>> {
        // Most manifests have none, and to look for the word is much less than to read every line.
        let lines = self.text.contains(MARKER_PREFIX).then(|| self.lines());
        lines
            .into_iter()
            .flatten()
            .flat_map(move |entry| judge(entry, now, zone))
            .flatten()
    }

    fn lines(&self) -> impl Iterator<Item = Entry<'_>> {
        self.text
            .split_terminator('\n')
            .zip(1..)
            .map(|(text, line)| Entry::of_line(text, line).expect("`parse` has checked every line"))
    }
}

/// The unpacked size that a manifest must stay below, in bytes (compat 2 B6.1).
///
/// It bounds the number of lines as well: one has at least 68 bytes, so there are fewer than a million.
pub const SIZE_LIMIT: usize = 64 << 20;

/// One line of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'m> {
    /// The digest that the file must have as it is delivered.
    pub sha256: Sha256,
    /// A normalized relative path without control characters; may end in `/`.
    pub name: &'m str,
    /// The line's number from 1.
    pub line: usize,
}

impl<'m> Entry<'m> {
    fn of_line(text: &'m str, line: usize) -> Option<Self> {
        Some(Self {
            sha256: Sha256::from_hex(text.get(..DIGEST_LENGTH)?)?,
            name: text.get(NAME_START..)?,
            line,
        })
    }

    /// Compares the digest that was read from the name (`@h`) with that of the line.
    ///
    /// # Errors
    ///
    /// [`ManifestError::DigestMismatch`] when there is one and it differs.
    pub fn confirm(&self, from_name: Option<Sha256>) -> Result<(), ManifestError> {
        match from_name {
            Some(digest) if digest != self.sha256 => {
                Err(ManifestError::DigestMismatch { line: self.line })
            }
            _ => Ok(()),
        }
    }
}

/// Checks the line that `rest` begins with and gives what follows it; the order of the tests is that of compat 2 B6.2.
fn check_line(rest: &str, line: usize) -> Result<&str, ManifestError> {
    let bytes = rest.as_bytes();
    // No shorter line can be right: digest, separator, marker, and one byte. What is shorter is not looked at.
    if bytes.len() <= NAME_START {
        return Err(ManifestError::Corrupt { line });
    }
    if bytes[0] == b'\\' {
        return Err(ManifestError::EscapedName { line });
    }
    check_digest(&bytes[..DIGEST_LENGTH], line)?;
    if bytes[DIGEST_LENGTH] != b' ' {
        return Err(ManifestError::MissingSeparator { line });
    }
    if !matches!(bytes[DIGEST_LENGTH + 1], b' ' | b'*') {
        return Err(ManifestError::MissingMarker { line });
    }
    // Everything before it is ASCII, so the name starts at the boundary of a character.
    let (name, behind) = rest[NAME_START..]
        .split_once('\n')
        .ok_or(ManifestError::Truncated { line })?;
    if name.is_empty() {
        return Err(ManifestError::EmptyName { line });
    }
    if !is_valid_name(name) {
        return Err(ManifestError::InvalidName { line });
    }
    if name.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(ManifestError::ControlCharacters { line });
    }
    Ok(behind)
}

/// Checks that the 64 bytes are 64 hexadecimal digits, and tells what they are otherwise.
fn check_digest(field: &[u8], line: usize) -> Result<(), ManifestError> {
    let mut digits = 0;
    for byte in field {
        match byte {
            byte if byte.is_ascii_hexdigit() => digits += 1,
            // compat: white space behind a digit is skipped, so such a line fails by the length of what is left.
            b' ' | b'\t' | b'\n' if digits > 0 => {}
            _ => return Err(ManifestError::InvalidDigest { line }),
        }
    }
    match digits {
        DIGEST_LENGTH => Ok(()),
        odd if odd % 2 == 1 => Err(ManifestError::InvalidDigest { line }),
        even => Err(ManifestError::DigestLength {
            line,
            bytes: even / 2,
        }),
    }
}

/// Whether something of this name could stand in a manifest, and be a file.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let has_control = name.bytes().any(|byte| byte.is_ascii_control());
    is_valid_name(name) && !name.ends_with('/') && !has_control
}

/// Whether a name is a normalized relative path; a `/` at its end is tolerated.
fn is_valid_name(name: &str) -> bool {
    let path = name.strip_suffix('/').unwrap_or(name);
    let is_valid_component =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= NAME_MAX;
    name.len() < PATH_MAX && !name.contains('%') && path.split('/').all(is_valid_component)
}

/// The shortest line: its name and its end have one byte each.
const SHORTEST_LINE: usize = NAME_START + 2;

const _: () = assert!(
    SIZE_LIMIT / SHORTEST_LINE < 1_000_000,
    "the size bounds the number of lines"
);

/// Length of a digest in hexadecimal digits.
const DIGEST_LENGTH: usize = 64;

/// Where a line's name starts: behind the digest, a blank, and a blank or `*`.
const NAME_START: usize = DIGEST_LENGTH + 2;

/// The longest name of a directory's entry in bytes.
const NAME_MAX: usize = 255;

/// The kernel's limit of a path in bytes, the closing zero included.
const PATH_MAX: usize = 4096;

/// Why bytes are no manifest, or an entry is not what its name says; lines are numbered from 1.
///
/// Displayed as the original prints it (compat 2 B6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It has [`SIZE_LIMIT`] bytes or more.
    #[error(
        "Failed to read manifest file from child: Argument list too long ({bytes} bytes, but a manifest must stay below {SIZE_LIMIT})"
    )]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
    /// It has a zero byte.
    #[error("Manifest file has embedded NUL byte, refusing.")]
    NulByte,
    /// It is not UTF-8.
    #[error("Manifest file is not valid UTF-8, refusing.")]
    NotUtf8,
    /// What is left is shorter than any line.
    #[error("Corrupt manifest at line {line}, refusing.")]
    Corrupt {
        /// Where.
        line: usize,
    },
    /// The name is written with escapes.
    #[error("File names with escapes not supported in manifest at line {line}, refusing.")]
    EscapedName {
        /// Where.
        line: usize,
    },
    /// The digest has a byte that is no hexadecimal digit, or an odd number of digits.
    #[error("Failed to parse digest at manifest line {line}, refusing.")]
    InvalidDigest {
        /// Where.
        line: usize,
    },
    /// The digest has the wrong length.
    #[error("Manifest hash at line {line} decoded to {bytes} bytes, refusing.")]
    DigestLength {
        /// Where.
        line: usize,
        /// Its length once decoded.
        bytes: usize,
    },
    /// No blank follows the digest.
    #[error("Missing space separator at manifest line {line}, refusing.")]
    MissingSeparator {
        /// Where.
        line: usize,
    },
    /// Neither a blank nor `*` follows the separator.
    #[error("Missing binary/text input marker at manifest line {line}, refusing.")]
    MissingMarker {
        /// Where.
        line: usize,
    },
    /// The line has no end.
    #[error("Truncated manifest file at line {line}, refusing.")]
    Truncated {
        /// Where.
        line: usize,
    },
    /// The name is empty.
    #[error("Empty filename specified at manifest line {line}, refusing.")]
    EmptyName {
        /// Where.
        line: usize,
    },
    /// The name has a `%` or is no normalized relative path.
    #[error("Invalid filename specified at manifest line {line}, refusing.")]
    InvalidName {
        /// Where.
        line: usize,
    },
    /// The name has a control character.
    #[error("Filename contains control characters at manifest line {line}, refusing.")]
    ControlCharacters {
        /// Where.
        line: usize,
    },
    /// The digest in a file's name is not that of its line.
    #[error("SHA256 sum parsed from filename and manifest don't match at line {line}, refusing.")]
    DigestMismatch {
        /// Where.
        line: usize,
    },
}

#[cfg(test)]
mod tests;
