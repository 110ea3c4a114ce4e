//! Text messages, by senders and rooms.

use std::sync::Arc;

use crate::context::Context;
use crate::matrix::User;
use crate::measurement::Measurement;

const SENDERS: usize = 32;
const MEMBERS: usize = 100;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let members = context.size.count(MEMBERS).max(2);
    let senders = context.size.count(SENDERS).max(2);
    let users = context.users(members.max(senders)).await?;
    let Some((first, others)) = users.split_first() else {
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();

    let room = context.server.new_public_room(first).await?;
    rows.push(send(context, "send, 1 in 1", vec![(first.clone(), room)]).await?);

    let room = context.room_with(first, others.get(..members - 1).unwrap_or(others)).await?;
    let name = format!("send, 1 in a room of {members}");
    rows.push(send(context, &name, vec![(first.clone(), room)]).await?);

    let rooms = context.prepare("preparing a room per sender", senders, async |number| {
        let user = users.get(number).unwrap_or(first);
        Ok((user.clone(), context.server.new_public_room(user).await?))
    });
    let name = format!("send, {senders} in {senders}");
    rows.push(send(context, &name, rooms.await?).await?);

    let room = context.room_with(first, others.get(..senders - 1).unwrap_or(others)).await?;
    let same_room = users.iter().take(senders).map(|user| (user.clone(), room.clone()));
    let name = format!("send, {senders} in 1");
    rows.push(send(context, &name, same_room.collect()).await?);
    Ok(rows)
}

/// Every sender sends into its room, one message after the other.
async fn send(context: &Context, name: &str, senders: Vec<(Arc<User>, String)>) -> anyhow::Result<Measurement> {
    // One message each warms what the first message of a sender alone costs.
    for (user, room) in &senders {
        context.server.send_chatter(user, room).await?;
    }
    let sent = context.drive(name, &senders, async |(user, room), _| context.server.send_chatter(user, room).await);
    let (tally, spent) = sent.await?;
    Ok(Measurement::new(name, tally, spent))
}
