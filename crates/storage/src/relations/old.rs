//! Relations in events that are older than the table of relations.

use bytes::Bytes;
use homeserver_core::{EventSn, RoomSn, TimelineOrder, TypeSn, UserSn};

use crate::append::relations::{NewRelation, kept_relation, tables};
use crate::events::order_of;
use crate::{Database, StorageError, Tx, params};

/// The name of the number up to which events have not been looked through.
const MISSING_UP_TO: &str = "relations_missing_up_to";

/// How far old events have been looked through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OldRelations {
    /// The events up to this number are left.
    pub missing_up_to: EventSn,
}

struct OldEvent {
    event_sn: EventSn,
    room_sn: RoomSn,
    type_sn: TypeSn,
    sender_sn: UserSn,
    order: TimelineOrder,
    is_shown: bool,
    client_json: Bytes,
}

impl Database {
    /// Which events are still to be looked through; `None` if there are none.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn old_relations(&self) -> Result<Option<OldRelations>, StorageError> {
        parse(self.server_value(MISSING_UP_TO).await?)
    }

    /// Looks through the newest `limit` of the events that are left. `None` if that was the last of them.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn index_old_relations(&self, limit: i64) -> Result<Option<OldRelations>, StorageError> {
        self.write(async move |tx| {
            // As an append does: in the order of the locks.
            tx.next_position().await?;
            index(tx, limit).await
        })
        .await
    }
}

async fn index(tx: &mut Tx, limit: i64) -> Result<Option<OldRelations>, StorageError> {
    let sql = "SELECT value FROM server_values WHERE name = $1";
    let Some(left) = parse(tx.query_optional(sql, params![MISSING_UP_TO], |row| row.get(0)).await?)? else {
        return Ok(None);
    };
    let sql = concat!(
        "SELECT event_sn, room_sn, type_sn, sender_sn, client_json, standing IN (0, 5) AND redacted_by IS NULL, ",
        order_of!(""),
        " FROM events WHERE event_sn <= $1 ORDER BY event_sn DESC LIMIT $2"
    );
    let events = tx
        .query(sql, params![left.missing_up_to, limit], |row| {
            Ok(OldEvent {
                event_sn: row.get(0)?,
                room_sn: row.get(1)?,
                type_sn: row.get(2)?,
                sender_sn: row.get(3)?,
                client_json: row.get(4)?,
                is_shown: row.get(5)?,
                order: row.get(6)?,
            })
        })
        .await?;
    let relations: Vec<NewRelation<'_>> = events.iter().filter_map(OldEvent::relation).collect();
    tx.insert_into_tables(&tables(&relations)).await?;
    match events.last() {
        Some(last) => {
            let missing_up_to = EventSn(last.event_sn.0.saturating_sub(1));
            tx.set_server_value(MISSING_UP_TO, &missing_up_to.to_string()).await?;
            Ok(Some(OldRelations { missing_up_to }))
        }
        None => {
            tx.execute("DELETE FROM server_values WHERE name = $1", params![MISSING_UP_TO]).await?;
            Ok(None)
        }
    }
}

impl OldEvent {
    fn relation(&self) -> Option<NewRelation<'_>> {
        let relation = kept_relation(&self.client_json).filter(|_| self.is_shown)?;
        let Self { event_sn, room_sn, type_sn, sender_sn, order, .. } = *self;
        Some(NewRelation { room_sn, order, event_sn, type_sn, sender_sn, relation })
    }
}

fn parse(value: Option<String>) -> Result<Option<OldRelations>, StorageError> {
    let Some(value) = value else { return Ok(None) };
    let number = value.parse().map_err(|_| StorageError::Corrupt(format!("{MISSING_UP_TO} is {value:?}")))?;
    Ok(Some(OldRelations { missing_up_to: EventSn(number) }))
}
