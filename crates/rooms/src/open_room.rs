//! The end of a room while events are built on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use homeserver_core::{Cache, HeapSize, Identity, RoomSn, Timestamp, TypeSn, UserSn};
use push::unread::Audiences;
use room_engine::auth::{PowerLevel, PowerLevels, may_redact};
use room_engine::{Pdu, RoomVersion};
use ruma::{OwnedUserId, RoomId, UserId};
use storage::{
    Append, AppendOutcome, ClientTransaction, Database, HeldLog, Interned, Membership, NewEvent, Redaction, Standing,
    Step, StorageError, StoredEvent, later_version,
};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::RoomError;
use super::guests::{keeps_guests_out, with_removal_of_guests};
use super::head::{Draft, Head, HeadEvent, StateEvent};
use super::receiving::is_joint;

/// The end of a room, locked. Dropped without [`OpenRoom::commit`], it leaves no trace.
pub struct OpenRoom {
    pub(super) slot: Slot,
    pub(super) rooms: Cache<RoomSn, Slot>,
    pub(super) guard: OwnedMutexGuard<Option<Head>>,
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) identity: Arc<Identity>,
    pub(super) audiences: Arc<Audiences>,
    /// The time that its events get.
    pub(super) now: i64,
    pub(super) staged: Vec<NewEvent>,
    /// The texts of what is staged, in the same order. They get their numbers when it is committed: what is refused before that
    /// leaves nothing behind.
    pub(super) staged_names: Vec<StagedNames>,
    pub(super) joined_change: i64,
    pub(super) invited_change: i64,
    pub(super) transaction: Option<ClientTransaction>,
    /// Whether something that is staged may keep guests out who are in the room.
    pub(super) keeps_guests_out: bool,
    /// Whether the head has moved by what is staged.
    pub(super) is_changed: bool,
    /// The log, if it is held so that no other process is faster.
    pub(super) held: Option<HeldLog>,
}

/// The texts of a staged event that are numbers where it is stored.
pub(super) struct StagedNames {
    event_type: Box<str>,
    state_key: Option<Box<str>>,
    /// Whose membership it changes, and into what.
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

    /// The event at one place in the room's state, what is staged included.
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

    /// What a user is to the room; `None` if there is no member event.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn membership(&mut self, user_id: &UserId) -> Result<Option<room_engine::Membership>, RoomError> {
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

    /// Builds an event, checks it against the room's rules, and adds it to what will be committed.
    ///
    /// # Errors
    /// [`RoomError::Refused`] if the rules do not allow it, and others.
    pub async fn stage(&mut self, sender_sn: UserSn, sender: &UserId, draft: &Draft) -> Result<Pdu, RoomError> {
        let redacted = match &draft.redacts {
            Some(target) => self.redaction_of(sender, target).await?,
            None => None,
        };
        if let Some((pdu, _)) = &redacted
            && let Some(state_key) = pdu.state_key()
        {
            // From now on the head knows the place, so that it sees the event redacted before that is stored.
            self.state_event(pdu.event_type(), state_key).await?;
        }
        let redacts = match &redacted {
            Some((pdu, number)) => Some(redaction(&self.interned, pdu, number.clone()).await?),
            None => None,
        };
        let replaces = match &draft.state_key {
            Some(state_key) => self.state_event(&draft.event_type, state_key).await?,
            None => None,
        };
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        let HeadEvent { event, number, auth_events, previous_in_chain } =
            head.build(&self.database, &self.interned, &self.identity, sender, draft, self.now).await?;
        self.is_changed = true;
        if let Some((pdu, _)) = &redacted {
            head.redact(pdu);
        }
        self.keeps_guests_out |=
            keeps_guests_out(&event.pdu) || redacted.as_ref().is_some_and(|(pdu, _)| keeps_guests_out(pdu));
        let member = self.note_membership(&event.pdu, replaces.as_ref())?;
        let (event_type, state_key) = (draft.event_type.as_str().into(), draft.state_key.as_deref().map(Into::into));
        self.staged_names.push(StagedNames { event_type, state_key, member });
        self.staged.push(NewEvent {
            number,
            event_id: event.pdu.event_id().as_str().into(),
            // Like the other numbers that are missing, from `staged_names` when it is committed.
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
            standing: if is_joint(&event.pdu) { Standing::Hidden } else { Standing::Accepted },
            auth_events,
            previous_in_chain,
            state_before: None,
        });
        Ok(event.pdu)
    }

    /// The event to redact in its redacted form, if it can be found and the sender may redact it.
    async fn redaction_of(
        &mut self,
        sender: &UserId,
        target: &ruma::EventId,
    ) -> Result<Option<(Pdu, storage::EventNumber)>, RoomError> {
        let stored = self.database.stored_pdu_by_id(target.as_str()).await?;
        let room_sn = self.head()?.room_sn;
        let Some(stored) = stored.filter(|stored| stored.room_sn == room_sn) else {
            return Err(RoomError::NotFound(format!("There is no event {target} in this room.")));
        };
        let levels = self.power_levels().await?;
        let (pdu, number) = self.head()?.parse(stored)?;
        if pdu.sender() != sender && !may_redact_others(&levels, sender, pdu.sender()) {
            return Err(RoomError::Forbidden("You may not redact events of others in this room.".to_owned()));
        }
        if matches!(pdu.event_type(), "m.room.create" | "m.room.server_acl") {
            return Err(RoomError::Forbidden(format!(
                "{} cannot be redacted: the room would break.",
                pdu.event_type()
            )));
        }
        let redacted = pdu.redacted()?;
        Ok(Some((redacted, number)))
    }

    /// What the event does to the numbers of members.
    fn note_membership(
        &mut self,
        pdu: &Pdu,
        replaces: Option<&StateEvent>,
    ) -> Result<Option<(OwnedUserId, Membership)>, RoomError> {
        let (Some("m.room.member"), Some(user_id)) = (Some(pdu.event_type()), pdu.state_key()) else {
            return Ok(None);
        };
        let Some(after) = pdu.membership().and_then(|it| Membership::from_word(it.as_str())) else { return Ok(None) };
        let before = replaces.and_then(|event| event.pdu.membership());
        let before = before.and_then(|it| Membership::from_word(it.as_str()));
        let change = |which| i64::from(after == which) - i64::from(before == Some(which));
        self.joined_change += change(Membership::Join);
        self.invited_change += change(Membership::Invite);
        let user_id = OwnedUserId::try_from(user_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        Ok(Some((user_id, after)))
    }

    /// Gives the texts of what is staged their numbers.
    async fn number_staged(&mut self) -> Result<Vec<NewEvent>, RoomError> {
        let mut events = std::mem::take(&mut self.staged);
        for (event, names) in events.iter_mut().zip(std::mem::take(&mut self.staged_names)) {
            event.type_sn = self.interned.event_type(&names.event_type).await?;
            if let Some(state_key) = names.state_key {
                event.state_key_sn = Some(self.interned.state_key(&state_key).await?);
            }
            if let Some((user_id, membership)) = names.member {
                event.membership = Some((self.interned.user(user_id.as_str()).await?, membership));
            }
        }
        Ok(events)
    }

    /// Hands what was staged to the writer and unlocks the room. `also` is written in the same transaction.
    ///
    /// # Errors
    /// [`RoomError::Storage`] if the writer takes no more.
    pub async fn commit(mut self, also: Option<Box<dyn Step>>) -> Result<Staged, RoomError> {
        if self.head()?.version == 0 {
            let room_id = self.room_id().ok_or(RoomError::NoSuchRoom)?.to_owned();
            let room_sn = self.interned.room(room_id.as_str()).await?;
            self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?.room_sn = room_sn;
        }
        self.evaluate_staged().await?;
        let events = self.number_staged().await?;
        let transaction = self.transaction.take();
        let now = Timestamp(self.now);
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        // Nobody but the creator is in a new room.
        let also = match self.keeps_guests_out && head.version > 0 {
            true => Some(with_removal_of_guests(head.room_sn, now, also)),
            false => also,
        };
        let new_version = later_version(head.version);
        let append = Append {
            room_sn: head.room_sn,
            room_version: head.room_version.as_str().into(),
            expected_version: head.version,
            new_version,
            events,
            resolved: None,
            extremities: None,
            transaction: transaction.clone(),
            joined_change: self.joined_change,
            invited_change: self.invited_change,
            also,
        };
        head.version = new_version;
        if let Some(key) = transaction {
            head.remember_transaction(key);
        }
        let room_sn = head.room_sn;
        let outcome = match self.held.take() {
            Some(held) => held.append(append)?,
            None => self.database.append(append).await?,
        };
        self.is_changed = false;
        Ok(Staged { room_sn, outcome, slot: self.slot.clone() })
    }

    /// Stores an append that was not built on the head in memory. The room stays locked until it is stored: the head is
    /// read again before the next event, and what is read earlier would be out of date.
    ///
    /// # Errors
    /// As [`Staged::stored`].
    pub(super) async fn append(mut self, append: Append) -> Result<(), RoomError> {
        *self.guard = None;
        match outcome_of(self.database.append(append).await?).await? {
            AppendOutcome::Appended(_) => Ok(()),
            AppendOutcome::Stale => Err(RoomError::Contended),
        }
    }

    /// Has the head count with what it takes now, if that is much more or less than before.
    fn weigh(&self) {
        let bytes = self.guard.as_ref().map_or(0, Head::heap_bytes);
        let before = self.slot.head_bytes.load(Ordering::Relaxed);
        if bytes.abs_diff(before) > before / 8 {
            self.slot.head_bytes.store(bytes, Ordering::Relaxed);
            if let Some(head) = &*self.guard {
                self.rooms.reweigh(&head.room_sn);
            }
        }
    }
}

impl Drop for OpenRoom {
    fn drop(&mut self) {
        if self.is_changed {
            // The head has moved, but what moved it will never be written: it is read again.
            *self.guard = None;
        }
        self.weigh();
    }
}

/// Events that are on their way to the database.
pub struct Staged {
    room_sn: RoomSn,
    outcome: oneshot::Receiver<Result<AppendOutcome, StorageError>>,
    pub(super) slot: Slot,
}

impl Staged {
    /// The room.
    #[must_use]
    pub fn room_sn(&self) -> RoomSn {
        self.room_sn
    }

    /// Waits until the events are stored.
    ///
    /// # Errors
    /// [`RoomError::Contended`] if the room had moved on, or [`RoomError::Storage`]; nothing was stored then.
    #[tracing::instrument(name = "wait_for_commit", level = "debug", skip_all)]
    pub async fn stored(self) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        match outcome_of(self.outcome).await {
            Ok(AppendOutcome::Appended(events)) => Ok(events),
            Ok(AppendOutcome::Stale) => {
                *self.slot.head.lock().await = None;
                Err(RoomError::Contended)
            }
            Err(error) => {
                *self.slot.head.lock().await = None;
                Err(error.into())
            }
        }
    }
}

/// A room's head, or nothing if it has to be read (again). Whoever holds the lock may build events.
#[derive(Clone, Default)]
pub(super) struct Slot {
    pub(super) head: Arc<Mutex<Option<Head>>>,
    /// What the head takes, as its last holder found it.
    pub(super) head_bytes: Arc<AtomicUsize>,
    /// Whether another process has written to the room since the head was read.
    pub(super) is_behind: Arc<AtomicBool>,
}

impl HeapSize for Slot {
    fn heap_bytes(&self) -> usize {
        /// The three with their reference counts, as the allocator gives them.
        const FIXED_BYTES: usize = size_of::<Mutex<Option<Head>>>() + 96;
        FIXED_BYTES + self.head_bytes.load(Ordering::Relaxed)
    }
}

async fn outcome_of(
    outcome: oneshot::Receiver<Result<AppendOutcome, StorageError>>,
) -> Result<AppendOutcome, StorageError> {
    outcome.await.map_err(|_| StorageError::Unavailable("the database is closed".to_owned())).flatten()
}

/// What is written of an event that is redacted: `redacted` is what is left of it.
pub(super) async fn redaction(
    interned: &Interned,
    redacted: &Pdu,
    number: storage::EventNumber,
) -> Result<Redaction, StorageError> {
    let member = match redacted.state_key() {
        Some(user_id) if redacted.event_type() == "m.room.member" => Some(interned.user(user_id).await?),
        _ => None,
    };
    let (client_json, federation_json) = (redacted.client_json().clone(), redacted.federation_json().clone());
    Ok(Redaction { number, client_json, federation_json, member })
}

/// Local users redact events of others only by their power level; being of the same server is enough for servers only.
fn may_redact_others(levels: &PowerLevels, sender: &UserId, redacted_sender: &UserId) -> bool {
    let is_remote = sender.server_name() != redacted_sender.server_name();
    (is_remote && may_redact(levels, sender, redacted_sender))
        || levels.user_level(sender) >= PowerLevel::Finite(levels.redact())
}
