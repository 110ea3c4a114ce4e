//! `loadtest waiting`: what a client that waits in `/sync` costs in memory, with a limit.

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::arguments::OneTarget;
use crate::context::{Context, Size, Target};
use crate::scenario::idle;
use crate::table;

#[derive(Args, Debug)]
pub(crate) struct Waiting {
    /// Clients that wait, each of another user; both sides need as many file descriptors (`ulimit -n`)
    #[arg(long, default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Most memory that one of them may cost, in KiB
    #[arg(long, default_value = "16")]
    limit_kib: f64,
    #[command(flatten)]
    target: OneTarget,
}

impl Waiting {
    /// Whether a waiting client costs no more than the limit.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let target = Target::from(self.target);
        ensure!(!target.processes.pids.is_empty(), "memory is that of a process: give --server-pid");
        let context = Context::new(target, Size::FULL)?;
        let row = idle::measure(&context, self.clients as usize).await?;
        let figure = row.figures.iter().find(|figure| figure.name == idle::MEMORY_PER_CLIENT);
        let memory_kib = figure.context("the memory was not measured")?.value;
        let errors: u64 = row.errors.values().sum();
        print!("{}", table::of_one(&[row]));
        let kept = memory_kib <= self.limit_kib && errors == 0;
        let verdict = if kept { "passed" } else { "FAILED" };
        println!("{verdict}: {memory_kib:.1} KiB per waiting client, limit {} KiB; {errors} errors", self.limit_kib);
        Ok(kept)
    }
}
