//! URLs as text: how the address of a file is built from the address of its directory.
//!
//! Owns the rules of compat B6.1 and nothing of the network: no percent-encoding, no resolving, no normalizing.

use super::FetchError;

/// The address of `name` beneath `base`: query and fragment are cut from the base, then all trailing slashes, then
/// `/` and the name (which may have slashes) are appended.
///
/// compat: nothing is percent-encoded, so that `?` and `#` in a name truncate the path on the wire (B6.1).
///
/// # Errors
/// [`FetchError::InvalidUrl`] when the result would hold a blank or a control character.
pub fn join(base: &str, name: &str) -> Result<String, FetchError> {
    let end = base.find(['?', '#']).unwrap_or(base.len());
    let base = base[..end].trim_end_matches('/');
    let url = format!("{base}/{name}");
    check(&url)?;
    Ok(url)
}

/// Whether the URL names a file of this host.
#[must_use]
pub fn is_local(url: &str) -> bool {
    scheme(url).as_deref() == Some("file")
}

/// Refuses what a URL parser would silently strip or encode.
///
/// # Errors
/// [`FetchError::InvalidUrl`] at a blank or a control character.
pub(in crate::fetch) fn check(url: &str) -> Result<(), FetchError> {
    match url.chars().find(|c| c.is_whitespace() || c.is_control()) {
        None => Ok(()),
        Some(character) => Err(invalid(
            url,
            format!("it contains the character '{}'", character.escape_debug()),
        )),
    }
}

/// The scheme in lower case, `None` when there is none (RFC 3986 section 3.1).
pub(in crate::fetch) fn scheme(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    valid.then(|| scheme.to_ascii_lowercase())
}

/// The error for `url`, safe to print.
pub(in crate::fetch) fn invalid(url: &str, reason: String) -> FetchError {
    FetchError::InvalidUrl {
        url: url.escape_debug().to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_cuts_the_base_and_appends_the_name() {
        let table = [
            ("http://h/d", "f", "http://h/d/f"),
            ("http://h/d/", "f", "http://h/d/f"),
            ("http://h/d///", "a/b/f-1", "http://h/d/a/b/f-1"),
            ("http://h", "f", "http://h/f"),
            ("http://h/d?q=/x/", "f", "http://h/d/f"),
            ("http://h/d/#frag?x", "f", "http://h/d/f"),
            ("http://h/d%20e", "f", "http://h/d%20e/f"),
            ("http://h/d", "f#1?2", "http://h/d/f#1?2"),
            ("file:///srv/", "SHA256SUMS", "file:///srv/SHA256SUMS"),
            ("http://h/d", "ü", "http://h/d/ü"),
        ];
        for (base, name, wanted) in table {
            assert_eq!(join(base, name).as_deref(), Ok(wanted), "{base} + {name}");
        }
    }

    #[test]
    fn join_refuses_blanks_and_control_characters() {
        for (base, name) in [
            ("http://h/a b", "f"),
            ("http://h", "f 1"),
            ("http://h", "f\n"),
            ("http://h\t", "f"),
            ("http://h", "\u{7f}"),
        ] {
            let error = join(base, name).expect_err("must be refused");
            assert!(
                matches!(error, FetchError::InvalidUrl { .. }),
                "{base:?} + {name:?}"
            );
            assert!(
                !error.to_string().contains(char::is_control),
                "{error:?} is not safe to print"
            );
        }
    }

    #[test]
    fn a_scheme_is_told_from_a_path() {
        assert_eq!(scheme("HTTPS://h").as_deref(), Some("https"));
        assert_eq!(scheme("file:/p").as_deref(), Some("file"));
        assert_eq!(scheme("/p:x"), None);
        assert_eq!(scheme("1http://h"), None);
        assert_eq!(scheme("p"), None);
    }
}
