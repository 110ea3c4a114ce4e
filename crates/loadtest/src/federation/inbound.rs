//! Events that one server sends into one room.

use std::time::Instant;

use anyhow::ensure;

use super::remote::Remotes;
use super::{PORT, outbound};
use crate::context::Context;
use crate::matrix::User;
use crate::measurement::{Measurement, Tally};

/// Events of a transaction.
const AT_ONCE: usize = 50;

/// Sends transaction after transaction, each when the one before was answered; how many events were taken in a second.
pub(super) async fn measure(
    context: &Context,
    user: &User,
    remotes: &Remotes,
    messages: usize,
) -> anyhow::Result<(Measurement, f64)> {
    let room_id = outbound::room(context, user).await?;
    let mut member = remotes.join(&format!("127.10.255.1:{PORT}"), &room_id).await?;
    context.progress.stage("signing events");
    let mut prepared = Vec::new();
    for number in 0..messages.div_ceil(AT_ONCE) + 1 {
        prepared.push(remotes.messages(&mut member, number, AT_ONCE)?);
    }
    let Some((first, rest)) = prepared.split_first() else { anyhow::bail!("there is nothing to send") };
    ensure!(remotes.send(first).await? == 0, "the server refuses the events");
    let window = context.open_window("receiving").await?;
    let mut tally = Tally::default();
    let (started, mut refused) = (Instant::now(), 0);
    for transaction in rest {
        let sent = Instant::now();
        refused += remotes.send(transaction).await?;
        tally.latency(sent.elapsed());
        context.progress.tick();
    }
    let elapsed = started.elapsed();
    let spent = context.close_window(window).await?;
    ensure!(refused == 0, "the server refused {refused} events");
    let events = rest.len() * AT_ONCE;
    let rate = events as f64 / elapsed.as_secs_f64();
    let cpu_us = spent.cpu.map_or(0.0, |cpu| cpu.as_secs_f64() * 1e6 / events as f64);
    let row = Measurement::new(format!("receive, transactions of {AT_ONCE}"), tally, spent);
    Ok((row.figure("events", "/s", rate).figure("CPU per event", "µs", cpu_us), rate))
}
