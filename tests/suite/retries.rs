//! What may pass is tried again, within bounds; what will not is told at once.

use std::io::Read as _;
use std::time::{Duration, Instant};

use sysupdate::fetch::{
    Fetch as _, FetchError, HttpSettings, Request, Response, RetrySettings, Transport,
};

use super::harness::Host;
use super::server::{Answer, Exchange, Server, manifest};

/// Tries in all: the first, and those after it.
const TRIES: usize = 6;

const ONE: (&str, &str) = ("app_1.raw", "one");

fn fetch() -> Transport {
    Transport::new(HttpSettings {
        retry: RetrySettings {
            first_delay: Duration::from_millis(1),
            longest_wait: Duration::from_secs(2),
            ..RetrySettings::default()
        },
        stall_window: Duration::from_secs(1),
        ..HttpSettings::default()
    })
}

/// All bytes of a body, and whether they came in pieces.
fn read(fetch: &Transport, url: &str) -> Result<(Vec<u8>, bool), FetchError> {
    let Response::Body(mut body) = fetch.open(&Request::new(url))? else {
        panic!("nothing conditional was asked");
    };
    let mut bytes = Vec::new();
    body.reader
        .read_to_end(&mut bytes)
        .map_err(|error| FetchError::from_io(error).expect("an error of the transport"))?;
    Ok((bytes, body.seams.any()))
}

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index % 251).expect("less"))
        .collect()
}

/// What each request asked for, and how it was answered.
fn asked(log: &[Exchange]) -> Vec<(&str, u16)> {
    log.iter()
        .map(|exchange| (exchange.range.as_deref().unwrap_or(""), exchange.status))
        .collect()
}

fn short(bytes: &[u8], at: usize) -> Answer {
    Answer::ok(bytes).ranges().header("ETag", "\"a\"").short(at)
}

#[test]
fn a_failure_that_passes_is_not_noticed() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let server = Server::new();
        server.publish(&[ONE]);
        let failing = vec![Answer::status(status); TRIES - 1];
        for path in ["/SHA256SUMS", "/app_1.raw"] {
            server.first(path, failing.clone());
        }
        let host = Host::with_app(&server);
        host.update();
        assert_eq!(host.read("srv/target/app.raw"), "one", "{status}");
        assert_eq!(server.take_requests().len(), 2 * TRIES, "{status}");
    }
}

#[test]
fn a_failure_that_stays_is_told_after_a_few_tries() {
    for (status, tries) in [
        (500, TRIES),
        (429, TRIES),
        (404, 1),
        (403, 1),
        (410, 1),
        (401, 1),
    ] {
        let server = Server::new();
        server.publish(&[ONE]);
        server.answer("/app_1.raw", Answer::status(status));
        let host = Host::with_app(&server);
        host.run(&["update"]).fails().says(&status.to_string());
        let requests = server.take_requests();
        let payload = requests.iter().filter(|line| line.contains("app_1"));
        assert_eq!(payload.count(), tries, "{status}: {requests:?}");
    }
}

#[test]
fn a_server_that_says_when_is_asked_then_or_not_at_all() {
    let (server, fetch) = (Server::new(), fetch());
    let url = format!("{}/f", server.base);
    server.answer("/f", Answer::ok("ok"));
    server.first("/f", [Answer::status(503).header("Retry-After", "1")]);
    let begin = Instant::now();
    assert_eq!(read(&fetch, &url), Ok((b"ok".to_vec(), false)));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    server.take_log();
    server.first("/f", [Answer::status(503).header("Retry-After", "3600")]);
    let begin = Instant::now();
    assert!(matches!(
        read(&fetch, &url),
        Err(FetchError::Status { code: 503, .. })
    ));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(server.take_log().len(), 1);
}

#[test]
fn a_body_that_breaks_off_goes_on_where_it_was() {
    let (server, fetch, bytes) = (Server::new(), fetch(), content(2_000_000));
    let url = format!("{}/f", server.base);
    server.answer("/f", short(&bytes, bytes.len()));
    server.first("/f", [short(&bytes, 700_000), short(&bytes, 500_000)]);
    assert_eq!(read(&fetch, &url), Ok((bytes, true)));
    let log = server.take_log();
    assert_eq!(
        asked(&log),
        [("", 200), ("bytes=700000-", 206), ("bytes=1200000-", 206)]
    );
    assert_eq!(log[1].if_range.as_deref(), Some("\"a\""));
}

#[test]
fn a_little_body_is_fetched_again_and_compared() {
    let (server, fetch) = (Server::new(), fetch());
    let url = format!("{}/f", server.base);
    // Neither ranges nor validators are needed for that.
    server.answer("/f", Answer::ok("0123456789"));
    server.first(
        "/f",
        [
            Answer::ok("0123456789").short(4),
            Answer::ok("0123456789").short(2),
        ],
    );
    assert_eq!(read(&fetch, &url), Ok((b"0123456789".to_vec(), true)));
    assert_eq!(asked(&server.take_log()), [("", 200); 3]);
    // One that only goes on in another way is the newer one, whole.
    server.answer("/f", Answer::ok("0123newer"));
    server.first("/f", [Answer::ok("0123456789").short(4)]);
    assert_eq!(read(&fetch, &url), Ok((b"0123newer".to_vec(), true)));
    for other in ["01x3456789", "012"] {
        server.answer("/f", Answer::ok(other));
        server.first("/f", [Answer::ok("0123456789").short(4)]);
        let error = read(&fetch, &url).expect_err("two states of it");
        assert!(
            matches!(error, FetchError::Changed { .. }),
            "{other}: {error}"
        );
    }
}

#[test]
fn bytes_of_another_state_are_never_appended() {
    let (fetch, bytes) = (fetch(), content(1_000_000));
    let plain = || Answer::ok(bytes.clone());
    let tagged = |tag: &str| plain().ranges().header("ETag", tag);
    let dated = || {
        plain()
            .ranges()
            .header("Last-Modified", super::server::MODIFIED)
    };
    // What breaks off, what answers then, and whether that is the same.
    let rows = [
        (tagged("\"a\""), tagged("\"a\""), true),
        (tagged("\"a\""), tagged("\"b\""), false),
        (tagged("\"a\""), tagged("\"b\"").unconditional(), false),
        (tagged("\"a\""), plain().header("ETag", "\"a\""), true),
        (tagged("\"a\""), plain(), false),
        (dated(), dated(), true),
        (dated(), plain().ranges(), false),
        (plain().ranges(), plain().ranges(), true),
        (plain().ranges(), plain(), false),
        (plain().ranges(), Answer::ok(&bytes[1..]).ranges(), false),
        (
            plain().ranges(),
            Answer::ok(&bytes[..500_000]).ranges(),
            false,
        ),
        (
            plain().ranges(),
            plain().mislabelled("bytes 0-9/1000000"),
            false,
        ),
        (plain().ranges(), plain().refusing_ranges(), false),
        (tagged("\"a\""), Answer::status(404), false),
    ];
    for (index, (first, then, fits)) in rows.into_iter().enumerate() {
        let server = Server::new();
        let url = format!("{}/f", server.base);
        server.first("/f", [first.short(600_000)]);
        server.answer("/f", then);
        let outcome = read(&fetch, &url);
        match &outcome {
            Ok((got, pieced)) => assert!(*got == bytes && *pieced, "row {index}"),
            Err(error) => assert!(!error.is_transient(), "row {index}: {error}"),
        }
        assert_eq!(outcome.is_ok(), fits, "row {index}");
        assert_eq!(server.take_log().len(), 2, "row {index}");
    }
}

#[test]
fn a_server_that_brings_a_little_each_time_is_not_asked_for_ever() {
    let (server, fetch, bytes) = (Server::new(), fetch(), content(1_000_000));
    let url = format!("{}/f", server.base);
    server.answer("/f", short(&bytes, 1000));
    let begin = Instant::now();
    let error = read(&fetch, &url).expect_err("given up");
    assert!(matches!(error, FetchError::Partial { .. }), "{error}");
    assert_eq!(server.take_log().len(), TRIES);
    // One that brings enough is.
    server.answer("/f", short(&content(30_000_000), 1 << 20));
    assert_eq!(
        read(&fetch, &url).map(|(bytes, _)| bytes.len()),
        Ok(30_000_000)
    );
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_stalled_body_goes_on_over_another_connection() {
    let (server, fetch, bytes) = (Server::new(), fetch(), content(1_000_000));
    let url = format!("{}/f", server.base);
    server.answer("/f", short(&bytes, bytes.len()));
    server.first(
        "/f",
        [Answer::ok(bytes.clone())
            .header("ETag", "\"a\"")
            .stalled(600_000)],
    );
    let begin = Instant::now();
    assert_eq!(read(&fetch, &url), Ok((bytes, true)));
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_limit_on_the_rate_is_shared_by_all_bodies() {
    let server = Server::new();
    let payload = "0123456789abcdef".repeat(16 * 1024);
    let files = [
        ("app_1.raw", payload.as_str()),
        ("two_1.raw", payload.as_str()),
    ];
    server.publish(&files);
    let host = Host::with_app(&server);
    let second = super::harness::app(&server.base, "", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    let begin = Instant::now();
    host.run(&["update", "--limit-rate=256k"]).succeeds();
    let took = begin.elapsed();
    // Twice 256 KiB; the last piece of each body is not waited for.
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(host.read("srv/target/two.raw") == payload);
    for bad in ["fast", "", "-1", "1.5M", "99999999999G", "M"] {
        host.run(&["list", &format!("--limit-rate={bad}")])
            .fails()
            .says("Failed to parse --limit-rate= parameter");
    }
    host.run(&["list", "--limit-rate=0"]).succeeds();
}

#[test]
fn a_long_wait_is_told() {
    let server = Server::new();
    server.publish(&[ONE]);
    server.first(
        "/app_1.raw",
        [Answer::status(503).header("Retry-After", "1")],
    );
    let host = Host::with_app(&server);
    let run = host.update();
    run.says("/app_1.raw failed with code 503. Trying again in 1.0 s...");
}

#[test]
fn a_wait_after_a_sentence_without_its_full_stop_is_told_as_a_sentence_of_its_own() {
    let mut host = Host::new();
    let definition = super::harness::app("http://127.0.0.1:9", "", "");
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
    host.set("SYSTEMD_LOG_LEVEL", "debug");
    host.run(&["check-new"])
        .fails()
        .says("connection refused. Trying again in 0.");
}

#[test]
fn an_interrupt_ends_the_waiting() {
    let server = Server::new();
    server.publish(&[ONE]);
    server.answer(
        "/SHA256SUMS",
        Answer::status(503).header("Retry-After", "60"),
    );
    let host = Host::with_app(&server);
    let running = host.start(&["update"]);
    super::harness::until("it was asked", || !server.take_log().is_empty());
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.finish().code, Some(130));
}

#[test]
fn a_download_that_was_pieced_together_wrongly_starts_over_once() {
    // Nothing tells the two states apart but the digest of the whole.
    let mut old = "0123456789abcdef".repeat(64 * 1024);
    let server = Server::new();
    server.put("/SHA256SUMS", manifest(&[("app_1.raw", &old)]));
    server.answer("/app_1.raw", Answer::ok(old.as_str()).ranges());
    let good = old.clone();
    old.replace_range(..4, "OLD!");
    server.first("/app_1.raw", [Answer::ok(old).ranges().short(600_000)]);
    let host = Host::with_app(&server);
    host.update().says("Starting over");
    assert!(host.read("srv/target/app.raw") == good);
    let statuses: Vec<_> = server
        .take_requests()
        .into_iter()
        .filter(|line| line.contains("app_1"))
        .collect();
    assert_eq!(
        statuses,
        [
            "GET /app_1.raw 200",
            "GET /app_1.raw 206",
            "GET /app_1.raw 200"
        ]
    );
}
