//! What a key's handler says of a value, and the two ways to say it to people.
//!
//! systemd's form warns in systemd's words and goes on (`lenient`); the native form and our own keys refuse (`strict`).

use std::error::Error;

use super::value::Errno;
use crate::pattern::PatternError;

/// Why a value was not taken as it stands.
#[derive(Debug)]
pub(super) enum Fault {
    /// It does not have the key's syntax.
    Unparsable(Errno),
    /// It has a form of its own, which systemd calls by a noun instead of the key.
    Unrecognised(&'static str),
    /// It is not valid for the noun (`string`, `URL`); the text that systemd shows.
    Invalid(&'static str, String),
    /// It is a path that is not normalized; the expanded text.
    NotNormalized(String),
    /// Its specifiers cannot be expanded; the text that systemd shows, where that is not the whole value.
    Unexpandable(Option<String>),
    /// It is too small and was raised to 2.
    Raised(u64),
    /// It is no pattern: refuses the file.
    Pattern(PatternError),
    /// The escapes of this word stand for bytes that are no UTF-8: refuses the file.
    Garbled(String),
    /// It has a fault that another library puts into words.
    Detailed(String),
    /// There are more of them than anybody needs.
    TooMany(usize),
}

impl Fault {
    /// systemd's message without `FILE:LINE: `; [`Fault::Pattern`] and the faults of our own keys are refused instead.
    pub(super) fn lenient(&self, key: &str, raw: &str) -> String {
        match self {
            Self::Unparsable(errno) => format!("Failed to parse {key}={raw}, ignoring: {errno}"),
            Self::Unrecognised(noun) => format!("Failed to parse {noun}, ignoring: {raw}"),
            Self::Invalid(noun, shown) => format!("{key}= {noun} is not valid, ignoring: {shown}"),
            Self::NotNormalized(shown) => {
                format!("{key}= path is not normalized, ignoring: {shown}")
            }
            Self::Unexpandable(rest) => {
                format!(
                    "Failed to expand specifiers in {key}=, ignoring: {}",
                    rest.as_deref().unwrap_or(raw)
                )
            }
            Self::Raised(value) => format!("{key}= value must be at least 2, bumping: {value}"),
            Self::Pattern(error) => error.to_string(),
            Self::Garbled(word) => format!("{key}= string is not valid, refusing: {word}"),
            Self::Detailed(_) | Self::TooMany(_) => self.strict(key, raw, ""),
        }
    }

    /// Our message: the value, the name it was given to, what would have been right.
    pub(super) fn strict(&self, name: &str, raw: &str, expects: &str) -> String {
        match self {
            Self::Unparsable(Errno::OutOfRange) => {
                format!("'{raw}' is out of range for '{name}', which is {expects}")
            }
            Self::Unparsable(_) | Self::Unrecognised(_) => {
                format!("'{raw}' is no valid '{name}', which is {expects}")
            }
            Self::Invalid(_, shown) | Self::NotNormalized(shown) => {
                format!("'{shown}' is no valid '{name}', which is {expects}")
            }
            Self::Unexpandable(_) => format!("cannot expand the specifiers of '{name}': '{raw}'"),
            Self::Raised(value) => format!("'{name}' must be at least 2, not {value}"),
            Self::Pattern(error) => match error.source() {
                Some(cause) => format!("'{raw}' is no valid pattern: {cause}"),
                None => error.to_string(),
            },
            Self::Garbled(word) => format!("the escapes of '{word}' stand for no UTF-8"),
            Self::Detailed(cause) => format!("'{raw}' is no valid '{name}': {cause}"),
            Self::TooMany(limit) => format!("'{name}' has more than {limit} entries"),
        }
    }
}
