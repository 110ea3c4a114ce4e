//! Values by type and state key.

use std::collections::HashMap;

use super::StatePlace;

/// A map by type and state key. Both come from other servers, hence the hasher that cannot be played.
#[derive(Debug, Clone)]
pub(super) struct StateTable<V>(HashMap<Box<str>, HashMap<Box<str>, V>>);

impl<V> StateTable<V> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn get(&self, event_type: &str, state_key: &str) -> Option<&V> {
        self.0.get(event_type)?.get(state_key)
    }

    pub(super) fn contains(&self, event_type: &str, state_key: &str) -> bool {
        self.get(event_type, state_key).is_some()
    }

    pub(super) fn insert(&mut self, event_type: &str, state_key: &str, value: V) {
        if let Some(known) = self.0.get_mut(event_type).and_then(|keys| keys.get_mut(state_key)) {
            *known = value;
        } else if let Some(keys) = self.0.get_mut(event_type) {
            keys.insert(state_key.into(), value);
        } else {
            self.0.insert(event_type.into(), HashMap::from([(state_key.into(), value)]));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, &V)> {
        self.0.iter().flat_map(|(event_type, keys)| {
            keys.iter().map(move |(state_key, value)| (event_type.as_ref(), state_key.as_ref(), value))
        })
    }

    /// The places, as they are asked for.
    pub(super) fn keys(&self) -> impl Iterator<Item = StatePlace> {
        self.iter().map(|(event_type, state_key, _)| StatePlace::new(event_type, state_key))
    }
}
