//! `cargo xtask network-faults`: homeservers that share rooms over a network with faults, for as many seeds as one likes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::postgres::Cluster;
use crate::process::Supervisor;
use crate::suite::{ADDRESS_VARIABLE, cargo};

/// What is tried if nothing else is asked for.
const SEEDS: u64 = 200;
/// Compiling, and the longest that one seed takes on both databases.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
const SEED_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Plays the faults of seeds, one after the other, on both databases at once. `arguments`: `--seeds` and how many, `--first` and which.
pub(crate) fn run(supervisor: &Supervisor, arguments: &[String]) -> Result<bool> {
    let (mut first, mut seeds) = (None, SEEDS);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            text.parse::<u64>().with_context(|| format!("{argument} needs a number, not {text:?}"))
        };
        match argument.as_str() {
            "--seeds" => seeds = number()?,
            "--first" => first = Some(number()?),
            unknown => bail!("`cargo xtask network-faults` does not know `{unknown}`"),
        }
    }
    let cluster = Cluster::start(supervisor)?;
    let mut command = cargo();
    command.args(["test", "--package", "synapse-rust", "--test", "network", "--", "--nocapture"]);
    command.arg("faults::homeservers_agree_after_faults");
    command.env(ADDRESS_VARIABLE, cluster.address()).env("SYNAPSE_RUST_FAULTS_SEEDS", seeds.to_string());
    command.envs(first.map(|first| ("SYNAPSE_RUST_FAULTS_SEED", first.to_string())));
    let seeds = u32::try_from(seeds).context("so many seeds are never done")?;
    Ok(supervisor.run(&mut command, BUILD_LIMIT + SEED_LIMIT * seeds)?.success())
}
