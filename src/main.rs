//! The `sysupdate` program.

fn main() {}
