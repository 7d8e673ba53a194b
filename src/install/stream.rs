//! The way of bytes from a source to whatever takes them: counted, hashed as they come, decompressed, and told of.
//!
//! Knows nothing of files, partitions or trees: those take the stream.

use std::io::{self, Read};

use super::Executor;
use super::acquire::{AcquireError, LARGEST};
use super::origin::{Counted, Origin, Source};
use super::partial::Found;
use crate::event::Event;
use crate::fetch::FetchError;
use crate::metadata::Sha256;
use crate::unpack::{Decoder, Format};
use crate::verify::reader::{Hashing, Limited};

/// Why not all of it has come.
pub(super) struct Failure {
    pub(super) error: AcquireError,
    /// Whether bytes of different answers were put together.
    pub(super) is_pieced: bool,
}

/// Fetches what is missing, from whoever has it: `attempt` takes what was `found`, and `begun` tells what has come of it
/// when another server is to go on.
///
/// # Errors
/// That of the last attempt, when nobody else is left to ask.
pub(super) fn persist<T>(
    executor: &Executor<'_>,
    origin: &Origin,
    found: Option<Found>,
    attempt: impl Fn(Option<Found>) -> Result<T, Failure>,
    begun: impl Fn() -> Option<Found>,
) -> Result<T, AcquireError> {
    let Executor { fetch, .. } = *executor;
    let mut found = found;
    let mut is_anew = false;
    loop {
        let Failure { error, is_pieced } = match attempt(found) {
            Ok(received) => return Ok(received),
            Err(failure) => failure,
        };
        found = None;
        match (&error, origin) {
            // Each time a mirror has been given up: what has come is gone on with at the next.
            (AcquireError::Fetch(failure), Origin::Remote { url, .. })
                if failure.is_transient() && fetch.has_alternative(url) =>
            {
                executor.warn(format!("{failure} Going on with the next mirror..."));
                found = begun();
            }
            (error, _) if !is_anew && error.is_of_a_seam(is_pieced) => {
                is_anew = true;
                executor.say(format!(
                    "What was here of {} does not fit what is there now. Starting over...",
                    origin.name()
                ));
            }
            // Each time as well.
            (AcquireError::Digest { .. }, Origin::Remote { url, .. }) => {
                let address = fetch.reproach(url);
                let next = fetch.has_alternative(url);
                if let Some(address) = address.filter(|address| next || address != url) {
                    let outlook = if next {
                        " Trying the next mirror..."
                    } else {
                        ""
                    };
                    executor.warn(format!(
                        "'{address}' is not what the manifest says.{outlook}"
                    ));
                }
                if !next {
                    return Err(error);
                }
            }
            _ => return Err(error),
        }
    }
}

/// The way of one artifact.
pub(super) struct Pour<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) origin: &'a Origin,
    /// What progress is told under.
    pub(super) name: &'a str,
}

/// The bytes on their way, as those who take them see them.
pub(super) type Flow<'a> = Stream<Limited<Counted<'a>>>;

impl Pour<'_> {
    /// Lets `take` have everything, and compares the digest of what was sent with what it must be. `digest` has seen what
    /// was here already.
    ///
    /// # Errors
    /// When it cannot be read, is not what it must be, or `take` fails.
    pub(super) fn run(
        &self,
        source: &mut Source,
        digest: Hashing<io::Empty>,
        take: impl FnOnce(&mut Flow<'_>) -> Result<(), AcquireError>,
    ) -> Result<(), AcquireError> {
        let from = self.origin.name();
        let start = source.start;
        let total = source.length.map(|length| length.saturating_add(start));
        if total.is_some_and(|total| total > LARGEST) {
            return Err(AcquireError::Announced {
                from: from.to_owned(),
            });
        }
        let name = self.name;
        let reporter = self.executor.reporter;
        reporter.report(&Event::TransferStarted { name, total });
        let counted = Counted::new(self.executor, source, name);
        let packed = digest.with(Limited::new(counted, LARGEST - start));
        let mut stream = Stream::new(packed, start).map_err(|error| read_error(from, error))?;
        let taken = take(&mut stream);
        let drained = match &taken {
            // Damaged data may be the publisher's own, or not the publisher's at all: the digest of it all tells.
            Ok(()) | Err(AcquireError::Read { .. } | AcquireError::Unpack { .. }) => {
                stream.finish()
            }
            Err(_) => return taken,
        };
        match (drained, self.origin) {
            (Ok(actual), Origin::Remote { url, sha256 }) if actual != *sha256 => {
                Err(AcquireError::Digest {
                    url: url.clone(),
                    expected: *sha256,
                    actual,
                })
            }
            (Err(error), _) => taken.and(Err(read_error(from, error))),
            (Ok(_), _) => taken,
        }
    }
}

/// What the failure of a reader means.
pub(super) fn read_error(from: &str, error: io::Error) -> AcquireError {
    match FetchError::from_io(error) {
        Ok(error) => error.into(),
        Err(source) => AcquireError::Read {
            from: from.to_owned(),
            source,
        },
    }
}

/// What arrives: packed perhaps, or the rest of something that is known not to be.
pub(super) enum Stream<R: Read> {
    Whole(Box<Decoder<Hashing<R>>>),
    Rest(Hashing<R>),
}

impl<R: Read> Stream<R> {
    fn new(packed: Hashing<R>, start: u64) -> io::Result<Self> {
        if start > 0 {
            return Ok(Self::Rest(packed));
        }
        Ok(Self::Whole(Box::new(Decoder::new(packed)?)))
    }

    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Whole(decoder) => decoder.format() == Format::Plain,
            Self::Rest(_) => true,
        }
    }

    /// The digest of everything as it was sent, which is read to its end.
    fn finish(self) -> io::Result<Sha256> {
        match self {
            Self::Whole(decoder) => decoder.finish().map(Hashing::finish),
            Self::Rest(mut rest) => {
                io::copy(&mut rest, &mut io::sink())?;
                Ok(rest.finish())
            }
        }
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(decoder) => decoder.read(buffer),
            Self::Rest(rest) => rest.read(buffer),
        }
    }
}
