//! The invariants of the fuzz targets on their seeds, and on changes of these.
//!
//! The changes follow from a number that a failure prints; `MUTATION_SEED` sets another one.

#[path = "../fuzz/invariants/send_join.rs"]
mod send_join;
#[path = "../fuzz/invariants/transaction.rs"]
mod transaction;
#[path = "../fuzz/invariants/x_matrix.rs"]
mod x_matrix;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// So many changes of each seed are tried.
const CHANGES: u64 = 150;
/// Texts that decide what a parser does.
const TOKENS: [&str; 14] = ["\"", "\\", "{", "}", "[", "]", ",", ":", "=", " ", "null", "-1e999", "\\u0000", "\u{85}"];

#[test]
fn what_other_servers_send_keeps_its_invariants_on_seeds_and_changes_of_them() {
    check_target("transaction", transaction::check);
    check_target("send_join", send_join::check);
    check_target("x_matrix", x_matrix::check);
}

fn check_target(target: &str, check: impl Fn(&[u8])) {
    let base: u64 = std::env::var("MUTATION_SEED").map_or(1, |text| text.parse().expect("a number"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 2, "{target} has seeds");
    for path in paths {
        let seed = fs::read(&path).unwrap();
        for number in 0..=CHANGES {
            let mut random = StdRng::seed_from_u64(base.wrapping_mul(0x1_0000).wrapping_add(number));
            let input = if number == 0 { seed.clone() } else { changed(&seed, &mut random) };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
                let text = String::from_utf8_lossy(&input);
                eprintln!("{} changed by {number} (MUTATION_SEED={base}): {text}", path.display());
                resume_unwind(panic);
            }
        }
    }
}

fn changed(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut changed = seed.to_vec();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=changed.len());
        let end = (at + random.random_range(0..12)).min(changed.len());
        match random.random_range(0..5) {
            0 => changed.truncate(at),
            1 => drop(changed.drain(at..end)),
            2 => changed.extend_from_within(at..end),
            3 if at < changed.len() => changed[at] = random.random(),
            _ => {
                let token = TOKENS.choose(random).unwrap();
                changed.splice(at..at, token.bytes());
            }
        }
    }
    changed
}
