//! Storage primitives: the few operations by which state on disk changes.

pub mod atomic;
pub mod disk;
pub mod dissect;
pub mod tree;
