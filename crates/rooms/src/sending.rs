//! Sending events, as clients do it.

use std::sync::Arc;

use accounts::rate_limits::{LimitedAction, RateLimits, SpentOnce};
use accounts::sessions::Requester;
use homeserver_core::{Clock, Timestamp};
use room_engine::{CanonicalObject, Membership, Numbers, Pdu};
use ruma::{EventId, OwnedEventId, RoomId, UserId};
use serde_json::value::RawValue;
use storage::{Step, Tx};
use tasks::queue::Job as _;

use super::aliases::Aliases;
use super::member_content::ContentMap;
use super::membership::Memberships;
use super::transaction_id::ScopedTransactionId;
use super::{Draft, OpenRoom, RoomChange, RoomError, StagedChange, Timeline};
use crate::jobs::InheritRoomSettings;

/// Sends events of clients, within their rate limits.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room>
pub struct Sending {
    timeline: Arc<Timeline>,
    aliases: Arc<Aliases>,
    memberships: Arc<Memberships>,
    rate_limits: Arc<RateLimits>,
    clock: Arc<dyn Clock>,
}

impl Sending {
    /// Sends events into `timeline`.
    #[must_use]
    pub fn new(
        timeline: Arc<Timeline>,
        aliases: Arc<Aliases>,
        memberships: Arc<Memberships>,
        rate_limits: Arc<RateLimits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { timeline, aliases, memberships, rate_limits, clock }
    }

    /// Sends an event that is not state, and returns its ID.
    ///
    /// # Errors
    /// [`RoomError::Refused`] if the rules of the room refuse the event, and others.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn send(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_type: &str,
        content: &RawValue,
        transaction_id: &str,
    ) -> Result<Box<str>, RoomError> {
        let content = parse(content)?;
        if event_type == "m.room.create" {
            return Err(RoomError::Invalid("A room is created once: it cannot have another m.room.create.".to_owned()));
        }
        let mut draft = Draft::message(event_type, content);
        draft.redacts = redacted_by(&draft)?;
        let spent = self.rate_limits.spend_by_user(LimitedAction::Message, requester)?;
        let transaction_id = ScopedTransactionId::of_sending(transaction_id);
        let sent = self.timeline.send(requester, room_id, &draft, Some(transaction_id)).await;
        Ok(spent.settle(sent)?.event_id.clone())
    }

    /// Redacts an event, and returns the ID of the redaction.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if the event is not in the room, [`RoomError::Refused`] if its rules refuse the redaction, and
    /// others.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn redact(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_id: &EventId,
        content: &RawValue,
        transaction_id: &str,
    ) -> Result<Box<str>, RoomError> {
        let mut content: ContentMap = serde_json::from_slice(parse(content)?.as_bytes()).unwrap_or_default();
        content.remove("redacts");
        if content.get("reason").is_some_and(|reason| !reason.is_string()) {
            return Err(RoomError::Malformed("`reason` must be a string.".to_owned()));
        }
        let mut draft = Draft::message("m.room.redaction", super::member_content::canonical(&content)?);
        draft.redacts = Some(event_id.to_owned());
        let kind = self.kind_of_redaction(requester, event_id).await?;
        if requester.is_suspended && !self.has_sent(requester, event_id).await? {
            return Err(RoomError::Suspended);
        }
        let spent = self.rate_limits.spend_by_user(kind, requester)?;
        let transaction_id = ScopedTransactionId::of_redacting(event_id, transaction_id);
        let sent = self.timeline.send(requester, room_id, &draft, Some(transaction_id)).await;
        Ok(spent.settle(sent)?.event_id.clone())
    }

    async fn has_sent(&self, requester: &Requester, event_id: &EventId) -> Result<bool, RoomError> {
        let redacted = self.timeline.database().event_by_id(event_id.as_str()).await?;
        Ok(redacted.is_some_and(|event| event.sender_sn == requester.user_sn))
    }

    /// Moderators who redact events of other users may have a rate limit of its own for it.
    async fn kind_of_redaction(&self, requester: &Requester, event_id: &EventId) -> Result<LimitedAction, RoomError> {
        if !self.rate_limits.has(LimitedAction::AdminRedaction) {
            return Ok(LimitedAction::Message);
        }
        let redacted = self.timeline.database().event_by_id(event_id.as_str()).await?;
        let is_of_others = redacted.is_some_and(|event| event.sender_sn != requester.user_sn);
        Ok(if is_of_others { LimitedAction::AdminRedaction } else { LimitedAction::Message })
    }

    /// Sets state, and returns the ID of the state event; that of the present one if it says the same.
    ///
    /// # Errors
    /// [`RoomError::Refused`] if the rules of the room refuse the event, and others.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn set_state(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &RawValue,
    ) -> Result<OwnedEventId, RoomError> {
        let content = parse(content)?;
        if event_type == "m.room.member" {
            let target = <&UserId>::try_from(state_key);
            let target = target.map_err(|_| RoomError::Invalid(format!("{state_key:?} is not a user ID.")))?;
            let content = serde_json::from_slice(content.as_bytes()).unwrap_or_default();
            return self.memberships.set(requester, room_id, target, content).await;
        }
        if event_type == "m.room.create" {
            return Err(RoomError::Invalid("A room is created once: its m.room.create cannot be replaced.".to_owned()));
        }
        let mut draft = Draft::state(event_type, state_key, content);
        draft.redacts = redacted_by(&draft)?;
        let room_sn = self.timeline.find(room_id).await?;
        let spent = SpentOnce::new(&self.rate_limits);
        spent.check(LimitedAction::Message, requester)?;
        let now = self.clock.now();
        let set = SetState { aliases: &self.aliases, requester, room_id, draft: &draft, spent: &spent, now };
        let changed = self.timeline.change(room_sn, &set).await;
        spent.settle(changed)
    }
}

/// Sets a state event, unless the present one says the same.
struct SetState<'a> {
    aliases: &'a Aliases,
    requester: &'a Requester,
    room_id: &'a RoomId,
    draft: &'a Draft,
    spent: &'a SpentOnce<'a>,
    now: Timestamp,
}

impl RoomChange for SetState<'_> {
    type Answer = OwnedEventId;

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<OwnedEventId>, RoomError> {
        let Self { aliases, requester, room_id, draft, spent, now } = *self;
        let state_key = draft.state_key.as_deref().unwrap_or_default();
        let current = room.state(&draft.event_type, state_key).await?;
        // The rules refuse the event of a user who is not joined.
        let is_joined = room.membership(&requester.user_id).await? == Some(Membership::Join);
        if let Some(current) = &current
            && is_joined
            && current.sender() == requester.user_id
            && *current.content() == draft.content
        {
            return Ok((current.event_id().to_owned(), None));
        }
        if draft.event_type == "m.room.canonical_alias" && state_key.is_empty() && is_joined {
            aliases.check_canonical(room_id, current.as_ref().map(Pdu::content), &draft.content).await?;
        }
        spent.spend(LimitedAction::Message, requester)?;
        let staged = room.stage(requester.user_sn, &requester.user_id, draft).await?;
        let inheriting = inheriting(room_id, draft)
            .map(|job| Box::new(async move |tx: &mut Tx| job.schedule(tx, now).await.map(drop)) as Box<dyn Step>);
        Ok((staged.event_id().to_owned(), inheriting))
    }
}

/// The job that copies room settings if the event is a tombstone: users who joined the new room before could not copy them
/// then.
fn inheriting(room_id: &RoomId, draft: &Draft) -> Option<InheritRoomSettings> {
    let is_tombstone = draft.event_type == "m.room.tombstone" && draft.state_key.as_deref() == Some("");
    let replacement = draft.content.string("replacement_room").filter(|_| is_tombstone)?;
    let new_room_id = RoomId::parse(&*replacement).ok()?;
    Some(InheritRoomSettings { old_room_id: room_id.to_owned(), new_room_id })
}

fn parse(content: &RawValue) -> Result<CanonicalObject, RoomError> {
    Ok(CanonicalObject::parse(content.get().as_bytes(), Numbers::Strict)?)
}

/// The event that a redaction sent by `/send` or `/state` redacts.
fn redacted_by(draft: &Draft) -> Result<Option<OwnedEventId>, RoomError> {
    if draft.event_type != "m.room.redaction" {
        return Ok(None);
    }
    let malformed = || RoomError::Malformed("A redaction needs the ID of an event in `redacts`.".to_owned());
    let redacts = draft.content.string("redacts").ok_or_else(malformed)?;
    EventId::parse(redacts).map(Some).map_err(|_| malformed())
}
