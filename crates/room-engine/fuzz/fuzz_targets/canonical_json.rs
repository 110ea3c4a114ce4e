//! JSON of any kind, read as canonical JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../invariants/canonical_json.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::check(input));
