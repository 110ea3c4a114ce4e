//! Filters that ask what relates to an event.

use std::collections::HashSet;

use accounts::filters::RoomEventFilter;
use homeserver_core::RoomSn;
use storage::{Database, Interned, RelatedBy, StorageError};

/// Which of some events of a room are related to as the filter wants, by their IDs; `None` if the filter does not ask that.
///
/// # Errors
/// [`StorageError`] if their relations cannot be read.
pub async fn related_by(
    database: &Database,
    interned: &Interned,
    filter: &RoomEventFilter,
    room_sn: RoomSn,
    events: &[String],
) -> Result<Option<HashSet<String>>, StorageError> {
    if !filter.asks_relations() {
        return Ok(None);
    }
    let senders = match &filter.related_by_senders {
        None => None,
        Some(users) => {
            let mut senders = Vec::new();
            for user_id in users.iter() {
                senders.extend(interned.find_user(user_id).await?.map(|user_sn| user_sn.0));
            }
            Some(senders)
        }
    };
    let rel_types = filter.related_by_rel_types.as_ref();
    let rel_types: Option<Vec<String>> = rel_types.map(|types| types.iter().map(ToString::to_string).collect());
    let by = RelatedBy { senders: senders.as_deref(), rel_types: rel_types.as_deref() };
    Ok(Some(database.events_related_by(room_sn, events, by).await?.into_iter().collect()))
}
