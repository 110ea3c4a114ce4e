//! The findings of a check.

use std::fmt;

use ruma::OwnedRoomId;

/// So many findings are listed; more are counted.
const MAX_LISTED: usize = 1_000;

/// A difference between the stored state and the events of the room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// An event that cannot be read. It cannot be repaired.
    Unreadable {
        /// The event.
        event_id: Box<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// An event that follows events which are not stored. It cannot be repaired.
    UnknownEvents {
        /// The event.
        event_id: Box<str>,
        /// How many.
        count: usize,
    },
    /// The rules of the room do not allow an event that counts as allowed.
    NotAllowed {
        /// The event.
        event_id: Box<str>,
        /// The rule.
        reason: String,
    },
    /// The rules of the room allow an event that counts as not allowed.
    Allowed {
        /// The event.
        event_id: Box<str>,
    },
    /// The stored state after an event is wrong or missing.
    WrongState {
        /// The event.
        event_id: Box<str>,
        /// Whether a state is stored.
        is_stored: bool,
    },
    /// A state event is missing in the index of auth chains, or has the wrong auth events there.
    WrongAuthChain {
        /// The event.
        event_id: Box<str>,
    },
    /// The current state has a wrong event, or none, at a place.
    WrongCurrentState {
        /// The event type.
        event_type: Box<str>,
        /// The state key.
        state_key: Box<str>,
        /// The event there, if any.
        stored: Option<Box<str>>,
        /// The event that belongs there, if any.
        expected: Option<Box<str>>,
    },
    /// A user's membership differs from the member event.
    WrongMembership {
        /// The user.
        user_id: Box<str>,
    },
    /// The room's head is wrong: the forward extremities, the depth, or the numbers of members.
    WrongHead {
        /// What is wrong about it.
        what: &'static str,
    },
}

impl Finding {
    /// Whether a repair removes it. A repair does not change events.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        !matches!(self, Self::Unreadable { .. } | Self::UnknownEvents { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { event_id, reason } => write!(f, "{event_id} cannot be read: {reason}"),
            Self::UnknownEvents { event_id, count } => {
                write!(f, "{event_id} follows {count} events that are not here")
            }
            Self::NotAllowed { event_id, reason } => write!(f, "{event_id} is not allowed: {reason}"),
            Self::Allowed { event_id } => write!(f, "{event_id} is allowed"),
            Self::WrongState { event_id, is_stored: true } => write!(f, "the stored state after {event_id} is wrong"),
            Self::WrongState { event_id, is_stored: false } => write!(f, "the state after {event_id} is not stored"),
            Self::WrongAuthChain { event_id } => write!(f, "{event_id} is not in its auth chain as it should be"),
            Self::WrongCurrentState { event_type, state_key, stored, expected } => {
                let name = |event: &Option<Box<str>>| event.as_deref().unwrap_or("nothing").to_owned();
                let (stored, expected) = (name(stored), name(expected));
                write!(f, "the current state has {stored} at ({event_type}, {state_key:?}); {expected} belongs there")
            }
            Self::WrongMembership { user_id } => {
                write!(f, "the membership of {user_id} is not that of the member event")
            }
            Self::WrongHead { what } => write!(f, "{what} of the room is wrong"),
        }
    }
}

/// The result of checking a room.
#[derive(Clone, Debug)]
pub struct RoomReport {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The number of events.
    pub events: u64,
    /// The findings, up to a bound.
    pub findings: Vec<Finding>,
    /// The number of findings that are not listed.
    pub more: u64,
    /// Whether a repair was stored.
    pub is_repaired: bool,
}

impl RoomReport {
    pub(super) fn new(room_id: OwnedRoomId) -> Self {
        Self { room_id, events: 0, findings: Vec::new(), more: 0, is_repaired: false }
    }

    /// Whether one more finding is listed, and not only counted.
    pub(super) fn lists_more(&self) -> bool {
        self.findings.len() < MAX_LISTED
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.lists_more() {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Whether anything was found.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.findings.is_empty()
    }

    /// Whether a finding remains after the repair.
    #[must_use]
    pub fn is_left_damaged(&self) -> bool {
        self.findings.iter().any(|finding| !(self.is_repaired && finding.is_repairable()))
    }
}

impl fmt::Display for RoomReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room_id, events, findings, more, is_repaired } = self;
        if findings.is_empty() {
            return writeln!(f, "{room_id}: {events} events, and everything follows from them.");
        }
        for finding in findings {
            writeln!(f, "{finding}")?;
        }
        if *more > 0 {
            writeln!(f, "… and {more} more")?;
        }
        let count = findings.len() as u64 + more;
        let outcome = if *is_repaired { "; what follows from the events is stored now" } else { "" };
        writeln!(f, "{room_id}: {events} events, {count} differences{outcome}.")
    }
}
