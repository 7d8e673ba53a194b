//! Storage primitives: the few operations by which state on disk changes.

pub mod atomic;
