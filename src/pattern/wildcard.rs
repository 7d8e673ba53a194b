//! The wildcards: which text each one accepts, the value it stands for, and how that is written again (compat 2 B1.1).

use std::fmt::{self, Write as _};

use crate::metadata::{Metadata, Sha256, Uuid};
use crate::version::Version;

/// A field of the metadata that a pattern can name; displayed as in `@v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wildcard {
    /// `@v`
    Version,
    /// `@u`
    PartitionUuid,
    /// `@f`
    PartitionFlags,
    /// `@a`
    NoAuto,
    /// `@g`
    GrowFileSystem,
    /// `@r`
    ReadOnly,
    /// `@t`
    Mtime,
    /// `@m`
    Mode,
    /// `@s`
    Size,
    /// `@d`
    TriesDone,
    /// `@l`
    TriesLeft,
    /// `@h`
    Sha256,
}

impl Wildcard {
    /// Every wildcard.
    pub const ALL: [Self; 12] = [
        Self::Version,
        Self::PartitionUuid,
        Self::PartitionFlags,
        Self::NoAuto,
        Self::GrowFileSystem,
        Self::ReadOnly,
        Self::Mtime,
        Self::Mode,
        Self::Size,
        Self::TriesDone,
        Self::TriesLeft,
        Self::Sha256,
    ];

    /// The letter that follows the `@`.
    pub fn letter(self) -> char {
        match self {
            Self::Version => 'v',
            Self::PartitionUuid => 'u',
            Self::PartitionFlags => 'f',
            Self::NoAuto => 'a',
            Self::GrowFileSystem => 'g',
            Self::ReadOnly => 'r',
            Self::Mtime => 't',
            Self::Mode => 'm',
            Self::Size => 's',
            Self::TriesDone => 'd',
            Self::TriesLeft => 'l',
            Self::Sha256 => 'h',
        }
    }

    pub(super) fn from_letter(letter: char) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|wildcard| wildcard.letter() == letter)
    }

    /// Reads the text that this wildcard covers in a name; `None` when it does not accept it. Allocates nothing.
    pub(super) fn read(self, text: &str) -> Option<Value<'_>> {
        Some(match self {
            Self::Version => Value::Version(Version::is_valid(text).then_some(text)?),
            Self::PartitionUuid => Value::PartitionUuid(Uuid::from_hex(text)?),
            Self::PartitionFlags => Value::PartitionFlags(read_flags(text)?),
            Self::NoAuto => Value::NoAuto(read_boolean(text)?),
            Self::GrowFileSystem => Value::GrowFileSystem(read_boolean(text)?),
            Self::ReadOnly => Value::ReadOnly(read_boolean(text)?),
            // Every 64-bit count of microseconds has seconds that fit a 64-bit time_t; the largest one means "no time".
            Self::Mtime => Value::Mtime(read_integer(text)?),
            Self::Mode => Value::Mode(read_mode(text)?),
            Self::Size => Value::Size(read_integer(text)?),
            Self::TriesDone => Value::TriesDone(read_integer(text)?),
            Self::TriesLeft => Value::TriesLeft(read_integer(text)?),
            Self::Sha256 => Value::Sha256(Sha256::from_hex(text)?),
        })
    }

    /// Appends the field's value to a name; `None`, with nothing appended, when it is unknown and has no default.
    pub(super) fn write(self, metadata: &Metadata, name: &mut String) -> Option<()> {
        match self {
            Self::Version => write!(name, "{}", metadata.version),
            Self::PartitionUuid => write!(name, "{}", metadata.partition_uuid?.plain()),
            Self::PartitionFlags => write!(name, "{:x}", metadata.partition_flags?),
            Self::NoAuto => write!(name, "{}", u8::from(metadata.no_auto?)),
            Self::GrowFileSystem => write!(name, "{}", u8::from(metadata.grow_file_system?)),
            Self::ReadOnly => write!(name, "{}", u8::from(metadata.read_only?)),
            Self::Mtime => write!(name, "{}", metadata.mtime?),
            Self::Mode => write!(name, "{:03o}", metadata.mode?),
            Self::Size => write!(name, "{}", metadata.size?),
            Self::TriesDone => write!(
                name,
                "{}",
                metadata.tries_done.unwrap_or(DEFAULT_TRIES_DONE)
            ),
            Self::TriesLeft => write!(
                name,
                "{}",
                metadata.tries_left.unwrap_or(DEFAULT_TRIES_LEFT)
            ),
            Self::Sha256 => write!(name, "{}", metadata.sha256?),
        }
        .ok()
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.letter())
    }
}

/// What `@d` renders as when nothing says how many attempts were made (compat 2 B3.2).
const DEFAULT_TRIES_DONE: u64 = 0;

/// What `@l` renders as when nothing says how many attempts are left (compat 2 B3.2).
const DEFAULT_TRIES_LEFT: u64 = 3;

/// The bits of a mode that `@m` accepts: nothing is written by others, and there is no setuid, setgid or sticky bit.
const MODE_BITS: u32 = 0o775;

/// The value of one wildcard in one name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'n> {
    Version(&'n str),
    PartitionUuid(Uuid),
    PartitionFlags(u64),
    NoAuto(bool),
    GrowFileSystem(bool),
    ReadOnly(bool),
    Mtime(u64),
    Mode(u32),
    Size(u64),
    TriesDone(u64),
    TriesLeft(u64),
    Sha256(Sha256),
}

impl Value<'_> {
    /// Puts the value into its field. The version is left alone: metadata are made from it.
    pub(super) fn store(self, metadata: &mut Metadata) {
        match self {
            Self::Version(_) => {}
            Self::PartitionUuid(value) => metadata.partition_uuid = Some(value),
            Self::PartitionFlags(value) => metadata.partition_flags = Some(value),
            Self::NoAuto(value) => metadata.no_auto = Some(value),
            Self::GrowFileSystem(value) => metadata.grow_file_system = Some(value),
            Self::ReadOnly(value) => metadata.read_only = Some(value),
            Self::Mtime(value) => metadata.mtime = Some(value),
            Self::Mode(value) => metadata.mode = Some(value),
            Self::Size(value) => metadata.size = Some(value),
            Self::TriesDone(value) => metadata.tries_done = Some(value),
            Self::TriesLeft(value) => metadata.tries_left = Some(value),
            Self::Sha256(value) => metadata.sha256 = Some(value),
        }
    }
}

/// A boolean of `@a`, `@g`, `@r`, in any case.
fn read_boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(&["1", "yes", "y", "true", "t", "on"]) {
        Some(true)
    } else if is_one_of(&["0", "no", "n", "false", "f", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// Hexadecimal flags of `@f`: leading white space, one `+` and one `0x` may precede the digits.
fn read_flags(text: &str) -> Option<u64> {
    let text = skip_sign(skip_white_space(text));
    read_digits(strip_base(text, 'x').unwrap_or(text), 16)
}

/// An integer of `@t`, `@s`, `@d`, `@l`; the base follows from its prefix. The largest 64-bit number means "unset" and is refused.
fn read_integer(text: &str) -> Option<u64> {
    let text = skip_sign(skip_white_space(text));
    let value = if let Some(digits) = strip_base(text, 'x') {
        read_digits(digits, 16)
    } else if let Some(digits) = strip_base(text, 'o') {
        read_digits(digits, 8)
    } else if let Some(digits) = strip_base(text, 'b') {
        read_digits(digits, 2)
    } else if text.len() > 1 && text.starts_with('0') {
        // compat: octal, so `010` is 8 and `08` is nothing.
        read_digits(text, 8)
    } else {
        read_digits(text, 10)
    };
    value.filter(|&value| value != u64::MAX)
}

/// An access mode of `@m`: octal without a prefix or sign.
fn read_mode(text: &str) -> Option<u32> {
    let value = read_digits(skip_white_space(text), 8)?;
    u32::try_from(value)
        .ok()
        .filter(|mode| mode & !MODE_BITS == 0)
}

/// One or more digits and nothing else. The standard library's parser would accept a sign.
fn read_digits(digits: &str, base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0u64, |value, digit| {
        value
            .checked_mul(u64::from(base))?
            .checked_add(u64::from(digit.to_digit(base)?))
    })
}

fn skip_white_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

fn skip_sign(text: &str) -> &str {
    text.strip_prefix('+').unwrap_or(text)
}

/// The digits behind `0` and the letter of a base, in either case.
fn strip_base(text: &str, letter: char) -> Option<&str> {
    let rest = text.strip_prefix('0')?;
    rest.strip_prefix([letter, letter.to_ascii_uppercase()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Pattern, Patterns};

    /// What `v=1` with the wildcard's text behind it renders as, `None` when the text is refused.
    fn read_and_write(wildcard: Wildcard, text: &str) -> Option<String> {
        let pattern: Pattern = format!("v=@v,{wildcard}").parse().expect("a pattern");
        let found = Patterns::from(pattern.clone())
            .match_path(&format!("v=1,{text}"))
            .metadata?;
        let name = pattern.render(&found).expect("all fields are known");
        Some(
            name.strip_prefix("v=1,")
                .expect("as in the pattern")
                .to_owned(),
        )
    }

    #[test]
    fn integers_follow_the_base_rules() {
        let cases = [
            ("0", Some("0")),
            ("00", Some("0")),
            ("7", Some("7")),
            ("010", Some("8")),
            ("01", Some("1")),
            ("08", None),
            ("0x10", Some("16")),
            ("0XfF", Some("255")),
            ("0o17", Some("15")),
            ("0b101", Some("5")),
            ("0b2", None),
            ("0x", None),
            ("0o", None),
            ("0b", None),
            ("+5", Some("5")),
            ("  +0x5", Some("5")),
            ("+ 5", None),
            ("++5", None),
            ("0x+5", None),
            ("", None),
            ("+", None),
            ("-1", None),
            ("5 ", None),
            ("1.5", None),
            ("1_0", None),
            ("٣", None),
            ("18446744073709551614", Some("18446744073709551614")),
            ("18446744073709551615", None),
            ("0xffffffffffffffff", None),
            ("18446744073709551616", None),
            ("99999999999999999999999", None),
        ];
        for wildcard in [
            Wildcard::Mtime,
            Wildcard::Size,
            Wildcard::TriesDone,
            Wildcard::TriesLeft,
        ] {
            for (text, expected) in cases {
                assert_eq!(
                    read_and_write(wildcard, text).as_deref(),
                    expected,
                    "{wildcard} and '{text}'"
                );
            }
        }
    }

    #[test]
    fn flags_are_hexadecimal() {
        let cases = [
            ("0", Some("0")),
            ("10", Some("10")),
            ("0x10", Some("10")),
            ("0XaB", Some("ab")),
            ("+F", Some("f")),
            (" +0xF", Some("f")),
            ("0123", Some("123")),
            ("0b1", Some("b1")),
            ("ffffffffffffffff", Some("ffffffffffffffff")),
            ("10000000000000000", None),
            ("", None),
            ("0x", None),
            ("-1", None),
            ("g", None),
            ("1 ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                read_and_write(Wildcard::PartitionFlags, text).as_deref(),
                expected,
                "'{text}'"
            );
        }
    }

    #[test]
    fn modes_are_octal_bits_of_0775() {
        let cases = [
            ("644", Some("644")),
            ("0644", Some("644")),
            ("00000000644", Some("644")),
            (" 644", Some("644")),
            ("775", Some("775")),
            ("0", Some("000")),
            ("5", Some("005")),
            ("777", None),
            ("4755", None),
            ("7", None),
            ("1644", None),
            ("8", None),
            ("0o644", None),
            ("+644", None),
            ("-1", None),
            ("", None),
            ("644 ", None),
            ("40000000000000000000644", None),
            ("10000000000644", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                read_and_write(Wildcard::Mode, text).as_deref(),
                expected,
                "'{text}'"
            );
        }
    }

    #[test]
    fn booleans_have_six_spellings_each_in_any_case() {
        for wildcard in [
            Wildcard::NoAuto,
            Wildcard::GrowFileSystem,
            Wildcard::ReadOnly,
        ] {
            for text in ["1", "yes", "y", "true", "t", "on", "YES", "On"] {
                assert_eq!(
                    read_and_write(wildcard, text).as_deref(),
                    Some("1"),
                    "{wildcard} and '{text}'"
                );
            }
            for text in ["0", "no", "n", "false", "f", "off", "NO", "Off"] {
                assert_eq!(
                    read_and_write(wildcard, text).as_deref(),
                    Some("0"),
                    "{wildcard} and '{text}'"
                );
            }
            for text in ["2", "", "ye", "01", " 1"] {
                assert_eq!(
                    read_and_write(wildcard, text),
                    None,
                    "{wildcard} and '{text}'"
                );
            }
        }
    }

    #[test]
    fn digests_and_uuids_are_rendered_in_lower_case_without_dashes() {
        let plain = "0123456789abcdef0123456789abcdef";
        for text in [
            plain,
            &plain.to_uppercase(),
            "01234567-89AB-cdef-0123-456789abcdef",
        ] {
            assert_eq!(
                read_and_write(Wildcard::PartitionUuid, text).as_deref(),
                Some(plain),
                "'{text}'"
            );
        }
        assert_eq!(read_and_write(Wildcard::PartitionUuid, "{0123}"), None);
        let digest = Sha256::EMPTY.to_string();
        assert_eq!(
            read_and_write(Wildcard::Sha256, &digest.to_uppercase()),
            Some(digest.clone())
        );
        assert_eq!(read_and_write(Wildcard::Sha256, &digest[1..]), None);
    }
}
