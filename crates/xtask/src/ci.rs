//! `cargo xtask ci`: everything that must hold before a change goes in.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::postgres::Cluster;
use crate::process::{Supervisor, text};
use crate::suite;
use crate::tally::Tally;

const STEP_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The steps before the tests. The build is a step of its own, so that a program that does not compile is
/// told apart from a test that fails; it also makes the server's binary, which some tests start.
const STEPS: [&[&str]; 3] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    &["test", "--workspace", "--locked", "--no-run"],
];

/// Runs all steps, also after one has failed, and ends with one line of what passed and failed.
/// A failed step counts as one failure.
pub(crate) fn run(supervisor: &Supervisor) -> Result<bool> {
    let mut failed_steps: u64 = 0;
    for step in STEPS {
        failed_steps += u64::from(!passes(supervisor, step)?);
    }
    let Tally { passed, failed } = tests(supervisor)?;
    let total = Tally { passed, failed: failed + failed_steps };
    println!("{total}");
    Ok(total.failed == 0)
}

fn tests(supervisor: &Supervisor) -> Result<Tally> {
    let cluster = Cluster::start(supervisor)?;
    let started = Instant::now();
    let tally = suite::tally(supervisor, &cluster, &["--locked".to_owned()])?;
    println!("tests: {} s", started.elapsed().as_secs());
    if tally == Tally::default() {
        bail!("no test ran");
    }
    Ok(tally)
}

fn passes(supervisor: &Supervisor, step: &[&str]) -> Result<bool> {
    let mut command = suite::cargo();
    command.args(step);
    let started = Instant::now();
    let status = supervisor.run(&mut command, STEP_LIMIT)?;
    let verdict = if status.success() { "ok" } else { "FAILED" };
    println!("{}: {verdict}, {} s", text(&command), started.elapsed().as_secs());
    Ok(status.success())
}
