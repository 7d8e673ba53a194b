//! xz streams, one after the other, their blocks decoded side by side.
//!
//! Owns what the library's decoder for several threads leaves open: it ends with the first stream. Blocks are only decoded
//! side by side when their headers say how large they are, as `xz -T` writes them, and as far as memory allows; the others
//! are decoded as they come.

use std::io::{self, BufRead, Read};

use liblzma::bufread::XzDecoder;
use liblzma::stream::{MtStreamBuilder, Stream};

use super::{Empty, XZ_MEMORY};

/// Decodes all streams of a reader.
pub(super) struct Streams<R: BufRead> {
    /// `None` only while one decoder replaces the other.
    decoder: Option<XzDecoder<R>>,
    empty: Empty,
    done: bool,
}

impl<R: BufRead> Streams<R> {
    /// # Errors
    /// When there is no memory for the decoder.
    pub(super) fn new(input: R) -> io::Result<Self> {
        Ok(Self {
            decoder: Some(XzDecoder::new_stream(input, stream()?)),
            empty: Empty::default(),
            done: false,
        })
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        self.current().get_mut()
    }

    pub(super) fn into_inner(self) -> R {
        self.decoder
            .expect("only `next` takes it, and puts one back")
            .into_inner()
    }

    fn current(&mut self) -> &mut XzDecoder<R> {
        self.decoder
            .as_mut()
            .expect("only `next` takes it, and puts one back")
    }

    /// Passes over what may be between two streams: whole words of zeros (xz format 1.2.1, section 2.2). Whether anything
    /// follows.
    fn has_next(&mut self) -> io::Result<bool> {
        let input = self.get_mut();
        let mut padding = 0;
        loop {
            let ready = input.fill_buf()?;
            if ready.is_empty() {
                break;
            }
            let zeros = ready.iter().take_while(|byte| **byte == 0).count();
            let is_over = zeros < ready.len();
            input.consume(zeros);
            padding = (padding + zeros) % PADDING;
            if is_over && padding == 0 {
                return Ok(true);
            }
            if is_over {
                break;
            }
        }
        match padding {
            0 => Ok(false),
            _ => Err(io::Error::other("odd padding behind a stream")),
        }
    }

    fn next(&mut self) -> io::Result<()> {
        let fresh = stream()?;
        self.decoder = self
            .decoder
            .take()
            .map(|decoder| XzDecoder::new_stream(decoder.into_inner(), fresh));
        Ok(())
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
            if self.has_next()? {
                self.next()?;
            } else {
                self.done = true;
            }
        }
        Ok(0)
    }
}

fn stream() -> io::Result<Stream> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let stream = MtStreamBuilder::new()
        .threads(u32::try_from(threads).unwrap_or(u32::MAX).min(MOST_THREADS))
        .memlimit_threading(spare_memory())
        .memlimit_stop(XZ_MEMORY)
        .decoder()?;
    Ok(stream)
}

/// What the threads of one decoder may use together: several downloads may be decoded at once.
fn spare_memory() -> u64 {
    let system = rustix::system::sysinfo();
    // Their types depend on the machine.
    let total = u128::from(system.totalram) * u128::from(system.mem_unit);
    u64::try_from(total / 32).map_or(XZ_MEMORY, |share| share.min(XZ_MEMORY))
}

/// More of them only wait for the network.
const MOST_THREADS: u32 = 4;
/// What is between two streams is a multiple of so many bytes.
const PADDING: usize = 4;
