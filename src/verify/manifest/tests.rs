//! Every row of compat 2 B6.2 and B6.3 and its details, and hostile bytes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";

fn manifest(text: &str) -> Manifest {
    Manifest::parse(text.into()).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(bytes: impl Into<Vec<u8>>) -> ManifestError {
    Manifest::parse(bytes.into()).expect_err("the manifest is to be refused")
}

/// One valid line.
fn line(name: &str) -> String {
    format!("{OTHER}  {name}\n")
}

#[test]
fn no_bytes_are_a_manifest_without_entries() {
    assert_eq!(manifest("").entries().count(), 0);
}

#[test]
fn entries_carry_digest_name_and_line() {
    let upper = EMPTY.to_uppercase();
    let read = manifest(&format!("{OTHER}  a-1.raw\n{upper} *s/b-2.raw\n"));
    let digest: Sha256 = OTHER.parse().expect("a digest");
    let expected = [
        Entry {
            sha256: digest,
            name: "a-1.raw",
            line: 1,
        },
        Entry {
            sha256: Sha256::EMPTY,
            name: "s/b-2.raw",
            line: 2,
        },
    ];
    assert_eq!(read.entries().collect::<Vec<_>>(), expected);
}

#[test]
fn unusual_names_are_allowed() {
    let component = "c".repeat(255);
    let path = format!("{}d", "c/".repeat(2047));
    for name in [
        " a",
        "a b",
        "a?b",
        "a#b",
        "é\u{9b}",
        ".a",
        "...",
        "a/",
        "a/f-1",
        "a\\b",
        "*a",
        &component,
        &path,
        "a\u{2028}",
    ] {
        let read = manifest(&line(name));
        assert_eq!(
            read.entries().map(|entry| entry.name).collect::<Vec<_>>(),
            [name]
        );
    }
}

#[test]
fn duplicates_are_kept_in_order() {
    let read = manifest(&format!("{}{EMPTY}  a\n", line("a")));
    assert_eq!(
        read.entries().map(|entry| entry.line).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn the_whole_file_is_checked_first() {
    assert_eq!(
        refusal(*b"\\\xff\0").to_string(),
        "Manifest file has embedded NUL byte, refusing."
    );
    assert_eq!(
        refusal(*b"\\\xff").to_string(),
        "Manifest file is not valid UTF-8, refusing."
    );
    assert_eq!(
        refusal(vec![0; SIZE_LIMIT]),
        ManifestError::TooLarge { bytes: SIZE_LIMIT }
    );
    assert_eq!(refusal(vec![0; SIZE_LIMIT - 1]), ManifestError::NulByte);
    assert_eq!(
        ManifestError::TooLarge { bytes: SIZE_LIMIT }.to_string(),
        "Failed to read manifest file from child: Argument list too long \
         (67108864 bytes, but a manifest must stay below 67108864)"
    );
}

/// Asserts that each of the bad lines is refused with this message, as the second line and as the first.
fn assert_refused(message: &str, bad_lines: &[&str]) {
    for bad in bad_lines {
        for (before, number) in [(line("good"), "2"), (String::new(), "1")] {
            let error = refusal(format!("{before}{bad}"));
            assert_eq!(error.to_string(), message.replace('%', number), "{bad:?}");
        }
    }
}

#[test]
fn a_rest_shorter_than_a_line_is_corrupt_whatever_it_is() {
    let short = ["", "  ", "\n"].map(|end| format!("{OTHER}{end}"));
    assert_refused(
        "Corrupt manifest at line %, refusing.",
        &short.each_ref().map(String::as_str),
    );
    let bytes = [
        "\n",
        "\\",
        &"x".repeat(66),
        &format!("\\{}", "x".repeat(65)),
    ];
    assert_refused("Corrupt manifest at line %, refusing.", &bytes);
}

#[test]
fn escapes_are_refused_before_the_digest_is_looked_at() {
    assert_refused(
        "File names with escapes not supported in manifest at line %, refusing.",
        &[&format!("\\{OTHER}  a\n"), &format!("\\{}", "x".repeat(66))],
    );
}

#[test]
fn a_digest_has_64_hexadecimal_digits() {
    let (d62, d63) = (&OTHER[2..], &OTHER[1..]);
    assert_refused(
        "Failed to parse digest at manifest line %, refusing.",
        &[
            &format!("g{d63}  a\n"),
            &format!("{d63}   a\n"),
            &format!(" {d63}  a\n"),
            &format!("\n{OTHER}  a\n"),
            &format!("\n\n{OTHER}  a\n"),
            &format!("# a comment\n{OTHER}  a\n"),
            &format!("SHA256 (f) = {OTHER}\n"),
            &format!("\u{feff}{OTHER}  a\n"),
            &format!("{d63}é  a\n"),
            &format!("{d62}\r\n  a\n"),
        ],
    );
    assert_refused(
        "Manifest hash at line % decoded to 31 bytes, refusing.",
        &[
            &format!("{d62}\t\t  a\n"),
            &format!("{d62}    a\n"),
            &format!("0 \t{}  a\n", &OTHER[3..]),
            &format!("{d62}\n\n  a\n"),
        ],
    );
    assert_refused(
        "Manifest hash at line % decoded to 1 bytes, refusing.",
        &[&format!("00{}  a\n", " ".repeat(62))],
    );
}

#[test]
fn two_bytes_separate_the_digest_from_the_name() {
    assert_refused(
        "Missing space separator at manifest line %, refusing.",
        &["\t\ta\n", "0  a\n", "\n\n\n", "é a\n"]
            .map(|rest| format!("{OTHER}{rest}"))
            .each_ref()
            .map(String::as_str),
    );
    assert_refused(
        "Missing binary/text input marker at manifest line %, refusing.",
        &[" a\n", " \ta\n", " é\n"]
            .map(|rest| format!("{OTHER}{rest}"))
            .each_ref()
            .map(String::as_str),
    );
}

#[test]
fn a_line_has_an_end_and_a_name() {
    assert_refused(
        "Truncated manifest file at line %, refusing.",
        &["  a", "  %", " *a\r"]
            .map(|rest| format!("{OTHER}{rest}"))
            .each_ref()
            .map(String::as_str),
    );
    assert_refused(
        "Empty filename specified at manifest line %, refusing.",
        &["  \n", " *\n"]
            .map(|rest| format!("{OTHER}{rest}"))
            .each_ref()
            .map(String::as_str),
    );
}

#[test]
fn a_name_is_a_normalized_relative_path_without_control_characters() {
    let component = "c".repeat(256);
    let below = format!("a/{component}/b");
    let path = format!("{}dd", "c/".repeat(2047));
    for name in [
        "a%20b", "/a", "/", ".", "..", "./a", "a/.", "a/./b", "a/../b", "../", "a//b", "a//",
        &component, &below, &path, "%\r",
    ] {
        assert_refused(
            "Invalid filename specified at manifest line %, refusing.",
            &[&line(name)],
        );
    }
    for name in ["a\r", "a\tb", "a\x7f", "a\x1b[2J", "\x01"] {
        assert_refused(
            "Filename contains control characters at manifest line %, refusing.",
            &[&line(name)],
        );
    }
}

#[test]
fn a_digest_in_the_name_must_be_that_of_the_line() {
    let read = manifest(&line("a"));
    let entry = read.entries().next().expect("one entry");
    assert_eq!(entry.confirm(None), Ok(()));
    assert_eq!(entry.confirm(Some(entry.sha256)), Ok(()));
    let error = entry
        .confirm(Some(Sha256::EMPTY))
        .expect_err("another digest");
    assert_eq!(
        error.to_string(),
        "SHA256 sum parsed from filename and manifest don't match at line 1, refusing."
    );
}

/// The texts of all findings on the morning of 2026-11-23, UTC.
fn findings(text: &str) -> Vec<String> {
    let now: Timestamp = "2026-11-23T07:36:57Z".parse().expect("a time");
    manifest(text)
        .freshness(now, &TimeZone::UTC)
        .map(|finding| finding.to_string())
        .collect()
}

/// The line of a marker as publishers write it.
fn marker(name: &str) -> String {
    format!("{EMPTY} *{name}\n")
}

const CHECKS_OUT: &str = "Found best before marker, and it checks out, proceeding.";

#[test]
fn a_marker_is_past_once_its_day_has_begun() {
    let cases = [
        ("2026-11-24", None),
        ("2030-1-1", None),
        ("9999-12-31", None),
        ("2026-11-23", Some("Mon 2026-11-23 00:00:00 UTC")),
        ("2020-01-01", Some("Wed 2020-01-01 00:00:00 UTC")),
        ("2020-1-1", Some("Wed 2020-01-01 00:00:00 UTC")),
        ("2024-02-29", Some("Thu 2024-02-29 00:00:00 UTC")),
    ];
    for (date, past) in cases {
        let expected = past.map_or_else(
            || CHECKS_OUT.to_owned(),
            |time| {
                format!(
                    "Best before marker indicates out-of-date file list, refusing ({time} < Mon 2026-11-23 07:36:57 UTC)."
                )
            },
        );
        assert_eq!(
            findings(&marker(&format!("BEST-BEFORE-{date}"))),
            [expected],
            "{date}"
        );
    }
}

#[test]
fn midnight_itself_is_not_past() {
    let read = manifest(&marker("BEST-BEFORE-2026-11-23"));
    let midnight: Timestamp = "2026-11-23T00:00:00Z".parse().expect("a time");
    let found = |now| read.freshness(now, &TimeZone::UTC).next();
    assert_eq!(found(midnight), Some(Finding::ChecksOut));
    let later = Timestamp::from_nanosecond(midnight.as_nanosecond() + 1).expect("a time");
    assert!(matches!(found(later), Some(Finding::Past(past)) if past.best_before() == midnight));
}

#[test]
fn the_day_begins_in_utc_and_is_shown_in_the_local_zone() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("the zone of Berlin");
    let read = manifest(&marker("BEST-BEFORE-2026-11-23"));
    let found = |now: &str| read.freshness(now.parse().expect("a time"), &zone).next();
    // Midnight has passed in Berlin, but not in UTC.
    assert_eq!(found("2026-11-22T23:30:00Z"), Some(Finding::ChecksOut));
    let Some(Finding::Past(past)) = found("2026-11-23T07:36:57Z") else {
        panic!("the marker is past")
    };
    assert_eq!(
        past.to_string(),
        "Best before marker indicates out-of-date file list, refusing \
         (Mon 2026-11-23 01:00:00 CET < Mon 2026-11-23 08:36:57 CET)."
    );
    assert_eq!(
        past.ignored().to_string(),
        "Best before marker indicates out-of-date file list, but told to ignore this, hence ignoring \
         (Mon 2026-11-23 01:00:00 CET < Mon 2026-11-23 08:36:57 CET)."
    );
}

#[test]
fn a_marker_without_a_date_is_an_entry() {
    for date in [
        "",
        "20200101",
        "2020-13-41",
        "2020-00-01",
        "2020-01-00",
        "2023-02-29",
        "2020-01",
        "2020-01-01-01",
        "2020-01-01T00:00",
        "2020-01-01 00:00",
        "20-01-01",
        "02020-01-01",
        "2020-001-01",
        "2020-+1-01",
        "-2020-01-01",
        "2020-01-0é",
        "soon",
    ] {
        let name = format!("BEST-BEFORE-{date}");
        let text = marker(&name);
        let expected = format!("Found best before marker with an invalid date, ignoring: {name}");
        assert_eq!(findings(&text), [expected]);
        assert_eq!(
            manifest(&text)
                .entries()
                .map(|entry| entry.name)
                .collect::<Vec<_>>(),
            [name]
        );
    }
}

#[test]
fn a_valid_marker_is_no_entry_but_counts_as_a_line() {
    let text = format!(
        "{}{}{}",
        line("a"),
        marker("BEST-BEFORE-2020-01-01"),
        line("b")
    );
    let lines: Vec<(&str, usize)> = Vec::from([("a", 1), ("b", 3)]);
    assert_eq!(
        manifest(&text)
            .entries()
            .map(|entry| (entry.name, entry.line))
            .collect::<Vec<_>>(),
        lines
    );
}

#[test]
fn other_names_are_no_markers() {
    for name in [
        "best-before-2020-01-01",
        "BEST-BEFORE",
        "XBEST-BEFORE-2020-01-01",
        "BEST-BEFORE-2020-01-01/",
        "BEST-BEFORE-2020-01-01/a",
    ] {
        assert_eq!(findings(&marker(name)), [""; 0], "{name}");
        assert_eq!(manifest(&marker(name)).entries().count(), 1, "{name}");
    }
}

#[test]
fn findings_come_in_line_order_with_the_warning_before_the_verdict() {
    let text = [
        line("BEST-BEFORE-2030-01-01"),
        marker("a/BEST-BEFORE-2020-01-01"),
        line("a-1"),
        marker("BEST-BEFORE-2020-01-01"),
        line("BEST-BEFORE-x"),
        marker("BEST-BEFORE-2031-01-01"),
    ]
    .concat();
    assert_eq!(
        findings(&text),
        [
            "Hash of best before marker file 'BEST-BEFORE-2030-01-01' has unexpected value, proceeding anyway.",
            CHECKS_OUT,
            "Ignoring best-before marker 'a/BEST-BEFORE-2020-01-01' in subdirectory at manifest line 2.",
            "Best before marker indicates out-of-date file list, refusing \
             (Wed 2020-01-01 00:00:00 UTC < Mon 2026-11-23 07:36:57 UTC).",
            "Hash of best before marker file 'BEST-BEFORE-x' has unexpected value, proceeding anyway.",
            "Found best before marker with an invalid date, ignoring: BEST-BEFORE-x",
            CHECKS_OUT,
        ]
    );
    let names: Vec<String> = manifest(&text)
        .entries()
        .map(|entry| entry.name.to_owned())
        .collect();
    assert_eq!(names, ["a/BEST-BEFORE-2020-01-01", "a-1", "BEST-BEFORE-x"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_a_manifest_or_an_error(bytes: Vec<u8>) {
        if let Ok(read) = Manifest::parse(bytes) {
            read.entries().count();
        }
    }

    #[test]
    fn a_damaged_manifest_is_read_or_refused(
        names in prop::collection::vec("(BEST-BEFORE-)?[0-9a/é%.-]{0,12}", 0..4),
        place: prop::sample::Index,
        damage in prop::collection::vec(prop::sample::select(b" *\\\t\r\n\0a0\xc3\xa9/%".to_vec()), 0..4),
        removed in 0usize..4,
    ) {
        let mut bytes = names.iter().map(|name| line(name)).collect::<String>().into_bytes();
        let start = place.index(bytes.len() + 1);
        let end = bytes.len().min(start + removed);
        bytes.splice(start..end, damage);
        if let Ok(read) = Manifest::parse(bytes.clone()) {
            // Whatever is accepted is its lines and nothing else: each is found again under its number.
            prop_assert_eq!(read.text.as_bytes(), &bytes[..]);
            for (text, entry) in read.text.split_inclusive('\n').zip(read.lines()) {
                prop_assert_eq!(&text[NAME_START..], format!("{}\n", entry.name));
            }
            prop_assert_eq!(read.lines().count(), read.text.split_inclusive('\n').count());
            prop_assert!(read.lines().all(|entry| is_valid_name(entry.name)));
            read.freshness(Timestamp::UNIX_EPOCH, &TimeZone::UTC).for_each(|finding| drop(finding.to_string()));
        }
    }

    #[test]
    fn well_formed_lines_come_back_as_they_were(
        lines in prop::collection::vec((any::<[u8; 32]>(), "[a-z0-9][a-z0-9é .-]{0,20}(/[a-z0-9]{1,5}){0,2}"), 0..20),
    ) {
        let written: Vec<String> = lines.iter().map(|(digest, name)| format!("{}  {name}\n", Sha256(*digest))).collect();
        let read = manifest(&written.concat());
        let expected: Vec<Entry<'_>> = lines
            .iter()
            .zip(1..)
            .map(|((digest, name), line)| Entry { sha256: Sha256(*digest), name, line })
            .collect();
        prop_assert_eq!(read.entries().collect::<Vec<_>>(), expected);
    }
}
