//! One server that is sent something: what waits for it, and how far it is.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::Position;

use super::waiting_edus::WaitingEdus;
use crate::edus::outbound::EduSubject;

/// Events that wait in memory for one destination. When there are more, it is behind.
const MAX_WAITING: usize = 200;
/// The most events of one transaction.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
pub(super) const MAX_PDUS: usize = 50;
/// The most EDUs of one transaction.
pub(super) const MAX_EDUS: usize = 100;

/// An event that is to be sent.
#[derive(Clone, Debug)]
pub(super) struct OutgoingPdu {
    /// Where in the log it became due.
    pub(super) position: Position,
    /// The PDU.
    pub(super) json: Bytes,
}

/// What one transaction has.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) pdus: Vec<Arc<OutgoingPdu>>,
    pub(super) edus: Vec<Bytes>,
    /// Whether messages to devices may wait in the database.
    pub(super) has_messages: bool,
}

/// One server that is sent something.
#[derive(Debug)]
pub(super) struct Destination {
    progress: Progress,
    waiting: VecDeque<Arc<OutgoingPdu>>,
    edus: WaitingEdus,
    /// The position before the first EDU that lasts and waits in memory, or may be under way.
    edus_after: Option<Position>,
    /// Whether messages to devices may wait for it in the database.
    has_messages: bool,
    /// The first event of the transaction that is under way.
    under_way: Option<Position>,
    /// Where it has to begin again, if it was found to have missed something while it caught up.
    rewound_to: Option<Position>,
    /// Whether a task sends what there is.
    pub(super) is_served: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// What it does not have yet waits in memory.
    Live,
    /// It has everything up to this position; what comes after is read from the log.
    Behind(Position),
}

impl Destination {
    /// One that has everything.
    pub(super) fn live() -> Self {
        Self {
            progress: Progress::Live,
            waiting: VecDeque::new(),
            edus: WaitingEdus::default(),
            edus_after: None,
            has_messages: false,
            under_way: None,
            rewound_to: None,
            is_served: false,
        }
    }

    /// One that has everything up to that position.
    pub(super) fn behind(sent_up_to: Position) -> Self {
        Self { progress: Progress::Behind(sent_up_to), has_messages: true, ..Self::live() }
    }

    /// Up to where it has everything, if it is behind.
    pub(super) fn sent_up_to(&self) -> Option<Position> {
        match self.progress {
            Progress::Live => None,
            Progress::Behind(sent_up_to) => Some(sent_up_to),
        }
    }

    /// Events that wait in memory.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Adds an event. If it is behind, the event is found in the log later. Returns whether it has fallen behind.
    pub(super) fn push(&mut self, pdu: Arc<OutgoingPdu>) -> bool {
        if self.progress != Progress::Live {
            return false;
        }
        let is_full = self.waiting.len() >= MAX_WAITING;
        self.waiting.push_back(pdu);
        if is_full {
            let sent_up_to = self.before_unsent();
            self.fall_behind(sent_up_to.unwrap_or(Position::START));
        }
        is_full
    }

    /// Adds an EDU about what is in the log after `after`, unless it is behind: what lasts is read from the log then, and the rest is out
    /// of date.
    pub(super) fn push_edu(&mut self, subject: &EduSubject, json: &Bytes, after: Position) {
        if self.progress == Progress::Live {
            if subject.lasts() {
                self.edus_after.get_or_insert(after);
            }
            self.edus.push(subject, json);
        }
    }

    /// There are messages to devices for it in the database.
    pub(super) fn expect_messages(&mut self) {
        self.has_messages = true;
    }

    /// What the next transaction has, which is under way from now on; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.waiting.is_empty() && self.edus.is_empty() && !self.has_messages {
            return None;
        }
        let count = self.waiting.len().min(MAX_PDUS);
        let pdus: Vec<_> = self.waiting.drain(..count).collect();
        self.under_way = pdus.first().map(|pdu| pdu.position);
        let has_messages = std::mem::take(&mut self.has_messages);
        // Messages have the rest of the places.
        let edus = self.edus.take(if has_messages { MAX_EDUS / 2 } else { MAX_EDUS });
        Some(Batch { pdus, edus, has_messages })
    }

    /// The transaction that was under way has arrived.
    pub(super) fn arrived(&mut self) {
        self.under_way = None;
        if self.edus.is_empty() {
            self.edus_after = None;
        }
    }

    /// The position before the first event or lasting EDU in memory that has not arrived; `None` if there is none.
    pub(super) fn before_unsent(&self) -> Option<Position> {
        let first = self.under_way.or_else(|| self.waiting.front().map(|pdu| pdu.position));
        let before = first.map(|first| Position(first.0.saturating_sub(1)));
        before.into_iter().chain(self.edus_after).min()
    }

    /// From now on, what it does not have is read from the log. If nothing waits in memory, it has everything up to `position`.
    pub(super) fn fall_behind(&mut self, position: Position) {
        if self.progress == Progress::Live {
            self.progress = Progress::Behind(self.before_unsent().unwrap_or(position));
        }
        self.waiting = VecDeque::new();
        self.edus = WaitingEdus::default();
        self.edus_after = None;
        self.has_messages = true;
        self.under_way = None;
        self.rewound_to = None;
    }

    /// It may have missed what is in the log after `position`, though it had what was meant for it.
    pub(super) fn rewind(&mut self, position: Position) {
        let catches_up = self.is_served && self.sent_up_to().is_some();
        self.fall_behind(position);
        let sent_up_to = self.sent_up_to().map_or(position, |sent_up_to| sent_up_to.min(position));
        self.progress = Progress::Behind(sent_up_to);
        self.rewound_to = catches_up.then_some(sent_up_to);
    }

    /// It has everything up to that position.
    pub(super) fn catch_up(&mut self, sent_up_to: Position) {
        if self.progress != Progress::Live {
            let rewound_to = self.rewound_to.take();
            self.progress = Progress::Behind(rewound_to.map_or(sent_up_to, |to| to.min(sent_up_to)));
        }
    }

    /// It has everything, as long as nothing is added.
    pub(super) fn go_live(&mut self) {
        self.progress = Progress::Live;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pdu(position: i64) -> Arc<OutgoingPdu> {
        Arc::new(OutgoingPdu { position: Position(position), json: Bytes::new() })
    }

    #[test]
    fn a_transaction_takes_what_waits_up_to_its_limit_and_what_fails_is_read_again() {
        let mut destination = Destination::live();
        assert!((1..=60).all(|position| !destination.push(pdu(10 * position))));
        assert_eq!(destination.before_unsent(), Some(Position(9)));
        assert_eq!(destination.take().unwrap().pdus.len(), MAX_PDUS);
        assert_eq!(destination.before_unsent(), Some(Position(9)), "it has not arrived");
        destination.arrived();
        assert_eq!(destination.before_unsent(), Some(Position(509)));
        assert_eq!(destination.take().unwrap().pdus.len(), 10);
        destination.push(pdu(900));
        destination.fall_behind(Position(950));
        assert_eq!((destination.sent_up_to(), destination.waiting()), (Some(Position(509)), 0));
        destination.push(pdu(1_000));
        assert_eq!((destination.sent_up_to(), destination.waiting()), (Some(Position(509)), 0));
        destination.catch_up(Position(1_000));
        assert_eq!(destination.sent_up_to(), Some(Position(1_000)));
        destination.go_live();
        assert_eq!((destination.sent_up_to(), destination.before_unsent()), (None, None));
        destination.rewind(Position(700));
        destination.is_served = true;
        destination.rewind(Position(600));
        destination.catch_up(Position(1_000));
        assert_eq!(destination.sent_up_to(), Some(Position(600)), "what it caught up with began too late");
        destination.catch_up(Position(1_000));
        assert_eq!(destination.sent_up_to(), Some(Position(1_000)));
    }

    #[test]
    fn a_destination_that_is_too_slow_falls_behind() {
        let mut destination = Destination::live();
        let fell: Vec<i64> = (1..=500).filter(|position| destination.push(pdu(*position))).collect();
        assert_eq!(fell, [201]);
        assert_eq!((destination.sent_up_to(), destination.waiting()), (Some(Position(0)), 0));
    }
}
