//! Receiving events of other servers.
//!
//! [`room_engine::receipt`] makes the checks, one type for each step. This module reads what they need (the events that
//! the new one names, the state before it and the current state) and stores the event with its effect on the room. The room
//! stays locked meanwhile, so that the event is stored on exactly the state that it was judged by.

mod appending;
mod awaited;
mod backfilling;
mod completing;
mod current;
mod dummy_event;
mod event_context;
mod importing;
mod many;
mod outliers;
mod told_state;
mod unknown_senders;
mod verifying;

use room_engine::auth::{AuthEvent, AuthState};
use room_engine::receipt::{Dropped, JudgedPdu, KeyLookup, Rejected, Verdict, VerifiedPdu};
use ruma::{OwnedEventId, RoomId};
use storage::{KnownState, Standing, StateBefore, StorageError};

pub use self::backfilling::{Backfill, BackfillNeeds};
pub use self::completing::PartialEntry;
pub(super) use self::dummy_event::is_dummy;
pub(super) use self::event_context::is_placeless;
use self::event_context::{EventContext, Lookup};
pub use self::importing::{Imported, RoomImport};
pub use self::outliers::OutlierReport;
pub use self::told_state::{ToldState, ToldStates};
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
    Missing(Missing),
    /// The event is not stored.
    Dropped(Dropped),
}

/// Events that a received event names and that must be there before it is judged.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Those of its `prev_events` that have no place in the room here.
    pub prev_events: Vec<OwnedEventId>,
    /// Those of its `auth_events` that are not stored.
    pub auth_events: Vec<OwnedEventId>,
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
        let room = self.identity_of(room_id).await?;
        match self.verify(&room, json, keys).await? {
            Ok(verified) => self.receive_in_turn(&room, verified, None).await,
            Err(dropped) => Ok(Reception::Dropped(dropped)),
        }
    }

    /// What is needed to read the events of a room.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is not known here.
    pub async fn identity_of(&self, room_id: &RoomId) -> Result<RoomIdentity, RoomError> {
        let room_sn = self.find(room_id).await?;
        let head = self.database().room_head(room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        Ok(RoomIdentity { room_sn, room_id: room_id.to_owned(), version: head.room_version.parse()? })
    }

    /// Receives an event whose signatures were checked. `told`: of the state before it, if that does not follow from its `prev_events`.
    async fn receive_in_turn(
        &self,
        room: &RoomIdentity,
        verified: VerifiedPdu,
        told: Option<&ToldStates>,
    ) -> Result<Reception, RoomError> {
        for _ in 0..ATTEMPTS {
            match self.receive_verified(room, verified.clone(), told).await {
                // The next attempt finds an event ID that was taken in the meantime.
                Err(RoomError::Contended | RoomError::Storage(StorageError::Constraint(_))) => {}
                Ok((reception, extremities)) => {
                    if extremities >= dummy_event::TOO_MANY_EXTREMITIES
                        && let Err(error) = self.merge_extremities(room).await
                    {
                        // The event is stored all the same, and the next event tries again.
                        let room_sn = room.room_sn;
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
        told: Option<&ToldStates>,
    ) -> Result<(Reception, usize), RoomError> {
        let open = self.open_settled(room.room_sn).await?;
        let database = self.database();
        let resolver = Resolver { database, interned: self.interned(), room };
        let head = database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let context = match Lookup::load(database, room, &head, &verified, told.is_some()).await? {
            Lookup::Known(standing) => return Ok((Reception::Known(standing), 0)),
            Lookup::Missing(missing) => return Ok((Reception::Missing(missing), 0)),
            Lookup::Dropped(reason) => return Ok((Reception::Dropped(reason), 0)),
            Lookup::Found(context) => context,
        };
        let before = match told {
            // Where nothing is missing, the state is not a matter of what others tell.
            Some(told) if context.follows_gap => {
                resolver.told_states(context.current, told, context.states_before(room)?).await?
            }
            _ => resolver.state_before(&context).await?,
        };
        let is_partial = matches!(self.states().of(room.room_sn), KnownState::Partial(_));
        let judged = judge(&resolver, &context, verified, &before, is_partial).await?;
        let (standing, reason) = match &judged.verdict {
            Verdict::Accepted if is_dummy(&judged.event) => (Standing::Hidden, None),
            Verdict::Accepted => (Standing::Accepted, None),
            Verdict::SoftFailed(reason) => (Standing::SoftFailed, Some(reason.to_string())),
            Verdict::Rejected(reason) => (Standing::Rejected, Some(reason.to_string())),
        };
        let before = match is_partial && standing.is_followed() {
            true => resolver.with_sender(&judged.event, before).await?,
            false => before,
        };
        let append = self.append_of(&resolver, &context, &judged.event, standing, before).await?;
        let extremities = append.extremities.as_ref().filter(|_| standing.is_followed()).map_or(0, Vec::len);
        open.append(append).await?;
        Ok((Reception::Stored(standing, reason), extremities))
    }
}

impl Resolver<'_> {
    /// The state before an event, resolved from the states after the events that it follows.
    async fn state_before(&self, context: &EventContext) -> Result<StateBefore, RoomError> {
        self.resolve(&context.states_before(self.room)?).await
    }
}

/// Judges an event by the rules of its room. Where its state `is_partial`, members who are not known are those of the auth events.
async fn judge(
    resolver: &Resolver<'_>,
    context: &EventContext,
    verified: VerifiedPdu,
    before: &StateBefore,
    is_partial: bool,
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
    let with_members = |mut state: AuthState| {
        if is_partial {
            state.extend(context.members_beside(&state));
        }
        state
    };
    let state_before = with_members(resolver.auth_state(&pdu, before).await?);
    let allowed = match permitted.check_state_before(&state_before) {
        Ok(allowed) => allowed,
        Err(rejected) => return Ok(rejected),
    };
    let current = match context.follows_gap {
        // What was told of the gap is not in the current state yet, and becomes part of it with this event.
        true => resolver.resolve_with(&[context.current], before, None).await?,
        false => StateBefore { base: context.current, changes: Vec::new() },
    };
    Ok(allowed.check_current_state(&with_members(resolver.auth_state(&pdu, &current).await?)))
}
