//! The invariants of the fuzz targets on their seeds, and on changes of these.
//!
//! The changes follow from a number that a failure prints; `MUTATION_SEED` sets another one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

#[path = "../fuzz/invariants/canonical_json.rs"]
mod canonical_json;
#[path = "../fuzz/invariants/event_parsing.rs"]
mod event_parsing;

const MUTATIONS_PER_SEED: u64 = 200;

#[test]
fn canonical_json_keeps_its_invariants_on_seeds_and_changes_of_them() {
    check_target("canonical_json", canonical_json::check);
}

#[test]
fn events_keep_their_invariants_on_seeds_and_changes_of_them() {
    check_target("event_parsing", event_parsing::check);
}

fn check_target(target: &str, check: fn(&[u8])) {
    let base: u64 = std::env::var("MUTATION_SEED").map_or(1, |text| text.parse().expect("a number"));
    let seeds = seeds_of(target);
    assert!(seeds.len() > 10, "{target} has {} seeds", seeds.len());
    let texts: Vec<&[u8]> = seeds.iter().map(|(_, text)| text.as_slice()).collect();
    for (path, text) in &seeds {
        run(check, text, path, "unchanged");
        for round in 0..MUTATIONS_PER_SEED {
            let number = base.wrapping_mul(0x1_0000).wrapping_add(round);
            let changed = mutate(text, &texts, &mut Random(number));
            run(check, &changed, path, &format!("changed by {number} (MUTATION_SEED={base})"));
        }
    }
}

fn run(check: fn(&[u8]), input: &[u8], path: &Path, what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        eprintln!("{} {what}: {}", path.display(), String::from_utf8_lossy(input));
        resume_unwind(panic);
    }
}

/// The seeds, in the order of their names.
fn seeds_of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// SplitMix64, so that a number makes the same changes everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

const TOKENS: [&str; 24] = [
    "{}",
    "[]",
    "null",
    "-0",
    "1e9",
    "1.5",
    "\"\"",
    "\"@a:domain\"",
    "\"m.room.member\"",
    "\"m.room.create\"",
    "\\u0061",
    "\\ud83d\\ude00",
    "\\ud800",
    "\"redacts\":\"$a\",",
    "\"unsigned\":{},",
    "\"membership\":\"invite\",",
    "\"depth\":-1,",
    "\"third_party_invite\":{},",
    "\"event_id\":\"$e:domain\",",
    "9007199254740992",
    "\u{10ffff}",
    "{\"a\":",
    "}",
    "]",
];

/// One to four changes of `text`, which may take something from `others`.
fn mutate(text: &[u8], others: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=random.below(4) {
        let (at, length) = (random.below(text.len()), random.below(24));
        let end = (at + length).min(text.len());
        match random.below(6) {
            0 if !text.is_empty() => text[at] ^= 1 << random.below(8),
            1 => drop(text.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
            2 => drop(text.drain(at..end)),
            3 => {
                let repeated = text[at..end].to_vec();
                text.splice(at..at, repeated);
            }
            4 => {
                let other = others[random.below(others.len())];
                let from = random.below(other.len());
                let part = &other[from..(from + length).min(other.len())];
                text.splice(at..end, part.iter().copied());
            }
            _ => drop(text.splice(at..end, TOKENS[random.below(TOKENS.len())].bytes())),
        }
    }
    text
}
