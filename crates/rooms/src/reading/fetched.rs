//! What a reader may see of events that were fetched after later ones.
//!
//! Their positions in the log say nothing of the reader's membership when they were sent: the state that is stored with each
//! of them does.

use std::collections::HashMap;

use homeserver_core::{EventSn, KeySn, TypeSn};
use parking_lot::RwLock;
use room_engine::Membership;
use room_engine::state_map::Place;
use room_engine::visibility::{HistoryVisibility, Viewpoint};
use storage::{Database, Interned, StorageError, StoredEvent};

use super::access::Access;
use super::history::History;
use super::visibility::visibility_of;
use crate::wire;

/// What a reader sees of fetched events, as far as they were looked at.
#[derive(Default)]
pub(super) struct FetchedViews(RwLock<HashMap<EventSn, FetchedView>>);

#[derive(Clone, Copy)]
struct FetchedView {
    membership: Membership,
    is_visible: bool,
}

impl Access<'_> {
    /// Whether the reader may read the event. Fetched events must have been [looked at](Self::look_at).
    pub(super) fn may_see(&self, event: &StoredEvent) -> bool {
        match event.was_fetched() {
            true => self.fetched.0.read().get(&event.sn).is_some_and(|view| view.is_visible),
            false => self.visibility.may_see(event),
        }
    }

    /// The reader's membership after the event; `Leave` where it is not known.
    pub(super) fn membership_at(&self, event: &StoredEvent) -> Membership {
        match event.was_fetched() {
            true => self.fetched.0.read().get(&event.sn).map_or(Membership::Leave, |view| view.membership),
            false => self.visibility.membership_at(event),
        }
    }

    /// Finds out what the reader may see of those of the events that were fetched.
    pub(super) async fn look_at(
        &self,
        database: &Database,
        interned: &Interned,
        events: &[StoredEvent],
    ) -> Result<(), StorageError> {
        let fetched: HashMap<EventSn, &StoredEvent> =
            events.iter().filter(|event| event.was_fetched()).map(|event| (event.sn, event)).collect();
        if fetched.is_empty() {
            return Ok(());
        }
        let empty_key = interned.find_key("").await?;
        let own_key = interned.find_key(self.requester.user_id.as_str()).await?;
        let visibility_type = interned.find_type("m.room.history_visibility").await?;
        let member_type = interned.find_type("m.room.member").await?;
        let visibility = visibility_type.zip(empty_key).map(|(event_type, key)| Place::new(event_type, key));
        let member = member_type.zip(own_key).map(|(event_type, key)| Place::new(event_type, key));
        let places: Vec<Place> = [visibility, member].into_iter().flatten().collect();

        let sns: Vec<i64> = fetched.keys().map(|sn| sn.0).collect();
        let states = database.states_after(&sns).await?;
        let found = database
            .with_chunks(|chunks| {
                states
                    .iter()
                    .map(|(sn, state)| Ok((*sn, state.get_many(chunks, &places)?)))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let mut named: Vec<i64> = found.iter().flat_map(|(_, found)| found.iter().flatten()).map(|sn| sn.0).collect();
        named.sort_unstable();
        named.dedup();
        let named = database.events(&named).await?;
        let named: HashMap<EventSn, &StoredEvent> = named.iter().map(|event| (event.sn, event)).collect();
        let mut views = self.fetched.0.write();
        for (sn, found) in found {
            let at = |place: Option<Place>| {
                let index = places.iter().position(|it| Some(*it) == place)?;
                named.get(&found.get(index).copied().flatten()?).copied()
            };
            if let Some(event) = fetched.get(&sn) {
                let joined_later = self.visibility.joined_after(event.order.position());
                views.insert(sn, FetchedView::of(event, at(visibility), at(member), joined_later));
            }
        }
        Ok(())
    }
}

impl History {
    /// The state after a fetched event: all of it, or if `members` are given, those of these state keys alone among the members.
    pub(super) async fn state_after_fetched(
        &self,
        event: &StoredEvent,
        member_type: TypeSn,
        members: Option<&[i64]>,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let Some((_, state)) = self.database.states_after(&[event.sn.0]).await?.pop() else { return Ok(Vec::new()) };
        let entries = self.database.with_chunks(|chunks| state.iter(chunks)).await?;
        let is_wanted = |place: &Place| match members {
            Some(keys) => place.event_type != member_type || keys.contains(&place.state_key.0),
            None => true,
        };
        let sns: Vec<i64> = entries.filter(|(place, _)| is_wanted(place)).map(|(_, sn)| sn.0).collect();
        self.database.events(&sns).await
    }

    /// The member events of these state keys in the state after a fetched event.
    pub(super) async fn members_after_fetched(
        &self,
        event: &StoredEvent,
        member_type: TypeSn,
        keys: &[i64],
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let Some((_, state)) = self.database.states_after(&[event.sn.0]).await?.pop() else { return Ok(Vec::new()) };
        let places: Vec<Place> = keys.iter().map(|key| Place::new(member_type, KeySn(*key))).collect();
        let found = self.database.with_chunks(|chunks| state.get_many(chunks, &places)).await?;
        let sns: Vec<i64> = found.into_iter().flatten().map(|sn| sn.0).collect();
        self.database.events(&sns).await
    }
}

impl FetchedView {
    /// The view of an event, in whose state these are the visibility and the reader's member event.
    fn of(
        event: &StoredEvent,
        visibility: Option<&StoredEvent>,
        member: Option<&StoredEvent>,
        joined_later: bool,
    ) -> Self {
        let visibility_after =
            visibility.map_or(HistoryVisibility::Shared, |visibility| visibility_of(&visibility.client_json));
        let membership_after = member.map_or(Membership::Leave, |member| membership_of(&member.client_json));
        // An event that changes one of them is in the state after it.
        let replaced = event.replaced_json.as_deref();
        let visibility_before = match visibility {
            Some(changed) if changed.sn == event.sn => replaced.map_or(HistoryVisibility::Shared, visibility_of),
            _ => visibility_after,
        };
        let membership_before = match member {
            Some(changed) if changed.sn == event.sn => replaced.map_or(Membership::Leave, membership_of),
            _ => membership_after,
        };
        let viewpoint =
            Viewpoint { visibility_before, visibility_after, membership_before, membership_after, joined_later };
        Self { membership: membership_after, is_visible: viewpoint.may_see() }
    }
}

/// The membership in a member event.
pub(crate) fn membership_of(client_json: &[u8]) -> Membership {
    let content = wire::member(client_json, "content").unwrap_or_default();
    let word = wire::member(content, "membership").and_then(room_engine::string_value);
    word.and_then(|word| Membership::parse(&word)).unwrap_or(Membership::Leave)
}
