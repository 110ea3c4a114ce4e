//! The users and rooms of a soak.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;

use super::mix::Step;
use crate::context::Context;
use crate::matrix::{Reply, User};

/// Members of each of the rooms that last: large enough for a message to reach several who wait.
const MEMBERS: usize = 16;
/// Rooms that a client made last and sends into as well. It leaves older ones: what a request has to do must not grow with the
/// length of the run. They stay on the server, and nobody asks for them any more, so memory that a server keeps for them for
/// ever would show.
const OWN_ROOMS: usize = 2;

/// What the clients share.
pub(crate) struct World {
    pub(crate) clients: Vec<Client>,
    /// Users whose clients wait in `/sync`.
    pub(crate) waiting: Vec<Arc<User>>,
    /// A public room that clients join and leave.
    pub(crate) lobby: String,
}

/// A client and what it remembers.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) user: Arc<User>,
    pub(crate) since: Option<String>,
    /// `None` when the last attempt to change it failed.
    pub(crate) is_in_lobby: Option<bool>,
    rooms: Vec<String>,
    own_rooms: VecDeque<String>,
    names: u64,
    steps: u64,
    seed: u64,
}

impl World {
    /// Makes accounts, and a room for each client that some of the others are in as well.
    pub(crate) async fn prepare(context: &Context, clients: usize, waiting: usize) -> anyhow::Result<Self> {
        let users = context.users(clients + waiting).await?;
        let rooms = context.prepare("preparing rooms", clients, async |number| {
            let owner = users.get(number).context("too few accounts")?;
            let room = context.server.new_public_room(owner).await?;
            for member in others(number, users.len()).filter_map(|other| users.get(other)) {
                context.server.join(member, &room).await?;
            }
            Ok(room)
        });
        let rooms = rooms.await?;
        // Of somebody who stays: a room that everybody has left cannot be joined again.
        let lobby = context.server.new_public_room(&*context.new_user().await?).await?;
        let rooms_of = |user: usize| {
            let is_member = |room: usize| room == user || others(room, users.len()).any(|other| other == user);
            rooms.iter().enumerate().filter(|(room, _)| is_member(*room)).map(|(_, room)| room.clone()).collect()
        };
        let made = users.iter().take(clients).enumerate().map(|(number, user)| Client {
            user: user.clone(),
            since: None,
            is_in_lobby: Some(false),
            rooms: rooms_of(number),
            own_rooms: VecDeque::new(),
            names: 0,
            steps: 0,
            seed: number as u64,
        });
        Ok(Self { clients: made.collect(), waiting: users.iter().skip(clients).cloned().collect(), lobby })
    }
}

/// The members of a room besides its owner, spread over all users.
fn others(room: usize, users: usize) -> impl Iterator<Item = usize> {
    (1..MEMBERS.min(users))
        .map(move |step| (room + step * users.div_ceil(MEMBERS)) % users)
        .filter(move |other| *other != room)
}

impl Client {
    /// What to ask next: the same order in every run.
    pub(crate) fn next_step(&mut self) -> Step {
        self.steps += 1;
        Step::of(u32::try_from(mixed(self.seed << 32 | self.steps) % 100).unwrap_or(0))
    }

    /// Where to ask it.
    pub(crate) fn next_room(&mut self) -> String {
        let count = self.rooms.len() + self.own_rooms.len();
        let number = usize::try_from(mixed(self.seed << 40 | self.steps) % count.max(1) as u64).unwrap_or(0);
        self.rooms.iter().chain(&self.own_rooms).nth(number).cloned().unwrap_or_default()
    }

    pub(crate) fn next_name(&mut self) -> String {
        self.names += 1;
        format!("Somebody, for the {}th time", self.names)
    }

    /// Remembers a room, and returns one that is to be left for it.
    pub(crate) fn created(&mut self, reply: &Reply) -> Option<String> {
        #[derive(Deserialize)]
        struct Created {
            room_id: String,
        }
        self.own_rooms.push_back(reply.parse::<Created>().ok()?.room_id);
        if self.own_rooms.len() > OWN_ROOMS { self.own_rooms.pop_front() } else { None }
    }
}

/// The finaliser of SplitMix64: consecutive numbers become ones without a pattern.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
