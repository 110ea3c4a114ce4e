//! Where the timelines of rooms lack events.

use database::Row;
use homeserver_core::{EventSn, RoomSn, TimelineOrder};

use crate::room_graph::numbers;
use crate::{Database, StorageError, params};

/// A place in a room's timeline before which events are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The events before this place are missing.
    pub order: TimelineOrder,
    /// The events whose previous events are missing.
    pub frontier: Vec<EventSn>,
}

fn read_gap(row: &Row<'_>) -> Result<Gap, StorageError> {
    Ok(Gap { order: row.get(0)?, frontier: numbers(&row.get::<String>(1)?)? })
}

impl Database {
    /// The last place at or before `until` before which events of a room are missing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn last_gap(&self, room_sn: RoomSn, until: TimelineOrder) -> Result<Option<Gap>, StorageError> {
        let sql = "SELECT timeline_order, frontier FROM room_gaps WHERE room_sn = $1 AND timeline_order <= $2 \
                   AND frontier <> '' ORDER BY timeline_order DESC LIMIT 1";
        self.query_optional(sql, params![room_sn, until], read_gap).await
    }

    /// Where events of a room are missing, the last first, up to `limit` of them.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn gaps(&self, room_sn: RoomSn, limit: i64) -> Result<Vec<Gap>, StorageError> {
        let sql = "SELECT timeline_order, frontier FROM room_gaps WHERE room_sn = $1 AND frontier <> '' \
                   ORDER BY timeline_order DESC LIMIT $2";
        self.query(sql, params![room_sn, limit], read_gap).await
    }

    /// A place for an event in a gap, with room for others on both sides.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn place_in(&self, room_sn: RoomSn, gap: &Gap) -> Result<TimelineOrder, StorageError> {
        let lowest = TimelineOrder(gap.order.0.saturating_sub(TimelineOrder::PLACES));
        let before = self.timeline_backwards(room_sn, lowest, gap.order.before(), 1, None).await?;
        let lowest = before.first().map_or(lowest, |event| event.order);
        Ok(TimelineOrder(lowest.0.midpoint(gap.order.0)))
    }

    /// Whether events are missing right before this place.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_gap_at(&self, room_sn: RoomSn, order: TimelineOrder) -> Result<bool, StorageError> {
        Ok(self.last_gap(room_sn, order).await?.is_some_and(|gap| gap.order == order))
    }

    /// Whether events are missing between the event at a place and the next event of the timeline.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn is_gap_after(&self, room_sn: RoomSn, order: TimelineOrder) -> Result<bool, StorageError> {
        match self.timeline_forwards(room_sn, order, TimelineOrder::END, 1, None).await?.first() {
            Some(next) if next.follows_gap => self.is_gap_at(room_sn, next.order).await,
            _ => Ok(false),
        }
    }

    /// Whether events of a room were ever missing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_gaps(&self, room_sn: RoomSn) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM room_gaps WHERE room_sn = $1 LIMIT 1";
        Ok(self.query_optional(sql, params![room_sn], |_| Ok(())).await?.is_some())
    }
}
