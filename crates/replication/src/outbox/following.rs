//! From the log to the destinations.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use homeserver_core::{Position, RoomSn};
use room_engine::{RoomVersion, join};
use ruma::{OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use storage::{Due, LogEntry, Membership, OutgoingEvent, StorageError};

use super::Outbox;
use super::destination::OutgoingPdu;
use crate::edus::outbound::OutboundEdu;

/// Events that are read and handed over at once.
const AT_ONCE: usize = 200;
/// The log is looked at so often although nobody has rung.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An event of the log that may have to be sent.
struct Candidate {
    due: Due,
    /// Whether it may have ended a membership.
    may_be_end: bool,
}

/// An event with the servers that are sent it.
struct Addressed {
    due: Due,
    pdu: Arc<OutgoingPdu>,
    servers: Vec<OwnedServerName>,
    /// One of them that is sent it because one of its users was thrown out.
    farewell: Option<OwnedServerName>,
}

/// The part of a member event that says what a user is to the room.
#[derive(Deserialize)]
struct MemberEvent {
    content: MemberContent,
}

#[derive(Deserialize)]
struct MemberContent {
    membership: String,
}

impl Outbox {
    /// Hands what is new in the log to the destinations, for ever.
    pub(super) async fn follow(self: &Arc<Self>) {
        loop {
            if let Err(error) = self.hand_over().await {
                tracing::warn!(%error, "what other servers are to be sent cannot be read; trying again");
            }
            // A bell that has rung meanwhile is not missed.
            drop(tokio::time::timeout(LOOK_AGAIN_AFTER, self.bell.notified()).await);
        }
    }

    /// Hands everything that is in the log to the destinations.
    async fn hand_over(self: &Arc<Self>) -> Result<(), StorageError> {
        loop {
            self.notice_overlooked().await?;
            let (from, until) = (self.state.lock().position, self.parts.tail.end());
            if from >= until {
                // At the beginning of the duty, messages may wait although nothing is new.
                return self.hand_over_messages(until).await;
            }
            let (events, covered, is_late) = self.due(from, until).await?;
            // Before the position moves on: what was sent up to it is found by this look, or by the next.
            self.hand_over_messages(covered).await?;
            // A destination that catches up must know that something is about to be added.
            self.state.lock().target = covered;
            for batch in events.chunks(AT_ONCE) {
                let mut addressed = self.addressed(batch).await?;
                if is_late {
                    addressed = self.without_newcomers(addressed, from).await?;
                }
                for Addressed { pdu, servers, .. } in addressed {
                    let to_serve = self.state.lock().hand(&pdu, &servers);
                    to_serve.into_iter().for_each(|server| self.spawn(server));
                }
            }
            // Before the position moves on, so that a destination that fails with a change of keys is behind it.
            self.hand_over_edus(from, covered).await?;
            self.state.lock().position = covered;
        }
    }

    /// Has servers sent what they have missed because it was not known that they were in a room.
    async fn notice_overlooked(self: &Arc<Self>) -> Result<(), StorageError> {
        if !self.has_overlooked.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let overlooked = self.parts.database.overlooked_servers().await;
        let overlooked = overlooked.inspect_err(|_| self.has_overlooked.store(true, Ordering::Release))?;
        for (name, position) in overlooked {
            let Ok(server) = ServerName::parse(name) else { continue };
            let is_idle = self.state.lock().notice(&server, position);
            if is_idle {
                self.spawn(server);
            }
        }
        Ok(())
    }

    /// Tells destinations of messages to devices that wait for them.
    async fn hand_over_messages(self: &Arc<Self>, until: Position) -> Result<(), StorageError> {
        if !self.has_messages.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // What has arrived is not there any more.
        let waiting = self.parts.database.servers_with_to_device(Position::START, until).await;
        let waiting = waiting.inspect_err(|_| self.has_messages.store(true, Ordering::Release))?;
        let mut servers = Vec::with_capacity(waiting.len());
        for server_sn in waiting {
            servers.extend(ServerName::parse(&*self.parts.interned.server_name(server_sn).await?).ok());
        }
        let to_serve = self.state.lock().expect_messages(&servers);
        to_serve.into_iter().for_each(|server| self.spawn(server));
        Ok(())
    }

    /// Hands over what is in the log beside events. What is not in memory any more is out of date, but for changes of keys.
    async fn hand_over_edus(self: &Arc<Self>, from: Position, until: Position) -> Result<(), StorageError> {
        let (mut entries, mut entered) = (Vec::new(), Vec::new());
        let is_in_memory = self.parts.tail.visit(from, until, |entry| match entry {
            LogEntry::Typing { .. } | LogEntry::Receipt(_) | LogEntry::Presence(_) | LogEntry::DeviceList { .. } => {
                entries.push(entry.clone());
            }
            // A user of this server may have come into a room by way of another server, which passes the event on.
            LogEntry::Event(event) if event.follows_gap => {
                let joined = event.membership.filter(|(_, membership)| *membership == Membership::Join);
                let due = Due { position: event.sn.position(), event_sn: event.sn, room_sn: event.room_sn };
                entered.extend(joined.map(|(user_sn, _)| (user_sn, due)));
            }
            _ => {}
        });
        for (user_sn, due) in entered {
            let head = self.parts.database.room_head(due.room_sn).await?;
            // Servers in a room of which only a part is known ask for the devices of its users by themselves.
            let is_whole = head.is_some_and(|head| head.state_whole_since.is_some());
            if is_whole && self.is_local(&self.parts.interned.user_id(user_sn).await?) {
                let in_room = self.parts.room_servers.of(due.room_sn).await?;
                self.introduce(user_sn, &due, &in_room).await?;
            }
        }
        if !is_in_memory {
            for user_sn in self.parts.database.device_list_changes(from, until).await? {
                if let Some(edu) = self.parts.edus.device_list(user_sn, until).await? {
                    self.hand_over_edu(&edu).await?;
                }
            }
        }
        for entry in entries {
            if let Some(room_sn) = entry.room_sn()
                && self.parts.room_servers.of(room_sn).await?.is_empty()
            {
                continue;
            }
            if let Some(edu) = self.parts.edus.of(&entry).await? {
                self.hand_over_edu(&edu).await?;
            }
        }
        Ok(())
    }

    /// Hands an EDU to the servers of the rooms that it is about.
    pub(super) async fn hand_over_edu(self: &Arc<Self>, edu: &OutboundEdu) -> Result<(), StorageError> {
        let mut servers = BTreeSet::new();
        for room_sn in &edu.rooms {
            servers.extend(self.parts.room_servers.of(*room_sn).await?);
        }
        let servers: Vec<_> = servers.iter().filter_map(|server| ServerName::parse(&**server).ok()).collect();
        let to_serve = self.state.lock().hand_edu(edu, &servers);
        to_serve.into_iter().for_each(|server| self.spawn(server));
        Ok(())
    }

    /// What is to be sent of the log after `from`, up to where that is all, and whether it is not new any more.
    async fn due(&self, from: Position, until: Position) -> Result<(Vec<Candidate>, Position, bool), StorageError> {
        let mut events = Vec::new();
        let is_in_memory = self.parts.tail.visit(from, until, |entry| match entry {
            // By an event of this server's users after a gap this server has entered the room. The server that let it in passes that on.
            LogEntry::Event(event) if !event.follows_gap => {
                let due = Due { position: event.sn.position(), event_sn: event.sn, room_sn: event.room_sn };
                let may_be_end = event.membership.is_some_and(|(_, membership)| membership != Membership::Join);
                events.push((Candidate { due, may_be_end }, Some(event.sender_sn)));
            }
            LogEntry::Forward { position, room_sn, event_sn } => {
                let due = Due { position: *position, event_sn: *event_sn, room_sn: *room_sn };
                events.push((Candidate { due, may_be_end: true }, None));
            }
            _ => {}
        });
        if !is_in_memory {
            let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
            let due = self.parts.database.due_events(from, until, limit).await?;
            let is_all = due.len() < AT_ONCE;
            let covered = due.last().filter(|_| !is_all).map_or(until, |last| last.position);
            let candidates = due.into_iter().map(|due| Candidate { due, may_be_end: true });
            return Ok((candidates.collect(), covered, true));
        }
        let mut ours = Vec::with_capacity(events.len());
        for (event, sender_sn) in events {
            let is_ours = match sender_sn {
                Some(user_sn) => self.is_local(&self.parts.interned.user_id(user_sn).await?),
                None => true,
            };
            if is_ours {
                ours.push(event);
            }
        }
        Ok((ours, until, false))
    }

    pub(super) fn is_local(&self, user_id: &str) -> bool {
        user_id.split_once(':').is_some_and(|(_, server)| server == self.parts.server_name.as_str())
    }

    /// The PDUs, each with the servers that are sent it.
    async fn addressed(self: &Arc<Self>, candidates: &[Candidate]) -> Result<Vec<Addressed>, StorageError> {
        let mut servers_of: HashMap<RoomSn, Vec<Arc<str>>> = HashMap::new();
        for Candidate { due: Due { room_sn, .. }, .. } in candidates {
            if !servers_of.contains_key(room_sn) {
                servers_of.insert(*room_sn, self.parts.room_servers.of(*room_sn).await?);
            }
        }
        let has_others = |room_sn: &RoomSn| servers_of.get(room_sn).is_some_and(|servers| !servers.is_empty());
        // The user whose membership ends may be the last one of another server, or may only have been invited.
        let shared = candidates.iter().filter(|it| it.may_be_end || has_others(&it.due.room_sn));
        let shared: Vec<Due> = shared.map(|it| it.due).collect();
        let events = self.events(&shared).await?;
        self.introduce_newcomers(&events, &servers_of).await?;
        let mut addressed = Vec::with_capacity(events.len());
        for (due, event) in &events {
            let in_room = servers_of.get(&due.room_sn).map(Vec::as_slice).unwrap_or_default();
            let servers = self.receivers(event, in_room);
            if let Some(json) = pdu_json(event).filter(|_| !servers.is_empty()) {
                let farewell = thrown_out_of(event).and_then(|server| ServerName::parse(server).ok());
                let pdu = Arc::new(OutgoingPdu { position: due.position, json });
                addressed.push(Addressed { due: *due, pdu, servers, farewell });
            }
        }
        Ok(addressed)
    }

    /// The same without the servers that have come into the room since: what was said before is not for them.
    async fn without_newcomers(
        &self,
        mut addressed: Vec<Addressed>,
        from: Position,
    ) -> Result<Vec<Addressed>, StorageError> {
        let mut by_server: BTreeMap<OwnedServerName, Vec<Due>> = BTreeMap::new();
        for Addressed { due, servers, .. } in &addressed {
            for server in servers {
                by_server.entry(server.clone()).or_default().push(*due);
            }
        }
        let mut entitled = HashSet::new();
        for (server, due) in by_server {
            let due = self.entitled(&server, &due, from).await?;
            entitled.extend(due.into_iter().map(|due| (server.clone(), due.position)));
        }
        for Addressed { due, servers, farewell, .. } in &mut addressed {
            servers.retain(|server| {
                farewell.as_ref() == Some(server) || entitled.contains(&(server.clone(), due.position))
            });
        }
        Ok(addressed)
    }

    /// The events, as they are in the database.
    pub(super) async fn events(&self, due: &[Due]) -> Result<Vec<(Due, OutgoingEvent)>, StorageError> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let sns: Vec<i64> = due.iter().map(|due| due.event_sn.0).collect();
        let read = self.parts.database.outgoing_events(&sns).await?;
        let by_number: HashMap<_, _> = read.into_iter().map(|event| (event.sn, event)).collect();
        Ok(due.iter().filter_map(|due| Some((*due, by_number.get(&due.event_sn)?.clone()))).collect())
    }

    /// Who is sent an event: the servers in the room but for the sender's, and the server of a user who was thrown out by it, because
    /// that may not be in the room any more.
    fn receivers(&self, event: &OutgoingEvent, in_room: &[Arc<str>]) -> Vec<OwnedServerName> {
        let origin = event.sender.split_once(':').map(|(_, server)| server);
        let thrown_out = thrown_out_of(event);
        let is_listed = |server: &&str| in_room.iter().any(|listed| **listed == **server);
        let further = thrown_out.filter(|server| *server != self.parts.server_name && !is_listed(server));
        let all = in_room.iter().map(|server| &**server).chain(further);
        all.filter(|server| Some(*server) != origin).filter_map(|server| ServerName::parse(server).ok()).collect()
    }
}

/// The server of the user whose membership an event ends, if it does.
fn thrown_out_of(event: &OutgoingEvent) -> Option<&str> {
    let user_id = event.member.as_deref()?;
    let is_end = matches!(&*membership_in(&event.client_json)?, "leave" | "ban");
    user_id.split_once(':').filter(|_| is_end).map(|(_, server)| server)
}

/// Whether a member event says that its user has joined.
pub(super) fn is_join(client_json: &[u8]) -> bool {
    membership_in(client_json).is_some_and(|membership| membership == "join")
}

fn membership_in(client_json: &[u8]) -> Option<String> {
    serde_json::from_slice::<MemberEvent>(client_json).ok().map(|event| event.content.membership)
}

/// The PDU as other servers are sent it; `None` if its room is not one.
pub(super) fn pdu_json(event: &OutgoingEvent) -> Option<Bytes> {
    let version: RoomVersion = event.room_version.parse().ok()?;
    let room_id = <&RoomId>::try_from(&*event.room_id).ok()?;
    Some(join(&event.client_json, &event.federation_json, room_id, version).into())
}
