//! The rows that follow from appends, for each table those of the whole batch.

use std::collections::HashMap;

use database::TableRows;
use homeserver_core::{Position, RoomSn};
use room_engine::state_map::Chunk;

use super::{Append, Effect, NumberedAppend, NumberedEvent, Redaction, WriterHead, arrivals};
use crate::client_transactions::ClientTransaction;
use crate::unread::MAIN_TIMELINE;
use crate::{Membership, StorageError, Tx, Value, params};

/// The number in `state_changes` where a type and state key have no event any more.
const NO_EVENT: i64 = 0;

pub(super) fn of_all<'a>(
    written: &'a [NumberedAppend<'a>],
    heads: &'a HashMap<RoomSn, WriterHead>,
    chunks: &'a [Chunk],
    position: Position,
) -> Vec<TableRows<'a>> {
    let [state_changes, current_state] = state(each_effect(written));
    let [membership_changes, memberships] = memberships(each_effect(written));
    vec![
        state_chunks(chunks, position),
        events(written),
        state_changes,
        current_state,
        membership_changes,
        memberships,
        transactions(written),
        arrivals::awaited(written),
        room_heads(heads),
    ]
}

pub(super) fn each_event<'a>(
    written: &'a [NumberedAppend<'a>],
) -> impl Iterator<Item = (&'a Append, &'a NumberedEvent<'a>)> {
    written.iter().flat_map(|append| append.events.iter().map(|event| (append.append, event)))
}

pub(super) fn each_effect<'a>(written: &'a [NumberedAppend<'a>]) -> impl Iterator<Item = (RoomSn, &'a Effect)> {
    written.iter().flat_map(|append| append.effects.iter().map(|effect| (append.append.room_sn, effect)))
}

/// A chunk that is there already is marked as needed again, so that it is not removed as a chunk without use: `position` is
/// behind every one that was given out before this transaction, which a room's last visible event need not be.
pub(crate) fn state_chunks(chunks: &[Chunk], position: Position) -> TableRows<'_> {
    let unique: HashMap<_, _> = chunks.iter().map(|chunk| (chunk.id(), chunk)).collect();
    let rows = unique
        .into_values()
        .map(|chunk| vec![Value::Blob(Some(chunk.id_bytes())), chunk.bytes().into(), position.into()])
        .collect();
    let into = "state_chunks (chunk_id, bytes, written_at) \
                ON CONFLICT (chunk_id) DO UPDATE SET written_at = excluded.written_at";
    TableRows { into, rows }
}

fn events<'a>(written: &'a [NumberedAppend<'a>]) -> TableRows<'a> {
    let rows = each_event(written)
        .filter(|(_, written)| !written.event.arrival.was_outlier)
        .map(|(append, NumberedEvent { event, stored, state, .. })| {
            vec![
                stored.sn.into(),
                (&event.event_id).into(),
                append.room_sn.into(),
                event.type_sn.into(),
                event.state_key_sn.into(),
                event.sender_sn.into(),
                event.origin_server_ts.into(),
                event.depth.into(),
                stored.countable_total.into(),
                stored.replaces_sn.into(),
                (&event.client_json).into(),
                (&event.federation_json).into(),
                event.standing.code().into(),
                Value::Blob(Some(state.root_bytes())),
                event.unread.thread.map_or(MAIN_TIMELINE, |root| root.0).into(),
                event.arrival.redacted_by.as_ref().map(|(sn, _)| *sn).into(),
            ]
        })
        .collect();
    let into = "events (event_sn, event_id, room_sn, type_sn, state_key_sn, sender_sn, origin_server_ts, depth, \
                countable_total, replaces_sn, client_json, federation_json, standing, state_root, thread_sn, redacted_by)";
    TableRows { into, rows }
}

pub(crate) fn state<'a>(effects: impl Iterator<Item = (RoomSn, &'a Effect)>) -> [TableRows<'a>; 2] {
    let mut changes = Vec::new();
    let mut current = HashMap::new();
    for (room_sn, effect) in effects {
        changes.push(vec![
            room_sn.into(),
            effect.position.into(),
            effect.place.event_type.into(),
            effect.place.state_key.into(),
            effect.event_sn.map_or(NO_EVENT, |sn| sn.0).into(),
            effect.replaces.into(),
        ]);
        current.insert((room_sn, effect.place), effect.event_sn);
    }
    let changes_into = "state_changes (room_sn, position, type_sn, key_sn, event_sn, replaces_sn)";
    let rows = current
        .into_iter()
        .filter_map(|((room_sn, place), event_sn)| {
            Some(vec![room_sn.into(), place.event_type.into(), place.state_key.into(), event_sn?.into()])
        })
        .collect();
    let into = "current_state (room_sn, type_sn, key_sn, event_sn) \
                ON CONFLICT (room_sn, type_sn, key_sn) DO UPDATE SET event_sn = excluded.event_sn";
    [TableRows { into: changes_into, rows: changes }, TableRows { into, rows }]
}

pub(crate) fn memberships<'a>(effects: impl Iterator<Item = (RoomSn, &'a Effect)>) -> [TableRows<'a>; 2] {
    let mut changes = Vec::new();
    let mut current = HashMap::new();
    for (room_sn, effect) in effects {
        let Some((user_sn, membership)) = effect.membership else { continue };
        let code = crate::membership::code(membership);
        if !effect.stays_joined {
            changes.push(vec![user_sn.into(), effect.position.into(), room_sn.into(), code.into()]);
        }
        let event_sn = effect.event_sn.or(effect.replaces).map_or(NO_EVENT, |sn| sn.0);
        current.insert((room_sn, user_sn), (code, event_sn));
    }
    let changes_into = "membership_changes (user_sn, position, room_sn, membership)";
    let rows = current
        .into_iter()
        .map(|((room_sn, user_sn), (code, sn))| {
            vec![room_sn.into(), user_sn.into(), code.into(), sn.into(), false.into()]
        })
        .collect();
    let into = "memberships (room_sn, user_sn, membership, event_sn, is_forgotten) ON CONFLICT (room_sn, user_sn) \
                DO UPDATE SET membership = excluded.membership, event_sn = excluded.event_sn, is_forgotten = FALSE";
    [TableRows { into: changes_into, rows: changes }, TableRows { into, rows }]
}

fn transactions<'a>(written: &'a [NumberedAppend<'a>]) -> TableRows<'a> {
    let rows = each_event(written)
        .filter_map(|(append, NumberedEvent { stored, .. })| {
            let ClientTransaction { sender, endpoint, id } = append.transaction.as_ref()?;
            let (sender, endpoint) = (sender.code().into(), endpoint.code().into());
            Some(vec![sender, append.room_sn.into(), endpoint, id.into(), stored.sn.into()])
        })
        .collect();
    TableRows { into: "client_transactions (sender, room_sn, endpoint, transaction_id, event_sn)", rows }
}

fn room_heads(heads: &HashMap<RoomSn, WriterHead>) -> TableRows<'_> {
    let rows = heads
        .iter()
        .filter(|(_, head)| head.changed)
        .map(|(room_sn, head)| {
            vec![
                (*room_sn).into(),
                (&head.room_version).into(),
                head.version.into(),
                head.depth.into(),
                head.last.into(),
                (&head.extremities).into(),
                head.countable_total.into(),
                head.joined_count.into(),
                head.invited_count.into(),
                Value::Blob(Some(head.state.root_bytes())),
            ]
        })
        .collect();
    let into = "room_heads (room_sn, room_version, head_version, depth, last_event_sn, extremities, countable_total, \
                joined_count, invited_count, state_root) ON CONFLICT (room_sn) \
                DO UPDATE SET head_version = excluded.head_version, depth = excluded.depth, \
                last_event_sn = excluded.last_event_sn, extremities = excluded.extremities, \
                countable_total = excluded.countable_total, joined_count = excluded.joined_count, \
                invited_count = excluded.invited_count, state_root = excluded.state_root";
    TableRows { into, rows }
}

/// Takes places that have no event any more, after all that was appended, out of the current state.
pub(crate) async fn write_removals(
    tx: &mut Tx,
    effects: impl Iterator<Item = (RoomSn, &Effect)>,
) -> Result<(), StorageError> {
    let last: HashMap<_, _> = effects.map(|(room_sn, effect)| ((room_sn, effect.place), effect.event_sn)).collect();
    let removed = last.into_iter().filter(|(_, event_sn)| event_sn.is_none());
    let rows: Vec<Vec<Value<'_>>> = removed
        .map(|((room_sn, place), _)| vec![room_sn.into(), place.event_type.into(), place.state_key.into()])
        .collect();
    let sql = "DELETE FROM current_state WHERE (room_sn, type_sn, key_sn) IN \
               (SELECT r.room_sn, r.type_sn, r.key_sn FROM ROWS(room_sn, type_sn, key_sn) r)";
    tx.execute_rows(sql, &rows).await
}

/// Marks the members who have come into rooms for the first time: those with an account here, and the servers of the others.
pub(crate) async fn mark_new_members(
    tx: &mut Tx,
    effects: impl Iterator<Item = (RoomSn, &Effect)>,
) -> Result<(), StorageError> {
    let mut new: HashMap<RoomSn, Vec<i64>> = HashMap::new();
    for (room_sn, effect) in effects.filter(|(_, effect)| effect.replaces.is_none()) {
        if let Some((user_sn, _)) = effect.membership {
            new.entry(room_sn).or_default().push(user_sn.0);
        }
    }
    for (room_sn, users) in new {
        mark_local(tx, room_sn, &users).await?;
        mark_servers(tx, room_sn, &users).await?;
    }
    Ok(())
}

/// Notes which servers have come into which rooms.
pub(crate) async fn add_servers(
    tx: &mut Tx,
    effects: impl Iterator<Item = (RoomSn, &Effect)>,
) -> Result<(), StorageError> {
    let is_joined = |effect: &Effect| match effect.membership {
        Some((_, Membership::Join)) => !effect.stays_joined,
        // Who leaves without having been known was in the room all the same.
        Some((_, Membership::Leave)) => effect.replaces.is_none(),
        _ => false,
    };
    let joined = effects.filter(|(_, effect)| is_joined(effect));
    let rows: Vec<Vec<Value<'_>>> =
        joined.filter_map(|(room_sn, effect)| Some(vec![room_sn.into(), effect.membership?.0.into()])).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let servers = "INSERT INTO servers (server_name) \
                   SELECT DISTINCT substr(u.user_id, instr(u.user_id, ':') + 1) AS server_name \
                   FROM ROWS(room_sn, user_sn) r JOIN users u ON u.user_sn = r.user_sn \
                   WHERE r.room_sn > 0 AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.user_sn = r.user_sn) \
                   ORDER BY server_name ON CONFLICT DO NOTHING";
    tx.execute_rows(servers, &rows).await?;
    let in_rooms = "INSERT INTO room_servers (server_sn, room_sn) SELECT DISTINCT s.server_sn, r.room_sn \
                    FROM ROWS(room_sn, user_sn) r JOIN users u ON u.user_sn = r.user_sn \
                    JOIN servers s ON s.server_name = substr(u.user_id, instr(u.user_id, ':') + 1) \
                    WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.user_sn = r.user_sn) ON CONFLICT DO NOTHING";
    tx.execute_rows(in_rooms, &rows).await
}

/// Marks the members of a room who have an account here.
pub(crate) async fn mark_local(tx: &mut Tx, room_sn: RoomSn, users: &[i64]) -> Result<(), StorageError> {
    let sql = "UPDATE memberships SET is_local = TRUE WHERE room_sn = $1 \
               AND user_sn IN (SELECT user_sn FROM accounts WHERE user_sn IN LIST($2))";
    tx.execute(sql, params![room_sn, users]).await.map(drop)
}

/// Notes the servers of the members of a room who have no account here.
pub(crate) async fn mark_servers(tx: &mut Tx, room_sn: RoomSn, users: &[i64]) -> Result<(), StorageError> {
    let others = "SELECT DISTINCT substr(u.user_id, instr(u.user_id, ':') + 1) AS server_name FROM users u \
                  WHERE u.user_sn IN LIST($1) AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.user_sn = u.user_sn) \
                  ORDER BY server_name";
    let names: Vec<String> = tx.query(others, params![users], |row| row.get(0)).await?;
    if names.is_empty() {
        return Ok(());
    }
    tx.intern_servers(names.iter().map(String::as_str)).await?;
    let sql = "UPDATE memberships SET server_sn = (SELECT s.server_sn FROM users u JOIN servers s \
               ON s.server_name = substr(u.user_id, instr(u.user_id, ':') + 1) WHERE u.user_sn = memberships.user_sn) \
               WHERE room_sn = $1 AND user_sn IN LIST($2) AND is_local = FALSE";
    tx.execute(sql, params![room_sn, users]).await.map(drop)
}

pub(super) async fn write_redactions(tx: &mut Tx, written: &[NumberedAppend<'_>]) -> Result<(), StorageError> {
    for (append, NumberedEvent { event, stored, .. }) in each_event(written) {
        if let Some(Redaction { number, client_json, federation_json, relates_to, .. }) = &event.redacts {
            // What is unread is counted by the first redaction.
            let sql = "UPDATE events SET client_json = $2, federation_json = $3, \
                       redacted_by = COALESCE(redacted_by, $4) WHERE event_sn = $1";
            tx.execute(sql, params![number.sn(), client_json, federation_json, stored.sn]).await?;
            if let Some(target_id) = relates_to {
                tx.remove_relation(append.room_sn, target_id, number.sn()).await?;
            }
        }
    }
    Ok(())
}
