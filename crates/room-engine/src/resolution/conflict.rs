//! What goes into a resolution and what comes out.

use homeserver_core::EventSn;
use smallvec::SmallVec;

use crate::Pdu;

/// A place in the state of a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatePlace {
    /// The `type`.
    pub event_type: Box<str>,
    /// The `state_key`.
    pub state_key: Box<str>,
}

impl StatePlace {
    /// The place with this type and state key.
    pub fn new(event_type: &str, state_key: &str) -> Self {
        Self { event_type: event_type.into(), state_key: state_key.into() }
    }
}

/// A place in which the states to be resolved do not all have the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The place.
    pub key: StatePlace,
    /// What each of the states has there. All conflicts name the states in the same order.
    pub events: SmallVec<[Option<EventSn>; 2]>,
}

/// What the resolved state has in a place in which the states did not agree, or in which none had anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The place.
    pub key: StatePlace,
    /// The event there, if any.
    pub event: Option<EventSn>,
}

/// A state event as the algorithms see it.
#[derive(Debug, Clone)]
pub struct ResolutionEvent {
    /// Its number.
    pub sn: EventSn,
    /// The event.
    pub pdu: Pdu,
    /// The numbers of its auth events, in their order.
    pub auth_events: SmallVec<[EventSn; 5]>,
    /// Whether it failed the checks when it came in.
    pub rejected: bool,
}
