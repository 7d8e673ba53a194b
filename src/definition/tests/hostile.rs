//! Texts that nobody meant: no panic, whatever the bytes.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::definition::component::ComponentSettings;
use crate::definition::config::Config;
use crate::definition::draft::Draft;
use crate::definition::{assign, keys, toml, value};

const PIECES: &[&[u8]] = &[
    b"[Target]",
    b"[Source]",
    b"[Transfer]",
    b"[X-Activate]",
    b"[target]\n",
    b"[source]\n",
    b"[[source]]",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\n",
    b"\r",
    b"\0",
    b"\\",
    b"=",
    b" ",
    b"\t",
    b"#",
    b";",
    b"\"",
    b"'",
    b"\"\"\"",
    b"%",
    b"%a",
    b"%Z",
    b"@v",
    b"**/",
    b"\\x",
    b"\\u00",
    b"\xff",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b"MatchPattern=",
    b"Path=",
    b"Mode=",
    b"InstancesMax=",
    b"PartitionUUID=",
    b"CurrentSymlink=",
    b"Restart=",
    b"Features=",
    b"X-SkipVersion=",
    b"url = ",
    b"match = ",
    b"mode = ",
    b"0o",
    b"777",
    b"-1",
    b"1e9",
    b"..",
    b"/",
    b"https://",
    b"a",
    b".",
    b",",
    b"true",
    b"1979-05-27",
    b"source.",
    b"verify = ",
    b"keys = ",
    b"threshold = ",
    b"max_age = ",
    b"X-Keys=",
    b"X-MaxAge=",
    b"[network]\n",
    b"rewrites = ",
    b"limit_rate = ",
    b"retries = ",
    b"9d",
    b"9999999999999999999",
];

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(pieces in vec(select(PIECES), 0..60)) {
        let bytes = pieces.concat();
        let world = Log::default();
        let host = Host::default();
        let mut draft = Draft::default();
        let path = Path::new("x");
        let refused = assign::assign(&bytes, path, &keys::SCHEMA, &mut draft, &host, &world).err();
        let file = toml::File { name: "x", path, host: &host, root: &Root::host(), boot: crate::definition::BootPaths::default(), reporter: &world };
        let native = file.load(&bytes, &mut ComponentSettings::default()).err();
        let refused = [refused, native, Config::parse(&bytes, path).err()];
        for error in refused.into_iter().flatten() {
            prop_assert!(error.to_string().starts_with("x:"), "{error}");
        }
    }
}

/// With quadratic work anywhere this would not end within minutes.
#[test]
fn large_files_are_read_to_their_end() {
    let size = 256 << 10;
    let filled = |line: &str| line.repeat(size / line.len());
    let (host, path) = (Host::default(), Path::new("x"));
    for (lines, refused) in [
        ("X=1\n", false),
        ("Typf=1\n", false),
        ("Path=/a\n", false),
        ("MatchPattern=\nMatchPattern=a@v b@v\n", false),
        ("MatchPattern=@v\n", false),
        ("[Transfer]\nFeatures=a b\n", false),
        ("[Transfer]\nProtectVersion=%\n", false),
        ("[Source]\n", false),
        ("a \\\n\n", false),
        ("\\\n", false),
        ("[\n", true),
    ] {
        let text = format!("[Source]\n{}", filled(lines));
        let mut draft = Draft::default();
        let result = assign::assign(
            text.as_bytes(),
            path,
            &keys::SCHEMA,
            &mut draft,
            &host,
            &Log::default(),
        );
        assert_eq!(result.is_err(), refused, "{lines:?}");
    }
    let file = toml::File {
        name: "x",
        path,
        host: &host,
        root: &Root::host(),
        boot: crate::definition::BootPaths::default(),
        reporter: &Log::default(),
    };
    for text in [
        filled("["),
        filled("a."),
        filled("a=[\n"),
        filled("'a',"),
        filled("[[a]]\n"),
        filled("{a="),
        format!("[source]\nmatch = [{}]", filled("'a-@v',")),
        format!("x = \"{}\"", filled("a")),
    ] {
        assert!(
            file.load(text.as_bytes(), &mut ComponentSettings::default())
                .is_err()
        );
        assert!(Config::parse(text.as_bytes(), path).is_err());
    }
}

proptest! {
    #[test]
    fn any_text_is_a_number_or_none(text in "[0-9dhmsKMGT .+-]{0,24}|.*") {
        if let Ok(span) = value::span(&text) {
            prop_assert!(!span.is_zero());
        }
        if let Ok(size) = value::size(&text) {
            prop_assert!(size > 0);
        }
        let _ = (value::integer(&text), value::mode(&text), value::boolean(&text), value::flags(&text));
    }
}
