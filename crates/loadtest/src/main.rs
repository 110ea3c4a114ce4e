//! A load generator for Matrix homeservers.
//!
//! It knows nothing of the server but its URL: accounts are made by open registration or by a shared
//! secret, and everything else is the
//! [client-server API](https://spec.matrix.org/v1.19/client-server-api/). Where the processes are on the same
//! machine, `--server-pid` adds the figure that stays comparable on a noisy one: CPU time per operation of
//! the server and its database together.
//!
//! ```text
//! loadtest --url http://127.0.0.1:8008 --server-pid 4711 send fanout
//! loadtest compare --scale 0.1 \
//!   --target synapse=http://127.0.0.1:18008,pid=812,pid=790,shared-secret=… \
//!   --target this=http://127.0.0.1:8008,pid=4711,shared-secret=…
//! loadtest waiting --clients 5000 --limit-kib 16 --server-pid 4711
//! loadtest start-up --events 1000000 --limit-ms 300 --start-command "exec synapse-rust"
//! loadtest soak --minutes 20 --share 0.5 --server-pid 4711
//! loadtest federation --server-pid 4711
//! ```
//!
//! To measure Synapse, start it on a PostgreSQL of its own (`fsync=on`, as the default is) with every `rc_*`
//! limit raised and a `registration_shared_secret`, and give the ids of its process and of the postmaster.
//!
//! What is prepared is never in a figure: a measured part begins when the server has become quiet, and ends
//! when it has finished what its answers left to do. Progress goes to stderr, the table to stdout.

mod accounts;
mod arguments;
mod context;
mod federation;
mod fill;
mod http;
mod matrix;
mod measurement;
mod process;
mod progress;
mod scenario;
mod soak;
mod start_up;
mod table;
mod waiting;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;

use crate::arguments::{Arguments, Command, Run};
use crate::context::{Context, Target};
use crate::measurement::Measurement;
use crate::scenario::Scenario;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread is enough to keep a server busy, and leaves the other cores to it.
fn start(arguments: Arguments) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.command {
            Some(Command::Compare { targets, run }) => measure(targets, &run).await,
            Some(Command::Waiting(waiting)) => waiting.run().await,
            Some(Command::StartUp(start_up)) => start_up.run().await,
            Some(Command::Soak(soak)) => soak.run().await,
            Some(Command::Federation(federation)) => federation.run().await,
            None => measure(vec![Target::from(arguments.one)], &arguments.run).await,
        }
    })
}

/// Runs scenario by scenario, each on all targets, so that what disturbs the machine meets all of them.
/// False if a scenario could not be completed, or nothing of it succeeded.
async fn measure(targets: Vec<Target>, run: &Run) -> anyhow::Result<bool> {
    let contexts = targets.into_iter().map(|target| Context::new(target, run.size()));
    let contexts = contexts.collect::<anyhow::Result<Vec<_>>>()?;
    let mut results: Vec<_> = contexts.iter().map(|context| Results::of(&context.target)).collect();
    let mut complete = true;
    for scenario in Scenario::expand(&run.scenarios) {
        for (context, results) in contexts.iter().zip(&mut results) {
            match scenario.run(context).await {
                Ok(rows) => {
                    complete &= !rows.iter().any(Measurement::is_all_errors);
                    results.measurements.extend(rows);
                }
                Err(error) => {
                    complete = false;
                    context.progress.note(&format!("{scenario:?} could not be completed: {error:#}"));
                }
            }
        }
        // What is known so far survives a run that is stopped.
        if let Some(file) = &run.json {
            write_json(file, &Report { scale: run.scale, seconds: run.seconds, targets: &results })?;
        }
    }
    for context in &contexts {
        context.progress.note("done");
    }
    let [one] = results.as_slice() else {
        let named = results.into_iter().map(|each| (each.name, each.measurements));
        print!("{}", table::of_several(&named.collect::<Vec<_>>()));
        return Ok(complete);
    };
    print!("{}", table::of_one(&one.measurements));
    Ok(complete)
}

/// The JSON file.
#[derive(Serialize)]
struct Report<'a> {
    scale: f64,
    seconds: u64,
    targets: &'a [Results],
}

/// One target's part of the JSON file.
#[derive(Serialize)]
struct Results {
    name: String,
    url: String,
    measurements: Vec<Measurement>,
}

impl Results {
    fn of(target: &Target) -> Self {
        Self { name: target.name.clone(), url: target.url.clone(), measurements: Vec::new() }
    }
}

fn write_json(file: &Path, report: &Report<'_>) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(report)?;
    std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))
}
