//! Events before they are built.

use room_engine::CanonicalObject;
use ruma::OwnedEventId;

/// An event that a user wants to send.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The event type.
    pub event_type: String,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: CanonicalObject,
    /// The event that it redacts.
    pub redacts: Option<OwnedEventId>,
}

impl Draft {
    /// A message or other event without a state key.
    #[must_use]
    pub fn message(event_type: impl Into<String>, content: CanonicalObject) -> Self {
        Self { event_type: event_type.into(), state_key: None, content, redacts: None }
    }

    /// A state event.
    #[must_use]
    pub fn state(event_type: impl Into<String>, state_key: impl Into<String>, content: CanonicalObject) -> Self {
        Self { event_type: event_type.into(), state_key: Some(state_key.into()), content, redacts: None }
    }
}
