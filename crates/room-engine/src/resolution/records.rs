//! What has been loaded.

use homeserver_core::EventSn;
use rustc_hash::FxHashMap;

use super::{Need, ResolutionEvent, StatePlace, table::StateTable};
use crate::{Pdu, auth::StateLookup};

/// The events that were loaded, and the state that all have in common as far as it was asked for.
#[derive(Debug)]
pub(super) struct Records {
    events: FxHashMap<EventSn, ResolutionEvent>,
    unconflicted: StateTable<Option<EventSn>>,
}

impl Records {
    pub(super) fn new() -> Self {
        Self { events: FxHashMap::default(), unconflicted: StateTable::new() }
    }

    pub(super) fn add_event(&mut self, event: ResolutionEvent) {
        self.events.insert(event.sn, event);
    }

    pub(super) fn add_state(&mut self, event_type: &str, state_key: &str, event: Option<EventSn>) {
        self.unconflicted.insert(event_type, state_key, event);
    }

    pub(super) fn event(&self, sn: EventSn) -> Option<&ResolutionEvent> {
        self.events.get(&sn)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The event that all states have in a place; the outer `None` when that has not been asked.
    pub(super) fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<Option<EventSn>> {
        self.unconflicted.get(event_type, state_key).copied()
    }

    /// The first auth event of this type and with this state key.
    pub(super) fn auth_event(
        &self,
        event: &ResolutionEvent,
        event_type: &str,
        state_key: &str,
    ) -> Option<&ResolutionEvent> {
        let mut auth_events = event.auth_events.iter().filter_map(|sn| self.event(*sn));
        auth_events.find(|auth_event| auth_event.pdu.is_state(event_type, state_key))
    }

    pub(super) fn need_events(&self, need: &mut Need, events: impl IntoIterator<Item = EventSn>) {
        need.events.extend(events.into_iter().filter(|sn| !self.events.contains_key(sn)));
    }

    pub(super) fn need_state(&self, need: &mut Need, event_type: &str, state_key: &str) {
        if !self.unconflicted.contains(event_type, state_key) {
            need.state.push(StatePlace::new(event_type, state_key));
        }
    }

    /// As [`need_state`](Self::need_state), and then also the event.
    pub(super) fn need_auth_state(&self, need: &mut Need, event_type: &str, state_key: &str) {
        match self.unconflicted(event_type, state_key) {
            Some(event) => self.need_events(need, event),
            None => need.state.push(StatePlace::new(event_type, state_key)),
        }
    }
}

/// The state against which an event is checked: what has been resolved so far, then what all states have in common, then
/// the event's own auth events.
pub(super) struct StateBefore<'a> {
    pub(super) records: &'a Records,
    /// The first that has an event in a place counts there.
    pub(super) resolved: &'a [&'a StateTable<EventSn>],
    /// Whether the state that all have in common counts.
    pub(super) with_unconflicted: bool,
    /// Empty where the algorithm does not look at the event's own auth events.
    pub(super) auth_events: &'a [EventSn],
    /// The create event where it is not among the auth events.
    pub(super) create: Option<&'a Pdu>,
    /// Whether a rejected event of the state authorises others.
    pub(super) with_rejected: bool,
}

impl StateLookup for StateBefore<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        let counts = |event: &&ResolutionEvent| self.with_rejected || !event.rejected;
        let resolved = self.resolved.iter().find_map(|layer| layer.get(event_type, state_key)).copied();
        let in_state = resolved.or_else(|| {
            let unconflicted = self.records.unconflicted(event_type, state_key).flatten();
            unconflicted.filter(|_| self.with_unconflicted)
        });
        if let Some(event) = in_state.and_then(|sn| self.records.event(sn)).filter(counts) {
            return Some(&event.pdu);
        }
        let auth_events = self.auth_events.iter().rev().filter_map(|sn| self.records.event(*sn));
        let auth_event =
            auth_events.filter(counts).map(|event| &event.pdu).find(|pdu| pdu.is_state(event_type, state_key));
        auth_event.or_else(|| self.create.filter(|create| create.is_state(event_type, state_key)))
    }
}
