//! Redacted copies of events whose senders were deactivated with `erase`.
//!
//! A user who could read an event before the erasure still sees it whole. Every other user sees what a redaction would leave.
//! The stored event does not change.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use std::borrow::Borrow;
use std::collections::HashMap;

use homeserver_core::Position;
use room_engine::{RoomVersion, redact};
use storage::{Database, StoredEvent};

use super::Visibility;
use crate::RoomError;
use crate::wire::member;

/// Replaces events of erased users that the reader could not read before by redacted copies. `visibility` is the reader's
/// view of the room.
pub async fn redact_erased<E: Shown>(
    database: &Database,
    visibility: &Visibility,
    events: &mut [E],
) -> Result<(), RoomError> {
    redact_some(database, visibility, events, |_| true).await
}

/// As [`redact_erased`], for state events. Only member events are redacted, which are about their senders: newcomers need the
/// other state, such as the room's name.
pub async fn redact_erased_members<E: Shown>(
    database: &Database,
    visibility: &Visibility,
    state: &mut [E],
) -> Result<(), RoomError> {
    redact_some(database, visibility, state, is_member).await
}

/// Whether [`redact_erased_members`] has to look at the event.
#[must_use]
pub fn concerns_erased_member(event: &StoredEvent) -> bool {
    event.unsigned_erased_at.is_some() || (event.sender_erased_at.is_some() && is_member(event))
}

/// An event that is about to be shown, owned or shared.
pub trait Shown: Borrow<StoredEvent> + From<StoredEvent> {}

impl<E: Borrow<StoredEvent> + From<StoredEvent>> Shown for E {}

/// Redacts the events of erased users that are `is_redactable`, and the copies of such events in `unsigned` of others.
async fn redact_some<E: Shown>(
    database: &Database,
    visibility: &Visibility,
    events: &mut [E],
    is_redactable: fn(&StoredEvent) -> bool,
) -> Result<(), RoomError> {
    let mut views: HashMap<Position, Visibility> = HashMap::new();
    let mut is_hidden = |event: &StoredEvent, erased_at: Position| {
        let then = views.entry(erased_at).or_insert_with(|| visibility.as_of(erased_at));
        !(then.was_ever_joined() && then.may_see(event))
    };
    let mut version: Option<RoomVersion> = None;
    for entry in events {
        let event: &StoredEvent = (*entry).borrow();
        let hides_content = event.sender_erased_at.is_some_and(|at| is_redactable(event) && is_hidden(event, at));
        let hides_unsigned = event.unsigned_erased_at.is_some_and(|at| is_hidden(event, at));
        if !hides_content && !hides_unsigned {
            continue;
        }
        let version = match version {
            Some(version) => version,
            None => {
                let head = database.room_head(event.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
                *version.insert(head.room_version.parse()?)
            }
        };
        let mut copy = StoredEvent { replaced_json: None, ..event.clone() };
        if hides_content {
            copy.client_json = redact(version, &copy.client_json).into();
        }
        if hides_unsigned {
            copy.redacted_because = copy.redacted_because.map(|redaction| redact(version, &redaction).into());
        }
        *entry = copy.into();
    }
    Ok(())
}

fn is_member(event: &StoredEvent) -> bool {
    member(&event.client_json, "type") == Some(b"\"m.room.member\"")
}
