//! Trust: digests, manifests, signatures.
//!
//! Owns the judgement whether bytes are what somebody trusted says they are. It gets bytes from others and hands
//! verdicts back: nothing here fetches, writes, or asks for the time.

use std::time::Duration;

pub mod keyring;
pub mod keys;
pub mod manifest;
pub mod memory;
pub mod minisign;
pub mod openpgp;
pub mod reader;

/// Clocks may differ by so much: a signature is accepted that was made so little in the future.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
