//! Scrolling back through a long room.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::context::Context;
use crate::matrix::User;
use crate::measurement::{Measurement, Tally};

const EVENTS: usize = 5000;
const PAGE: u32 = 100;

#[derive(Deserialize)]
struct Page {
    chunk: Vec<IgnoredAny>,
    end: Option<String>,
}

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let events = context.size.count(EVENTS);
    let user = context.new_user().await?;
    let room = context.server.new_public_room(&user).await?;
    let stage = format!("preparing {events} messages");
    context.prepare(&stage, events, async |_| Ok(context.server.send_chatter(&user, &room).await?)).await?;

    let window = context.open_window("messages, pages of 100").await?;
    let end = std::time::Instant::now() + context.size.duration();
    let mut tally = Tally::default();
    while tally.operations() == 0 || std::time::Instant::now() < end {
        let seen = walk(context, &user, &room, &mut tally).await?;
        ensure!(seen >= events, "{events} messages were sent, but going back shows only {seen} events");
    }
    let spent = context.close_window(window).await?;
    Ok(vec![Measurement::new("messages, page of 100", tally, spent)])
}

/// From the newest event back to the room's creation; how many events that were.
async fn walk(context: &Context, user: &User, room: &str, tally: &mut Tally) -> anyhow::Result<usize> {
    let mut from = None;
    let mut seen = 0;
    loop {
        let outcome = context.server.messages(user, room, from.as_deref(), PAGE).await;
        tally.record(&outcome);
        context.progress.tick();
        let page: Page = outcome.context("going back")?.parse()?;
        seen += page.chunk.len();
        match page.end {
            // Some servers name an end on the last page too, and answer an empty one there.
            Some(end) if !page.chunk.is_empty() => from = Some(end),
            _ => return Ok(seen),
        }
    }
}
