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
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

#[path = "../fuzz/invariants/canonical_json.rs"]
mod canonical_json;
#[path = "../fuzz/invariants/choices.rs"]
mod choices;
#[path = "../fuzz/invariants/event_parsing.rs"]
mod event_parsing;
#[path = "../fuzz/invariants/state_map.rs"]
mod state_map;
#[path = "../fuzz/invariants/state_resolution/mod.rs"]
mod state_resolution;

#[test]
fn canonical_json_keeps_its_invariants_on_seeds_and_changes_of_them() {
    check_target("canonical_json", 200, &TOKENS, canonical_json::check);
}

#[test]
fn events_keep_their_invariants_on_seeds_and_changes_of_them() {
    check_target("event_parsing", 200, &TOKENS, event_parsing::check);
}

#[test]
fn state_maps_keep_their_invariants_on_seeds_and_changes_of_them() {
    check_target("state_map", 20, &BYTES, state_map::check);
}

#[test]
fn resolutions_keep_their_invariants_on_seeds_and_changes_of_them() {
    check_target("state_resolution", 40, &BYTES, |input| {
        state_resolution::check(input);
    });
}

#[test]
fn bytes_make_rooms_in_which_there_is_something_to_decide() {
    let mut kinds = BTreeMap::<&str, usize>::new();
    for number in 0..200 {
        let mut random = Random(number);
        let input: Vec<u8> = (0..random.below(300)).map(|_| random.next().to_le_bytes()[0]).collect();
        let examined = state_resolution::check(&input);
        let is_open = examined.conflicts > 0;
        for (kind, is_so) in [
            ("has conflicts", is_open),
            ("has more in question than conflicts", examined.full_set > examined.conflicts),
            ("an event of no fork wins", examined.has_event_of_no_fork),
            ("is compared with ruma", is_open && examined.is_compared_with_ruma),
        ] {
            *kinds.entry(kind).or_default() += usize::from(is_so);
        }
    }
    assert!(kinds.values().all(|count| *count >= 10), "of 200 rooms: {kinds:#?}");
}

fn check_target(target: &str, mutations_per_seed: u64, tokens: &[&str], check: impl Fn(&[u8])) {
    let base: u64 = std::env::var("MUTATION_SEED").map_or(1, |text| text.parse().expect("a number"));
    let seeds = seeds_of(target);
    assert!(seeds.len() > 10, "{target} has {} seeds", seeds.len());
    let texts: Vec<&[u8]> = seeds.iter().map(|(_, text)| text.as_slice()).collect();
    for (path, text) in &seeds {
        run(&check, text, path, "unchanged");
        for round in 0..mutations_per_seed {
            let number = base.wrapping_mul(0x1_0000).wrapping_add(round);
            let changed = mutate(text, &texts, tokens, &mut Random(number));
            run(&check, &changed, path, &format!("changed by {number} (MUTATION_SEED={base})"));
        }
    }
}

fn run(check: &impl Fn(&[u8]), input: &[u8], path: &Path, what: &str) {
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

/// For inputs that are no text.
const BYTES: [&str; 6] = ["\0", "\x01", "\x0f", "\x20", "\x40", "\x7f"];

/// One to four changes of `text`, which may take something from `others`.
fn mutate(text: &[u8], others: &[&[u8]], tokens: &[&str], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=random.below(4) {
        let (at, length) = (random.below(text.len()), random.below(24));
        let end = (at + length).min(text.len());
        match random.below(6) {
            0 if !text.is_empty() => text[at] ^= 1 << random.below(8),
            1 => drop(text.splice(at..at, tokens[random.below(tokens.len())].bytes())),
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
            _ => drop(text.splice(at..end, tokens[random.below(tokens.len())].bytes())),
        }
    }
    text
}
