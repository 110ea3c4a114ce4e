//! Tells a client which users who share a room with it have changed their keys.
//!
//! A change is one entry of the log, however many share rooms with the user: each reader finds out what concerns it. Besides changed
//! keys, a reader is told who has come to share a room with it, and who no longer shares one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user>

mod from_servers;
mod resync;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use event_log::{LogTail, Place, UserRooms, UserRoomsCache};
use homeserver_core::{Position, RoomSn, UserSn};
use storage::{Database, Interned, LogEntry, Membership, RoomStates, StorageError};

pub use self::from_servers::RemoteDeviceLists;
pub use self::resync::{DeviceListResync, ResyncDeviceLists};

/// Finds out whose keys have changed.
pub struct DeviceLists {
    database: Database,
    interned: Arc<Interned>,
    tail: Arc<LogTail>,
    user_rooms: Arc<UserRoomsCache>,
    states: Arc<RoomStates>,
}

/// What a client has to know of the keys of others. Each list is of user IDs.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct DeviceListChanges {
    /// Their keys have to be asked for again.
    pub changed: Vec<Arc<str>>,
    /// Their keys are not told any more.
    pub left: Vec<Arc<str>>,
}

impl DeviceListChanges {
    /// Whether there is nothing to know.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// What happened in a part of the log.
#[derive(Default)]
struct Happened {
    /// Whose keys have changed.
    changed: HashSet<UserSn>,
    /// Users who came into rooms that the reader is in.
    came: HashSet<UserSn>,
    /// Users who are not in rooms any more that the reader is in.
    gone: HashSet<UserSn>,
    /// Rooms that the reader came into.
    entered: HashSet<RoomSn>,
    /// Rooms that the reader is not in any more.
    quitted: HashSet<RoomSn>,
}

impl DeviceLists {
    /// Reads from `tail`, or else from `database`.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        tail: Arc<LogTail>,
        user_rooms: Arc<UserRoomsCache>,
        states: Arc<RoomStates>,
    ) -> Self {
        Self { database, interned, tail, user_rooms, states }
    }

    /// What is new for a user after `from` and up to `to`.
    ///
    /// # Errors
    /// [`StorageError`] if something cannot be read.
    pub async fn changes(
        &self,
        reader: UserSn,
        from: Position,
        to: Position,
    ) -> Result<DeviceListChanges, StorageError> {
        let rooms = self.user_rooms.of(reader).await?;
        let mut happened = Happened::default();
        let is_in_memory = self.tail.visit(from, to, |entry| happened.note(entry, reader, &rooms, from));
        if !is_in_memory {
            happened = self.read(reader, &rooms, from, to).await?;
        }
        if happened.is_nothing() {
            return Ok(DeviceListChanges::default());
        }
        let own = rooms.joined();
        let partial = self.states.partial_among(&own);
        let mut changed = BTreeSet::new();
        for user_sn in happened.changed {
            if user_sn == reader
                || self.user_rooms.of_other(user_sn).await?.is_in_any_of(&own)
                || self.may_be_in(&partial, user_sn).await?
            {
                changed.insert(user_sn);
            }
        }
        // Who was in a room before has changed a profile at most.
        let is_new =
            |room_sn: &RoomSn| rooms.place(*room_sn).is_some_and(|place| place.is_joined() && place.since > from);
        let entered: Vec<RoomSn> = happened.entered.into_iter().filter(is_new).collect();
        for room_sn in &entered {
            happened.came.extend(self.database.joined_users(*room_sn).await?);
        }
        let came = self.came(reader, &rooms, happened.came, from).await?;
        // The user's other devices are among those for which messages are encrypted in the room.
        changed.extend((!came.is_empty() && !entered.is_empty()).then_some(reader));
        changed.extend(came);
        for room_sn in happened.quitted.into_iter().filter(|room_sn| !own.contains(room_sn)) {
            happened.gone.extend(self.database.joined_users(room_sn).await?);
        }
        happened.gone.remove(&reader);
        let left = self.without_common_room(&own, happened.gone).await?;
        Ok(DeviceListChanges { changed: self.ids(changed).await?, left: self.ids(left).await? })
    }

    /// Whether a user may be in one of these rooms, of which not all members are known: the server is.
    async fn may_be_in(&self, partial: &[RoomSn], user_sn: UserSn) -> Result<bool, StorageError> {
        if partial.is_empty() {
            return Ok(false);
        }
        let user_id = self.interned.user_id(user_sn).await?;
        let server = user_id.split_once(':').map_or("", |(_, server)| server);
        let rooms = self.database.rooms_told_of_server(server).await?;
        for room_sn in rooms.into_iter().filter(|room_sn| partial.contains(room_sn)) {
            if self.database.membership(room_sn, user_sn).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Those of `users` who share a room with the reader, and did not do so at `from`.
    async fn came(
        &self,
        reader: UserSn,
        rooms: &UserRooms,
        mut users: HashSet<UserSn>,
        from: Position,
    ) -> Result<Vec<UserSn>, StorageError> {
        users.remove(&reader);
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let places = rooms.places();
        let joined = |after: Option<Position>| -> Vec<i64> {
            let is_in = |place: &Place| place.is_joined() && after.is_none_or(|after| place.since <= after);
            places.iter().filter(|(_, place)| is_in(place)).map(|(room_sn, _)| room_sn.0).collect()
        };
        let numbers: Vec<i64> = users.iter().map(|user_sn| user_sn.0).collect();
        let known: HashSet<UserSn> =
            self.database.joined_since(&joined(Some(from)), &numbers, from).await?.into_iter().collect();
        let sharing = self.database.joined_since(&joined(None), &numbers, Position(i64::MAX)).await?;
        Ok(sharing.into_iter().filter(|user_sn| !known.contains(user_sn)).collect())
    }

    /// Those of `users` who are in none of these rooms.
    async fn without_common_room(
        &self,
        rooms: &HashSet<RoomSn>,
        users: HashSet<UserSn>,
    ) -> Result<BTreeSet<UserSn>, StorageError> {
        if users.is_empty() {
            return Ok(BTreeSet::new());
        }
        let rooms: Vec<i64> = rooms.iter().map(|room_sn| room_sn.0).collect();
        let numbers: Vec<i64> = users.iter().map(|user_sn| user_sn.0).collect();
        let sharing = self.database.joined_since(&rooms, &numbers, Position(i64::MAX)).await?;
        let sharing: HashSet<UserSn> = sharing.into_iter().collect();
        Ok(users.difference(&sharing).copied().collect())
    }

    /// Reads from the database what happened, when the newest part of the log in memory does not reach back to `from`.
    async fn read(
        &self,
        reader: UserSn,
        rooms: &UserRooms,
        from: Position,
        to: Position,
    ) -> Result<Happened, StorageError> {
        let mut happened = Happened::default();
        for (_, room_sn, membership) in self.database.membership_changes(reader, from, to).await? {
            happened.note_own(room_sn, membership);
        }
        let joined: Vec<i64> = rooms.joined().into_iter().map(|room_sn| room_sn.0).collect();
        for (_, user_sn, membership) in self.database.members_changed_in(&joined, from, to).await? {
            happened.note_other(user_sn, membership);
        }
        happened.changed.extend(self.database.device_list_changes_in_rooms(&joined, from, to).await?);
        happened.changed.extend(self.database.device_list_changes_seen_by(reader, from, to).await?);
        if !self.states.partial_among(&rooms.joined()).is_empty() {
            happened.changed.extend(self.database.device_list_changes(from, to).await?);
        }
        Ok(happened)
    }

    async fn ids(&self, users: impl IntoIterator<Item = UserSn>) -> Result<Vec<Arc<str>>, StorageError> {
        let mut ids = Vec::new();
        for user_sn in users {
            ids.push(self.interned.user_id(user_sn).await?);
        }
        Ok(ids)
    }
}

impl Happened {
    /// Takes notice of an entry of the log after `from`.
    fn note(&mut self, entry: &LogEntry, reader: UserSn, rooms: &UserRooms, from: Position) {
        if let LogEntry::DeviceList { user_sn, seen_by, .. } = entry
            && seen_by.is_none_or(|only| only == reader)
        {
            self.changed.insert(*user_sn);
        }
        let Some((room_sn, user_sn, membership)) = entry.membership_change() else { return };
        if user_sn == reader {
            self.note_own(room_sn, membership);
        } else if rooms.place(room_sn).is_some_and(|place| place.is_joined() || place.since > from) {
            self.note_other(user_sn, membership);
        }
    }

    fn note_own(&mut self, room_sn: RoomSn, membership: Membership) {
        if membership == Membership::Join {
            self.entered.insert(room_sn);
        } else {
            self.quitted.insert(room_sn);
        }
    }

    fn note_other(&mut self, user_sn: UserSn, membership: Membership) {
        if membership == Membership::Join {
            self.came.insert(user_sn);
        } else {
            self.gone.insert(user_sn);
        }
    }

    fn is_nothing(&self) -> bool {
        self.changed.is_empty()
            && self.came.is_empty()
            && self.gone.is_empty()
            && self.entered.is_empty()
            && self.quitted.is_empty()
    }
}
