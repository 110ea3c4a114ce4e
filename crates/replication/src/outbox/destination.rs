//! One server that is sent something: what waits for it, and how far it is.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{Position, Timestamp};

use crate::edus::outbound::OutboundEdu;
use crate::edus::waiting::WaitingEdus;

/// Events that wait in memory for one destination. When there are more, it is behind.
const MAX_WAITING: usize = 200;
/// The most events of one transaction.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
pub(super) const MAX_PDUS: usize = 50;

/// An event that is to be sent.
#[derive(Clone, Debug)]
pub(super) struct OutgoingPdu {
    /// Where in the log it became due.
    pub(super) position: Position,
    /// The PDU.
    pub(super) json: Bytes,
}

/// What is sent with one transaction.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) pdus: Vec<Arc<OutgoingPdu>>,
    pub(super) edus: Vec<Bytes>,
    /// Whether messages to devices wait in the database.
    pub(super) with_messages: bool,
}

/// One server that is sent something.
#[derive(Debug)]
pub(super) struct Destination {
    progress: Progress,
    waiting: VecDeque<Arc<OutgoingPdu>>,
    /// The first event of the transaction that is under way.
    under_way: Option<Position>,
    /// What is not sent later if it is not sent now.
    edus: WaitingEdus,
    /// Until then nothing is added to these: the destination was not reached.
    unreached_until: Timestamp,
    /// Whether messages to devices wait for it in the database.
    has_messages: bool,
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
            under_way: None,
            edus: WaitingEdus::default(),
            unreached_until: Timestamp(0),
            has_messages: false,
            is_served: false,
        }
    }

    /// One that has everything up to that position.
    pub(super) fn behind(sent_up_to: Position) -> Self {
        Self { progress: Progress::Behind(sent_up_to), ..Self::live() }
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
            self.fall_behind();
        }
        is_full
    }

    /// Adds an EDU. One that is behind, or was not reached a moment ago, is not sent it. Returns whether it was added.
    pub(super) fn push_edu(&mut self, edu: &OutboundEdu, now: Timestamp) -> bool {
        let is_sent = self.progress == Progress::Live && now >= self.unreached_until;
        if is_sent {
            self.edus.push(edu);
        }
        is_sent
    }

    /// Messages to devices wait for it in the database.
    pub(super) fn has_messages(&mut self) {
        self.has_messages = true;
    }

    /// Whether something is to be sent that is not in memory.
    pub(super) fn is_waited_for(&self) -> bool {
        self.has_messages || self.progress != Progress::Live
    }

    /// What the next transaction has, which is under way from now on; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<Load> {
        let count = self.waiting.len().min(MAX_PDUS);
        let pdus: Vec<_> = self.waiting.drain(..count).collect();
        self.under_way = pdus.first().map(|pdu| pdu.position);
        let load = Load { pdus, edus: self.edus.take(), with_messages: std::mem::take(&mut self.has_messages) };
        let is_empty = load.pdus.is_empty() && load.edus.is_empty() && !load.with_messages;
        (!is_empty).then_some(load)
    }

    /// It was not reached, and is not tried before that time.
    pub(super) fn failed(&mut self, again_at: Timestamp) {
        self.fall_behind();
        self.unreached_until = again_at;
    }

    /// The transaction that was under way has arrived.
    pub(super) fn arrived(&mut self) {
        self.under_way = None;
    }

    /// The position before the first event in memory that has not arrived; `None` if there is none.
    pub(super) fn before_unsent(&self) -> Option<Position> {
        let first = self.under_way.or_else(|| self.waiting.front().map(|pdu| pdu.position))?;
        Some(Position(first.0.saturating_sub(1)))
    }

    /// From now on, what it does not have is read from the log.
    pub(super) fn fall_behind(&mut self) {
        if let (Progress::Live, Some(sent_up_to)) = (self.progress, self.before_unsent()) {
            self.progress = Progress::Behind(sent_up_to);
        }
        self.waiting = VecDeque::new();
        self.under_way = None;
        self.edus = WaitingEdus::default();
    }

    /// It has everything up to that position.
    pub(super) fn catch_up(&mut self, sent_up_to: Position) {
        if self.progress != Progress::Live {
            self.progress = Progress::Behind(sent_up_to);
        }
    }

    /// It has everything, as long as nothing is added.
    pub(super) fn go_live(&mut self) {
        self.progress = Progress::Live;
    }
}

#[cfg(test)]
mod tests {
    use homeserver_core::UserSn;

    use super::*;
    use crate::edus::outbound::EduSubject;

    fn pdu(position: i64) -> Arc<OutgoingPdu> {
        Arc::new(OutgoingPdu { position: Position(position), json: Bytes::new() })
    }

    #[test]
    fn a_transaction_takes_what_waits_up_to_its_limit_and_what_fails_is_read_again() {
        let mut destination = Destination::live();
        assert!((1..=60).all(|position| !destination.push(pdu(10 * position))));
        assert_eq!(destination.before_unsent(), Some(Position(9)));
        let pdus = |load: Option<Load>| load.map_or(0, |load| load.pdus.len());
        assert_eq!(pdus(destination.take()), MAX_PDUS);
        assert_eq!(destination.before_unsent(), Some(Position(9)), "it has not arrived");
        destination.arrived();
        assert_eq!(destination.before_unsent(), Some(Position(509)));
        assert_eq!(pdus(destination.take()), 10);
        assert!(destination.take().is_none());
        destination.push(pdu(900));
        destination.fall_behind();
        assert_eq!((destination.sent_up_to(), destination.waiting()), (Some(Position(509)), 0));
        destination.push(pdu(1_000));
        assert_eq!((destination.sent_up_to(), destination.waiting()), (Some(Position(509)), 0));
        destination.catch_up(Position(1_000));
        assert_eq!(destination.sent_up_to(), Some(Position(1_000)));
        destination.go_live();
        assert_eq!((destination.sent_up_to(), destination.before_unsent()), (None, None));
    }

    #[test]
    fn a_destination_that_is_not_reached_is_sent_no_edus() {
        let mut destination = Destination::live();
        let edu = OutboundEdu { subject: EduSubject::Presence(UserSn(1)), rooms: Vec::new(), json: Bytes::new() };
        assert!(destination.push_edu(&edu, Timestamp(5)));
        destination.failed(Timestamp(100));
        assert!(destination.take().is_none() && !destination.push_edu(&edu, Timestamp(99)));
        assert!(destination.push_edu(&edu, Timestamp(100)));
        assert_eq!(destination.take().unwrap().edus.len(), 1);
        destination.push(pdu(10));
        destination.fall_behind();
        assert!(!destination.push_edu(&edu, Timestamp(200)), "it is behind");
    }

    #[test]
    fn messages_to_devices_are_fetched_once_and_again_after_a_failure() {
        let mut destination = Destination::live();
        destination.has_messages();
        assert!(destination.is_waited_for());
        assert!(destination.take().unwrap().with_messages);
        assert!(!destination.is_waited_for() && destination.take().is_none());
        destination.has_messages();
        destination.failed(Timestamp(100));
        assert!(destination.is_waited_for());
    }

    #[test]
    fn a_destination_that_is_too_slow_falls_behind() {
        let mut destination = Destination::live();
        let fell: Vec<i64> = (1..=500).filter(|position| destination.push(pdu(*position))).collect();
        assert_eq!(fell, [201]);
        assert_eq!((destination.sent_up_to(), destination.waiting()), (Some(Position(0)), 0));
    }
}
