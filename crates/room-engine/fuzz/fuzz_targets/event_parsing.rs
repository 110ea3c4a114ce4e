//! Events of other servers, in all room versions.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../invariants/event_parsing.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::check(input));
