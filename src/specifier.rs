//! Specifiers: `%a`, `%w` and their like in the values of definitions.
//!
//! Owns the expansion over the facts of a [`Host`]; reads nothing itself. Which keys expand their value is said by the
//! key table of [`crate::definition`].

use crate::host::Host;

/// Why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecifierError {
    /// No specifier has this letter.
    #[error("unknown specifier '%{0}'")]
    Unknown(char),
    /// The specifier is known, its value is not.
    #[error("the value of specifier '%{0}' is not known on this host")]
    Unavailable(char),
    /// The result has more bytes than its place allows.
    #[error("the expanded text is longer than {limit} bytes")]
    TooLong {
        /// The bound, in bytes.
        limit: usize,
    },
}

/// Expands all specifiers of `text`; the result has at most `limit` bytes (compat 1 section 5).
///
/// # Errors
/// When a specifier is unknown, its value is missing, or the result is too long.
pub fn expand(text: &str, host: &Host, limit: usize) -> Result<String, SpecifierError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(position) = rest.find('%') {
        append(&mut expanded, &rest[..position], limit)?;
        let mut following = rest[position + 1..].chars();
        match following.next() {
            // compat: a single % at the end stays.
            None | Some('%') => append(&mut expanded, "%", limit)?,
            Some(letter) if letter.is_ascii_alphanumeric() => {
                append(&mut expanded, value(letter, host)?, limit)?;
            }
            // compat: % before any other character is no specifier, both are kept.
            Some(other) => {
                append(&mut expanded, "%", limit)?;
                append(&mut expanded, other.encode_utf8(&mut [0; 4]), limit)?;
            }
        }
        rest = following.as_str();
    }
    append(&mut expanded, rest, limit)?;
    Ok(expanded)
}

fn append(expanded: &mut String, text: &str, limit: usize) -> Result<(), SpecifierError> {
    if text.len() > limit.saturating_sub(expanded.len()) {
        return Err(SpecifierError::TooLong { limit });
    }
    expanded.push_str(text);
    Ok(())
}

fn value(letter: char, host: &Host) -> Result<&str, SpecifierError> {
    let found = match letter {
        'a' => host.architecture.as_deref(),
        'A' => os_release(host, "IMAGE_VERSION"),
        'B' => os_release(host, "BUILD_ID"),
        'M' => os_release(host, "IMAGE_ID"),
        'o' => os_release(host, "ID"),
        'w' => os_release(host, "VERSION_ID"),
        'W' => os_release(host, "VARIANT_ID"),
        'b' => host.boot_id.as_deref(),
        'm' => host.machine_id.as_deref(),
        'H' => Some(host.hostname.as_str()),
        'l' => host.hostname.split('.').next(),
        'q' => Some(host.pretty_hostname.as_deref().unwrap_or(&host.hostname)),
        'v' => Some(host.kernel_release.as_str()),
        'T' => Some(host.temporary.short_lived.as_str()),
        'V' => Some(host.temporary.persistent.as_str()),
        unknown => return Err(SpecifierError::Unknown(unknown)),
    };
    found.ok_or(SpecifierError::Unavailable(letter))
}

/// A field of os-release: empty when only the field is missing, `None` when the file is.
fn os_release<'a>(host: &'a Host, field: &str) -> Option<&'a str> {
    let fields = host.os_release.as_ref()?;
    Some(fields.get(field).map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn host() -> Host {
        Host {
            os_release: Some(BTreeMap::from([
                ("ID".to_owned(), "flatcar".to_owned()),
                ("VERSION_ID".to_owned(), "4".to_owned()),
            ])),
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            boot_id: Some("f".repeat(32)),
            architecture: Some("x86-64".to_owned()),
            hostname: "node.example.org".to_owned(),
            kernel_release: "6.12".to_owned(),
            ..Host::default()
        }
    }

    #[test]
    fn every_documented_specifier_expands() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("", ""),
            ("k-@v-%a.raw", "k-@v-x86-64.raw"),
            ("%o/%w", "flatcar/4"),
            ("[%A%B%M%W]", "[]"),
            ("%m", "0123456789abcdef0123456789abcdef"),
            ("%b", "ffffffffffffffffffffffffffffffff"),
            ("%H %l %q", "node.example.org node node.example.org"),
            ("%v", "6.12"),
            ("%T %V", "/tmp /var/tmp"),
            ("100%%a", "100%a"),
            ("%/ %é %", "%/ %é %"),
        ] {
            assert_eq!(
                expand(text, &host(), 255).as_deref(),
                Ok(expanded),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_unknown_or_missing_fails() {
        assert_eq!(
            expand("a%Zb", &host(), 255),
            Err(SpecifierError::Unknown('Z'))
        );
        assert_eq!(
            expand("%1", &host(), 255),
            Err(SpecifierError::Unknown('1'))
        );
        for letter in ['a', 'A', 'o', 'b', 'm'] {
            let text = format!("%{letter}");
            assert_eq!(
                expand(&text, &Host::default(), 255),
                Err(SpecifierError::Unavailable(letter))
            );
        }
    }

    #[test]
    fn the_limit_counts_bytes_of_the_result() {
        assert_eq!(expand("%%%%", &host(), 2).as_deref(), Ok("%%"));
        assert_eq!(expand("%a", &host(), 6).as_deref(), Ok("x86-64"));
        assert_eq!(
            expand("%a", &host(), 5),
            Err(SpecifierError::TooLong { limit: 5 })
        );
        assert_eq!(
            expand("%H".repeat(1 << 16).as_str(), &host(), 255),
            Err(SpecifierError::TooLong { limit: 255 })
        );
    }
}
