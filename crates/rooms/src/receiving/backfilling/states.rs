//! The states before and after events of the past, and what the rules say of the events there.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::EventSn;
use parking_lot::RwLock;
use room_engine::Pdu;
use room_engine::auth::AuthEvent;
use room_engine::receipt::{Verdict, VerifiedPdu};
use room_engine::state_map::{Chunk, MemoryChunks, Place, StateMap};
use ruma::OwnedEventId;
use storage::{Standing, StateBefore};

use super::super::dummy_event::is_dummy;
use super::super::told_state::ToldState;
use super::graph::BackwardGraph;
use crate::resolving::{Resolver, RoomIdentity};
use crate::{RoomError, Timeline};

/// An event of the past that was judged.
pub(super) struct Judged {
    pub(super) pdu: Pdu,
    pub(super) standing: Standing,
    /// The state event that it replaces.
    pub(super) replaces: Option<EventSn>,
    /// The state after it.
    pub(super) state: StateMap,
}

impl Timeline {
    /// Judges the events of a graph in their order. Those of which not everything is known that they follow, and no state was told, are
    /// left out, with what cannot be judged. Also returns the chunks of the states that may be new.
    pub(super) async fn judge_past(
        &self,
        room: &RoomIdentity,
        graph: &BackwardGraph,
        told: &HashMap<OwnedEventId, Vec<OwnedEventId>>,
    ) -> Result<(Vec<Judged>, Vec<Chunk>), RoomError> {
        let overlay = Arc::new(RwLock::new(MemoryChunks::default()));
        let database = self.database().overlaid(overlay.clone());
        let resolver = Resolver { database: &database, interned: self.interned(), room };
        let mut states: HashMap<OwnedEventId, StateMap> = HashMap::with_capacity(graph.events.len());
        let head = self.database().room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let current = head.state.ok_or(RoomError::StateUnknown)?;
        let (mut judged, mut chunks) = (Vec::with_capacity(graph.events.len()), Vec::new());
        for event in &graph.events {
            let pdu = event.event();
            let known = pdu.prev_events().iter().filter_map(|id| states.get(id).copied().or(graph.state_after(id)));
            let known: Vec<StateMap> = known.collect();
            let is_whole = pdu.prev_events().iter().all(|id| states.contains_key(id) || graph.has_place(id));
            let before = match told.get(pdu.event_id()).filter(|_| graph.follows_gap(pdu)) {
                Some(told) => {
                    let told = ToldState { events: told.clone(), then: None };
                    resolver.told_state(current, &told).await?
                }
                // By a part of the state it would be judged wrongly for ever.
                None if !is_whole => continue,
                None if !known.is_empty() => resolver.resolve(&known).await?,
                None if pdu.prev_events().is_empty() => StateBefore { base: StateMap::EMPTY, changes: Vec::new() },
                None => continue,
            };
            let place = self.place_of(pdu).await?;
            // A state event that is not stored by now cannot be in a state.
            if place.is_some() && graph.number(pdu.event_id()).is_none() {
                continue;
            }
            let Some(standing) = judge(&resolver, graph, event, &before).await? else { continue };
            let replaces = match place {
                Some(place) => resolver.event_at(&before, place).await?.map(|event| event.stored.sn),
                None => None,
            };
            let own = place.filter(|_| standing != Standing::Rejected).zip(graph.number(pdu.event_id()));
            let own = own.map(|(place, sn)| (place, Some(sn)));
            let mut state = before.base;
            for changes in [before.changes.as_slice(), own.as_slice()] {
                state = apply(&resolver, &overlay, state, changes, &mut chunks).await?;
            }
            states.insert(pdu.event_id().to_owned(), state);
            judged.push(Judged { pdu: pdu.clone(), standing, replaces, state });
        }
        Ok((judged, chunks))
    }
}

/// A state with changes. The chunks that are new are added to `overlay`, where the resolver finds them, and to `chunks`.
async fn apply(
    resolver: &Resolver<'_>,
    overlay: &RwLock<MemoryChunks>,
    state: StateMap,
    changes: &[(Place, Option<EventSn>)],
    chunks: &mut Vec<Chunk>,
) -> Result<StateMap, RoomError> {
    if changes.is_empty() {
        return Ok(state);
    }
    let applied = resolver.database.with_chunks(|found| state.apply(found, changes)).await?;
    overlay.write().extend(applied.new_chunks.iter().cloned());
    chunks.extend(applied.new_chunks);
    Ok(applied.map)
}

/// What becomes of an event; `None` if it cannot be judged, or is a create event that the room does not have.
async fn judge(
    resolver: &Resolver<'_>,
    graph: &BackwardGraph,
    event: &VerifiedPdu,
    before: &StateBefore,
) -> Result<Option<Standing>, RoomError> {
    let pdu = event.event();
    let mut evidence: HashMap<OwnedEventId, (Pdu, bool)> = HashMap::new();
    for event_id in event.needed_events() {
        let Some((stored, is_rejected)) = graph.evidence(&event_id) else { return Ok(None) };
        evidence.insert(event_id, (resolver.room.parse(stored)?, is_rejected));
    }
    if pdu.event_type() == "m.room.create" {
        // Another one was not stored.
        return Ok(graph.number(pdu.event_id()).map(|_| Standing::Backfilled));
    }
    let permitted = event.clone().check_auth_events(|event_id| {
        let (event, rejected) = evidence.get(event_id)?;
        Some(AuthEvent { event, rejected: *rejected })
    });
    let permitted = match permitted {
        Ok(permitted) => permitted,
        Err(_) => return Ok(Some(Standing::Rejected)),
    };
    let judged = match permitted.check_state_before(&resolver.auth_state(pdu, before).await?) {
        Ok(allowed) => allowed.accept(),
        Err(rejected) => rejected,
    };
    Ok(Some(match judged.verdict {
        Verdict::Rejected(_) => Standing::Rejected,
        Verdict::Accepted | Verdict::SoftFailed(_) if is_dummy(pdu) => Standing::Hidden,
        Verdict::Accepted | Verdict::SoftFailed(_) => Standing::Backfilled,
    }))
}
