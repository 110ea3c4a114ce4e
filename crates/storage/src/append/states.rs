//! Giving events their numbers, and rooms their states.

use std::collections::HashSet;
use std::sync::Arc;

use homeserver_core::{EventSn, Position, UserSn};
use room_engine::state_map::{Chunk, Place, StateMap};

use super::head::WriterHead;
use super::numbered::{Effect, NumberedAppend, NumberedEvent};
use super::{Append, EventNumber, StateEffect, unread};
use crate::events::Standing;
use crate::{StorageError, Tx, params};

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
    // Nobody has anything in memory of a room that was not known before.
    let is_unknown = append.is_entry && head.version == 0;
    let early = early_positions(tx, append).await?;
    for event in &append.events {
        let position = tx.next_position().await?;
        if !event.arrival.was_outlier {
            event.number.assign(EventSn(position.0));
        }
        let sn = event.number.sn();
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
        if event.is_news() {
            head.countable_total += i64::from(event.unread.usual.notify && event.unread.thread.is_none());
            head.last = sn.0;
        }
        if event.standing.is_followed() {
            head.depth = head.depth.max(event.depth);
        }
        let stored = Arc::new(append.stored(event, (sn, position), previous_sn, head.countable_total));
        events.push(NumberedEvent { event, stored, state, position });
    }
    if let Some(resolved) = &append.resolved {
        let effects_of = resolve(tx, append, resolved, early).await?;
        head.last = effects_of.iter().map(|effect| effect.position.0).fold(head.last, i64::max);
        effects.extend(effects_of);
        let changes: Vec<_> = resolved.iter().map(|it| (it.place, it.event.as_ref().map(EventNumber::sn))).collect();
        state = apply(tx, head.state, &changes, chunks).await?;
    }
    head.advance(append, state);
    let local_users = if is_unknown { Some(local_users(tx, &effects).await?) } else { None };
    Ok(NumberedAppend { append, events, effects, local_users })
}

/// The positions of the changes of the state that come before the events.
async fn early_positions(tx: &mut Tx, append: &Append) -> Result<Vec<Position>, StorageError> {
    let count = if append.is_entry { append.positions() - append.positions_of_events() } else { 0 };
    let mut positions = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for _ in 0..count {
        positions.push(tx.next_position().await?);
    }
    Ok(positions)
}

/// The changes of the current state to what it was resolved to, with their positions.
async fn resolve(
    tx: &mut Tx,
    append: &Append,
    resolved: &[StateEffect],
    early: Vec<Position>,
) -> Result<Vec<Effect>, StorageError> {
    let mut effects = Vec::with_capacity(resolved.len());
    let mut early = early.into_iter();
    for effect in resolved {
        let own = effect.event.as_ref().filter(|_| append.is_by_own_event(effect));
        let position = match own {
            Some(number) => number.sn().position(),
            None => match early.next() {
                Some(position) => position,
                None => tx.next_position().await?,
            },
        };
        effects.push(Effect::of_resolution(effect, position));
    }
    Ok(effects)
}

/// The users of this server whose membership changes.
async fn local_users(tx: &mut Tx, effects: &[Effect]) -> Result<HashSet<UserSn>, StorageError> {
    let users: Vec<i64> = effects.iter().filter_map(|effect| Some(effect.membership?.0.0)).collect();
    let sql = "SELECT user_sn FROM accounts WHERE user_sn IN LIST($1)";
    Ok(tx.query(sql, params![&users], |row| row.get(0)).await?.into_iter().collect())
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
