//! `loadtest start-up`: the time from the start command to the first answer on a database that is full, with a limit.

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::arguments::OneTarget;
use crate::context::{Context, Size, Target};
use crate::fill::fill;
use crate::matrix::Homeserver;
use crate::scenario::startup;
use crate::table;

#[derive(Args, Debug)]
pub(crate) struct StartUp {
    /// Events that are written first, by the public API; 0 for a database that is full already
    #[arg(long, default_value = "1000000")]
    events: usize,
    /// Rooms that they are in
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Starts that are measured
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000))]
    starts: u32,
    /// How long the median start may take, in milliseconds
    #[arg(long, default_value = "300")]
    limit_ms: f64,
    #[command(flatten)]
    target: OneTarget,
}

impl StartUp {
    /// Whether the server is ready within the limit.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let target = Target::from(self.target);
        let command = target.start_command.clone().context("give --start-command, such as \"exec synapse-rust\"")?;
        let url = target.start_url.clone().unwrap_or_else(|| target.url.clone());
        let context = Context::new(target, Size::FULL)?;
        if self.events > 0 {
            let server = Homeserver::new(&url)?;
            ensure!(server.versions().await.is_err(), "something answers at {url} already");
            let mut child = startup::start(&command)?;
            let filled = match startup::until_ready(&server, &mut child).await {
                Ok(_) => fill(&context, self.events, self.rooms as usize).await,
                Err(error) => Err(error),
            };
            startup::stop(child, &server).await?;
            filled?;
        }
        context.progress.stage("starting");
        let row = startup::measure(&context, &command, &url, self.starts as usize).await?;
        let latency = row.latency_ms.clone().context("no start was measured")?;
        print!("{}", table::of_one(&[row]));
        let kept = latency.p50 <= self.limit_ms;
        let verdict = if kept { "passed" } else { "FAILED" };
        let (median, max, limit) = (latency.p50, latency.max, self.limit_ms);
        println!(
            "{verdict}: ready after {median:.0} ms (median of {}), {max:.0} ms at most; limit {limit} ms",
            self.starts
        );
        Ok(kept)
    }
}
