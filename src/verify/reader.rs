//! Readers that count and digest what passes through them.
//!
//! Own nothing but the numbers; they are stacked on a source (limit below, digest above) before anything is parsed.

use std::io::{self, Read};

use sha2::Digest as _;

use crate::metadata::Sha256;

/// Digests all that is read through it.
#[derive(Debug, Clone)]
pub struct Hashing<R> {
    inner: R,
    state: sha2::Sha256,
}

impl<R: Read> Hashing<R> {
    /// Starts with the digest of nothing.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            state: sha2::Sha256::new(),
        }
    }

    /// Goes on with another reader: the digest will be that of all that was read through both.
    pub fn with<S: Read>(self, inner: S) -> Hashing<S> {
        Hashing {
            inner,
            state: self.state,
        }
    }

    /// The digest of all that has been read. Whether that was everything is for the caller to know.
    pub fn finish(self) -> Sha256 {
        self.into_parts().1
    }

    /// The reader below, and the digest of all that has been read.
    pub fn into_parts(self) -> (R, Sha256) {
        (self.inner, Sha256(self.state.finalize().into()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.state.update(&buffer[..got]);
        Ok(got)
    }
}

/// Fails once more than so many bytes come through it.
#[derive(Debug)]
pub struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

/// The error inside the [`io::Error`] that [`Limited`] gives, of kind [`io::ErrorKind::FileTooLarge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("File overly large, refusing. (more than {limit} bytes)")]
pub struct TooLarge {
    /// The most that would have been accepted, in bytes.
    pub limit: u64,
}

impl<R: Read> Limited<R> {
    /// Lets `limit` bytes through, and no more.
    pub fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            limit,
            left: limit,
        }
    }

    /// The reader below.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    TooLarge { limit: self.limit },
                )),
            };
        }
        let room = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.inner.read(&mut buffer[..room])?;
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_digests_exactly_what_was_read() {
        // The examples of FIPS 180-2: "abc", and nothing.
        let mut hashing = Hashing::new(&b"abcdef"[..]);
        hashing.read_exact(&mut [0; 3]).expect("three bytes");
        let (rest, digest) = hashing.into_parts();
        assert_eq!(rest, b"def");
        assert_eq!(digest.0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(
            Hashing::new(io::empty()).finish().0[..4],
            [0xe3, 0xb0, 0xc4, 0x42]
        );
    }

    #[test]
    fn hashing_goes_on_with_another_reader() {
        let mut hashing = Hashing::new(&b"a"[..]);
        hashing.read_exact(&mut [0]).expect("a byte");
        let mut hashing = hashing.with(&b"bc"[..]);
        hashing.read_exact(&mut [0; 2]).expect("two bytes");
        assert_eq!(hashing.finish().0[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn limited_accepts_the_limit_and_refuses_one_more() {
        let mut bytes = Vec::new();
        Limited::new(&b"1234"[..], 4)
            .read_to_end(&mut bytes)
            .expect("within the limit");
        assert_eq!(bytes, b"1234");

        let mut bytes = Vec::new();
        let error = Limited::new(&b"12345"[..], 4)
            .read_to_end(&mut bytes)
            .expect_err("above it");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(bytes, b"1234");
        assert!(
            error.to_string().contains("File overly large, refusing."),
            "{error}"
        );
        assert!(
            Limited::new(&b"1"[..], 0)
                .read_to_end(&mut Vec::new())
                .is_err()
        );
        assert!(
            Limited::new(io::empty(), 0)
                .read_to_end(&mut Vec::new())
                .is_ok()
        );
    }
}
