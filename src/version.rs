//! Version strings, their order, and semantic-version ranges over them.
//!
//! Owns what a version may consist of and which of two is newer (UAPI.10, compat 2 B4). Never reads a file name: patterns cut the text
//! out and hand it over.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A validated version string.
///
/// Order and equality are those of UAPI.10 and not of the text: `1.0` and `1.00` are one version. For that reason there is no `Hash`;
/// [`Version::as_str`] gives the spelling.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(Box<str>);

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0.into()
    }
}

impl Version {
    /// The text as it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The semantic version that this is, one leading `v` ignored; `None` for all others (`1.32`, `20240101`).
    pub fn to_semantic(&self) -> Option<semver::Version> {
        let text = self.as_str();
        semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
    }

    /// Whether the text is a version that `@v` accepts (compat 2 B4.1); the test that [`FromStr`] makes, without its allocation.
    pub fn is_valid(text: &str) -> bool {
        fits(text, is_wildcard_byte)
    }

    fn checked(text: &str, valid: bool) -> Result<Self, VersionError> {
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(VersionError {
                text: text.to_owned(),
            })
        }
    }
}

/// Parses what `@v` accepts: 1 to 255 bytes of `A-Za-z0-9._-+~^` (compat 2 B4.1).
impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::checked(text, Self::is_valid(text))
    }
}

/// Displays the text as it was spelled.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// The text is no version string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no valid version string")]
pub struct VersionError {
    /// The text as it was given.
    pub text: String,
}

fn fits(text: &str, accepts: fn(u8) -> bool) -> bool {
    (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(accepts)
}

fn is_wildcard_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'~' | b'^')
}

/// The longest version, in bytes: that of a file name's component.
const MAX_LENGTH: usize = 255;

/// Compares two texts in the order of UAPI.10; `Greater` means that `a` is newer.
///
/// Takes any text, the empty one included, in linear time. Numbers are compared as text and may have any length.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    // Each round either decides or shortens at least one side: after the separators both sides begin with `~`, `-`, `^`, `.` or an
    // alphanumeric byte, and every step below consumes it on both sides unless they differ, which decides.
    loop {
        a = skip_separators(a);
        b = skip_separators(b);
        if let Some(decided) = pre_release(b'~', &mut a, &mut b) {
            return decided;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        for mark in *b"-^." {
            if let Some(decided) = pre_release(mark, &mut a, &mut b) {
                return decided;
            }
        }
        let order = if starts_with_digit(a) || starts_with_digit(b) {
            compare_numbers(
                take_run(&mut a, u8::is_ascii_digit),
                take_run(&mut b, u8::is_ascii_digit),
            )
        } else {
            // The order of slices is the wanted one: bytewise, and a prefix is older.
            take_run(&mut a, u8::is_ascii_alphabetic).cmp(take_run(&mut b, u8::is_ascii_alphabetic))
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Decides when only one side begins with `mark` (that side is older); drops the mark when both do.
fn pre_release(mark: u8, a: &mut &[u8], b: &mut &[u8]) -> Option<Ordering> {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (Some(rest_a), Some(rest_b)) => {
            *a = rest_a;
            *b = rest_b;
            None
        }
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (None, None) => None,
    }
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    // A missing number is older than any number, `0` included, so this comes before the zeros are dropped.
    if a.is_empty() || b.is_empty() {
        return a.len().cmp(&b.len());
    }
    let (a, b) = (drop_zeros(a), drop_zeros(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let counts =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'-' | b'^' | b'.');
    &text[text.iter().position(counts).unwrap_or(text.len())..]
}

fn drop_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits
        .iter()
        .position(|&byte| byte != b'0')
        .unwrap_or(digits.len())..]
}

fn starts_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

fn take_run<'t>(text: &mut &'t [u8], belongs: fn(&u8) -> bool) -> &'t [u8] {
    let end = text
        .iter()
        .position(|byte| !belongs(byte))
        .unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

/// A semantic-version requirement, as in `~1.32` or `>=1.30, <1.33`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(semver::VersionReq);

impl VersionRange {
    /// Whether `version` is a semantic version inside the range; one leading `v` is ignored.
    ///
    /// A version that is no semantic version (`1.32`, `20240101`) lies in no range. A pre-release lies in a range only when the range
    /// names a pre-release of the same version, and build metadata (`+k3s1`) never counts: both are the semver crate's rules.
    pub fn contains(&self, version: &Version) -> bool {
        version
            .to_semantic()
            .is_some_and(|version| self.0.matches(&version))
    }
}

impl FromStr for VersionRange {
    type Err = semver::Error;

    fn from_str(text: &str) -> Result<Self, semver::Error> {
        text.parse().map(Self)
    }
}

/// Displays the requirement in its normal form.
impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// compat 2 B4.3, every cell; `''` is the empty text.
    const ORDER: &str = "
        1 < 2 | 1.0 == 1.0 | 1.0 > 1 | 1.0 < 1.0.0 | 1.9 < 1.10
        3.11 > 3.9 | 001 == 1 | 1.01 == 1.1 | 1.0 == 1.00 | 0 == 00
        0 > '' | '' == '' | '' < a | ~ < '' | ~1 < ''
        1~rc1 < 1 | 1~rc1 < 1~rc2 | 1~~ > 1~ | 1~ < 1 | 1.0~beta < 1.0
        1.0~ < 1.0-1 | 1- > 1 | 1-1 > 1 | 1-1 < 1-2 | 1-1 < 1.1
        1-1 < 1^1 | 1^1 < 1.1 | 1^1 < 1a | 1^ > 1 | 1. > 1
        1.a < 1a | 1a < 1b | 1a > 1 | 1a > 1.1 | 1.a < 1.1
        1a1 > 1a | 1a1 < 1a2 | 1A < 1a | a > A | Z < a
        rc1 < rc2 | rc < 1 | v1 < v2 | v1 < 1 | v10 > v9
        v1 > V1 | 1+1 > 1 | 1+1 > 1.1 | 1+1 < 11 | 1+1 > 1-1
        1_1 > 1.1 | 123_a == 123a | 1,2 > 1.2 | 1.0-rc1 > 1.0 | 1.0-rc1 < 1.0-1
        1.0.0-alpha > 1.0.0 | 20231231 < 20240101 | 99999999999999999999 < 100000000000000000000 | 122.1 < 123~rc1-1 | 123~rc1-1 < 123
        123 < 123-a | 123-a < 123-a.1 | 123-a.1 < 123-1 | 123-1 < 123-1.1 | 123-1.1 < 123^post1
        123^post1 < 123.a-1 | 123.a-1 < 123.1-1 | 123.1-1 < 123a-1 | 123a-1 < 124-1 | 1.. > 1.
        1..1 < 1.1 | 1.-1 > 1-1 | 1-~1 < 1-1 | 1-^1 < 1-1 | abc < abcde
        abc < abd | 6.1.0-rc1 > 6.1.0 | 6.1.0~rc1 < 6.1.0 | _1 == 1 | + == ''";

    #[test]
    fn order_is_that_of_the_verified_table() {
        let mut cells = 0;
        for cell in ORDER
            .split(['|', '\n'])
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
        {
            let words: Vec<&str> = cell
                .split(' ')
                .map(|word| if word == "''" { "" } else { word })
                .collect();
            let [a, relation, b] = words[..] else {
                panic!("bad cell '{cell}'")
            };
            let expected = match relation {
                "<" => Ordering::Less,
                "==" => Ordering::Equal,
                ">" => Ordering::Greater,
                other => panic!("bad relation '{other}'"),
            };
            assert_eq!(compare(a, b), expected, "{cell}");
            assert_eq!(compare(b, a), expected.reverse(), "{cell}, turned");
            cells += 1;
        }
        assert_eq!(cells, 80);
    }

    #[test]
    fn a_listing_is_sorted_newest_first_as_the_original_prints_it() {
        let expected = [
            "20240101", "2^1", "2-1", "2", "2~rc1", "1.10", "1.9", "1.0+x", "1.0.0", "1.0-rc1",
            "1.0", "1.0~beta", "1", "v3", "b", "a",
        ];
        let mut versions: Vec<Version> = expected.iter().map(|text| version(text)).collect();
        versions.sort();
        versions.reverse();
        let texts: Vec<&str> = versions.iter().map(Version::as_str).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn two_spellings_of_one_version_are_equal_and_keep_their_text() {
        assert_eq!(version("1.00"), version("1.0"));
        assert_eq!(version("1.00").to_string(), "1.00");
        assert_ne!(version("1.0"), version("1.0.0"));
    }

    #[test]
    fn wildcard_and_setting_accept_different_alphabets() {
        // text, accepted by @v, accepted by a setting
        let long = "1".repeat(255);
        let too_long = "1".repeat(256);
        let cases = [
            ("1.2.3", true),
            ("v1.32.2+k3s1", true),
            ("a_b-c", true),
            ("1~rc1", true),
            ("1^post", true),
            ("1,2", false),
            (".", true),
            ("..", true),
            ("...", true),
            ("-", true),
            ("+", true),
            ("^", true),
            (".1", true),
            ("1.", true),
            ("", false),
            ("1 2", false),
            ("a=b", false),
            ("a:b", false),
            ("a@b", false),
            ("a%b", false),
            ("a/b", false),
            ("é", false),
            ("1\n", false),
            ("1\0", false),
            (long.as_str(), true),
            (too_long.as_str(), false),
        ];
        for (text, by_wildcard) in cases {
            assert_eq!(
                text.parse::<Version>().is_ok(),
                by_wildcard,
                "@v and '{text}'"
            );
        }
    }

    #[test]
    fn a_refused_text_is_named_in_the_error() {
        let error = "1 2".parse::<Version>().expect_err("a blank is refused");
        assert_eq!(error.to_string(), "'1 2' is no valid version string");
    }

    #[test]
    fn a_range_holds_semantic_versions_only() {
        let cases = [
            ("~1.32", "1.32.2", true),
            ("~1.32", "v1.32.2", true),
            ("~1.32", "v1.32.2+k3s1", true),
            ("~1.32", "1.33.0", false),
            ("~1.32", "vv1.32.2", false),
            ("~1.32", "V1.32.2", false),
            ("~1.32", "1.32", false),
            ("*", "20240101", false),
            ("*", "1.2.3", true),
            (">=1.30, <1.33", "1.32.9", true),
            (">=1.30, <1.33", "1.33.0", false),
            ("~1.32", "1.32.5-rc1", false),
            ("=1.32.5-rc1", "1.32.5-rc1", true),
            ("*", "99999999999999999999.0.0", false),
        ];
        for (range, text, expected) in cases {
            let range: VersionRange = range.parse().expect("a requirement");
            assert_eq!(
                range.contains(&version(text)),
                expected,
                "{range} and {text}"
            );
        }
        assert!("newest".parse::<VersionRange>().is_err());
        assert_eq!(
            "~1.32"
                .parse::<VersionRange>()
                .expect("a requirement")
                .to_string(),
            "~1.32"
        );
    }

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn order_is_total_and_consistent_with_equality(a in "[0-2aB._~^+-]{1,8}", b in "[0-2aB._~^+-]{1,8}") {
            let (a, b) = (version(&a), version(&b));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
            prop_assert_eq!(a.partial_cmp(&b), Some(a.cmp(&b)));
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        }

        #[test]
        fn order_is_transitive(texts in prop::collection::vec("[01aB._~^-]{0,5}", 3)) {
            let mut sorted = texts;
            sorted.sort_by(|a, b| compare(a, b));
            let [a, b, c] = &sorted[..] else { unreachable!("three texts were asked for") };
            prop_assert!(compare(a, b).is_le());
            prop_assert!(compare(b, c).is_le());
            prop_assert!(compare(a, c).is_le());
            if compare(a, b).is_eq() {
                prop_assert_eq!(compare(a, c), compare(b, c));
            }
            if compare(b, c).is_eq() {
                prop_assert_eq!(compare(a, b), compare(a, c));
            }
        }

        #[test]
        fn comparison_takes_any_text(a in ".*", b in ".*") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }

        #[test]
        fn any_text_is_a_version_or_a_range_or_an_error(text in "[0-9a-z.,~^<>=* -]{0,40}|.*") {
            if let Ok(parsed) = text.parse::<Version>() {
                prop_assert_eq!(parsed.as_str(), text.as_str());
                prop_assert!(parsed.as_str().len() <= MAX_LENGTH);
                if let Ok(range) = text.parse::<VersionRange>() {
                    let _ = range.contains(&parsed);
                }
            }
            let _ = text.parse::<VersionRange>();
        }

        #[test]
        fn what_parses_is_displayed_as_it_was(text in "[A-Za-z0-9._+~^-]{1,255}") {
            prop_assert_eq!(version(&text).to_string(), text);
        }
    }
}
