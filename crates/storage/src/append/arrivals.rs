//! What is particular to events of other servers: outliers that get their places, gaps, and redactions that came before their targets.

use database::TableRows;

use super::rows::each_event;
use super::{NumberedAppend, NumberedEvent};
use crate::unread::MAIN_TIMELINE;
use crate::{StorageError, Tx, Value, params};

/// Where the timelines lack events from now on.
pub(super) fn gaps<'a>(written: &'a [NumberedAppend<'a>]) -> TableRows<'a> {
    let after_gaps = each_event(written).filter(|(_, written)| written.event.arrival.follows_gap);
    let rows = after_gaps
        .map(|(append, NumberedEvent { stored, .. })| {
            vec![append.room_sn.into(), stored.order.into(), stored.sn.to_string().into()]
        })
        .collect();
    TableRows { into: "room_gaps (room_sn, timeline_order, frontier) ON CONFLICT DO NOTHING", rows }
}

/// Marks the events before which others are missing.
pub(super) async fn mark_gaps(tx: &mut Tx, written: &[NumberedAppend<'_>]) -> Result<(), StorageError> {
    let after_gaps = each_event(written).filter(|(_, written)| written.event.arrival.follows_gap);
    let sns: Vec<i64> = after_gaps.map(|(_, written)| written.stored.sn.0).collect();
    if sns.is_empty() {
        return Ok(());
    }
    tx.execute("UPDATE events SET follows_gap = TRUE WHERE event_sn IN LIST($1)", params![&sns]).await.map(drop)
}

/// The redactions that wait for their targets.
pub(super) fn awaited<'a>(written: &'a [NumberedAppend<'a>]) -> TableRows<'a> {
    let rows = each_event(written)
        .filter_map(|(append, NumberedEvent { event, stored, .. })| {
            let target = event.arrival.awaits.as_ref()?;
            Some(vec![append.room_sn.into(), target.into(), stored.sn.into()])
        })
        .collect();
    TableRows { into: "awaited_redactions (room_sn, target_id, redaction_sn) ON CONFLICT DO NOTHING", rows }
}

/// Gives former outliers their places.
pub(super) async fn write_places(tx: &mut Tx, written: &[NumberedAppend<'_>]) -> Result<(), StorageError> {
    let rows: Vec<Vec<Value<'_>>> = each_event(written)
        .filter(|(_, written)| written.event.arrival.was_outlier)
        .map(|(_, NumberedEvent { event, stored, state, .. })| {
            vec![
                stored.sn.into(),
                event.standing.code().into(),
                Value::Blob(Some(state.root_bytes())),
                stored.replaces_sn.into(),
                (&event.client_json).into(),
                (&event.federation_json).into(),
                event.arrival.redacted_by.as_ref().map(|(sn, _)| *sn).into(),
                MAIN_TIMELINE.into(),
                stored.order.into(),
            ]
        })
        .collect();
    let sql = "UPDATE events SET standing = r.standing, state_root = r.state_root, replaces_sn = r.replaces_sn, \
               client_json = r.client_json, federation_json = r.federation_json, \
               redacted_by = COALESCE(events.redacted_by, r.redacted_by), thread_sn = r.thread_sn, timeline_order = r.timeline_order \
               FROM ROWS(event_sn, standing, state_root, replaces_sn, client_json, federation_json, redacted_by, \
               thread_sn, timeline_order) r WHERE events.event_sn = r.event_sn";
    tx.execute_rows(sql, &rows).await
}
