//! What events are to those who have not read them, by the push rules of a room's members.
//!
//! An event is evaluated for all members at once, before it is written, and the outcome is written with it: see
//! [`storage::Unread`]. For each active room the members with their rules are kept in memory; what changes of them is told by
//! the log. An event that is built while a member or a member's rules change is evaluated by what was last committed.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>

mod changes;
mod members;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;

use homeserver_core::{RoomSn, UserSn};
use parking_lot::Mutex as SyncMutex;
use push_rules::{CompiledRules, Compiler, PreparedEvent, RoomContext, Ruleset, SenderPower};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use room_engine::Pdu;
use room_engine::auth::{PowerLevel, PowerLevels};
use ruma::{RoomId, UserId};
use storage::{Database, Interned, LogEntry, LogObserver, Notice, StorageError, Unread};
use tokio::sync::Mutex;

use self::changes::{Pending, RuleChanges};
use self::members::Members;
pub use self::thread::Threads;

/// Members of rooms that are kept in memory, of all rooms together, with their rules by reference.
const REMEMBERED_MEMBERS: u64 = 500_000;
/// What a room costs besides, in members.
const ROOM_COST: u64 = 8;
/// The members of a room that the cache is laid out for.
const TYPICAL_MEMBERS: u64 = 32;
/// Bytes of compiled rules and patterns that are remembered for users who have others than the default ones.
const REMEMBERED_RULE_BYTES: u64 = 32 * 1024 * 1024;

/// Evaluates events by the push rules of those who are in the room.
pub struct Audiences {
    database: Database,
    interned: Arc<Interned>,
    threads: Threads,
    compiler: Compiler,
    /// The default rules, which decide what an event usually is.
    usual: Arc<CompiledRules>,
    rooms: Cache<RoomSn, Remembered, Size>,
    rule_changes: RuleChanges,
}

/// The members of a room, once they are read. Found by the log before that, so that nothing is missed.
#[derive(Default)]
struct Slot {
    members: Mutex<Option<Members>>,
    pending: SyncMutex<Pending>,
}

/// A slot as the cache weighs it: what it weighs must not change while it is there.
#[derive(Clone, Default)]
struct Remembered {
    slot: Arc<Slot>,
    members: u64,
}

#[derive(Clone)]
struct Size;

impl Weighter<RoomSn, Remembered> for Size {
    fn weight(&self, _: &RoomSn, remembered: &Remembered) -> u64 {
        ROOM_COST + remembered.members
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
    /// What clients see of it.
    pub client_json: &'a [u8],
    /// The room's `m.room.create`.
    pub create: Option<&'a Pdu>,
    /// The room's `m.room.power_levels`.
    pub power_levels: Option<&'a Pdu>,
}

impl Audiences {
    /// The members of the rooms in `database`, whose log is followed from now on.
    #[must_use]
    pub fn follow(database: &Database, interned: Arc<Interned>) -> Arc<Self> {
        let compiler = Compiler::new(REMEMBERED_RULE_BYTES);
        let rooms = usize::try_from(REMEMBERED_MEMBERS / TYPICAL_MEMBERS).unwrap_or(usize::MAX);
        let lifecycle = DefaultLifecycle::default();
        let audiences = Arc::new(Self {
            database: database.clone(),
            interned,
            threads: Threads::new(database.clone()),
            usual: compiler.compile(&Ruleset::default()),
            compiler,
            rooms: Cache::with(rooms, REMEMBERED_MEMBERS, Size, Default::default(), lifecycle),
            rule_changes: RuleChanges::default(),
        });
        database.observe(audiences.clone());
        audiences
    }

    /// What an event is to the members of its room who have not read it.
    ///
    /// # Errors
    /// [`StorageError`] if the members cannot be read.
    pub async fn unread(&self, event: &UnwrittenEvent<'_>) -> Result<Unread, StorageError> {
        let slot = self.slot(event.room_sn);
        let mut members = slot.members.lock().await;
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
            // Deeper than any event can be that this server makes: nobody has rules for such.
            return Ok(Unread { local_sender: event.local_sender, ..Unread::default() });
        };
        let mut unread = members.evaluate(&prepared, &self.usual, event.sender);
        unread.local_sender = event.local_sender;
        if unread.usual != Notice::default() || !unread.others.is_empty() {
            unread.thread = self.threads.of_event(event.room_sn, event.client_json).await?.map(|(root, _)| root);
        }
        Ok(unread)
    }

    /// How often a room's members were found in memory, and how often they had to be read.
    #[must_use]
    pub fn cache_counts(&self) -> (u64, u64) {
        (self.rooms.hits(), self.rooms.misses())
    }

    fn slot(&self, room_sn: RoomSn) -> Arc<Slot> {
        let created = || Ok::<_, std::convert::Infallible>(Remembered::default());
        self.rooms.get_or_insert_with(&room_sn, created).unwrap_or_default().slot
    }

    /// The members with what has changed since they were last asked for.
    async fn up_to_date<'m>(
        &self,
        room_sn: RoomSn,
        slot: &Arc<Slot>,
        members: &'m mut Option<Members>,
    ) -> Result<&'m mut Members, StorageError> {
        // Taken before anything is read: what changes meanwhile is read again the next time.
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
                known
            }
            (_, _) => {
                let read = Members::read(self, room_sn).await?;
                // Weighed again. If it was dropped in between, the log may have told of changes that it does not know of.
                if self.rooms.replace(room_sn, Remembered { slot: slot.clone(), members: read.len() }, false).is_err() {
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

impl LogObserver for Audiences {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let LogEntry::NotificationRules { user_sn, .. } = entry {
                self.rule_changes.push(*user_sn);
            }
            if let Some((room_sn, user_sn, _)) = entry.membership_change()
                && let Some(remembered) = self.rooms.peek(&room_sn)
            {
                remembered.slot.pending.lock().add(user_sn);
            }
        }
    }
}
