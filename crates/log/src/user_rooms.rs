//! Which rooms a user is in, in memory for users with active clients.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homeserver_core::{
    Cache, CacheOptions, HeapSize, MemoryUsage, Position, RoomSn, UserSn, allocation_bytes, table_bytes,
};
use parking_lot::RwLock;
use storage::{Database, LogEntry, Membership, StorageError, UnreadThread};
use tokio::sync::OnceCell;

/// What a user is to a room.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What the user is to the room.
    pub membership: Option<Membership>,
    /// When that came about.
    pub since: Position,
    /// Whether the user has forgotten the room.
    pub is_forgotten: bool,
}

impl Place {
    /// Whether the user is in the room.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.membership == Some(Membership::Join)
    }
}

/// What is unread of a room; `threads` are `None` if that has to be read.
struct KnownUnread {
    at: Position,
    threads: Option<Arc<[UnreadThread]>>,
}

impl Default for KnownUnread {
    fn default() -> Self {
        Self { at: Position::START, threads: None }
    }
}

/// The rooms of one user. They follow the log, and may be ahead of the position that a reader asks about.
#[derive(Default)]
pub struct UserRooms {
    places: RwLock<HashMap<RoomSn, Place>>,
    unread: RwLock<HashMap<RoomSn, KnownUnread>>,
    loaded: OnceCell<()>,
    /// How many rooms this server had entered when they were read.
    entries: AtomicU64,
}

impl UserRooms {
    /// The user's place in a room.
    #[must_use]
    pub fn place(&self, room_sn: RoomSn) -> Option<Place> {
        self.places.read().get(&room_sn).copied()
    }

    /// All of the user's places.
    #[must_use]
    pub fn places(&self) -> Vec<(RoomSn, Place)> {
        self.places.read().iter().map(|(room_sn, place)| (*room_sn, *place)).collect()
    }

    /// Whether the user is in one of these rooms.
    #[must_use]
    pub fn is_in_any_of(&self, rooms: &HashSet<RoomSn>) -> bool {
        let places = self.places.read();
        if places.len() <= rooms.len() {
            places.iter().any(|(room_sn, place)| place.is_joined() && rooms.contains(room_sn))
        } else {
            rooms.iter().any(|room_sn| places.get(room_sn).is_some_and(Place::is_joined))
        }
    }

    /// The rooms that the user is in.
    #[must_use]
    pub fn joined(&self) -> HashSet<RoomSn> {
        let places = self.places.read();
        places.iter().filter(|(_, place)| place.is_joined()).map(|(room_sn, _)| *room_sn).collect()
    }

    /// Returns whether the rooms take more memory than before.
    fn set_membership(&self, room_sn: RoomSn, membership: Membership, since: Position, is_forgotten: bool) -> bool {
        let mut places = self.places.write();
        let capacity = places.capacity();
        let place =
            places.entry(room_sn).or_insert(Place { membership: None, since: Position::START, is_forgotten: false });
        // A row of the database may be older than what the log has told.
        if since >= place.since {
            (place.membership, place.since, place.is_forgotten) = (Some(membership), since, is_forgotten);
        }
        places.capacity() > capacity
    }

    /// What is unread of a room, as far as it is known, and at which position of the log it was that.
    #[must_use]
    pub fn unread(&self, room_sn: RoomSn) -> Option<(Position, Arc<[UnreadThread]>)> {
        let unread = self.unread.read();
        let known = unread.get(&room_sn)?;
        Some((known.at, known.threads.clone()?))
    }

    /// Keeps what was unread of a room at a position, unless something newer is known of it. Returns whether the rooms take more
    /// memory than before: then [`UserRoomsCache::reweigh`] is to be called.
    pub fn set_unread(&self, room_sn: RoomSn, at: Position, threads: Arc<[UnreadThread]>) -> bool {
        let mut unread = self.unread.write();
        let capacity = unread.capacity();
        let known = unread.entry(room_sn).or_default();
        if known.at <= at {
            *known = KnownUnread { at, threads: Some(threads) };
        }
        unread.capacity() > capacity
    }

    /// The user read the room further or joined it at a position: earlier counts are no longer valid.
    /// Returns whether the rooms take more memory than before.
    fn reset_unread(&self, room_sn: RoomSn, at: Position) -> bool {
        let mut unread = self.unread.write();
        let capacity = unread.capacity();
        unread.insert(room_sn, KnownUnread { at, threads: None });
        unread.capacity() > capacity
    }
}

impl HeapSize for UserRooms {
    fn heap_bytes(&self) -> usize {
        let unread = self.unread.read();
        table_bytes::<(RoomSn, Place)>(self.places.read().capacity())
            + table_bytes::<(RoomSn, KnownUnread)>(unread.capacity())
            + unread.values().filter_map(|known| known.threads.as_deref()).map(threads_bytes).sum::<usize>()
    }
}

fn threads_bytes(threads: &[UnreadThread]) -> usize {
    const REFERENCE_COUNTS_BYTES: usize = 2 * size_of::<usize>();
    let roots = threads.iter().filter_map(|thread| thread.thread.as_ref());
    allocation_bytes(REFERENCE_COUNTS_BYTES + size_of_val(threads))
        + roots.map(|(_, event_id)| allocation_bytes(event_id.len())).sum::<usize>()
}

/// The rooms of users with active clients.
pub struct UserRoomsCache {
    database: Database,
    users: Cache<UserSn, Arc<UserRooms>>,
    /// How many rooms this server has entered. The log does not tell of their members who are users of other servers.
    entries: AtomicU64,
}

impl UserRoomsCache {
    /// Reads from `database` what is not remembered.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let options = CacheOptions { typical_bytes: 4 << 10, large_bytes: 1 << 20, ..CacheOptions::default() };
        let users = Cache::with(database.memory(), "user_rooms", options);
        Self { database, users, entries: AtomicU64::new(0) }
    }

    /// The rooms of a user.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn of(&self, user_sn: UserSn) -> Result<Arc<UserRooms>, StorageError> {
        // Entered before it is read, so that no change that the log tells in the meantime is lost.
        let rooms = self.users.get_or_insert_with(&user_sn, Arc::default);
        rooms.loaded.get_or_try_init(|| self.load(user_sn, &rooms)).await?;
        Ok(rooms)
    }

    /// The rooms of a user who may be one of another server.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn of_other(&self, user_sn: UserSn) -> Result<Arc<UserRooms>, StorageError> {
        let entries = self.entries.load(Ordering::Acquire);
        let rooms = self.of(user_sn).await?;
        if rooms.entries.load(Ordering::Acquire) < entries {
            self.load(user_sn, &rooms).await?;
        }
        Ok(rooms)
    }

    async fn load(&self, user_sn: UserSn, rooms: &UserRooms) -> Result<(), StorageError> {
        let entries = self.entries.load(Ordering::Acquire);
        // In this order: a membership that changes in between is followed by its entry in the log.
        let since: HashMap<RoomSn, Position> = self.database.memberships_since(user_sn).await?.into_iter().collect();
        for stored in self.database.memberships_of_user(user_sn).await? {
            let since = since.get(&stored.room_sn).copied().unwrap_or(Position::START);
            rooms.set_membership(stored.room_sn, stored.membership, since, stored.is_forgotten);
        }
        rooms.entries.fetch_max(entries, Ordering::AcqRel);
        self.reweigh(user_sn);
        Ok(())
    }

    /// How many users' rooms are in memory, their size, and how often they were found there.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.users.usage()
    }

    /// Measures the rooms of a user again after they have grown.
    pub fn reweigh(&self, user_sn: UserSn) {
        self.users.reweigh(&user_sn);
    }

    pub(super) fn follow(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let LogEntry::Event(event) = entry
                && event.follows_gap
                && matches!(event.membership, Some((_, Membership::Join)))
            {
                self.entries.fetch_add(1, Ordering::AcqRel);
            }
            if let LogEntry::RoomForgotten { user_sn, .. } = entry {
                self.users.remove(user_sn);
            }
            // A member who stays joined has changed a profile at most.
            if let Some((room_sn, user_sn, membership)) = entry.membership_change()
                && let Some(rooms) = self.users.peek(&user_sn)
                && !(membership == Membership::Join && rooms.place(room_sn).is_some_and(|place| place.is_joined()))
                && (rooms.set_membership(room_sn, membership, entry.position(), false)
                    | rooms.reset_unread(room_sn, entry.position()))
            {
                self.reweigh(user_sn);
            }
            if let LogEntry::Receipt(receipt) = entry
                && let Some(rooms) = self.users.peek(&receipt.user_sn)
                && rooms.reset_unread(receipt.room_sn, receipt.position)
            {
                self.reweigh(receipt.user_sn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::UnreadTotals;

    use super::{HeapSize as _, Membership, Position, RoomSn, UnreadThread, UserRooms};

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        for rooms in [0, 1, 10, 1_000] {
            let user = UserRooms::default();
            let join = |room| {
                let (room_sn, at) = (RoomSn(room), Position(room));
                let thread = UnreadThread { room_sn, thread: None, start: at, totals: UnreadTotals::default() };
                user.set_membership(room_sn, Membership::Join, at, false)
                    | user.set_unread(room_sn, at, [thread].into())
            };
            let mut has_grown = false;
            let taken =
                allocation_counter::measure(|| (0..rooms).for_each(|room| has_grown |= join(room))).bytes_current;
            let (taken, counted) = (usize::try_from(taken).unwrap(), user.heap_bytes());
            assert!((taken..=taken + taken / 4).contains(&counted), "{counted} counted, {taken} taken");
            assert_eq!(has_grown, rooms > 0);
        }
    }
}
