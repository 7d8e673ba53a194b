//! The bandwidth that all bodies of a run share.
//!
//! Owns the moment from which on the next bytes may be taken; waiting is left to who takes them.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A cap on bytes per second.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<NonZeroU64>,
    /// When everything is paid for that was taken so far.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            paid: Mutex::new(None),
        }
    }

    /// Takes bytes that have come in at `now`; until when to wait with the next. Who was idle saves nothing up.
    pub(super) fn take(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX)).min(LONGEST);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = paid.map_or(now, |paid| paid.max(now)) + cost;
        *paid = Some(until);
        Some(until)
    }
}

/// No piece is paid off for longer, so that no rate leads out of the clock.
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_takers_are_paid_one_after_the_other() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let pace = Pace::new(NonZeroU64::new(1000));
        assert_eq!(pace.take(2000, now), Some(now + seconds(2)));
        assert_eq!(pace.take(1000, now + seconds(1)), Some(now + seconds(3)));
        assert_eq!(pace.take(1000, now + seconds(9)), Some(now + seconds(10)));
        assert_eq!(Pace::new(None).take(u64::MAX, now), None);
        let slowest = Pace::new(NonZeroU64::new(1));
        assert_eq!(slowest.take(u64::MAX, now), Some(now + LONGEST));
    }
}
