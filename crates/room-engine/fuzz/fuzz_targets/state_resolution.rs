//! Histories of small rooms whose forks are resolved.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../invariants/choices.rs"]
mod choices;
#[expect(dead_code, reason = "the ordinary tests count what was examined")]
#[path = "../invariants/state_resolution/mod.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| {
    invariants::check(input);
});
