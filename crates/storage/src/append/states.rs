//! Giving events their numbers, and rooms their states.

use std::sync::Arc;

use homeserver_core::EventSn;
use room_engine::state_map::{Chunk, Place, StateMap};

use super::head::WriterHead;
use super::numbered::{Effect, NumberedAppend, NumberedEvent};
use super::{Append, EventNumber, StateEffect, unread};
use crate::events::Standing;
use crate::{StorageError, Tx};

/// Gives the events their numbers and their states, and moves the head behind them.
pub(super) async fn write_append<'a>(
    tx: &mut Tx,
    append: &'a Append,
    head: &mut WriterHead,
    chunks: &mut Vec<Chunk>,
) -> Result<NumberedAppend<'a>, StorageError> {
    let mut events = Vec::with_capacity(append.events.len());
    let mut effects = Vec::new();
    let mut state = head.state;
    for event in &append.events {
        let sn = EventSn(tx.next_position().await?.0);
        event.number.assign(sn);
        if let Some(before) = &event.state_before {
            state = apply(tx, before.base, &before.changes, chunks).await?;
        }
        let place = event.state_key_sn.map(|key_sn| Place::new(event.type_sn, key_sn));
        if let Some(place) = place.filter(|_| event.standing != Standing::Rejected) {
            state = apply(tx, state, &[(place, Some(sn))], chunks).await?;
            if append.resolved.is_none() {
                effects.push(Effect {
                    position: sn.position(),
                    place,
                    event_sn: Some(sn),
                    replaces: event.replaces.as_ref().map(|(replaced, _)| replaced.sn()),
                    membership: event.membership,
                    stays_joined: unread::stays_joined(event),
                });
            }
        }
        let previous_sn = (head.last > 0).then_some(EventSn(head.last));
        if event.standing == Standing::Accepted {
            head.countable_total += i64::from(event.unread.usual.notify && event.unread.thread.is_none());
            head.last = sn.0;
        }
        if event.standing.is_followed() {
            head.depth = head.depth.max(event.depth);
        }
        let stored = Arc::new(append.stored(event, sn, previous_sn, head.countable_total));
        events.push(NumberedEvent { event, stored, state });
    }
    if let Some(resolved) = &append.resolved {
        state = resolve(tx, append, head, resolved, &mut effects, chunks).await?;
    }
    head.advance(append, state);
    Ok(NumberedAppend { append, events, effects })
}

/// Changes the current state to what it was resolved to.
async fn resolve(
    tx: &mut Tx,
    append: &Append,
    head: &mut WriterHead,
    resolved: &[StateEffect],
    effects: &mut Vec<Effect>,
    chunks: &mut Vec<Chunk>,
) -> Result<StateMap, StorageError> {
    for effect in resolved {
        let event_sn = effect.event.as_ref().map(EventNumber::sn);
        let position = match event_sn {
            Some(sn) if append.is_by_own_event(effect) => sn.position(),
            _ => tx.next_position().await?,
        };
        head.last = head.last.max(position.0);
        effects.push(Effect::of_resolution(effect, position));
    }
    let changes: Vec<_> = resolved.iter().map(|it| (it.place, it.event.as_ref().map(EventNumber::sn))).collect();
    apply(tx, head.state, &changes, chunks).await
}

async fn apply(
    tx: &mut Tx,
    state: StateMap,
    changes: &[(Place, Option<EventSn>)],
    chunks: &mut Vec<Chunk>,
) -> Result<StateMap, StorageError> {
    let applied = tx.with_chunks(|loaded| state.apply(loaded, changes)).await?;
    tx.chunks_mut().extend(applied.new_chunks.iter().cloned());
    chunks.extend(applied.new_chunks);
    Ok(applied.map)
}
