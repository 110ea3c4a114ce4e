//! The first sync of a user in many rooms.

use std::collections::HashMap;

use anyhow::ensure;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::context::Context;
use crate::measurement::Measurement;

const ROOMS: usize = 200;
const MESSAGES_PER_ROOM: usize = 20;

#[derive(Deserialize)]
struct Synced {
    rooms: Rooms,
}

#[derive(Deserialize)]
struct Rooms {
    join: HashMap<String, IgnoredAny>,
}

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let rooms = context.size.count(ROOMS);
    let user = context.new_user().await?;
    let stage = format!("preparing {rooms} rooms of {MESSAGES_PER_ROOM} messages");
    context
        .prepare(&stage, rooms, async |_| {
            let room = context.server.new_public_room(&user).await?;
            for _ in 0..MESSAGES_PER_ROOM {
                context.server.send_chatter(&user, &room).await?;
            }
            Ok(())
        })
        .await?;

    let first = context.server.first_sync(&user).await?;
    let shown = first.parse::<Synced>()?.rooms.join.len();
    ensure!(shown == rooms, "the user is in {rooms} rooms, but the first sync shows {shown}");

    let name = format!("sync-initial, {rooms} rooms of {MESSAGES_PER_ROOM}");
    let synced = context.drive(&name, &[()], async |_, _| context.server.first_sync(&user).await);
    let (tally, spent) = synced.await?;
    let answer_kib = first.body.len() as f64 / 1024.0;
    Ok(vec![Measurement::new(name, tally, spent).figure("size of the answer", "KiB", answer_kib)])
}
