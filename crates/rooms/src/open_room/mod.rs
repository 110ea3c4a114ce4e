//! A locked room head; events are built on it in order.

mod redacting;
mod relating;
mod slot;
mod submitting;

use std::sync::Arc;

use homeserver_core::{Cache, Identity, RoomSn, Timestamp, TypeSn, UserSn};
use push::unread::Audiences;
use room_engine::auth::PowerLevels;
use room_engine::{Membership, Pdu, RoomVersion};
use ruma::{OwnedUserId, RoomId, UserId};
use storage::{Arrival, ClientTransaction, Database, HeldLog, Interned, NewEvent, Standing};
use tokio::sync::OwnedMutexGuard;

pub(super) use self::redacting::redaction;
pub(super) use self::slot::HeadSlot;
pub use self::submitting::Submitted;
use super::guests::keeps_guests_out;
use super::head::{Head, HeadEvent, StateEvent};
use super::receiving::is_dummy;
use super::{Draft, RoomError};

/// A locked room head. [`OpenRoom::stage`] builds events on it, [`OpenRoom::submit`] hands them to the writer; if it is
/// dropped before, nothing is written.
pub struct OpenRoom {
    pub(super) slot: HeadSlot,
    pub(super) rooms: Cache<RoomSn, HeadSlot>,
    pub(super) guard: OwnedMutexGuard<Option<Head>>,
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) identity: Arc<Identity>,
    pub(super) audiences: Arc<Audiences>,
    /// The `origin_server_ts` of the staged events.
    pub(super) now: i64,
    pub(super) staged: Vec<NewEvent>,
    /// The texts of the staged events, in the same order. They get their numbers when the room is submitted, so that a
    /// refused event leaves nothing in the database.
    pub(super) staged_names: Vec<StagedNames>,
    pub(super) joined_change: i64,
    pub(super) invited_change: i64,
    pub(super) transaction: Option<ClientTransaction>,
    /// Whether a staged event may keep guests out who are in the room.
    pub(super) keeps_guests_out: bool,
    /// Whether the head has staged events that were not submitted.
    pub(super) is_changed: bool,
    /// The log, if it is held so that other nodes cannot write.
    pub(super) held: Option<HeldLog>,
}

/// The texts of a staged event that are stored as numbers.
pub(super) struct StagedNames {
    event_type: Box<str>,
    state_key: Option<Box<str>>,
    /// The user whose membership it changes, and the new membership.
    member: Option<(OwnedUserId, Membership)>,
}

impl OpenRoom {
    pub(super) fn head(&self) -> Result<&Head, RoomError> {
        self.guard.as_ref().ok_or(RoomError::NoSuchRoom)
    }

    /// The room's ID; `None` before the create event of a room whose ID is derived from it.
    #[must_use]
    pub fn room_id(&self) -> Option<&RoomId> {
        self.guard.as_ref()?.room_id.as_deref()
    }

    /// The room's version.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is gone.
    pub fn room_version(&self) -> Result<RoomVersion, RoomError> {
        Ok(self.head()?.room_version)
    }

    /// The event of one type and state key in the room's state, staged events included.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn state(&mut self, event_type: &str, state_key: &str) -> Result<Option<Pdu>, RoomError> {
        Ok(self.state_event(event_type, state_key).await?.map(|event| event.pdu))
    }

    async fn state_event(&mut self, event_type: &str, state_key: &str) -> Result<Option<StateEvent>, RoomError> {
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        head.state(&self.database, &self.interned, event_type, state_key).await
    }

    /// A user's membership; `None` if there is no member event.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn membership(&mut self, user_id: &UserId) -> Result<Option<Membership>, RoomError> {
        Ok(self.state("m.room.member", user_id.as_str()).await?.and_then(|event| event.membership()))
    }

    /// The power levels in force.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn power_levels(&mut self) -> Result<PowerLevels, RoomError> {
        let create = self.state("m.room.create", "").await?.ok_or(RoomError::NoSuchRoom)?;
        let levels = self.state("m.room.power_levels", "").await?;
        Ok(PowerLevels::new(&create, levels.as_ref())?)
    }

    /// Builds an event and checks it against the room's rules, for another server to sign. It is not staged.
    ///
    /// # Errors
    /// [`RoomError::Refused`] if the rules do not allow it, and others.
    pub async fn propose(&mut self, sender: &UserId, draft: &Draft) -> Result<Pdu, RoomError> {
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        let built = head.propose(&self.database, &self.interned, &self.identity, sender, draft, self.now).await?;
        Ok(built.event.pdu)
    }

    /// Builds an event, checks it against the room's rules, and stages it.
    ///
    /// # Errors
    /// [`RoomError::Refused`] if the rules do not allow it, and others.
    pub async fn stage(&mut self, sender_sn: UserSn, sender: &UserId, draft: &Draft) -> Result<Pdu, RoomError> {
        let to_redact = match &draft.redacts {
            Some(target) => self.redaction_of(sender, target).await?,
            None => None,
        };
        let awaits = draft.redacts.as_ref().filter(|_| to_redact.is_none()).map(|target| target.as_str().into());
        let (redacted, redacts) = match to_redact {
            Some((original, number)) => {
                let redacted = original.redacted()?;
                if let Some(state_key) = redacted.state_key() {
                    // The head must know the event before it is stored as redacted.
                    self.state_event(redacted.event_type(), state_key).await?;
                }
                let redacts = redaction(&self.interned, &original, &redacted, number).await?;
                (Some(redacted), Some(redacts))
            }
            None => (None, None),
        };
        let replaces = match &draft.state_key {
            Some(state_key) => self.state_event(&draft.event_type, state_key).await?,
            None => None,
        };
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        let HeadEvent { event, number, auth_events, previous_in_chain } =
            head.build(&self.database, &self.interned, &self.identity, sender, draft, self.now).await?;
        self.is_changed = true;
        if let Some(redacted) = &redacted {
            head.redact(redacted);
        }
        self.keeps_guests_out |= keeps_guests_out(&event.pdu) || redacted.as_ref().is_some_and(keeps_guests_out);
        let member = self.note_membership(&event.pdu, replaces.as_ref())?;
        let (event_type, state_key) = (draft.event_type.as_str().into(), draft.state_key.as_deref().map(Into::into));
        self.staged_names.push(StagedNames { event_type, state_key, member });
        self.staged.push(NewEvent {
            number,
            event_id: event.pdu.event_id().as_str().into(),
            // This number and the next come from `staged_names` when the room is submitted.
            type_sn: TypeSn(0),
            state_key_sn: None,
            sender_sn,
            origin_server_ts: Timestamp(event.pdu.origin_server_ts()),
            depth: event.pdu.depth(),
            client_json: event.client_json,
            federation_json: event.federation_json,
            unread: Arc::default(),
            replaces: replaces.map(|replaced| (replaced.number, replaced.pdu.client_json().clone())),
            membership: None,
            redacts,
            standing: if is_dummy(&event.pdu) { Standing::Hidden } else { Standing::Accepted },
            auth_events,
            previous_in_chain,
            state_before: None,
            arrival: Arrival { awaits, ..Arrival::default() },
        });
        Ok(event.pdu)
    }

    /// Counts the member event into the changes of the numbers of members; `None` for another event.
    fn note_membership(
        &mut self,
        pdu: &Pdu,
        replaces: Option<&StateEvent>,
    ) -> Result<Option<(OwnedUserId, Membership)>, RoomError> {
        let Some(user_id) = pdu.state_key().filter(|_| pdu.event_type() == "m.room.member") else {
            return Ok(None);
        };
        let Some(after) = pdu.membership() else { return Ok(None) };
        let before = replaces.and_then(|event| event.pdu.membership());
        let change = |which| i64::from(after == which) - i64::from(before == Some(which));
        self.joined_change += change(Membership::Join);
        self.invited_change += change(Membership::Invite);
        let user_id = OwnedUserId::try_from(user_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        Ok(Some((user_id, after)))
    }
}

impl Drop for OpenRoom {
    fn drop(&mut self) {
        if self.is_changed {
            // The staged events are on the head and will never be written: it must be read again.
            *self.guard = None;
        }
        self.weigh();
    }
}
