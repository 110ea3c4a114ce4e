//! The steps after the signatures: what the rules make of the event.

use ruma::{EventId, OwnedEventId};

use super::{Form, Rejected, SoftFailed};
use crate::{
    Pdu,
    auth::{AuthEvent, AuthState, StateLookup, check, check_auth_events},
};

/// What became of an event that was not dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passed all checks.
    Accepted,
    /// It is kept, but not shown and not built upon. As state it counts where others build upon it.
    SoftFailed(SoftFailed),
    /// It is kept and marked, so that what names it can be judged; it never is part of a state.
    Rejected(Rejected),
}

/// An event with its verdict, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedPdu {
    /// The event, in the form that is kept.
    pub event: Pdu,
    /// How much of it is kept.
    pub form: Form,
    /// What the checks made of it.
    pub verdict: Verdict,
}

impl JudgedPdu {
    /// Whether the event, being a state event, changes the state after it.
    pub const fn may_change_state(&self) -> bool {
        !matches!(self.verdict, Verdict::Rejected(_))
    }

    /// Whether the event is shown to clients, and new events may follow it.
    pub const fn is_accepted(&self) -> bool {
        matches!(self.verdict, Verdict::Accepted)
    }

    /// This event, soft-failed for a reason that is not in the state, unless there is a reason against it already.
    #[must_use]
    pub fn soft_fail(mut self, reason: SoftFailed) -> Self {
        if self.is_accepted() {
            self.verdict = Verdict::SoftFailed(reason);
        }
        self
    }
}

/// An event that has the signatures that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPdu {
    event: Pdu,
    form: Form,
    /// What is known of the signature for a restricted join, a matter of the rules.
    authorising: Result<(), Rejected>,
}

impl VerifiedPdu {
    pub(super) const fn new(event: Pdu, form: Form, authorising: Result<(), Rejected>) -> Self {
        Self { event, form, authorising }
    }

    /// The event in the form that is kept.
    pub const fn event(&self) -> &Pdu {
        &self.event
    }

    /// The events that the next step needs: `auth_events`, each once, and since version 12 the create event of the room.
    pub fn needed_events(&self) -> Vec<OwnedEventId> {
        if self.event.event_type() == "m.room.create" {
            return Vec::new();
        }
        let mut needed: Vec<OwnedEventId> = Vec::with_capacity(self.event.auth_events().len() + 1);
        for event_id in self.event.auth_events().iter().cloned().chain(create_named_by_room(&self.event)) {
            if !needed.contains(&event_id) {
                needed.push(event_id);
            }
        }
        needed
    }

    /// Ends here, for an event that cannot be right whatever permits it.
    pub fn reject(self, reason: Rejected) -> JudgedPdu {
        JudgedPdu { event: self.event, form: self.form, verdict: Verdict::Rejected(reason) }
    }

    /// Checks the event against the events that it says permit it.
    ///
    /// `lookup` finds the [needed events](Self::needed_events), which must have passed this step themselves.
    /// An event that cannot be had by then permits nothing.
    ///
    /// # Errors
    /// The event, rejected.
    pub fn check_auth_events<'a>(
        self,
        lookup: impl Fn(&EventId) -> Option<AuthEvent<'a>>,
    ) -> Result<PermittedPdu, JudgedPdu> {
        let Self { event, form, authorising } = self;
        match authorising.and_then(|()| check_against_auth_events(&event, lookup)) {
            Ok(()) => Ok(PermittedPdu { event, form }),
            Err(reason) => Err(JudgedPdu { event, form, verdict: Verdict::Rejected(reason) }),
        }
    }
}

fn check_against_auth_events<'a>(
    event: &Pdu,
    lookup: impl Fn(&EventId) -> Option<AuthEvent<'a>>,
) -> Result<(), Rejected> {
    if event.event_type() == "m.room.create" {
        return check(event, &AuthState::new()).map_err(Rejected::AuthEvents);
    }
    let find = |event_id: &OwnedEventId| {
        lookup(event_id).ok_or_else(|| Rejected::UnknownAuthEvent { event_id: event_id.clone() })
    };
    let auth_events = event.auth_events().iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let create = create_named_by_room(event).map(|event_id| find(&event_id)).transpose()?;
    check_auth_events(event, &auth_events, create).map_err(Rejected::AuthEvents)?;
    let state: AuthState = auth_events.iter().chain(&create).map(|found| found.event.clone()).collect();
    check(event, &state).map_err(Rejected::AuthEvents)
}

/// Since version 12 the [ID of a room](https://spec.matrix.org/v1.19/rooms/v12/#event-format-1) is that of its create
/// event.
fn create_named_by_room(event: &Pdu) -> Option<OwnedEventId> {
    if !event.version().room_id_is_create_hash() {
        return None;
    }
    EventId::parse(format!("${}", event.room_id().as_str().trim_start_matches('!'))).ok()
}

/// An event that its `auth_events` permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermittedPdu {
    event: Pdu,
    form: Form,
}

impl PermittedPdu {
    /// The event in the form that is kept.
    pub const fn event(&self) -> &Pdu {
        &self.event
    }

    /// Checks the event against the state before it, which is made of the states after its `prev_events`.
    ///
    /// # Errors
    /// The event, rejected.
    pub fn check_state_before<S: StateLookup + ?Sized>(self, state: &S) -> Result<AllowedPdu, JudgedPdu> {
        let Self { event, form } = self;
        match check(&event, state) {
            Ok(()) => Ok(AllowedPdu { event, form }),
            Err(error) => Err(JudgedPdu { event, form, verdict: Verdict::Rejected(Rejected::StateBefore(error)) }),
        }
    }

    /// Ends here, for an event that is needed as evidence only and whose place in the room is not known.
    pub fn accept(self) -> JudgedPdu {
        JudgedPdu { event: self.event, form: self.form, verdict: Verdict::Accepted }
    }
}

/// An event that the state before it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPdu {
    event: Pdu,
    form: Form,
}

impl AllowedPdu {
    /// The event in the form that is kept.
    pub const fn event(&self) -> &Pdu {
        &self.event
    }

    /// Checks the event against the current state of the room.
    pub fn check_current_state<S: StateLookup + ?Sized>(self, state: &S) -> JudgedPdu {
        let verdict = match check(&self.event, state) {
            Ok(()) => Verdict::Accepted,
            Err(error) => Verdict::SoftFailed(SoftFailed::CurrentState(error)),
        };
        JudgedPdu { event: self.event, form: self.form, verdict }
    }

    /// Ends here, for an event of the past.
    pub fn accept(self) -> JudgedPdu {
        JudgedPdu { event: self.event, form: self.form, verdict: Verdict::Accepted }
    }
}
