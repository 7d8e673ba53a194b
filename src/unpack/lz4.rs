//! LZ4 frames.
//!
//! Owns what the frame decoder leaves open: it takes the end of the input inside of a frame for the frame's end, and
//! a decoder that is used for a second frame keeps the first one's buffers.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder;

use super::streams::{Decode, Streams};

/// Decodes all frames of a reader.
pub(super) type Frames<R> = Streams<FrameDecoder<Watched<R>>>;

impl<R: BufRead> Decode for FrameDecoder<Watched<R>> {
    type Input = R;
    type Setup = ();

    fn set_up() -> io::Result<()> {
        Ok(())
    }

    fn start((): (), input: R) -> Self {
        Self::new(Watched {
            input,
            ended: false,
        })
    }

    fn input(&mut self) -> &mut R {
        &mut self.get_mut().input
    }

    fn into_input(self) -> R {
        self.into_inner().input
    }

    fn is_followed(&mut self) -> io::Result<bool> {
        // The end mark has been read, and nothing behind it; or the input ended before it.
        let watched = self.get_mut();
        if watched.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(!watched.input.fill_buf()?.is_empty())
    }
}

/// Remembers whether the decoder has met the end of the input.
pub(super) struct Watched<R> {
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
