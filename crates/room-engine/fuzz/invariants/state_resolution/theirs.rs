//! What `ruma-state-res` makes of the same states.

use std::collections::HashMap;

use homeserver_core::EventSn;
use room_engine::{
    Membership, Pdu, RoomVersion,
    auth::{AuthState, check as check_rules},
    resolution::{ResolutionEvent, StatePlace},
};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId,
    events::{StateEventType, TimelineEventType},
    state_res::{self, Event, StateMap, utils::event_id_set::EventIdSet},
};
use serde_json::{Value, value::RawValue};

use super::room::{Room, State};

/// The resolved state, where both have the same idea of what is asked, and ruma has an answer.
pub(super) fn resolve(room: &Room, forks: &[State]) -> Option<State> {
    if !is_comparable(room, forks) {
        return None;
    }
    let foreign: HashMap<&EventId, Foreign> =
        room.events.values().map(|event| (event.pdu.event_id(), Foreign::new(event))).collect();
    let id = |sn: &EventSn| room.events[sn].pdu.event_id().to_owned();
    let number = |id: &EventId| foreign[id].event.sn;
    let maps: Vec<StateMap<OwnedEventId>> = forks
        .iter()
        .map(|fork| {
            let entries = fork.iter();
            entries
                .map(|(key, sn)| ((StateEventType::from(&*key.event_type), key.state_key.to_string()), id(sn)))
                .collect()
        })
        .collect();
    let chains: Vec<EventIdSet<OwnedEventId>> =
        forks.iter().map(|fork| room.closure(fork.values().copied()).iter().map(id).collect()).collect();
    let rules = room.version.rules();
    let resolved = state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules()?,
        &maps,
        chains,
        |id| foreign.get(id),
        |conflicted| {
            let ends = conflicted.values().flatten().map(|id| number(id)).collect();
            Some(room.between(&ends).iter().map(id).collect())
        },
    );
    let resolved = resolved.ok()?.into_iter();
    Some(
        resolved.map(|((event_type, key), id)| (StatePlace::new(&event_type.to_string(), &key), number(&id))).collect(),
    )
}

/// Whether the room is free of events on which the two are known to differ, and the specification does not decide: events that
/// no server would have accepted into the room.
fn is_comparable(room: &Room, forks: &[State]) -> bool {
    let below = room.closure(forks.iter().flat_map(State::values).copied());
    let is_plain = |sn: &EventSn| is_plain(room, &room.events[sn]);
    has_plain_create(room.create()) && below.iter().all(is_plain)
}

/// Ruma reads the create event again for each event, as far as that needs it.
fn has_plain_create(create: &Pdu) -> bool {
    let Ok(content) = create.create() else { return false };
    let federate = content_of(create)["m.federate"].clone();
    let names_creator = content.creator.is_some() || create.version() >= RoomVersion::V11;
    is_allowed(create) && names_creator && (federate.is_null() || federate.is_boolean())
}

fn is_plain(room: &Room, event: &ResolutionEvent) -> bool {
    let pdu = &event.pdu;
    let auth_events = || event.auth_events.iter().map(|sn| &room.events[sn]);
    let named = |event_type, key| auth_events().filter(move |auth_event| auth_event.pdu.is_state(event_type, key));
    let is_sound = match pdu.event_type() {
        // Ruma does not check them again.
        "m.room.create" => return is_allowed(pdu),
        "m.room.join_rules" => content_of(pdu)["join_rule"].is_string(),
        // Ruma looks at the levels that a decision needs, and not at others that are malformed.
        "m.room.power_levels" => event.rejected || pdu.power_levels().is_ok(),
        "m.room.member" => {
            let content = content_of(pdu);
            let is_null = |key| content.get(key).is_some_and(Value::is_null);
            // A room without join rules is closed, and to ruma one in which nothing can be decided.
            let is_first_join = pdu.prev_events().len() == 1 && pdu.sender() == room.create().sender();
            let needs_rules = !is_first_join && matches!(pdu.membership(), Some(Membership::Join | Membership::Knock));
            let has_rules = named("m.room.join_rules", "").any(|rules| !rules.rejected);
            content["membership"].is_string()
                && !is_null("join_authorised_via_users_server")
                && !is_null("third_party_invite")
                && (has_rules || !needs_rules)
        }
        _ => true,
    };
    // From several power levels, and without a create event, ruma takes the sender's level as it happens.
    let mut power_levels = named("m.room.power_levels", "");
    let has_sound_levels = power_levels.next().is_none_or(|first| first.pdu.power_levels().is_ok());
    let names_create = named("m.room.create", "").next().is_some() || room.version.room_id_is_create_hash();
    is_sound && names_create && has_sound_levels && power_levels.next().is_none()
}

fn is_allowed(create: &Pdu) -> bool {
    check_rules(create, &AuthState::new()).is_ok()
}

fn content_of(pdu: &Pdu) -> Value {
    serde_json::from_slice(pdu.content().as_bytes()).expect("contents are JSON")
}

/// An event as ruma wants it.
#[derive(Clone)]
struct Foreign<'a> {
    event: &'a ResolutionEvent,
    event_id: OwnedEventId,
    event_type: TimelineEventType,
    content: Box<RawValue>,
}

impl<'a> Foreign<'a> {
    fn new(event: &'a ResolutionEvent) -> Self {
        let content = String::from_utf8(event.pdu.content().as_bytes().to_vec()).expect("contents are texts");
        Self {
            event,
            event_id: event.pdu.event_id().to_owned(),
            event_type: event.pdu.event_type().into(),
            content: RawValue::from_string(content).expect("contents are JSON"),
        }
    }
}

impl Event for Foreign<'_> {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        let pdu = &self.event.pdu;
        let is_derived = pdu.version().room_id_is_create_hash() && pdu.event_type() == "m.room.create";
        (!is_derived).then(|| pdu.room_id())
    }

    fn sender(&self) -> &UserId {
        self.event.pdu.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::try_from(self.event.pdu.origin_server_ts()).expect("times are positive"))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.event.pdu.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.event.pdu.prev_events().iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.event.pdu.auth_events().iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        self.event.rejected
    }
}
