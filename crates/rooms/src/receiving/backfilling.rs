//! Filling gaps in timelines with events that another server tells.
//!
//! The events are verified and judged as any other, by the state before them: the first of them by the state that was told, the others by
//! what follows from it. They get places in the timeline, and change neither the room's end nor its current state.

mod ends;
mod graph;
mod states;

use std::collections::HashMap;

use bytes::Bytes;
use homeserver_core::{EventSn, Timestamp};
use room_engine::Pdu;
use room_engine::receipt::{KeyLookup, VerifiedPdu};
use ruma::{OwnedEventId, RoomId};
use storage::{EventNames, FetchedEvent, Gap, GapFilling, PastRedaction, Standing, StorageError};

use self::graph::BackwardGraph;
use self::states::Judged;
use super::appending::Redacts;
use crate::resolving::{Resolver, RoomIdentity};
use crate::{RoomError, Timeline};

/// Events of the past, as another server told them.
#[derive(Debug)]
pub struct Backfill<'a> {
    /// The gap that they are to fill.
    pub gap: &'a Gap,
    /// The events, in any order.
    pub events: &'a [Bytes],
    /// Whether they need not lead to the end of the gap. Then it stays, up to the events.
    pub is_detached: bool,
    /// The states before those of them whose previous events are missing: the IDs of the events, which are all stored.
    pub states: &'a HashMap<OwnedEventId, Vec<OwnedEventId>>,
}

/// What is needed to store events of the past.
#[derive(Clone, Debug, Default)]
pub struct BackfillNeeds {
    /// The events whose previous events are missing, the oldest first: the states before them have to be told.
    pub states_before: Vec<OwnedEventId>,
    /// Auth events that are not known here, by the event that names them.
    pub auth_events: Vec<(OwnedEventId, Vec<OwnedEventId>)>,
}

impl Timeline {
    /// The IDs of the events at the end of a gap, which others are asked from.
    ///
    /// # Errors
    /// [`RoomError`] if the database cannot be read.
    pub async fn frontier(&self, gap: &Gap) -> Result<Vec<OwnedEventId>, RoomError> {
        let ids = self.database().event_ids(&gap.frontier).await?;
        Ok(ids.into_iter().filter_map(|(_, id)| OwnedEventId::try_from(String::from(id)).ok()).collect())
    }

    /// What has to be fetched before events of the past can be stored.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is not known here.
    pub async fn needs_of_backfill<K: KeyLookup + Sync + ?Sized>(
        &self,
        room_id: &RoomId,
        (gap, is_detached): (&Gap, bool),
        events: &[Bytes],
        keys: &K,
    ) -> Result<BackfillNeeds, RoomError> {
        let room = self.identity_of(room_id).await?;
        let graph = self.backward_graph(&room, (gap, is_detached), events, keys).await?;
        let mut needs = BackfillNeeds::default();
        for event in &graph.events {
            if graph.follows_gap(event.event()) {
                needs.states_before.push(event.event().event_id().to_owned());
            }
            let unknown: Vec<_> = event.needed_events().into_iter().filter(|id| !graph.is_stored_or_new(id)).collect();
            if !unknown.is_empty() {
                needs.auth_events.push((event.event().event_id().to_owned(), unknown));
            }
        }
        Ok(needs)
    }

    /// Stores events of the past in a gap. Returns how many were stored; none if another request has filled the gap.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is not known here; [`RoomError::Invalid`] if a told state cannot be used.
    #[tracing::instrument(level = "debug", skip_all, fields(events = backfill.events.len()))]
    pub async fn store_backfilled<K: KeyLookup + Sync + ?Sized>(
        &self,
        room_id: &RoomId,
        backfill: &Backfill<'_>,
        keys: &K,
    ) -> Result<usize, RoomError> {
        let room = self.identity_of(room_id).await?;
        // State events have their numbers before the states that they are in.
        self.store_outliers(&room, backfill.events, keys).await?;
        let graph = self.backward_graph(&room, (backfill.gap, backfill.is_detached), backfill.events, keys).await?;
        let (judged, chunks) = self.judge_past(&room, &graph, backfill.states).await?;
        let pdus: Vec<&Pdu> = judged.iter().map(|judged| &judged.pdu).collect();
        let names = self.names_of(&pdus).await?;
        let redacted = self.redacted_before(&room, &pdus).await?;
        let mut events = Vec::with_capacity(judged.len());
        for judged in judged.iter().rev() {
            let already = redacted.get(judged.pdu.event_id());
            let kept = already.map_or(&judged.pdu, |already| &already.pdu);
            let by = already.map(|already| already.by.0);
            events.push(graph.fetched(judged, kept, by, &names)?);
        }
        let kept_frontier = if backfill.is_detached { Vec::new() } else { graph.kept_frontier(&judged) };
        let stored = events.len();
        if stored == 0 && (backfill.is_detached || kept_frontier.len() == backfill.gap.frontier.len()) {
            return Ok(0);
        }
        let (room_sn, gap) = (room.room_sn, backfill.gap.clone());
        let detached_at =
            if backfill.is_detached { Some(self.database().place_in(room_sn, &gap).await?) } else { None };
        let filling = GapFilling { room_sn, gap, detached_at, events, kept_frontier, chunks };
        if !self.database().fill_gap(filling).await? {
            return Ok(0);
        }
        self.redact_by_past(&room, &judged).await?;
        if !backfill.is_detached {
            self.give_up_followed_ends(&room, &judged).await?;
        }
        Ok(stored)
    }

    /// Redacts what the stored events of the past redact.
    async fn redact_by_past(&self, room: &RoomIdentity, judged: &[Judged]) -> Result<(), RoomError> {
        let resolver = Resolver { database: self.database(), interned: self.interned(), room };
        for judged in judged.iter().filter(|it| it.standing == Standing::Backfilled) {
            let what = match self.redaction_by(&resolver, &judged.pdu).await? {
                Redacts::Nothing => continue,
                Redacts::Stored(redaction) => PastRedaction::Stored {
                    target: redaction.number.sn(),
                    client_json: redaction.client_json,
                    federation_json: redaction.federation_json,
                    relates_to: redaction.relates_to,
                },
                Redacts::Awaited(target_id) => PastRedaction::Awaited(target_id),
            };
            let ids = [judged.pdu.event_id().to_string()];
            if let Some(by) = self.database().graph_events_by_id(room.room_sn, &ids).await?.pop() {
                self.database().redact_past(room.room_sn, by.stored.sn, what).await?;
            }
        }
        Ok(())
    }

    async fn backward_graph<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        (gap, is_detached): (&Gap, bool),
        events: &[Bytes],
        keys: &K,
    ) -> Result<BackwardGraph, RoomError> {
        let verified = self.verify_all(room.version, &room.room_id, events, keys).await?;
        let verified: Vec<VerifiedPdu> = verified.into_iter().flatten().collect();
        BackwardGraph::load(self.database(), room, (gap, is_detached), verified).await
    }
}

impl BackwardGraph {
    /// An event as it is stored; `kept` is what is left of it.
    fn fetched(
        &self,
        judged: &Judged,
        kept: &Pdu,
        redacted_by: Option<EventSn>,
        names: &EventNames,
    ) -> Result<FetchedEvent, RoomError> {
        let pdu = &judged.pdu;
        let nameless = || StorageError::Corrupt(format!("what event {} names has no numbers", pdu.event_id()));
        let state_key_sn = match pdu.state_key() {
            Some(state_key) => Some(*names.keys.get(state_key).ok_or_else(nameless)?),
            None => None,
        };
        Ok(FetchedEvent {
            stored: self.number(pdu.event_id()),
            event_id: pdu.event_id().as_str().into(),
            type_sn: *names.types.get(pdu.event_type()).ok_or_else(nameless)?,
            state_key_sn,
            sender_sn: *names.users.get(pdu.sender().as_str()).ok_or_else(nameless)?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            client_json: kept.client_json().clone(),
            federation_json: kept.federation_json().clone(),
            replaces_sn: judged.replaces,
            redacted_by,
            standing: judged.standing,
            state: judged.state,
            follows_gap: self.follows_gap(pdu),
        })
    }
}
