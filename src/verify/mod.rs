//! Trust: digests, manifests, signatures.
//!
//! Owns the judgement whether bytes are what somebody trusted says they are. It gets bytes from others and hands
//! verdicts back: nothing here fetches, writes, or asks for the time.

pub mod keyring;
pub mod manifest;
pub mod openpgp;
pub mod reader;
