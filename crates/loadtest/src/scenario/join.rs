//! A public room that one user after the other joins.

use std::sync::Arc;

use crate::context::Context;
use crate::matrix::User;
use crate::measurement::{Measurement, Spent, Tally};

const MEMBERS: usize = 500;
/// The first and the last part stand beside the whole: joining should not get slower.
const PARTS: usize = 5;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let members = context.size.count(MEMBERS).max(PARTS);
    let users = context.users(members).await?;
    let owner = context.new_user().await?;
    let room = context.server.new_public_room(&owner).await?;

    let part_size = members.div_ceil(PARTS);
    let mut rows = Vec::new();
    let mut whole = (Tally::default(), Spent::default());
    let mut joined = 0;
    for part in users.chunks(part_size) {
        joined += part.len();
        let (tally, spent) = join_all(context, part, &room, joined).await?;
        whole.0.merge(tally.clone());
        whole.1 += spent;
        let name = format!("join, members {} to {joined}", joined - part.len() + 1);
        rows.push(Measurement::new(name, tally, spent));
    }
    // What lies between the first and the last part is in the whole.
    rows.drain(1..rows.len().saturating_sub(1).max(1));
    rows.insert(0, Measurement::new(format!("join, room to {members}"), whole.0, whole.1));
    Ok(rows)
}

async fn join_all(context: &Context, users: &[Arc<User>], room: &str, up_to: usize) -> anyhow::Result<(Tally, Spent)> {
    let window = context.open_window(&format!("join, up to member {up_to}")).await?;
    let mut tally = Tally::default();
    for user in users {
        tally.record(&context.server.join(user, room).await);
        context.progress.tick();
    }
    Ok((tally, context.close_window(window).await?))
}
