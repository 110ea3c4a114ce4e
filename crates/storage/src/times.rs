//! Events of timelines by the time when they were sent.
//!
//! There is no index by time, which every event would pay for: in a timeline, times mostly grow. The place where a time belongs is found by
//! halving, and the events around it are looked through.

use std::cmp::Reverse;
use std::collections::HashMap;

use database::Row;
use homeserver_core::{EventSn, RoomSn, TimelineOrder, Timestamp};

use crate::events::{StoredEvent, order_of};
use crate::{Database, StorageError, params};

/// So many events on each side of the place are looked through at least.
const MIN_AROUND: i64 = 500;

/// An event's place, number and time.
type Sent = (TimelineOrder, EventSn, Timestamp);

fn read_sent(row: &Row<'_>) -> Result<Sent, StorageError> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

impl Database {
    /// Up to `limit` events of a room's timeline that were sent at a time or later, the earliest first; or at the time or before
    /// it, the latest first. Events that say that they were sent long before or after those around them may be left out.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn events_from_time(
        &self,
        room_sn: RoomSn,
        time: Timestamp,
        is_forwards: bool,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let place = self.place_of_time(room_sn, time).await?;
        let around = limit.max(MIN_AROUND);
        let mut sent = self.sent_before(room_sn, place, around).await?;
        sent.extend(self.sent_after(room_sn, place, around).await?);
        if is_forwards {
            sent.retain(|(_, _, sent_at)| *sent_at >= time);
            sent.sort_unstable_by_key(|(order, _, sent_at)| (*sent_at, *order));
        } else {
            sent.retain(|(_, _, sent_at)| *sent_at <= time);
            sent.sort_unstable_by_key(|(order, _, sent_at)| Reverse((*sent_at, *order)));
        }
        sent.truncate(usize::try_from(limit).unwrap_or_default());
        let sns: Vec<i64> = sent.iter().map(|(_, sn, _)| sn.0).collect();
        let mut events: HashMap<EventSn, StoredEvent> =
            self.events(&sns).await?.into_iter().map(|event| (event.sn, event)).collect();
        Ok(sent.iter().filter_map(|(_, sn, _)| events.remove(sn)).collect())
    }

    /// A place up to which the events were sent before a time, as far as times grow.
    async fn place_of_time(&self, room_sn: RoomSn, time: Timestamp) -> Result<TimelineOrder, StorageError> {
        let first = self.sent_after(room_sn, TimelineOrder::START, 1).await?;
        let last = self.sent_before(room_sn, TimelineOrder::END, 1).await?;
        let (Some((first, ..)), Some((last, ..))) = (first.first(), last.first()) else {
            return Ok(TimelineOrder::START);
        };
        // Events up to `before` were sent before the time; those after `after` were not.
        let (mut before, mut after) = (first.before(), *last);
        while before < after {
            let middle = TimelineOrder(before.0.midpoint(after.0));
            match self.sent_after(room_sn, middle, 1).await?.first() {
                Some((order, _, sent_at)) if *order <= after && *sent_at < time => before = *order,
                _ if middle == after => break,
                _ => after = middle,
            }
        }
        Ok(before)
    }

    async fn sent_after(&self, room_sn: RoomSn, after: TimelineOrder, limit: i64) -> Result<Vec<Sent>, StorageError> {
        let sql = concat!(
            "SELECT ",
            order_of!("e."),
            ", e.event_sn, e.origin_server_ts FROM events e WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " > $2 AND e.standing IN (0, 5) ORDER BY e.room_sn, ",
            order_of!("e."),
            " LIMIT $3"
        );
        self.query(sql, params![room_sn, after, limit], read_sent).await
    }

    async fn sent_before(&self, room_sn: RoomSn, until: TimelineOrder, limit: i64) -> Result<Vec<Sent>, StorageError> {
        let sql = concat!(
            "SELECT ",
            order_of!("e."),
            ", e.event_sn, e.origin_server_ts FROM events e WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " > -2305843009213693952 AND ",
            order_of!("e."),
            " <= $2 AND e.standing IN (0, 5) ORDER BY e.room_sn DESC, ",
            order_of!("e."),
            " DESC LIMIT $3"
        );
        self.query(sql, params![room_sn, until, limit], read_sent).await
    }
}
