//! bzip2 streams.
//!
//! The library's decoder for several streams goes through any number of empty ones at once: here is the one for a single
//! stream.

use std::io::{self, BufRead};

use bzip2::bufread::BzDecoder;

use super::streams::{self, Decode};

/// Decodes all streams of a reader.
pub(super) type Streams<R> = streams::Streams<BzDecoder<R>>;

impl<R: BufRead> Decode for BzDecoder<R> {
    type Input = R;
    type Setup = ();

    fn set_up() -> io::Result<()> {
        Ok(())
    }

    fn start((): (), input: R) -> Self {
        Self::new(input)
    }

    fn input(&mut self) -> &mut R {
        self.get_mut()
    }

    fn into_input(self) -> R {
        self.into_inner()
    }
}
