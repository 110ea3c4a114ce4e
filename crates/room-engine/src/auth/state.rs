//! The state that the rules look at.

use crate::Pdu;

/// A lookup into the state of a room.
pub trait StateLookup {
    /// The state event of the given type and state key.
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu>;
}

impl<S: StateLookup + ?Sized> StateLookup for &S {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        (**self).get(event_type, state_key)
    }
}

/// The few state events that one event needs. At most one of each type and state key counts, the last one added.
#[derive(Debug, Clone, Default)]
pub struct AuthState(Vec<Pdu>);

impl AuthState {
    /// The state of a room that does not exist yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a state event, in place of one of the same type and state key. Other events are passed over.
    pub fn insert(&mut self, event: Pdu) {
        let Some(state_key) = event.state_key() else { return };
        match self.0.iter_mut().find(|known| known.is_state(event.event_type(), state_key)) {
            Some(known) => *known = event,
            None => self.0.push(event),
        }
    }

    /// The events.
    pub fn events(&self) -> &[Pdu] {
        &self.0
    }
}

impl StateLookup for AuthState {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.0.iter().find(|event| event.is_state(event_type, state_key))
    }
}

impl Extend<Pdu> for AuthState {
    fn extend<I: IntoIterator<Item = Pdu>>(&mut self, events: I) {
        events.into_iter().for_each(|event| self.insert(event));
    }
}

impl FromIterator<Pdu> for AuthState {
    fn from_iter<I: IntoIterator<Item = Pdu>>(events: I) -> Self {
        let mut state = Self::new();
        state.extend(events);
        state
    }
}
