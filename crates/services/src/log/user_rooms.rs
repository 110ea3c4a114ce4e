//! Which rooms a user is in, in memory for those who are around.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{Position, RoomSn, UserSn};
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use storage::{Database, LogEntry, Membership, StorageError, UnreadThread};
use tokio::sync::OnceCell;

/// Users whose rooms are remembered.
const REMEMBERED_USERS: usize = 20_000;

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

/// The rooms of one user. Follows the log; may be ahead of the position that a reader has in mind.
#[derive(Default)]
pub struct UserRooms {
    places: RwLock<HashMap<RoomSn, Place>>,
    unread: RwLock<HashMap<RoomSn, KnownUnread>>,
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

    fn set_membership(&self, room_sn: RoomSn, membership: Membership, since: Position, is_forgotten: bool) {
        let mut places = self.places.write();
        let place =
            places.entry(room_sn).or_insert(Place { membership: None, since: Position::START, is_forgotten: false });
        // What comes from the database may be older than what the log has told.
        if since >= place.since {
            (place.membership, place.since, place.is_forgotten) = (Some(membership), since, is_forgotten);
        }
    }

    /// What is unread of a room, as far as it is known, and at which position of the log it was that.
    #[must_use]
    pub fn unread(&self, room_sn: RoomSn) -> Option<(Position, Arc<[UnreadThread]>)> {
        let unread = self.unread.read();
        let known = unread.get(&room_sn)?;
        Some((known.at, known.threads.clone()?))
    }

    /// Keeps what was unread of a room at a position, unless something newer is known of it.
    pub fn set_unread(&self, room_sn: RoomSn, at: Position, threads: Arc<[UnreadThread]>) {
        let mut unread = self.unread.write();
        let known = unread.entry(room_sn).or_default();
        if known.at <= at {
            *known = KnownUnread { at, threads: Some(threads) };
        }
    }

    /// The user has read the room further, or has come into it, at a position: what was unread before is no more.
    fn reset_unread(&self, room_sn: RoomSn, at: Position) {
        self.unread.write().insert(room_sn, KnownUnread { at, threads: None });
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
        Self { database, users: Cache::new(REMEMBERED_USERS) }
    }

    /// The rooms of a user.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn of(&self, user_sn: UserSn) -> Result<Arc<UserRooms>, StorageError> {
        // Entered before it is read, so that what the log tells in the meantime is not lost.
        let created = || Ok::<_, std::convert::Infallible>(Arc::<UserRooms>::default());
        let rooms = self.users.get_or_insert_with(&user_sn, created).unwrap_or_default();
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
        Ok(())
    }

    /// How often a user's rooms were found in memory, and how often they had to be read.
    #[must_use]
    pub fn cache_counts(&self) -> (u64, u64) {
        (self.users.hits(), self.users.misses())
    }

    /// Has a user's rooms read again, after a change that the log does not tell, such as forgetting a room.
    pub fn forget(&self, user_sn: UserSn) {
        self.users.remove(&user_sn);
    }

    pub(super) fn follow(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let Some((room_sn, user_sn, membership)) = entry.membership_change()
                && let Some(rooms) = self.users.get(&user_sn)
            {
                rooms.set_membership(room_sn, membership, entry.position(), false);
                rooms.reset_unread(room_sn, entry.position());
            }
            if let LogEntry::Receipt(receipt) = entry
                && let Some(rooms) = self.users.get(&receipt.user_sn)
            {
                rooms.reset_unread(receipt.room_sn, receipt.position);
            }
        }
    }
}
