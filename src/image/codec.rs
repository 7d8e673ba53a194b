//! The codecs of squashfs: one block in, one block out, into a buffer whose size bounds it.

use flate2::{Decompress, FlushDecompress, Status};
use liblzma::stream::{Action, Stream};

/// How the blocks of an image are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Xz,
    Lz4,
    Zstd,
}

impl Codec {
    /// Decodes a whole block into the start of `output` and says how long it is; `None` when it is damaged or does
    /// not fit.
    pub(super) fn decode(self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        match self {
            Self::Gzip => {
                let mut decoder = Decompress::new(true);
                let status = decoder.decompress(input, output, FlushDecompress::Finish);
                let length = usize::try_from(decoder.total_out()).ok()?;
                (status.ok()? == Status::StreamEnd).then_some(length)
            }
            Self::Xz => {
                let mut decoder = Stream::new_stream_decoder(XZ_MEMORY, 0).ok()?;
                let status = decoder.process(input, output, Action::Finish);
                let length = usize::try_from(decoder.total_out()).ok()?;
                (status.ok()? == liblzma::stream::Status::StreamEnd).then_some(length)
            }
            Self::Lz4 => lz4_flex::block::decompress_into(input, output).ok(),
            Self::Zstd => zstd::bulk::decompress_to_buffer(input, output).ok(),
        }
    }
}

/// An xz block's dictionary is no larger than the largest block, one MiB; the decoder itself needs a little more.
const XZ_MEMORY: u64 = 4 << 20;
