//! The switch that ends running transfers.
//!
//! Owns nothing but the flag and the wake-up; who throws it (Ctrl-C, a failed sibling) is decided elsewhere.

use tokio_util::sync::CancellationToken;

/// Ends running transfers promptly, from any thread. Clones are one switch.
#[derive(Debug, Clone, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// A switch that is not thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch, for good: running and later transfers fail with [`super::FetchError::Cancelled`].
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it has been thrown.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when it has been thrown.
    pub(in crate::fetch) async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}
