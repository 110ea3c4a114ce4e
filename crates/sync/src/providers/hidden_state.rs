//! State that a timeline does not show, though it is newer than state that the timeline does show.
//!
//! A client applies the timeline to the state that it is given, so it would end at the older of the two.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{EventSn, KeySn, Position, TypeSn};
use storage::StoredEvent;

use super::timelines::TimelinePart;

/// A place in a room's state.
type Place = (TypeSn, KeySn);

impl TimelinePart {
    /// Cuts off the beginning of the timeline up to the last event that something in `state`, which comes before the timeline,
    /// has replaced. What is cut off becomes part of `state`. Nothing is hidden if no event was taken out of the timeline.
    pub(crate) fn begin_after_hidden_state(&mut self, state: &mut Vec<Arc<StoredEvent>>) {
        if !self.is_sieved {
            return;
        }
        let hidden: HashMap<Place, EventSn> =
            state.iter().filter_map(|event| Some((place(event)?, event.sn))).collect();
        let is_replaced = |event: &Arc<StoredEvent>| {
            place(event).and_then(|place| hidden.get(&place)).is_some_and(|newer| *newer > event.sn)
        };
        let Some(last) = self.events.iter().rposition(is_replaced) else { return };
        self.memberships.drain(..=last.min(self.memberships.len().saturating_sub(1)));
        let mut newest = hidden;
        for event in self.events.drain(..=last) {
            self.start = Position(event.sn.0);
            let Some(place) = place(&event) else { continue };
            if newest.get(&place).is_none_or(|known| *known < event.sn) {
                newest.insert(place, event.sn);
                state.push(event);
            }
        }
        state.retain(|event| place(event).is_none_or(|place| newest.get(&place) == Some(&event.sn)));
        self.is_limited = true;
    }
}

fn place(event: &StoredEvent) -> Option<Place> {
    event.state_key_sn.map(|key_sn| (event.type_sn, key_sn))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use homeserver_core::{RoomSn, TimelineOrder, Timestamp, UserSn};
    use storage::Membership;

    use super::super::timelines::empty_timeline;
    use super::*;

    /// An event of a type with an empty state key, or a message if the type is 0.
    fn event(sn: i64, type_sn: i64) -> Arc<StoredEvent> {
        Arc::new(StoredEvent {
            sn: EventSn(sn),
            order: TimelineOrder::of(EventSn(sn)),
            follows_gap: false,
            event_id: "$e".into(),
            room_sn: RoomSn(1),
            type_sn: TypeSn(type_sn),
            state_key_sn: (type_sn > 0).then_some(KeySn(1)),
            sender_sn: UserSn(1),
            origin_server_ts: Timestamp(0),
            depth: 1,
            countable_total: 0,
            client_json: Bytes::new(),
            replaces_sn: None,
            previous_sn: None,
            replaced_json: None,
            redacted_because: None,
            transaction: None,
            membership: None,
            redacts: None,
            unread: None,
            sender_erased_at: None,
            unsigned_erased_at: None,
        })
    }

    fn cut(shown: &[(i64, i64)], before: &[(i64, i64)]) -> (Vec<i64>, Vec<i64>, bool, Position) {
        let of = |events: &[(i64, i64)]| events.iter().map(|(sn, type_sn)| event(*sn, *type_sn)).collect::<Vec<_>>();
        let mut timeline = empty_timeline(Position(1));
        (timeline.events, timeline.is_sieved) = (of(shown), true);
        timeline.memberships = vec![Some(Membership::Join); shown.len()];
        let mut state = of(before);
        timeline.begin_after_hidden_state(&mut state);
        assert_eq!(timeline.memberships.len(), timeline.events.len());
        let numbers = |events: &[Arc<StoredEvent>]| events.iter().map(|event| event.sn.0).collect::<Vec<_>>();
        let mut state = numbers(&state);
        state.sort_unstable();
        (numbers(&timeline.events), state, timeline.is_limited, timeline.start)
    }

    #[test]
    fn a_timeline_that_shows_the_newest_state_stays_whole() {
        let shown = [(5, 1), (6, 0), (7, 2)];
        assert_eq!(cut(&shown, &[(2, 1), (3, 2), (9, 3)]), (vec![5, 6, 7], vec![2, 3, 9], false, Position(1)));
        assert_eq!(cut(&[], &[(2, 1)]), (vec![], vec![2], false, Position(1)));
    }

    #[test]
    fn a_timeline_begins_after_what_hidden_state_replaced() {
        // The event 6, of type 1, is not shown; of type 2 the newest that is cut off is the state.
        let shown = [(3, 2), (4, 2), (5, 1), (7, 0), (8, 2)];
        assert_eq!(cut(&shown, &[(1, 2), (6, 1)]), (vec![7, 8], vec![4, 6], true, Position(5)));
        assert_eq!(cut(&[(5, 1)], &[(6, 1)]), (vec![], vec![6], true, Position(5)));
    }
}
