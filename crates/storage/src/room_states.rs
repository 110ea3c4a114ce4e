//! Whether the state of a room is known as a whole: a type that every read of state goes through.
//!
//! A server that joins a room over federation may be told of its state
//! [without the members](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid), and
//! learn of them while its users are in the room already. Until then the state is known in part, and code that ignores
//! this takes a member who is not known for a user who is not in the room.
//!
//! * What needs everything takes a [`FullState`], which only [`RoomStates`] makes.
//! * What takes a [`KnownState`] is fine with a part.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use homeserver_core::{Live, Position, RoomSn};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Database, LogEntry, LogObserver, StorageError, Tx, params};

/// The newest rooms whose state came to be known as a whole, for which it is remembered when: followers of the log that are
/// behind ask for it.
const REMEMBERED_COMPLETIONS: usize = 1_000;

/// What is known of a room's state.
#[derive(Debug)]
pub enum KnownState {
    /// All of it.
    Full(FullState),
    /// All but members.
    Partial(PartialState),
}

/// The state of a room, known as a whole. Reads that would be wrong without all of it require this type.
///
/// It is good for as long as users of this server are in the room: a state that is known as a whole stays so.
#[derive(Debug)]
pub struct FullState {
    room_sn: RoomSn,
    since: Position,
}

/// The state of a room, some of whose members are not known.
///
/// What is always there: all other state, the members who are users of this server, and the senders of events that are here.
#[derive(Debug)]
pub struct PartialState {
    room_sn: RoomSn,
    server_name: Arc<str>,
}

impl FullState {
    /// The room.
    #[must_use]
    pub fn room_sn(&self) -> RoomSn {
        self.room_sn
    }
}

impl KnownState {
    /// The room.
    #[must_use]
    pub fn room_sn(&self) -> RoomSn {
        match self {
            Self::Full(full) => full.room_sn,
            Self::Partial(partial) => partial.room_sn,
        }
    }

    /// The key to everything, if everything is known.
    #[must_use]
    pub fn full(&self) -> Option<&FullState> {
        match self {
            Self::Full(full) => Some(full),
            Self::Partial(_) => None,
        }
    }

    /// Whether everything was known at a position of the log.
    #[must_use]
    pub fn was_full_at(&self, at: Position) -> bool {
        self.full().is_some_and(|full| full.since <= at)
    }

    /// Whether everything is known, but was not at a position of the log, if that is not long ago.
    #[must_use]
    pub fn became_full_after(&self, at: Position) -> bool {
        self.full().is_some_and(|full| full.since > at)
    }

    /// Whether there is nothing in a place where nothing is found: not so for members that may be still to come.
    #[must_use]
    pub fn covers(&self, event_type: &str, state_key: &str) -> bool {
        match self {
            Self::Full(_) => true,
            Self::Partial(partial) => {
                let is_local = |(_, server_name)| server_name == &*partial.server_name;
                event_type != "m.room.member" || state_key.split_once(':').is_some_and(is_local)
            }
        }
    }
}

/// The members of a room did not come to be known in the time that a request may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "This server joined the room a short while ago and does not know all of its members yet; try again in a while."
)]
pub struct StillPartial;

/// What is known of the states of rooms. Follows the log of this node.
pub struct RoomStates {
    server_name: Arc<str>,
    patience: Live<Duration>,
    stopping: CancellationToken,
    /// The rooms about which there is something to say; all others are known as a whole and always were.
    rooms: ArcSwap<HashMap<RoomSn, Extent>>,
    changed: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    Partial,
    WholeSince(Position),
}

impl RoomStates {
    /// Reads from `database` what is known in part, and follows its log from now on. A request for a whole state waits for
    /// it no longer than `patience`, and not once `stopping` is cancelled. `server_name` is that of the users who have
    /// accounts here.
    ///
    /// It should be the first observer of the log: then the other observers find what is known of a room up to date when they are
    /// told of an event.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub async fn follow(
        database: &Database,
        server_name: &str,
        patience: Duration,
        stopping: CancellationToken,
    ) -> Result<Arc<Self>, StorageError> {
        let states = Arc::new(Self::new(server_name, patience, stopping));
        database.observe(states.clone());
        let partial = database.partial_rooms().await?;
        states.change(|rooms| {
            for room_sn in partial.iter().copied() {
                // What the log has told in the meantime is newer.
                rooms.entry(room_sn).or_insert(Extent::Partial);
            }
        });
        Ok(states)
    }

    fn new(server_name: &str, patience: Duration, stopping: CancellationToken) -> Self {
        let (rooms, changed) = (ArcSwap::default(), Notify::new());
        let patience = Live::new(patience);
        Self { server_name: server_name.into(), patience, stopping, rooms, changed }
    }

    /// Sets how long requests wait for a whole state from now on.
    pub fn set_patience(&self, patience: Duration) {
        self.patience.replace(patience);
    }

    /// What is known of a room's state.
    #[must_use]
    pub fn of(&self, room_sn: RoomSn) -> KnownState {
        let since = match self.rooms.load().get(&room_sn) {
            None => Position::START,
            Some(Extent::WholeSince(since)) => *since,
            Some(Extent::Partial) => {
                let server_name = self.server_name.clone();
                return KnownState::Partial(PartialState { room_sn, server_name });
            }
        };
        KnownState::Full(FullState { room_sn, since })
    }

    /// Those of these rooms whose states are known in part: mostly none.
    #[must_use]
    pub fn partial_among<'a>(&self, rooms: impl IntoIterator<Item = &'a RoomSn>) -> Vec<RoomSn> {
        let known = self.rooms.load();
        if known.is_empty() {
            return Vec::new();
        }
        let is_partial = |room_sn: &&RoomSn| known.get(*room_sn) == Some(&Extent::Partial);
        rooms.into_iter().filter(is_partial).copied().collect()
    }

    /// The whole state of a room, once it is known.
    ///
    /// # Errors
    /// [`StillPartial`] if that takes too long.
    pub async fn full(&self, room_sn: RoomSn) -> Result<FullState, StillPartial> {
        match self.of(room_sn) {
            KnownState::Full(full) => Ok(full),
            // Boxed, so that requests that need not wait do not take the room for it.
            KnownState::Partial(_) => Box::pin(self.wait_for_full(room_sn)).await,
        }
    }

    async fn wait_for_full(&self, room_sn: RoomSn) -> Result<FullState, StillPartial> {
        let mut deadline = std::pin::pin!(tokio::time::sleep(*self.patience.read()));
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking again, so that nothing is missed in between.
            changed.as_mut().enable();
            if let KnownState::Full(full) = self.of(room_sn) {
                return Ok(full);
            }
            tokio::select! {
                () = changed => {}
                () = &mut deadline => return Err(StillPartial),
                () = self.stopping.cancelled() => return Err(StillPartial),
            }
        }
    }

    fn change(&self, mut change: impl FnMut(&mut HashMap<RoomSn, Extent>)) {
        self.rooms.rcu(|rooms| {
            let mut rooms = HashMap::clone(rooms);
            change(&mut rooms);
            forget_old_completions(&mut rooms);
            rooms
        });
        self.changed.notify_waiters();
    }
}

fn forget_old_completions(rooms: &mut HashMap<RoomSn, Extent>) {
    let completion = |extent: &Extent| match extent {
        Extent::Partial => None,
        Extent::WholeSince(since) => Some(*since),
    };
    let mut completions: Vec<Position> = rooms.values().filter_map(completion).collect();
    if let Some(surplus) = completions.len().checked_sub(REMEMBERED_COMPLETIONS + 1) {
        let (_, newest_forgotten, _) = completions.select_nth_unstable(surplus);
        rooms.retain(|_, extent| completion(extent).is_none_or(|since| since > *newest_forgotten));
    }
}

impl LogObserver<LogEntry> for RoomStates {
    fn committed(&self, entries: &[LogEntry]) {
        let extents = entries.iter().filter_map(|entry| match *entry {
            LogEntry::StateKnown { position, room_sn, is_whole: true } => Some((room_sn, Extent::WholeSince(position))),
            LogEntry::StateKnown { room_sn, is_whole: false, .. } => Some((room_sn, Extent::Partial)),
            _ => None,
        });
        let extents: Vec<_> = extents.collect();
        if !extents.is_empty() {
            self.change(|rooms| rooms.extend(extents.iter().copied()));
        }
    }
}

impl Tx {
    /// Says in the log that of a room's state no more is known than a part: written with the events by which this server
    /// joins it.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn mark_state_partial(&mut self, room_sn: RoomSn) -> Result<(), StorageError> {
        self.mark_state(room_sn, false).await
    }

    /// Says in the log that a room's state is known as a whole: written with, and after, the last of the members.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn mark_state_whole(&mut self, room_sn: RoomSn) -> Result<(), StorageError> {
        self.mark_state(room_sn, true).await
    }

    async fn mark_state(&mut self, room_sn: RoomSn, is_whole: bool) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        let whole_since = is_whole.then_some(position.0);
        let sql = "UPDATE room_heads SET state_whole_since = $2 WHERE room_sn = $1";
        self.execute(sql, params![room_sn, whole_since]).await?;
        if is_whole {
            self.end_partial_entries(room_sn).await?;
        }
        self.publish(LogEntry::StateKnown { position, room_sn, is_whole });
        Ok(())
    }
}

impl Database {
    /// The rooms whose state is known in part.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    async fn partial_rooms(&self) -> Result<Vec<RoomSn>, StorageError> {
        self.query("SELECT room_sn FROM room_heads WHERE state_whole_since IS NULL", &[], |row| row.get(0)).await
    }
}

#[cfg(test)]
mod tests;
