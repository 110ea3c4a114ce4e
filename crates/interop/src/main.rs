//! Does this server understand Synapse, and Synapse this server? Both run here, on loopback addresses with a certificate authority of
//! their own, and people on both do together what people do: join, talk, invite, leave, go away and come back.
//!
//! `cargo xtask interop` installs Synapse and runs this. Each scenario has people and rooms of its own; the list is [`scenario::Scenario`].

mod authority;
mod own_server;
mod person;
mod process;
mod scenario;
mod synapse;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use self::scenario::Scenario;
use self::world::World;

const USAGE: &str =
    "interop --server PROGRAM --python PYTHON-WITH-SYNAPSE [--database URL] [--version ROOM-VERSION]… [SCENARIO]…";

/// The room versions in which each scenario is played.
const VERSIONS: [&str; 5] = ["1", "6", "10", "11", "12"];

struct Arguments {
    server: PathBuf,
    python: PathBuf,
    /// The database of this server; SQLite without it.
    database: Option<String>,
    versions: Vec<String>,
    /// Only scenarios whose names contain one of these; all without one.
    filters: Vec<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut server, mut python, mut database) = (None, None, None);
        let (mut versions, mut filters) = (Vec::new(), Vec::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value: {USAGE}"));
            match word.as_str() {
                "--server" => server = Some(PathBuf::from(value()?)),
                "--python" => python = Some(PathBuf::from(value()?)),
                "--database" => database = Some(value()?),
                "--version" => versions.push(value()?),
                option if option.starts_with('-') => bail!("there is no option {option}: {USAGE}"),
                _ => filters.push(word),
            }
        }
        if versions.is_empty() {
            versions = VERSIONS.map(str::to_owned).to_vec();
        }
        Ok(Self { server: server.context(USAGE)?, python: python.context(USAGE)?, database, versions, filters })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every scenario went as it should.
async fn run() -> Result<bool> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let mut world = World::start(&arguments.server, &arguments.python, arguments.database.as_deref()).await?;
    let (mut passed, mut failed) = (0_u32, 0_u32);
    for version in &arguments.versions {
        for scenario in Scenario::ALL {
            let name = scenario.name();
            let is_wanted =
                arguments.filters.is_empty() || arguments.filters.iter().any(|filter| name.contains(filter));
            if !is_wanted || !scenario.exists_in(version) {
                continue;
            }
            match scenario.play(&mut world, version).await {
                Ok(()) => {
                    passed += 1;
                    println!("room version {version:>2}: {name}: ok");
                }
                Err(error) => {
                    failed += 1;
                    println!("room version {version:>2}: {name}: FAILED: {error:#}");
                }
            }
        }
    }
    world.stop().await?;
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        println!("the logs of both servers are in {}", world.keep().display());
    }
    if passed + failed == 0 {
        bail!("no scenario is named so: {:?}", arguments.filters);
    }
    Ok(failed == 0)
}
