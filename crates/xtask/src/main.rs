//! The tasks of the project, runnable by anyone with a checkout: `cargo xtask test`, `ci`, `bench`, `interop`,
//! `network-faults` and `deb`.

mod bench;
mod ci;
mod deb;
mod interop;
mod lints;
mod network_faults;
mod postgres;
mod process;
mod stopwatch;
mod suite;
mod tally;

use std::process::ExitCode;

use anyhow::bail;
use process::{Interrupted, Supervisor};

const USAGE: &str = "\
cargo xtask test [FILTER] [CARGO TEST OPTIONS]   all tests, against SQLite and a throw-away PostgreSQL
cargo xtask ci                                   what CI runs: format, lints, all tests
cargo xtask bench [--quick] [CARGO BENCH OPTIONS] all benchmarks, and the table of what they show
cargo xtask bench --table                        puts that table into docs/benchmarks.md
cargo xtask bench --compare REV [OPTIONS]        whether the hot paths got slower since that revision:
    [--rounds N] [--time-percent P] [--instructions-percent P] [--only-time | --only-instructions]
    [--profile NAME]
cargo xtask bench --compare-programs BEFORE AFTER [OPTIONS]   the same of two builds of hot-paths
cargo xtask interop [--version V]… [SCENARIO]…   this server and Synapse (installed from PyPI), with people on both
cargo xtask network-faults [--seeds N] [--first SEED]   homeservers share rooms over a network with faults
cargo xtask deb                                  a Debian package; needs cargo-deb";

/// The exit code shells expect of a program that SIGINT ended.
const INTERRUPTED_EXIT_CODE: u8 = 130;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED_EXIT_CODE),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the task found everything in order; when not, it has said so itself.
fn run() -> anyhow::Result<bool> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let supervisor = Supervisor::install()?;
    match task.as_str() {
        "test" => suite::run(&supervisor, &rest),
        "ci" if rest.is_empty() => ci::run(&supervisor),
        "ci" => bail!("`cargo xtask ci` takes no arguments"),
        "bench" => bench::run(&supervisor, &rest),
        "interop" => interop::run(&supervisor, &rest),
        "network-faults" => network_faults::run(&supervisor, &rest),
        "deb" if rest.is_empty() => deb::run(&supervisor),
        "deb" => bail!("`cargo xtask deb` takes no arguments"),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(true)
        }
        "" => bail!("name a task:\n{USAGE}"),
        unknown => bail!("there is no task `{unknown}`:\n{USAGE}"),
    }
}
