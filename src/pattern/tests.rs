//! The tables of compat 2, B1 to B3 and B9, and the round trips.

use proptest::prelude::*;

use super::*;
use crate::metadata::{Sha256, Uuid};

fn pattern(text: &str) -> Pattern {
    text.parse()
        .unwrap_or_else(|error| panic!("'{text}' is a pattern: {error}"))
}

fn patterns(texts: &str) -> Patterns {
    texts.split(' ').map(pattern).collect()
}

fn metadata(version: &str) -> Metadata {
    Metadata::new(version.parse().expect("a version"))
}

/// The version by its text; equality of versions would hide a changed spelling.
fn version_in(list: &str, path: &str) -> Option<String> {
    patterns(list)
        .match_path(path)
        .metadata
        .map(|found| found.version.to_string())
}

#[test]
fn names_match_as_in_the_verified_table() {
    // compat 2 B2: pattern, name, version
    let cases = [
        ("linux-@v.erofs", "linux-1.erofs", Some("1")),
        ("linux-@v.erofs", "linux-1.erofs.caibx", None),
        ("linux-@v.erofs", "linux-1.erofs.erofs", None),
        ("linux-@v.erofs", "linux-2.erofs.x", None),
        ("linux-@v.erofs.caibx", "linux-1.erofs.caibx", Some("1")),
        ("linux-@v.erofs.caibx", "linux-1.erofs", None),
        ("a-@v-b", "a-1-b", Some("1")),
        ("a-@v-b", "a-1-2-b", Some("1-2")),
        ("a-@v-b", "a-1-b-b", None),
        ("a-@v.raw", "a-1.raw", Some("1")),
        ("a-@v.raw", "a-1.raw.raw", None),
        ("a-@v.raw", "a-1.rawx", None),
        ("a-@v.raw", "a-.raw", None),
        ("a-@v.raw", "A-1.raw", None),
        ("a-@v.raw", "a-1.ra", None),
        ("a-@v.raw", "a-1,2.raw", None),
        ("a-@v.raw", "a-é.raw", None),
        ("a-@v.raw", "", None),
        ("a_@v_@d.raw", "a_1_2.raw", Some("1")),
        ("a_@v_@d.raw", "a_1_2_3.raw", None),
        ("a_@v_@d.raw", "a_1__.raw", None),
        ("a-@v.efi", "a-1+3-0.efi", Some("1+3-0")),
        ("@v", "1", Some("1")),
        ("@v", "a", Some("a")),
        ("@v", ".hid", Some(".hid")),
        ("@v", "1~rc^2", Some("1~rc^2")),
        ("a@@@v", "a@1", Some("1")),
        ("a@@@v", "a1", None),
        ("a/b-@v", "a/b-1", Some("1")),
        ("a/b-@v", "a/c-2", None),
        ("a/b-@v", "b-3", None),
        ("a-@v/b.efi", "a-1/b.efi", Some("1")),
        ("a-@v/b.efi", "a-2/c.efi", None),
        ("a-@v/b.efi", "a-3", None),
        ("d-@v/c/i.raw", "d-3/c/i.raw", Some("3")),
        ("d-@v/c/i.raw", "d-4/c/j.raw", None),
        ("**/b-@v.raw", "b-1.raw", Some("1")),
        ("**/b-@v.raw", "s/b-2.raw", Some("2")),
        ("**/b-@v.raw", "s/t/u/b-3.raw", Some("3")),
        ("**/b-@v.raw", ".h/b-4.raw", Some("4")),
        ("**/b-@v.raw", "b-5.raw/b-6.raw", Some("6")),
        ("**/b-@v.raw", "b-1.raw/x", None),
        ("**/b-@v.raw b-@v.img", "s/b-2.img", None),
        ("é-@v-ü", "é-1-ü", Some("1")),
        ("a-@v", "a-1/", None),
        ("a-@v/", "a-1/", None),
        ("**/a-@v", "a-1/", None),
        ("/a-@v", "a-1", None),
    ];
    for (list, name, expected) in cases {
        assert_eq!(
            version_in(list, name).as_deref(),
            expected,
            "'{list}' and '{name}'"
        );
    }
}

#[test]
fn a_leading_directory_asks_to_descend() {
    let cases = [
        ("a/b-@v", "a", true),
        ("a/b-@v", "b", false),
        ("a/b-@v", "aa", false),
        ("a-@v/b.efi", "a-2", true),
        ("a-@v/b.efi", "a-,", false),
        ("a-@v/b.efi", "a-2/c.efi", false),
        ("d-@v/c/i.raw", "d-3", true),
        ("d-@v/c/i.raw", "d-3/c", true),
        ("d-@v/c/i.raw", "d-3/x", false),
        ("**/b-@v.raw", "s", false),
        ("b-@v/i.raw b-@v.raw", "b-1", true),
        ("x-@v x-@v/i", "x-2", true),
        ("x-@v/i x-@v", "x-2", true),
    ];
    for (list, name, expected) in cases {
        assert_eq!(
            patterns(list).match_path(name).descend,
            expected,
            "'{list}' and '{name}'"
        );
    }
}

#[test]
fn one_name_can_match_and_ask_to_descend() {
    for list in ["x-@v x-@v/i", "x-@v/i x-@v"] {
        let found = patterns(list).match_path("x-1");
        assert_eq!(found.metadata, Some(metadata("1")), "{list}");
        assert!(found.descend, "{list}");
        assert_eq!(version_in(list, "x-2/i").as_deref(), Some("2"), "{list}");
    }
}

#[test]
fn the_order_of_different_layouts_does_not_matter() {
    // compat 2 B2.12
    for list in [
        "b-@v/i.raw b-@v.raw",
        "b-@v/i.raw **/b-@v.raw",
        "**/b-@v.img b-@v.raw",
    ] {
        assert_eq!(version_in(list, "b-2.raw").as_deref(), Some("2"), "{list}");
    }
    assert_eq!(
        version_in("b-@v/i.raw b-@v.raw", "b-1/i.raw").as_deref(),
        Some("1")
    );
    assert_eq!(version_in("**/b-@v.img b-@v.raw", "s/b-2.raw"), None);
}

#[test]
fn the_first_pattern_that_matches_gives_the_fields() {
    // compat 2 B9.2
    let names = ["os_1+2-1.efi", "os_2+1.efi", "os_3.efi", "os_4+0-3.efi"];
    let found = |list: &str| names.map(|name| version_in(list, name).expect("a match"));
    assert_eq!(
        found("os_@v+@l-@d.efi os_@v+@l.efi os_@v.efi"),
        ["1", "2", "3", "4"]
    );
    assert_eq!(
        found("os_@v.efi os_@v+@l-@d.efi os_@v+@l.efi"),
        ["1+2-1", "2+1", "3", "4+0-3"]
    );
    let counted = patterns("os_@v+@l-@d.efi os_@v.efi")
        .match_path("os_4+0-3.efi")
        .metadata
        .expect("a match");
    assert_eq!((counted.tries_left, counted.tries_done), (Some(0), Some(3)));
}

#[test]
fn unknown_counters_have_defaults_and_other_fields_have_none() {
    use Wildcard::{
        GrowFileSystem, Mode, Mtime, NoAuto, PartitionFlags, PartitionUuid, ReadOnly, Size,
    };
    let known = metadata("1");
    assert_eq!(
        pattern("t-@v+@l-@d.efi").render(&known).as_deref(),
        Ok("t-1+3-0.efi")
    );
    let counted = Metadata {
        tries_left: Some(7),
        tries_done: Some(2),
        ..known.clone()
    };
    assert_eq!(
        pattern("t-@v+@l-@d.efi").render(&counted).as_deref(),
        Ok("t-1+7-2.efi")
    );
    for wildcard in [
        PartitionUuid,
        PartitionFlags,
        NoAuto,
        GrowFileSystem,
        ReadOnly,
        Mtime,
        Mode,
        Size,
        Wildcard::Sha256,
    ] {
        let text = format!("t-@v_{wildcard}");
        let error = pattern(&text)
            .render(&known)
            .expect_err("the field is unknown");
        assert_eq!(
            error.to_string(),
            format!(
                "Failed to format target pattern: No such device or address ('{wildcard}' of '{text}' is unknown)"
            )
        );
        assert_eq!(
            error,
            RenderError::MissingField {
                pattern: text,
                wildcard
            }
        );
    }
}

#[test]
fn a_rendered_name_is_relative_and_normalized() {
    let long = "a".repeat(254);
    let too_long = "a".repeat(255);
    let far = "a/".repeat(2047);
    let too_far = "a/".repeat(2048);
    let cases = [
        ("a-@v", "1", Ok("a-1")),
        ("os_@v.d/x.efi", "5", Ok("os_5.d/x.efi")),
        ("/a-@v", "1", Ok("a-1")),
        ("//a-@v", "1", Ok("a-1")),
        ("./a-@v", "1", Ok("a-1")),
        ("a//b-@v", "1", Ok("a/b-1")),
        ("a/./b-@v", "1", Ok("a/b-1")),
        ("**/a-@v", "1", Ok("a-1")),
        ("a@@@v", "1", Ok("a@1")),
        ("../a-@v", "1", Err("../a-1")),
        ("a/../b-@v", "1", Err("a/../b-1")),
        ("@v/a", "..", Err("../a")),
        ("@v", "..", Err("..")),
        ("@v", ".", Err(".")),
        ("a/@v", ".", Err("a/.")),
        ("a-@v/", "1", Err("a-1/")),
        ("/@v", ".", Err("/.")),
        (&format!("{long}@v"), "1", Ok(&*format!("{long}1"))),
        (&format!("{too_long}@v"), "1", Err(&*format!("{too_long}1"))),
        (
            &format!("{too_long}@v/a"),
            "1",
            Err(&*format!("{too_long}1/a")),
        ),
        (&format!("{far}@v"), "1", Ok(&*format!("{far}1"))),
        (&format!("{too_far}@v"), "1", Err(&*format!("{too_far}1"))),
    ];
    for (text, version, expected) in cases {
        let rendered = pattern(text).render(&metadata(version));
        let expected = expected.map(str::to_owned).map_err(|name| {
            let name = name.to_owned();
            RenderError::UnsuitableName { name }
        });
        assert_eq!(rendered, expected, "'{text}' and '{version}'");
    }
    let error = pattern("../@v")
        .render(&metadata("1"))
        .expect_err("leads out");
    assert_eq!(
        error.to_string(),
        "Formatted pattern is not suitable as file name, refusing: ../1"
    );
}

#[test]
fn a_list_keeps_its_order_and_drops_duplicates() {
    let mut list = patterns("b-@v a-@v b-@v");
    list.push(pattern("a-@v"));
    let texts: Vec<&str> = list.iter().map(Pattern::as_str).collect();
    assert_eq!(texts, ["b-@v", "a-@v"]);
    assert_eq!(list.first(), Some(&pattern("b-@v")));
    assert!(!list.is_recursive());
    list.clear();
    assert!(list.is_empty());
    assert_eq!(list.match_path("a-1").metadata, None);
}

#[test]
fn a_target_takes_the_patterns_of_its_source_without_the_prefix() {
    let source = patterns("**/b-@v.raw s/b-@v.raw b-@v.raw");
    assert!(source.is_recursive());
    let target = source.for_target();
    assert_eq!(target, patterns("b-@v.raw s/b-@v.raw"));
    assert!(!target.is_recursive());
    assert_eq!(target.match_path("s/b-1.raw").metadata, Some(metadata("1")));
    assert_eq!(target.match_path("t/b-1.raw").metadata, None);
}

/// A pattern whose literals never occur in a value, so that a rendered name can be read in one way only.
fn unambiguous_pattern() -> impl Strategy<Value = String> {
    let others = Wildcard::ALL[1..].to_vec();
    let separator = prop::sample::select(vec!["=", ":é", "==", "=/=", "@@", "=/b/=", " ="]);
    let wildcards = prop::sample::subsequence(others, 0..=11).prop_map(|mut chosen| {
        chosen.push(Wildcard::Version);
        chosen
    });
    wildcards
        .prop_shuffle()
        .prop_flat_map(move |wildcards| {
            let count = wildcards.len() + 1;
            (
                Just(wildcards),
                prop::collection::vec(separator.clone(), count),
            )
        })
        .prop_map(|(wildcards, separators)| {
            let mut text = "=".to_owned();
            for (wildcard, separator) in wildcards.iter().zip(&separators) {
                text.push_str(&wildcard.to_string());
                text.push_str(separator);
            }
            text
        })
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let integer = 0..u64::MAX;
    let numbers = (
        integer.clone(),
        integer.clone(),
        integer.clone(),
        integer,
        any::<u64>(),
        any::<u32>(),
    );
    (
        "[A-Za-z0-9._+~^-]{1,12}",
        any::<[bool; 3]>(),
        numbers,
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
    )
        .prop_map(
            |(version, flags, (mtime, size, done, left, partition_flags, mode), uuid, digest)| {
                Metadata {
                    partition_uuid: Some(Uuid(uuid)),
                    partition_flags: Some(partition_flags),
                    no_auto: Some(flags[0]),
                    grow_file_system: Some(flags[1]),
                    read_only: Some(flags[2]),
                    mtime: Some(mtime),
                    mode: Some(mode & 0o775),
                    size: Some(size),
                    tries_done: Some(done),
                    tries_left: Some(left),
                    sha256: Some(Sha256(digest)),
                    ..metadata(&version)
                }
            },
        )
}

/// `full` with only those fields that the pattern names.
fn named_fields(pattern: &str, full: &Metadata) -> Metadata {
    let has = |wildcard: Wildcard| pattern.replace("@@", "").contains(&wildcard.to_string());
    Metadata {
        version: full.version.clone(),
        partition_uuid: full.partition_uuid.filter(|_| has(Wildcard::PartitionUuid)),
        partition_flags: full
            .partition_flags
            .filter(|_| has(Wildcard::PartitionFlags)),
        no_auto: full.no_auto.filter(|_| has(Wildcard::NoAuto)),
        grow_file_system: full
            .grow_file_system
            .filter(|_| has(Wildcard::GrowFileSystem)),
        read_only: full.read_only.filter(|_| has(Wildcard::ReadOnly)),
        mtime: full.mtime.filter(|_| has(Wildcard::Mtime)),
        mode: full.mode.filter(|_| has(Wildcard::Mode)),
        size: full.size.filter(|_| has(Wildcard::Size)),
        tries_done: full.tries_done.filter(|_| has(Wildcard::TriesDone)),
        tries_left: full.tries_left.filter(|_| has(Wildcard::TriesLeft)),
        sha256: full.sha256.filter(|_| has(Wildcard::Sha256)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn parsing_what_is_displayed_gives_the_same_pattern(text in unambiguous_pattern()) {
        let parsed = pattern(&text);
        let again = pattern(&parsed.to_string());
        prop_assert_eq!(again.elements(), parsed.elements());
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn a_rendered_name_matches_with_the_same_fields(text in unambiguous_pattern(), full in any_metadata()) {
        let parsed = pattern(&text);
        let name = parsed.render(&full).expect("all fields are known");
        let found = Patterns::from(parsed).match_path(&name).metadata.expect("a match");
        let expected = named_fields(&text, &full);
        prop_assert_eq!(found.version.as_str(), expected.version.as_str());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn each_directory_above_a_rendered_name_asks_to_descend(text in unambiguous_pattern(), full in any_metadata()) {
        let parsed = pattern(&text);
        let name = parsed.render(&full).expect("all fields are known");
        let list = Patterns::from(parsed);
        for (end, _) in name.match_indices('/') {
            prop_assert!(list.match_path(&name[..end]).descend);
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(text in "(\\*\\*/)?([@vulhd/.=é*-]|.){0,20}", name in "[v1/.=é-]{0,20}|.*") {
        if let Ok(parsed) = text.parse::<Pattern>() {
            prop_assert_eq!(parsed.to_string(), text);
            if let Ok(rendered) = parsed.render(&metadata("1")) {
                prop_assert!(!rendered.starts_with('/') && rendered.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
            Patterns::from(parsed).match_path(&name);
        }
    }
}
