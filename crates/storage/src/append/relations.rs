//! The rows that say what new events relate to.

use std::collections::HashMap;

use database::TableRows;
use homeserver_core::{EventSn, RoomSn, TimelineOrder, TypeSn, UserSn};
use room_engine::{MAX_IDENTIFIER_BYTES, Relation};

use super::NumberedAppend;
use super::rows::each_event;

/// A longer key of an annotation is not compared with others.
const MAX_KEY_BYTES: usize = 1_000;

/// What an event in a timeline relates to.
pub(crate) struct NewRelation<'a> {
    pub(crate) room_sn: RoomSn,
    pub(crate) order: TimelineOrder,
    pub(crate) event_sn: EventSn,
    pub(crate) type_sn: TypeSn,
    pub(crate) sender_sn: UserSn,
    pub(crate) relation: Relation<'a>,
}

/// The relation in an event; `None` if it has none that is kept.
pub(crate) fn kept_relation(client_json: &[u8]) -> Option<Relation<'_>> {
    let relation = Relation::of(client_json)?;
    let is_bounded = relation.event_id.len().max(relation.rel_type.len()) <= MAX_IDENTIFIER_BYTES;
    (is_bounded && relation.event_id.starts_with('$')).then_some(relation)
}

/// The relations of the events that come into timelines.
pub(super) fn of_all<'a>(written: &'a [NumberedAppend<'a>]) -> Vec<NewRelation<'a>> {
    let in_timeline = each_event(written).filter(|(_, written)| written.event.standing.is_in_timeline());
    in_timeline
        .filter_map(|(append, written)| {
            Some(NewRelation {
                room_sn: append.room_sn,
                order: written.stored.order,
                event_sn: written.stored.sn,
                type_sn: written.event.type_sn,
                sender_sn: written.event.sender_sn,
                relation: kept_relation(&written.event.client_json)?,
            })
        })
        .collect()
}

/// The rows of relations, and of the threads that they are in.
pub(crate) fn tables<'a>(relations: &'a [NewRelation<'a>]) -> [TableRows<'a>; 2] {
    let mut latest: HashMap<(RoomSn, &str), TimelineOrder> = HashMap::new();
    let mut rows = Vec::with_capacity(relations.len());
    for NewRelation { room_sn, order, event_sn, type_sn, sender_sn, relation } in relations {
        let key =
            relation.key.as_deref().filter(|key| relation.rel_type == "m.annotation" && key.len() <= MAX_KEY_BYTES);
        rows.push(vec![
            (&*relation.event_id).into(),
            (*room_sn).into(),
            (*order).into(),
            (*event_sn).into(),
            (&*relation.rel_type).into(),
            (*type_sn).into(),
            (*sender_sn).into(),
            key.into(),
        ]);
        if relation.rel_type == "m.thread" {
            let latest = latest.entry((*room_sn, &*relation.event_id)).or_insert(*order);
            *latest = (*latest).max(*order);
        }
    }
    let into = "relations (target_id, room_sn, timeline_order, event_sn, rel_type, type_sn, sender_sn, annotation_key) \
                ON CONFLICT DO NOTHING";
    let threads_into = "thread_roots (room_sn, root_id, latest_order) ON CONFLICT (room_sn, root_id) \
                        DO UPDATE SET latest_order = CASE WHEN excluded.latest_order > thread_roots.latest_order \
                        THEN excluded.latest_order ELSE thread_roots.latest_order END";
    let mut latest: Vec<_> = latest.into_iter().collect();
    // Always in the same order, so that two writers cannot wait for each other.
    latest.sort_unstable();
    let threads = latest.into_iter().map(|((room_sn, root), order)| vec![room_sn.into(), root.into(), order.into()]);
    [TableRows { into, rows }, TableRows { into: threads_into, rows: threads.collect() }]
}
