//! xz streams, their blocks decoded side by side.
//!
//! Owns what the library's decoder for several threads leaves open: it ends with the first stream. Blocks are only decoded
//! side by side when their headers say how large they are, as `xz -T` writes them, and as far as memory allows; the others
//! are decoded as they come.

use std::io::{self, BufRead};

use liblzma::bufread::XzDecoder;
use liblzma::stream::{MtStreamBuilder, Stream};

use super::XZ_MEMORY;
use super::streams::{self, Decode};

/// Decodes all streams of a reader.
pub(super) type Streams<R> = streams::Streams<XzDecoder<R>>;

impl<R: BufRead> Decode for XzDecoder<R> {
    type Input = R;
    type Setup = Stream;

    fn set_up() -> io::Result<Stream> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stream = MtStreamBuilder::new()
            .threads(u32::try_from(threads).unwrap_or(u32::MAX).min(MOST_THREADS))
            .memlimit_threading(spare_memory())
            .memlimit_stop(XZ_MEMORY)
            .decoder()?;
        Ok(stream)
    }

    fn start(setup: Stream, input: R) -> Self {
        Self::new_stream(input, setup)
    }

    fn input(&mut self) -> &mut R {
        self.get_mut()
    }

    fn into_input(self) -> R {
        self.into_inner()
    }

    /// Between two streams there may be whole words of zeros (xz format 1.2.1, section 2.2).
    fn is_followed(&mut self) -> io::Result<bool> {
        let input = self.input();
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
