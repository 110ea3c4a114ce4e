//! What the node with the duty keeps in memory.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Position, Timestamp};
use ruma::{OwnedServerName, ServerName};
use storage::OutboxProgress;
use tokio_util::sync::CancellationToken;

use super::destination::{Batch, Destination, OutgoingPdu};
use crate::edus::outbound::OutboundEdu;

/// What the node with the duty keeps in memory. Its size is bounded by the number of servers, and by what may wait for each.
pub(super) struct State {
    /// Cancelled when this node's duty ends; none if it has no duty.
    pub(super) ended: Option<CancellationToken>,
    pub(super) destinations: HashMap<OwnedServerName, Destination>,
    /// When destinations that are behind are tried again.
    pub(super) due: BTreeSet<(Timestamp, OwnedServerName)>,
    /// Up to here the log has been handed to the destinations,
    pub(super) position: Position,
    /// and up to here it is about to be.
    pub(super) target: Position,
    /// Destinations of which something is not written down.
    changed: HashSet<OwnedServerName>,
    /// Servers that were overlooked, and since where, of which that is not written down.
    noticed: HashMap<OwnedServerName, Position>,
    /// What is written down as the head.
    stored_head: Position,
}

/// What there is to do for a destination.
pub(super) enum Work {
    /// These events are to be sent; they are under way from now on.
    Send(Batch),
    /// What is in the log between these positions is to be sent.
    CatchUp { after: Position, until: Position },
}

impl State {
    /// The state of a node without the duty.
    pub(super) fn idle() -> Self {
        Self {
            ended: None,
            destinations: HashMap::new(),
            due: BTreeSet::new(),
            position: Position::START,
            target: Position::START,
            changed: HashSet::new(),
            noticed: HashMap::new(),
            stored_head: Position::START,
        }
    }

    /// The state at the beginning of a duty.
    pub(super) fn begin(ended: CancellationToken, head: Position, behind: Vec<(OwnedServerName, Position)>) -> Self {
        let destinations = behind.into_iter().map(|(server, at)| (server, Destination::behind(at))).collect();
        Self { ended: Some(ended), destinations, position: head, target: head, stored_head: head, ..Self::idle() }
    }

    /// Hands an event to destinations. Returns those that nobody serves yet and that somebody has to.
    pub(super) fn hand(&mut self, pdu: &Arc<OutgoingPdu>, servers: &[OwnedServerName]) -> Vec<OwnedServerName> {
        let mut to_serve = Vec::new();
        for server in servers {
            let destination = self.destinations.entry(server.clone()).or_insert_with(Destination::live);
            if destination.push(pdu.clone()) {
                self.changed.insert(server.clone());
            }
            if destination.sent_up_to().is_none() && !destination.is_served {
                destination.is_served = true;
                to_serve.push(server.clone());
            }
        }
        to_serve
    }

    /// Hands an EDU to destinations. Returns those that nobody serves yet and that somebody has to.
    pub(super) fn hand_edu(&mut self, edu: &OutboundEdu, servers: &[OwnedServerName]) -> Vec<OwnedServerName> {
        let after = self.position;
        self.give(servers, |destination| destination.push_edu(&edu.subject, &edu.json, after))
    }

    /// There are messages to devices for these destinations. Returns those that nobody serves yet and that somebody has to.
    pub(super) fn expect_messages(&mut self, servers: &[OwnedServerName]) -> Vec<OwnedServerName> {
        self.give(servers, Destination::expect_messages)
    }

    fn give(&mut self, servers: &[OwnedServerName], give: impl Fn(&mut Destination)) -> Vec<OwnedServerName> {
        let mut to_serve = Vec::new();
        for server in servers {
            let destination = self.destinations.entry(server.clone()).or_insert_with(Destination::live);
            give(destination);
            if destination.sent_up_to().is_none() && !destination.is_served {
                destination.is_served = true;
                to_serve.push(server.clone());
            }
        }
        to_serve
    }

    /// What is to be done next for a destination that is served; `None` if that is nothing, and then nobody serves it any more.
    pub(super) fn work(&mut self, server: &OwnedServerName) -> Option<Work> {
        let until = self.position;
        let destination = self.destinations.get_mut(server)?;
        if let Some(after) = destination.sent_up_to() {
            return Some(Work::CatchUp { after, until });
        }
        let batch = destination.take();
        destination.is_served = batch.is_some();
        batch.map(Work::Send)
    }

    /// A destination has what was sent.
    pub(super) fn arrived(&mut self, server: &OwnedServerName) {
        if let Some(destination) = self.destinations.get_mut(server) {
            destination.arrived();
        }
    }

    /// A destination has everything up to a position, and if nothing has been added to the log, everything.
    pub(super) fn caught_up(&mut self, server: &OwnedServerName, sent_up_to: Position) {
        let has_all = sent_up_to == self.position && self.position == self.target;
        if let Some(destination) = self.destinations.get_mut(server) {
            destination.catch_up(sent_up_to);
            if has_all && destination.sent_up_to() == Some(sent_up_to) {
                destination.go_live();
            }
            self.changed.insert(server.clone());
        }
    }

    /// A destination was overlooked and may have missed what is in the log after `position`. Returns whether somebody has to serve it now.
    pub(super) fn notice(&mut self, server: &OwnedServerName, position: Position) -> bool {
        self.destinations.entry(server.clone()).or_insert_with(Destination::live).rewind(position);
        self.changed.insert(server.clone());
        self.noticed.insert(server.clone(), position);
        self.serve_if_behind(server)
    }

    /// A destination was not reached, and is tried again at that time.
    pub(super) fn failed(&mut self, server: &OwnedServerName, again_at: Timestamp) {
        let position = self.position;
        if let Some(destination) = self.destinations.get_mut(server) {
            destination.fall_behind(position);
            destination.is_served = false;
            self.changed.insert(server.clone());
            self.due.insert((again_at, server.clone()));
        }
    }

    /// Destinations that are behind and are to be tried now, at most `limit`. They count as served from now on.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<OwnedServerName> {
        let mut due = Vec::new();
        while due.len() < limit
            && let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, server)) = self.due.pop_first()
        {
            if self.serve_if_behind(&server) {
                due.push(server);
            }
        }
        due
    }

    /// Whether a destination is behind and nobody serves it. It counts as served from now on.
    pub(super) fn serve_if_behind(&mut self, server: &OwnedServerName) -> bool {
        let Some(destination) = self.destinations.get_mut(server) else { return false };
        let is_idle = destination.sent_up_to().is_some() && !destination.is_served;
        destination.is_served |= is_idle;
        is_idle
    }

    /// What is not written down yet. It counts as written from now on.
    pub(super) fn unwritten(&mut self) -> Option<OutboxProgress> {
        let before_unsent = self.destinations.values().filter_map(Destination::before_unsent);
        let head = before_unsent.fold(self.position, Position::min);
        let head = (head > self.stored_head).then_some(head);
        let (mut behind, mut caught_up) = (Vec::new(), Vec::new());
        for server in self.changed.drain() {
            match self.destinations.get(&server).and_then(Destination::sent_up_to) {
                Some(sent_up_to) => behind.push((server.to_string(), sent_up_to)),
                None => caught_up.push(server.to_string()),
            }
        }
        if head.is_none() && behind.is_empty() && caught_up.is_empty() {
            return None;
        }
        self.stored_head = head.unwrap_or(self.stored_head);
        let noticed = self.noticed.drain().map(|(server, position)| (server.to_string(), position)).collect();
        Some(OutboxProgress { head, behind, caught_up, noticed })
    }

    /// This was not written down after all. A head may not be written without what it skips.
    pub(super) fn not_written(&mut self, progress: &OutboxProgress) {
        let behind = progress.behind.iter().map(|(name, _)| name);
        let names = behind.chain(&progress.caught_up).filter_map(|name| ServerName::parse(name.as_str()).ok());
        self.changed.extend(names);
        let noticed = progress.noticed.iter();
        self.noticed.extend(noticed.filter_map(|(name, at)| Some((ServerName::parse(name.as_str()).ok()?, *at))));
        self.stored_head = Position::START;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn server(name: &str) -> OwnedServerName {
        name.try_into().unwrap()
    }

    fn pdu(position: i64) -> Arc<OutgoingPdu> {
        Arc::new(OutgoingPdu { position: Position(position), json: Bytes::new() })
    }

    #[test]
    fn what_is_written_down_is_behind_everything_that_has_not_arrived() {
        let (one, other) = (server("one.example"), server("other.example"));
        let mut state = State::begin(CancellationToken::new(), Position(100), Vec::new());
        assert_eq!(state.hand(&pdu(110), &[one.clone(), other.clone()]), [one.clone(), other.clone()]);
        assert!(state.hand(&pdu(120), &[one.clone(), other.clone()]).is_empty());
        (state.position, state.target) = (Position(130), Position(130));
        assert_eq!(state.unwritten().unwrap().head, Some(Position(109)));
        let Some(Work::Send(batch)) = state.work(&one) else { panic!("there is something to send") };
        assert_eq!(batch.pdus.len(), 2);
        state.arrived(&one);
        assert!(state.work(&one).is_none());
        assert!(state.unwritten().is_none(), "the other has nothing yet");
        assert!(state.work(&other).is_some());
        state.failed(&other, Timestamp(5_000));
        let written = state.unwritten().unwrap();
        state.not_written(&written);
        assert_eq!(state.unwritten().unwrap().behind, written.behind);
        assert_eq!(
            (written.head, written.behind),
            (Some(Position(130)), vec![("other.example".to_owned(), Position(109))])
        );
        assert!(state.unwritten().is_none());

        assert!(state.due(Timestamp(4_999), 10).is_empty());
        assert_eq!(state.due(Timestamp(5_000), 10), std::slice::from_ref(&other));
        let Some(Work::CatchUp { after, until }) = state.work(&other) else { panic!("it is behind") };
        assert_eq!((after, until), (Position(109), Position(130)));
        state.target = Position(140);
        state.caught_up(&other, Position(130));
        assert_eq!(state.unwritten().unwrap().behind, [("other.example".to_owned(), Position(130))], "more is coming");
        state.position = Position(140);
        state.caught_up(&other, Position(140));
        assert_eq!(state.unwritten().unwrap().caught_up, ["other.example"]);
        let Some(Work::Send(batch)) = state.work(&other) else { panic!("messages may wait for it") };
        assert!(batch.pdus.is_empty() && batch.has_messages);
        assert!(state.work(&other).is_none());
    }
}
