//! Events that are stored for others that refer to them, before they have a place in their room.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use database::TableRows;
use homeserver_core::{EventSn, KeySn, RoomSn, Timestamp, TypeSn, UserSn};
use room_engine::auth_chain::IndexedEvent;

use super::EventNumber;
use super::head::load_heads;
use crate::events::Standing;
use crate::{Database, StorageError, Tx, auth_chains, params};

/// An event that is to be stored without a place in its room. See [`Standing::Outlier`].
#[derive(Clone, Debug)]
pub struct NewOutlier {
    /// Receives the event's number: that of the stored event, if the event was stored in the meantime.
    pub number: EventNumber,
    /// Its event ID.
    pub event_id: Box<str>,
    /// Its type.
    pub type_sn: TypeSn,
    /// Its state key.
    pub state_key_sn: Option<KeySn>,
    /// Its sender.
    pub sender_sn: UserSn,
    /// When it was sent.
    pub origin_server_ts: Timestamp,
    /// Its depth.
    pub depth: i64,
    /// What clients see, without `room_id` and `unsigned`.
    pub client_json: Bytes,
    /// The rest of the PDU.
    pub federation_json: Bytes,
    /// Whether it is rejected. Then its auth events do not count.
    pub is_rejected: bool,
    /// Its auth events, which are stored or come before it in the same call.
    pub auth_events: Vec<EventNumber>,
    /// Which of its auth events has its own type and state key.
    pub previous_in_chain: Option<EventNumber>,
    /// The event that redacted it before it came. The texts are what that leaves.
    pub redacted_by: Option<EventSn>,
}

impl Database {
    /// Stores events of a room without giving them a place in it, in one transaction. What is stored already is left as it is. The room
    /// need not be known here yet.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit, or the room is being removed.
    pub async fn store_outliers(&self, room_sn: RoomSn, outliers: Arc<[NewOutlier]>) -> Result<(), StorageError> {
        if outliers.is_empty() {
            return Ok(());
        }
        self.write(async move |tx| store(tx, room_sn, &outliers).await).await
    }
}

async fn store(tx: &mut Tx, room_sn: RoomSn, outliers: &[NewOutlier]) -> Result<(), StorageError> {
    // This takes the lock under which events are added, so that none of these is added by another process.
    tx.reserve_positions(i64::try_from(outliers.len()).unwrap_or(i64::MAX)).await?;
    let heads = load_heads(tx, std::iter::once(room_sn)).await?;
    let head = heads.get(&room_sn);
    if head.is_some_and(super::WriterHead::is_purged) {
        return Err(StorageError::Unavailable(format!("room {room_sn} is being removed")));
    }
    let countable_total = head.map_or(0, |head| head.countable_total);
    let mut known = stored_numbers(tx, room_sn, outliers).await?;
    let mut new = Vec::with_capacity(outliers.len());
    for outlier in outliers {
        if let Some(sn) = known.get(&*outlier.event_id) {
            outlier.number.assign(*sn);
            continue;
        }
        let sn = EventSn(tx.next_position().await?.0);
        outlier.number.assign(sn);
        known.insert(outlier.event_id.clone(), sn);
        new.push(outlier);
    }
    let indexed: Vec<IndexedEvent> = new.iter().filter(|it| !it.is_rejected).map(|it| it.indexed()).collect();
    let new_in_chains = auth_chains::index(tx, &indexed).await?;
    let lists: Vec<String> = indexed.iter().map(auth_chains::auth_event_list).collect();
    let mut tables = vec![rows(room_sn, countable_total, &new)];
    tables.extend(auth_chains::rows(&indexed, &new_in_chains, &lists));
    tx.insert_into_tables(&tables).await
}

async fn stored_numbers(
    tx: &mut Tx,
    room_sn: RoomSn,
    outliers: &[NewOutlier],
) -> Result<HashMap<Box<str>, EventSn>, StorageError> {
    let ids: Vec<String> = outliers.iter().map(|outlier| outlier.event_id.to_string()).collect();
    let sql = "SELECT event_id, event_sn FROM events WHERE event_id IN LIST($1) AND room_sn = $2";
    Ok(tx.query(sql, params![&ids, room_sn], |row| Ok((row.get(0)?, row.get(1)?))).await?.into_iter().collect())
}

impl NewOutlier {
    fn indexed(&self) -> IndexedEvent {
        IndexedEvent {
            event_sn: self.number.sn(),
            auth_events: self.auth_events.iter().map(EventNumber::sn).collect(),
            replaces: self.previous_in_chain.as_ref().map(EventNumber::sn),
        }
    }
}

fn rows<'a>(room_sn: RoomSn, countable_total: i64, outliers: &[&'a NewOutlier]) -> TableRows<'a> {
    let rows = outliers
        .iter()
        .map(|outlier| {
            let standing = if outlier.is_rejected { Standing::Rejected } else { Standing::Outlier };
            vec![
                outlier.number.sn().into(),
                (&outlier.event_id).into(),
                room_sn.into(),
                outlier.type_sn.into(),
                outlier.state_key_sn.into(),
                outlier.sender_sn.into(),
                outlier.origin_server_ts.into(),
                outlier.depth.into(),
                countable_total.into(),
                (&outlier.client_json).into(),
                (&outlier.federation_json).into(),
                standing.code().into(),
                outlier.redacted_by.into(),
            ]
        })
        .collect();
    let into = "events (event_sn, event_id, room_sn, type_sn, state_key_sn, sender_sn, origin_server_ts, depth, \
                countable_total, client_json, federation_json, standing, redacted_by)";
    TableRows { into, rows }
}
