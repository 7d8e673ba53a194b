//! The parts of the program that read bytes and decide, each with an input of its own: `counts` names them, `counts PART…` runs some.
//!
//! `integration/counts` runs them under callgrind, which counts instructions in [`measured`] alone: what prepares an input,
//! and what clears it away, does not count. Inputs are made here and are the same in each run.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark talks to its user"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "definitions are laid out as anybody would"
)]

mod decisions;
mod definitions;
mod images;
mod listings;
mod payloads;
mod signatures;

use std::hint::black_box;
use std::process::ExitCode;

/// One of them.
struct Part {
    name: &'static str,
    /// Makes the input, and says what is done with it.
    prepare: fn() -> Work,
    /// What that finds: whoever is fast because he is wrong is not.
    answer: usize,
}

/// What is done with an input, once.
type Work = Box<dyn FnMut() -> usize>;

const PARTS: [Part; 25] = [
    part("versions", listings::versions_sorted, 3999),
    part("pattern", listings::pattern, 2377),
    part("manifest", listings::manifest, 4000),
    part("listing", listings::listing, 2000),
    part("memory", listings::memory, 1),
    part("catalog", listings::catalog, 100),
    part("definition-systemd", definitions::systemd, 20),
    part("definition-native", definitions::native, 20),
    part("plan", decisions::plan, 4),
    part("reasons", decisions::reasons, 353_551),
    part("compat", decisions::compat, 100),
    part("partition-table", images::partition_table, 128),
    part("image-squashfs", images::squashfs, 3),
    part("image-erofs", images::erofs, 3),
    part("image-ext4", images::ext4, 3),
    part("openpgp", signatures::openpgp, 1),
    part("minisign", signatures::minisign, 1),
    part("hash", payloads::hash, 88),
    part("archive", payloads::archive, 10),
    part("unpack-plain", payloads::plain, 75_680),
    part("unpack-xz", payloads::xz, 75_680),
    part("unpack-gzip", payloads::gzip, 75_680),
    part("unpack-zstd", payloads::zstd, 75_680),
    part("unpack-bzip2", payloads::bzip2, 75_680),
    part("unpack-lz4", payloads::lz4, 75_680),
];

const fn part(name: &'static str, prepare: fn() -> Work, answer: usize) -> Part {
    Part {
        name,
        prepare,
        answer,
    }
}

fn main() -> ExitCode {
    // `cargo bench` adds an option.
    let names = std::env::args().skip(1).filter(|name| name != "--bench");
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        for part in &PARTS {
            println!("{}", part.name);
        }
    }
    for name in &names {
        let Some(part) = PARTS.iter().find(|part| part.name == name) else {
            eprintln!("counts: no part '{name}'");
            return ExitCode::from(64);
        };
        let mut work = (part.prepare)();
        let found = measured(&mut *work);
        if found != part.answer {
            eprintln!("counts: {name} finds {found}, not {}", part.answer);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The one function that is counted, with all that it calls.
#[inline(never)]
fn measured(work: &mut dyn FnMut() -> usize) -> usize {
    // Something has to follow the call: the last one would be a jump, and that is no return from here.
    black_box(work())
}
