//! A body that outlives its connections.
//!
//! Owns what is needed to go on after a failure: where the body had come to, and what the first answer said of the state
//! that it is of. Bytes of another state are never put behind those that were given out already.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::super::retry::Retry;
use super::super::{FetchError, Part, Range, Seams, Validators};
use super::body::{self, BodyReader};
use super::{Network, Sent, headers};

/// What an answer says of its body.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) part: Option<Part>,
    /// Bytes that follow, if that is known.
    pub(super) length: Option<u64>,
    pub(super) tag: Option<String>,
    pub(super) modified: Option<u64>,
    pub(super) validators: Option<Validators>,
}

impl Answer {
    /// The length of the whole, as far as it is told.
    fn total(&self) -> Option<u64> {
        match self.part {
            Some(part) => part.total,
            None => self.length,
        }
    }

    fn start(&self) -> u64 {
        self.part.map_or(0, |part| part.start)
    }

    /// Whether another answer is of the same state of the same thing, as far as they tell.
    fn agrees(&self, other: &Self) -> bool {
        let totals = (self.total(), other.total());
        (&self.tag, self.modified) == (&other.tag, other.modified)
            && !matches!(totals, (Some(one), Some(two)) if one != two)
    }

    /// Whether agreement means anything.
    fn is_telling(&self) -> bool {
        self.tag.is_some() || self.modified.is_some()
    }
}

/// Reads a body, over as many connections as it takes.
pub(super) struct Steady {
    network: Arc<Network>,
    url: String,
    reader: BodyReader,
    first: Answer,
    /// Bytes given out.
    given: u64,
    /// All of them, while they are few and those of a whole: they can simply be compared.
    head: Option<Vec<u8>>,
    retry: Retry,
    /// What is shown to the server.
    private: HeaderMap,
    /// When something came in last.
    since: Instant,
    /// Bytes that do not make good for a failure yet.
    fresh: u64,
    failed: Option<FetchError>,
    seams: Seams,
}

impl Steady {
    pub(super) fn new(
        network: &Arc<Network>,
        url: &str,
        response: reqwest::Response,
        first: Answer,
        retry: Retry,
        private: HeaderMap,
    ) -> Self {
        Self {
            network: Arc::clone(network),
            url: url.to_owned(),
            reader: body::start(Arc::clone(network), url, response, first.length),
            head: first.part.is_none().then(Vec::new),
            first,
            given: 0,
            retry,
            private,
            since: Instant::now(),
            fresh: 0,
            failed: None,
            seams: Seams::default(),
        }
    }

    /// Tells later whether there was more than one connection.
    pub(super) fn seams(&self) -> Seams {
        self.seams.clone()
    }

    fn give(&mut self, bytes: &[u8]) {
        self.given += bytes.len() as u64;
        self.fresh += bytes.len() as u64;
        self.since = Instant::now();
        if self.fresh >= PROGRESS {
            self.retry.progressed();
            self.fresh = 0;
        }
        match &mut self.head {
            Some(head) if head.len() + bytes.len() <= COMPARED => head.extend_from_slice(bytes),
            head => *head = None,
        }
    }

    /// Goes on after a failure, or gives the reason why not.
    fn recover(&mut self, error: FetchError) -> Result<(), FetchError> {
        let mut error = error;
        loop {
            self.network
                .pause(&self.url, &mut self.retry, &error, None, self.since)?;
            match self.reopen() {
                Ok(reader) => {
                    self.reader = reader;
                    self.seams.add();
                    return Ok(());
                }
                Err(next) if next.is_transient() => error = next,
                Err(next) => return Err(next),
            }
        }
    }

    /// A reader of what comes after the bytes that were given out.
    fn reopen(&mut self) -> Result<BodyReader, FetchError> {
        let start = self.first.start() + self.given;
        let range = self.head.is_none().then(|| Range {
            start,
            end: self.first.part.and_then(|part| {
                // Of a part that goes on to the end, the end was not said.
                (part.total != Some(part.end)).then_some(part.end)
            }),
        });
        let condition = range.map_or_else(HeaderMap::new, |range| {
            headers::partial(range, self.first.validators.as_ref())
        });
        let sent = Sent {
            headers: &condition,
            private: &self.private,
        };
        let asked = self
            .network
            .ask(&Method::GET, &self.url, sent, &mut self.retry, self.since);
        let response = asked?;
        if !response.status().is_success() && response.status() != StatusCode::RANGE_NOT_SATISFIABLE
        {
            return Err(self.network.refusal(&self.url, &response));
        }
        let part = match range {
            None => None,
            Some(range) => match headers::part(&self.url, range, &response) {
                // It was longer before.
                Err(FetchError::OutOfRange { .. }) => return Err(self.changed()),
                part => part?,
            },
        };
        let answer = super::answer(&response, range, part);
        // Bytes that are compared tell more than what is said of them: if all are the same, it goes on with the new state.
        if self.head.is_none() && !self.first.agrees(&answer) {
            return Err(self.changed());
        }
        if answer.part.is_some() {
            let left = |length: u64| length.checked_sub(self.given).ok_or_else(|| self.changed());
            let length = self.first.length.map(left).transpose()?;
            return Ok(body::start(
                Arc::clone(&self.network),
                &self.url,
                response,
                length.or(answer.length),
            ));
        }
        // Everything comes again. What was given out is passed over, if it is the same.
        if self.head.is_none() && (self.first.part.is_some() || !self.first.is_telling()) {
            return Err(self.changed());
        }
        let whole = answer.length;
        let mut reader = body::start(Arc::clone(&self.network), &self.url, response, whole);
        self.pass_over(&mut reader)?;
        Ok(reader)
    }

    fn pass_over(&self, reader: &mut BodyReader) -> Result<(), FetchError> {
        let mut buffer = vec![0; COMPARED];
        let mut passed = 0;
        while passed < self.given {
            let room =
                usize::try_from(self.given - passed).map_or(COMPARED, |left| left.min(COMPARED));
            let got = match reader.read(&mut buffer[..room]) {
                Ok(0) => return Err(self.changed()),
                Ok(got) => got,
                Err(error) => return Err(self.typed(error)),
            };
            if let Some(head) = &self.head {
                // All that was given is in it, and so is what is compared here.
                let from = usize::try_from(passed).unwrap_or(usize::MAX);
                if head.get(from..from.saturating_add(got)) != Some(&buffer[..got]) {
                    return Err(self.changed());
                }
            }
            passed += got as u64;
        }
        Ok(())
    }

    fn changed(&self) -> FetchError {
        FetchError::Changed {
            url: self.url.clone(),
        }
    }

    fn typed(&self, error: io::Error) -> FetchError {
        FetchError::from_io(error).unwrap_or_else(|error| FetchError::Protocol {
            url: self.url.clone(),
            cause: error.to_string(),
        })
    }
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone().into());
            }
            match self.reader.read(buffer) {
                Ok(got) => {
                    self.give(&buffer[..got]);
                    return Ok(got);
                }
                Err(error) => {
                    let error = self.typed(error);
                    self.failed = self.recover(error).err();
                }
            }
        }
    }
}

/// A beginning of at most so many bytes is compared, not trusted.
const COMPARED: usize = 256 << 10;
/// So many bytes make good for the failures before.
const PROGRESS: u64 = 1 << 20;
