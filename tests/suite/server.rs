//! A web server on loopback, programmable per path, that logs what it was asked.
//!
//! It speaks plain sockets: half a body, silence and a reset are things that no server library wants to send.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// When every file was last modified: 1795414499 seconds after the epoch.
pub(crate) const MODIFIED: &str = "Mon, 23 Nov 2026 06:14:59 GMT";

/// The server; it lives as long as the test process.
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// What is said before that, once each.
    scripts: HashMap<String, VecDeque<Answer>>,
    /// Answers to the next request only.
    once: HashMap<String, Answer>,
    log: Vec<Exchange>,
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_modified_since: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) accept: Option<String>,
    /// `X-Key`.
    pub(crate) key: Option<String>,
    pub(crate) status: u16,
}

/// What the server says to a path.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    ending: Ending,
    ranges: Ranges,
}

/// What becomes of a request for a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    /// The whole is sent.
    Ignored,
    /// The part is sent, of what the condition stands for.
    Sent,
    /// The part is sent, of whatever is there.
    Unconditional,
    /// The part is sent, and a header that says it is another.
    Mislabelled(&'static str),
    /// Other bytes are sent than the header says.
    Shifted,
    /// 416.
    Refused,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Whole,
    /// So many bytes of the announced length, then the connection closes.
    Short(usize),
    /// So many bytes, then the connection is reset (RST), before the answer if there are none.
    Reset(usize),
    /// So many bytes, then silence while the client stays.
    Stalled(usize),
    /// So many bytes, then a break, then the rest.
    Slow(usize, Duration),
    /// A byte now and then.
    Dripping,
    /// The body over and over, no length.
    Endless,
    /// The body over and over, in chunks.
    EndlessChunks,
    /// The body in chunks, so many bytes of it, then the connection closes.
    ShortChunks(usize),
    /// The body, no length.
    Unannounced,
    /// These bytes instead of an answer.
    Garbage(&'static str),
    /// One header after the other.
    EndlessHead,
    /// One interim answer after the other.
    EndlessHints,
    /// Nothing while the client stays.
    Silent,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            ending: Ending::Whole,
            ranges: Ranges::Ignored,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::ok(format!("this is a page about error {status}\n"))
        }
    }

    pub(crate) fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self::status(status).header("Location", to)
    }

    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn short(self, bytes: usize) -> Self {
        Self {
            ending: Ending::Short(bytes),
            ..self
        }
    }

    /// Understands requests for ranges.
    pub(crate) fn ranges(self) -> Self {
        Self {
            ranges: Ranges::Sent,
            ..self
        }
    }

    /// Sends the part that was asked for, whatever the condition.
    pub(crate) fn unconditional(self) -> Self {
        Self {
            ranges: Ranges::Unconditional,
            ..self
        }
    }

    /// Sends the bytes before those that were asked for, as if they were the right ones.
    pub(crate) fn shifted(self) -> Self {
        Self {
            ranges: Ranges::Shifted,
            ..self
        }
    }

    /// Answers 416 to every request for a range.
    pub(crate) fn refusing_ranges(self) -> Self {
        Self {
            ranges: Ranges::Refused,
            ..self
        }
    }

    /// Sends the part that was asked for with this `Content-Range`.
    pub(crate) fn mislabelled(self, content_range: &'static str) -> Self {
        Self {
            ranges: Ranges::Mislabelled(content_range),
            ..self
        }
    }

    /// The part that a header asks for, if there is one; 416 otherwise.
    fn narrowed(self, range: &str) -> Self {
        let total = self.body.len();
        let number = |text: &str| text.parse::<usize>().ok();
        let wanted = range
            .strip_prefix("bytes=")
            .and_then(|text| text.split_once('-'));
        let Some((start, last)) =
            wanted.and_then(|(start, last)| Some((number(start)?, number(last))))
        else {
            return self;
        };
        let end = last.map_or(total, |last| (last + 1).min(total));
        if start >= end || self.ranges == Ranges::Refused {
            return Self::status(416).header("Content-Range", format!("bytes */{total}"));
        }
        let label = match self.ranges {
            Ranges::Mislabelled(label) => label.to_owned(),
            _ => format!("bytes {start}-{}/{total}", end - 1),
        };
        Self {
            status: 206,
            body: if self.ranges == Ranges::Shifted {
                self.body[start - 1..end - 1].to_vec()
            } else {
                self.body[start..end].to_vec()
            },
            ..self
        }
        .header("Content-Range", label)
    }

    pub(crate) fn stalled(self, bytes: usize) -> Self {
        Self {
            ending: Ending::Stalled(bytes),
            ..self
        }
    }

    pub(crate) fn slow(self, bytes: usize, pause: Duration) -> Self {
        Self {
            ending: Ending::Slow(bytes, pause),
            ..self
        }
    }

    pub(crate) fn dripping(self) -> Self {
        self.ending(Ending::Dripping)
    }

    pub(crate) fn endless(self) -> Self {
        self.ending(Ending::Endless)
    }

    pub(crate) fn endless_chunks(self) -> Self {
        self.ending(Ending::EndlessChunks)
    }

    pub(crate) fn short_chunks(self, bytes: usize) -> Self {
        self.ending(Ending::ShortChunks(bytes))
    }

    pub(crate) fn reset(self, bytes: usize) -> Self {
        self.ending(Ending::Reset(bytes))
    }

    pub(crate) fn unannounced(self) -> Self {
        self.ending(Ending::Unannounced)
    }

    pub(crate) fn garbage(text: &'static str) -> Self {
        Self::ok("").ending(Ending::Garbage(text))
    }

    pub(crate) fn endless_head() -> Self {
        Self::ok("").ending(Ending::EndlessHead)
    }

    pub(crate) fn endless_hints() -> Self {
        Self::ok("").ending(Ending::EndlessHints)
    }

    pub(crate) fn silent() -> Self {
        Self::ok("").ending(Ending::Silent)
    }

    fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    fn named(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| *own == name)?;
        Some(&found.1)
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("the listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self {
            base: format!("http://{address}"),
            state,
        }
    }

    /// `path` may begin with `HEAD ` to mean only such requests.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        lock(&self.state).answers.insert(path.to_owned(), answer);
    }

    /// Gives these answers to a path before its usual one, once each.
    pub(crate) fn first(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let script = answers.into_iter().collect();
        lock(&self.state).scripts.insert(path.to_owned(), script);
    }

    /// Serves a file with an entity tag that changes with its content, last modified at [`MODIFIED`].
    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        let body = body.into();
        let tag = format!("\"{}\"", &sha256(&body)[..16]);
        let answer = Answer::ok(body).ranges().header("ETag", tag);
        self.answer(path, answer.header("Last-Modified", MODIFIED));
    }

    /// Serves a file to the next request for it, and to no other.
    pub(crate) fn put_once(&self, path: &str, body: impl Into<Vec<u8>>) {
        let answer = Answer::ok(body);
        lock(&self.state).once.insert(path.to_owned(), answer);
    }

    pub(crate) fn remove(&self, path: &str) {
        lock(&self.state).answers.remove(path);
    }

    /// Serves files below `/` and the manifest that lists them, and nothing else.
    pub(crate) fn publish(&self, files: &[(&str, &str)]) {
        lock(&self.state).answers.clear();
        for (name, content) in files {
            self.put(&format!("/{name}"), *content);
        }
        self.put("/SHA256SUMS", manifest(files));
    }

    /// What was asked since the last call.
    pub(crate) fn take_log(&self) -> Vec<Exchange> {
        std::mem::take(&mut lock(&self.state).log)
    }

    /// The same as `METHOD PATH STATUS` lines, without the questions about sizes.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        let exchanges = self.take_log().into_iter();
        exchanges
            .filter(|exchange| exchange.method != "HEAD")
            .map(|exchange| format!("{} {} {}", exchange.method, exchange.path, exchange.status))
            .collect()
    }
}

/// A manifest of files, in their order.
pub(crate) fn manifest(files: &[(&str, &str)]) -> String {
    files
        .iter()
        .fold(String::new(), |mut text, (name, content)| {
            let _ = writeln!(text, "{}  {name}", sha256(content.as_bytes()));
            text
        })
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics with the lock held")
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut words = head.first().into_iter().flat_map(|line| line.split(' '));
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return;
    };
    let header = |name: &str| {
        let lines = head.iter().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    };
    let if_none_match = header("If-None-Match");
    let if_modified_since = header("If-Modified-Since");
    let (range, if_range) = (header("Range"), header("If-Range"));
    let (authorization, key) = (header("Authorization"), header("X-Key"));
    let mut state = lock(state);
    let passing = match method {
        "GET" => state.scripts.get_mut(path).and_then(VecDeque::pop_front),
        _ => None,
    };
    let passing = passing.or_else(|| state.once.remove(path));
    let special = state.answers.get(&format!("{method} {path}"));
    let lasting = special.or_else(|| state.answers.get(path)).cloned();
    let mut answer = passing.or(lasting).unwrap_or_else(|| Answer::status(404));
    let same_tag = if_none_match
        .as_deref()
        .map(|tag| answer.named("ETag") == Some(tag));
    let same_date = if_modified_since
        .as_deref()
        .map(|date| answer.named("Last-Modified") == Some(date));
    // RFC 9110 section 13.2.2: the tag decides when there is one.
    if answer.status == 200 && same_tag.or(same_date) == Some(true) {
        answer.status = 304;
        answer.body.clear();
    }
    let is_current = if_range.as_deref().is_none_or(|condition| {
        [answer.named("ETag"), answer.named("Last-Modified")].contains(&Some(condition))
    });
    if let Some(range) = range
        .as_deref()
        .filter(|_| answer.status == 200 && answer.ranges != Ranges::Ignored)
        .filter(|_| answer.ranges != Ranges::Sent || is_current)
    {
        answer = answer.narrowed(range);
    }
    state.log.push(Exchange {
        method: method.to_owned(),
        path: path.to_owned(),
        if_none_match,
        if_modified_since,
        range,
        if_range,
        authorization,
        accept: header("Accept"),
        key,
        status: answer.status,
    });
    drop(state);
    // The client may be gone already.
    let _ = send(stream, &answer, method);
}

fn send(mut stream: &TcpStream, answer: &Answer, method: &str) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", answer.status);
    match answer.ending {
        Ending::Garbage(text) => return stream.write_all(text.as_bytes()),
        Ending::Silent => return stream.read(&mut [0]).map(|_| ()),
        Ending::Reset(0) => return reset(stream),
        // Until the client hangs up.
        Ending::EndlessHints => loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        },
        Ending::EndlessHead => {
            stream.write_all(head.as_bytes())?;
            // Until the client hangs up.
            loop {
                stream.write_all(b"X-More: and more and more and more\r\n")?;
            }
        }
        _ => {}
    }
    let chunked = matches!(
        answer.ending,
        Ending::EndlessChunks | Ending::ShortChunks(_)
    );
    let announced = !chunked && !matches!(answer.ending, Ending::Endless | Ending::Unannounced);
    if chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    }
    if announced && answer.status != 304 && answer.named("Content-Length").is_none() {
        let _ = write!(head, "Content-Length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let body = if method == "HEAD" { &[] } else { &*answer.body };
    match answer.ending {
        _ if body.is_empty() => Ok(()),
        Ending::Whole | Ending::Unannounced => stream.write_all(body),
        Ending::Short(bytes) => stream.write_all(&body[..bytes.min(body.len())]),
        Ending::Stalled(bytes) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            // Until the client hangs up.
            stream.read(&mut [0]).map(|_| ())
        }
        Ending::Dripping => body.iter().try_for_each(|byte| {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(50));
            Ok(())
        }),
        Ending::Endless => loop {
            stream.write_all(body)?;
        },
        Ending::EndlessChunks => loop {
            chunk(stream, body)?;
        },
        Ending::ShortChunks(bytes) => {
            let body = &body[..bytes.min(body.len())];
            body.chunks(1000).try_for_each(|piece| chunk(stream, piece))
        }
        Ending::Reset(bytes) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            // What the client has not taken yet would be lost, and it is to see something.
            thread::sleep(Duration::from_millis(50));
            reset(stream)
        }
        // They have sent what they have to say.
        Ending::Garbage(_) | Ending::EndlessHead | Ending::EndlessHints | Ending::Silent => Ok(()),
        Ending::Slow(bytes, pause) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            thread::sleep(pause);
            stream.write_all(&body[bytes.min(body.len())..])
        }
    }
}

fn chunk(mut stream: &TcpStream, piece: &[u8]) -> std::io::Result<()> {
    write!(stream, "{:x}\r\n", piece.len())?;
    stream.write_all(piece)?;
    stream.write_all(b"\r\n")
}

/// Lets the kernel answer with RST instead of an orderly end once the connection is closed (socket(7), `SO_LINGER`).
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
