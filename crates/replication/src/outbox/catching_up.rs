//! What a destination that was behind has missed, from the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{EventSn, Position, RoomSn, UserSn};
use ruma::OwnedServerName;
use storage::{Due, StorageError};

use super::Outbox;
use super::destination::{MAX_EDUS, MAX_PDUS, OutgoingPdu};
use super::following::pdu_json;
use super::sending::NotSent;

/// A destination that has missed more events is sent the newest one of each room: it asks for the others if it wants them.
const MANY: usize = 500;

impl Outbox {
    /// Sends a destination the next events that it has missed. Returns up to where in the log it has everything then.
    pub(super) async fn catch_up(
        &self,
        server: &OwnedServerName,
        after: Position,
        until: Position,
    ) -> Result<Position, NotSent> {
        let mut missed = self.missed(server, after, until).await?;
        let sent_up_to = match missed.get(MAX_PDUS - 1) {
            Some(last) if missed.len() > MAX_PDUS => last.position,
            _ => until,
        };
        missed.truncate(MAX_PDUS);
        let events = self.events(&missed).await?;
        let origin_is_not = |sender: &str| sender.split_once(':').is_none_or(|(_, origin)| origin != server.as_str());
        let events = events.iter().filter(|(_, event)| origin_is_not(&event.sender));
        let pdu = |(due, event): &(Due, storage::OutgoingEvent)| {
            Some(Arc::new(OutgoingPdu { position: due.position, json: pdu_json(event)? }))
        };
        let pdus: Vec<_> = events.filter_map(pdu).collect();
        let edus = self.changed_keys(server, after, sent_up_to).await?;
        let (first, rest) = edus.split_at(edus.len().min(MAX_EDUS));
        if !pdus.is_empty() || !first.is_empty() {
            self.send(server, &pdus, first).await?;
        }
        for edus in rest.chunks(MAX_EDUS) {
            self.send(server, &[], edus).await?;
        }
        Ok(sent_up_to)
    }

    /// The EDUs that tell a destination whose keys have changed.
    async fn changed_keys(
        &self,
        server: &OwnedServerName,
        after: Position,
        until: Position,
    ) -> Result<Vec<Bytes>, StorageError> {
        let database = &self.parts.database;
        let rooms: Vec<i64> = database.rooms_of_server(server.as_str()).await?.into_iter().map(|room| room.0).collect();
        if rooms.is_empty() || after >= until {
            return Ok(Vec::new());
        }
        let mut users: BTreeSet<UserSn> =
            database.device_list_changes_in_rooms(&rooms, after, until).await?.into_iter().collect();
        // The server may not have known their devices before.
        users.extend(database.users_entered_since(&rooms, after, until).await?);
        let mut edus = Vec::new();
        for user_sn in users {
            edus.extend(self.parts.edus.device_list(user_sn, until).await?.map(|edu| edu.json));
        }
        Ok(edus)
    }

    /// What a destination has missed: everything, or if that is much, the newest event of each room.
    async fn missed(
        &self,
        server: &OwnedServerName,
        after: Position,
        until: Position,
    ) -> Result<Vec<Due>, StorageError> {
        let database = &self.parts.database;
        let rooms: Vec<i64> = database.rooms_of_server(server.as_str()).await?.into_iter().map(|room| room.0).collect();
        if rooms.is_empty() || after >= until {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(MANY).unwrap_or(i64::MAX).saturating_add(1);
        let mut due = database.due_events_of_rooms(&rooms, after, until, limit).await?;
        if due.len() > MANY {
            due = database.newest_due_events(&rooms, after, until).await?;
        }
        let (mut missed, left) = self.by_presence(server, due).await?;
        missed.extend(self.farewells(server, &left, after, until, limit).await?);
        missed.sort_unstable();
        missed.dedup();
        Ok(missed)
    }

    /// The events of rooms that the server is in, and the rooms that it is in no more.
    async fn by_presence(&self, server: &OwnedServerName, due: Vec<Due>) -> Result<(Vec<Due>, Vec<i64>), StorageError> {
        let (mut present, mut left): (Vec<RoomSn>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut of_present = Vec::with_capacity(due.len());
        for event in due {
            let room_sn = event.room_sn;
            if !present.contains(&room_sn) && !left.contains(&room_sn.0) {
                match self.parts.room_servers.is_in(room_sn, server.as_str()).await? {
                    true => present.push(room_sn),
                    false => left.push(room_sn.0),
                }
            }
            if present.contains(&room_sn) {
                of_present.push(event);
            }
        }
        Ok((of_present, left))
    }

    /// Of rooms that the server is in no more, the events by which its users left.
    async fn farewells(
        &self,
        server: &OwnedServerName,
        rooms: &[i64],
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<Due>, StorageError> {
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let database = &self.parts.database;
        let due = database.due_events_of_rooms(rooms, after, until, limit).await?;
        let sns: Vec<i64> = due.iter().map(|due| due.event_sn.0).collect();
        let farewells: Vec<EventSn> = database.member_events_of_server(&sns, server.as_str()).await?;
        Ok(due.into_iter().filter(|due| farewells.contains(&due.event_sn)).collect())
    }
}
