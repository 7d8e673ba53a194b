//! Whether a failure is worth another try, and after how long.
//!
//! Decides, and never waits: time and chance are passed in.

use std::time::Duration;

use super::FetchError;

/// How often and how long a failure is met with another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Further tries in a row that bring nothing; 0 for none at all.
    pub attempts: u32,
    /// The longest wait before the second try. It doubles with each failure.
    pub first_delay: Duration,
    /// It doubles up to this.
    pub longest_delay: Duration,
    /// Waits that a server asks for (`Retry-After`) are granted up to this; for a longer one it is not asked again.
    pub longest_wait: Duration,
    /// For so long nothing may come in; a try that could only begin later is not made.
    pub deadline: Duration,
}

impl Default for RetrySettings {
    /// Five tries more, within some six seconds unless the server asks for more, and five minutes at most.
    fn default() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(10),
            longest_wait: Duration::from_secs(120),
            deadline: Duration::from_secs(300),
        }
    }
}

/// The failures of one transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    settings: RetrySettings,
    failures: u32,
}

impl Retry {
    pub(super) fn new(settings: RetrySettings) -> Self {
        Self {
            settings,
            failures: 0,
        }
    }

    /// How long to wait before the next try, `None` when it is time to give up.
    ///
    /// `advice` is what the server asks to wait, `elapsed` the time since something came in last, and `chance` any
    /// number: the wait is spread evenly over all that is allowed ("full jitter"), so that many clients that failed at
    /// the same time do not come back at the same time.
    pub(super) fn after(
        &mut self,
        error: &FetchError,
        advice: Option<Duration>,
        elapsed: Duration,
        chance: u64,
    ) -> Option<Duration> {
        let RetrySettings {
            attempts,
            first_delay,
            longest_delay,
            longest_wait,
            deadline,
        } = self.settings;
        if self.failures >= attempts || !error.is_transient() {
            return None;
        }
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let most = first_delay.saturating_mul(factor).min(longest_delay);
        let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let spread = Duration::from_nanos(chance % nanoseconds.saturating_add(1).max(1));
        let delay = match advice {
            Some(advice) if advice > longest_wait => return None,
            // Not before that, and not all at once either.
            Some(advice) => advice.saturating_add(spread),
            None => spread,
        };
        self.failures += 1;
        (elapsed.saturating_add(delay) <= deadline).then_some(delay)
    }

    /// Something has come in: what failed before does not count any more.
    pub(super) fn progressed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> FetchError {
        FetchError::Partial {
            url: "http://h/f".to_owned(),
            received: 1,
            expected: 2,
            detail: String::new(),
        }
    }

    fn settings() -> RetrySettings {
        RetrySettings {
            attempts: 4,
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_millis(350),
            longest_wait: Duration::from_secs(9),
            deadline: Duration::from_secs(60),
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_then_it_is_over() {
        let mut retry = Retry::new(settings());
        let waits: Vec<_> = (0..5)
            .map(|_| retry.after(&broken(), None, Duration::ZERO, 0))
            .collect();
        assert_eq!(
            waits,
            [Some(Duration::ZERO); 4]
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );
        let mut retry = Retry::new(settings());
        for most in [100_u64, 200, 350, 350] {
            let mut other = retry;
            let nanoseconds = most * 1_000_000;
            let wait = retry.after(&broken(), None, Duration::ZERO, nanoseconds);
            assert_eq!(
                wait,
                Some(Duration::from_millis(most)),
                "all of it, if chance will"
            );
            let wait = other.after(&broken(), None, Duration::ZERO, nanoseconds + 1);
            assert_eq!(wait, Some(Duration::ZERO), "and never more");
        }
    }

    #[test]
    fn what_came_in_makes_good_for_the_failures_before() {
        let mut retry = Retry::new(settings());
        for _ in 0..100 {
            assert!(retry.after(&broken(), None, Duration::ZERO, 7).is_some());
            retry.progressed();
        }
    }

    #[test]
    fn a_server_that_asks_to_wait_is_obeyed_or_left_alone() {
        let seconds = Duration::from_secs;
        let mut retry = Retry::new(settings());
        let wait = retry.after(&broken(), Some(seconds(9)), Duration::ZERO, 5);
        assert_eq!(wait, Some(seconds(9) + Duration::from_nanos(5)));
        assert_eq!(
            retry.after(&broken(), Some(seconds(10)), Duration::ZERO, 5),
            None
        );
        assert_eq!(
            retry.after(&broken(), Some(seconds(9)), seconds(52), 0),
            None,
            "the next try would come after the deadline"
        );
        let mut retry = Retry::new(settings());
        assert_eq!(retry.after(&broken(), None, seconds(61), 0), None);
    }

    #[test]
    fn no_settings_lead_to_a_panic() {
        for extreme in [Duration::ZERO, Duration::MAX] {
            let mut retry = Retry::new(RetrySettings {
                attempts: 100,
                first_delay: extreme,
                longest_delay: extreme,
                longest_wait: extreme,
                deadline: Duration::MAX,
            });
            for chance in [0, 1, u64::MAX] {
                for _ in 0..40 {
                    retry.after(&broken(), Some(extreme), Duration::MAX, chance);
                }
            }
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let url = || "http://h/f".to_owned();
        let cause = String::new;
        let status = |code| FetchError::Status { url: url(), code };
        for code in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(status(code).is_transient(), "{code}");
        }
        for code in [304, 400, 403, 404, 410, 416, 418, 600] {
            assert!(!status(code).is_transient(), "{code}");
        }
        let passing = [
            FetchError::Connect {
                url: url(),
                cause: cause(),
            },
            FetchError::Resolve {
                url: url(),
                cause: cause(),
            },
            FetchError::Protocol {
                url: url(),
                cause: cause(),
            },
            FetchError::Timeout {
                url: url(),
                seconds: 1,
            },
            FetchError::TooSlow {
                url: url(),
                bytes: 1,
                seconds: 1,
            },
            broken(),
        ];
        assert!(passing.iter().all(FetchError::is_transient));
        let lasting = [
            FetchError::NeedsAuthentication { url: url() },
            FetchError::Tls {
                url: url(),
                cause: cause(),
            },
            FetchError::Cancelled { url: url() },
            FetchError::Changed { url: url() },
            FetchError::TooManyRedirects {
                url: url(),
                limit: 1,
            },
            FetchError::NoSuchFile {
                url: url(),
                cause: cause(),
            },
        ];
        assert!(!lasting.iter().any(FetchError::is_transient));
    }
}
