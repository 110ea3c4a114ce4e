//! The events of one room in a transaction.

use std::time::Duration;

use bytes::Bytes;
use federation::{FetchedKeys, NeededKeys};
use homeserver_core::RoomSn;
use room_engine::receipt::ReceivedPdu;
use rooms::{Reception, RoomError, RoomIdentity};
use ruma::{OwnedRoomId, OwnedServerName, RoomId};
use storage::{Standing, StillPartial};
use tokio::time::{Instant, timeout};

use super::{Outcomes, Receiving};
use crate::event_keys::keys_of_event;

/// How long the keys of servers may take.
const KEYS_LIMIT: Duration = Duration::from_secs(20);
/// How long a join may take that events of the room wait for.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// How long what is missing before the events of a room may take.
const GAPS_LIMIT: Duration = Duration::from_secs(120);

impl Receiving {
    /// Takes in the events of one room, after those of earlier transactions.
    pub(super) async fn room(
        &self,
        origin: &OwnedServerName,
        room_id: OwnedRoomId,
        pdus: Vec<Bytes>,
    ) -> Result<Outcomes, RoomError> {
        let parts = &self.parts;
        let Some(room_sn) = self.entered(&room_id).await? else {
            return self.of_strange_room(&room_id, pdus).await;
        };
        let room = parts.timeline.identity_of(&room_id).await?;
        let events = read(&room, &pdus);
        if !parts.timeline.admits_server(room_sn, origin).await? {
            let refused = || Some("The room's server_acl does not admit your server.".to_owned());
            return Ok(events.iter().map(|event| (event.event().event_id().to_owned(), refused())).collect());
        }
        if parts.timeline.is_partial(&room).await? && !self.is_known_in(&room, origin).await? {
            // It may be banned, which is not known yet. Servers that come into the room are told by those that let them in.
            return Err(StillPartial.into());
        }
        let keys = self.keys_of(&events).await;
        let turn = self.rooms.lock(&room_id).await;
        let receptions = parts.timeline.receive_all(&room, events.clone(), &keys).await?;
        // What is missing may take long to come. Other servers need not wait for it.
        drop(turn);
        let deadline = Instant::now() + GAPS_LIMIT;
        let mut outcomes = Outcomes::new();
        for (event, reception) in events.into_iter().zip(receptions) {
            let event_id = event.event().event_id().to_owned();
            let reception = match reception {
                Ok(Reception::Missing(_)) => self.receive_after_missing(origin, &room, event, &keys, deadline).await,
                reception => reception,
            };
            match reception {
                // The other server sends it again.
                Err(error) if error.is_retryable() => return Err(error),
                reception => drop(outcomes.insert(event_id, outcome_of(reception))),
            }
        }
        Ok(outcomes)
    }

    /// Whether a server is in a room of which not all members are known, as far as is known.
    async fn is_known_in(&self, room: &RoomIdentity, server: &OwnedServerName) -> Result<bool, RoomError> {
        let database = &self.parts.database;
        Ok(database.is_server_in_room(room.room_sn, server.as_str()).await?
            || database.rooms_told_of_server(server.as_str()).await?.contains(&room.room_sn))
    }

    /// The number of a room that this server is in. A join that is under way is waited for: the others send events from the moment that
    /// they have taken it in.
    async fn entered(&self, room_id: &RoomId) -> Result<Option<RoomSn>, RoomError> {
        if let Some(room_sn) = self.is_in(room_id).await? {
            return Ok(Some(room_sn));
        }
        match timeout(JOIN_LIMIT, self.parts.memberships.entered(room_id)).await {
            Ok(()) => self.is_in(room_id).await,
            Err(_) => Ok(None),
        }
    }

    async fn is_in(&self, room_id: &RoomId) -> Result<Option<RoomSn>, RoomError> {
        let Some(room_sn) = self.parts.interned.find_room(room_id.as_str()).await? else { return Ok(None) };
        Ok(self.parts.database.is_in_room(room_sn).await?.then_some(room_sn))
    }

    /// A room that this server is not in. An event of it may end an invitation.
    async fn of_strange_room(&self, room_id: &RoomId, pdus: Vec<Bytes>) -> Result<Outcomes, RoomError> {
        for pdu in pdus {
            if !self.parts.memberships.receive_retraction(room_id, &pdu).await? {
                tracing::debug!(%room_id, "an event of a room that this server is not in was left out");
            }
        }
        Ok(Outcomes::new())
    }

    /// The keys that events were signed with, as far as they can be had.
    pub(super) async fn keys_of(&self, events: &[ReceivedPdu]) -> FetchedKeys {
        let mut needed = NeededKeys::new();
        for (server, keys) in events.iter().flat_map(keys_of_event) {
            needed.entry(server).or_default().extend(keys);
        }
        self.parts.keys.for_events(&needed, Instant::now() + KEYS_LIMIT).await
    }
}

/// The events that have the form of the room's version.
fn read(room: &RoomIdentity, pdus: &[Bytes]) -> Vec<ReceivedPdu> {
    let mut events = Vec::with_capacity(pdus.len());
    for pdu in pdus {
        match ReceivedPdu::parse(room.version, Some(&room.room_id), pdu) {
            Ok(event) => events.push(event),
            Err(reason) => tracing::debug!(%reason, room_id = %room.room_id, "a received event was dropped"),
        }
    }
    events
}

/// What the other server is told; `None` if there is nothing wrong that it could do anything about.
fn outcome_of(reception: Result<Reception, RoomError>) -> Option<String> {
    match reception {
        // That the rules of the room do not allow it here is nothing that went wrong with it.
        Ok(Reception::Stored(Standing::Rejected, reason)) => {
            tracing::info!(reason, "a received event was rejected");
            None
        }
        Ok(Reception::Stored(..) | Reception::Known(_)) => None,
        // Other servers do not expect to hear of it: what is missing may come with a later event.
        Ok(Reception::Missing(missing)) => {
            tracing::info!(?missing, "a received event was left out, because events that it names could not be had");
            None
        }
        Ok(Reception::Dropped(reason)) => {
            tracing::debug!(%reason, "a received event was dropped");
            Some(reason.to_string())
        }
        Err(error) => {
            tracing::warn!(%error, "a received event was not stored");
            Some("The event could not be taken in.".to_owned())
        }
    }
}
