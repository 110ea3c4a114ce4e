//! The newest part of the log, in memory, so that clients that are nearly up to date are served without the database.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use homeserver_core::{EventSn, MemoryUsage, MemoryUser, Position, UserSn, allocation_bytes};
use parking_lot::RwLock;
use room_engine::Members;
use storage::{LogEntry, Notice, Presence, Receipt, RedactedEvent, StoredEvent, Unread};

/// Most entries kept.
const MAX_ENTRIES: usize = 50_000;
/// Most bytes kept before the tail has a share of the memory.
const FIRST_CAPACITY_BYTES: u64 = 32 << 20;
/// The tail takes at most one part in so many of the memory for all caches: clients further behind are served from the database.
const MOST_OF_BUDGET: u64 = 16;
/// What an event's JSON takes beside its bytes when several share it.
const SHARED_BYTES: usize = 32;

/// The newest part of the log.
pub struct LogTail {
    entries: RwLock<Entries>,
    end: AtomicI64,
    /// How often readers found all that they asked for, and how often not.
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Entries {
    /// Everything after this position is in `queue`.
    start: Position,
    queue: VecDeque<LogEntry>,
    bytes: u64,
    capacity_bytes: u64,
    evictions: u64,
}

impl LogTail {
    /// A tail that knows nothing of what was up to `end`, and everything after.
    #[must_use]
    pub fn new(end: Position) -> Self {
        let (queue, capacity_bytes) = (VecDeque::new(), FIRST_CAPACITY_BYTES);
        let entries = RwLock::new(Entries { start: end, queue, bytes: 0, capacity_bytes, evictions: 0 });
        Self { entries, end: AtomicI64::new(end.0), hits: AtomicU64::default(), misses: AtomicU64::default() }
    }

    /// The position up to which everything is visible.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// Begins at a later position than it was made for, as long as there is nothing in it.
    pub(super) fn begin_after(&self, position: Position) {
        let mut entries = self.entries.write();
        if entries.queue.is_empty() && position > entries.start {
            entries.start = position;
            self.end.fetch_max(position.0, Ordering::AcqRel);
        }
    }

    /// Everything up to this position is visible, though there may be nothing to show.
    pub(super) fn reach(&self, position: Position) {
        self.end.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Adds the entries of one transaction.
    pub(super) fn push(&self, new: &[LogEntry]) {
        let Some(last) = new.last() else { return };
        let mut entries = self.entries.write();
        for entry in new.iter().filter(|entry| entry.is_shown()) {
            let entry = match entry {
                LogEntry::Event(event) => LogEntry::Event(entries.redact(event)),
                other => other.clone(),
            };
            entries.bytes += cost(&entry);
            entries.queue.push_back(entry);
        }
        entries.shrink();
        self.end.fetch_max(last.position().0, Ordering::AcqRel);
    }

    /// Passes the entries after `from` and up to `to` to `visit`, in order. `false` if the tail does not reach back so far;
    /// nothing was visited then.
    pub fn visit(&self, from: Position, to: Position, mut visit: impl FnMut(&LogEntry)) -> bool {
        let entries = self.entries.read();
        if from < entries.start {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let first = entries.queue.partition_point(|entry| entry.position() <= from);
        entries.queue.range(first..).take_while(|entry| entry.position() <= to).for_each(&mut visit);
        self.hits.fetch_add(1, Ordering::Relaxed);
        true
    }
}

impl MemoryUser for LogTail {
    fn usage(&self) -> MemoryUsage {
        let entries = self.entries.read();
        let room = entries.queue.capacity() - entries.queue.len();
        MemoryUsage {
            entries: entries.queue.len() as u64,
            entry_bytes: entries.bytes,
            spare_bytes: (room * size_of::<LogEntry>()) as u64,
            capacity_bytes: entries.capacity_bytes,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: entries.evictions,
        }
    }

    fn set_capacity(&self, bytes: u64) {
        let mut entries = self.entries.write();
        entries.capacity_bytes = bytes;
        entries.shrink();
    }

    fn most_bytes(&self, budget_bytes: u64) -> u64 {
        budget_bytes / MOST_OF_BUDGET
    }
}

impl Entries {
    /// Has the tail show a redacted event as it is from now on, wherever it is part of another one too. Returns the event, and
    /// if it is a redaction, with the unread counts that the redacted event was part of.
    fn redact(&mut self, redaction: &Arc<StoredEvent>) -> Arc<StoredEvent> {
        let Some(redacted) = &redaction.redacts else { return redaction.clone() };
        let (mut unread, mut redacted_by_it) = (None, None);
        self.change_event(redacted.sn, |event| {
            // Redacted again, it counts no less. Where it is not known what it was, it may be the first time.
            let is_again = event.redacted_because.is_some() && event.unread.is_some();
            unread = if is_again { Some(Arc::default()) } else { event.unread.clone() };
            redacted_by_it = event.redacts.as_ref().map(|further| further.sn);
            event.client_json = redacted.client_json.clone();
            event.redacted_because.get_or_insert_with(|| redaction.client_json.clone());
        });
        if let Some(further) = redacted_by_it {
            self.change_event(further, |event| event.redacted_because = Some(redacted.client_json.clone()));
        }
        self.redact_replaced(redacted);
        let redacts = Some(RedactedEvent { unread, ..redacted.clone() });
        Arc::new(StoredEvent { redacts, ..(**redaction).clone() })
    }

    /// Redacts the copies of a state event in the events that replaced it. They come after it.
    fn redact_replaced(&mut self, redacted: &RedactedEvent) {
        if Members::new(&redacted.client_json).all(|(key, _)| key != b"state_key") {
            return;
        }
        let first = self.queue.partition_point(|entry| entry.position() <= redacted.sn.position());
        let replaced_it = |entry: &LogEntry| match entry {
            LogEntry::Event(event) if event.replaces_sn == Some(redacted.sn) => Some(event.sn),
            _ => None,
        };
        let replacing: Vec<EventSn> = self.queue.range(first..).filter_map(replaced_it).collect();
        for event_sn in replacing {
            self.change_event(event_sn, |event| event.replaced_json = Some(redacted.client_json.clone()));
        }
    }

    /// Changes an event, if it is in the tail.
    fn change_event(&mut self, event_sn: EventSn, change: impl FnOnce(&mut StoredEvent)) {
        let index = self.queue.partition_point(|entry| entry.position() < event_sn.position());
        if let Some(LogEntry::Event(event)) = self.queue.get_mut(index)
            && event.sn == event_sn
        {
            let before = of_event(event);
            let mut changed = (**event).clone();
            change(&mut changed);
            self.bytes = (self.bytes + of_event(&changed)).saturating_sub(before);
            *event = Arc::new(changed);
        }
    }

    fn shrink(&mut self) {
        while self.queue.len() > MAX_ENTRIES || self.bytes > self.capacity_bytes {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(cost(&oldest));
            self.start = oldest.position();
            self.evictions += 1;
        }
    }
}

/// What an entry takes.
fn cost(entry: &LogEntry) -> u64 {
    let on_heap = match entry {
        LogEntry::Event(event) => of_event(event),
        LogEntry::Receipt(receipt) => of_receipt(receipt),
        LogEntry::Presence(presence) => of_presence(presence),
        LogEntry::AccountData { .. }
        | LogEntry::Account { .. }
        | LogEntry::RoomForgotten { .. }
        | LogEntry::RemoteMembership { .. }
        | LogEntry::Forward { .. }
        | LogEntry::Media { .. }
        | LogEntry::Devices { .. }
        | LogEntry::DeviceList { .. }
        | LogEntry::NotificationRules { .. }
        | LogEntry::Typing { .. }
        | LogEntry::StateResolved { .. }
        | LogEntry::StateKnown { .. } => 0,
    };
    size_of::<LogEntry>() as u64 + on_heap
}

/// What is counted beside the value in an `Arc`.
const REFERENCE_COUNTS_BYTES: usize = 2 * size_of::<usize>();

fn of_event(event: &StoredEvent) -> u64 {
    let redacted = event.redacts.as_ref().map(|redacted| &redacted.client_json);
    let texts = [Some(&event.client_json), event.replaced_json.as_ref(), event.redacted_because.as_ref(), redacted];
    let texts: usize = texts.into_iter().flatten().map(|json| allocation_bytes(json.len()) + SHARED_BYTES).sum();
    let transaction = event.transaction.as_ref().map_or(0, |(_, id)| allocation_bytes(id.len()));
    let bytes = allocation_bytes(size_of::<StoredEvent>() + REFERENCE_COUNTS_BYTES)
        + allocation_bytes(event.event_id.len())
        + transaction
        + event.unread.as_deref().map_or(0, of_unread)
        + texts;
    bytes as u64
}

/// Without the list of users whom the event does not notify: the events of a room share it.
fn of_unread(unread: &Unread) -> usize {
    allocation_bytes(size_of::<Unread>() + REFERENCE_COUNTS_BYTES)
        + allocation_bytes(unread.others.capacity() * size_of::<(UserSn, Notice)>())
}

fn of_receipt(receipt: &Receipt) -> u64 {
    let receipt_bytes = allocation_bytes(size_of::<Receipt>() + REFERENCE_COUNTS_BYTES);
    (receipt_bytes + allocation_bytes(receipt.event_id.len())) as u64
}

fn of_presence(presence: &Presence) -> u64 {
    let bytes = allocation_bytes(size_of::<Presence>() + REFERENCE_COUNTS_BYTES);
    let status_message = presence.status_message.as_ref();
    (bytes + status_message.map_or(0, |message| allocation_bytes(message.len()))) as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use homeserver_core::{Cache, EventSn, MemoryBudget, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};

    use super::{LogEntry, LogTail, MemoryUser as _, Notice, Position, StoredEvent, Unread};

    fn event(number: i64) -> LogEntry {
        LogEntry::Event(Arc::new(StoredEvent {
            sn: EventSn(number),
            order: TimelineOrder::of(EventSn(number)),
            follows_gap: false,
            event_id: format!("$event{number}-of-some-length-as-ids-have-it").into(),
            room_sn: RoomSn(1),
            type_sn: TypeSn(1),
            state_key_sn: None,
            sender_sn: UserSn(1),
            origin_server_ts: Timestamp(0),
            depth: number,
            countable_total: number,
            client_json: Bytes::from("x".repeat(500)),
            replaces_sn: None,
            previous_sn: None,
            sender_erased_at: None,
            unsigned_erased_at: None,
            replaced_json: Some(Bytes::from("y".repeat(300))),
            redacted_because: None,
            transaction: None,
            membership: None,
            redacts: None,
            unread: Some(Arc::new(Unread {
                others: vec![(UserSn(2), Notice { notify: true, highlight: true }); 3],
                ..Unread::default()
            })),
        }))
    }

    #[test]
    fn what_is_counted_is_what_is_allocated_and_within_the_share() {
        const BUDGET_BYTES: u64 = 64 << 20;
        let budget = MemoryBudget::new(BUDGET_BYTES, Arc::new(homeserver_core::SystemClock));
        let tail = Arc::new(LogTail::new(Position(0)));
        budget.join("log_tail", &tail);
        let taken = allocation_counter::measure(|| {
            for number in 1..=20_000 {
                tail.push(&[event(number)]);
            }
        });
        let (taken, usage) = (u64::try_from(taken.bytes_current).unwrap(), tail.usage());
        assert!((taken..taken + taken / 4).contains(&usage.bytes()), "{usage:?}, {taken} taken");
        assert!(usage.entry_bytes <= usage.capacity_bytes && usage.capacity_bytes <= BUDGET_BYTES / 16, "{usage:?}");
        assert_eq!(usage.entries + usage.evictions, 20_000);
        let oldest = Position(20_000 - i64::try_from(usage.entries).unwrap());
        assert!(!tail.visit(Position(0), tail.end(), |_| {}), "it does not reach back so far");
        let mut seen = 0;
        assert!(tail.visit(oldest, tail.end(), |_| seen += 1));
        assert_eq!((seen, tail.usage().hits, tail.usage().misses), (usage.entries, 1, 1));
    }

    #[test]
    fn a_tail_that_nobody_reads_gives_room_to_a_cache_that_is_used() {
        let budget = MemoryBudget::new(4 << 20, Arc::new(homeserver_core::SystemClock));
        let tail = Arc::new(LogTail::new(Position(0)));
        budget.join("log_tail", &tail);
        (1..=1_000).for_each(|number| tail.push(&[event(number)]));
        let before = tail.usage().entry_bytes;
        let cache: Cache<u64, Arc<str>> = Cache::new(&budget, "texts");
        for key in (0..8_000).cycle().take(100_000) {
            cache.get_or_insert_with(&key, || "x".repeat(500).into());
        }
        assert!(tail.usage().entry_bytes < before, "{before} before, {:?}", tail.usage());
    }
}
