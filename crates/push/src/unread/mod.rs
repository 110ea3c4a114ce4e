//! Evaluating events by the push rules of a room's members.
//!
//! An event is evaluated for all members at once before it is written, and the outcome is written with it: see
//! [`storage::Unread`]. The members of each active room are kept in memory with their rules, and the log reports changes. An
//! event that is built during a change of a member or of rules is evaluated by the last committed ones.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>

mod changes;
mod members;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use homeserver_core::{Cache, CacheOptions, HeapSize, RoomSn, UserSn};
use parking_lot::Mutex as SyncMutex;
use push_rules::{CompiledRules, Compiler, PreparedEvent, RoomContext, Ruleset, SenderPower};
use room_engine::Pdu;
use room_engine::auth::{PowerLevel, PowerLevels};
use ruma::{RoomId, UserId};
use storage::{Database, Interned, LogEntry, LogObserver, Notice, StorageError, Unread};
use tokio::sync::Mutex;

use self::changes::{Pending, RuleChanges};
use self::members::Members;
pub use self::thread::{Root, Threads};

/// The cache of compiled rules may have so many bytes before it gets its share of the memory for all caches.
const FIRST_RULE_BYTES: u64 = 32 * 1024 * 1024;

/// Evaluates events by the push rules of the members of their rooms.
pub struct Audiences {
    database: Database,
    interned: Arc<Interned>,
    threads: Threads,
    compiler: Arc<Compiler>,
    /// The default rules, which give the usual outcome of an event.
    usual: Arc<CompiledRules>,
    rooms: Cache<RoomSn, Arc<RoomSlot>>,
    rule_changes: RuleChanges,
}

/// The members of a room, once they are read. The log finds the slot before that, so that no change is missed.
#[derive(Default)]
struct RoomSlot {
    members: Mutex<Option<Members>>,
    /// The number of members at the last read.
    count: AtomicUsize,
    pending: SyncMutex<Pending>,
}

impl HeapSize for RoomSlot {
    fn heap_bytes(&self) -> usize {
        Members::heap_bytes_of(self.count.load(Ordering::Relaxed))
    }
}

/// An event that is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct UnwrittenEvent<'a> {
    /// Its room.
    pub room_sn: RoomSn,
    /// The room's ID.
    pub room_id: &'a RoomId,
    /// Its sender.
    pub sender: &'a UserId,
    /// The sender, if that is a user of this server.
    pub local_sender: Option<UserSn>,
    /// Its JSON for clients.
    pub client_json: &'a [u8],
    /// The room's `m.room.create`.
    pub create: Option<&'a Pdu>,
    /// The room's `m.room.power_levels`.
    pub power_levels: Option<&'a Pdu>,
}

impl Audiences {
    /// Keeps the members of rooms in `database`, and follows its log from now on.
    #[must_use]
    pub fn follow(database: &Database, interned: Arc<Interned>) -> Arc<Self> {
        let compiler = Arc::new(Compiler::new(FIRST_RULE_BYTES));
        database.memory().join("push_rules", &compiler);
        // The log keeps the members up to date, so they do not expire. A room of 50,000 members must fit: to read its members
        // for each event would be slow.
        let options = CacheOptions { typical_bytes: 8 << 10, large_bytes: 16 << 20, expires: false };
        let rooms = Cache::with(database.memory(), "audiences", options);
        let audiences = Arc::new(Self {
            database: database.clone(),
            interned,
            threads: Threads::new(database.clone()),
            usual: compiler.compile(&Ruleset::default()),
            compiler,
            rooms,
            rule_changes: RuleChanges::default(),
        });
        database.observe(audiences.clone());
        audiences
    }

    /// The outcome of an event for the members of its room.
    ///
    /// # Errors
    /// [`StorageError`] if the members cannot be read.
    pub async fn unread(&self, event: &UnwrittenEvent<'_>) -> Result<Unread, StorageError> {
        let slot = self.slot(event.room_sn);
        let mut members = slot.members.lock().await;
        if !self.is_current(event.room_sn, &slot) {
            // The slot was dropped while we waited, so the log has not reported changes to it since.
            *members = None;
        }
        let members = self.up_to_date(event.room_sn, &slot, &mut members).await?;
        let none = BTreeMap::new();
        let context = RoomContext {
            room_id: event.room_id.as_str(),
            member_count: members.joined_count(),
            sender_power: sender_power(event),
            notifications: event
                .power_levels
                .and_then(|levels| levels.power_levels().ok())
                .map_or(&none, |levels| &levels.notifications),
        };
        let Ok(prepared) = PreparedEvent::new(event.client_json, context) else {
            // No rule matches invalid JSON.
            return Ok(Unread { local_sender: event.local_sender, ..Unread::default() });
        };
        let mut unread = members.evaluate(&prepared, &self.usual, event.sender);
        unread.local_sender = event.local_sender;
        if unread.usual != Notice::default() || !unread.others.is_empty() {
            unread.thread = self.threads.of_event(event.room_sn, event.client_json).await?.map(|(root, _)| root);
        }
        Ok(unread)
    }

    fn slot(&self, room_sn: RoomSn) -> Arc<RoomSlot> {
        self.rooms.get_or_insert_with(&room_sn, Arc::default)
    }

    /// Tells the cache the size of the slot. Returns whether the log still finds the slot.
    fn weigh(&self, room_sn: RoomSn, slot: &Arc<RoomSlot>, members: usize) -> bool {
        if slot.count.swap(members, Ordering::Relaxed) != members {
            self.rooms.reweigh(&room_sn);
        }
        self.is_current(room_sn, slot)
    }

    /// Whether the log finds this slot.
    fn is_current(&self, room_sn: RoomSn, slot: &Arc<RoomSlot>) -> bool {
        self.rooms.peek(&room_sn).is_some_and(|found| Arc::ptr_eq(&found, slot))
    }

    /// The members, with all changes since the last event.
    async fn up_to_date<'m>(
        &self,
        room_sn: RoomSn,
        slot: &Arc<RoomSlot>,
        members: &'m mut Option<Members>,
    ) -> Result<&'m mut Members, StorageError> {
        // This is taken before the members are read, so that a change meanwhile is read the next time.
        let rules_seen = self.rule_changes.end();
        let mut changed = slot.pending.lock().take();
        if let (Some(known), Some(users)) = (&*members, &mut changed) {
            let changed_rules = self.rule_changes.since(known.rules_seen());
            match changed_rules {
                Some(changed_rules) => users.extend(changed_rules.filter(|user_sn| known.has(*user_sn))),
                None => changed = None,
            }
        }
        let read = match (members.take(), changed) {
            (Some(known), Some(users)) if users.is_empty() => known,
            (Some(mut known), Some(users)) => {
                known.read_again(self, room_sn, &users).await?;
                self.weigh(room_sn, slot, known.len());
                known
            }
            (_, _) => {
                let read = Members::read(self, room_sn).await?;
                // If the slot was dropped meanwhile, the log may have missed it, so the members count for this event only.
                if !self.weigh(room_sn, slot, read.len()) {
                    return Ok(members.insert(read));
                }
                read
            }
        };
        let known = members.insert(read);
        known.set_rules_seen(rules_seen);
        Ok(known)
    }
}

fn sender_power(event: &UnwrittenEvent<'_>) -> SenderPower {
    let levels = event.create.and_then(|create| PowerLevels::new(create, event.power_levels).ok());
    match levels.map(|levels| levels.user_level(event.sender)) {
        Some(PowerLevel::Finite(level)) => SenderPower::Level(level),
        Some(PowerLevel::Infinite) => SenderPower::Creator,
        None => SenderPower::Level(0),
    }
}

impl LogObserver<LogEntry> for Audiences {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let LogEntry::NotificationRules { user_sn, .. } = entry {
                self.rule_changes.push(*user_sn);
            }
            if let LogEntry::Event(event) = entry
                && let Some(user_sn) = event.redacts.as_ref().and_then(|redacted| redacted.member)
                && let Some(slot) = self.rooms.peek(&event.room_sn)
            {
                // The redaction may remove the display name.
                slot.pending.lock().add(user_sn);
            }
            if let Some((room_sn, user_sn, _)) = entry.membership_change()
                && let Some(slot) = self.rooms.peek(&room_sn)
            {
                slot.pending.lock().add(user_sn);
            }
        }
    }
}
