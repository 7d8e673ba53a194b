//! Looking into files on a server without fetching them.

use std::io::{Read as _, Seek as _, SeekFrom};

use sysupdate::fetch::{FetchError, HttpSettings, Ranged, Transport};

use super::server::{Answer, MODIFIED, Server};

const BLOCK: usize = 64 * 1024;

fn transport() -> Transport {
    Transport::new(HttpSettings::default())
}

fn content() -> Vec<u8> {
    (0..5 * BLOCK + 9)
        .map(|index| u8::try_from(index / 7 % 251).expect("less"))
        .collect()
}

fn read_at(ranged: &mut Ranged<'_>, position: usize) -> Result<u8, FetchError> {
    let mut byte = [0];
    ranged
        .seek(SeekFrom::Start(position as u64))
        .and_then(|_| ranged.read_exact(&mut byte))
        .map(|()| byte[0])
        .map_err(|error| FetchError::from_io(error).expect("an error of the transport"))
}

#[test]
fn only_the_blocks_that_are_read_are_fetched() {
    let (server, fetch, content) = (Server::new(), transport(), content());
    server.put("/image", content.clone());
    let url = format!("{}/image", server.base);
    let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
    assert_eq!(ranged.len(), content.len() as u64);
    for position in [3, 4 * BLOCK + 5, 4 * BLOCK + 6, 5 * BLOCK + 8] {
        assert_eq!(
            read_at(&mut ranged, position),
            Ok(content[position]),
            "{position}"
        );
    }
    let log = server.take_log();
    let asked: Vec<_> = log
        .iter()
        .map(|exchange| (exchange.range.as_deref().unwrap_or(""), exchange.status))
        .collect();
    assert_eq!(
        asked,
        [
            ("bytes=0-65535", 206),
            ("bytes=262144-327679", 206),
            ("bytes=327680-327688", 206)
        ]
    );
    assert_eq!(log[0].if_range, None);
    assert!(log[1].if_range.is_some(), "of the same state: {log:?}");
    assert_eq!(ranged.bytes_fetched(), 2 * BLOCK as u64 + 9);
}

#[test]
fn each_request_begins_at_the_original_address() {
    let (server, fetch) = (Server::new(), transport());
    server.put("/one", content());
    server.put("/two", content());
    server.answer("/image", Answer::redirect(302, "/one"));
    let url = format!("{}/image", server.base);
    let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
    server.answer("/image", Answer::redirect(302, "/two"));
    server.remove("/one");
    assert_eq!(read_at(&mut ranged, BLOCK), Ok(content()[BLOCK]));
}

#[test]
fn a_server_that_sends_only_whole_files_is_told_from_a_broken_one() {
    let (server, fetch) = (Server::new(), transport());
    let url = format!("{}/image", server.base);
    server.answer("/image", Answer::ok(content()));
    let error = Ranged::open(&fetch, &url).expect_err("no ranges");
    assert!(matches!(error, FetchError::NoRanges { .. }), "{error}");
    server.answer("/image", Answer::ok(""));
    assert_eq!(Ranged::open(&fetch, &url).expect("it is empty").len(), 0);
    server.answer("/image", Answer::ok("").ranges());
    assert_eq!(Ranged::open(&fetch, &url).expect("it is empty").len(), 0);
    server.answer("/image", Answer::status(404));
    assert!(
        Ranged::open(&fetch, &url)
            .expect_err("missing")
            .is_not_found()
    );
    for label in [
        "bytes 1-65536/400000",
        "bytes 0-9/400000",
        "bytes 0-65535/*",
        "bytes 0-65535/9",
        "bytes 0-99999/400000",
        "pages 0-65535/400000",
        "",
    ] {
        server.answer("/image", Answer::ok(content()).mislabelled(label));
        let error = Ranged::open(&fetch, &url).expect_err("another part");
        assert!(
            matches!(error, FetchError::WrongRange { .. }),
            "{label:?}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_replaced_between_two_requests_is_noticed() {
    let fetch = transport();
    let changed = |before: Answer, after: Answer| {
        let server = Server::new();
        let url = format!("{}/image", server.base);
        server.answer("/image", before);
        let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
        server.answer("/image", after);
        let error = read_at(&mut ranged, 2 * BLOCK).expect_err("changed");
        assert!(matches!(error, FetchError::Changed { .. }), "{error}");
    };
    let plain = || Answer::ok(content()).ranges();
    let tagged = |tag: &str| plain().header("ETag", tag);
    // `If-Range` makes an honest server send it whole, and the others are compared.
    changed(tagged("\"a\""), tagged("\"b\""));
    changed(tagged("W/\"a\""), tagged("W/\"b\""));
    changed(plain(), plain().header("Last-Modified", MODIFIED));
    changed(plain(), Answer::ok(&content()[1..]).ranges());
    changed(plain(), Answer::ok(&content()[..BLOCK]).ranges());
    changed(plain(), Answer::ok(content()));
}

#[test]
fn a_part_that_breaks_off_is_an_error_and_can_be_asked_for_again() {
    let (server, fetch) = (Server::new(), transport());
    let url = format!("{}/image", server.base);
    server.answer("/image", Answer::ok(content()).ranges());
    let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
    server.answer("/image", Answer::ok(content()).ranges().short(100));
    let error = read_at(&mut ranged, BLOCK).expect_err("broken off");
    assert!(matches!(error, FetchError::Partial { .. }), "{error}");
    server.answer("/image", Answer::ok(content()).ranges());
    assert_eq!(read_at(&mut ranged, BLOCK), Ok(content()[BLOCK]));
}
