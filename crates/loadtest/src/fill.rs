//! Fills a server with events by its public API: what is written is what clients would have written.

use std::cell::Cell;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::context::Context;
use crate::matrix::User;

/// Requests in flight: enough for a server that commits many together.
const CONCURRENCY: usize = 64;
const SENDERS: usize = 50;
/// The creator and those who join.
const MEMBERS: usize = 4;
/// The events that a new public room of the load generator has at least: creation, creator, power levels, join rules,
/// history visibility, name and topic.
const EVENTS_OF_A_ROOM: usize = 7;

/// Makes rooms and sends messages into all of them in turn, until there are this many events.
pub(crate) async fn fill(context: &Context, events: usize, rooms: usize) -> anyhow::Result<()> {
    let users = context.users(SENDERS).await?;
    let stage = format!("making {rooms} rooms");
    let made = context.prepare(&stage, rooms, async |number| {
        let members = members_of(&users, number);
        let (owner, others) = members.split_first().ok_or_else(|| anyhow::anyhow!("no accounts"))?;
        let room = context.server.new_public_room(owner).await?;
        for member in others {
            context.server.join(member, &room).await?;
        }
        Ok((members, room))
    });
    let made = made.await?;
    let messages = events.saturating_sub(rooms * (EVENTS_OF_A_ROOM + MEMBERS - 1));
    context.progress.stage(&format!("sending {messages} messages"));
    let sent = Cell::new(0_usize);
    let sends = made.iter().cycle().take(messages).map(|(members, room)| {
        let (context, sent) = (&context, &sent);
        async move {
            let number = sent.replace(sent.get() + 1);
            if let Some(sender) = members.get(number / rooms % members.len()) {
                context.server.send_chatter(sender, room).await?;
            }
            context.progress.tick();
            anyhow::Ok(())
        }
    });
    stream::iter(sends).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
    Ok(())
}

fn members_of(users: &[Arc<User>], room: usize) -> Vec<Arc<User>> {
    (0..MEMBERS).filter_map(|step| users.get((room + step * 7) % users.len().max(1)).cloned()).collect()
}
