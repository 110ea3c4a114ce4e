//! Appending events to rooms: everything that follows from them is written in the transaction that holds them, each table
//! with one statement for the whole batch.
//!
//! [`append_all`] is the way of a batch: heads are read, [`states`] gives the events numbers and states, [`rows`] and [`unread`] make the
//! rows of all tables.

mod arrivals;
mod head;
mod new;
mod numbered;
mod outliers;
pub(crate) mod relations;
pub(crate) mod rows;
mod states;
pub(crate) mod unread;

use std::collections::HashSet;

use database::Repetitions;
use room_engine::auth_chain::IndexedEvent;

use crate::{StorageError, Tx, auth_chains, params};

pub(crate) use self::head::WriterHead;
pub(crate) use self::head::load_heads;
use self::new::TransactionKey;
pub use self::new::{
    Append, AppendOutcome, Arrival, EventNumber, NewEvent, Redaction, StateBefore, StateEffect, Step, later_version,
};
pub(crate) use self::numbered::Effect;
use self::numbered::{NumberedAppend, NumberedEvent};
pub use self::outliers::NewOutlier;

/// Appends the events of a batch, and returns what became of each append, in their order.
pub(crate) async fn append_all(
    tx: &mut Tx,
    appends: &[&Append],
    repetitions: Repetitions,
) -> Result<Vec<AppendOutcome>, StorageError> {
    // First of all, and one at least: this takes the lock under which heads are compared.
    let positions: i64 = appends.iter().map(|append| append.positions()).sum();
    tx.reserve_positions(positions.max(1)).await?;
    let mut heads = load_heads(tx, appends.iter().map(|append| append.room_sn)).await?;
    let mut used = match repetitions {
        Repetitions::Unlikely => HashSet::new(),
        Repetitions::LookedUp => used_transactions(tx, appends).await?,
    };

    let mut written: Vec<NumberedAppend<'_>> = Vec::with_capacity(appends.len());
    let mut chunks = Vec::new();
    let mut outcomes = Vec::with_capacity(appends.len());
    for append in appends.iter().copied() {
        let head = heads.entry(append.room_sn).or_insert_with(|| WriterHead::of_new_room(append));
        let is_repeated =
            repetitions == Repetitions::LookedUp && append.transaction_key().is_some_and(|key| !used.insert(key));
        if head.version != append.expected_version || is_repeated {
            outcomes.push(AppendOutcome::Stale);
            continue;
        }
        let new = states::write_append(tx, append, head, &mut chunks).await?;
        outcomes.push(AppendOutcome::Appended(new.events.iter().map(|event| event.stored.clone()).collect()));
        written.push(new);
    }

    let indexed: Vec<IndexedEvent> = written.iter().flat_map(NumberedAppend::indexed_events).collect();
    let new_in_chains = auth_chains::index(tx, &indexed).await?;
    let auth_event_lists: Vec<String> = indexed.iter().map(auth_chains::auth_event_list).collect();
    let unread = unread::of_all(tx, &written).await?;
    let mut tables = rows::of_all(&written, &heads, &chunks, tx.last_reserved());
    tables.extend(unread.tables());
    let relations = relations::of_all(&written);
    tables.extend(relations::tables(&relations));
    tables.extend(auth_chains::rows(&indexed, &new_in_chains, &auth_event_lists));
    tx.insert_into_tables(&tables).await?;
    rows::write_removals(tx, rows::each_effect(&written)).await?;
    rows::mark_new_members(tx, rows::each_effect(&written)).await?;
    rows::add_servers(tx, rows::each_effect(&written)).await?;
    rows::write_redactions(tx, &written).await?;
    arrivals::write_gaps(tx, &written).await?;
    arrivals::write_places(tx, &written).await?;
    tx.remember_heads(heads);
    for append in &written {
        if let Some(step) = &append.append.also {
            step.run(tx).await?;
        }
    }
    for append in written {
        append.publish(tx);
    }
    Ok(outcomes)
}

/// Which of the transaction IDs were used before.
async fn used_transactions(tx: &mut Tx, appends: &[&Append]) -> Result<HashSet<TransactionKey>, StorageError> {
    let keys: Vec<_> = appends.iter().filter_map(|append| append.transaction_key()).collect();
    let senders: Vec<i64> = keys.iter().map(|(sender, ..)| *sender).collect();
    let ids: Vec<String> = keys.into_iter().map(|(.., id)| id.into_string()).collect();
    let sql = "SELECT sender, room_sn, endpoint, transaction_id FROM client_transactions \
               WHERE sender IN LIST($1) AND transaction_id IN LIST($2)";
    let used =
        tx.query(sql, params![&senders, &ids], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).await?;
    Ok(used.into_iter().collect())
}
