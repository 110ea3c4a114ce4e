//! Changes of a state map, against the sorted map of the standard library.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../invariants/choices.rs"]
mod choices;
#[path = "../invariants/state_map.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::check(input));
