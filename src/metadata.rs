//! What a file name's wildcards, a manifest line or an inode say about an instance.
//!
//! Owns the values and their spellings in text. Never decides where a value comes from or which one wins: that is the caller's rule
//! (compat 2, B3.2).

use std::fmt;
use std::str::FromStr;

use crate::version::Version;

/// A SHA-256 digest; displayed as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of zero bytes, as the manifest's markers carry it.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// Reads exactly 64 hexadecimal digits of either case; [`FromStr`] without the error's allocation.
    pub fn from_hex(text: &str) -> Option<Self> {
        decode_hex(text.as_bytes()).map(Self)
    }
}

/// Parses exactly 64 hexadecimal digits of either case.
impl FromStr for Sha256 {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, MetadataError> {
        Self::from_hex(text).ok_or_else(|| MetadataError::Sha256 {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// A UUID; displayed as 8-4-4-4-12 lower-case digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Reads 32 hexadecimal digits of either case, plain or as 8-4-4-4-12; [`FromStr`] without the error's allocation.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != DASHED_LENGTH {
            return decode_hex(text).map(Self);
        }
        let mut digits = [0; 32];
        let mut filled = digits.iter_mut();
        for (position, &byte) in text.iter().enumerate() {
            if DASHES.contains(&position) {
                if byte != b'-' {
                    return None;
                }
            } else {
                *filled.next()? = byte;
            }
        }
        decode_hex(&digits).map(Self)
    }

    /// The 32 lower-case digits without dashes, as `@u` renders it (compat 2 B1.1).
    pub fn plain(self) -> PlainUuid {
        PlainUuid(self)
    }
}

/// Parses 32 hexadecimal digits of either case, plain or as 8-4-4-4-12.
impl FromStr for Uuid {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, MetadataError> {
        Self::from_hex(text).ok_or_else(|| MetadataError::Uuid {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = 0;
        for end in [4, 6, 8, 10, 16] {
            if start != 0 {
                f.write_str("-")?;
            }
            write_hex(f, &self.0[start..end])?;
            start = end;
        }
        Ok(())
    }
}

/// A [`Uuid`] that is displayed as 32 lower-case digits without dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlainUuid(Uuid);

impl fmt::Display for PlainUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0.0)
    }
}

/// Length of the form 8-4-4-4-12, in bytes.
const DASHED_LENGTH: usize = 36;

/// Where the dashes of 8-4-4-4-12 stand.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A text is no digest or no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The text is not 64 hexadecimal digits.
    #[error("'{text}' is no SHA-256 digest, which has 64 hexadecimal digits")]
    Sha256 {
        /// The text as it was given.
        text: String,
    },
    /// The text is neither 32 hexadecimal digits nor 8-4-4-4-12 of them.
    #[error("'{text}' is no UUID, which has 32 hexadecimal digits, plain or as 8-4-4-4-12")]
    Uuid {
        /// The text as it was given.
        text: String,
    },
}

/// The fields that wildcards can carry; all but the version may be unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The version, `@v`.
    pub version: Version,
    /// UUID for the partition, `@u`.
    pub partition_uuid: Option<Uuid>,
    /// GPT attribute bits for the partition, `@f`.
    pub partition_flags: Option<u64>,
    /// GPT no-auto flag, `@a`.
    pub no_auto: Option<bool>,
    /// GPT grow-file-system flag, `@g`.
    pub grow_file_system: Option<bool>,
    /// GPT read-only flag, or a file without write permission, `@r`.
    pub read_only: Option<bool>,
    /// Modification time in microseconds since the epoch, `@t`.
    pub mtime: Option<u64>,
    /// Access mode, `@m`; from a name only bits of 0775.
    pub mode: Option<u32>,
    /// Size in bytes, `@s`.
    pub size: Option<u64>,
    /// Boot attempts made, `@d`.
    pub tries_done: Option<u64>,
    /// Boot attempts left, `@l`.
    pub tries_left: Option<u64>,
    /// Digest of the payload as it is delivered, `@h`.
    pub sha256: Option<Sha256>,
}

impl Metadata {
    /// Knows the version and nothing else.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            partition_uuid: None,
            partition_flags: None,
            no_auto: None,
            grow_file_system: None,
            read_only: None,
            mtime: None,
            mode: None,
            size: None,
            tries_done: None,
            tries_left: None,
            sha256: None,
        }
    }
}

/// Decodes exactly `2 * N` hexadecimal digits of either case.
fn decode_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Writes two lower-case digits for each of at most 32 bytes; all at once, for lists of digests would spend most of their time here.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    let text = str::from_utf8(&text[..2 * bytes.len()]);
    f.write_str(text.expect("digits are ASCII"))
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        use sha2::Digest;
        assert_eq!(Sha256::EMPTY.0, <[u8; 32]>::from(sha2::Sha256::digest(b"")));
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits_of_either_case() {
        let lower = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(lower.parse(), Ok(Sha256::EMPTY));
        assert_eq!(lower.to_uppercase().parse(), Ok(Sha256::EMPTY));
        assert_eq!(Sha256::EMPTY.to_string(), lower);
        for text in [
            String::new(),
            lower[1..].to_owned(),
            format!("{lower}0"),
            format!("{lower}00"),
            format!("g{}", &lower[1..]),
            format!(" {}", &lower[1..]),
            format!("+{}", &lower[1..]),
            format!("é{}", &lower[2..]),
        ] {
            let expected = MetadataError::Sha256 { text: text.clone() };
            assert_eq!(text.parse::<Sha256>(), Err(expected), "'{text}'");
        }
    }

    #[test]
    fn a_uuid_is_plain_or_dashed() {
        let uuid = Uuid([
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
            0xcd, 0xef,
        ]);
        for text in [
            "0123456789abcdef0123456789abcdef",
            "0123456789ABCDEF0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef",
            "01234567-89AB-CDEF-0123-456789ABCDEF",
        ] {
            assert_eq!(text.parse(), Ok(uuid), "'{text}'");
        }
        assert_eq!(uuid.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(uuid.plain().to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!("0".repeat(32).parse(), Ok(Uuid([0; 16])));
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in [
            "",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "01234567-89ab-cdef-01234-56789abcdef",
            "0123456789ab-cdef-0123-4567-89abcdef",
            "01234567_89ab_cdef_0123_456789abcdef",
            "01234567-89ab-cdef-0123-456789abcde-",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "é1234567-89ab-cdef-0123-456789abcde",
        ] {
            let expected = MetadataError::Uuid {
                text: text.to_owned(),
            };
            assert_eq!(text.parse::<Uuid>(), Err(expected), "'{text}'");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(digest: [u8; 32], uuid: [u8; 16]) {
            let (digest, uuid) = (Sha256(digest), Uuid(uuid));
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert_eq!(uuid.to_string().parse(), Ok(uuid));
            prop_assert_eq!(uuid.plain().to_string().parse(), Ok(uuid));
        }
    }
}
