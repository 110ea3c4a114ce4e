//! The append by which this server enters a room.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeserver_core::{EventSn, Timestamp, TypeSn, UserSn};
use room_engine::state_map::{Place, StateMap};
use room_engine::{Membership, Pdu};
use storage::{
    Append, Arrival, EventNames, EventNumber, NewEvent, RoomHead, Standing, StateBefore, StateEffect, Step,
    StorageError, Tx, Unread, later_version,
};
use tasks::queue::Job as _;

use super::super::event_context::is_placeless;
use super::CheckedImport;
use crate::jobs::CompleteRoomState;
use crate::resolving::{Resolver, RoomIdentity};
use crate::timeline::ATTEMPTS;
use crate::{RoomError, Timeline};

/// So many servers are asked for the rest of a state that was told in part.
const MAX_ASKED: usize = 50;

/// What the room is when this server is in it.
struct Entry<'a> {
    checked: &'a CheckedImport,
    names: EventNames,
    /// The state before the member event.
    told: BTreeMap<Place, EventNumber>,
    /// The memberships of the told state, by place.
    memberships: BTreeMap<Place, (UserSn, Membership)>,
    own_place: Place,
    number: EventNumber,
}

impl Timeline {
    /// Appends the member event, with the state that was told before it.
    pub(super) async fn enter(&self, room: &RoomIdentity, checked: &CheckedImport) -> Result<(), RoomError> {
        let entry = self.entry(checked).await?;
        for _ in 0..ATTEMPTS {
            let open = self.open_to_enter(room.room_sn).await?;
            if let Some(known) = self.stored_member(room, &checked.member).await? {
                return match known.is_followed() {
                    true => Ok(()),
                    false => Err(super::invalid("the event by which the user joins is known, and not allowed")),
                };
            }
            let head = self.database().room_head(room.room_sn).await?;
            let append = self.append_of_entry(room, &entry, head.as_ref()).await?;
            match open.append(append).await {
                Err(RoomError::Contended) => {}
                outcome => return outcome,
            }
        }
        Err(RoomError::Contended)
    }

    async fn stored_member(&self, room: &RoomIdentity, member: &Pdu) -> Result<Option<Standing>, RoomError> {
        let ids = [member.event_id().to_string()];
        let found = self.database().graph_events_by_id(room.room_sn, &ids).await?;
        Ok(found.first().map(|event| event.standing))
    }

    async fn entry<'a>(&self, checked: &'a CheckedImport) -> Result<Entry<'a>, RoomError> {
        let pdus = checked.evidence_at().map(|(.., event)| &event.pdu).chain(std::iter::once(&checked.member));
        let names = self.names_of(&pdus.collect::<Vec<_>>()).await?;
        let (mut told, mut memberships) = (BTreeMap::new(), BTreeMap::new());
        for (kind, key, event) in checked.evidence_at() {
            let place = place_of(&names, kind, key)?;
            told.insert(place, event.number.clone());
            memberships.extend(membership_of(&names, &event.pdu).map(|membership| (place, membership)));
        }
        let member = &checked.member;
        let own_place = place_of(&names, member.event_type(), member.state_key().unwrap_or_default())?;
        if checked.is_partial
            && let Some(previous) = checked.batch.previous_in_chain(member)
        {
            // What the user was before, such as invited, was left out like all members.
            told.entry(own_place).or_insert_with(|| previous.number.clone());
        }
        Ok(Entry { checked, names, told, memberships, own_place, number: EventNumber::default() })
    }

    async fn append_of_entry(
        &self,
        room: &RoomIdentity,
        entry: &Entry<'_>,
        head: Option<&RoomHead>,
    ) -> Result<Append, RoomError> {
        let resolver = Resolver { database: self.database(), interned: self.interned(), room };
        let current = head.and_then(|head| head.state).unwrap_or(StateMap::EMPTY);
        let entries = self.database().with_chunks(|chunks| current.iter(chunks)).await?;
        let current_entries: BTreeMap<Place, EventSn> = entries.collect();
        let effects = entry.effects(&resolver, &current_entries).await?;
        let expected_version = head.map_or(0, |head| head.version);
        let is_joined = |membership| entry.count_after(membership);
        let before = head.map(RoomHead::known_members);
        let was_partial = head.is_some_and(|head| head.state_whole_since.is_none());
        Ok(Append {
            room_sn: room.room_sn,
            room_version: room.version.as_str().into(),
            expected_version,
            new_version: later_version(expected_version),
            events: vec![entry.member_event(&resolver, current, &current_entries).await?],
            resolved: Some(effects),
            extremities: Some(vec![entry.number.clone()]),
            transaction: None,
            joined_change: is_joined(Membership::Join) - before.map_or(0, |count| count.joined),
            invited_change: is_joined(Membership::Invite) - before.map_or(0, |count| count.invited),
            also: Some(mark_of(room, entry, was_partial, self.clock().now())),
            is_entry: true,
        })
    }
}

/// Writes down that the room is entered, and how much is known of the state. The rest of a part is learnt by a job.
fn mark_of(room: &RoomIdentity, entry: &Entry<'_>, was_partial: bool, now: Timestamp) -> Box<dyn Step> {
    let (room_sn, checked, number) = (room.room_sn, entry.checked, entry.number.clone());
    let depth = checked.member.depth();
    if !checked.is_partial {
        return Box::new(async move |tx: &mut Tx| {
            tx.note_entry(room_sn, number.sn(), depth).await?;
            if was_partial { tx.mark_state_whole(room_sn).await } else { Ok(()) }
        });
    }
    let asked = checked.servers.iter().take(MAX_ASKED).cloned().collect();
    let job = CompleteRoomState { room_id: room.room_id.clone(), servers: asked };
    let servers: Vec<String> = checked.servers.iter().map(ToString::to_string).collect();
    Box::new(async move |tx: &mut Tx| {
        tx.note_entry(room_sn, number.sn(), depth).await?;
        tx.note_partial_entry(room_sn, number.sn(), &servers).await?;
        job.schedule(tx, now).await.map(drop)
    })
}

impl Entry<'_> {
    /// What the current state becomes, place by place.
    async fn effects(
        &self,
        resolver: &Resolver<'_>,
        current: &BTreeMap<Place, EventSn>,
    ) -> Result<Vec<StateEffect>, RoomError> {
        let mut after: BTreeMap<Place, Option<EventNumber>> = current.keys().map(|place| (*place, None)).collect();
        after.extend(self.told.iter().map(|(place, number)| (*place, Some(number.clone()))));
        after.insert(self.own_place, Some(self.number.clone()));
        after.retain(|place, number| {
            let was = current.get(place).copied();
            was != number.as_ref().map(EventNumber::sn)
        });
        let before: Vec<EventSn> = after.keys().filter_map(|place| current.get(place)).copied().collect();
        let before = resolver.memberships_of(&before).await?;
        let mut effects = Vec::with_capacity(after.len());
        for (place, event) in after {
            let replaces = current.get(&place).copied();
            let membership = match (&event, self.membership_after(place)) {
                (Some(_), membership) => membership,
                (None, _) => match resolver.member_at(place).await? {
                    Some(user_id) => Some((resolver.interned.user(user_id.as_str()).await?, Membership::Leave)),
                    None => None,
                },
            };
            let membership_before = replaces.and_then(|sn| before.get(&sn)).copied();
            effects.push(StateEffect { place, event, replaces, membership, membership_before });
        }
        Ok(effects)
    }

    /// The user whose member event is at a place, and the membership, once the user has joined.
    fn membership_after(&self, place: Place) -> Option<(UserSn, Membership)> {
        if place == self.own_place {
            return membership_of(&self.names, &self.checked.member);
        }
        self.memberships.get(&place).copied()
    }

    fn count_after(&self, which: Membership) -> i64 {
        let others = self.memberships.iter().filter(|(place, _)| **place != self.own_place).map(|(_, it)| it.1);
        let own = membership_of(&self.names, &self.checked.member).map(|(_, membership)| membership);
        i64::try_from(others.chain(own).filter(|membership| *membership == which).count()).unwrap_or(i64::MAX)
    }

    async fn member_event(
        &self,
        resolver: &Resolver<'_>,
        current: StateMap,
        current_entries: &BTreeMap<Place, EventSn>,
    ) -> Result<NewEvent, RoomError> {
        let (pdu, batch) = (&self.checked.member, &self.checked.batch);
        let told: BTreeMap<Place, EventSn> = self.told.iter().map(|(place, number)| (*place, number.sn())).collect();
        let before = StateBefore { base: current, changes: super::super::told_state::changes(current_entries, &told) };
        let replaces = resolver.event_at(&before, self.own_place).await?;
        let names: Vec<String> = pdu.prev_events().iter().map(ToString::to_string).collect();
        let found = resolver.database.graph_events_by_id(resolver.room.room_sn, &names).await?;
        // If nothing has happened since this server left, nothing is missing.
        let follows_gap = found.iter().filter(|event| !is_placeless(event)).count() < names.len();
        Ok(NewEvent {
            number: self.number.clone(),
            event_id: pdu.event_id().as_str().into(),
            type_sn: self.own_place.event_type,
            state_key_sn: Some(self.own_place.state_key),
            sender_sn: number_of(&self.names.users, pdu.sender().as_str())?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            client_json: pdu.client_json().clone(),
            federation_json: pdu.federation_json().clone(),
            // What is said in a room before a user came is unread for nobody, and neither is the coming.
            unread: Arc::new(Unread::default()),
            replaces: replaces.map(|event| (EventNumber::known(event.stored.sn), event.stored.client_json)),
            membership: membership_of(&self.names, pdu),
            redacts: None,
            standing: Standing::Accepted,
            auth_events: batch.auth_events_of(pdu).map(|event| event.number.clone()).collect(),
            previous_in_chain: batch.previous_in_chain(pdu).map(|event| event.number.clone()),
            state_before: Some(before),
            arrival: Arrival { follows_gap, ..Arrival::default() },
        })
    }
}

fn number_of<N: Copy>(names: &std::collections::HashMap<Box<str>, N>, text: &str) -> Result<N, StorageError> {
    names.get(text).copied().ok_or_else(|| StorageError::Corrupt(format!("{text:?} has no number")))
}

fn place_of(names: &EventNames, event_type: &str, state_key: &str) -> Result<Place, StorageError> {
    let type_sn: TypeSn = number_of(&names.types, event_type)?;
    Ok(Place::new(type_sn, number_of(&names.keys, state_key)?))
}

fn membership_of(names: &EventNames, pdu: &Pdu) -> Option<(UserSn, Membership)> {
    let user_sn = *names.users.get(pdu.state_key()?)?;
    Some((user_sn, pdu.membership()?))
}
