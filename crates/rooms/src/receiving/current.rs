//! The changes of a room's forward extremities and current state by a received event.

use std::collections::{BTreeMap, HashMap};

use homeserver_core::EventSn;
use room_engine::Membership;
use room_engine::state_map::{Place, StateMap};
use ruma::UserId;
use storage::{EventNumber, GraphEvent, StateBefore, StateEffect};

use super::super::RoomError;
use super::super::resolving::{Resolver, UNSTORED, Unstored};
use super::event_context::EventContext;

/// The most forward extremities of a room: a new event follows all of them, and it has at most 20 `prev_events`.
const MAX_EXTREMITIES: usize = 20;

/// A place of the current state, the event there before, and the event there now.
pub(super) type Change = (Place, Option<EventSn>, Option<EventSn>);

/// What a received event changes in its room.
pub(super) struct RoomEffect {
    pub(super) extremities: Vec<EventNumber>,
    pub(super) effects: Vec<StateEffect>,
    pub(super) joined_change: i64,
    pub(super) invited_change: i64,
}

/// Where a received state event is in the state after it.
pub(super) enum OwnPlace {
    /// It is not stored yet.
    Unstored(Unstored),
    /// It is stored with this number, and had no place in the room so far.
    Stored(Place, EventSn),
}

impl OwnPlace {
    fn unstored(&self) -> Option<&Unstored> {
        match self {
            Self::Unstored(unstored) => Some(unstored),
            Self::Stored(..) => None,
        }
    }

    fn entry(&self) -> (Place, Option<EventSn>) {
        match self {
            Self::Unstored(unstored) => (unstored.place, Some(UNSTORED)),
            Self::Stored(place, sn) => (*place, Some(*sn)),
        }
    }
}

impl RoomEffect {
    /// The effect of a rejected or soft-failed event: none.
    pub(super) fn none(context: &EventContext) -> Self {
        let extremities = context.extremities.iter().map(|event| EventNumber::known(event.stored.sn)).collect();
        Self { extremities, effects: Vec::new(), joined_change: 0, invited_change: 0 }
    }

    /// The effect of an accepted event: it is a forward extremity beside those that it does not follow, and the current
    /// state is resolved from all of them.
    pub(super) async fn of_accepted(
        resolver: &Resolver<'_>,
        context: &EventContext,
        number: &EventNumber,
        before: &StateBefore,
        own: Option<&OwnPlace>,
    ) -> Result<Self, RoomError> {
        let unstored = own.and_then(OwnPlace::unstored);
        let mut others: Vec<&GraphEvent> = context.other_extremities.iter().collect();
        // The oldest of too many extremities are given up: their events stay in the room, and no event is built on them.
        others.sort_unstable_by_key(|event| std::cmp::Reverse(event.stored.sn));
        others.truncate(MAX_EXTREMITIES - 1);
        let mut changes: BTreeMap<Place, Option<EventSn>> = before.changes.iter().copied().collect();
        changes.extend(own.map(OwnPlace::entry));
        let after = StateBefore { base: before.base, changes: changes.into_iter().collect() };
        let after = if others.is_empty() {
            after
        } else {
            // Of an event that is not stored, the resolver adds the place itself.
            let before = if unstored.is_some() { before } else { &after };
            resolver.resolve_extremities(&others, before, unstored).await?
        };
        let mut extremities: Vec<EventNumber> =
            others.iter().map(|event| EventNumber::known(event.stored.sn)).collect();
        extremities.push(number.clone());
        let mut effect = Self { extremities, effects: Vec::new(), joined_change: 0, invited_change: 0 };
        let differences = resolver.differences(context.current, &after).await?;
        let memberships = resolver.memberships_by(&differences, unstored).await?;
        for difference in differences {
            effect.add(resolver, number, &memberships, difference).await?;
        }
        Ok(effect)
    }

    /// The effect of giving up forward extremities: the current state is resolved from those that are left.
    pub(super) async fn of_ends(
        resolver: &Resolver<'_>,
        current: StateMap,
        left: &[&GraphEvent],
    ) -> Result<Self, RoomError> {
        let states: Vec<StateMap> = left.iter().filter_map(|event| event.state).collect();
        if states.len() < left.len() {
            return Err(resolver.room.corrupt("the state after a forward extremity is not known"));
        }
        let after = resolver.resolve(&states).await?;
        let extremities = left.iter().map(|event| EventNumber::known(event.stored.sn)).collect();
        let mut effect = Self { extremities, effects: Vec::new(), joined_change: 0, invited_change: 0 };
        let differences = resolver.differences(current, &after).await?;
        let memberships = resolver.memberships_by(&differences, None).await?;
        for difference in differences {
            effect.add(resolver, &EventNumber::default(), &memberships, difference).await?;
        }
        Ok(effect)
    }

    async fn add(
        &mut self,
        resolver: &Resolver<'_>,
        number: &EventNumber,
        memberships: &HashMap<EventSn, Membership>,
        (place, was, is): Change,
    ) -> Result<(), RoomError> {
        let event = is.map(|sn| if sn == UNSTORED { number.clone() } else { EventNumber::known(sn) });
        let (mut membership, mut membership_before) = (None, None);
        if let Some(user_id) = resolver.member_at(place).await? {
            let before = was.and_then(|sn| memberships.get(&sn)).copied();
            let after = is.and_then(|sn| memberships.get(&sn)).copied().unwrap_or(Membership::Leave);
            let change = |which| i64::from(after == which) - i64::from(before == Some(which));
            self.joined_change += change(Membership::Join);
            self.invited_change += change(Membership::Invite);
            membership = Some((resolver.interned.user(user_id.as_str()).await?, after));
            membership_before = before;
        }
        self.effects.push(StateEffect { place, event, replaces: was, membership, membership_before });
        Ok(())
    }
}

impl Resolver<'_> {
    /// The state resolved from the other forward extremities and the new event.
    async fn resolve_extremities(
        &self,
        others: &[&GraphEvent],
        before: &StateBefore,
        unstored: Option<&Unstored>,
    ) -> Result<StateBefore, RoomError> {
        let states: Vec<StateMap> = others.iter().filter_map(|event| event.state).collect();
        if states.len() < others.len() {
            return Err(self.room.corrupt("the state after a forward extremity is not known"));
        }
        self.resolve_with(&states, before, unstored).await
    }

    /// The places where a state differs from the current one.
    pub(super) async fn differences(&self, current: StateMap, after: &StateBefore) -> Result<Vec<Change>, RoomError> {
        let base = after.base;
        let differences = self.database.with_chunks(|chunks| current.diff(base, chunks)).await?;
        let mut is: BTreeMap<Place, Option<EventSn>> = differences.iter().map(|it| (it.place, it.after)).collect();
        is.extend(after.changes.iter().copied());
        let places: Vec<Place> = is.keys().copied().collect();
        let was = self.database.with_chunks(|chunks| current.get_many(chunks, &places)).await?;
        let all = is.into_iter().zip(was).map(|((place, is), was)| (place, was, is));
        Ok(all.filter(|(_, was, is)| was != is).collect())
    }

    /// The user whose member event is at a place, if it is a place of member events.
    pub(super) async fn member_at(&self, place: Place) -> Result<Option<ruma::OwnedUserId>, RoomError> {
        if &*self.interned.type_name(place.event_type).await? != "m.room.member" {
            return Ok(None);
        }
        Ok(UserId::parse(&*self.interned.key_text(place.state_key).await?).ok())
    }

    /// The memberships in the member events among the differences.
    async fn memberships_by(
        &self,
        differences: &[Change],
        unstored: Option<&Unstored>,
    ) -> Result<HashMap<EventSn, Membership>, RoomError> {
        let mut sns = Vec::with_capacity(differences.len());
        for (place, was, is) in differences {
            if self.member_at(*place).await?.is_some() {
                sns.extend(was.iter().chain(is).copied().filter(|sn| *sn != UNSTORED));
            }
        }
        let mut memberships = HashMap::with_capacity(sns.len() + 1);
        memberships.extend(unstored.and_then(|unstored| Some((UNSTORED, unstored.pdu.membership()?))));
        memberships.extend(self.memberships_of(&sns).await?);
        Ok(memberships)
    }

    /// The memberships in stored member events; other events have none.
    pub(super) async fn memberships_of(&self, events: &[EventSn]) -> Result<HashMap<EventSn, Membership>, RoomError> {
        let mut memberships = HashMap::with_capacity(events.len());
        for event in self.database.graph_events(events).await? {
            memberships.extend(self.room.parse(&event)?.membership().map(|membership| (event.stored.sn, membership)));
        }
        Ok(memberships)
    }
}
