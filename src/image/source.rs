//! The bytes of an image, or of a partition of it: positioned, bounded, cached reads over one `Read + Seek`.
//!
//! Everything that the formats read passes here, therefore the bound on work is here, too: each look has a budget of
//! bytes, and a structure that leads in circles ends when it is spent.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ImageError;

/// What an image is read from: a local file, a buffer, a reader of ranges from afar.
pub trait Bytes: Read + Seek + Send {}

impl<T: Read + Seek + Send> Bytes for T {}

/// A window onto the image; clones share the reader, its cache and the budget.
#[derive(Clone)]
pub(super) struct Source {
    shared: Arc<Mutex<Shared>>,
    start: u64,
    length: u64,
    kind: &'static str,
}

struct Shared {
    reader: Box<dyn Bytes>,
    length: u64,
    /// Chunks by index, the latest used at the end.
    chunks: VecDeque<(u64, Box<[u8]>)>,
    budget: u64,
    /// The first error behind a reader whose own errors cannot carry it.
    failure: Option<ImageError>,
}

impl Source {
    pub(super) fn new(reader: Box<dyn Bytes>, length: u64) -> Self {
        let shared = Shared {
            reader,
            length,
            chunks: VecDeque::new(),
            budget: LOOK_BUDGET,
            failure: None,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            start: 0,
            length,
            kind: "",
        }
    }

    /// The same bytes, now known to claim to be of this kind.
    pub(super) fn of_kind(&self, kind: &'static str) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }

    /// The part from `start` on, of `length` bytes; as much of it as there is.
    pub(super) fn window(&self, start: u64, length: u64) -> Self {
        let start = start.min(self.length);
        Self {
            start: self.start + start,
            length: length.min(self.length - start),
            ..self.clone()
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn damaged(&self, problem: impl Into<String>) -> ImageError {
        ImageError::damaged(self.kind, problem)
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        let wanted = buffer.len() as u64;
        if offset
            .checked_add(wanted)
            .is_none_or(|end| end > self.length)
        {
            return Err(self.damaged(format!(
                "{wanted} bytes at {offset} are beyond its end at {}",
                self.length
            )));
        }
        self.charge(wanted.max(LEAST_CHARGE))?;
        let mut shared = self.lock();
        let mut position = self.start + offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let chunk = shared.chunk(position / CHUNK, self.kind)?;
            // A short last chunk ends where the image does, which has been checked.
            let inside = usize::try_from(position % CHUNK).unwrap_or(0);
            let available = &chunk[inside..];
            let part = available.len().min(rest.len());
            let (now, later) = rest.split_at_mut(part);
            now.copy_from_slice(&available[..part]);
            position += part as u64;
            rest = later;
        }
        Ok(())
    }

    /// Reads `N` bytes at `offset`.
    pub(super) fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], ImageError> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Takes work of so many bytes from the budget.
    pub(super) fn charge(&self, bytes: u64) -> Result<(), ImageError> {
        let mut shared = self.lock();
        match shared.budget.checked_sub(bytes) {
            Some(left) => {
                shared.budget = left;
                Ok(())
            }
            None => Err(self.damaged("looking into it does not come to an end")),
        }
    }

    /// Grants a fresh budget for one look, and for `extra` bytes on top.
    pub(super) fn grant(&self, extra: u64) {
        let mut shared = self.lock();
        shared.budget = LOOK_BUDGET.saturating_add(extra);
        shared.failure = None;
    }

    /// For readers that have error types of their own: keeps this one until [`Self::failure`] asks.
    pub(super) fn keep(&self, error: ImageError) {
        self.lock().failure.get_or_insert(error);
    }

    /// The error that was kept, or else what the foreign reader says is wrong with the image.
    pub(super) fn failure(&self, problem: impl std::fmt::Display) -> ImageError {
        let kept = self.lock().failure.take();
        kept.unwrap_or_else(|| self.damaged(problem.to_string()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        // Nothing panics while it holds the lock; were it so, the state would still be whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn chunk(&mut self, index: u64, kind: &'static str) -> Result<&[u8], ImageError> {
        if let Some(found) = self.chunks.iter().position(|(held, _)| *held == index) {
            if let Some(chunk) = self.chunks.remove(found) {
                self.chunks.push_back(chunk);
            }
        } else {
            let chunk = self.fetch(index, kind)?;
            if self.chunks.len() == CHUNKS {
                self.chunks.pop_front();
            }
            self.chunks.push_back((index, chunk));
        }
        // One has just been put there.
        Ok(self.chunks.back().map_or(&[], |(_, bytes)| bytes))
    }

    fn fetch(&mut self, index: u64, kind: &'static str) -> Result<Box<[u8]>, ImageError> {
        let start = index * CHUNK;
        let size = usize::try_from(CHUNK.min(self.length - start)).unwrap_or(0);
        let mut bytes = vec![0; size].into_boxed_slice();
        self.reader
            .seek(SeekFrom::Start(start))
            .map_err(ImageError::Read)?;
        let mut filled = 0;
        while filled < size {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => {
                    let end = start + filled as u64;
                    return Err(ImageError::damaged(kind, format!("it ends at byte {end}")));
                }
                Ok(more) => filled += more.min(size - filled),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ImageError::Read(error)),
            }
        }
        Ok(bytes)
    }
}

/// Little-endian fields of a structure that has been read whole; a field beyond it is zero.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    pub(super) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let found = self.0.get(at..at + N);
        found.map_or([0; N], |bytes| bytes.try_into().unwrap_or([0; N]))
    }
}

/// The unit of reading and of the cache: what one request from afar should bring.
const CHUNK: u64 = 64 << 10;

/// How many chunks are held: one MiB.
const CHUNKS: usize = 16;

/// What one look may read and decode, in bytes: some hundred times what it needs.
const LOOK_BUDGET: u64 = 64 << 20;

/// What even the smallest read costs, so that many of them end as well.
const LEAST_CHARGE: u64 = 64;
