//! Which rooms a user is in, in memory for those who are around.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{Cache, CacheOptions, HeapSize, MemoryUsage, Position, RoomSn, UserSn, table_bytes};
use parking_lot::RwLock;
use storage::{Database, LogEntry, Membership, StorageError};
use tokio::sync::OnceCell;

/// What a user is to a room, and up to where they have read it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What the user is to the room; `None` if only the reading is known yet.
    pub membership: Option<Membership>,
    /// When that came about.
    pub since: Position,
    /// Whether the user has forgotten the room.
    pub is_forgotten: bool,
    /// How many countable events the room had up to where the user has read it.
    pub read_total: i64,
}

impl Place {
    /// Whether the user is in the room.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.membership == Some(Membership::Join)
    }
}

/// The rooms of one user. Follows the log; may be ahead of the position that a reader has in mind.
#[derive(Default)]
pub struct UserRooms {
    places: RwLock<HashMap<RoomSn, Place>>,
    loaded: OnceCell<()>,
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

    /// Returns whether the rooms take more memory than before.
    fn set_membership(&self, room_sn: RoomSn, membership: Membership, since: Position, is_forgotten: bool) -> bool {
        let mut places = self.places.write();
        let capacity = places.capacity();
        let place = places.entry(room_sn).or_insert(Place {
            membership: None,
            since: Position::START,
            is_forgotten: false,
            read_total: 0,
        });
        // What comes from the database may be older than what the log has told.
        if since >= place.since {
            (place.membership, place.since, place.is_forgotten) = (Some(membership), since, is_forgotten);
        }
        places.capacity() > capacity
    }

    fn set_read_total(&self, room_sn: RoomSn, read_total: i64) {
        if let Some(place) = self.places.write().get_mut(&room_sn) {
            place.read_total = place.read_total.max(read_total);
        }
    }
}

impl HeapSize for UserRooms {
    fn heap_bytes(&self) -> usize {
        table_bytes::<(RoomSn, Place)>(self.places.read().capacity())
    }
}

/// The rooms of the users who were around lately.
pub struct UserRoomsCache {
    database: Database,
    users: Cache<UserSn, Arc<UserRooms>>,
}

impl UserRoomsCache {
    /// Reads from `database` what is not remembered.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let options = CacheOptions { typical_bytes: 4 << 10, large_bytes: 256 << 10, ..CacheOptions::default() };
        let users = Cache::with(database.memory(), "user_rooms", options);
        Self { database, users }
    }

    /// The rooms of a user.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn of(&self, user_sn: UserSn) -> Result<Arc<UserRooms>, StorageError> {
        // Entered before it is read, so that what the log tells in the meantime is not lost.
        let rooms = self.users.get_or_insert_with(&user_sn, Arc::default);
        rooms.loaded.get_or_try_init(|| self.load(user_sn, &rooms)).await?;
        Ok(rooms)
    }

    async fn load(&self, user_sn: UserSn, rooms: &UserRooms) -> Result<(), StorageError> {
        // In this order: a membership that changes in between is followed by its entry in the log.
        let since: HashMap<RoomSn, Position> = self.database.memberships_since(user_sn).await?.into_iter().collect();
        for stored in self.database.memberships_of_user(user_sn).await? {
            let since = since.get(&stored.room_sn).copied().unwrap_or(Position::START);
            rooms.set_membership(stored.room_sn, stored.membership, since, stored.is_forgotten);
        }
        for (room_sn, read_total) in self.database.read_totals(user_sn).await? {
            rooms.set_read_total(room_sn, read_total);
        }
        self.users.reweigh(&user_sn);
        Ok(())
    }

    /// How many users' rooms are in memory, what they take, and how often they were found there.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.users.usage()
    }

    /// Has a user's rooms read again, after a change that the log does not tell, such as forgetting a room.
    pub fn forget(&self, user_sn: UserSn) {
        self.users.remove(&user_sn);
    }

    pub(super) fn follow(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let Some((room_sn, user_sn, membership)) = entry.membership_change()
                && let Some(rooms) = self.users.peek(&user_sn)
                && rooms.set_membership(room_sn, membership, entry.position(), false)
            {
                self.users.reweigh(&user_sn);
            }
            if let LogEntry::Event(event) = entry
                && let Some(rooms) = self.users.peek(&event.sender_sn)
            {
                rooms.set_read_total(event.room_sn, event.countable_total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HeapSize as _, Membership, Position, RoomSn, UserRooms};

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        for rooms in [0, 1, 10, 1_000] {
            let user = UserRooms::default();
            let join = |room| user.set_membership(RoomSn(room), Membership::Join, Position(room), false);
            let mut has_grown = false;
            let taken =
                allocation_counter::measure(|| (0..rooms).for_each(|room| has_grown |= join(room))).bytes_current;
            let (taken, counted) = (usize::try_from(taken).unwrap(), user.heap_bytes());
            assert!((taken..=taken + taken / 4).contains(&counted), "{counted} counted, {taken} taken");
            assert_eq!(has_grown, rooms > 0);
        }
    }
}
