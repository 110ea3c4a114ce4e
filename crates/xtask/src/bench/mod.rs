//! `cargo xtask bench`: every benchmark of the workspace, the table of what they say, and the comparison of two revisions.

mod claims;
mod compare;
mod counted;
mod estimates;
mod options;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::counted::Counted;
use self::options::{Options, Running};
use crate::postgres::Cluster;
use crate::process::Supervisor;
use crate::suite;

const LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

/// What Criterion is told for a short run: enough to see that everything runs, and roughly how the figures are.
const QUICK: [&str; 6] = ["--warm-up-time", "0.3", "--measurement-time", "0.7", "--sample-size", "10"];

/// Does what `arguments` ask for; `false` if that found something wrong.
pub(crate) fn run(supervisor: &Supervisor, arguments: &[String]) -> Result<bool> {
    match options::parse(arguments)? {
        Options::Run(running) => run_all(supervisor, &running),
        Options::Table => {
            table::write()?;
            Ok(true)
        }
        Options::Compare(asked) => compare::run(supervisor, &asked),
    }
}

/// Runs `cargo bench` beside a PostgreSQL server, and prints the table.
fn run_all(supervisor: &Supervisor, running: &Running) -> Result<bool> {
    let cluster = Cluster::start(supervisor)?;
    let mut command = suite::cargo();
    command.arg("bench");
    if !running.names_package {
        command.arg("--workspace");
    }
    // Without a name, cargo also runs the libraries' unit tests as benchmarks, and those refuse Criterion's options.
    if !running.names_bench {
        command.args(["--bench", "*"]);
    }
    command.args(&running.cargo).arg("--").args(&running.criterion);
    if running.is_quick {
        command.args(QUICK);
    }
    command.env(suite::ADDRESS_VARIABLE, cluster.address());
    let mut counted = Counted::load()?;
    let status = supervisor.run_reading(&mut command, LIMIT, |line| counted.read_line(line))?;
    counted.store()?;
    if status.success() {
        print!("{}", table::made()?);
    }
    Ok(status.success())
}

/// The folder of what cargo builds, in which Criterion keeps its figures as well.
fn target_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(folder.into());
    }
    Ok(workspace_folder()?.join("target"))
}

fn workspace_folder() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask bench`")?;
    let own = PathBuf::from(own);
    Ok(own.ancestors().nth(2).context("this crate is not in crates/")?.to_owned())
}
