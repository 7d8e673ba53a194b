use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Instant;

use reqwest::header::{HeaderName, HeaderValue};

use super::headers::{LONGEST_VALIDATOR, is_entity_tag};
use super::*;
use crate::fetch::Validators;

/// A server that answers each connection's one request with what a function writes, byte by byte as it likes.
struct Server {
    base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Ok(mut stream) = stream else { return };
                    let Ok(copy) = stream.try_clone() else { return };
                    let lines = BufReader::new(copy).lines();
                    let head: Vec<String> = lines
                        .map_while(Result::ok)
                        .take_while(|line| !line.is_empty())
                        .collect();
                    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                        return;
                    };
                    log.lock().expect("not poisoned").push(head.join("\n"));
                    answer(path, &mut stream);
                    // The client may be gone already.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { base, requests }
    }

    /// Answers everything with the same bytes.
    fn fixed(answer: &'static str) -> Self {
        Self::new(move |_, stream| send(stream, answer.as_bytes()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8]) {
    // The client may have seen enough.
    let _ = stream.write_all(bytes);
}

fn client(change: impl FnOnce(&mut HttpSettings)) -> HttpFetch {
    let mut settings = HttpSettings::default();
    settings.retry.attempts = 0;
    change(&mut settings);
    HttpFetch::new(settings).expect("a client")
}

fn open(fetch: &HttpFetch, url: &str) -> Result<Body, FetchError> {
    match fetch.open(&Request::new(url))? {
        Response::Body(body) => Ok(body),
        Response::NotModified => panic!("the request was not conditional"),
    }
}

fn read(body: &mut Body) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    body.reader
        .read_to_end(&mut bytes)
        .map_err(|error| FetchError::from_io(error).expect("a typed error"))?;
    Ok(bytes)
}

fn get(url: &str) -> Result<Vec<u8>, FetchError> {
    read(&mut open(&client(|_| {}), url)?)
}

#[test]
fn a_body_comes_with_what_the_server_says_of_it() {
    let server = Server::fixed(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"x\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Date: Sun, 06 Nov 1994 08:49:39 GMT\r\nContent-Encoding: gzip\r\n\r\nhelloEXTRA",
    );
    let mut body = open(&client(|_| {}), &server.url("/d%20e/f")).expect("a body");
    assert_eq!(body.length, Some(5));
    assert_eq!(body.modified, Some(784_111_777_000_000));
    let validators = body.validators.clone().expect("strong enough");
    assert_eq!(validators.etag.as_deref(), Some("\"x\""));
    assert_eq!(
        validators.last_modified.as_deref(),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    assert_eq!(
        read(&mut body).as_deref(),
        Ok(&b"hello"[..]),
        "not decoded, and not a byte too many"
    );
    assert_eq!(body.reader.read(&mut [0; 8]).expect("still at the end"), 0);

    let request = server.requests().remove(0).to_ascii_lowercase();
    assert!(request.starts_with("get /d%20e/f http/1.1\n"), "{request}");
    let agent = concat!("user-agent: sysupdate/", env!("CARGO_PKG_VERSION"));
    assert!(
        request.contains(agent) && request.contains("accept: */*"),
        "{request}"
    );
    for header in [
        "accept-encoding",
        "range",
        "if-none-match",
        "if-modified-since",
        "referer",
    ] {
        assert!(!request.contains(header), "{request}");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection_or_the_last_chunk() {
    let close = Server::fixed("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
    let mut body = open(&client(|_| {}), &close.base).expect("a body");
    assert_eq!(
        (body.length, body.validators.clone(), body.modified),
        (None, None, None)
    );
    assert_eq!(read(&mut body).as_deref(), Ok(&b"hello"[..]));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(
        get(&Server::fixed(chunked).base).as_deref(),
        Ok(&b"hello"[..])
    );
}

#[test]
fn each_status_means_what_the_original_says() {
    for code in [400, 403, 404, 410, 500, 503, 300, 304, 302] {
        let server = Server::new(move |_, stream| {
            send(
                stream,
                format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n").as_bytes(),
            );
        });
        let url = server.url("/f");
        let error = get(&url).expect_err("no success");
        assert_eq!(
            error,
            FetchError::Status {
                url: url.clone(),
                code
            }
        );
        assert_eq!(error.is_not_found(), code == 404);
    }
    let closed = Server::fixed("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n");
    let error = get(&closed.base).expect_err("needs a password");
    assert!(
        error
            .to_string()
            .contains("Access to image requires authentication."),
        "{error}"
    );
    for success in ["200", "201", "206"] {
        let server = Server::new(move |_, stream| {
            send(
                stream,
                format!("HTTP/1.1 {success} X\r\nContent-Length: 2\r\n\r\nok").as_bytes(),
            );
        });
        assert_eq!(get(&server.base).as_deref(), Ok(&b"ok"[..]), "{success}");
    }
    for (range, is_whole) in [
        ("bytes 0-1/2", true),
        ("bytes 0-1/3", false),
        ("bytes 1-2/3", false),
        ("bytes 0-1/*", false),
        ("nonsense", false),
    ] {
        let server = Server::new(move |_, stream| {
            let head = format!("HTTP/1.1 206 X\r\nContent-Range: {range}\r\nContent-Length: 2\r\n");
            send(stream, format!("{head}\r\nok").as_bytes());
        });
        let outcome = get(&server.base);
        assert_eq!(outcome.is_ok(), is_whole, "{range}: {outcome:?}");
    }
    assert_eq!(
        get(&Server::fixed("HTTP/1.1 204 X\r\n\r\n").base).as_deref(),
        Ok(&b""[..])
    );
}

#[test]
fn a_conditional_request_sends_the_validators_and_understands_304() {
    let server = Server::fixed("HTTP/1.1 304 Not Modified\r\n\r\n");
    let validators = Validators {
        etag: Some("W/\"x\"".to_owned()),
        last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
    };
    let request = Request {
        url: &server.base,
        validators: Some(&validators),
        range: None,
    };
    assert!(matches!(
        client(|_| {}).open(&request),
        Ok(Response::NotModified)
    ));
    let request = server.requests().remove(0);
    assert!(request.contains("if-none-match: W/\"x\""), "{request}");
    assert!(
        request.contains("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT"),
        "{request}"
    );

    // A damaged record asks unconditionally, and then 304 is no answer.
    let damaged = Validators {
        etag: Some("x\r\nEvil: 1".to_owned()),
        last_modified: None,
    };
    let request = Request {
        url: &server.base,
        validators: Some(&damaged),
        range: None,
    };
    assert!(matches!(
        client(|_| {}).open(&request),
        Err(FetchError::Status { code: 304, .. })
    ));
    assert!(!server.requests()[1].contains("Evil"));
}

#[test]
fn validators_that_a_later_change_could_share_are_not_kept() {
    let both = |etag: &str, modified: &str| {
        Some(Validators {
            etag: Some(etag.to_owned()),
            last_modified: Some(modified.to_owned()),
        })
    };
    let (at_37, at_38) = (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:38 GMT",
    );
    let only_etag = Some(Validators {
        etag: Some("\"x\"".to_owned()),
        last_modified: None,
    });
    let table = [
        (
            vec![("etag", "\"x\""), ("last-modified", at_37), ("date", at_38)],
            both("\"x\"", at_37),
        ),
        (
            vec![
                ("etag", "W/\"x\""),
                ("last-modified", at_37),
                ("date", at_38),
            ],
            both("W/\"x\"", at_37),
        ),
        (
            vec![("etag", "\"x\""), ("last-modified", at_37), ("date", at_37)],
            None,
        ),
        (
            vec![("etag", "\"x\""), ("last-modified", at_38), ("date", at_37)],
            None,
        ),
        (
            vec![("etag", "\"x\""), ("last-modified", at_37)],
            only_etag.clone(),
        ),
        (
            vec![
                ("etag", "\"x\""),
                ("last-modified", "yesterday"),
                ("date", at_38),
            ],
            only_etag.clone(),
        ),
        (vec![("etag", "\"x\"")], only_etag),
        (vec![("last-modified", at_37)], None),
        (vec![("date", at_37)], None),
    ];
    for (headers, wanted) in table {
        let map = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        assert_eq!(validators(&map.collect()), wanted, "{headers:?}");
    }
    let long = HeaderValue::from_bytes(&[b'x'; LONGEST_VALIDATOR + 1]).expect("a value");
    assert_eq!(
        validators(&[(header::ETAG, long)].into_iter().collect()),
        None
    );
}

#[test]
fn redirects_are_followed_up_to_the_limit() {
    let chain = |count: usize| {
        Server::new(move |path, stream| {
            let at: usize = path.trim_start_matches('/').parse().unwrap_or(0);
            let status = [301, 302, 303, 307, 308][at % 5];
            if at == count {
                send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            } else {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
                    at + 1
                );
                send(stream, head.as_bytes());
            }
        })
    };
    let server = chain(30);
    assert_eq!(get(&server.url("/0")).as_deref(), Ok(&b"ok"[..]));
    assert_eq!(server.requests().len(), 31);
    let server = chain(31);
    let error = get(&server.url("/0")).expect_err("one too many");
    assert!(
        error
            .to_string()
            .contains("Number of redirects hit maximum amount"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 31);
    let circle = Server::fixed("HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(
        get(&circle.base),
        Err(FetchError::TooManyRedirects { limit: 30, .. })
    ));
}

#[test]
fn who_only_sends_us_on_and_takes_his_time_is_given_up() {
    let server = Server::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(200));
        send(
            stream,
            b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let fetch = client(|settings| {
        settings.connect_timeout = Duration::from_millis(200);
        settings.stall_window = Duration::from_millis(200);
    });
    let error = open(&fetch, &server.url("/f")).expect_err("it never ends");
    assert!(matches!(error, FetchError::Timeout { .. }), "{error}");
    assert!(server.requests().len() < 10, "{}", server.requests().len());
}

#[test]
fn a_redirect_to_https_is_tried_over_tls() {
    let plain = Server::fixed("no TLS here\r\n\r\n");
    let location = plain.base.replace("http:", "https:");
    let server = Server::new(move |_, stream| {
        let head = format!("HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        send(stream, head.as_bytes());
    });
    let error = get(&server.base).expect_err("no TLS");
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
}

#[test]
fn a_body_that_ends_early_is_partial() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234");
    let error = get(&server.base).expect_err("partial");
    assert!(
        matches!(
            error,
            FetchError::Partial {
                received: 4,
                expected: 10,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("Transferred a partial file: got 4 of 10 bytes"),
        "{error}"
    );
    let chunked = Server::fixed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    assert!(matches!(
        get(&chunked.base),
        Err(FetchError::Protocol { .. })
    ));
}

#[test]
fn a_failed_body_stays_failed() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234");
    let mut body = open(&client(|_| {}), &server.base).expect("a body");
    let first = read(&mut body).expect_err("partial");
    assert_eq!(read(&mut body).expect_err("still"), first);
}

fn stalled(stream: &mut TcpStream) {
    send(
        stream,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n1234",
    );
    std::thread::sleep(Duration::from_secs(20));
}

#[test]
fn a_stalled_or_dripping_body_is_given_up() {
    let short = || {
        client(|settings| {
            settings.stall_window = Duration::from_secs(1);
            settings.stall_rate = 50;
        })
    };
    let begin = Instant::now();
    let server = Server::new(|_, stream| stalled(stream));
    let error = read(&mut open(&short(), &server.base).expect("a body")).expect_err("stalled");
    assert!(
        matches!(
            error,
            FetchError::TooSlow {
                bytes: 50,
                seconds: 1,
                ..
            }
        ),
        "{error:?}"
    );

    let server = Server::new(|_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        for _ in 0..100 {
            send(stream, b"x");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let error = read(&mut open(&short(), &server.base).expect("a body")).expect_err("too slow");
    assert!(matches!(error, FetchError::TooSlow { .. }), "{error:?}");
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_slow_reader_is_not_the_servers_fault() {
    const LENGTH: usize = 32 << 20;
    let server = Server::new(|_, stream| {
        send(
            stream,
            format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes(),
        );
        send(stream, &vec![7; LENGTH]);
    });
    let fetch = client(|settings| {
        // More than fits into the channel and the buffers of the sockets, so that the pause below must not count.
        settings.stall_window = Duration::from_secs(1);
        settings.stall_rate = 12 << 20;
    });
    let mut body = open(&fetch, &server.base).expect("a body");
    body.reader.read_exact(&mut [0]).expect("a byte");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(read(&mut body).expect("the rest").len(), LENGTH - 1);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::new(|_, _| std::thread::sleep(Duration::from_secs(20)));
    let fetch = client(|settings| {
        settings.connect_timeout = Duration::from_millis(200);
        settings.stall_window = Duration::from_millis(300);
    });
    assert!(matches!(
        open(&fetch, &server.base),
        Err(FetchError::Timeout { .. })
    ));
}

#[test]
fn cancelling_ends_a_running_transfer_and_refuses_later_ones() {
    let server = Server::new(|path, stream| match path {
        "/body" => stalled(stream),
        _ => std::thread::sleep(Duration::from_secs(20)),
    });
    for path in ["/body", "/silent"] {
        let cancel = Cancel::new();
        let fetch = client(|settings| settings.cancel = cancel.clone());
        let begin = Instant::now();
        let switch = cancel.clone();
        let thrower = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            switch.cancel();
        });
        let error = open(&fetch, &server.url(path))
            .and_then(|mut body| read(&mut body))
            .expect_err("cancelled");
        assert!(error.is_cancelled(), "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(5));
        thrower.join().expect("the thrower ends");
        assert!(
            open(&fetch, &server.url(path))
                .expect_err("cancelled")
                .is_cancelled()
        );
    }
}

#[test]
fn a_body_outlives_its_client() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let mut body = {
        let fetch = client(|_| {});
        open(&fetch, &server.base).expect("a body")
    };
    assert_eq!(read(&mut body).as_deref(), Ok(&b"hello"[..]));
}

#[test]
fn a_refused_connection_is_named_with_its_url_and_cause() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let url = format!("http://127.0.0.1:{port}/f");
    let error = get(&url).expect_err("nobody listens");
    assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("connection refused") && text.contains(&url),
        "{text}"
    );
    assert!(text.contains("Could not connect to server"), "{text}");
}

#[test]
fn a_kept_connection_that_the_server_closes_is_replaced() {
    let server = Server::new(|_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        // The second request over this connection gets no answer.
        let _ = stream.read(&mut [0; 4096]);
    });
    let fetch = client(|_| {});
    for _ in 0..3 {
        let body = open(&fetch, &server.base).and_then(|mut body| read(&mut body));
        assert_eq!(body.as_deref(), Ok(&b"ok"[..]));
    }
    assert_eq!(server.requests().len(), 3, "each was answered once");
}

#[test]
fn what_is_no_answer_is_a_protocol_error() {
    for answer in [
        "",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        let error = get(&Server::fixed(answer).base).expect_err("no HTTP");
        assert!(
            matches!(error, FetchError::Protocol { .. }),
            "{answer:?}: {error:?}"
        );
    }
}

#[test]
fn a_header_that_does_not_end_is_no_answer() {
    for (lines, length, is_answer) in [
        (100, 10, true),
        (101, 10, false),
        (90, 4 << 10, true),
        // How much more than 400 KiB is taken depends on the pieces that it comes in.
        (90, 20 << 10, false),
    ] {
        let line = format!("X: {}\r\n", "x".repeat(length));
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", line.repeat(lines));
        let server = Server::new(move |_, stream| send(stream, head.as_bytes()));
        let answer = get(&server.base);
        assert_eq!(answer.is_ok(), is_answer, "{lines} of {length}: {answer:?}");
    }
}

#[test]
fn what_is_no_url_is_refused_before_anything_is_sent() {
    for url in [
        "http://",
        "http://h/a b",
        "http://h/a\nb",
        "http://h:99999/",
        "https:///",
        "\u{1b}[2Jhttp://h/",
    ] {
        let error = get(url).expect_err(url);
        assert!(
            matches!(error, FetchError::InvalidUrl { .. }),
            "{url:?}: {error:?}"
        );
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    assert!(matches!(
        get("ftp://h/"),
        Err(FetchError::UnsupportedScheme { .. })
    ));
}

#[test]
fn the_size_is_asked_for_with_head() {
    let server = Server::new(|path, stream| {
        let answer = match path {
            "/known" => "HTTP/1.1 200 OK\r\nContent-Length: 123456789012\r\n\r\n",
            "/unknown" => "HTTP/1.1 200 OK\r\n\r\n",
            "/moved" => "HTTP/1.1 302 X\r\nLocation: /known\r\n\r\n",
            "/bad" => "HTTP/1.1 404 X\r\nContent-Length: 10\r\n\r\n",
            _ => "HTTP/1.1 405 X\r\nContent-Length: 10\r\n\r\n",
        };
        send(stream, answer.as_bytes());
    });
    let fetch = client(|_| {});
    let table = [
        ("/known", Some(123_456_789_012)),
        ("/moved", Some(123_456_789_012)),
        ("/unknown", None),
    ];
    for (path, wanted) in table
        .into_iter()
        .chain([("/bad", None), ("/refused", None)])
    {
        assert_eq!(fetch.size(&server.url(path)), Ok(wanted), "{path}");
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.starts_with("HEAD "))
    );
}

#[test]
fn only_a_single_entity_tag_makes_a_request_conditional() {
    for (tag, accepted) in [
        ("\"abc\"", true),
        ("W/\"abc\"", true),
        ("\"\"", true),
        ("*", false),
        ("abc", false),
        ("\"a\", \"b\"", false),
        ("\"a b\"", false),
        ("\"", false),
        ("", false),
    ] {
        assert_eq!(is_entity_tag(tag), accepted, "{tag}");
        let validators = Validators {
            etag: Some(tag.to_owned()),
            last_modified: None,
        };
        assert_eq!(!conditions(&validators).is_empty(), accepted, "{tag}");
    }
}

#[test]
fn a_redirect_to_a_file_is_refused() {
    let server = Server::fixed(
        "HTTP/1.1 302 X\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    );
    let error = get(&server.base).expect_err("refused").to_string();
    assert!(
        error.contains("Unsupported protocol") && error.contains("file:///etc/passwd"),
        "{error}"
    );
}

#[test]
fn a_body_that_has_become_longer_is_read_to_its_new_end() {
    let answers = Mutex::new(
        [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde",
            "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nabcdefghijklmno",
            "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nabcdefghijklmnopqrst",
        ]
        .into_iter(),
    );
    let server = Server::new(move |_, stream| {
        let next = answers.lock().expect("not poisoned").next();
        send(stream, next.expect("one more").as_bytes());
    });
    let fetch = client(|settings| {
        settings.retry.attempts = 5;
        settings.retry.first_delay = Duration::ZERO;
    });
    let mut body = open(&fetch, &server.url("/f")).expect("a body");
    assert_eq!(read(&mut body), Ok(b"abcdefghijklmnopqrst".to_vec()));
}
