//! The newest part of the log, in memory, so that those who are up to date are served without the database.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use homeserver_core::Position;
use parking_lot::RwLock;
use storage::{LogEntry, StoredEvent};

/// Most entries kept.
const MAX_ENTRIES: usize = 50_000;
/// Most bytes of events kept.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// What an entry costs beside its event's JSON.
const ENTRY_OVERHEAD_BYTES: usize = 300;

/// The newest part of the log.
pub struct LogTail {
    entries: RwLock<Entries>,
    end: AtomicI64,
}

struct Entries {
    /// Everything after this position is in `queue`.
    start: Position,
    queue: VecDeque<LogEntry>,
    bytes: usize,
}

impl LogTail {
    /// A tail that knows nothing of what was up to `end`, and everything after.
    #[must_use]
    pub fn new(end: Position) -> Self {
        let entries = Entries { start: end, queue: VecDeque::new(), bytes: 0 };
        Self { entries: RwLock::new(entries), end: AtomicI64::new(end.0) }
    }

    /// The position up to which everything is visible.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    /// Adds the entries of one transaction.
    pub(super) fn push(&self, new: &[LogEntry]) {
        let Some(last) = new.last() else { return };
        let mut entries = self.entries.write();
        for entry in new {
            if let LogEntry::Event(event) = entry {
                entries.redact(event);
            }
            entries.bytes += cost(entry);
            entries.queue.push_back(entry.clone());
        }
        entries.shrink();
        self.end.store(last.position().0, Ordering::Release);
    }

    /// Passes the entries after `from` and up to `to` to `visit`, in order. `false` if the tail does not reach back so far;
    /// nothing was visited then.
    pub fn visit(&self, from: Position, to: Position, mut visit: impl FnMut(&LogEntry)) -> bool {
        let entries = self.entries.read();
        if from < entries.start {
            return false;
        }
        let first = entries.queue.partition_point(|entry| entry.position() <= from);
        entries.queue.range(first..).take_while(|entry| entry.position() <= to).for_each(&mut visit);
        true
    }
}

impl Entries {
    /// Has the tail show a redacted event as it is from now on.
    fn redact(&mut self, redaction: &Arc<StoredEvent>) {
        let Some((target, redacted)) = &redaction.redacts else { return };
        let position = target.position();
        let index = self.queue.partition_point(|entry| entry.position() < position);
        if let Some(LogEntry::Event(event)) = self.queue.get_mut(index)
            && event.sn == *target
        {
            let mut changed = (**event).clone();
            changed.client_json = redacted.clone();
            changed.redacted_because = Some(redaction.client_json.clone());
            *event = Arc::new(changed);
        }
    }

    fn shrink(&mut self) {
        while self.queue.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(cost(&oldest));
            self.start = oldest.position();
        }
    }
}

fn cost(entry: &LogEntry) -> usize {
    let json = match entry {
        // Those whom an event is silent for are shared by the events of its room.
        LogEntry::Event(event) => {
            let others = event.unread.as_ref().map_or(0, |unread| size_of_val(&*unread.others));
            event.client_json.len() + event.replaced_json.as_ref().map_or(0, bytes::Bytes::len) + others
        }
        LogEntry::AccountData { .. }
        | LogEntry::NotificationRules { .. }
        | LogEntry::Receipt(_)
        | LogEntry::StateResolved { .. }
        | LogEntry::StateKnown { .. } => 0,
    };
    ENTRY_OVERHEAD_BYTES + json
}
