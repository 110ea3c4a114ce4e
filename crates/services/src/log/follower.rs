//! What happens on this node when a transaction has committed.

use std::collections::HashSet;
use std::sync::Arc;

use homeserver_core::{Cache, CacheOptions, HeapSize, RoomSn, UserSn};
use parking_lot::RwLock;
use storage::{Database, LogEntry, LogObserver, Membership, StorageError};
use tokio::sync::{OnceCell, mpsc};

use super::{LogTail, UserRoomsCache, Wakeups};

/// Transactions whose readers are still to be woken. When there are more, everybody is woken instead.
const QUEUE_LENGTH: usize = 1_024;

/// Keeps what this node has in memory in step with the log, and wakes those who wait.
pub struct LogFollower {
    tail: Arc<LogTail>,
    user_rooms: Arc<UserRoomsCache>,
    wakeups: Arc<Wakeups>,
    members: Arc<LocalMembers>,
    queue: mpsc::Sender<Vec<LogEntry>>,
}

impl LogFollower {
    /// Follows the log of `database`, from now on and for as long as the database is open.
    pub fn start(database: &Database, tail: Arc<LogTail>, user_rooms: Arc<UserRoomsCache>, wakeups: Arc<Wakeups>) {
        let options = CacheOptions { typical_bytes: 1 << 10, large_bytes: 256 << 10, ..CacheOptions::default() };
        let rooms = Cache::with(database.memory(), "room_members", options);
        let members = Arc::new(LocalMembers { database: database.clone(), rooms });
        database.memory().join("log_tail", &tail);
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        tokio::spawn(wake_readers(waiting, members.clone(), wakeups.clone()));
        database.observe(Arc::new(Self { tail, user_rooms, wakeups, members, queue }));
    }
}

impl LogObserver for LogFollower {
    fn committed(&self, entries: &[LogEntry]) {
        // In this order: whoever sees the new end of the log finds the user's rooms up to date.
        self.user_rooms.follow(entries);
        self.members.follow(entries);
        self.tail.push(entries);
        if self.queue.try_send(entries.to_vec()).is_err() {
            self.wakeups.wake_all();
        }
    }
}

async fn wake_readers(mut queue: mpsc::Receiver<Vec<LogEntry>>, members: Arc<LocalMembers>, wakeups: Arc<Wakeups>) {
    while let Some(entries) = queue.recv().await {
        let mut rooms = HashSet::new();
        for entry in &entries {
            match entry {
                LogEntry::Event(_) | LogEntry::StateResolved { .. } | LogEntry::StateKnown { .. } => {
                    wakeups.wake(entry.membership_change().map(|(_, user_sn, _)| user_sn));
                    rooms.extend(entry.room_sn());
                }
                LogEntry::AccountData { user_sn, .. } => wakeups.wake([*user_sn]),
            }
        }
        for room_sn in rooms {
            match members.of(room_sn).await {
                Ok(room) => wakeups.wake(room.users.read().iter().copied()),
                Err(error) => {
                    tracing::warn!(%error, %room_sn, "the members of a room cannot be read; waking everybody");
                    wakeups.wake_all();
                }
            }
        }
    }
}

/// The users of this server who are in a room.
#[derive(Default)]
struct RoomMembers {
    users: RwLock<HashSet<UserSn>>,
    /// Who left while the members were being read.
    gone: RwLock<HashSet<UserSn>>,
    loaded: OnceCell<()>,
}

impl HeapSize for RoomMembers {
    fn heap_bytes(&self) -> usize {
        self.users.heap_bytes() + self.gone.heap_bytes()
    }
}

struct LocalMembers {
    database: Database,
    rooms: Cache<RoomSn, Arc<RoomMembers>>,
}

impl LocalMembers {
    async fn of(&self, room_sn: RoomSn) -> Result<Arc<RoomMembers>, StorageError> {
        let room = self.rooms.get_or_insert_with(&room_sn, Arc::<RoomMembers>::default);
        room.loaded
            .get_or_try_init(async || {
                let stored = self.database.local_members(room_sn).await?;
                let gone = std::mem::take(&mut *room.gone.write());
                room.users.write().extend(stored.into_iter().filter(|user_sn| !gone.contains(user_sn)));
                self.rooms.reweigh(&room_sn);
                Ok::<_, StorageError>(())
            })
            .await?;
        Ok(room)
    }

    fn follow(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let Some((room_sn, user_sn, membership)) = entry.membership_change()
                && let Some(room) = self.rooms.peek(&room_sn)
            {
                let capacity = room.users.read().capacity();
                if membership == Membership::Join {
                    room.gone.write().remove(&user_sn);
                    room.users.write().insert(user_sn);
                } else {
                    room.users.write().remove(&user_sn);
                    if !room.loaded.initialized() {
                        room.gone.write().insert(user_sn);
                    }
                }
                let has_grown = room.users.read().capacity() > capacity;
                if has_grown {
                    self.rooms.reweigh(&room_sn);
                }
            }
        }
    }
}
