//! Events for other servers, some of which live.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::json;

use super::PORT;
use super::remote::Remotes;
use super::stubs::{MARK, Stubs};
use crate::context::Context;
use crate::matrix::User;
use crate::measurement::{Measurement, Tally};

/// Messages whose way is measured, and the time between them.
const MESSAGES: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where nobody listens.
const DEAD_PORT: u16 = 1;
/// Messages of which the cost is measured.
const COSTED: usize = 1_000;
/// Servers of one room.
const IN_A_ROOM: usize = 1_000;

/// How many servers are in a room.
pub(super) struct Servers {
    pub(super) live: usize,
    pub(super) dead: usize,
}

fn address(block: u8, number: usize, port: u16) -> String {
    format!("127.{block}.{}.{}:{port}", number / 250, number % 250 + 1)
}

/// A new public room of version 11.
pub(super) async fn room(context: &Context, user: &User) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Created {
        room_id: String,
    }
    let body = json!({ "preset": "public_chat", "room_version": "11" });
    let reply = context.server.post(Some(user), "/_matrix/client/v3/createRoom", &body).await;
    Ok(reply.context("creating a room")?.parse::<Created>()?.room_id)
}

/// Has servers join: the dead ones first, so that they need not be told of all the others.
pub(super) async fn fill(context: &Context, remotes: &Remotes, room_id: &str, servers: &Servers) -> anyhow::Result<()> {
    let dead = (0..servers.dead).map(|number| address(11, number, DEAD_PORT));
    let live = (0..servers.live).map(|number| address(10, number, PORT));
    let names: Vec<String> = dead.chain(live).collect();
    let stage = format!("{} servers join", names.len());
    let joined = context.prepare_one_by_one(&stage, &names, async |name| remotes.join(name, room_id).await.map(drop));
    joined.await
}

/// How long a message takes to all servers that live.
pub(super) async fn latency(
    context: &Context,
    (user, room_id): (&User, &str),
    stubs: &Stubs,
    servers: &Servers,
) -> anyhow::Result<(Measurement, f64)> {
    let window = context.open_window("sending to other servers").await?;
    stubs.arrived();
    for number in 0..MESSAGES {
        let next = Instant::now() + PAUSE;
        let text = format!("{MARK}{number}");
        stubs.sends(text.clone());
        context.server.send(user, room_id, &text).await.context("sending")?;
        context.progress.tick();
        tokio::time::sleep_until(next.into()).await;
    }
    let (deadline, expected) = (Instant::now() + PATIENCE, MESSAGES * servers.live);
    while stubs.count() < expected && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
    }
    let spent = context.close_window(window).await?;
    let arrived = stubs.arrived();
    ensure!(arrived.len() >= expected, "only {} of {expected} messages have arrived", arrived.len());
    let mut tally = Tally::default();
    arrived.into_iter().for_each(|latency| tally.latency(latency));
    let name = format!("to {} live servers, {} dead", servers.live, servers.dead);
    let row = Measurement::new(name, tally, spent);
    let p99_ms = row.latency_ms.as_ref().map_or(f64::INFINITY, |latency| latency.p99);
    Ok((row, p99_ms))
}

/// What a message costs in a local room, and in one that is shared with dead servers; the ratio.
pub(super) async fn cost(
    context: &Context,
    user: &User,
    remotes: &Remotes,
    dead: usize,
) -> anyhow::Result<([Measurement; 2], f64)> {
    let (local, shared) = (room(context, user).await?, room(context, user).await?);
    fill(context, remotes, &shared, &Servers { live: 0, dead }).await?;
    let mut rows = Vec::new();
    for (name, room_id) in [("send, local room".to_owned(), &local), (format!("send, {dead} dead servers"), &shared)] {
        context.server.send_chatter(user, room_id).await.context("sending")?;
        let window = context.open_window(&name).await?;
        let mut tally = Tally::default();
        for _ in 0..COSTED {
            tally.record(&context.server.send_chatter(user, room_id).await);
            context.progress.tick();
        }
        let spent = context.close_window(window).await?;
        rows.push(Measurement::new(name, tally, spent));
    }
    let rows: [Measurement; 2] = rows.try_into().map_err(|_| anyhow::anyhow!("two rooms give two rows"))?;
    let [local, shared] = rows.each_ref().map(|row| row.cpu_ms_per_operation.unwrap_or(f64::NAN));
    Ok((rows, shared / local))
}

/// What many dead servers cost while nothing happens, in cores.
pub(super) async fn idle(
    context: &Context,
    user: &User,
    remotes: &Remotes,
    (known, further, seconds): (usize, usize, u64),
) -> anyhow::Result<(Measurement, f64)> {
    let names: Vec<String> = (known..known + further).map(|number| address(11, number, DEAD_PORT)).collect();
    for names in names.chunks(IN_A_ROOM) {
        let room_id = room(context, user).await?;
        let stage = format!("{} further servers join", names.len());
        let joined =
            context.prepare_one_by_one(&stage, names, async |name| remotes.join(name, &room_id).await.map(drop));
        joined.await?;
        context.server.send_chatter(user, &room_id).await.context("sending")?;
    }
    let window = context.open_window("doing nothing").await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = context.cut_window(window)?;
    let cores = spent.cpu.map_or(f64::NAN, |cpu| cpu.as_secs_f64() / spent.elapsed.as_secs_f64());
    let row = Measurement::new(format!("idle, {} dead servers", known + further), Tally::default(), spent);
    Ok((row.figure("cores", "", cores), cores))
}
