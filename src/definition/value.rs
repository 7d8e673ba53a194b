//! Value syntax: text to booleans, integers, modes, ids, URLs, paths (compat 1 section 4).
//!
//! Pure; knows nothing of keys, files or messages beyond the two or three words of an errno.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// The cause that systemd prints at the end of a parse failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errno {
    /// EINVAL.
    Invalid,
    /// ERANGE.
    OutOfRange,
    /// EBADMSG: a damaged section header.
    BadMessage,
}

impl Errno {
    /// The words of strerror(3).
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid argument",
            Self::OutOfRange => "Numerical result out of range",
            Self::BadMessage => "Bad message",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

/// `1 yes y true t on` or `0 no n false f off`, in any case.
pub(crate) fn boolean(text: &str) -> Result<bool, Errno> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["1", "yes", "y", "true", "t", "on"]) {
        Ok(true)
    } else if is(&["0", "no", "n", "false", "f", "off"]) {
        Ok(false)
    } else {
        Err(Errno::Invalid)
    }
}

/// An unsigned 64-bit integer: decimal, `0x`, `0b`, `0o`, or octal by a leading `0`.
pub(super) fn integer(text: &str) -> Result<u64, Errno> {
    if let Some(magnitude) = text.strip_prefix('-') {
        return match unsigned(magnitude) {
            Ok(0) => Ok(0),
            Ok(_) => Err(Errno::OutOfRange),
            Err(errno) => Err(errno),
        };
    }
    unsigned(text.strip_prefix('+').unwrap_or(text))
}

fn unsigned(text: &str) -> Result<u64, Errno> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    number(digits, radix)
}

/// A time span (systemd.time(7)): numbers with units, `1h 30min`, seconds where there is none; not zero, no fractions.
pub(super) fn span(text: &str) -> Result<Duration, Errno> {
    let mut sum: u64 = 0;
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return Err(Errno::Invalid);
    }
    while !rest.is_empty() {
        let (count, behind) = split(rest, u8::is_ascii_digit);
        let (unit, behind) = split(behind.trim_ascii_start(), u8::is_ascii_alphabetic);
        let length = match unit {
            "" if behind.is_empty() => 1000,
            unit => UNITS
                .iter()
                .find(|(names, _)| names.contains(&unit))
                .map(|(_, length)| *length)
                .ok_or(Errno::Invalid)?,
        };
        sum = number(count, 10)?
            .checked_mul(length)
            .and_then(|length| sum.checked_add(length))
            .filter(|sum| *sum <= SPAN_LIMIT)
            .ok_or(Errno::OutOfRange)?;
        rest = behind.trim_ascii_start();
    }
    if sum == 0 {
        return Err(Errno::OutOfRange);
    }
    Ok(Duration::from_millis(sum))
}

/// The bytes in front that are of a kind, all ASCII, and the rest.
fn split(text: &str, is_of_kind: fn(&u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(is_of_kind).count())
}

/// A number of bytes: digits, and K, M, G or T for powers of 1024; not zero.
pub(super) fn size(text: &str) -> Result<u64, Errno> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((last, 'K')) => (&text[..last], 1 << 10),
        Some((last, 'M')) => (&text[..last], 1 << 20),
        Some((last, 'G')) => (&text[..last], 1 << 30),
        Some((last, 'T')) => (&text[..last], 1 << 40),
        _ => (text, 1),
    };
    number(digits, 10)?
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
        .ok_or(Errno::OutOfRange)
}

/// Digits only, no sign (which the standard library would accept).
fn number(digits: &str, radix: u32) -> Result<u64, Errno> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Errno::Invalid);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Errno::OutOfRange)
}

/// An access mode: octal digits, at most 07777.
pub(super) fn mode(text: &str) -> Result<u32, Errno> {
    match number(text, 8)? {
        mode if mode > 0o7777 => Err(Errno::OutOfRange),
        mode => u32::try_from(mode).map_err(|_| Errno::OutOfRange),
    }
}

/// Partition flags: hexadecimal, `0x` optional.
pub(super) fn flags(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    number(digits, 16).ok()
}

/// `http://` or `https://` and something behind it, all ASCII.
pub(super) fn is_web_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| is_url_of(text, scheme))
}

/// A URL to fetch from: a web URL, or (undocumented) `file:/…`.
pub(super) fn is_source_url(text: &str) -> bool {
    // compat: the documentation wants HTTP or HTTPS, the program takes file: URLs as well.
    is_web_url(text) || is_url_of(text, "file:/")
}

/// The user and the password in a URL, percent-decoded, and the URL without them; `None` when there are none.
pub(super) fn login(url: &str) -> Option<(String, String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (login, host) = rest[..end].rsplit_once('@')?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let bare = format!("{scheme}://{host}{}", &rest[end..]);
    Some((decoded(user), decoded(password), bare))
}

/// What percent-encoded text stands for; what is no such code, or no UTF-8, stands for itself.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A header of a request, `Name: value`. Those that say how the request is to be understood are the program's own.
pub(super) fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    // RFC 9110 section 5.6.2.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let is_own = OWN_HEADERS.contains(&&*lower) || lower.starts_with("if-");
    let good = !name.is_empty()
        && name.bytes().all(is_token)
        && !value.is_empty()
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (good && !is_own).then(|| (name.to_owned(), value.to_owned()))
}

/// Headers that no definition sets.
const OWN_HEADERS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn is_url_of(text: &str, scheme: &str) -> bool {
    text.strip_prefix(scheme)
        .is_some_and(|rest| !rest.is_empty() && rest.is_ascii())
}

/// Absolute, without `//`, `.` and `..`; at most 4095 bytes. One trailing slash is fine.
pub(crate) fn is_normalized_absolute(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    let parts = rest.strip_suffix('/').unwrap_or(rest);
    let normalized = rest.is_empty()
        || parts
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."));
    normalized && text.len() <= PATH_LIMIT
}

/// The path without `//`, `/./` and a trailing slash; `None` when `..` or nothing but `.` is in it.
pub(super) fn simplified(text: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::RootDir | Component::Normal(_) => path.push(component),
            Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    // A link can stand neither at the root directory nor at no place at all.
    path.file_name().is_some().then_some(path)
}

/// One component of a path: not empty, no slash, not `.` or `..`, no control characters, at most 255 bytes.
pub(super) fn is_file_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= 255
        && !text.contains('/')
        && !text.chars().any(char::is_control)
}

/// A unit name (systemd.unit(5)): a prefix, a dot and a known type.
pub(super) fn is_unit_name(text: &str) -> bool {
    let Some((prefix, kind)) = text.rsplit_once('.') else {
        return false;
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    text.len() <= 255
        && !prefix.is_empty()
        && !prefix.starts_with(['-', '@', '.'])
        && prefix.bytes().all(allowed)
        && [
            "service",
            "socket",
            "target",
            "timer",
            "mount",
            "automount",
            "path",
            "slice",
            "scope",
            "swap",
            "device",
        ]
        .contains(&kind)
}

/// Units of time and their length in milliseconds; months and years as systemd counts them.
#[rustfmt::skip]
const UNITS: &[(&[&str], u64)] = &[
    (&["ms", "msec"], 1),
    (&["s", "sec", "second", "seconds"], 1000),
    (&["m", "min", "minute", "minutes"], 60_000),
    (&["h", "hr", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
    (&["M", "month", "months"], 2_629_800_000),
    (&["y", "year", "years"], 31_557_600_000),
];

/// The longest time span in milliseconds: a thousand years, so that no sum with a date overflows.
const SPAN_LIMIT: u64 = 1000 * 31_557_600_000;

/// Longest path that the kernel takes, in bytes.
pub(super) const PATH_LIMIT: usize = 4095;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_the_twelve_words_in_any_case() {
        for word in ["1", "yes", "Y", "TRUE", "t", "On"] {
            assert_eq!(boolean(word), Ok(true), "{word}");
        }
        for word in ["0", "no", "N", "FALSE", "f", "Off"] {
            assert_eq!(boolean(word), Ok(false), "{word}");
        }
        for word in ["", "2", "maybe", "yes ", "0 # c"] {
            assert_eq!(boolean(word), Err(Errno::Invalid), "{word}");
        }
    }

    #[test]
    fn integers_know_bases_and_bounds() {
        for (text, value) in [
            ("0", Ok(0)),
            ("+7", Ok(7)),
            ("0x1F", Ok(31)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(Errno::OutOfRange)),
            ("-1", Err(Errno::OutOfRange)),
            ("-x", Err(Errno::Invalid)),
            ("", Err(Errno::Invalid)),
            ("+", Err(Errno::Invalid)),
            ("0x", Err(Errno::Invalid)),
            ("0x+1", Err(Errno::Invalid)),
            ("++1", Err(Errno::Invalid)),
            ("08", Err(Errno::Invalid)),
            ("1.5", Err(Errno::Invalid)),
            ("0é", Err(Errno::Invalid)),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn time_spans_are_sums_of_units() {
        for (text, seconds) in [
            ("30d", Ok(30 * 86_400)),
            ("1h 30min", Ok(5400)),
            ("2 weeks", Ok(1_209_600)),
            ("90", Ok(90)),
            (" 1d12h ", Ok(129_600)),
            ("1M", Ok(2_629_800)),
            ("0", Err(Errno::OutOfRange)),
            ("1001y", Err(Errno::OutOfRange)),
            ("99999999999999999999d", Err(Errno::OutOfRange)),
            ("", Err(Errno::Invalid)),
            ("d", Err(Errno::Invalid)),
            ("5 fortnights", Err(Errno::Invalid)),
            ("1.5h", Err(Errno::Invalid)),
            ("-1d", Err(Errno::Invalid)),
            ("1 2", Err(Errno::Invalid)),
            ("1é", Err(Errno::Invalid)),
        ] {
            assert_eq!(span(text), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(span("1s 50ms"), Ok(Duration::from_millis(1050)));
    }

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("1", Ok(1)),
            ("512K", Ok(512 << 10)),
            ("3M", Ok(3 << 20)),
            ("2G", Ok(2 << 30)),
            ("1T", Ok(1 << 40)),
            ("0", Err(Errno::OutOfRange)),
            ("0K", Err(Errno::OutOfRange)),
            ("99999999T", Err(Errno::OutOfRange)),
            ("", Err(Errno::Invalid)),
            ("K", Err(Errno::Invalid)),
            ("1k", Err(Errno::Invalid)),
            ("1 M", Err(Errno::Invalid)),
            ("1.5M", Err(Errno::Invalid)),
            ("1é", Err(Errno::Invalid)),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn modes_are_bare_octal() {
        for (text, value) in [
            ("0644", Ok(0o644)),
            ("7777", Ok(0o7777)),
            ("0", Ok(0)),
            ("10000", Err(Errno::OutOfRange)),
            ("77777777777777777777777777", Err(Errno::OutOfRange)),
            ("9999", Err(Errno::Invalid)),
            ("abc", Err(Errno::Invalid)),
            ("0o644", Err(Errno::Invalid)),
            ("+644", Err(Errno::Invalid)),
            ("", Err(Errno::Invalid)),
        ] {
            assert_eq!(mode(text), value, "{text}");
        }
    }

    #[test]
    fn flags_are_hexadecimal() {
        assert_eq!(flags("0x10"), Some(16));
        assert_eq!(flags("ff"), Some(255));
        assert_eq!(flags("-1"), None);
        assert_eq!(flags(""), None);
    }

    #[test]
    fn urls_need_a_scheme_and_something_behind_it() {
        for good in ["http://a", "https://a b/c"] {
            assert!(is_web_url(good), "{good}");
        }
        for bad in [
            "https://",
            "ftp://a",
            "file:/a",
            "https://é",
            "HTTP://a",
            "",
        ] {
            assert!(!is_web_url(bad), "{bad}");
        }
        assert!(
            is_source_url("file:/srv/x")
                && is_source_url("file:///srv/x")
                && !is_source_url("file:x")
        );
    }

    #[test]
    fn a_login_is_taken_out_of_a_url() {
        let table = [
            ("http://u:p@h/d", Some(("u", "p", "http://h/d"))),
            ("https://u@h:8443", Some(("u", "", "https://h:8443"))),
            (
                "http://u%40x:p%3a%2F%zz@h/@",
                Some(("u@x", "p:/%zz", "http://h/@")),
            ),
            ("http://a@b:c@h?q", Some(("a@b", "c", "http://h?q"))),
            ("http://h/a@b", None),
            ("http://h?a@b", None),
            ("file:/a@b", None),
        ];
        for (url, wanted) in table {
            let wanted = wanted.map(|(user, password, bare)| {
                (user.to_owned(), password.to_owned(), bare.to_owned())
            });
            assert_eq!(login(url), wanted, "{url}");
        }
    }

    #[test]
    fn headers_are_one_line_and_not_the_programs_own() {
        let good = header("X-Api-Key:  a b: c ");
        assert_eq!(good, Some(("X-Api-Key".to_owned(), "a b: c".to_owned())));
        for bad in [
            "X-Key",
            "X-Key:",
            ": x",
            "X Key: x",
            "X-Key: a\r\nEvil: 1",
            "X-Key: \u{e9}",
            "Host: h",
            "range: bytes=0-1",
            "If-None-Match: *",
        ] {
            assert_eq!(header(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn paths_are_normalized_or_refused() {
        for good in ["/", "/a", "/a/b/", "/a b/.hid"] {
            assert!(is_normalized_absolute(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "//",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/..",
            "/a//",
            &format!("/{}", "a".repeat(PATH_LIMIT)),
        ] {
            assert!(!is_normalized_absolute(bad), "{bad}");
        }
        for (text, path) in [
            ("/a//b/./c/", "/a/b/c"),
            ("x.raw", "x.raw"),
            ("./cur//x", "cur/x"),
        ] {
            assert_eq!(simplified(text).as_deref(), Some(Path::new(path)), "{text}");
            assert_eq!(
                simplified(text)
                    .map(|path| path.to_string_lossy().into_owned())
                    .as_deref(),
                Some(path),
                "{text}"
            );
        }
        for bad in ["", ".", "./", "..", "a/../b", "/..", "/"] {
            assert_eq!(simplified(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_units_and_files_are_judged() {
        for good in ["kubelet.service", "a@b.socket", "dev-sda\\x2d.device"] {
            assert!(is_unit_name(good), "{good}");
        }
        for bad in [
            "kubelet",
            ".service",
            "a b.service",
            "--now.service",
            "a/b.service",
            "a.conf",
            "é.service",
            "",
        ] {
            assert!(!is_unit_name(bad), "{bad}");
        }
        assert!(
            is_file_name("SHA256SUMS")
                && !is_file_name("a/b")
                && !is_file_name("..")
                && !is_file_name("a\n")
                && !is_file_name("")
        );
    }
}
