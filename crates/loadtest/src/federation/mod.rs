//! `loadtest federation`: what events from and to other servers cost. The other servers are played by the load generator.
//!
//! All of them are addresses that begin with 127: one listener answers for the live servers, and nobody listens at the addresses of the
//! dead ones. Their keys
//! are told by a notary, which lives.

mod inbound;
mod outbound;
mod remote;
mod signing;
mod stubs;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;

use self::remote::Remotes;
use self::signing::Signer;
use self::stubs::Stubs;
use crate::arguments::OneTarget;
use crate::context::{Context, Size, Target};
use crate::measurement::Measurement;
use crate::table;

/// The port of the servers that live.
const PORT: u16 = 18_448;

#[derive(Args, Debug)]
pub(crate) struct Federation {
    /// Messages that one server sends into one room
    #[arg(long, default_value = "20000")]
    messages: usize,
    /// Servers that live
    #[arg(long, default_value = "200")]
    live: usize,
    /// Dead servers, in the same room as the live ones
    #[arg(long, default_value = "1000")]
    dead: usize,
    /// Further servers that are dead, while nothing is sent
    #[arg(long, default_value = "9000")]
    idle: usize,
    /// Seconds for which the server is watched while it has nothing to do
    #[arg(long, default_value = "60")]
    idle_seconds: u64,
    #[command(flatten)]
    target: OneTarget,
}

/// What is to be reached, and what was.
struct Goal {
    name: &'static str,
    measured: f64,
    limit: f64,
    is_least: bool,
}

impl Goal {
    fn is_reached(&self) -> bool {
        if self.is_least { self.measured >= self.limit } else { self.measured <= self.limit }
    }
}

impl Federation {
    /// Whether all goals were reached.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let target = Target::from(self.target.clone());
        ensure!(!target.processes.is_empty(), "CPU time is that of processes: give --server-pid");
        let context = Context::new(target, Size::FULL)?;
        let signer = Arc::new(Signer::new()?);
        let stubs = Stubs::start(PORT, signer.clone()).await?;
        let user = context.new_user().await?;
        let (_, server_name) = user.user_id.split_once(':').context("a user ID names its server")?;
        let remotes = Remotes::new(&context.target.url, signer, server_name)?;
        let mut rows = Vec::new();
        let mut goals = Vec::new();

        let (row, rate) = inbound::measure(&context, &user, &remotes, self.messages).await?;
        rows.push(row);
        goals.push(Goal { name: "message PDUs received in a second", measured: rate, limit: 2_000.0, is_least: true });

        let room_id = outbound::room(&context, &user).await?;
        let servers = outbound::Servers { live: self.live, dead: self.dead };
        outbound::fill(&context, &remotes, &room_id, &servers).await?;
        let (row, p99_ms) = outbound::latency(&context, (&user, &room_id), &stubs, &servers).await?;
        rows.push(row);
        goals.push(Goal {
            name: "ms until an event is everywhere, p99",
            measured: p99_ms,
            limit: 1_000.0,
            is_least: false,
        });

        let (further, ratio) = outbound::cost(&context, &user, &remotes, self.dead).await?;
        rows.extend(further);
        goals.push(Goal {
            name: "cost of sending to dead servers, to that of a local room",
            measured: ratio,
            limit: 1.5,
            is_least: false,
        });

        let (row, cores) = outbound::idle(&context, &user, &remotes, (self.dead, self.idle, self.idle_seconds)).await?;
        rows.push(row);
        goals.push(Goal { name: "cores while nothing happens", measured: cores, limit: 0.01, is_least: false });
        Ok(report(&rows, &goals))
    }
}

fn report(rows: &[Measurement], goals: &[Goal]) -> bool {
    print!("{}", table::of_one(rows));
    for goal in goals {
        let verdict = if goal.is_reached() { "passed" } else { "FAILED" };
        let bound = if goal.is_least { "at least" } else { "at most" };
        println!("{verdict}: {:.3} {}, {bound} {}", goal.measured, goal.name, goal.limit);
    }
    goals.iter().all(Goal::is_reached)
}
