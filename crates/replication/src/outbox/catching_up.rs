//! What a destination that was behind has missed, from the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{Position, UserSn};
use ruma::OwnedServerName;
use storage::{Due, OutgoingEvent, StorageError};

use super::Outbox;
use super::destination::{MAX_EDUS, MAX_PDUS, OutgoingPdu};
use super::following::pdu_json;
use super::sending::NotSent;

/// A destination that has missed more events is sent the newest one of each room: it asks for the others if it wants them.
const MANY: usize = 500;
/// Of what users have read, and of who is there, a destination is sent the newest that it has missed, at most so many of each.
const MAX_RECEIPTS: i64 = 500;
const MAX_PRESENCE: i64 = 200;

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
        let pdu = |(due, event): &(Due, OutgoingEvent)| {
            Some(Arc::new(OutgoingPdu { position: due.position, json: pdu_json(event)? }))
        };
        let pdus: Vec<_> = events.filter_map(pdu).collect();
        let edus = self.missed_edus(server, after, sent_up_to).await?;
        let (first, rest) = edus.split_at(edus.len().min(MAX_EDUS));
        if !pdus.is_empty() || !first.is_empty() {
            self.send(server, &pdus, first).await?;
        }
        for edus in rest.chunks(MAX_EDUS) {
            self.send(server, &[], edus).await?;
        }
        Ok(sent_up_to)
    }

    /// The EDUs that tell a destination whose keys have changed, how far users have read, and who is there: the last of each. Who typed
    /// is out of date.
    async fn missed_edus(
        &self,
        server: &OwnedServerName,
        after: Position,
        until: Position,
    ) -> Result<Vec<Bytes>, StorageError> {
        let (database, edus) = (&self.parts.database, &self.parts.edus);
        let rooms = self.rooms_of(server).await?;
        if rooms.is_empty() || after >= until {
            return Ok(Vec::new());
        }
        let mut users: BTreeSet<UserSn> =
            database.device_list_changes_in_rooms(&rooms, after, until).await?.into_iter().collect();
        // The server may not have known their devices before.
        users.extend(database.users_entered_since(&rooms, after, until).await?);
        let mut missed = Vec::new();
        for user_sn in users {
            missed.extend(edus.device_list(user_sn, until).await?);
        }
        for receipt in database.own_receipts(&rooms, after, until, MAX_RECEIPTS).await? {
            missed.extend(edus.receipt(&receipt).await?);
        }
        for presence in database.own_presence_changes(&rooms, after, until, MAX_PRESENCE).await? {
            missed.extend(edus.presence(&presence).await?);
        }
        Ok(missed.into_iter().map(|edu| edu.json).collect())
    }

    /// The rooms that a destination is in now.
    async fn rooms_of(&self, server: &OwnedServerName) -> Result<Vec<i64>, StorageError> {
        let mut rooms = Vec::new();
        for room_sn in self.parts.database.rooms_of_server(server.as_str()).await? {
            if self.parts.room_servers.is_in(room_sn, server.as_str()).await? {
                rooms.push(room_sn.0);
            }
        }
        Ok(rooms)
    }

    /// What a destination has missed of what it may be sent: everything, or if that is much, the newest event of each room.
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
        let mut missed = self.entitled(server, &due, after).await?;
        // A server whose users were all removed is told so.
        missed.extend(database.farewells(server.as_str(), &rooms, after, until).await?);
        missed.sort_unstable();
        missed.dedup();
        Ok(missed)
    }
}
