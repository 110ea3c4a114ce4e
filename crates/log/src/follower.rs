//! What happens on this node when a transaction has committed.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use homeserver_core::{Cache, CacheOptions, HeapSize, Position, RoomSn, UserSn};
use parking_lot::{Mutex, RwLock};
use storage::{Database, DeviceChange, LogEntry, LogObserver, Membership, ReceiptType, StorageError};
use tasks::bounded::{BoundedQueue, BoundedQueueOptions, WhenFull};
use tokio::sync::OnceCell;

use super::{LogTail, UserRoomsCache, Wakeups};

/// Transactions whose readers are still to be woken. When there are more, everybody is woken instead.
const QUEUE_LENGTH: usize = 1_024;

/// Keeps what this node has in memory in step with the log, and wakes waiting requests.
pub struct LogFollower {
    tail: Arc<LogTail>,
    user_rooms: Arc<UserRoomsCache>,
    wakeups: Arc<Wakeups>,
    members: Arc<LocalMembers>,
    progress: Arc<LogProgress>,
    queue: BoundedQueue<Committed>,
}

/// The entries of a transaction, and when they came.
type Committed = (Instant, Vec<LogEntry>);

/// Called with the time from a commit until its readers were woken.
pub type FollowObserver = Box<dyn Fn(Duration) + Send + Sync>;

/// How far the follower is.
#[derive(Default)]
pub struct LogProgress {
    committed: AtomicI64,
    followed: AtomicI64,
    overflows: AtomicU64,
    /// Since when the oldest transaction waits that is not followed yet.
    waiting_since: Mutex<Option<Instant>>,
}

impl LogProgress {
    /// The last position that was committed.
    #[must_use]
    pub fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Relaxed))
    }

    /// The last position whose readers were woken.
    #[must_use]
    pub fn followed(&self) -> Position {
        Position(self.followed.load(Ordering::Relaxed))
    }

    /// Transactions for which everybody was woken, because too many others waited.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// For how long the oldest transaction waits to be followed; `None` if none does.
    #[must_use]
    pub fn waiting_for(&self) -> Option<Duration> {
        self.waiting_since.lock().map(|since| since.elapsed())
    }

    fn arrived(&self, entries: &[LogEntry]) {
        if let Some(last) = entries.last() {
            self.committed.store(last.position().0, Ordering::Relaxed);
        }
    }

    /// The transaction that came at `since` is being worked on.
    fn begins(&self, since: Instant) {
        *self.waiting_since.lock() = Some(since);
    }

    fn ends(&self, entries: &[LogEntry]) {
        *self.waiting_since.lock() = None;
        if let Some(last) = entries.last() {
            self.followed.fetch_max(last.position().0, Ordering::Relaxed);
        }
    }
}

impl LogFollower {
    /// Follows the log of `database`, from now on and for as long as the database is open. Returns how far it is.
    pub fn start(
        database: &Database,
        tail: Arc<LogTail>,
        user_rooms: Arc<UserRoomsCache>,
        wakeups: Arc<Wakeups>,
    ) -> Arc<LogProgress> {
        Self::start_observed(database, tail, user_rooms, wakeups, Box::new(|_| ()))
    }

    /// As [`LogFollower::start`], and tells `observer` how fast it is.
    pub fn start_observed(
        database: &Database,
        tail: Arc<LogTail>,
        user_rooms: Arc<UserRoomsCache>,
        wakeups: Arc<Wakeups>,
        observer: FollowObserver,
    ) -> Arc<LogProgress> {
        let progress = Arc::new(LogProgress::default());
        progress.committed.store(tail.end().0, Ordering::Relaxed);
        progress.followed.store(tail.end().0, Ordering::Relaxed);
        let options = CacheOptions { typical_bytes: 1 << 10, large_bytes: 1 << 20, ..CacheOptions::default() };
        let rooms = Cache::with(database.memory(), "room_members", options);
        let members = Arc::new(LocalMembers { database: database.clone(), rooms });
        database.memory().join("log_tail", &tail);
        let reading = Arc::new(Reading {
            members: members.clone(),
            user_rooms: user_rooms.clone(),
            wakeups: wakeups.clone(),
            progress: progress.clone(),
            observer,
        });
        // One after the other, so that the progress is that of all before.
        let options = BoundedQueueOptions { capacity: QUEUE_LENGTH, workers: 1, when_full: WhenFull::Drop };
        let queue = BoundedQueue::start(options, move |committed| {
            let reading = reading.clone();
            async move { reading.wake(committed).await }
        });
        let follower = Self { tail, user_rooms, wakeups, members, progress: progress.clone(), queue };
        database.observe_after(|told| {
            follower.tail.begin_after(told);
            Arc::new(follower)
        });
        progress
    }
}

impl LogObserver<LogEntry> for LogFollower {
    fn committed(&self, entries: &[LogEntry]) {
        // In this order, so that a reader who sees the new end of the log finds the user's rooms up to date.
        self.user_rooms.follow(entries);
        self.members.follow(entries);
        self.tail.push(entries);
        self.progress.arrived(entries);
        if self.queue.push_at_once((Instant::now(), entries.to_vec())).is_err() {
            self.progress.overflows.fetch_add(1, Ordering::Relaxed);
            self.wakeups.wake_all();
        }
    }

    fn told_up_to(&self, position: Position) {
        self.tail.reach(position);
    }
}

/// Wakes the readers of each transaction.
struct Reading {
    members: Arc<LocalMembers>,
    user_rooms: Arc<UserRoomsCache>,
    wakeups: Arc<Wakeups>,
    progress: Arc<LogProgress>,
    observer: FollowObserver,
}

impl Reading {
    async fn wake(&self, (since, entries): Committed) {
        self.progress.begins(since);
        let woken = AssertUnwindSafe(self.wake_readers(&entries)).catch_unwind().await;
        if woken.is_err() {
            tracing::error!("waking the readers of a transaction ended with a panic; waking everybody");
            self.wakeups.wake_all();
        }
        self.progress.ends(&entries);
        (self.observer)(since.elapsed());
    }

    async fn wake_readers(&self, entries: &[LogEntry]) {
        let (members, wakeups) = (&self.members, &self.wakeups);
        let mut rooms = HashSet::new();
        for entry in entries {
            match entry {
                LogEntry::Event(_) | LogEntry::StateResolved { .. } | LogEntry::StateKnown { .. } => {
                    wakeups.wake(entry.membership_change().map(|(_, user_sn, _)| user_sn));
                    rooms.extend(entry.room_sn());
                }
                LogEntry::RemoteMembership { user_sn, .. } => wakeups.wake([*user_sn]),
                LogEntry::Receipt(receipt) if receipt.receipt_type == ReceiptType::Read => {
                    rooms.insert(receipt.room_sn);
                }
                LogEntry::Receipt(receipt) => wakeups.wake([receipt.user_sn]),
                LogEntry::Typing { room_sn, .. } => {
                    rooms.insert(*room_sn);
                }
                LogEntry::AccountData { user_sn, .. } => wakeups.wake([*user_sn]),
                // Each is told as account data too.
                LogEntry::NotificationRules { .. } => {}
                // Nobody is shown it.
                LogEntry::Account { .. }
                | LogEntry::RoomForgotten { .. }
                | LogEntry::Forward { .. }
                | LogEntry::Media { .. } => {}
                LogEntry::Devices { devices, change: DeviceChange::Messages, .. } => {
                    wakeups.wake(devices.iter().map(|(user_sn, _)| *user_sn));
                }
                // Clients are told with the next answer, whatever it is about.
                LogEntry::Devices { change: DeviceChange::OneTimeKeys | DeviceChange::Deleted, .. } => {}
                LogEntry::DeviceList { seen_by: Some(user_sn), .. } => wakeups.wake([*user_sn]),
                LogEntry::DeviceList { user_sn, seen_by: None, .. } => {
                    wakeups.wake([*user_sn]);
                    match self.user_rooms.of_other(*user_sn).await {
                        Ok(places) => rooms.extend(places.joined()),
                        Err(error) => {
                            tracing::warn!(%error, %user_sn, "the rooms of a user cannot be read; waking everybody");
                            wakeups.wake_all();
                        }
                    }
                }
                // Not at once, and not for each: see `sync::presence`.
                LogEntry::Presence(_) => {}
            }
        }
        for room_sn in rooms {
            match members.of(room_sn).await {
                Ok(room) => wakeups.wake_members(&room.users.read()),
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
    /// Users who left while the members were being read.
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
