//! The first sync of a user in many large rooms, with all members: the answer is hundreds of megabytes, and the server must not hold it
//! in memory.

use std::cell::Cell;
use std::time::Duration;

use crate::context::Context;
use crate::measurement::{Measurement, Tally};

const ROOMS: usize = 100;
const MEMBERS: usize = 5_000;
/// Joins in flight, each of another room.
const JOINS_AT_ONCE: usize = 16;
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let (rooms, members) = (context.size.count(ROOMS), context.size.count(MEMBERS).max(2));
    let user = context.new_user().await?;
    let others = context.users(members - 1).await?;
    let made = context.prepare("preparing rooms", rooms, async |_| context.server.new_public_room(&user).await).await?;
    for (number, group) in made.chunks(JOINS_AT_ONCE).enumerate() {
        let stage = format!("joining rooms from number {}", number * JOINS_AT_ONCE + 1);
        context
            .prepare_one_by_one(&stage, &others, async |member| {
                let joins = group.iter().map(|room| context.server.join(member, room));
                futures::future::try_join_all(joins).await?;
                Ok(())
            })
            .await?;
    }

    let resident = || context.target.processes.resident_bytes();
    let name = format!("sync-large-rooms, {rooms} rooms of {members} members");
    let before = resident()?;
    let most = Cell::new(before);
    let window = context.open_window(&name).await?;
    let mut tally = Tally::default();
    let synced = tokio::select! {
        synced = context.server.first_sync(&user) => synced,
        watched = async {
            loop {
                tokio::time::sleep(SAMPLE_EVERY).await;
                match resident() {
                    Ok(bytes) => most.set(most.get().max(bytes)),
                    Err(error) => return error,
                }
            }
        } => return Err(watched),
    };
    let answer_bytes = synced.as_ref().map_or(0, |reply| reply.body.len());
    tally.record(&synced);
    let spent = context.close_window(window).await?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        Measurement::new(name, tally, spent)
            .figure("size of the answer", "MiB", mebibytes(answer_bytes as u64))
            .figure("memory of the server before", "MiB", mebibytes(before))
            .figure("memory that it took more", "MiB", mebibytes(most.get().saturating_sub(before))),
    ])
}
