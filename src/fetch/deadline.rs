//! A body that must be whole by some time.
//!
//! Whoever sends just enough not to count as stalled could go on for hours. A payload may take them; the few bytes of a
//! manifest must not hold up a run.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::FetchError;

/// Reads until it takes too long. What is read in one call is not cut short: the transport bounds that.
#[derive(Debug)]
pub struct Deadline<'u, R> {
    inner: R,
    url: &'u str,
    begun: Instant,
    limit: Duration,
}

impl<'u, R: Read> Deadline<'u, R> {
    /// Counts from now on.
    pub fn new(inner: R, url: &'u str, limit: Duration) -> Self {
        Self {
            inner,
            url,
            begun: Instant::now(),
            limit,
        }
    }
}

impl<R: Read> Read for Deadline<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.begun.elapsed() > self.limit {
            return Err(FetchError::TooLong {
                url: self.url.to_owned(),
                seconds: self.limit.as_secs(),
            }
            .into());
        }
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte now and then, for ever.
    struct Dripping;

    impl Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(1));
            buffer[0] = b'x';
            Ok(1)
        }
    }

    #[test]
    fn who_never_stops_is_stopped() {
        let limit = Duration::from_millis(30);
        let mut all = Vec::new();
        let mut reader = Deadline::new(Dripping, "http://h/f", limit);
        let error = reader.read_to_end(&mut all).expect_err("it takes too long");
        assert!(matches!(
            FetchError::of_io(&error),
            Some(FetchError::TooLong { .. })
        ));
        assert!(!all.is_empty() && all.len() < 60, "{} bytes", all.len());
    }

    #[test]
    fn who_is_done_in_time_is_left_alone() {
        let mut all = Vec::new();
        let mut reader = Deadline::new(&b"all"[..], "http://h/f", Duration::from_secs(60));
        reader.read_to_end(&mut all).expect("read");
        assert_eq!(all, b"all");
    }
}
