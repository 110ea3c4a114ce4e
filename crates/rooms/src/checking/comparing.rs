//! Comparing the stored current state of a room with the derived one.

use std::collections::{BTreeMap, HashMap, HashSet};

use homeserver_core::{EventSn, UserSn};
use room_engine::state_map::Place;
use ruma::UserId;
use storage::{Database, EventNumber, Interned, Membership, RoomHead, RoomRepair, StateEffect};

use super::super::RoomError;
use super::super::resolving::{Resolver, RoomIdentity};
use super::deriving::Derived;
use super::{Finding, RoomReport};

/// Compares the current state of a room, and returns the repair of what differs.
pub(super) async fn compare(
    database: &Database,
    interned: &Interned,
    room: &RoomIdentity,
    derived: &Derived,
    report: &mut RoomReport,
) -> Result<RoomRepair, RoomError> {
    let database = database.overlaid(derived.chunks.clone());
    let stored = Stored { database: &database, interned, room };
    let head = database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
    let expected: BTreeMap<Place, EventSn> =
        database.with_chunks(|chunks| derived.current.iter(chunks)).await?.collect();
    let members = stored.members(&expected).await?;
    let effects = stored.current_state(&expected, &members, report).await?;
    let memberships = stored.memberships(&members, &effects, report).await?;
    let count = |which| i64::try_from(members.values().filter(|(it, _)| *it == which).count()).unwrap_or(i64::MAX);
    let (joined_count, invited_count) = (count(Membership::Join), count(Membership::Invite));
    check_head(&head, derived, joined_count, invited_count, report);
    Ok(RoomRepair {
        room_sn: room.room_sn,
        expected_version: derived.head_version,
        states: derived.states.clone(),
        standings: derived.standings.clone(),
        chunks: derived.current_chunks.clone(),
        current: derived.current,
        effects,
        memberships,
        extremities: derived.extremities.clone(),
        depth: derived.depth,
        joined_count,
        invited_count,
        is_completion: false,
    })
}

fn check_head(head: &RoomHead, derived: &Derived, joined_count: i64, invited_count: i64, report: &mut RoomReport) {
    let mut extremities = head.extremities.clone();
    extremities.sort_unstable();
    for (what, is_wrong) in [
        ("the current state", head.state != Some(derived.current)),
        ("the list of forward extremities", extremities != derived.extremities),
        ("the depth", head.depth != derived.depth),
        ("the number of joined members", head.known_members().joined != joined_count),
        ("the number of invited members", head.known_members().invited != invited_count),
    ] {
        if is_wrong {
            report.add(Finding::WrongHead { what });
        }
    }
}

type Members = HashMap<UserSn, (Membership, EventSn)>;

struct Stored<'a> {
    database: &'a Database,
    interned: &'a Interned,
    room: &'a RoomIdentity,
}

impl Stored<'_> {
    /// The memberships in the member events of a state.
    async fn members(&self, state: &BTreeMap<Place, EventSn>) -> Result<Members, RoomError> {
        let member_type = self.interned.event_type("m.room.member").await?;
        let of_members: Vec<EventSn> =
            state.iter().filter(|(place, _)| place.event_type == member_type).map(|(_, sn)| *sn).collect();
        let mut members = Members::with_capacity(of_members.len());
        for event in self.database.graph_events(&of_members).await? {
            let pdu = self.room.parse(&event)?;
            let user_id = pdu.state_key().and_then(|state_key| UserId::parse(state_key).ok());
            if let (Some(membership), Some(user_id)) = (pdu.membership(), user_id) {
                members.insert(self.interned.user(user_id.as_str()).await?, (membership, event.stored.sn));
            }
        }
        Ok(members)
    }

    /// The places where the table of the current state is wrong.
    async fn current_state(
        &self,
        expected: &BTreeMap<Place, EventSn>,
        members: &Members,
        report: &mut RoomReport,
    ) -> Result<Vec<StateEffect>, RoomError> {
        let stored = self.database.stored_current_state(self.room.room_sn).await?;
        let stored: BTreeMap<Place, EventSn> = stored.into_iter().collect();
        let mut places: Vec<Place> = expected.keys().chain(stored.keys()).copied().collect();
        places.sort_unstable();
        places.dedup();
        let resolver = Resolver { database: self.database, interned: self.interned, room: self.room };
        let mut effects = Vec::new();
        for place in places {
            let (is, should) = (stored.get(&place).copied(), expected.get(&place).copied());
            if is == should {
                continue;
            }
            let key = resolver.key(place).await?;
            let membership = self.membership_at(&key.event_type, &key.state_key, members).await?;
            if report.lists_more() {
                report.add(Finding::WrongCurrentState {
                    event_type: key.event_type,
                    state_key: key.state_key,
                    stored: self.event_id(is).await?,
                    expected: self.event_id(should).await?,
                });
            } else {
                report.more += 1;
            }
            let event = should.map(EventNumber::known);
            effects.push(StateEffect { place, event, replaces: is, membership, membership_before: None });
        }
        Ok(effects)
    }

    async fn membership_at(
        &self,
        event_type: &str,
        state_key: &str,
        members: &Members,
    ) -> Result<Option<(UserSn, Membership)>, RoomError> {
        let Some(user_id) = (event_type == "m.room.member").then(|| UserId::parse(state_key).ok()).flatten() else {
            return Ok(None);
        };
        let user_sn = self.interned.user(user_id.as_str()).await?;
        let membership = members.get(&user_sn).map_or(Membership::Leave, |(membership, _)| *membership);
        Ok(Some((user_sn, membership)))
    }

    async fn event_id(&self, sn: Option<EventSn>) -> Result<Option<Box<str>>, RoomError> {
        let found = self.database.graph_events(sn.as_slice()).await?.pop();
        Ok(found.map(|event| event.stored.event_id).or_else(|| sn.map(|sn| format!("event {sn}").into())))
    }

    /// The memberships that are wrong although the current state is right.
    async fn memberships(
        &self,
        members: &Members,
        effects: &[StateEffect],
        report: &mut RoomReport,
    ) -> Result<Vec<(UserSn, Membership, EventSn)>, RoomError> {
        let stored = self.database.stored_memberships(self.room.room_sn).await?;
        let stored: Members = stored.into_iter().map(|(user_sn, membership, sn)| (user_sn, (membership, sn))).collect();
        let in_effects: HashSet<UserSn> =
            effects.iter().filter_map(|effect| effect.membership).map(|(user_sn, _)| user_sn).collect();
        let remote = self.database.members_told_elsewhere(self.room.room_sn).await?;
        let is_excused = |user_sn: &UserSn| in_effects.contains(user_sn) || remote.contains(user_sn);
        let mut wrong = Vec::new();
        for (user_sn, (membership, event_sn)) in members {
            if stored.get(user_sn) != Some(&(*membership, *event_sn)) && !is_excused(user_sn) {
                wrong.push((*user_sn, *membership, *event_sn));
            }
        }
        for (user_sn, (membership, event_sn)) in &stored {
            let is_in = !matches!(membership, Membership::Leave | Membership::Ban);
            if is_in && !members.contains_key(user_sn) && !is_excused(user_sn) {
                wrong.push((*user_sn, Membership::Leave, *event_sn));
            }
        }
        wrong.sort_unstable_by_key(|(user_sn, ..)| *user_sn);
        for (user_sn, ..) in &wrong {
            report.add(Finding::WrongMembership { user_id: (*self.interned.user_id(*user_sn).await?).into() });
        }
        Ok(wrong)
    }
}
