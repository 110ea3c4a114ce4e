//! Which servers are in a room, in memory for rooms that were asked about lately.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Cache, CacheOptions, HeapSize, RoomSn, UserSn, allocation_bytes, table_bytes};
use parking_lot::RwLock;
use storage::{Database, Interned, LogEntry, LogObserver, Membership, StorageError};
use tokio::sync::OnceCell;

/// The other servers of rooms: those with a joined member. They follow the log, and may be ahead of the entry that a reader looks at.
pub struct RoomServers {
    database: Database,
    interned: Arc<Interned>,
    server_name: Box<str>,
    rooms: Cache<RoomSn, Arc<Room>>,
}

#[derive(Default)]
struct Room {
    members: RwLock<Members>,
    loaded: OnceCell<()>,
}

#[derive(Default)]
struct Members {
    /// The members of other servers.
    server_of: HashMap<UserSn, Arc<str>>,
    /// How many members a server has; none is 0.
    counts: BTreeMap<Arc<str>, usize>,
    /// Users who have joined and whose server has not been looked up yet.
    joined: HashSet<UserSn>,
    /// Users who left while the members were being read.
    gone: HashSet<UserSn>,
}

impl Members {
    fn add(&mut self, user_sn: UserSn, server: &str) {
        let server = self.counts.get_key_value(server).map_or_else(|| server.into(), |(known, _)| known.clone());
        if self.server_of.insert(user_sn, server.clone()).is_none() {
            *self.counts.entry(server).or_default() += 1;
        }
    }

    fn remove(&mut self, user_sn: UserSn) {
        self.joined.remove(&user_sn);
        let Some(server) = self.server_of.remove(&user_sn) else { return };
        if let Some(count) = self.counts.get_mut(&server) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&server);
            }
        }
    }
}

impl HeapSize for Room {
    fn heap_bytes(&self) -> usize {
        let members = self.members.read();
        let names: usize = members.counts.keys().map(|name| allocation_bytes(name.len() + 64)).sum();
        table_bytes::<(UserSn, Arc<str>)>(members.server_of.capacity())
            + table_bytes::<UserSn>(members.joined.capacity() + members.gone.capacity())
            + names
    }
}

impl RoomServers {
    /// Servers of the rooms in `database`, whose log is followed from now on. `server_name` is this server.
    pub fn follow(database: &Database, interned: Arc<Interned>, server_name: &str) -> Arc<Self> {
        let options = CacheOptions { typical_bytes: 1 << 10, large_bytes: 1 << 21, ..CacheOptions::default() };
        let rooms = Cache::with(database.memory(), "room_servers", options);
        let servers = Arc::new(Self { database: database.clone(), interned, server_name: server_name.into(), rooms });
        database.observe(servers.clone());
        servers
    }

    /// The other servers in a room, in the order of their names.
    ///
    /// # Errors
    /// [`StorageError`] if the members cannot be read.
    pub async fn of(&self, room_sn: RoomSn) -> Result<Vec<Arc<str>>, StorageError> {
        let room = self.room(room_sn).await?;
        let members = room.members.read();
        Ok(members.counts.keys().cloned().collect())
    }

    /// Whether another server is in a room.
    ///
    /// # Errors
    /// [`StorageError`] if the members cannot be read.
    pub async fn is_in(&self, room_sn: RoomSn, server: &str) -> Result<bool, StorageError> {
        let room = self.room(room_sn).await?;
        let members = room.members.read();
        Ok(members.counts.contains_key(server))
    }

    async fn room(&self, room_sn: RoomSn) -> Result<Arc<Room>, StorageError> {
        let room = self.rooms.get_or_insert_with(&room_sn, Arc::<Room>::default);
        room.loaded
            .get_or_try_init(async || {
                let stored = self.database.remote_members(room_sn).await?;
                // Of a room that this server has just joined it may know the servers before it knows the members.
                let told = self.database.told_servers(room_sn).await?;
                {
                    let mut members = room.members.write();
                    let gone = std::mem::take(&mut members.gone);
                    for (user_sn, user_id) in stored.iter().filter(|(user_sn, _)| !gone.contains(user_sn)) {
                        if let Some(server) = self.other_server(user_id) {
                            members.add(*user_sn, server);
                        }
                    }
                    for server in told.iter().filter(|server| **server != *self.server_name) {
                        *members.counts.entry(server.as_str().into()).or_default() += 1;
                    }
                }
                self.rooms.reweigh(&room_sn);
                Ok::<_, StorageError>(())
            })
            .await?;
        self.look_up_joined(room_sn, &room).await?;
        Ok(room)
    }

    async fn look_up_joined(&self, room_sn: RoomSn, room: &Room) -> Result<(), StorageError> {
        let joined: Vec<UserSn> = room.members.read().joined.iter().copied().collect();
        if joined.is_empty() {
            return Ok(());
        }
        for user_sn in joined {
            let user_id = self.interned.user_id(user_sn).await?;
            let mut members = room.members.write();
            // The user may have left meanwhile.
            if members.joined.remove(&user_sn)
                && let Some(server) = self.other_server(&user_id)
            {
                members.add(user_sn, server);
            }
        }
        self.rooms.reweigh(&room_sn);
        Ok(())
    }

    /// The server of a user; `None` if that is this one.
    fn other_server<'u>(&self, user_id: &'u str) -> Option<&'u str> {
        user_id.split_once(':').map(|(_, server)| server).filter(|server| **server != *self.server_name)
    }
}

impl LogObserver<LogEntry> for RoomServers {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            // The members of a room that becomes known, or known as a whole, are not told one by one.
            if let LogEntry::StateKnown { room_sn, .. } = entry {
                self.rooms.remove(room_sn);
            }
            let Some((room_sn, user_sn, membership)) = entry.membership_change() else { continue };
            let Some(room) = self.rooms.peek(&room_sn) else { continue };
            let mut members = room.members.write();
            if membership == Membership::Join {
                members.gone.remove(&user_sn);
                if !members.server_of.contains_key(&user_sn) {
                    members.joined.insert(user_sn);
                }
            } else {
                members.remove(user_sn);
                if !room.loaded.initialized() {
                    members.gone.insert(user_sn);
                }
            }
        }
    }
}
