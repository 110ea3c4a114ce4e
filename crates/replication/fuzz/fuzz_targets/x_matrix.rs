//! See the README.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../invariants/x_matrix.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::check(input));
