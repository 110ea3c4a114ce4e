//! Which events a server may be sent that it has missed: those that were sent while it was in their room.
//!
//! What is sent at once goes to the servers that are in the room at that moment. What is sent later goes by when this server learned who
//! came and who left, and, because it learns of some members late, by the room's state at the event. `m.room.history_visibility` says what
//! others may ask for, and does not widen what they are sent.

use std::collections::{BTreeMap, HashMap, HashSet};

use homeserver_core::{EventSn, Position, RoomSn};
use room_engine::state_map::{Place, StateMap};
use ruma::ServerName;
use storage::{Due, StorageError};

use super::Outbox;
use super::following::is_join;

/// Whether a server was in a room at an event is decided by so many of its users, those first who are in the room.
const MAX_MEMBERS: i64 = 100;

impl Outbox {
    /// Those of these events, which are all after `after`, that a server may be sent; in the order of the log.
    pub(super) async fn entitled(
        &self,
        server: &ServerName,
        due: &[Due],
        after: Position,
    ) -> Result<Vec<Due>, StorageError> {
        let mut by_room: BTreeMap<RoomSn, Vec<Due>> = BTreeMap::new();
        for event in due {
            by_room.entry(event.room_sn).or_default().push(*event);
        }
        let mut entitled = Vec::with_capacity(due.len());
        for (room_sn, due) in by_room {
            entitled.extend(self.entitled_in(room_sn, server, due, after).await?);
        }
        entitled.sort_unstable();
        Ok(entitled)
    }

    async fn entitled_in(
        &self,
        room_sn: RoomSn,
        server: &ServerName,
        due: Vec<Due>,
        after: Position,
    ) -> Result<Vec<Due>, StorageError> {
        let database = &self.parts.database;
        if database.has_server_stayed(room_sn, server.as_str(), after).await? {
            return Ok(due);
        }
        let stays = database.stays_of_server(room_sn, server.as_str()).await?;
        if stays.is_empty() && self.parts.room_servers.is_in(room_sn, server.as_str()).await? {
            // Of a room that this server has just joined, it may know the servers before it knows the members.
            return Ok(due);
        }
        let is_covered = |due: &Due| stays.iter().any(|stay| stay.covers(due.position));
        let (mut entitled, others): (Vec<Due>, Vec<Due>) = due.into_iter().partition(is_covered);
        if !others.is_empty() {
            let in_state = self.in_state(room_sn, server, &others).await?;
            entitled.extend(others.into_iter().filter(|due| in_state.contains(&due.event_sn)));
        }
        Ok(entitled)
    }

    /// Those of the events in the state after which a user of the server has joined.
    async fn in_state(
        &self,
        room_sn: RoomSn,
        server: &ServerName,
        events: &[Due],
    ) -> Result<HashSet<EventSn>, StorageError> {
        let (database, interned) = (&self.parts.database, &self.parts.interned);
        let Some(event_type) = interned.find_type("m.room.member").await? else { return Ok(HashSet::new()) };
        let mut places = Vec::new();
        for (user_id, _) in database.members_of_server(room_sn, server.as_str(), MAX_MEMBERS).await? {
            places.extend(interned.find_key(&user_id).await?.map(|key| Place::new(event_type, key)));
        }
        let sns: Vec<i64> = events.iter().map(|due| due.event_sn.0).collect();
        let states: HashMap<EventSn, StateMap> = database.states_after(&sns).await?.into_iter().collect();
        let members: Vec<(EventSn, Vec<EventSn>)> = database
            .with_chunks(|chunks| {
                let members_at = |(event_sn, state): (&EventSn, &StateMap)| {
                    let found = state.get_many(chunks, &places);
                    found.map(|found| (*event_sn, found.into_iter().flatten().collect::<Vec<EventSn>>()))
                };
                states.iter().map(members_at).collect()
            })
            .await?;
        let mut of_server: Vec<i64> = members.iter().flat_map(|(_, members)| members).map(|sn| sn.0).collect();
        of_server.sort_unstable();
        of_server.dedup();
        let joined: HashSet<EventSn> = database
            .events(&of_server)
            .await?
            .into_iter()
            .filter(|event| is_join(&event.client_json))
            .map(|event| event.sn)
            .collect();
        let has_joined = |members: &Vec<EventSn>| members.iter().any(|member| joined.contains(member));
        Ok(members.into_iter().filter(|(_, members)| has_joined(members)).map(|(event_sn, _)| event_sn).collect())
    }
}
