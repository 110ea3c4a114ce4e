//! The first sync of a user in one room, small or large, with all members or loading them lazily.

use crate::context::Context;
use crate::measurement::Measurement;

const MEMBERS_SMALL: usize = 10;
const MEMBERS_LARGE: usize = 300;
const MESSAGES: usize = 30;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let mut rows = Vec::new();
    for members in [MEMBERS_SMALL, context.size.count(MEMBERS_LARGE).max(MEMBERS_SMALL)] {
        let others = context.users(members - 1).await?;
        let user = context.new_user().await?;
        let room = context.room_with(&user, &others).await?;
        context
            .prepare("preparing its messages", MESSAGES, async |number| {
                let sender = others.get(number % others.len()).unwrap_or(&user);
                context.server.send_chatter(sender, &room).await?;
                Ok(())
            })
            .await?;

        let name = format!("sync-one-room, {members} members");
        let synced = context.drive(&name, &[()], async |_, _| context.server.first_sync(&user).await);
        let (tally, spent) = synced.await?;
        rows.push(Measurement::new(name, tally, spent));
        let name = format!("sync-one-room, {members} members, lazy");
        let synced = context.drive(&name, &[()], async |_, _| context.server.first_lazy_sync(&user).await);
        let (tally, spent) = synced.await?;
        rows.push(Measurement::new(name, tally, spent));
    }
    Ok(rows)
}
