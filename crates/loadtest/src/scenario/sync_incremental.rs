//! A sync that finds nothing, or one message, as the user's joined rooms grow.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::context::Context;
use crate::matrix::{Reply, User, next_batch};
use crate::measurement::{Measurement, Spent, Tally};

const JOINED_ROOMS: [usize; 5] = [1, 10, 100, 200, 1000];
/// The messages go to this many of the rooms in turn, from another user who is in them.
const SHARED_ROOMS: usize = 8;
const MESSAGES: usize = 8;
const SETTLING_SYNCS: usize = 5;
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
    fn name(&self, what: &str) -> String {
        let rooms = self.rooms.len();
        let noun = if rooms == 1 { "room" } else { "rooms" };
        format!("sync-incremental, {rooms} {noun}, {what}")
    }

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

    /// Every sync goes on from where the one before ended, as a client's do.
    async fn nothing_new(&self) -> anyhow::Result<Measurement> {
        let server = &self.context.server;
        let since = RefCell::new(server.position(&self.user).await?);
        let sync = async || {
            let from = since.borrow().clone();
            let outcome = server.sync(&self.user, Some(&from), Duration::ZERO).await;
            if let Some(next) = outcome.as_ref().ok().and_then(|reply| next_batch(reply).ok()) {
                since.replace(next);
            }
            outcome
        };
        // What the server finishes after the last message may move its positions a little more.
        for _ in 0..SETTLING_SYNCS {
            sync().await.context("syncing")?;
        }
        let name = self.name("nothing new");
        let (tally, spent) = self.context.drive(&name, &[()], async |_, _| sync().await).await?;
        Ok(Measurement::new(name, tally, spent))
    }

    /// A row of messages, each found by many syncs.
    async fn one_message(&self) -> anyhow::Result<Measurement> {
        let server = &self.context.server;
        let name = self.name("1 message");
        let mut sum = (Tally::default(), Spent::default());
        let mut since = server.position(&self.user).await?;
        let rooms = self.rooms.iter().take(SHARED_ROOMS).cycle();
        for (number, room) in rooms.take(MESSAGES + 1).enumerate() {
            let text = format!("This is message {number} of those that a sync is to find");
            server.send(&self.partner, room, &text).await?;
            if number == 0 {
                // The first time, a server may fill caches for this user that every later sync finds filled.
                since = next_batch(&server.sync(&self.user, Some(&since), WAIT).await?)?;
                continue;
            }
            let (tally, spent, latest) = self.find_message(&name, &since).await?;
            sum.0.merge(tally);
            sum.1 += spent;
            if let Some(reply) = latest {
                let found = String::from_utf8_lossy(&reply.body).contains(&text);
                ensure!(found, "a sync after a message does not show it");
                since = next_batch(&reply)?;
            }
        }
        Ok(Measurement::new(name, sum.0, sum.1))
    }

    /// Asks from the same position again and again: the same work each time, long enough for the clock of
    /// `/proc`, and without what sending costs. Also gives the last answer.
    async fn find_message(&self, name: &str, since: &str) -> anyhow::Result<(Tally, Spent, Option<Reply>)> {
        let window = self.context.open_window(name).await?;
        let end = Instant::now() + self.context.size.duration().div_f64(MESSAGES as f64);
        let mut tally = Tally::default();
        let mut latest = None;
        for round in 0..SYNCS_PER_MESSAGE {
            // A timeout that differs makes each question a new one, see `Homeserver::first_sync`.
            let timeout = WAIT + Duration::from_millis(1 + round);
            let outcome = self.context.server.sync(&self.user, Some(since), timeout).await;
            tally.record(&outcome);
            self.context.progress.tick();
            latest = outcome.ok().or(latest);
            if Instant::now() >= end {
                break;
            }
        }
        Ok((tally, self.context.close_window(window).await?, latest))
    }
}
