//! Iterative auth checks.

use homeserver_core::EventSn;

use super::{
    ResolutionEvent,
    records::{Records, StateBefore},
    table::StateTable,
};
use crate::{
    Pdu,
    auth::{AuthError, AuthType, auth_types_for_event, check},
};

/// The [iterative auth checks](https://spec.matrix.org/v1.19/rooms/v2/#definitions) of versions 2 and later.
pub(super) struct AuthChecks<'a> {
    pub(super) records: &'a Records,
    /// Whether they start from the state that all have in common.
    pub(super) with_unconflicted: bool,
    /// The create event where it is not among the auth events.
    pub(super) create: Option<&'a Pdu>,
}

impl AuthChecks<'_> {
    /// Puts each of the events into the state, unless it is not allowed there.
    pub(super) fn apply(&self, order: &[EventSn], resolved: &mut StateTable<EventSn>) {
        for event in order.iter().filter_map(|sn| self.records.event(*sn)) {
            let Some(state_key) = event.pdu.state_key() else { continue };
            if self.is_allowed(event, resolved) {
                resolved.insert(event.pdu.event_type(), state_key, event.sn);
            }
        }
    }

    fn is_allowed(&self, event: &ResolutionEvent, resolved: &StateTable<EventSn>) -> bool {
        let state = StateBefore {
            records: self.records,
            resolved: &[resolved],
            with_unconflicted: self.with_unconflicted,
            auth_events: &event.auth_events,
            create: self.create,
            with_rejected: false,
        };
        // A member event that the selection cannot read is not allowed, even where the rules would not look
        // at what is wrong with it.
        auth_types(&event.pdu).is_ok() && check(&event.pdu, &state).is_ok()
    }
}

/// The places in the state that decide whether the event is allowed.
pub(super) fn auth_types(pdu: &Pdu) -> Result<Vec<AuthType>, AuthError> {
    auth_types_for_event(pdu.version(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content())
}
