//! Packed bytes in, plain bytes out.
//!
//! Owns the detection of a format (by content alone, compat B8.3) and the decoders with their limits. It never
//! bounds its output: that is the caller's, who knows how much it wants; a few packed bytes can become terabytes.
//! What is allocated is bounded, whatever a header claims:
//!
//! | format | concatenated | most memory |
//! |---|---|---|
//! | xz | streams, padding between them | [`XZ_MEMORY`] (`xz -9` needs 65 MiB); for blocks side by side 1/32 of the machine's |
//! | gzip | members | some 40 KiB |
//! | zstd | frames, skippable ones too | a window of 2^[`ZSTD_WINDOW_LOG`] bytes (`zstd --long=27`) |
//! | bzip2 | streams | some 4 MiB |
//! | lz4 frame | frames | some 17 MiB |
//!
//! Setting up the decoder of a stream costs more than reading its few bytes: many in a row without any content are an error.
//!
//! A stream that is cut short, damaged, or followed by anything that is no further stream is an error: what follows
//! the end of a stream would be installed by nobody, and so has no business there.

mod bz;
mod lz4;
mod source;
mod streams;
mod xz;

use std::io::{self, BufRead, BufReader, Read};

use self::source::Source;

/// Memory that the xz decoder may use, in bytes.
pub const XZ_MEMORY: u64 = 256 << 20;

/// Binary logarithm of the largest zstd window, in bytes.
pub const ZSTD_WINDOW_LOG: u32 = 27;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// xz, not the older lzma.
    Xz,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4 frames, not the legacy format.
    Lz4,
}

impl Format {
    /// The format of a stream that begins with `head`. Fewer than [`SNIFFED`] bytes are plain, whatever they are.
    pub fn detect(head: &[u8]) -> Self {
        if head.len() < SNIFFED {
            return Self::Plain;
        }
        MAGIC
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map_or(Self::Plain, |(_, format)| *format)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Plain => "plain",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
        })
    }
}

/// How many bytes decide about the format.
pub const SNIFFED: usize = 6;

const MAGIC: [(&[u8], Format); 5] = [
    (b"\xfd7zXZ\0", Format::Xz),
    (b"\x1f\x8b", Format::Gzip),
    (b"\x28\xb5\x2f\xfd", Format::Zstd),
    (b"BZh", Format::Bzip2),
    (b"\x04\x22\x4d\x18", Format::Lz4),
];

/// The error inside the [`io::Error`] (of kind [`io::ErrorKind::InvalidData`]) for packed data that is bad.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode {format} data: {cause}")]
pub struct DecodeError {
    /// The format of the data.
    pub format: Format,
    /// What the decoder said.
    pub cause: String,
}

/// Reads plain bytes out of a reader of packed ones.
///
/// Errors of the reader below come through unchanged; errors of the data are [`DecodeError`]s. After an error the
/// state is unspecified, but reading on is harmless.
pub struct Decoder<R: Read> {
    kind: Kind<R>,
}

enum Kind<R: Read> {
    Plain(BufReader<Source<R>>),
    Xz(Box<xz::Streams<BufReader<Source<R>>>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Source<R>>>>),
    Zstd(zstd::Decoder<'static, BufReader<Source<R>>>),
    Bzip2(Box<bz::Streams<BufReader<Source<R>>>>),
    Lz4(Box<lz4::Frames<BufReader<Source<R>>>>),
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes of `reader` and chooses the decoder.
    ///
    /// # Errors
    /// When `reader` fails, or there is no memory for the decoder.
    pub fn new(reader: R) -> io::Result<Self> {
        let source = Source::new(reader)?;
        let format = Format::detect(source.head());
        let input = BufReader::with_capacity(BUFFER, source);
        let kind = match format {
            Format::Plain => Kind::Plain(input),
            Format::Xz => Kind::Xz(Box::new(xz::Streams::new(input)?)),
            Format::Gzip => Kind::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Format::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Kind::Zstd(decoder)
            }
            Format::Bzip2 => Kind::Bzip2(Box::new(bz::Streams::new(input)?)),
            Format::Lz4 => Kind::Lz4(Box::new(lz4::Frames::new(input)?)),
        };
        Ok(Self { kind })
    }

    /// What the input turned out to be.
    pub fn format(&self) -> Format {
        match &self.kind {
            Kind::Plain(_) => Format::Plain,
            Kind::Xz(_) => Format::Xz,
            Kind::Gzip(_) => Format::Gzip,
            Kind::Zstd(_) => Format::Zstd,
            Kind::Bzip2(_) => Format::Bzip2,
            Kind::Lz4(_) => Format::Lz4,
        }
    }

    /// Reads what is left of the packed bytes, without decoding them, and gives the reader back: a digest below has
    /// then seen everything. (A tar archive, for one, ends before its stream does.)
    ///
    /// # Errors
    /// When the reader below fails.
    pub fn finish(self) -> io::Result<R> {
        let mut input = match self.kind {
            Kind::Plain(input) => input,
            Kind::Xz(decoder) => decoder.into_inner(),
            Kind::Gzip(decoder) => decoder.into_inner(),
            Kind::Zstd(decoder) => decoder.finish(),
            Kind::Bzip2(decoder) => decoder.into_inner(),
            Kind::Lz4(decoder) => decoder.into_inner(),
        };
        loop {
            let ready = match input.fill_buf() {
                Ok(ready) => ready.len(),
                Err(error) => return Err(input.get_mut().take_error().unwrap_or(error)),
            };
            if ready == 0 {
                return Ok(input.into_inner().into_inner());
            }
            input.consume(ready);
        }
    }

    fn source(&mut self) -> &mut Source<R> {
        match &mut self.kind {
            Kind::Plain(input) => input,
            Kind::Xz(decoder) => decoder.get_mut(),
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Zstd(decoder) => decoder.get_mut(),
            Kind::Bzip2(decoder) => decoder.get_mut(),
            Kind::Lz4(decoder) => decoder.get_mut(),
        }
        .get_mut()
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let result = match &mut self.kind {
            Kind::Plain(input) => input.read(buffer),
            Kind::Xz(decoder) => decoder.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
            Kind::Bzip2(decoder) => decoder.read(buffer),
            Kind::Lz4(decoder) => decoder.read(buffer),
        };
        result.map_err(|error| {
            // A decoder may have wrapped or renamed the error of the reader below: that one is what counts.
            self.source().take_error().unwrap_or_else(|| {
                let cause = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
                    _ => error.to_string(),
                };
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    DecodeError {
                        format: self.format(),
                        cause,
                    },
                )
            })
        })
    }
}

/// Packed bytes read at once.
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests;
