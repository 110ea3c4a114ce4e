//! Reading a room's state.

use std::sync::Arc;

use accounts::sessions::Requester;
use homeserver_core::{Clock, RoomSn};
use ruma::RoomId;
use storage::{Database, Interned, KnownState, RoomStates, StoredEvent};
use tasks::limits::{Limit, Permit};

use super::access::Access;
use super::erasure::redact_erased_members;
use super::writing::EventWriter;
use crate::RoomError;
use crate::wire;

/// A room with more joined members is large: `large_rooms` limits how many requests read its whole state at once.
const LARGE_ROOM: i64 = 1_000;

/// Reads the state and the members of rooms. A user who has left a room sees its state at that time.
pub struct RoomState {
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) states: Arc<RoomStates>,
    pub(super) clock: Arc<dyn Clock>,
    large_rooms: Arc<Limit>,
}

/// The form in which a client wants a state event.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum StateFormat {
    /// Only its content.
    #[default]
    Content,
    /// The whole event.
    Event,
}

impl RoomState {
    /// The state in `database`. `large_rooms` limits how many large rooms are read at once.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        states: Arc<RoomStates>,
        clock: Arc<dyn Clock>,
        large_rooms: Arc<Limit>,
    ) -> Self {
        Self { database, interned, states, clock, large_rooms }
    }

    /// Waits for a permit if the room is large.
    pub(super) async fn enter(&self, room_sn: RoomSn) -> Result<Option<Permit>, RoomError> {
        let head = self.database.room_head(room_sn).await?;
        let is_large = head.is_some_and(|head| head.known_members().joined > LARGE_ROOM);
        Ok(if is_large { Some(self.large_rooms.enter().await?) } else { None })
    }

    /// The whole state: a JSON array.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room, [`RoomError::StillPartial`].
    #[tracing::instrument(name = "room_state", level = "debug", skip_all)]
    pub async fn all(&self, requester: &Requester, room_id: &RoomId) -> Result<Vec<u8>, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let full = self.states.full(access.room_sn).await?;
        let _permit = self.enter(access.room_sn).await?;
        let mut state = match access.ends_at() {
            None => self.database.current_state_events(&full).await?,
            Some(left_at) => {
                let member_type = self.interned.event_type("m.room.member").await?;
                let entries = self.database.state_at(&full, member_type, left_at).await?;
                let sns: Vec<i64> = entries.into_iter().map(|entry| entry.event_sn.0).collect();
                self.database.events(&sns).await?
            }
        };
        redact_erased_members(&self.database, &access.visibility, &mut state).await?;
        let mut out = Vec::with_capacity(state.len() * 1024);
        EventWriter::new(&access, self.clock.now()).state(&mut out, &state);
        Ok(out)
    }

    /// The state event of one type and state key: its JSON in the requested format.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room, [`RoomError::NotFound`] if it has no such state,
    /// [`RoomError::StillPartial`] if that part of its state is not known.
    pub async fn one(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        format: StateFormat,
    ) -> Result<Vec<u8>, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let mut event = self.find(&access, &access.state, event_type, state_key).await?;
        if event.is_none() && !access.state.covers(event_type, state_key) {
            let full = self.states.full(access.room_sn).await?;
            event = self.find(&access, &KnownState::Full(full), event_type, state_key).await?;
        }
        let missing =
            || RoomError::NotFound(format!("This room has no state of type {event_type:?} with that state key."));
        let mut event = event.ok_or_else(missing)?;
        redact_erased_members(&self.database, &access.visibility, std::slice::from_mut(&mut event)).await?;
        Ok(match format {
            StateFormat::Content => wire::member(&event.client_json, "content").unwrap_or(b"{}").to_vec(),
            StateFormat::Event => {
                let mut out = Vec::with_capacity(event.client_json.len() + 256);
                EventWriter::new(&access, self.clock.now()).event(&mut out, &event);
                out
            }
        })
    }

    async fn find(
        &self,
        access: &Access<'_>,
        state: &KnownState,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<StoredEvent>, RoomError> {
        let type_sn = self.interned.find_type(event_type).await?;
        let key_sn = self.interned.find_key(state_key).await?;
        let (Some(type_sn), Some(key_sn)) = (type_sn, key_sn) else { return Ok(None) };
        match access.ends_at() {
            None => Ok(self.database.state_event(state, type_sn, key_sn).await?),
            Some(left_at) => Ok(self.database.state_event_at(state, type_sn, key_sn, left_at).await?),
        }
    }
}
