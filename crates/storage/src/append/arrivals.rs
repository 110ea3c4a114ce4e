//! What is particular to events of other servers: outliers that get their places, and redactions that came before their targets.

use database::TableRows;

use super::rows::each_event;
use super::{NumberedAppend, NumberedEvent};
use crate::unread::MAIN_TIMELINE;
use crate::{StorageError, Tx, Value};

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
            ]
        })
        .collect();
    let sql = "UPDATE events SET standing = r.standing, state_root = r.state_root, replaces_sn = r.replaces_sn, \
               client_json = r.client_json, federation_json = r.federation_json, \
               redacted_by = COALESCE(events.redacted_by, r.redacted_by), thread_sn = r.thread_sn \
               FROM ROWS(event_sn, standing, state_root, replaces_sn, client_json, federation_json, redacted_by, \
               thread_sn) r WHERE events.event_sn = r.event_sn";
    tx.execute_rows(sql, &rows).await
}
