//! A user who shares a room with 10,000 others changes the keys of a device. None of the others waits in `/sync`.

use anyhow::Context as _;

use super::keys::Device;
use crate::context::Context;
use crate::measurement::{Measurement, Tally};

const MEMBERS: usize = 10_000;
const CHANGES: usize = 200;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let members = context.users(context.size.count(MEMBERS)).await?;
    let user = context.new_user().await?;
    context.room_with(&user, &members).await?;
    let device = Device::log_in(context, &user, 0).await?;
    device.upload(context, 0, 0).await?;
    let name = format!("device change before {} members", members.len());
    let window = context.open_window(&name).await?;
    let mut tally = Tally::default();
    for round in 1..=CHANGES {
        let started = std::time::Instant::now();
        device.upload(context, round, 0).await.context("changing keys")?;
        tally.latency(started.elapsed());
        context.progress.tick();
    }
    let spent = context.close_window(window).await?;
    Ok(vec![Measurement::new(name, tally, spent)])
}
