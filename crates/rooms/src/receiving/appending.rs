//! A received event as it is stored, with its effect on the room.

use std::sync::Arc;

use homeserver_core::{Timestamp, UserSn};
use room_engine::auth::{PowerLevels, may_redact};
use room_engine::state_map::Place;
use room_engine::{Membership, Pdu, string_value};
use ruma::UserId;
use storage::{
    Append, Arrival, EventNumber, NewEvent, Redaction, Standing, StateBefore, StateEffect, Unread, later_version,
};

use super::current::{OwnPlace, RoomEffect};
use super::event_context::EventContext;
use crate::guests::{GUEST_ACCESS, with_removal_of_guests};
use crate::open_room::redaction;
use crate::resolving::{Resolver, RoomIdentity, Unstored};
use crate::wire::member;
use crate::{RoomError, Timeline};

/// What a received event redacts.
pub(super) enum Redacts {
    Nothing,
    Stored(Redaction),
    /// An event that has not come yet.
    Awaited(Box<str>),
}

impl Redacts {
    fn awaited(&self) -> Option<Box<str>> {
        match self {
            Self::Awaited(target) => Some(target.clone()),
            Self::Nothing | Self::Stored(_) => None,
        }
    }

    fn stored(self) -> Option<Redaction> {
        match self {
            Self::Stored(redaction) => Some(redaction),
            Self::Nothing | Self::Awaited(_) => None,
        }
    }
}

impl Timeline {
    /// The append that stores the event and its effect on the room.
    pub(super) async fn append_of(
        &self,
        resolver: &Resolver<'_>,
        context: &EventContext,
        pdu: &Pdu,
        standing: Standing,
        before: StateBefore,
    ) -> Result<Append, RoomError> {
        let stored = context.outlier.as_ref().map(|event| event.stored.sn);
        let number = stored.map(EventNumber::known).unwrap_or_default();
        let place = self.place_of(pdu).await?;
        let own = place.filter(|_| standing != Standing::Rejected).map(|place| match stored {
            Some(sn) => OwnPlace::Stored(place, sn),
            None => OwnPlace::Unstored(Unstored {
                pdu: pdu.clone(),
                place,
                auth_events: context.auth_events_of(pdu).iter().map(|event| event.stored.sn).collect(),
                previous_in_chain: context.previous_in_chain(pdu).map(|event| event.stored.sn),
            }),
        });
        let effect = if standing.is_followed() {
            RoomEffect::of_accepted(resolver, context, &number, &before, own.as_ref()).await?
        } else {
            RoomEffect::none(context)
        };
        let event = self.new_event(resolver, context, pdu, standing, before, (number, place)).await?;
        let room_sn = resolver.room.room_sn;
        let keeps_guests_out = event.redacts.as_ref().is_some_and(|redaction| is_guest_access(&redaction.client_json))
            || self.changes_guest_access(&effect.effects).await?;
        let now = self.clock().now();
        let new_version = later_version(context.head_version);
        debug_assert!(new_version > context.head_version, "versions of a head grow");
        Ok(Append {
            room_sn,
            room_version: resolver.room.version.as_str().into(),
            expected_version: context.head_version,
            new_version,
            events: vec![event],
            resolved: Some(effect.effects),
            extremities: Some(effect.extremities),
            transaction: None,
            joined_change: effect.joined_change,
            invited_change: effect.invited_change,
            also: keeps_guests_out.then(|| with_removal_of_guests(room_sn, now, None)),
            is_entry: false,
        })
    }

    async fn new_event(
        &self,
        resolver: &Resolver<'_>,
        context: &EventContext,
        pdu: &Pdu,
        standing: Standing,
        before: StateBefore,
        (number, place): (EventNumber, Option<Place>),
    ) -> Result<NewEvent, RoomError> {
        let replaces = match place {
            Some(place) => resolver.event_at(&before, place).await?,
            None => None,
        };
        let is_accepted = standing == Standing::Accepted;
        let already = self.redacted_before(resolver.room, &[pdu]).await?.remove(pdu.event_id());
        let pdu = already.as_ref().map_or(pdu, |already| &already.pdu);
        let is_news = is_accepted && context.outlier.is_none();
        let unread = if is_news { self.evaluate_received(resolver.room, pdu).await? } else { Unread::default() };
        let redacts = if is_accepted { self.redaction_by(resolver, pdu).await? } else { Redacts::Nothing };
        let arrival = Arrival {
            was_outlier: context.outlier.is_some(),
            follows_gap: context.follows_gap,
            redacted_by: already.as_ref().map(|already| already.by.clone()),
            awaits: redacts.awaited(),
        };
        let known = |sn| EventNumber::known(sn);
        let auth_events = match place {
            Some(_) if standing != Standing::Rejected => context.auth_events_of(pdu),
            _ => Vec::new(),
        };
        Ok(NewEvent {
            number,
            event_id: pdu.event_id().as_str().into(),
            type_sn: self.interned().event_type(pdu.event_type()).await?,
            state_key_sn: place.map(|place| place.state_key),
            sender_sn: self.interned().user(pdu.sender().as_str()).await?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            client_json: pdu.client_json().clone(),
            federation_json: pdu.federation_json().clone(),
            unread: Arc::new(unread),
            replaces: replaces.map(|event| (known(event.stored.sn), event.stored.client_json)),
            membership: self.membership_of(pdu).await?,
            redacts: redacts.stored(),
            standing,
            auth_events: auth_events.into_iter().map(|event| known(event.stored.sn)).collect(),
            previous_in_chain: context.previous_in_chain(pdu).map(|event| known(event.stored.sn)),
            state_before: Some(before),
            arrival,
        })
    }

    /// The place of a state event in the room's state.
    pub(super) async fn place_of(&self, pdu: &Pdu) -> Result<Option<Place>, RoomError> {
        let Some(state_key) = pdu.state_key() else { return Ok(None) };
        let event_type = self.interned().event_type(pdu.event_type()).await?;
        Ok(Some(Place::new(event_type, self.interned().state_key(state_key).await?)))
    }

    /// Whether the state changes that says if guests may be in the room.
    async fn changes_guest_access(&self, effects: &[StateEffect]) -> Result<bool, RoomError> {
        let Some(type_sn) = self.interned().find_type(GUEST_ACCESS).await? else { return Ok(false) };
        Ok(effects.iter().any(|effect| effect.place.event_type == type_sn))
    }

    /// The redaction that the event makes, if the sender may redact its target.
    pub(super) async fn redaction_by(&self, resolver: &Resolver<'_>, pdu: &Pdu) -> Result<Redacts, RoomError> {
        let Some(target) = pdu.redacts().filter(|_| pdu.event_type() == "m.room.redaction") else {
            return Ok(Redacts::Nothing);
        };
        let room = resolver.room;
        let found = self.database().graph_events_by_id(room.room_sn, &[target.to_string()]).await?.pop();
        let Some(found) = found else { return Ok(Redacts::Awaited(target.as_str().into())) };
        let target = room.parse(&found)?;
        let Some(create) = self.stored_state(room, "m.room.create").await? else { return Ok(Redacts::Nothing) };
        let levels = self.stored_state(room, "m.room.power_levels").await?;
        let levels = PowerLevels::new(&create, levels.as_ref())?;
        if !may_redact(&levels, pdu.sender(), target.sender()) {
            return Ok(Redacts::Nothing);
        }
        let number = EventNumber::known(found.stored.sn);
        Ok(Redacts::Stored(redaction(self.interned(), &target, &target.redacted()?, number).await?))
    }

    /// The event of a type in the room's current state, with an empty state key.
    pub(crate) async fn stored_state(&self, room: &RoomIdentity, event_type: &str) -> Result<Option<Pdu>, RoomError> {
        let (Some(type_sn), Some(key_sn)) =
            (self.interned().find_type(event_type).await?, self.interned().find_key("").await?)
        else {
            return Ok(None);
        };
        let Some(stored) = self.database().state_pdu(room.room_sn, type_sn, key_sn).await? else { return Ok(None) };
        Ok(Some(room.parse_stored(&stored)?))
    }

    pub(super) async fn membership_of(&self, pdu: &Pdu) -> Result<Option<(UserSn, Membership)>, RoomError> {
        let user_id = pdu.state_key().and_then(|state_key| UserId::parse(state_key).ok());
        match (pdu.membership(), user_id) {
            (Some(membership), Some(user_id)) => Ok(Some((self.interned().user(user_id.as_str()).await?, membership))),
            _ => Ok(None),
        }
    }
}

fn is_guest_access(client_json: &[u8]) -> bool {
    member(client_json, "type").and_then(string_value).as_deref() == Some(GUEST_ACCESS)
}
