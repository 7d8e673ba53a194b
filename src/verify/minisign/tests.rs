//! Keys and signatures of the real tool (0.11), and others made for the test.

use proptest::prelude::*;

use super::*;

#[path = "../../../tests/suite/minisigner.rs"]
mod minisigner;

use minisigner::Pair;

const DATA: &[u8] = b"manifest\n";

/// `minisign -G -W`, `minisign -S -t …`.
const REAL_KEY: &str = "untrusted comment: minisign public key 6FA696B58F7DFE8E
RWSO/n2PtZamb08d8Z1HNgVe+cfaMyxAr/0uWGCyNKJl5FgVC/HvtqiR
";
const REAL_SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUSO/n2PtZamb+249tBYXRUgk469yECXWM+UkOt1iHLgay4TVcKDCHFl6/QHFpL19LmOmmcdO5ojjSYDn81clSmhHD9JxdskIQ0=
trusted comment: timestamp:1700000000\tfile:m\thashed
7LQJ5vUpLAIo3eK2rFKGIdnb2SuTD7PQ3neRfvdpL+UUDfw33/cZpajtHS98rknpVTHgcxKgkbN/QvDIFdr+BA==
";
/// `minisign -S -l`: without pre-hashing.
const LEGACY_KEY: &str = "untrusted comment: minisign public key 21AB4A8C0845FA8F
RWSP+kUIjEqrIfAGiV0DwdU+OXGg2GYAMD2mddiD87iH/a8+A4xnOfD5
";
const LEGACY_SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RWSP+kUIjEqrIeJSQU4EtmMh8D/XPVwfAfuOtFgSfYCuu8jnmnQbmhdzGG99ze5vlox3PDnAJv7Cv3yXFlRC5wIx9Tb+Y6d4jgc=
trusted comment: timestamp:1795576665\tfile:m
jsVDtjjKhGsGF1tssZ0p+Yxx2kX25mr9I1rt4mPzIee9bnfMLUpMc4SWVAZNUQHLzXSS/R9/fG+E+12GkcGaAw==
";
const SECRET_KEY: &str = "untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
";

const MADE: i64 = 1_790_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a date")
}

fn now() -> Timestamp {
    at(1_800_000_000)
}

fn ring(pairs: &[&Pair]) -> PublicKeys {
    let text: String = pairs.iter().map(|pair| pair.public()).collect();
    PublicKeys::parse(text.as_bytes()).expect("keys")
}

fn verdict(file: &str, keys: &PublicKeys, threshold: usize) -> Result<Vec<Signer>, MinisignError> {
    verify(DATA, file.as_bytes(), keys, threshold, now())
}

#[test]
fn what_the_real_tool_signs_is_good() {
    for (key, signature, id, time) in [
        (REAL_KEY, REAL_SIGNATURE, "6FA696B58F7DFE8E", 1_700_000_000),
        (
            LEGACY_KEY,
            LEGACY_SIGNATURE,
            "21AB4A8C0845FA8F",
            1_795_576_665,
        ),
    ] {
        let keys = PublicKeys::parse(key.as_bytes()).expect("a key");
        let signers = verdict(signature, &keys, 1).expect("good");
        assert_eq!(signers.len(), 1);
        assert_eq!(signers[0].key.to_string(), id);
        assert_eq!(signers[0].created, Some(at(time)));
        let other = verify(b"manifest", signature.as_bytes(), &keys, 1, now());
        assert_eq!(
            other,
            Err(MinisignError::Bad {
                key: signers[0].key
            })
        );
    }
}

#[test]
fn the_signer_of_the_tests_signs_as_the_real_tool() {
    let pair = Pair::new(1);
    for signature in [pair.sign(DATA, MADE), pair.sign_legacy(DATA, MADE)] {
        let signers = verdict(&signature, &ring(&[&pair]), 1).expect("good");
        assert_eq!(signers[0].created, Some(at(MADE)));
    }
}

#[test]
fn every_changed_part_makes_a_signature_bad() {
    let pair = Pair::new(1);
    let good = pair.sign(DATA, MADE);
    let keys = ring(&[&pair]);
    let lines: Vec<&str> = good.lines().collect();
    let swap = |index: usize, with: &str| {
        let mut lines = lines.clone();
        lines[index] = with;
        lines.join("\n")
    };
    let other = pair.sign(b"other", MADE);
    let other: Vec<&str> = other.lines().collect();
    let later = pair.sign(DATA, MADE + 1);
    let later: Vec<&str> = later.lines().collect();
    for (what, file) in [
        ("the signature is over other bytes", swap(1, other[1])),
        ("the trusted comment is changed", swap(2, later[2])),
        (
            "the second signature is of another comment",
            swap(3, later[3]),
        ),
    ] {
        assert!(
            matches!(verdict(&file, &keys, 1), Err(MinisignError::Bad { .. })),
            "{what}"
        );
    }
    // The first line is called untrusted, and is.
    verdict(&swap(0, "untrusted comment: anything"), &keys, 1).expect("good");
}

#[test]
fn a_key_id_alone_makes_no_signature_good() {
    // The same id, another key: what an attacker who has seen the id can make.
    let trusted = Pair::new(1);
    let mut forged = Pair::new(2).sign(DATA, MADE);
    let lines: Vec<&str> = forged.lines().collect();
    let mut bytes = STANDARD.decode(lines[1]).expect("base64");
    bytes[2..10].copy_from_slice(&[1; 8]);
    let line = STANDARD.encode(bytes);
    forged = [lines[0], &line, lines[2], lines[3]].join("\n");
    assert!(matches!(
        verdict(&forged, &ring(&[&trusted]), 1),
        Err(MinisignError::Bad { .. })
    ));
}

#[test]
fn so_many_distinct_keys_must_have_signed() {
    let (a, b, c) = (Pair::new(1), Pair::new(2), Pair::new(3));
    let keys = ring(&[&a, &b]);
    let sign = |pair: &Pair| pair.sign(DATA, MADE);
    let both = [sign(&a), sign(&b)].concat();
    let rows: [(&str, String, usize, Option<usize>); 9] = [
        ("one of one", sign(&a), 1, Some(1)),
        ("two of one", both.clone(), 1, Some(2)),
        ("two of two", both.clone(), 2, Some(2)),
        (
            "with blank lines between",
            both.replace("untrusted", "\n\nuntrusted"),
            2,
            Some(2),
        ),
        (
            "with Windows' ends of lines",
            both.replace('\n', "\r\n"),
            2,
            Some(2),
        ),
        ("one of two", sign(&a), 2, None),
        (
            "one twice of two",
            [sign(&a), a.sign_legacy(DATA, MADE)].concat(),
            2,
            None,
        ),
        (
            "one known, one unknown of two",
            [sign(&a), sign(&c)].concat(),
            2,
            None,
        ),
        (
            "one unknown beside enough",
            [sign(&c), both].concat(),
            2,
            Some(2),
        ),
    ];
    for (what, file, threshold, signers) in rows {
        let verdict = verdict(&file, &keys, threshold);
        match signers {
            Some(count) => assert_eq!(verdict.map(|s| s.len()).ok(), Some(count), "{what}"),
            None => assert!(
                matches!(
                    verdict,
                    Err(MinisignError::TooFew {
                        found: 1,
                        threshold: 2,
                        ..
                    })
                ),
                "{what}: {verdict:?}"
            ),
        }
    }
    let bad = [sign(&a), b.sign(b"other", MADE)].concat();
    assert!(
        matches!(verdict(&bad, &keys, 1), Err(MinisignError::Bad { .. })),
        "a bad signature by a known key is final beside a good one"
    );
    let unknown = verdict(&sign(&c), &keys, 1).expect_err("unknown");
    assert_eq!(
        unknown.to_string(),
        "it is signed by 0303030303030303, trusted is 0101010101010101, 0202020202020202"
    );
}

#[test]
fn the_time_is_read_from_the_trusted_comment_and_must_have_come() {
    let pair = Pair::new(1);
    let keys = ring(&[&pair]);
    for (comment, time) in [
        ("timestamp:1790000000\tfile:x", Some(MADE)),
        ("release 5, timestamp:1790000000", Some(MADE)),
        ("", None),
        ("a release", None),
        ("timestamp:soon", None),
        ("timestamp:99999999999999999999", None),
        ("timestamp:9999999999999999", None),
        ("mytimestamp:1790000000", None),
    ] {
        let signers = verdict(&pair.comment(DATA, comment), &keys, 1).expect(comment);
        assert_eq!(signers[0].created, time.map(at), "{comment}");
    }
    let skew = i64::try_from(CLOCK_SKEW.as_secs()).expect("small");
    let edge = now().as_second() + skew;
    verdict(&pair.sign(DATA, edge), &keys, 1).expect("clocks differ");
    assert!(matches!(
        verdict(&pair.sign(DATA, edge + 1), &keys, 1),
        Err(MinisignError::FromTheFuture { .. })
    ));
    // Of two signatures by one key the newer one counts.
    let twice = [
        pair.sign(DATA, MADE),
        pair.sign(DATA, MADE + 9),
        pair.comment(DATA, ""),
    ]
    .concat();
    assert_eq!(
        verdict(&twice, &keys, 1).expect("good")[0].created,
        Some(at(MADE + 9))
    );
}

#[test]
fn what_is_no_signature_is_refused() {
    let pair = Pair::new(1);
    let good = pair.sign(DATA, MADE);
    let keys = ring(&[&pair]);
    let malformed = |line| MinisignError::Malformed { line };
    let cut: String = good.lines().take(3).collect::<Vec<_>>().join("\n");
    let rows = [
        (String::new(), MinisignError::Empty),
        ("\n\n".to_owned(), malformed(1)),
        ("garbage".to_owned(), malformed(1)),
        ("a\nb\nc\nd\n".to_owned(), malformed(1)),
        (cut, malformed(1)),
        (good.replace("untrusted comment:", "comment:"), malformed(1)),
        (good.replace("trusted comment: t", "t"), malformed(1)),
        (format!("{good}x\n"), malformed(5)),
        (format!("{good}{}", pair.public()), malformed(5)),
        (good.replace("\nR", "\n?"), malformed(1)),
        ("x".repeat(SIZE_LIMIT + 1), MinisignError::TooLarge),
        (good.repeat(COUNT_LIMIT + 1), MinisignError::TooMany),
    ];
    for (file, error) in rows {
        let shown = file.chars().take(200).collect::<String>();
        assert_eq!(verdict(&file, &keys, 1), Err(error), "{shown}");
    }
    verdict(&good.repeat(COUNT_LIMIT), &keys, 1).expect("at the limit");
    assert_eq!(verify(DATA, b"\xff", &keys, 1, now()), Err(malformed(1)));
}

#[test]
fn what_is_no_key_is_refused() {
    let good = Pair::new(1).public();
    let parse = |text: &str| PublicKeys::parse(text.as_bytes());
    let key_line = good.lines().nth(1).expect("two lines");
    for text in [
        good.as_str(),
        key_line,
        &format!("\n{good}\n{good}"),
        &good.replace('\n', "\r\n"),
    ] {
        assert_eq!(parse(text).map(|keys| keys.len()), Ok(1), "{text}");
    }
    let malformed = |line| Some(PublicKeyError::Malformed { line });
    let many: String = (0..=16).map(|seed| Pair::new(seed).public()).collect();
    let large = "\n".repeat(SIZE_LIMIT + 1);
    for (text, error) in [
        ("", Some(PublicKeyError::None)),
        ("untrusted comment: nothing\n", Some(PublicKeyError::None)),
        ("garbage", malformed(1)),
        (&format!("{good}RWQ=\n"), malformed(3)),
        (&good.replace("RW", "AA"), malformed(2)),
        (SECRET_KEY, Some(PublicKeyError::Secret)),
        (&many, Some(PublicKeyError::TooMany)),
        (&large, Some(PublicKeyError::TooLarge)),
    ] {
        assert_eq!(
            parse(text).err(),
            error,
            "{}",
            text.chars().take(99).collect::<String>()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let keys = ring(&[&Pair::new(1)]);
        prop_assert!(verify(DATA, &bytes, &keys, 1, now()).is_err());
        let _ = PublicKeys::parse(&bytes);
    }

    #[test]
    fn four_arbitrary_lines_are_no_signature(lines in "untrusted comment: .{0,9}\nR[UW][A-Za-z0-9+/=]{0,99}\ntrusted comment: .{0,40}\n[A-Za-z0-9+/=]{0,90}\n") {
        prop_assert!(verdict(&lines, &ring(&[&Pair::new(1)]), 1).is_err());
    }

    #[test]
    fn no_changed_byte_makes_a_signature_over_other_data(index in any::<proptest::sample::Index>(), value in any::<u8>()) {
        let pair = Pair::new(1);
        let mut file = pair.sign(b"other", MADE).into_bytes();
        let place = index.index(file.len());
        file[place] = value;
        prop_assert!(verify(DATA, &file, &ring(&[&pair]), 1, now()).is_err());
    }
}
