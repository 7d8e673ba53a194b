//! Streams of one format, one after the other.
//!
//! Owns the way from one to the next, the end of it, and the bound on streams that bring nothing. What a stream is, and what
//! may be between two, is the business of each format: [`Decode`].

use std::io::{self, BufRead, Read};

/// The decoder of one stream.
pub(super) trait Decode: Read {
    /// Where the packed bytes come from.
    type Input: BufRead;
    /// What is needed before there can be one.
    type Setup;

    /// # Errors
    /// When there is no memory for the decoder.
    fn set_up() -> io::Result<Self::Setup>;

    fn start(setup: Self::Setup, input: Self::Input) -> Self;

    fn input(&mut self) -> &mut Self::Input;

    fn into_input(self) -> Self::Input;

    /// Passes over what may be between this stream, which has ended, and another one. Whether anything follows.
    ///
    /// # Errors
    /// When the input fails, or what is there may not be.
    fn is_followed(&mut self) -> io::Result<bool> {
        Ok(!self.input().fill_buf()?.is_empty())
    }
}

/// Decodes all streams of a reader.
pub(super) struct Streams<D> {
    /// `None` only while one decoder replaces the other.
    decoder: Option<D>,
    /// Streams in a row that ended, and brought nothing since the last byte.
    empty: u32,
    done: bool,
}

impl<D: Decode> Streams<D> {
    /// # Errors
    /// When there is no memory for the decoder.
    pub(super) fn new(input: D::Input) -> io::Result<Self> {
        Ok(Self {
            decoder: Some(D::start(D::set_up()?, input)),
            empty: 0,
            done: false,
        })
    }

    pub(super) fn get_mut(&mut self) -> &mut D::Input {
        self.current().input()
    }

    pub(super) fn into_inner(self) -> D::Input {
        self.decoder
            .expect("only `next` takes it, and puts one back")
            .into_input()
    }

    fn current(&mut self) -> &mut D {
        self.decoder
            .as_mut()
            .expect("only `next` takes it, and puts one back")
    }

    fn next(&mut self) -> io::Result<()> {
        // First: without memory the one before stays.
        let setup = D::set_up()?;
        self.decoder = self
            .decoder
            .take()
            .map(|finished| D::start(setup, finished.into_input()));
        Ok(())
    }
}

impl<D: Decode> Read for Streams<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            match self.current().read(buffer) {
                Ok(0) if !buffer.is_empty() => self.empty += 1,
                result => {
                    self.empty = 0;
                    return result;
                }
            }
            if self.empty > EMPTY {
                return Err(io::Error::other("there are too many empty streams"));
            }
            if self.current().is_followed()? {
                self.next()?;
            } else {
                self.done = true;
            }
        }
        Ok(0)
    }
}

/// So many streams may bring nothing.
const EMPTY: u32 = 64;
