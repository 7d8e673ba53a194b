//! The program from outside: the real binary, below temporary roots, against servers on loopback.
//!
//! Hermetic: no root, no system tool, no network beyond loopback.
#![expect(
    clippy::disallowed_methods,
    reason = "tests lay out files and read clocks as a user would"
)]

#[path = "suite/mod.rs"]
mod suite;
