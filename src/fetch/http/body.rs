//! A body on its way from the network task to the caller's thread.
//!
//! Owns the channel between the two, the measuring of stalls, and the rule that a body shorter than announced is an
//! error. The channel is shallow: [`DEPTH`] pieces of at most some 400 KiB (the HTTP library's largest read buffer), in
//! memory that is used again and again.

use std::io::{self, Read};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::super::{Cancel, FetchError};
use super::{Network, failure};

/// Pieces on the way, so that less than 4 MiB wait even when each is as large as can be.
const DEPTH: usize = 8;

/// Memory that pieces travel in, used again and again. The HTTP library reads into one buffer for as long as nobody holds
/// a piece of it, and otherwise needs a new one each time, of which the kernel has to fill in every page.
#[derive(Default)]
struct Carriers {
    /// Those on the way, the one that is read from, and the next.
    carriers: [BytesMut; DEPTH + 2],
    next: usize,
}

impl Carriers {
    fn load(&mut self, bytes: &[u8]) -> Bytes {
        let count = self.carriers.len();
        let carrier = &mut self.carriers[self.next];
        self.next = (self.next + 1) % count;
        carrier.extend_from_slice(bytes);
        carrier.split().freeze()
    }
}

enum Piece {
    Data(Bytes),
    End,
    Failed(FetchError),
}

/// Starts the network task of a body, and gives the end to read from.
pub(super) fn start(
    network: Arc<Network>,
    url: &str,
    response: reqwest::Response,
    length: Option<u64>,
) -> BodyReader {
    let (sender, receiver) = mpsc::channel(DEPTH);
    let settings = &network.settings;
    let window = settings.stall_window;
    let source = Source {
        response,
        url: url.to_owned(),
        length,
        received: 0,
        window,
        least: settings.stall_rate.saturating_mul(window.as_secs().max(1)),
        deadline: Instant::now() + window,
        in_window: 0,
        carriers: Carriers::default(),
    };
    let shared = Arc::downgrade(&network);
    network
        .runtime()
        .spawn(pump(source, sender, settings.cancel.clone(), shared));
    BodyReader {
        receiver,
        current: Bytes::new(),
        state: State::Running,
        url: url.to_owned(),
        network,
    }
}

/// Moves pieces until the end, a failure, or nobody listens any more.
async fn pump(
    mut source: Source,
    sender: mpsc::Sender<Piece>,
    cancel: Cancel,
    network: Weak<Network>,
) {
    loop {
        let before = Instant::now();
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            permit = sender.reserve() => match permit {
                Ok(permit) => permit,
                Err(_) => return,
            },
        };
        // Time spent waiting for a slow disk is not the server's fault.
        source.deadline += before.elapsed();
        let piece = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            piece = source.next() => piece,
        };
        let bytes = match &piece {
            Piece::Data(bytes) => Some(bytes.len() as u64),
            _ => None,
        };
        permit.send(piece);
        let Some(bytes) = bytes else { return };
        // The task must not keep the runtime alive that it runs in.
        let until = network
            .upgrade()
            .and_then(|network| network.pace.take(bytes, Instant::now()));
        if let Some(until) = until {
            let before = Instant::now();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(until) => {}
            }
            // Nor is what we ourselves hold back.
            source.deadline += before.elapsed();
        }
    }
}

/// The network's end.
struct Source {
    response: reqwest::Response,
    url: String,
    length: Option<u64>,
    received: u64,
    window: Duration,
    /// Bytes that have to arrive in each window.
    least: u64,
    deadline: Instant,
    in_window: u64,
    carriers: Carriers,
}

impl Source {
    async fn next(&mut self) -> Piece {
        loop {
            match timeout_at(self.deadline, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    let got = bytes.len() as u64;
                    self.received = self.received.saturating_add(got);
                    // The HTTP library holds a body to its Content-Length, but a part may come without one.
                    if self.length.is_some_and(|length| self.received > length) {
                        return Piece::Failed(FetchError::Protocol {
                            url: self.url.clone(),
                            cause: "more bytes came than the part has".to_owned(),
                        });
                    }
                    self.in_window = self.in_window.saturating_add(got);
                    return Piece::Data(self.carriers.load(&bytes));
                }
                Ok(Ok(None)) => {
                    return match self.length {
                        Some(expected) if self.received < expected => {
                            self.partial(expected, String::new())
                        }
                        _ => Piece::End,
                    };
                }
                Ok(Err(error)) => {
                    let cause = failure::cause(&error);
                    return match self.length {
                        Some(expected) => self.partial(expected, format!(": {cause}")),
                        None => Piece::Failed(FetchError::Protocol {
                            url: self.url.clone(),
                            cause,
                        }),
                    };
                }
                Err(_) if self.in_window < self.least => {
                    return Piece::Failed(FetchError::TooSlow {
                        url: self.url.clone(),
                        bytes: self.least,
                        seconds: self.window.as_secs(),
                    });
                }
                Err(_) => {
                    self.deadline = Instant::now() + self.window;
                    self.in_window = 0;
                }
            }
        }
    }

    fn partial(&self, expected: u64, detail: String) -> Piece {
        Piece::Failed(FetchError::Partial {
            url: self.url.clone(),
            received: self.received,
            expected,
            detail,
        })
    }
}

/// The caller's end.
pub(super) struct BodyReader {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    state: State,
    url: String,
    /// Keeps the runtime, and the task in it, alive.
    network: Arc<Network>,
}

enum State {
    Running,
    Ended,
    Failed(FetchError),
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &self.state {
                State::Ended => return Ok(0),
                State::Failed(error) => return Err(error.clone().into()),
                State::Running => {}
            }
            if self.network.settings.cancel.is_cancelled() {
                self.state = State::Failed(FetchError::Cancelled {
                    url: self.url.clone(),
                });
            } else if self.current.is_empty() {
                self.advance();
            } else {
                let got = self.current.len().min(buffer.len());
                self.current.copy_to_slice(&mut buffer[..got]);
                return Ok(got);
            }
        }
    }
}

impl BodyReader {
    fn advance(&mut self) {
        match self.receiver.blocking_recv() {
            Some(Piece::Data(bytes)) => self.current = bytes,
            Some(Piece::End) => self.state = State::Ended,
            Some(Piece::Failed(error)) => self.state = State::Failed(error),
            // The task ends without a word only when cancelled; the loop in `read` says so then.
            None if self.network.settings.cancel.is_cancelled() => {}
            None => {
                let cause = "the network task has ended".to_owned();
                self.state = State::Failed(FetchError::Protocol {
                    url: self.url.clone(),
                    cause,
                });
            }
        }
    }
}
