//! `cargo xtask ci`: everything that must hold before a change goes in.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::lints::{Driver, Findings};
use crate::postgres::Cluster;
use crate::process::Supervisor;
use crate::stopwatch::{Cost, Stopwatch};
use crate::suite;
use crate::tally::Tally;

const STEP_LIMIT: Duration = Duration::from_secs(60 * 60);

const FORMAT: [&str; 3] = ["fmt", "--all", "--check"];

/// Everything there is, benchmarks included. The build is a step of its own, so that a program that does not compile is told
/// apart from a test that fails; it also makes the server's binary, which some tests start.
const BUILD: [&str; 6] = ["test", "--workspace", "--all-targets", "--locked", "--no-run", "--message-format=json"];

/// Runs all steps, also after one has failed, and ends with one line of what passed and failed.
/// A failed step counts as one failure.
pub(crate) fn run(supervisor: &Supervisor) -> Result<bool> {
    let whole = Stopwatch::start();
    let driver = Driver::find()?;
    let mut failed_steps = 0;
    failed_steps += u64::from(!format(supervisor)?);
    failed_steps += u64::from(!build_and_lint(supervisor, &driver)?);
    let Tally { passed, failed } = tests(supervisor, &driver)?;
    println!("altogether: {}", whole.read());
    let total = Tally { passed, failed: failed + failed_steps };
    println!("{total}");
    Ok(total.failed == 0)
}

fn format(supervisor: &Supervisor) -> Result<bool> {
    let watch = Stopwatch::start();
    let status = supervisor.run(suite::cargo().args(FORMAT), STEP_LIMIT)?;
    report(&FORMAT.join(" "), status.success(), &watch.read());
    Ok(status.success())
}

fn build_and_lint(supervisor: &Supervisor, driver: &Driver) -> Result<bool> {
    let watch = Stopwatch::start();
    let mut command = driver.lint(suite::cargo());
    command.args(BUILD);
    let mut findings = Findings::default();
    let status = supervisor.run_capturing(&mut command, STEP_LIMIT, |line| {
        if let Some(shown) = findings.read(line) {
            eprint!("{shown}");
        }
        Ok(())
    })?;
    let holds = status.success() && findings.warnings == 0;
    report(&format!("build and lint, {} warnings", findings.warnings), holds, &watch.read());
    Ok(holds)
}

fn tests(supervisor: &Supervisor, driver: &Driver) -> Result<Tally> {
    let watch = Stopwatch::start();
    let cluster = Cluster::start(supervisor)?;
    let tally = suite::tally(supervisor, &cluster, driver.lint(suite::cargo()), &["--locked".to_owned()])?;
    // The server's own time counts when it has ended.
    drop(cluster);
    report("tests", tally.failed == 0, &watch.read());
    if tally == Tally::default() {
        bail!("no test ran");
    }
    Ok(tally)
}

fn report(step: &str, holds: bool, cost: &Cost) {
    let verdict = if holds { "ok" } else { "FAILED" };
    println!("{step}: {verdict}, {cost}");
}
