//! What is particular to events of other servers: outliers that get their places, gaps, and redactions that came before their targets.

use database::TableRows;

use super::rows::each_event;
use super::{NumberedAppend, NumberedEvent};
use crate::unread::MAIN_TIMELINE;
use crate::{StorageError, Tx, Value, params};

/// Writes down where the timelines lack events from now on, which is rare.
pub(super) async fn write_gaps(tx: &mut Tx, written: &[NumberedAppend<'_>]) -> Result<(), StorageError> {
    let after_gaps = each_event(written).filter(|(_, written)| written.event.arrival.follows_gap);
    let gaps: Vec<_> = after_gaps.map(|(append, written)| (append.room_sn, &written.stored)).collect();
    if gaps.is_empty() {
        return Ok(());
    }
    let sns: Vec<i64> = gaps.iter().map(|(_, event)| event.sn.0).collect();
    tx.execute("UPDATE events SET follows_gap = TRUE WHERE event_sn IN LIST($1)", params![&sns]).await?;
    let frontiers: Vec<String> = sns.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<Value<'_>>> = gaps
        .iter()
        .zip(&frontiers)
        .map(|((room_sn, event), frontier)| vec![(*room_sn).into(), event.order.into(), frontier.into()])
        .collect();
    let sql = "INSERT INTO room_gaps (room_sn, timeline_order, frontier) \
               SELECT r.* FROM ROWS(room_sn, timeline_order, frontier) r WHERE TRUE ON CONFLICT DO NOTHING";
    tx.execute_rows(sql, &rows).await
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
                stored.countable_total.into(),
            ]
        })
        .collect();
    let sql = "UPDATE events SET standing = r.standing, state_root = r.state_root, replaces_sn = r.replaces_sn, \
               client_json = CASE WHEN events.redacted_by IS NULL THEN r.client_json ELSE events.client_json END, \
               federation_json = CASE WHEN events.redacted_by IS NULL THEN r.federation_json \
               ELSE events.federation_json END, \
               redacted_by = COALESCE(events.redacted_by, r.redacted_by), thread_sn = r.thread_sn, timeline_order = r.timeline_order, \
               countable_total = r.countable_total \
               FROM ROWS(event_sn, standing, state_root, replaces_sn, client_json, federation_json, redacted_by, \
               thread_sn, timeline_order, countable_total) r WHERE events.event_sn = r.event_sn";
    tx.execute_rows(sql, &rows).await
}
