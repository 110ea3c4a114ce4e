//! Many clients that wait in `/sync` while nothing happens.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::matrix::next_batch;
use crate::measurement::{Figure, Measurement, Spent, Tally};

/// The figure that `waiting` judges.
pub(crate) const MEMORY_PER_CLIENT: &str = "memory per waiting client";

const CLIENTS: usize = 1000;
const POLL: Duration = Duration::from_secs(30);
/// The clients start one after the other over this time, so that they do not all ask again at once.
const START: Duration = Duration::from_secs(10);
/// As long as one poll: every client asks again once while it is watched.
const WATCH: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    Ok(vec![measure(context, context.size.count(CLIENTS)).await?])
}

/// Lets this many clients wait, each of another user, and watches the server.
pub(crate) async fn measure(context: &Context, clients: usize) -> anyhow::Result<Measurement> {
    let users = context.users(clients).await?;
    let since = context.prepare("preparing the clients' syncs", clients, async |number| match users.get(number) {
        Some(user) => context.server.position(user).await,
        None => Ok(String::new()),
    });
    let since = since.await?;
    let clients_done = Cell::new(Tally::default());
    let watching = Cell::new(false);
    let start = Instant::now() + SETTLE;
    let waiting = users.iter().zip(since).enumerate().map(|(number, (user, mut since))| {
        let (clients_done, watching) = (&clients_done, &watching);
        let offset = START.mul_f64(number as f64 / clients as f64);
        async move {
            tokio::time::sleep_until((start + offset).into()).await;
            loop {
                let outcome = context.server.sync(user, Some(&since), POLL).await;
                let next = outcome.as_ref().ok().and_then(|reply| next_batch(reply).ok());
                if watching.get() {
                    let mut tally = clients_done.take();
                    tally.record(&outcome);
                    clients_done.set(tally);
                }
                match next {
                    Some(next) => since = next,
                    None => tokio::time::sleep(RETRY_PAUSE).await,
                }
            }
        }
    });
    let waiting = futures::future::join_all(waiting);
    let watch = watch(context, clients, start, &watching);
    let (spent, mut figures) = tokio::select! {
        watched = watch => watched?,
        // Clients wait for ever.
        _ = waiting => anyhow::bail!("there is nobody who could wait"),
    };
    if let Some(cpu) = spent.cpu {
        let cores = cpu.as_secs_f64() / spent.elapsed.as_secs_f64();
        figures.push(Figure { name: "CPU of all waiting clients", unit: "cores", value: cores });
    }
    let tally = clients_done.take();
    let row = Measurement::new(format!("idle, {clients} clients"), tally, spent);
    // An operation here is a poll that ended; how long polls wait says nothing.
    Ok(Measurement { figures, latency_ms: None, ..row })
}

async fn watch(
    context: &Context,
    clients: usize,
    start: Instant,
    watching: &Cell<bool>,
) -> anyhow::Result<(Spent, Vec<Figure>)> {
    context.progress.stage(&format!("idle, {clients} clients start to wait"));
    let processes = &context.target.processes;
    let measurable = !processes.pids.is_empty();
    // Memory that the preparation needed is given back, or settled, by now.
    tokio::time::sleep_until(start.into()).await;
    let before = if measurable { processes.resident_bytes()? } else { 0 };
    tokio::time::sleep_until((start + START + SETTLE).into()).await;

    let window = context.open_window(&format!("idle, {clients} clients wait")).await?;
    watching.set(true);
    tokio::time::sleep(WATCH.mul_f64(context.size.scale.clamp(0.2, 1.0))).await;
    let spent = context.cut_window(window)?;
    let mut figures = Vec::new();
    if measurable {
        let after = processes.resident_bytes()?;
        let grown_kib = (after as f64 - before as f64) / 1024.0;
        let name = MEMORY_PER_CLIENT;
        figures.push(Figure { name, unit: "KiB", value: grown_kib / clients as f64 });
        figures.push(Figure { name: "memory of the server", unit: "MiB", value: after as f64 / 1_048_576.0 });
    }
    Ok((spent, figures))
}
