//! Entering a room by what another server told of it when a user of this server joined.

mod entry;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use homeserver_core::RoomSn;
use room_engine::auth::{AuthEvent, StateLookup};
use room_engine::receipt::{Dropped, KeyLookup, Verdict, VerifiedPdu};
use room_engine::{Pdu, RoomVersion};
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName};

use super::outliers::{Evidence, JudgedBatch};
use super::{OutlierReport, Reception, ToldStates};
use crate::resolving::RoomIdentity;
use crate::{RoomError, Timeline};

/// A room as another server told of it: the answer to `send_join`.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
#[derive(Clone, Debug)]
pub struct RoomImport {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub room_version: RoomVersion,
    /// The state before the member event; without most members if it `is_partial`.
    pub state: Vec<Bytes>,
    /// What permits the state and the member event.
    pub auth_chain: Vec<Bytes>,
    /// The member event by which a user of this server is in the room.
    pub member_event: Bytes,
    /// Whether members are missing from the state.
    pub is_partial: bool,
    /// The servers in the room, if the other server told them.
    pub servers_in_room: Vec<OwnedServerName>,
}

/// What came of a [`RoomImport`].
#[derive(Debug)]
pub struct Imported {
    /// The room.
    pub room_sn: RoomSn,
    /// The member event.
    pub event_id: OwnedEventId,
    /// What became of the state and its auth chain.
    pub report: OutlierReport,
}

/// The events of a state, by type and state key.
type ToldPlaces = BTreeMap<(Box<str>, Box<str>), OwnedEventId>;

/// An import whose events were checked.
struct CheckedImport {
    member: Pdu,
    verified_member: VerifiedPdu,
    batch: JudgedBatch,
    state: ToldPlaces,
    is_partial: bool,
    /// The servers in the room, as far as they were told.
    servers: Vec<OwnedServerName>,
}

impl Timeline {
    /// Makes a room of what another server told, or enters again a room that this server was in. Afterwards the user of the member event
    /// is in the room, the state is what was told, and new events follow the member event.
    ///
    /// Everything is checked before anything is stored. The events of the state and the auth chain come first, in several transactions;
    /// until the last one, which has the member event, nobody sees any of it. If other users of this server are in the room, the member
    /// event is received like any other, with the state that was told.
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if what was told is no room, [`RoomError::Forbidden`] if its rules do not let the user in, and [`RoomError`]
    /// if it cannot be stored.
    #[tracing::instrument(level = "debug", skip_all, fields(room_id = %import.room_id, events = import.state.len()))]
    pub async fn import_room<K: KeyLookup + Sync + ?Sized>(
        &self,
        import: &RoomImport,
        keys: &K,
    ) -> Result<Imported, RoomError> {
        let room_sn = self.interned().room(import.room_id.as_str()).await?;
        let head = self.database().room_head(room_sn).await?;
        if head.is_some_and(|head| *head.room_version != *import.room_version.as_str()) {
            return Err(invalid("its version is another one than that of the room as it is known here"));
        }
        let room = RoomIdentity { room_sn, room_id: import.room_id.clone(), version: import.room_version };
        let checked = self.check_import(&room, import, keys).await?;
        self.store_batch(&room, &checked.batch).await?;
        let event_id = checked.member.event_id().to_owned();
        if self.database().local_members(room_sn).await?.is_empty() {
            self.enter(&room, &checked).await?;
        } else {
            let told = ToldStates::before(checked.state.values().cloned().collect());
            // A part of a state says less than what is known here.
            let told = Some(&told).filter(|_| !checked.is_partial);
            match self.receive_in_turn(&room, checked.verified_member, told).await? {
                Reception::Stored(standing, _) | Reception::Known(standing) if standing.is_followed() => {}
                reception => {
                    return Err(RoomError::Forbidden(format!("The room does not let the user in: {reception:?}")));
                }
            }
        }
        Ok(Imported { room_sn, event_id, report: checked.batch.report })
    }

    async fn check_import<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        import: &RoomImport,
        keys: &K,
    ) -> Result<CheckedImport, RoomError> {
        let (version, room_id) = (room.version, &*room.room_id);
        let member = std::slice::from_ref(&import.member_event);
        let member = self.verify_all(version, room_id, member, keys).await?.pop();
        let verified_member = match member {
            Some(Ok(member)) if member.event().membership().is_some() => member,
            Some(Err(reason)) => return Err(invalid(reason)),
            _ => return Err(invalid("the event by which the user joins is no member event")),
        };
        let member = verified_member.event().clone();
        let state = self.verify_all(version, room_id, &import.state, keys).await?;
        let told = told_places(&state)?;
        let known: HashSet<&Bytes> = import.state.iter().collect();
        let chain: Vec<Bytes> = import.auth_chain.iter().filter(|json| !known.contains(json)).cloned().collect();
        let chain = self.verify_all(version, room_id, &chain, keys).await?;

        let all = || state.iter().chain(&chain);
        if let Some(Err(reason)) = all().find(|event| matches!(event, Err(Dropped::OtherRoom { .. }))) {
            return Err(invalid(reason));
        }
        let create = create_of(&told, all().flatten().map(VerifiedPdu::event))?;
        // The member event gets a place, and is no outlier.
        let is_other = |event: &Result<VerifiedPdu, Dropped>| {
            event.as_ref().map_or(true, |event| event.event().event_id() != member.event_id())
        };
        let events = state.into_iter().chain(chain).filter(is_other).collect();
        let mut batch = self.judge_batch(room, events, Some(&create)).await?;
        self.add_known(room, &mut batch, verified_member.needed_events()).await?;
        let is_of_state = |id: &OwnedEventId| batch.evidence.get(id).is_some_and(|event| !event.is_rejected);
        let state = told.into_iter().filter(|(_, id)| is_of_state(id)).collect();
        let servers = import.servers_in_room.clone();
        let is_partial = import.is_partial;
        let checked = CheckedImport { member, verified_member, batch, state, is_partial, servers };
        if !checked.state.values().any(|event_id| *event_id == create) {
            return Err(invalid("its create event is not allowed"));
        }
        checked.check_member()?;
        Ok(checked)
    }
}

fn invalid(reason: impl std::fmt::Display) -> RoomError {
    RoomError::Invalid(format!("What the other server told of the room cannot be used: {reason}"))
}

/// Where the events of a state are. Two in one place make no state.
fn told_places(state: &[Result<VerifiedPdu, Dropped>]) -> Result<ToldPlaces, RoomError> {
    let mut places = BTreeMap::new();
    for pdu in state.iter().flatten().map(VerifiedPdu::event) {
        let Some(state_key) = pdu.state_key() else {
            return Err(invalid(format_args!("{} is no state event", pdu.event_id())));
        };
        let event_id = pdu.event_id().to_owned();
        let other = places.insert((pdu.event_type().into(), state_key.into()), event_id.clone());
        if other.is_some_and(|other| other != event_id) {
            return Err(invalid(format_args!("it has two events of type {} in one place", pdu.event_type())));
        }
    }
    Ok(places)
}

/// The create event of the state, the only one among all events.
fn create_of<'a>(told: &ToldPlaces, mut events: impl Iterator<Item = &'a Pdu>) -> Result<OwnedEventId, RoomError> {
    let create = told.get(&("m.room.create".into(), "".into()));
    let create = create.ok_or_else(|| invalid("its state has no create event"))?;
    if events.any(|event| event.event_type() == "m.room.create" && event.event_id() != create) {
        return Err(invalid("there are two create events"));
    }
    Ok(create.clone())
}

/// The told state, as the rules look at it.
struct ImportedState<'a>(HashMap<(&'a str, &'a str), &'a Pdu>);

impl StateLookup for ImportedState<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.0.get(&(event_type, state_key)).copied()
    }
}

impl CheckedImport {
    fn evidence_at(&self) -> impl Iterator<Item = (&str, &str, &Evidence)> {
        self.state.iter().filter_map(|((kind, key), id)| Some((&**kind, &**key, self.batch.evidence.get(id)?)))
    }

    /// The rules must allow the member event.
    fn check_member(&self) -> Result<(), RoomError> {
        let verified = self.verified_member.clone();
        if let Some(missing) = verified.needed_events().iter().find(|id| !self.batch.evidence.contains_key(*id)) {
            return Err(invalid(format_args!("{missing}, which permits the user to join, is missing")));
        }
        let mut state: HashMap<(&str, &str), &Pdu> =
            self.evidence_at().map(|(kind, key, event)| ((kind, key), &event.pdu)).collect();
        if self.is_partial {
            // Of members who were left out, the member event says who matters.
            let named = self.batch.auth_events_of(&self.member).filter(|event| !event.is_rejected);
            for pdu in named.map(|event| &event.pdu).filter(|pdu| pdu.event_type() == "m.room.member") {
                state.entry(("m.room.member", pdu.state_key().unwrap_or_default())).or_insert(pdu);
            }
        }
        let state = ImportedState(state);
        let permitted = verified.check_auth_events(|event_id| {
            let Evidence { pdu, is_rejected, .. } = self.batch.evidence.get(event_id)?;
            Some(AuthEvent { event: pdu, rejected: *is_rejected })
        });
        let judged = match permitted.and_then(|permitted| permitted.check_state_before(&state)) {
            Ok(_) => return Ok(()),
            Err(judged) => judged,
        };
        match judged.verdict {
            Verdict::Rejected(reason) => {
                Err(RoomError::Forbidden(format!("The room does not let the user in: {reason}")))
            }
            Verdict::Accepted | Verdict::SoftFailed(_) => Ok(()),
        }
    }
}
