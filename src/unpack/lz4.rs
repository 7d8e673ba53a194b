//! LZ4 frames, one after the other.
//!
//! Owns what the frame decoder leaves open: it takes the end of the input inside of a frame for the frame's end, and
//! a decoder that is used for a second frame keeps the first one's buffers.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder;

use super::Empty;

/// Decodes all frames of a reader.
pub(super) struct Frames<R: BufRead> {
    /// `None` only while one decoder replaces the other.
    decoder: Option<FrameDecoder<Watched<R>>>,
    empty: Empty,
    done: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            decoder: Some(FrameDecoder::new(Watched {
                input,
                ended: false,
            })),
            empty: Empty::default(),
            done: false,
        }
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self
            .decoder
            .as_mut()
            .expect("only `read` takes it, and puts one back")
            .get_mut()
            .input
    }

    pub(super) fn into_inner(self) -> R {
        self.decoder
            .expect("only `read` takes it, and puts one back")
            .into_inner()
            .input
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            let decoder = self
                .decoder
                .as_mut()
                .expect("only the end of this loop takes it, and puts one back");
            match decoder.read(buffer) {
                Ok(0) if buffer.is_empty() => return Ok(0),
                Ok(0) => self.empty.one_more()?,
                result => {
                    self.empty = Empty::default();
                    return result;
                }
            }
            // The end mark has been read, and nothing behind it; or the input ended before it.
            let watched = decoder.get_mut();
            if watched.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if watched.input.fill_buf()?.is_empty() {
                self.done = true;
                break;
            }
            self.decoder = self
                .decoder
                .take()
                .map(|finished| FrameDecoder::new(finished.into_inner()));
        }
        Ok(0)
    }
}

/// Remembers whether the decoder has met the end of the input.
struct Watched<R> {
    input: R,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.ended |= got == 0 && !buffer.is_empty();
        Ok(got)
    }
}
