//! Connections are kept between requests, and nothing is lost when a server does not keep them.
//!
//! `integration/connections` asks a hundred times as often.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

use sysupdate::fetch::{Fetch as _, HttpFetch, HttpSettings, Request, Response};

use super::harness::{Host, app};
use super::server::manifest;
use super::tls;

/// A server that counts its connections.
struct Keeping {
    base: String,
    connections: Arc<AtomicUsize>,
}

/// What becomes of a connection, by the number of requests that it has answered.
type Patience = fn(usize) -> Then;

enum Then {
    Keep,
    Close,
    /// Close a moment later, while the next request may be on its way.
    CloseSoon(Duration),
}

impl Keeping {
    fn new(files: &[(&str, &str)], patience: Patience) -> Self {
        Self::start("http", files, move |stream, files| {
            answer(stream, files, patience);
        })
    }

    fn secure(files: &[(&str, &str)]) -> Self {
        let config = tls::trusted();
        Self::start("https", files, move |stream, files| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            answer(StreamOwned::new(connection, stream), files, |_| Then::Keep);
        })
    }

    fn start(
        scheme: &str,
        files: &[(&str, &str)],
        serve: impl Fn(TcpStream, &HashMap<String, String>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let files: HashMap<String, String> = files
            .iter()
            .map(|(name, content)| (format!("/{name}"), (*content).to_owned()))
            .collect();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, shared) = (Arc::clone(&connections), Arc::new((files, serve)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                thread::spawn(move || (shared.1)(stream, &shared.0));
            }
        });
        Self { base, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn answer(stream: impl Read + Write, files: &HashMap<String, String>, patience: Patience) {
    let mut stream = BufReader::new(stream);
    for number in 1.. {
        let lines = (&mut stream).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
            return;
        };
        let (status, body) = match files.get(path) {
            Some(body) => (200, body.as_str()),
            None => (404, ""),
        };
        let sent = if head[0].starts_with("HEAD ") {
            ""
        } else {
            body
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status} .\r\nContent-Length: {length}\r\n\r\n{sent}");
        if stream.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
        match patience(number) {
            Then::Keep => {}
            Then::Close => return,
            Then::CloseSoon(after) => return thread::sleep(after),
        }
    }
}

fn get(fetch: &HttpFetch, url: &str) -> String {
    let Ok(Response::Body(mut body)) = fetch.open(&Request::new(url)) else {
        panic!("no body");
    };
    let mut text = String::new();
    body.reader.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn one_connection_serves_many_requests() {
    let files = [("a", "first"), ("b", "second")];
    let plain = Keeping::new(&files, |_| Then::Keep);
    let secure = Keeping::secure(&files);
    let fetch = HttpFetch::new(HttpSettings {
        ca_files: vec![tls::authority()],
        ..HttpSettings::default()
    })
    .expect("a client");
    for server in [&plain, &secure] {
        for _ in 0..20 {
            assert_eq!(get(&fetch, &format!("{}/a", server.base)), "first");
            assert_eq!(get(&fetch, &format!("{}/b", server.base)), "second");
        }
        assert_eq!(server.connections(), 1, "{}", server.base);
    }
}

#[test]
fn a_server_that_closes_kept_connections_loses_no_request() {
    let server = Keeping::new(&[("f", "hello")], |number| match number % 7 {
        2 => Then::Close,
        5 => Then::CloseSoon(Duration::from_micros(number as u64 % 150)),
        6 => Then::CloseSoon(Duration::from_micros(70)),
        _ => Then::Keep,
    });
    let fetch = HttpFetch::new(HttpSettings::default()).expect("a client");
    let url = format!("{}/f", server.base);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let begun = Instant::now();
                    assert_eq!(get(&fetch, &url), "hello");
                    assert!(begun.elapsed() < Duration::from_secs(20), "it hung");
                }
            });
        }
    });
    let connections = server.connections();
    assert!(
        (300..=2000).contains(&connections),
        "{connections} connections"
    );
}

#[test]
fn a_run_needs_one_connection_for_each_download_at_once() {
    let listed = manifest(&[("app_1.raw", "one")]);
    let files = [("app_1.raw", "one"), ("SHA256SUMS", listed.as_str())];
    let server = Keeping::new(&files, |_| Then::Keep);
    let host = Host::new();
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &app(&server.base, "", ""),
    );
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert_eq!(server.connections(), 1, "manifest, size and payload");
}
