//! The reader below a decoder.
//!
//! Owns the first bytes, which were read to choose the decoder and are given to it again, and the reader's last
//! error, which decoders tend to rename.

use std::io::{self, Read};

use super::SNIFFED;

/// A reader whose first bytes are known.
pub(super) struct Source<R> {
    head: [u8; SNIFFED],
    /// Bytes of `head` that there are.
    filled: usize,
    /// Bytes of `head` that have been given out.
    given: usize,
    inner: R,
    error: Option<io::Error>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut head = [0; SNIFFED];
        let mut filled = 0;
        while filled < SNIFFED {
            match inner.read(&mut head[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            head,
            filled,
            given: 0,
            inner,
            error: None,
        })
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head[..self.filled]
    }

    /// The error of the reader below that made the last read fail.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given < self.filled {
            let got = (&self.head[self.given..self.filled]).read(buffer)?;
            self.given += got;
            return Ok(got);
        }
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    return Err(io::Error::other("the source failed"));
                }
                got => return got,
            }
        }
    }
}
