//! A sync that finds nothing, or one message, as the user's joined rooms grow.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::context::Context;
use crate::matrix::{User, next_batch};
use crate::measurement::{Measurement, Spent, Tally};

const JOINED_ROOMS: [usize; 5] = [1, 10, 100, 200, 1000];
/// The messages go to this many of the rooms in turn, from another user who is in them.
const SHARED_ROOMS: usize = 8;
const MESSAGES: usize = 8;
const SYNCS_PER_MESSAGE: u64 = 1000;
/// Longer than any answer with something in it takes, so that a lost message shows.
const WAIT: Duration = Duration::from_secs(5);

struct Stage<'a> {
    context: &'a Context,
    user: Arc<User>,
    partner: Arc<User>,
    rooms: Vec<String>,
}

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let user = context.new_user().await?;
    let partner = context.new_user().await?;
    let mut stage = Stage { context, user, partner, rooms: Vec::new() };
    let mut rows = Vec::new();
    for rooms in JOINED_ROOMS {
        // One room stays one room at every scale.
        let rooms = if rooms == 1 { 1 } else { context.size.count(rooms).max(2) };
        if rooms > stage.rooms.len() {
            stage.grow(rooms).await?;
            rows.push(stage.nothing_new().await?);
            rows.push(stage.one_message().await?);
        }
    }
    Ok(rows)
}

impl Stage<'_> {
    async fn grow(&mut self, rooms: usize) -> anyhow::Result<()> {
        let missing = rooms - self.rooms.len();
        let stage = format!("preparing {missing} more rooms, {rooms} together");
        let make = async |_| self.context.server.new_public_room(&self.user).await;
        let made = self.context.prepare(&stage, missing, make).await?;
        let shared = SHARED_ROOMS.saturating_sub(self.rooms.len());
        for room in made.iter().take(shared) {
            self.context.server.join(&self.partner, room).await?;
        }
        self.rooms.extend(made);
        Ok(())
    }

    async fn nothing_new(&self) -> anyhow::Result<Measurement> {
        let server = &self.context.server;
        let since = server.sync_token(&self.user, None).await?;
        // What the server finishes after the last message may move its positions once more.
        let since = server.sync_token(&self.user, Some(&since)).await?;
        let name = format!("sync-incremental, {} rooms, nothing new", self.rooms.len());
        let synced =
            self.context.drive(&name, &[()], async |_, _| server.sync(&self.user, Some(&since), Duration::ZERO).await);
        let (tally, spent) = synced.await?;
        Ok(Measurement::new(name, tally, spent))
    }

    /// After each message, asks from the same position again and again: the same work each time, long
    /// enough for the clock of `/proc`, and without the message's own cost.
    async fn one_message(&self) -> anyhow::Result<Measurement> {
        let server = &self.context.server;
        let name = format!("sync-incremental, {} rooms, 1 message", self.rooms.len());
        let mut sum = (Tally::default(), Spent::default());
        let mut since = server.sync_token(&self.user, None).await?;
        let until_each = self.context.size.duration() / u32::try_from(MESSAGES)?;
        for (number, room) in self.rooms.iter().take(SHARED_ROOMS).cycle().take(MESSAGES).enumerate() {
            let text = format!("This is message {number} of those that a sync is to find");
            server.send(&self.partner, room, &text).await?;

            let window = self.context.open_window(&name).await?;
            let end = std::time::Instant::now() + until_each;
            let mut latest = None;
            for round in 0..SYNCS_PER_MESSAGE {
                // A server may keep its last answers; a timeout that differs makes each question a new one.
                let timeout = WAIT + Duration::from_millis(round);
                let outcome = server.sync(&self.user, Some(&since), timeout).await;
                sum.0.record(&outcome);
                self.context.progress.tick();
                latest = outcome.ok().or(latest);
                if std::time::Instant::now() >= end {
                    break;
                }
            }
            sum.1 += self.context.close_window(window).await?;
            if let Some(reply) = latest {
                let found = String::from_utf8_lossy(&reply.body).contains(&text);
                ensure!(found, "a sync after a message does not show it");
                since = next_batch(&reply)?;
            }
        }
        Ok(Measurement::new(name, sum.0, sum.1))
    }
}
