//! Measures the code that nearly every request runs, one path at a time.
//!
//! ```text
//! hot-paths list               the names, one a line
//! hot-paths run NAME COUNT     prepares, and runs the path that many times: for counting instructions
//! hot-paths time MILLISECONDS  runs each path for about that long; prints its name and the nanoseconds of one run
//! ```
//!
//! `cargo xtask bench --compare` runs two revisions of this program against each other, so a path's work must stay the same
//! from revision to revision: changed work needs a new name. Keys, times and positions, which are random in the product, are
//! fixed here.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be set up has to stop")]

mod paths;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use paths::PATHS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => PATHS.iter().for_each(|(name, _)| println!("{name}")),
        ["run", name, count] => {
            let (Some((_, prepare)), Ok(count)) = (PATHS.iter().find(|(known, _)| known == name), count.parse()) else {
                return usage();
            };
            let mut path = prepare();
            // One run before, so that work at the first use is not counted.
            path();
            (0_u64..count).for_each(|_| path());
        }
        ["time", length_ms] => {
            let Ok(length_ms) = length_ms.parse() else { return usage() };
            for (name, prepare) in PATHS {
                println!("{name}\t{:.2}", nanoseconds_each(prepare, Duration::from_millis(length_ms)));
            }
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: hot-paths list | run NAME COUNT | time MILLISECONDS");
    ExitCode::FAILURE
}

/// The fastest of ten runs: other programs on the machine can only make a run slower.
fn nanoseconds_each(prepare: &paths::Prepare, length: Duration) -> f64 {
    const PARTS: u32 = 10;
    let mut path = prepare();
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < length / PARTS {
        path();
        count += 1;
    }
    let part = || {
        let started = Instant::now();
        (0..count).for_each(|_| path());
        started.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    };
    std::iter::repeat_with(part).take(PARTS as usize).fold(f64::INFINITY, f64::min)
}
