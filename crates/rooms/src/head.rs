//! The head of a room, in memory: what the next event is built on.

use std::collections::{HashMap, VecDeque};

use homeserver_core::{HeapSize, Identity, RoomSn, allocation_bytes, table_bytes};
use room_engine::auth::{self, AuthState, auth_types_for_event};
use room_engine::state_map::{Place, StateMap};
use room_engine::{BuiltEvent, EventBuilder, EventReference, Pdu, RoomVersion};
use ruma::{EventId, OwnedRoomId, UserId};
use storage::{ClientTransaction, Database, EventNumber, Interned, StoredPdu};

use super::{Draft, RoomError};

/// A head remembers so many places of the state, and beyond them only those that every event needs and those that are not
/// stored yet.
const REMEMBERED_STATE: usize = 2_000;
/// A head remembers so many transactions whose commit may be under way.
const REMEMBERED_TRANSACTIONS: usize = 256;

/// A state event with its number, which it gets when it is stored.
#[derive(Clone, Debug)]
pub(super) struct StateEvent {
    pub(super) pdu: Pdu,
    pub(super) number: EventNumber,
}

/// An event that was built on a head.
pub(super) struct HeadEvent {
    pub(super) event: BuiltEvent,
    pub(super) number: EventNumber,
    /// The numbers of its auth events.
    pub(super) auth_events: Vec<EventNumber>,
    /// The auth event with its type and state key.
    pub(super) previous_in_chain: Option<EventNumber>,
}

/// A place in a room's state: an event type and a state key.
type StatePlace = (Box<str>, Box<str>);

/// What a head remembers of one place in the state.
struct Remembered {
    event: Option<StateEvent>,
    /// The version of the head that its last change was built on; [`UNCHANGED`] for an event that was read.
    changed_after: i64,
}

/// Less than every version of a head.
const UNCHANGED: i64 = -1;

/// The head of a room: its forward extremities and state, with all submitted events.
pub(super) struct Head {
    pub(super) room_sn: RoomSn,
    pub(super) room_id: Option<OwnedRoomId>,
    pub(super) room_version: RoomVersion,
    /// The version that the room has once all submitted events are stored.
    pub(super) version: i64,
    depth: i64,
    /// The stored state, which is read where `state` has no entry, and the version of the stored head that it belongs to.
    /// Every change after that version is in `state`.
    loaded_state: StateMap,
    loaded_version: i64,
    extremities: Vec<EventReference>,
    state: HashMap<StatePlace, Remembered>,
    /// The heap bytes of the entries of `state`.
    state_bytes: usize,
    /// Entries are dropped from `state` when it has so many.
    trimmed_at: usize,
    transactions: VecDeque<ClientTransaction>,
}

impl Head {
    /// The head of a room that has no events yet. Its first event may make its ID.
    pub(super) fn of_new_room(room_id: Option<OwnedRoomId>, room_version: RoomVersion) -> Self {
        Self {
            room_sn: RoomSn(0),
            room_id,
            room_version,
            version: 0,
            depth: 0,
            loaded_state: StateMap::EMPTY,
            loaded_version: 0,
            extremities: Vec::new(),
            state: HashMap::new(),
            state_bytes: 0,
            trimmed_at: REMEMBERED_STATE,
            transactions: VecDeque::new(),
        }
    }

    /// Reads the head of a room; `None` if the room has no events.
    pub(super) async fn load(
        database: &Database,
        interned: &Interned,
        room_sn: RoomSn,
    ) -> Result<Option<Self>, RoomError> {
        let Some(stored) = database.room_head(room_sn).await? else { return Ok(None) };
        let corrupt = |reason: String| RoomError::Corrupt { room_sn, event_id: "".into(), reason };
        let room_id = interned.room_id(room_sn).await?;
        let room_id = OwnedRoomId::try_from(&*room_id).map_err(|error| corrupt(error.to_string()))?;
        let mut head = Self {
            room_sn,
            room_id: Some(room_id),
            room_version: stored.room_version.parse()?,
            version: stored.version,
            depth: stored.depth,
            loaded_state: stored.state.ok_or(RoomError::StateUnknown)?,
            loaded_version: stored.version,
            extremities: Vec::new(),
            state: HashMap::new(),
            state_bytes: 0,
            trimmed_at: REMEMBERED_STATE,
            transactions: VecDeque::new(),
        };
        for sn in stored.extremities {
            let pdu = database.stored_pdu(sn).await?;
            let pdu = pdu.ok_or_else(|| corrupt(format!("its extremity {sn} is missing")))?;
            head.extremities.push(head.parse(pdu)?.0.reference());
        }
        Ok(Some(head))
    }

    pub(super) fn parse(&self, stored: storage::StoredPdu) -> Result<(Pdu, EventNumber), RoomError> {
        let corrupt =
            |reason: String| RoomError::Corrupt { room_sn: self.room_sn, event_id: stored.event_id.clone(), reason };
        let room_id = self.room_id.clone().ok_or_else(|| corrupt("its room has no ID".to_owned()))?;
        let pdu = Pdu::from_stored(self.room_version, room_id, stored.client_json, stored.federation_json)
            .map_err(|error| corrupt(error.to_string()))?;
        Ok((pdu, EventNumber::known(stored.sn)))
    }

    /// The event at one place in the room's state.
    pub(super) async fn state(
        &mut self,
        database: &Database,
        interned: &Interned,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<StateEvent>, RoomError> {
        let place = (event_type.into(), state_key.into());
        if let Some(known) = self.state.get(&place) {
            return Ok(known.event.clone());
        }
        self.drop_old_entries(database).await?;
        let type_sn = interned.find_type(event_type).await?;
        let key_sn = interned.find_key(state_key).await?;
        let stored = match (type_sn, key_sn) {
            (Some(type_sn), Some(key_sn)) if self.version > 0 => {
                self.stored_state(database, Place::new(type_sn, key_sn)).await?
            }
            _ => None,
        };
        let event = match stored {
            Some(stored) => {
                let (pdu, number) = self.parse(stored)?;
                Some(StateEvent { pdu, number })
            }
            None => None,
        };
        self.remember(place, Remembered { event: event.clone(), changed_after: UNCHANGED });
        Ok(event)
    }

    /// The event that the loaded state has at a place. The chunks of the state are mostly in memory, so an empty place, such
    /// as the membership of a user who joins for the first time, costs no read of the database.
    async fn stored_state(&self, database: &Database, place: Place) -> Result<Option<StoredPdu>, RoomError> {
        let state = self.loaded_state;
        let Some(sn) = database.with_chunks(|chunks| state.get(chunks, place)).await? else { return Ok(None) };
        let stored = database.stored_pdu(sn).await?;
        let lost = || RoomError::Corrupt {
            room_sn: self.room_sn,
            event_id: "".into(),
            reason: format!("event {sn} of its state is missing"),
        };
        stored.map(Some).ok_or_else(lost)
    }

    /// Drops the entries of `state` that can be read again, if there are many.
    async fn drop_old_entries(&mut self, database: &Database) -> Result<(), RoomError> {
        if self.state.len() < self.trimmed_at {
            return Ok(());
        }
        self.load_newest_state(database).await?;
        // Every event needs places with an empty state key. A change after the loaded version cannot be read yet.
        let loaded_version = self.loaded_version;
        self.state.retain(|(_, state_key), known| state_key.is_empty() || known.changed_after >= loaded_version);
        self.state_bytes = self.state.iter().map(|(place, known)| place_bytes(place, known)).sum();
        // If few entries can be dropped, looking through all of them for each event would be quadratic.
        self.trimmed_at = REMEMBERED_STATE.max(self.state.len() * 2);
        Ok(())
    }

    /// Moves the loaded state to the newest version that is stored. If another process wrote that version, what is built on
    /// this head is refused, and the head is read again.
    async fn load_newest_state(&mut self, database: &Database) -> Result<(), RoomError> {
        if self.version == self.loaded_version {
            return Ok(());
        }
        let written = database.written_state(self.room_sn).filter(|written| written.head_version > self.loaded_version);
        if let Some(written) = written {
            (self.loaded_state, self.loaded_version) = (written.state, written.head_version);
        } else if let Some(stored) = database.room_head(self.room_sn).await?
            && let Some(state) = stored.state
        {
            (self.loaded_state, self.loaded_version) = (state, stored.version);
        }
        Ok(())
    }

    fn remember(&mut self, place: StatePlace, known: Remembered) {
        self.state_bytes += place_bytes(&place, &known);
        let before = self.state.get(&place).map(|before| place_bytes(&place, before));
        self.state_bytes = self.state_bytes.saturating_sub(before.unwrap_or_default());
        self.state.insert(place, known);
    }

    /// The heap bytes of the head.
    pub(super) fn heap_bytes(&self) -> usize {
        let room_id = self.room_id.as_ref().map_or(0, HeapSize::heap_bytes);
        let extremities = self.extremities.iter().map(|event| allocation_bytes(event.event_id.as_str().len()));
        /// About the bytes of a transaction ID.
        const TRANSACTION_ID_BYTES: usize = 48;
        room_id
            + allocation_bytes(self.extremities.capacity() * size_of::<EventReference>())
            + extremities.sum::<usize>()
            + table_bytes::<(StatePlace, Remembered)>(self.state.capacity())
            + self.state_bytes
            + allocation_bytes(self.transactions.capacity() * size_of::<ClientTransaction>())
            + self.transactions.len() * TRANSACTION_ID_BYTES
    }

    /// Builds an event on the head, checks that the room's rules allow it, and moves the head to it.
    pub(super) async fn build(
        &mut self,
        database: &Database,
        interned: &Interned,
        identity: &Identity,
        sender: &UserId,
        draft: &Draft,
        now: i64,
    ) -> Result<HeadEvent, RoomError> {
        let built = self.propose(database, interned, identity, sender, draft, now).await?;
        self.advance(&built.event.pdu, &built.number);
        Ok(built)
    }

    /// Builds an event on the head and checks that the room's rules allow it. The head does not move.
    pub(super) async fn propose(
        &mut self,
        database: &Database,
        interned: &Interned,
        identity: &Identity,
        sender: &UserId,
        draft: &Draft,
        now: i64,
    ) -> Result<HeadEvent, RoomError> {
        let needed = auth_types_for_event(
            self.room_version,
            &draft.event_type,
            sender,
            draft.state_key.as_deref(),
            &draft.content,
        )?;
        let mut auth_state = AuthState::new();
        let mut auth_events = Vec::with_capacity(needed.len());
        let mut auth_numbers = Vec::with_capacity(needed.len());
        let mut previous_in_chain = None;
        for (event_type, state_key) in &needed {
            if let Some(event) = self.state(database, interned, event_type, state_key).await? {
                auth_events.push(event.pdu.reference());
                if **event_type == *draft.event_type && Some(&**state_key) == draft.state_key.as_deref() {
                    previous_in_chain = Some(event.number.clone());
                }
                auth_numbers.push(event.number);
                auth_state.insert(event.pdu);
            }
        }
        // The rules need the create event, which is not among the auth events of every version.
        if let Some(create) = self.state(database, interned, "m.room.create", "").await? {
            auth_state.insert(create.pdu);
        }
        // Room versions 1 and 2 do not derive the ID from the event.
        let event_id = self.room_version.event_id_in_pdu().then(|| EventId::new_v1(&identity.server_name));
        let builder = EventBuilder {
            version: self.room_version,
            room_id: self.room_id.as_deref(),
            event_id: event_id.as_deref(),
            sender,
            event_type: &draft.event_type,
            state_key: draft.state_key.as_deref(),
            content: draft.content.clone(),
            redacts: draft.redacts.as_deref(),
            prev_events: &self.extremities,
            auth_events: &auth_events,
            depth: self.depth.saturating_add(1),
            origin_server_ts: now,
        };
        let event = builder.build(&identity.server_name, &identity.key_pair)?;
        auth::check(&event.pdu, &auth_state)?;
        Ok(HeadEvent { event, number: EventNumber::default(), auth_events: auth_numbers, previous_in_chain })
    }

    fn advance(&mut self, pdu: &Pdu, number: &EventNumber) {
        debug_assert!(pdu.depth() >= self.depth, "the depth of a room grows");
        self.room_id.get_or_insert_with(|| pdu.room_id().to_owned());
        self.depth = pdu.depth();
        self.extremities = vec![pdu.reference()];
        if let Some(state_key) = pdu.state_key() {
            let event = Some(StateEvent { pdu: pdu.clone(), number: number.clone() });
            let known = Remembered { event, changed_after: self.version };
            self.remember((pdu.event_type().into(), state_key.into()), known);
        }
    }

    /// Replaces a state event by its redacted form, if it is still in the state. Its place must have been read before: a read
    /// after this, and before the redaction is stored, would give the event as it was.
    pub(super) fn redact(&mut self, redacted: &Pdu) {
        let Some(state_key) = redacted.state_key() else { return };
        let place = (redacted.event_type().into(), state_key.into());
        let Some(known) = self.state.get_mut(&place) else { return };
        if let Some(event) = &mut known.event
            && event.pdu.event_id() == redacted.event_id()
        {
            event.pdu = redacted.clone();
            known.changed_after = self.version;
        }
    }

    /// Whether an event was built with this transaction. It may not be stored yet.
    pub(super) fn knows_transaction(&self, key: &ClientTransaction) -> bool {
        self.transactions.contains(key)
    }

    pub(super) fn remember_transaction(&mut self, key: ClientTransaction) {
        if self.transactions.len() >= REMEMBERED_TRANSACTIONS {
            self.transactions.pop_front();
        }
        self.transactions.push_back(key);
    }
}

/// The heap bytes of one place of the state, with its event.
fn place_bytes((event_type, state_key): &StatePlace, known: &Remembered) -> usize {
    /// The bytes of the number, which the writer shares.
    const NUMBER_BYTES: usize = 32;
    let event = known.event.as_ref().map_or(0, |event| event.pdu.heap_bytes() + NUMBER_BYTES);
    event_type.heap_bytes() + state_key.heap_bytes() + event
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn member(room_id: &OwnedRoomId, number: usize) -> (Bytes, Bytes) {
        let client = format!(
            r#"{{"content":{{"displayname":"User {number}","membership":"join"}},"event_id":"$member{number}","origin_server_ts":1,"sender":"@user{number}:example.org","state_key":"@user{number}:example.org","type":"m.room.member"}}"#
        );
        let federation = format!(
            r#"{{"auth_events":["$create","$levels","$rules"],"depth":7,"hashes":{{"sha256":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}},"prev_events":["$before{number}"],"room_id":"{room_id}","signatures":{{"example.org":{{"ed25519:a":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}}}}}}"#
        );
        // Boxed to their length, like texts that are read from a database.
        [client, federation].map(|json| Bytes::from(json.into_bytes().into_boxed_slice())).into()
    }

    #[test]
    fn the_counted_bytes_are_the_allocated_bytes() {
        let room_id = OwnedRoomId::try_from("!room:example.org").unwrap();
        let version: RoomVersion = "11".parse().unwrap();
        let mut head = Head::of_new_room(Some(room_id.clone()), version);
        let taken = allocation_counter::measure(|| {
            for number in 0..5_000 {
                let (client, federation) = member(&room_id, number);
                let pdu = Pdu::from_stored(version, room_id.clone(), client, federation).unwrap();
                let place = ("m.room.member".into(), format!("@user{number}:example.org").into());
                let event = Some(StateEvent { pdu, number: EventNumber::default() });
                head.remember(place, Remembered { event, changed_after: UNCHANGED });
            }
        });
        let (taken, counted) = (usize::try_from(taken.bytes_current).unwrap(), head.heap_bytes());
        assert!((taken * 9 / 10..taken * 13 / 10).contains(&counted), "{counted} counted, {taken} taken");
    }
}
