//! What was seen, what is shown, and what becomes of it.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000;

/// A manifest: when it was signed, and its files as `NAME=VERSION:CONTENT`.
#[derive(Clone)]
struct Shown {
    standing: Standing,
    files: Vec<(String, Version, Sha256)>,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a date")
}

fn digest(text: &str) -> Sha256 {
    use sha2::Digest as _;
    Sha256(sha2::Sha256::digest(text).into())
}

/// `1:a 2:b` are versions 1 and 2 with these contents.
fn shown(standing: Standing, files: &str) -> Shown {
    let files = files.split_whitespace().map(|file| {
        let (version, content) = file.split_once(':').expect("VERSION:CONTENT");
        let parsed = version.parse().expect("a version");
        (format!("app_{version}.raw"), parsed, digest(content))
    });
    Shown {
        standing,
        files: files.collect(),
    }
}

impl Shown {
    fn offer(&self, now: i64) -> Offer<'_> {
        let lines = self.files.iter().map(|(name, _, sha256)| {
            format!(
                "{sha256}  {name}
"
            )
        });
        let text = lines.collect::<Vec<_>>().concat();
        Offer {
            manifest: digest(&text),
            standing: self.standing,
            files: self
                .files
                .iter()
                .map(|(name, version, sha256)| File {
                    name,
                    version,
                    sha256: *sha256,
                })
                .collect(),
            now: at(now),
        }
    }
}

fn remembered(shown: &Shown) -> Record {
    judge(None, &shown.offer(NOW), Acceptance::Never)
        .expect("there is nothing to follow")
        .record
        .expect("it is new")
}

/// What is found, the gravest first.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing, and nothing is to be written.
    Same,
    /// Nothing, and something is to be written.
    New,
    Warned(&'static str),
    /// So many files are passed over.
    PassedOver(usize),
    Refused(&'static str),
}
use Outcome::{New, PassedOver, Refused, Same, Warned};

fn word(finding: &Finding) -> &'static str {
    match finding {
        Finding::Older { .. } => "older",
        Finding::Vanished { .. } => "vanished",
        Finding::Changed { .. } => "changed",
    }
}

fn outcome(seen: &Shown, now: &Shown) -> Outcome {
    let record = remembered(seen);
    match judge(Some(&record), &now.offer(NOW + 60), Acceptance::Never) {
        Err(finding) => Refused(word(&finding)),
        Ok(Judgement {
            warnings,
            changed,
            record,
        }) => match (warnings.first(), record) {
            (Some(Finding::Changed { others, .. }), _) if !changed.is_empty() => {
                assert_eq!(changed.len(), others + 1);
                PassedOver(changed.len())
            }
            (Some(finding), Some(_)) => Warned(word(finding)),
            (None, Some(_)) => New,
            (None, None) => Same,
            (Some(finding), None) => panic!("{finding} would be told for ever"),
        },
    }
}

#[test]
fn what_follows_from_what_was_seen() {
    let signed = |seconds| Standing::Signed(Some(at(seconds)));
    let timeless = Standing::Signed(None);
    let free = Standing::Unsigned;
    let rows = [
        // Signed: nothing odd.
        (signed(5), "1:a 2:b", signed(5), "1:a 2:b", Same),
        (signed(5), "1:a 2:b", signed(6), "1:a 2:b", New),
        (signed(5), "1:a", signed(6), "1:a 2:b", New),
        (signed(5), "1:a", signed(5), "1:a 2:b", New),
        (signed(5), "1:a 2:b", signed(6), "2:b", New),
        (signed(5), "", signed(6), "1:a", New),
        (timeless, "1:a", timeless, "1:a 2:b", New),
        (timeless, "1:a", signed(5), "1:a 2:b", New),
        // The same bytes with an older signature are the same bytes.
        (signed(5), "1:a 2:b", signed(4), "1:a 2:b", Same),
        // Signed: roll-back.
        (signed(5), "1:a 2:b", signed(4), "1:a", Refused("older")),
        (
            signed(5),
            "1:a 2:b",
            signed(4),
            "1:a 2:b 3:c",
            Refused("older"),
        ),
        (
            signed(5),
            "1:a 2:b",
            timeless,
            "1:a 2:b 3:c",
            Refused("older"),
        ),
        (signed(5), "1:a 2:b", signed(6), "1:a", Refused("vanished")),
        (signed(5), "1:a 2:b", signed(6), "", Refused("vanished")),
        (signed(5), "1:a 2:b", signed(5), "1:a", Refused("vanished")),
        (timeless, "1:a 2:b", timeless, "1:a", Refused("vanished")),
        // Signed: a file was exchanged.
        (
            signed(5),
            "1:a 2:b",
            signed(6),
            "1:a 2:x",
            Warned("changed"),
        ),
        (
            signed(5),
            "1:a 2:b",
            signed(5),
            "1:a 2:x",
            Refused("changed"),
        ),
        (timeless, "1:a", timeless, "1:x", Refused("changed")),
        (timeless, "1:a", signed(5), "1:x", Refused("changed")),
        (signed(5), "1:a", signed(5), "1:a 1:x", Refused("changed")),
        // Unsigned: what is seen first is trusted.
        (free, "1:a 2:b", free, "1:a 2:b", Same),
        (free, "1:a", free, "1:a 2:b", New),
        (free, "1:a 2:b", free, "2:b", New),
        (free, "1:a 2:b", free, "1:a", Warned("vanished")),
        (free, "1:a 2:b", free, "", Warned("vanished")),
        (free, "1:a 2:b", free, "1:a 2:x", PassedOver(1)),
        (free, "1:a 2:b", free, "1:x 2:y 3:c", PassedOver(2)),
        (free, "1:a", free, "1:x 1:a", PassedOver(1)),
        (free, "1:a 1:x", free, "1:x 1:a 2:b", New),
    ];
    for (before, seen, now, offered, expected) in rows {
        let (seen_then, shown_now) = (shown(before, seen), shown(now, offered));
        assert_eq!(
            outcome(&seen_then, &shown_now),
            expected,
            "{before:?} {seen} → {now:?} {offered}"
        );
        // What was accepted once is what was seen from then on.
        let record = remembered(&seen_then);
        let accepted = judge(Some(&record), &shown_now.offer(NOW), Acceptance::Once)
            .expect("nothing is refused");
        assert_eq!(
            accepted.warnings.is_empty(),
            matches!(expected, New | Same),
            "it is told what was accepted"
        );
        let record = accepted.record.unwrap_or(record);
        let again = judge(Some(&record), &shown_now.offer(NOW), Acceptance::Never);
        let nothing = Judgement {
            warnings: Vec::new(),
            changed: Vec::new(),
            record: None,
        };
        assert_eq!(again, Ok(nothing), "{before:?} {seen} → {now:?} {offered}");
    }
}

#[test]
fn a_file_that_was_gone_does_not_come_back_changed() {
    let free = Standing::Unsigned;
    let record = remembered(&shown(free, "1:a 2:b"));
    let gone = shown(free, "1:a");
    let record = judge(Some(&record), &gone.offer(NOW), Acceptance::Never)
        .expect("a warning")
        .record
        .expect("something new");
    let back = shown(free, "1:a 2:x");
    let judgement = judge(Some(&record), &back.offer(NOW), Acceptance::Never).expect("usable");
    assert_eq!(judgement.changed.len(), 1);
}

#[test]
fn a_changed_file_of_an_unsigned_source_is_passed_over_until_it_is_accepted_or_back() {
    let free = Standing::Unsigned;
    let mut record = remembered(&shown(free, "1:a 2:b"));
    // Whatever else comes and goes, and however often it is shown.
    for files in [
        "1:a 2:x",
        "1:a 2:x",
        "1:a 2:x 3:c",
        "2:x",
        "1:a 2:x 3:c",
        "2:x 2:y",
    ] {
        let now = shown(free, files);
        let judgement = judge(Some(&record), &now.offer(NOW), Acceptance::Never).expect("usable");
        let names: BTreeSet<_> = judgement.changed.iter().map(|file| &*file.name).collect();
        assert_eq!(names, BTreeSet::from(["app_2.raw"]), "{files}");
        assert_eq!(judgement.changed[0].offered, digest("x"), "{files}");
        assert_eq!(judgement.changed[0].known, digest("b").to_string());
        record = judgement.record.unwrap_or(record);
    }
    let settle = |record: &Record, files, acceptance| {
        let now = shown(free, files);
        let judgement = judge(Some(record), &now.offer(NOW), acceptance).expect("usable");
        assert_eq!(judgement.changed, [], "{files}");
        judgement.record.expect("something new")
    };
    let accepted = settle(&record, "1:a 2:x 3:c", Acceptance::Once);
    let after = settle(&accepted, "2:x 4:d", Acceptance::Never);
    settle(&after, "2:x 3:c", Acceptance::Never);
    // The publisher has put the old bytes back.
    settle(&record, "1:a 2:b 3:c", Acceptance::Never);
}

#[test]
fn the_words_say_what_was_seen_when_and_what_is_offered() {
    let signed = |seconds| Standing::Signed(Some(at(seconds)));
    let record = remembered(&shown(signed(NOW - 9), "1:a 2:b 3:c 4:d"));
    let refusal = |standing, files| {
        let now = shown(standing, files);
        judge(Some(&record), &now.offer(NOW + 60), Acceptance::Never)
            .expect_err("it is refused")
            .to_string()
    };
    let (seen, known) = (at(NOW), at(NOW - 9));
    assert_eq!(
        refusal(signed(5), "9:x"),
        format!(
            "it was signed on 1970-01-01T00:00:05Z, but one that was signed on {known} was seen here on {seen}"
        )
    );
    assert_eq!(
        refusal(signed(NOW), "3:c"),
        format!("the newest version in it is '3', but '4' was seen here on {seen}")
    );
    assert_eq!(
        refusal(signed(NOW), ""),
        format!("it offers no version, but '4' was seen here on {seen}")
    );
    assert_eq!(
        refusal(signed(NOW - 9), "1:x 3:y 2:z 4:d"),
        format!(
            "'app_3.raw' has the checksum {}, but it had {} when it was seen here on {seen}, and so have 2 other files",
            digest("y"),
            digest("c")
        )
    );
}

#[test]
fn the_record_is_bounded_and_comes_back_from_its_text() {
    let files: Vec<String> = (0..3000).map(|version| format!("{version}:a")).collect();
    let many = shown(Standing::Unsigned, &files.join(" "));
    let record = remembered(&many);
    assert_eq!(record.files.len(), FILES_LIMIT);
    assert!(record.files.contains_key("app_2999.raw") && !record.files.contains_key("app_9.raw"));
    let text = serde_json::to_string(&record).expect("text");
    assert!(text.len() < FILES_LIMIT * 200, "{}", text.len());
    assert_eq!(
        serde_json::from_str::<Record>(&text).ok(),
        Some(record.clone())
    );
    let again = judge(Some(&record), &many.offer(NOW), Acceptance::Never);
    assert_eq!(again.expect("the same").record, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_accepted_settles(
        rounds in proptest::collection::vec((proptest::option::of(0_i64..9), proptest::collection::vec((0_u8..5, 0_u8..3), 0..5)), 1..6),
    ) {
        let mut record: Option<Record> = None;
        for (signed, files) in rounds {
            let files: Vec<String> = files.iter().map(|(version, content)| format!("{version}:{content}")).collect();
            let text = files.join(" ");
            let now = shown(Standing::Signed(signed.map(at)), &text);
            let offer = now.offer(NOW);
            let refused = judge(record.as_ref(), &offer, Acceptance::Never).is_err();
            let judgement = judge(record.as_ref(), &offer, Acceptance::Once).expect("accepted");
            prop_assert!(!refused || !judgement.warnings.is_empty());
            record = judgement.record.or(record);
            let again = judge(record.as_ref(), &offer, Acceptance::Never).expect("it was accepted");
            prop_assert_eq!(again.record, None);
        }
    }

    #[test]
    fn a_damaged_record_never_panics(newest in ".{0,9}", version in ".{0,9}", signed in any::<i64>(), seen in any::<i64>()) {
        let record = Record {
            manifest: String::new(),
            signed: Some(signed),
            seen,
            newest: Some(newest),
            files: BTreeMap::from([("app_1.raw".to_owned(), Known { version, sha256: BTreeSet::new() })]),
        };
        let now = shown(Standing::Signed(Some(at(5))), "1:a");
        if let Err(finding) = judge(Some(&record), &now.offer(NOW), Acceptance::Never) {
            let _ = finding.to_string();
        }
    }
}

#[test]
fn long_names_do_not_make_a_record_that_cannot_be_read_back() {
    let honest = shown(Standing::Unsigned, "1:a");
    let mut flood = honest.clone();
    flood.files.extend((2..1025).map(|number: u32| {
        let version = number.to_string().parse().expect("a version");
        let name = format!("{}/app_{number}.raw", "\"".repeat(4000));
        (name, version, digest("b"))
    }));
    let flooded = judge(
        Some(&remembered(&honest)),
        &flood.offer(NOW),
        Acceptance::Never,
    );
    let record = flooded.expect("a warning at most").record;
    let record = record.expect("it is new");
    let text = serde_json::to_vec_pretty(&record).expect("text");
    assert!(text.len() < BYTES_LIMIT + 4096, "{}", text.len());
    assert!(record.files.len() > 200, "{}", record.files.len());
    // What is old and fits is kept beside what is new and does not.
    assert!(record.files.contains_key("app_1.raw"));
    let again = judge(Some(&record), &flood.offer(NOW), Acceptance::Never);
    assert_eq!(again.expect("the same").record, None);
}
