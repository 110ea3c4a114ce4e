//! What appends come to, once their events have numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{EventSn, Position, UserSn};
use room_engine::auth_chain::IndexedEvent;
use room_engine::state_map::{Place, StateMap};

use super::{Append, EventNumber, NewEvent, StateEffect};
use crate::events::{Standing, StoredEvent};
use crate::{LogEntry, Membership, Tx};

/// What an append comes to, once its events have their numbers.
pub(super) struct NumberedAppend<'a> {
    pub(super) append: &'a Append,
    pub(super) events: Vec<NumberedEvent<'a>>,
    pub(super) effects: Vec<Effect>,
    /// The local users among those whose membership changes, if the log tells of no others.
    pub(super) local_users: Option<HashSet<UserSn>>,
}

/// An event, as it is shown and with the state after it.
pub(super) struct NumberedEvent<'a> {
    pub(super) event: &'a NewEvent,
    pub(super) stored: Arc<StoredEvent>,
    pub(super) state: StateMap,
    /// Its position in the log; for a former outlier that is not its number.
    pub(super) position: Position,
}

/// A change of the current state, and its position in the log.
pub(crate) struct Effect {
    pub(crate) position: Position,
    pub(crate) place: Place,
    pub(crate) event_sn: Option<EventSn>,
    pub(crate) replaces: Option<EventSn>,
    pub(crate) membership: Option<(UserSn, Membership)>,
    /// Whether the user was in the room before and still is: only the profile has changed.
    pub(crate) stays_joined: bool,
}

impl Effect {
    pub(crate) fn of_resolution(effect: &StateEffect, position: Position) -> Self {
        let StateEffect { place, replaces, membership, membership_before, .. } = *effect;
        let stays_joined =
            membership_before == Some(Membership::Join) && matches!(membership, Some((_, Membership::Join)));
        let event_sn = effect.event.as_ref().map(EventNumber::sn);
        Self { position, place, event_sn, replaces, membership, stays_joined }
    }
}

impl NumberedAppend<'_> {
    /// The state events that can be in auth chains. A rejected event permits nothing, and its auth events may be events that cannot be in
    /// auth chains. A former outlier has its place there.
    pub(super) fn indexed_events(&self) -> impl Iterator<Item = IndexedEvent> {
        let is_new = |event: &NewEvent| !event.arrival.was_outlier;
        let can_permit = move |event: &NewEvent| {
            event.state_key_sn.is_some() && event.standing != Standing::Rejected && is_new(event)
        };
        self.events.iter().filter(move |numbered| can_permit(numbered.event)).map(|numbered| IndexedEvent {
            event_sn: numbered.stored.sn,
            auth_events: numbered.event.auth_events.iter().map(EventNumber::sn).collect(),
            replaces: numbered.event.previous_in_chain.as_ref().map(EventNumber::sn),
        })
    }

    /// Publishes the events that are shown, and the changes of the state that no shown event makes.
    pub(super) fn publish(self, tx: &mut Tx) {
        let Self { append, events, effects, local_users } = self;
        let room_sn = append.room_sn;
        let mut by_position: HashMap<Position, &Effect> = effects.iter().map(|it| (it.position, it)).collect();
        for NumberedEvent { event, stored, position, .. } in events {
            if !event.is_news() {
                continue;
            }
            if by_position.remove(&position).is_some() || event.state_key_sn.is_none() {
                tx.publish(LogEntry::Event(stored));
            } else {
                // It lost against another event: followers must not take it for a change of the state.
                tx.publish(LogEntry::Event(Arc::new(StoredEvent { membership: None, ..(*stored).clone() })));
                tx.publish(LogEntry::StateResolved { position, room_sn, membership: None });
            }
        }
        for effect in by_position.into_values() {
            let Effect { position, membership, .. } = *effect;
            let is_told = local_users
                .as_ref()
                .is_none_or(|local| membership.is_some_and(|(user_sn, _)| local.contains(&user_sn)));
            if !is_told {
                continue;
            }
            tx.publish(LogEntry::StateResolved { position, room_sn, membership });
        }
    }
}
