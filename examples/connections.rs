//! Asks a server that closes kept connections whenever it likes, many times: `connections [REQUESTS [THREADS]]`.
//!
//! Ends with 1 when a request failed or had no answer for long. `integration/connections` runs it; what it looks for (see
//! `Network::wait`) happened once in some 30,000 requests, so that a short run shows nothing.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its user"
)]

use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sysupdate::fetch::{Fetch as _, HttpFetch, HttpSettings, Request, Response};

/// Connections that the server has seen.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().ok());
    let requests = arguments.next().unwrap_or(Some(300_000));
    let threads = arguments.next().unwrap_or(Some(4));
    let (Some(requests), Some(threads)) = (requests, threads) else {
        eprintln!("usage: connections [REQUESTS [THREADS]]");
        return ExitCode::from(64);
    };
    match run(requests, threads) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("connections: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many requests were answered badly, or late.
fn run(requests: u64, threads: u64) -> Result<u64, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/f", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });
    let fetch = HttpFetch::new(HttpSettings {
        connect_timeout: Duration::from_secs(5),
        stall_window: Duration::from_secs(5),
        ..HttpSettings::default()
    })?;
    let (begun, asked, bad) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while asked.fetch_add(1, Ordering::Relaxed) < requests {
                    let since = Instant::now();
                    let answer = ask(&fetch, &url);
                    if answer.as_deref() != Ok("hello") || since.elapsed() > LATE {
                        bad.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{answer:?} after {:?}", since.elapsed());
                    }
                }
            });
        }
    });
    let bad = bad.into_inner();
    println!(
        "{requests} requests over {} connections in {:.1} s, {bad} answered badly or late",
        CONNECTIONS.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64(),
    );
    Ok(bad)
}

fn ask(fetch: &HttpFetch, url: &str) -> Result<String, String> {
    let failed = |error: &dyn Error| error.to_string();
    let Response::Body(mut body) = fetch
        .open(&Request::new(url))
        .map_err(|error| failed(&error))?
    else {
        return Err("not modified".to_owned());
    };
    let mut text = String::new();
    let read = body.reader.read_to_string(&mut text);
    read.map_err(|error| failed(&error))?;
    Ok(text)
}

/// Answers until it does not feel like it any more: at once after an answer, or a moment later, when the next request may
/// be on its way.
fn serve(mut stream: &TcpStream) {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while lines.by_ref().take_while(|line| !line.is_empty()).count() > 0 {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        if stream.write_all(answer).is_err() {
            return;
        }
        // Each such hasher starts with another random key.
        let chance = RandomState::new().build_hasher().finish();
        match chance % 6 {
            0 => return,
            1 | 2 => return thread::sleep(Duration::from_micros(chance / 6 % 400)),
            _ => {}
        }
    }
}

/// Nobody waits for that long on loopback.
const LATE: Duration = Duration::from_secs(3);
