//! Which events a client's filter lets through.

use std::ops::Deref;

use accounts::filters::RoomEventFilter;
use rooms::reading::related_by;
use rooms::wire::member;
use storage::{StorageError, StoredEvent};

use super::{Pass, Providers};

impl Providers {
    /// The events of a timeline that the filter lets through and that are not from users whom the reader ignores.
    pub(crate) async fn filtered_timeline<E: Deref<Target = StoredEvent>>(
        &self,
        pass: &Pass<'_>,
        events: impl IntoIterator<Item = E>,
        room_id: &str,
    ) -> Result<Vec<E>, StorageError> {
        let wanted = events.into_iter().filter(|event| !pass.ignored.hides(event));
        self.filtered(pass.wants.timeline_filter(), wanted, room_id).await
    }

    /// The events that the filter lets through.
    pub(crate) async fn filtered<E: Deref<Target = StoredEvent>>(
        &self,
        filter: &RoomEventFilter,
        events: impl IntoIterator<Item = E>,
        room_id: &str,
    ) -> Result<Vec<E>, StorageError> {
        if !filter.includes_room(room_id) {
            return Ok(Vec::new());
        }
        let events: Vec<E> = events.into_iter().collect();
        let Some(room_sn) = events.first().map(|event| event.room_sn).filter(|_| !filter.is_open()) else {
            return Ok(events);
        };
        let ids: Vec<String> = match filter.asks_relations() {
            true => events.iter().map(|event| event.event_id.to_string()).collect(),
            false => Vec::new(),
        };
        let related = related_by(&self.database, &self.interned, filter, room_sn, &ids).await?;
        let mut wanted = Vec::new();
        for event in events {
            let is_related = related.as_ref().is_none_or(|related| related.contains(&*event.event_id));
            if is_related && self.passes(filter, &event).await? {
                wanted.push(event);
            }
        }
        Ok(wanted)
    }

    async fn passes(&self, filter: &RoomEventFilter, event: &StoredEvent) -> Result<bool, StorageError> {
        if let Some(wanted) = filter.contains_url {
            let content = member(&event.client_json, "content").unwrap_or_default();
            let has_url = member(content, "url").is_some_and(|url| url.starts_with(b"\""));
            if has_url != wanted {
                return Ok(false);
            }
        }
        if filter.events.is_open() {
            return Ok(true);
        }
        let event_type = self.interned.type_name(event.type_sn).await?;
        let sender = self.interned.user_id(event.sender_sn).await?;
        Ok(filter.events.includes(&event_type, &sender))
    }
}
