//! bzip2 streams, one after the other.
//!
//! Owns what the library's decoder for several streams leaves open: it goes through any number of empty ones at once.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;

use super::Empty;

/// Decodes all streams of a reader.
pub(super) struct Streams<R: BufRead> {
    /// `None` only while one decoder replaces the other.
    decoder: Option<BzDecoder<R>>,
    empty: Empty,
    done: bool,
}

impl<R: BufRead> Streams<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            decoder: Some(BzDecoder::new(input)),
            empty: Empty::default(),
            done: false,
        }
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        self.current().get_mut()
    }

    pub(super) fn into_inner(self) -> R {
        self.decoder
            .expect("only `read` takes it, and puts one back")
            .into_inner()
    }

    fn current(&mut self) -> &mut BzDecoder<R> {
        self.decoder
            .as_mut()
            .expect("only `read` takes it, and puts one back")
    }
}

impl<R: BufRead> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            match self.current().read(buffer) {
                Ok(0) if !buffer.is_empty() => {}
                result => {
                    self.empty = Empty::default();
                    return result;
                }
            }
            self.empty.one_more()?;
            if self.get_mut().fill_buf()?.is_empty() {
                self.done = true;
                break;
            }
            self.decoder = self
                .decoder
                .take()
                .map(|finished| BzDecoder::new(finished.into_inner()));
        }
        Ok(0)
    }
}
