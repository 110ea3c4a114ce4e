//! `cargo xtask test`: every test of the workspace, with a PostgreSQL server beside it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::postgres::Cluster;
use crate::process::Supervisor;
use crate::tally::Tally;

/// Where the tests find the server's address; the integration harness reads it.
pub(crate) const ADDRESS_VARIABLE: &str = "SYNAPSE_RUST_TEST_POSTGRES";

/// Where they find PostgreSQL's programs, for servers of their own and for `pg_dump`.
const PROGRAMS_VARIABLE: &str = "SYNAPSE_RUST_TEST_POSTGRES_PROGRAMS";

/// Tells test programs how many tests run at once.
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";

/// Most tests wait half of their time: for a server to start, for a sync to be answered, for a disk.
const TESTS_PER_CORE: usize = 2;

const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Runs `cargo test` on the whole workspace, or on the packages that `arguments` name, and prints the sum.
pub(crate) fn run(supervisor: &Supervisor, arguments: &[String]) -> Result<bool> {
    let cluster = Cluster::start(supervisor)?;
    let tally = tally(supervisor, &cluster, cargo(), arguments)?;
    if tally == Tally::default() {
        bail!("no test ran: nothing matches {arguments:?}");
    }
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Runs the tests by that `cargo` against `cluster` and counts, without stopping at the first program that fails.
pub(crate) fn tally(
    supervisor: &Supervisor,
    cluster: &Cluster,
    mut command: Command,
    arguments: &[String],
) -> Result<Tally> {
    let mut tally = Tally::default();
    command.arg("test").args(scope(arguments)).arg("--no-fail-fast").args(arguments);
    command.env(ADDRESS_VARIABLE, cluster.address()).env(PROGRAMS_VARIABLE, cluster.programs());
    if std::env::var_os(THREADS_VARIABLE).is_none() {
        command.env(THREADS_VARIABLE, (TESTS_PER_CORE * cores()).to_string());
    }
    let status = supervisor.run_reading(&mut command, LIMIT, |line| tally.count(line))?;
    if !status.success() && tally.failed == 0 {
        eprintln!("cargo test ended with {status}, and no test was reported as failed: counted as one failure");
        tally.failed = 1;
    }
    Ok(tally)
}

/// The cargo that runs this program, so that a chosen toolchain stays chosen.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn scope(arguments: &[String]) -> Option<&'static str> {
    let names_package = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "-p" || argument.starts_with("--package"));
    (!names_package).then_some("--workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        let scope_of = |line: &str| scope(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(scope_of(""), Some("--workspace"));
        assert_eq!(scope_of("a_filter"), Some("--workspace"));
        assert_eq!(scope_of("-- -p"), Some("--workspace"));
        assert_eq!(scope_of("-p storage"), None);
        assert_eq!(scope_of("--package=storage a_filter"), None);
    }
}
