//! The records of pax headers, and what they say of attributes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{ArchiveError, damaged};

/// Records by their keys, those that occur several times in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(BTreeMap<Vec<u8>, Vec<Vec<u8>>>);

impl Records {
    /// Reads `LENGTH KEY=VALUE` lines (pax(1), "pax Extended Header").
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let bad = || damaged("a record of no known form");
        let mut records = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = rest
                .iter()
                .take(20)
                .position(|byte| *byte == b' ')
                .ok_or_else(bad)?;
            let length = std::str::from_utf8(&rest[..space]).ok();
            let length: usize = length.and_then(|text| text.parse().ok()).ok_or_else(bad)?;
            let line = rest.get(space + 1..length).ok_or_else(bad)?;
            let line = line.strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = line.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            let (key, value) = (line[..equals].to_vec(), line[equals + 1..].to_vec());
            records.0.entry(key).or_default().push(value);
            rest = &rest[length..];
        }
        Ok(records)
    }

    pub(super) fn insert(&mut self, key: &str, value: Vec<u8>) {
        self.0.insert(key.as_bytes().to_vec(), vec![value]);
    }

    /// Takes what another header says; its word is the last.
    ///
    /// # Errors
    /// When it is more than `limit` bytes then: there may be any number of headers.
    pub(super) fn extend(&mut self, other: Self, limit: usize) -> Result<(), ArchiveError> {
        self.0.extend(other.0);
        let size = |(key, values): (&Vec<u8>, &Vec<Vec<u8>>)| {
            key.len()
                + values
                    .iter()
                    .map(|value| value.len() + RECORD)
                    .sum::<usize>()
        };
        if self.0.iter().map(size).sum::<usize>() > limit {
            return Err(damaged(format!("records of more than {limit} bytes")));
        }
        Ok(())
    }

    pub(super) fn overridden_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        // An empty value takes the general one back.
        self.0.retain(|key, values| {
            key.starts_with(XATTR) || values.last().is_some_and(|value| !value.is_empty())
        });
        self
    }

    /// The last value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key.as_bytes())?.last().map(Vec::as_slice)
    }

    /// All values of a key.
    pub(super) fn all(&self, key: &str) -> &[Vec<u8>] {
        self.0.get(key.as_bytes()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, ArchiveError> {
        self.get(key).map(|value| number(value, key)).transpose()
    }

    /// A time: seconds and nanoseconds since the epoch.
    pub(super) fn time(&self, key: &str) -> Result<Option<(i64, u32)>, ArchiveError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let bad = || damaged(format!("a bad {key}"));
        let text = std::str::from_utf8(value).map_err(|_| bad())?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = whole.parse().map_err(|_| bad())?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let nanoseconds: u32 = digits.parse().map_err(|_| bad())?;
        Ok(Some(match (whole.starts_with('-'), nanoseconds) {
            // Before the epoch the fraction counts downwards.
            (true, 1..) => (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds),
            _ => (seconds, nanoseconds),
        }))
    }

    /// Extended attributes and access control lists.
    pub(super) fn attributes(&self) -> Result<Vec<(OsString, Vec<u8>)>, ArchiveError> {
        let mut found: Vec<(OsString, Vec<u8>)> = Vec::new();
        for (key, values) in &self.0 {
            let value = values.last().cloned().unwrap_or_default();
            if let Some(name) = key.strip_prefix(XATTR) {
                found.push((OsString::from_vec(name.to_vec()), value));
            } else if let Some(name) = key.strip_prefix(LIBARCHIVE) {
                let decoded = STANDARD
                    .decode(&value)
                    .or_else(|_| STANDARD_NO_PAD.decode(&value));
                let decoded = decoded.map_err(|_| damaged("an attribute is not in base64"))?;
                found.push((OsString::from_vec(unquoted(name)), decoded));
            }
        }
        for (key, name) in LISTS {
            let is_given = found.iter().any(|(known, _)| known == name);
            if let Some(text) = self.get(key).filter(|_| !is_given) {
                let text = std::str::from_utf8(text).ok();
                let list = text.and_then(access_list);
                let list =
                    list.ok_or_else(|| damaged("an access control list of no known form"))?;
                found.push((OsString::from(name), list));
            }
        }
        // What could end a name early is none.
        found.retain(|(name, _)| !name.is_empty() && !name.as_encoded_bytes().contains(&0));
        Ok(found)
    }
}

/// What a record takes at least, in bytes.
const RECORD: usize = size_of::<Vec<u8>>();
const XATTR: &[u8] = b"SCHILY.xattr.";
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";
const LISTS: [(&str, &str); 2] = [
    ("SCHILY.acl.access", "system.posix_acl_access"),
    ("SCHILY.acl.default", "system.posix_acl_default"),
];

pub(super) fn number(value: &[u8], what: &str) -> Result<u64, ArchiveError> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged(format!("a bad {what}")))
}

/// A name with `%XX` for what is no letter.
fn unquoted(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let (b'%', Some(byte)) = (first, byte) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// The text of an access control list (acl(5), "ACL TEXT FORMS") as the kernel takes it (`linux/posix_acl_xattr.h`). Names
/// of users must come with their numbers, or be numbers: those of another system mean nothing here.
fn access_list(text: &str) -> Option<Vec<u8>> {
    const VERSION: u32 = 2;
    const NOBODY: u32 = u32::MAX;
    let mut entries: Vec<(u16, u16, u32)> = Vec::new();
    for entry in text.split([',', '\n']).map(str::trim) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let fields: Vec<&str> = entry.split(':').collect();
        let (kind, name) = (*fields.first()?, *fields.get(1)?);
        let number = || {
            fields
                .get(3)
                .copied()
                .unwrap_or(name)
                .trim()
                .parse::<u32>()
                .ok()
        };
        let (tag, id) = match (kind, name) {
            ("user" | "u", "") => (0x01, NOBODY),
            ("user" | "u", _) => (0x02, number()?),
            ("group" | "g", "") => (0x04, NOBODY),
            ("group" | "g", _) => (0x08, number()?),
            ("mask" | "m", _) => (0x10, NOBODY),
            ("other" | "o", _) => (0x20, NOBODY),
            _ => return None,
        };
        let mut bits = 0;
        for letter in fields.get(2)?.trim().chars() {
            bits |= match letter {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            };
        }
        entries.push((tag, bits, id));
    }
    // The kernel wants them in this order.
    entries.sort_unstable_by_key(|(tag, _, id)| (*tag, *id));
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    Some(bytes)
}
