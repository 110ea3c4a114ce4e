//! Taking events of other servers into rooms.
//!
//! The checks are in [`room_engine::receipt`], whose steps are types; here is what they are given: the events that the new
//! one names, the states before it and now, and how the room's state and end change by it. Everything is worked out while
//! the room is locked and all of it is stored, so that the answer is written on exactly what it was worked out from.

mod current;
mod joining;
mod surroundings;

use homeserver_core::{Timestamp, UserSn};
use room_engine::auth::{AuthEvent, PowerLevels, may_redact};
use room_engine::receipt::{Dropped, JudgedPdu, KeyLookup, ReceivedPdu, Rejected, Verdict, VerifiedPdu};
use room_engine::state_map::{Place, StateMap};
use room_engine::{Pdu, RoomVersion, string_value};
use ruma::{OwnedEventId, RoomId, UserId};
use storage::{
    Append, EventNumber, Membership, NewEvent, Redaction, Standing, StateBefore, StateEffect, StorageError, Unread,
    later_version,
};

use self::current::Outcome;
pub(super) use self::joining::is_joint;
use self::surroundings::Surroundings;
use super::guests::{GUEST_ACCESS, with_removal_of_guests};
use super::open_room::redaction;
use super::resolving::{Resolver, RoomContext, Unstored};
use super::timeline::ATTEMPTS;
use super::{RoomError, Timeline};
use crate::wire::member;

/// What became of an event of another server.
#[derive(Debug)]
pub enum Reception {
    /// It is part of the room now, in this standing; with the reason if that is not the best one.
    Stored(Standing, Option<String>),
    /// It was here before, and is in this standing.
    Known(Standing),
    /// These events have to be taken in first.
    Missing(Vec<OwnedEventId>),
    /// It is not taken in at all.
    Dropped(Dropped),
}

impl Timeline {
    /// Takes an event of another server into a room: checks it, stores it with the state after it, and makes it the room's
    /// end or one of its ends.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is not known here, or what is stored cannot be read.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn receive<K: KeyLookup + Sync + ?Sized>(
        &self,
        room_id: &RoomId,
        json: &[u8],
        keys: &K,
    ) -> Result<Reception, RoomError> {
        let room_sn = self.find(room_id).await?;
        let head = self.database().room_head(room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let version: RoomVersion = head.room_version.parse()?;
        let context = RoomContext { room_sn, room_id: room_id.to_owned(), version };
        let verified = {
            let _permit = self.signature_checks().enter().await?;
            let received = ReceivedPdu::parse(version, Some(room_id), json);
            received.and_then(|received| received.verify(keys))
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(dropped) => return Ok(Reception::Dropped(dropped)),
        };
        for _ in 0..ATTEMPTS {
            match self.take_in(&context, verified.clone()).await {
                // An ID that was taken in the meantime is found the next time.
                Err(RoomError::Contended | RoomError::Storage(StorageError::Constraint(_))) => {}
                Ok((reception, ends)) => {
                    if ends >= joining::TOO_MANY_ENDS
                        && let Err(error) = self.join_ends(&context).await
                    {
                        // The event is stored all the same, and the next one is another occasion.
                        tracing::warn!(%error, %room_sn, "the ends of a room could not be joined");
                    }
                    return Ok(reception);
                }
                Err(error) => return Err(error),
            }
        }
        Err(RoomError::Contended)
    }

    /// Also tells how many ends the room has then, if that has changed.
    async fn take_in(&self, context: &RoomContext, verified: VerifiedPdu) -> Result<(Reception, usize), RoomError> {
        let room = self.open_settled(context.room_sn).await?;
        let database = self.database();
        let resolver = Resolver { database, interned: self.interned(), room: context };
        let head = database.room_head(context.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let around = match Surroundings::load(database, context, &head, &verified).await? {
            Surroundings::Known(standing) => return Ok((Reception::Known(standing), 0)),
            Surroundings::Missing(missing) => return Ok((Reception::Missing(missing), 0)),
            Surroundings::Dropped(reason) => return Ok((Reception::Dropped(reason), 0)),
            Surroundings::Here(around) => around,
        };
        let mut states: Vec<StateMap> = around.prev_events.iter().filter_map(|event| event.state).collect();
        if states.len() < around.prev_events.len() {
            return Err(context.corrupt("the state after one of its events is not known"));
        }
        // What follows nothing was rejected, and is no branch of the room: everything would be in conflict with it.
        states.retain(|state| *state != StateMap::EMPTY);
        let before = resolver.resolve(&states).await?;
        let judged = judge(&resolver, &around, verified, &before, around.current).await?;
        let standing = match &judged.verdict {
            Verdict::Accepted if is_joint(&judged.event) => Standing::Hidden,
            Verdict::Accepted => Standing::Accepted,
            Verdict::SoftFailed(_) => Standing::SoftFailed,
            Verdict::Rejected(_) => Standing::Rejected,
        };
        let reason = match &judged.verdict {
            Verdict::Accepted => None,
            Verdict::SoftFailed(reason) => Some(reason.to_string()),
            Verdict::Rejected(reason) => Some(reason.to_string()),
        };
        let arrival = self.arrival(&resolver, &around, judged, standing, before).await?;
        let ends = arrival.extremities.as_ref().filter(|_| standing.is_followed()).map_or(0, Vec::len);
        room.append(arrival).await?;
        Ok((Reception::Stored(standing, reason), ends))
    }

    /// The event as it is to be stored, with what it does to the room.
    async fn arrival(
        &self,
        resolver: &Resolver<'_>,
        around: &surroundings::Here,
        judged: JudgedPdu,
        standing: Standing,
        before: StateBefore,
    ) -> Result<Append, RoomError> {
        let pdu = &judged.event;
        let number = EventNumber::default();
        let place = match pdu.state_key() {
            Some(state_key) => Some(Place::new(
                self.interned().event_type(pdu.event_type()).await?,
                self.interned().state_key(state_key).await?,
            )),
            None => None,
        };
        let unstored = place.filter(|_| standing != Standing::Rejected).map(|place| Unstored {
            pdu: pdu.clone(),
            place,
            auth_events: around.auth_events_of(pdu).iter().map(|event| event.stored.sn).collect(),
            previous_in_chain: around.previous_in_chain(pdu).map(|event| event.stored.sn),
        });
        let outcome = if standing.is_followed() {
            Outcome::of_accepted(resolver, around, &number, &before, unstored.as_ref()).await?
        } else {
            Outcome::unchanged(around)
        };
        let replaces = match place {
            Some(place) => resolver.event_at(&before, place).await?,
            None => None,
        };
        let unread = match standing {
            Standing::Accepted => self.evaluate_received(resolver.room, pdu).await?,
            _ => Unread::default(),
        };
        let event = NewEvent {
            number,
            event_id: pdu.event_id().as_str().into(),
            type_sn: self.interned().event_type(pdu.event_type()).await?,
            state_key_sn: place.map(|place| place.state_key),
            sender_sn: self.interned().user(pdu.sender().as_str()).await?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            client_json: pdu.client_json().clone(),
            federation_json: pdu.federation_json().clone(),
            unread: std::sync::Arc::new(unread),
            replaces: replaces.map(|event| (EventNumber::known(event.stored.sn), event.stored.client_json)),
            membership: self.membership_of(pdu).await?,
            redacts: if standing == Standing::Accepted { self.redaction_by(resolver, pdu).await? } else { None },
            standing,
            auth_events: around
                .auth_events_of(pdu)
                .iter()
                .filter(|_| place.is_some() && standing != Standing::Rejected)
                .map(|event| EventNumber::known(event.stored.sn))
                .collect(),
            previous_in_chain: around.previous_in_chain(pdu).map(|event| EventNumber::known(event.stored.sn)),
            state_before: Some(before),
        };
        let room_sn = resolver.room.room_sn;
        let keeps_guests_out = event.redacts.as_ref().is_some_and(|redaction| is_guest_access(&redaction.client_json))
            || self.changes_guest_access(&outcome.effects).await?;
        let now = self.clock().now();
        Ok(Append {
            room_sn,
            room_version: resolver.room.version.as_str().into(),
            expected_version: around.head_version,
            new_version: later_version(around.head_version),
            events: vec![event],
            resolved: Some(outcome.effects),
            extremities: Some(outcome.extremities),
            transaction: None,
            joined_change: outcome.joined_change,
            invited_change: outcome.invited_change,
            also: keeps_guests_out.then(|| with_removal_of_guests(room_sn, now, None)),
        })
    }

    /// Whether guests may have to leave, because the state that says so changes.
    async fn changes_guest_access(&self, effects: &[StateEffect]) -> Result<bool, RoomError> {
        let Some(type_sn) = self.interned().find_type(GUEST_ACCESS).await? else { return Ok(false) };
        Ok(effects.iter().any(|effect| effect.place.event_type == type_sn))
    }

    /// What the event redacts, if that is here and the sender may.
    async fn redaction_by(&self, resolver: &Resolver<'_>, pdu: &Pdu) -> Result<Option<Redaction>, RoomError> {
        let Some(target) = pdu.redacts().filter(|_| pdu.event_type() == "m.room.redaction") else { return Ok(None) };
        let room = resolver.room;
        let found = self.database().graph_events_by_id(room.room_sn, &[target.to_string()]).await?.pop();
        let Some(found) = found else { return Ok(None) };
        let target = room.parse(&found)?;
        let Some(create) = self.stored_state(room, "m.room.create").await? else { return Ok(None) };
        let levels = self.stored_state(room, "m.room.power_levels").await?;
        let levels = PowerLevels::new(&create, levels.as_ref())?;
        if !may_redact(&levels, pdu.sender(), target.sender()) {
            return Ok(None);
        }
        let number = EventNumber::known(found.stored.sn);
        Ok(Some(redaction(self.interned(), &target.redacted()?, number).await?))
    }

    /// The event in the room's current state with an empty state key.
    pub(crate) async fn stored_state(&self, room: &RoomContext, event_type: &str) -> Result<Option<Pdu>, RoomError> {
        let (Some(type_sn), Some(key_sn)) =
            (self.interned().find_type(event_type).await?, self.interned().find_key("").await?)
        else {
            return Ok(None);
        };
        let Some(stored) = self.database().state_pdu(room.room_sn, type_sn, key_sn).await? else { return Ok(None) };
        Ok(Some(room.parse_stored(&stored)?))
    }

    async fn membership_of(&self, pdu: &Pdu) -> Result<Option<(UserSn, Membership)>, RoomError> {
        let membership = pdu.membership().and_then(|it| Membership::from_word(it.as_str()));
        let user_id = pdu.state_key().and_then(|state_key| UserId::parse(state_key).ok());
        match (membership, user_id) {
            (Some(membership), Some(user_id)) => Ok(Some((self.interned().user(user_id.as_str()).await?, membership))),
            _ => Ok(None),
        }
    }
}

fn is_guest_access(client_json: &[u8]) -> bool {
    member(client_json, "type").and_then(string_value).as_deref() == Some(GUEST_ACCESS)
}

/// Has the rules decide about an event.
async fn judge(
    resolver: &Resolver<'_>,
    around: &surroundings::Here,
    verified: VerifiedPdu,
    before: &StateBefore,
    current: StateMap,
) -> Result<JudgedPdu, RoomError> {
    let pdu = verified.event().clone();
    if pdu.event_type() == "m.room.create" {
        return Ok(verified.reject(Rejected::SecondCreate));
    }
    let permitted = verified.check_auth_events(|event_id| {
        let (event, rejected) = around.parsed.get(event_id)?;
        Some(AuthEvent { event, rejected: *rejected })
    });
    let permitted = match permitted {
        Ok(permitted) => permitted,
        Err(rejected) => return Ok(rejected),
    };
    let state_before = resolver.auth_state(&pdu, before).await?;
    let allowed = match permitted.check_state_before(&state_before) {
        Ok(allowed) => allowed,
        Err(rejected) => return Ok(rejected),
    };
    let now = StateBefore { base: current, changes: Vec::new() };
    Ok(allowed.check_current_state(&resolver.auth_state(&pdu, &now).await?))
}
