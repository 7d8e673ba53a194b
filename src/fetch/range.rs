//! A remote file as something to read and seek in.
//!
//! Owns the few blocks of it that somebody wanted to see, and the bounds on what looking may cost. It never reads a
//! file that a server would only send whole, and never mixes two states of one.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::{Body, Fetch, FetchError, Range, Request, Response, Validators};

/// What looking into one file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes fetched.
    pub bytes: u64,
    /// Requests made.
    pub requests: u32,
}

impl Default for Budget {
    /// 2 MiB in 64 requests: images of hundreds of megabytes show a file for a quarter of that.
    fn default() -> Self {
        Self {
            bytes: 2 << 20,
            requests: 64,
        }
    }
}

/// A file behind a URL, of which only the blocks that are read are fetched. Each request starts at the URL again,
/// because what a redirect leads to may expire.
///
/// Errors of reading are [`FetchError`]s inside of [`io::Error`]s ([`FetchError::of_io`]); they leave the position as
/// it was.
pub struct Ranged<'a> {
    fetch: Handle<'a>,
    url: String,
    budget: Budget,
    length: u64,
    /// What tells the state that the blocks are of.
    state: State,
    position: u64,
    blocks: Blocks,
    bytes: u64,
    requests: u32,
    /// The block after those fetched last, and how many these were: who reads on gets more at once.
    ahead: (u64, u64),
}

/// The same in each answer, or the file has changed in between.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    tag: Option<String>,
    modified: Option<u64>,
    validators: Option<Validators>,
}

impl<'a> Ranged<'a> {
    /// Fetches the first block, and with it the length.
    ///
    /// # Errors
    /// [`FetchError::NoRanges`] when the server would only send the whole, which is not read then, and whatever else
    /// keeps it from being fetched.
    pub fn open(fetch: &'a dyn Fetch, url: &str) -> Result<Self, FetchError> {
        Self::begin(Handle::Borrowed(fetch), url, Budget::default())
    }

    /// Like [`Self::open`], with other bounds.
    ///
    /// # Errors
    /// The same.
    pub fn open_within(
        fetch: &'a dyn Fetch,
        url: &str,
        budget: Budget,
    ) -> Result<Self, FetchError> {
        Self::begin(Handle::Borrowed(fetch), url, budget)
    }

    /// Like [`Self::open_within`], for readers that must own all they read from.
    ///
    /// # Errors
    /// The same.
    pub fn open_shared(
        fetch: Arc<dyn Fetch>,
        url: &str,
        budget: Budget,
    ) -> Result<Ranged<'static>, FetchError> {
        Ranged::begin(Handle::Shared(fetch), url, budget)
    }

    /// The length of the file in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "this is the length of a file, not of a collection"
    )]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Bytes fetched so far.
    #[must_use]
    pub fn bytes_fetched(&self) -> u64 {
        self.bytes
    }

    /// Requests made so far.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests
    }

    fn begin(fetch: Handle<'a>, url: &str, budget: Budget) -> Result<Self, FetchError> {
        let mut ranged = Self {
            fetch,
            url: url.to_owned(),
            budget,
            length: 0,
            state: State::default(),
            position: 0,
            blocks: Blocks::default(),
            bytes: 0,
            requests: 0,
            ahead: (0, 0),
        };
        ranged.afford(1)?;
        let mut body = match ranged.ask(0, BLOCK) {
            Ok(body) => body,
            // Of an empty file no range can be had.
            Err(FetchError::OutOfRange {
                length: Some(0), ..
            }) => return Ok(ranged),
            Err(error) => return Err(error),
        };
        let Some(part) = body.part else {
            return match body.length {
                Some(0) => Ok(ranged),
                _ => Err(FetchError::NoRanges { url: ranged.url }),
            };
        };
        let Some(length) = part.total else {
            return Err(ranged.wrong("the length of the whole is missing".to_owned()));
        };
        ranged.length = length;
        ranged.state = State::of(&body);
        ranged.keep(&mut body, 0, 1)?;
        Ok(ranged)
    }

    /// How many blocks from `first` on, of `wanted`, can still be paid for.
    fn afford(&self, wanted: u64) -> Result<u64, FetchError> {
        let blocks = (self.budget.bytes.saturating_sub(self.bytes) / BLOCK).min(wanted);
        if blocks == 0 || self.requests >= self.budget.requests {
            return Err(FetchError::TooMuch {
                url: self.url.clone(),
                bytes: self.budget.bytes,
                requests: self.budget.requests,
            });
        }
        Ok(blocks)
    }

    fn ask(&mut self, start: u64, end: u64) -> Result<Body, FetchError> {
        self.requests += 1;
        let request = Request {
            url: &self.url,
            validators: self.state.validators.as_ref(),
            range: Some(Range {
                start,
                end: Some(end),
            }),
        };
        match self.fetch.open(&request)? {
            Response::Body(body) => Ok(body),
            Response::NotModified => Err(FetchError::Status {
                url: self.url.clone(),
                code: 304,
            }),
        }
    }

    /// Fetches the block `first`, and those after it if the reader is likely to want them.
    fn load(&mut self, first: u64) -> Result<(), FetchError> {
        let reads_on = self.ahead.0 == first;
        let wanted = if reads_on {
            (self.ahead.1 * 2).clamp(1, AHEAD)
        } else {
            1
        };
        let last = self.length.div_ceil(BLOCK);
        let missing = (first..(first + wanted).min(last))
            .take_while(|block| !self.blocks.has(*block))
            .count();
        let count = self.afford(missing as u64)?;
        let (start, end) = (first * BLOCK, ((first + count) * BLOCK).min(self.length));
        let mut body = match self.ask(start, end) {
            Ok(body) => body,
            // It was longer before.
            Err(FetchError::OutOfRange { .. }) => return Err(self.changed()),
            Err(error) => return Err(error),
        };
        // The whole is what a server sends that no longer has what the validators stand for.
        if body
            .part
            .is_none_or(|part| part.total.is_some_and(|total| total != self.length))
            || !self.state.is_same(&State::of(&body))
        {
            return Err(self.changed());
        }
        self.keep(&mut body, first, count)
    }

    /// Reads `count` blocks from a body and keeps them.
    fn keep(&mut self, body: &mut Body, first: u64, count: u64) -> Result<(), FetchError> {
        let start = first * BLOCK;
        let expected = (start + count * BLOCK).min(self.length) - start;
        if body.length != Some(expected) {
            let got = body
                .length
                .map_or_else(|| "?".to_owned(), |length| length.to_string());
            return Err(self.wrong(format!("asked for {expected} bytes, got {got}")));
        }
        for block in first..first + count {
            let length = (self.length - block * BLOCK).min(BLOCK);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            body.reader
                .read_exact(&mut bytes)
                .map_err(|error| self.broken(error))?;
            self.bytes += length;
            self.blocks.put(block, bytes);
        }
        self.ahead = (first + count, count);
        Ok(())
    }

    fn changed(&self) -> FetchError {
        FetchError::Changed {
            url: self.url.clone(),
        }
    }

    fn wrong(&self, cause: String) -> FetchError {
        FetchError::WrongRange {
            url: self.url.clone(),
            cause,
        }
    }

    fn broken(&self, error: io::Error) -> FetchError {
        FetchError::from_io(error).unwrap_or_else(|error| FetchError::Protocol {
            url: self.url.clone(),
            cause: error.to_string(),
        })
    }
}

impl State {
    fn of(body: &Body) -> Self {
        Self {
            tag: body.tag.clone(),
            modified: body.modified,
            validators: body.validators.clone(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.tag, self.modified) == (&other.tag, other.modified)
    }
}

impl Read for Ranged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.length {
            return Ok(0);
        }
        let index = self.position / BLOCK;
        if !self.blocks.has(index) {
            self.load(index)?;
        }
        let block = self.blocks.get(index);
        // Less than a block.
        let start = usize::try_from(self.position % BLOCK).unwrap_or_default();
        let got = (&block[start..]).read(buffer)?;
        self.position += got as u64;
        Ok(got)
    }
}

impl Seek for Ranged<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl std::fmt::Debug for Ranged<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Ranged")
            .field("url", &self.url)
            .field("length", &self.length)
            .field("position", &self.position)
            .field("bytes", &self.bytes)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// The way to the network.
enum Handle<'a> {
    Borrowed(&'a dyn Fetch),
    Shared(Arc<dyn Fetch>),
}

impl Handle<'_> {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        match self {
            Self::Borrowed(fetch) => fetch.open(request),
            Self::Shared(fetch) => fetch.open(request),
        }
    }
}

/// The blocks in memory, at most [`KEPT`]; the one that was not used for the longest time goes first.
#[derive(Default)]
struct Blocks {
    blocks: HashMap<u64, (Vec<u8>, u64)>,
    clock: u64,
}

impl Blocks {
    fn has(&self, index: u64) -> bool {
        self.blocks.contains_key(&index)
    }

    /// A block that is there.
    fn get(&mut self, index: u64) -> &[u8] {
        self.clock += 1;
        match self.blocks.get_mut(&index) {
            Some((bytes, used)) => {
                *used = self.clock;
                bytes
            }
            None => &[],
        }
    }

    fn put(&mut self, index: u64, bytes: Vec<u8>) {
        if self.blocks.len() >= KEPT
            && let Some(oldest) = self.blocks.iter().min_by_key(|(_, (_, used))| *used)
        {
            let oldest = *oldest.0;
            self.blocks.remove(&oldest);
        }
        self.clock += 1;
        self.blocks.insert(index, (bytes, self.clock));
    }
}

/// Bytes are fetched in pieces of this size, which begin at its multiples.
const BLOCK: u64 = 64 << 10;
/// Blocks fetched at once by who reads on and on.
const AHEAD: u64 = 4;
/// Blocks kept: 4 MiB.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::FileFetch;

    /// [`BLOCK`] as a size in memory.
    const SIZE: usize = 64 << 10;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length)
            .map(|index| ((index * 7 + index / 251) % 256).to_le_bytes()[0])
            .collect()
    }

    fn file(content: &[u8]) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let url = format!("file://{}", file.path().display());
        (file, url)
    }

    #[test]
    fn what_is_read_anywhere_is_what_the_file_holds() {
        let block = SIZE;
        for length in [0, 1, block - 1, block, block + 1, 5 * block + 17] {
            let content = bytes(length);
            let (_file, url) = file(&content);
            let fetch = FileFetch::default();
            let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
            assert_eq!(ranged.len(), length as u64);
            for position in [0, 1, block - 2, block, 3 * block + 5, length, length + 9] {
                ranged
                    .seek(SeekFrom::Start(position as u64))
                    .expect("sought");
                let mut read = [0; 100];
                let mut filled = 0;
                while filled < read.len() {
                    match ranged.read(&mut read[filled..]).expect("read") {
                        0 => break,
                        got => filled += got,
                    }
                }
                let end = (position + 100).min(length);
                let wanted = content.get(position..end).unwrap_or_default();
                assert_eq!(&read[..filled], wanted, "{length} bytes, at {position}");
            }
            let mut all = Vec::new();
            ranged.rewind().expect("sought");
            ranged.read_to_end(&mut all).expect("read");
            assert!(all == content, "{length}");
            assert_eq!(ranged.bytes_fetched(), length as u64, "each block once");
        }
    }

    #[test]
    fn seeking_follows_the_rules_of_files() {
        let (_file, url) = file(&bytes(100));
        let fetch = FileFetch::default();
        let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
        assert_eq!(ranged.seek(SeekFrom::End(-10)).expect("sought"), 90);
        assert_eq!(ranged.seek(SeekFrom::Current(-50)).expect("sought"), 40);
        assert_eq!(ranged.seek(SeekFrom::Current(500)).expect("sought"), 540);
        assert!(ranged.seek(SeekFrom::End(-101)).is_err());
        assert_eq!(ranged.stream_position().expect("known"), 540);
        assert_eq!(ranged.requests(), 1, "seeking costs nothing");
    }

    #[test]
    fn who_reads_on_gets_more_at_once_and_who_jumps_does_not() {
        let (_file, url) = file(&bytes(20 * SIZE));
        let fetch = FileFetch::default();
        let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
        let mut all = Vec::new();
        ranged.read_to_end(&mut all).expect("read");
        // 1, 2, 4, 4, 4, 4, 1.
        assert_eq!(ranged.requests(), 7);
        let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
        for block in [10, 5, 15] {
            ranged
                .seek(SeekFrom::Start(block * BLOCK))
                .and_then(|_| ranged.read_exact(&mut [0]))
                .expect("read");
        }
        assert_eq!((ranged.requests(), ranged.bytes_fetched()), (4, 4 * BLOCK));
    }

    #[test]
    fn what_it_may_cost_is_bounded() {
        let (_file, url) = file(&bytes(20 * SIZE));
        let fetch = FileFetch::default();
        let rows = [
            (BLOCK * 4 + 1, 64, BLOCK * 4),
            (1 << 30, 3, BLOCK * 7),
            (1 << 30, 1, BLOCK),
        ];
        for (bytes, requests, seen) in rows {
            let budget = Budget { bytes, requests };
            let mut ranged = Ranged::open_within(&fetch, &url, budget).expect("it opens");
            let mut read = Vec::new();
            let error = ranged.read_to_end(&mut read).expect_err("too much");
            let error = FetchError::of_io(&error).expect("typed");
            assert!(matches!(error, FetchError::TooMuch { .. }), "{error}");
            assert_eq!((read.len() as u64, ranged.bytes_fetched()), (seen, seen));
        }
        let none = Budget {
            bytes: BLOCK - 1,
            requests: 9,
        };
        assert!(matches!(
            Ranged::open_within(&fetch, &url, none),
            Err(FetchError::TooMuch { .. })
        ));
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_fetched_again() {
        let content = bytes(70 * SIZE);
        let (_file, url) = file(&content);
        let fetch = FileFetch::default();
        let budget = Budget {
            bytes: 1 << 30,
            requests: 1000,
        };
        let mut ranged = Ranged::open_within(&fetch, &url, budget).expect("it opens");
        for _ in 0..2 {
            let mut all = Vec::new();
            ranged.rewind().expect("sought");
            ranged.read_to_end(&mut all).expect("read");
            assert!(all == content);
            assert_eq!(ranged.blocks.blocks.len(), KEPT);
        }
    }

    #[test]
    fn a_file_that_changes_in_between_is_noticed() {
        let (file, url) = file(&bytes(3 * SIZE));
        let fetch = FileFetch::default();
        let mut ranged = Ranged::open(&fetch, &url).expect("it opens");
        file.as_file().set_len(BLOCK).expect("truncated");
        for position in [BLOCK, 2 * BLOCK] {
            ranged.seek(SeekFrom::Start(position)).expect("sought");
            let error = ranged.read(&mut [0]).expect_err("changed");
            let error = FetchError::of_io(&error).expect("typed");
            assert!(matches!(error, FetchError::Changed { .. }), "{error}");
        }
    }

    #[test]
    fn readers_that_must_own_it_and_go_to_another_thread_can() {
        fn owned(_: impl Read + Seek + Send + 'static) {}
        let (_file, url) = file(b"x");
        let fetch: Arc<dyn Fetch> = Arc::new(FileFetch::default());
        owned(Ranged::open_shared(fetch, &url, Budget::default()).expect("it opens"));
    }
}
