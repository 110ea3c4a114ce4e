//! Receiving events of other servers.
//!
//! [`room_engine::receipt`] makes the checks, one type for each step. This module reads what they need (the events that
//! the new one names, the state before it and the current state) and stores the event with its effect on the room. The room
//! stays locked meanwhile, so that the event is stored on exactly the state that it was judged by.

mod appending;
mod current;
mod dummy_event;
mod event_context;

use room_engine::RoomVersion;
use room_engine::auth::AuthEvent;
use room_engine::receipt::{Dropped, JudgedPdu, KeyLookup, ReceivedPdu, Rejected, Verdict, VerifiedPdu};
use room_engine::state_map::StateMap;
use ruma::{OwnedEventId, RoomId};
use storage::{Standing, StateBefore, StorageError};

pub(super) use self::dummy_event::is_dummy;
use self::event_context::{EventContext, Lookup};
use super::resolving::{Resolver, RoomIdentity};
use super::timeline::ATTEMPTS;
use super::{RoomError, Timeline};

/// The outcome of receiving an event.
#[derive(Debug)]
pub enum Reception {
    /// The event is stored, with this standing; with the reason unless it was accepted.
    Stored(Standing, Option<String>),
    /// The event was stored before, with this standing.
    Known(Standing),
    /// These events must be received first.
    Missing(Vec<OwnedEventId>),
    /// The event is not stored.
    Dropped(Dropped),
}

impl Timeline {
    /// Receives an event of another server: checks it, stores it with the state after it, and makes it a forward extremity
    /// of the room.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is not known here, and others if the stored events cannot be read.
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
        let room = RoomIdentity { room_sn, room_id: room_id.to_owned(), version };
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
            match self.receive_verified(&room, verified.clone()).await {
                // The next attempt finds an event ID that was taken in the meantime.
                Err(RoomError::Contended | RoomError::Storage(StorageError::Constraint(_))) => {}
                Ok((reception, extremities)) => {
                    if extremities >= dummy_event::TOO_MANY_EXTREMITIES
                        && let Err(error) = self.merge_extremities(&room).await
                    {
                        // The event is stored all the same, and the next event tries again.
                        tracing::warn!(%error, %room_sn, "the forward extremities of a room were not merged");
                    }
                    return Ok(reception);
                }
                Err(error) => return Err(error),
            }
        }
        Err(RoomError::Contended)
    }

    /// Also returns the number of forward extremities, if the event changed it.
    async fn receive_verified(
        &self,
        room: &RoomIdentity,
        verified: VerifiedPdu,
    ) -> Result<(Reception, usize), RoomError> {
        let open = self.open_settled(room.room_sn).await?;
        let database = self.database();
        let resolver = Resolver { database, interned: self.interned(), room };
        let head = database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let context = match Lookup::load(database, room, &head, &verified).await? {
            Lookup::Known(standing) => return Ok((Reception::Known(standing), 0)),
            Lookup::Missing(missing) => return Ok((Reception::Missing(missing), 0)),
            Lookup::Dropped(reason) => return Ok((Reception::Dropped(reason), 0)),
            Lookup::Found(context) => context,
        };
        let mut states: Vec<StateMap> = context.prev_events.iter().filter_map(|event| event.state).collect();
        if states.len() < context.prev_events.len() {
            return Err(room.corrupt("the state after one of its events is not known"));
        }
        // An event that followed nothing was rejected, and its empty state would conflict with everything.
        states.retain(|state| *state != StateMap::EMPTY);
        let before = resolver.resolve(&states).await?;
        let judged = judge(&resolver, &context, verified, &before).await?;
        let (standing, reason) = match &judged.verdict {
            Verdict::Accepted if is_dummy(&judged.event) => (Standing::Hidden, None),
            Verdict::Accepted => (Standing::Accepted, None),
            Verdict::SoftFailed(reason) => (Standing::SoftFailed, Some(reason.to_string())),
            Verdict::Rejected(reason) => (Standing::Rejected, Some(reason.to_string())),
        };
        let append = self.append_of(&resolver, &context, &judged.event, standing, before).await?;
        let extremities = append.extremities.as_ref().filter(|_| standing.is_followed()).map_or(0, Vec::len);
        open.append(append).await?;
        Ok((Reception::Stored(standing, reason), extremities))
    }
}

/// Judges an event by the rules of its room.
async fn judge(
    resolver: &Resolver<'_>,
    context: &EventContext,
    verified: VerifiedPdu,
    before: &StateBefore,
) -> Result<JudgedPdu, RoomError> {
    let pdu = verified.event().clone();
    if pdu.event_type() == "m.room.create" {
        return Ok(verified.reject(Rejected::SecondCreate));
    }
    let permitted = verified.check_auth_events(|event_id| {
        let (event, rejected) = context.parsed.get(event_id)?;
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
    let current = StateBefore { base: context.current, changes: Vec::new() };
    Ok(allowed.check_current_state(&resolver.auth_state(&pdu, &current).await?))
}
