//! Inputs from outside, mutated: what `fuzz/` does for hours by coverage, done for a moment from its seeds.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library of its own, too")]
mod inputs;

use inputs::{TARGETS, Target};

/// Inputs for each seed; the same in each run.
const ROUNDS: usize = 150;
/// Bytes that mean something to one or the other.
const TELLING: &[u8] = b"\0\n\r\xff= []/.-%@\\\"'#0";
/// No single input may take longer, without optimisation and beside other tests.
const LONGEST: Duration = Duration::from_secs(20);

#[test]
fn no_input_is_fatal() {
    thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(move || feed(target));
        }
    });
}

fn feed(target: &Target) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let entries = fs::read_dir(directory.join(target.name)).expect("the seeds");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", target.name);
    let seeds: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| fs::read(path).expect("readable"))
        .collect();
    let mut chance = StdRng::seed_from_u64(1);
    for seed in &seeds {
        take(target, seed);
        for _ in 0..ROUNDS {
            let mut input = seed.clone();
            for _ in 0..chance.gen_range(1..5) {
                mutate(&mut input, &seeds, &mut chance);
            }
            take(target, &input);
        }
    }
}

fn take(target: &Target, input: &[u8]) {
    let begun = Instant::now();
    let outcome = catch_unwind(|| (target.take)(input));
    assert!(
        outcome.is_ok() && begun.elapsed() < LONGEST,
        "{} after {:?}: {}",
        target.name,
        begun.elapsed(),
        input.escape_ascii()
    );
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut StdRng) {
    if input.is_empty() {
        input.push(0);
    }
    let place = chance.gen_range(0..input.len());
    let end = (place + chance.gen_range(1..40)).min(input.len());
    match chance.gen_range(0..8) {
        0 => input[place] ^= 1 << chance.gen_range(0..8),
        1 => input[place] = TELLING[chance.gen_range(0..TELLING.len())],
        2 => input[place] = chance.r#gen(),
        3 => input.truncate(place),
        4 => drop(input.drain(place..end)),
        5 => {
            let piece = input[place..end].to_vec();
            input.splice(place..place, piece);
        }
        6 => input.insert(place, chance.r#gen()),
        _ => {
            // The head of one and the tail of another.
            let other = &seeds[chance.gen_range(0..seeds.len())];
            input.truncate(place);
            input.extend(&other[place.min(other.len())..]);
        }
    }
}
