//! The part of a room's history that a user may read.

use homeserver_core::{EventSn, KeySn, Position, TimelineOrder, TypeSn, UserSn};
use room_engine::visibility::{HistoryVisibility, Viewpoint};
use storage::{Database, Interned, KnownState, Membership, RoomView, StorageError, StoredEvent, ViewKeys};

use crate::wire;

/// A user's view of one room: how the room's history visibility and the user's membership changed over time. It is loaded
/// once for an answer, and decides for each event.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>
#[derive(Clone, Debug)]
pub struct Visibility {
    /// In the order of positions; the first span begins with the room.
    spans: Vec<Span>,
    memberships: Vec<(Position, Membership)>,
    is_forgotten: bool,
}

/// The time between two changes. Its first event made the change.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Position,
    membership: Membership,
    visibility: HistoryVisibility,
    /// Whether the user may read the events of the span after the first.
    is_visible: bool,
}

impl Visibility {
    /// The view that `user_sn`, a user of this server, has of the room, without changes before `from`.
    pub async fn load(
        database: &Database,
        interned: &Interned,
        state: &KnownState,
        user_sn: UserSn,
        from: Position,
    ) -> Result<Self, StorageError> {
        // No row has the number 0, so it fits a type or state key that was never stored.
        let keys = ViewKeys {
            visibility_type: interned.find_type("m.room.history_visibility").await?.unwrap_or(TypeSn(0)),
            empty_key: interned.find_key("").await?.unwrap_or(KeySn(0)),
        };
        Ok(Self::of(database.room_view(state, user_sn, keys, from).await?))
    }

    fn of(view: RoomView) -> Self {
        let RoomView { memberships, visibilities, is_forgotten } = view;
        let visibilities: Vec<_> =
            visibilities.iter().map(|(position, json)| (*position, visibility_of(json))).collect();
        let spans = spans(&memberships, &visibilities);
        Self { spans, memberships, is_forgotten }
    }

    /// The view that the user had at a position, without the user's later changes.
    #[must_use]
    pub(crate) fn as_of(&self, at: Position) -> Self {
        let known = self.memberships.partition_point(|(position, _)| *position <= at);
        let memberships = self.memberships.get(..known).unwrap_or_default().to_vec();
        let visibilities: Vec<_> = self.spans.iter().map(|span| (span.from, span.visibility)).collect();
        Self { spans: spans(&memberships, &visibilities), memberships, is_forgotten: self.is_forgotten }
    }

    /// Whether the user may read the event. Of events that were fetched after later ones this view says nothing, so they are
    /// hidden.
    #[must_use]
    pub fn may_see(&self, event: &StoredEvent) -> bool {
        // A former outlier has the place of a position. What was fetched into a gap has none.
        let at = event.order.position();
        event.order == TimelineOrder::of(EventSn(at.0)) && self.may_see_at(at)
    }

    fn may_see_at(&self, at: Position) -> bool {
        let (before, span) = self.spans_at(at);
        // An event that changes the visibility or the user's membership is visible if either side of the change is.
        span.is_some_and(|span| span.is_visible || (span.from == at && before.is_some_and(|before| before.is_visible)))
    }

    /// Whether the user may read the state that a room had at a position: the state after an event that the user may read, or
    /// before one.
    #[must_use]
    pub fn may_see_state_at(&self, at: Position) -> bool {
        let next = Position(at.0.saturating_add(1));
        let (_, following) = self.spans_at(next);
        self.may_see_at(at) || following.is_some_and(|span| span.is_visible && span.from == next)
    }

    /// The user's membership after the event; `Leave` before the first member event.
    #[must_use]
    pub fn membership_at(&self, event: &StoredEvent) -> Membership {
        let (_, span) = self.spans_at(event.sn.position());
        span.map_or(Membership::Leave, |span| span.membership)
    }

    /// The user's current membership; `None` if there was never a member event.
    #[must_use]
    pub fn current_membership(&self) -> Option<Membership> {
        self.memberships.last().map(|(_, membership)| *membership)
    }

    /// The position at which the user got the current membership.
    #[must_use]
    pub fn member_since(&self) -> Option<Position> {
        self.memberships.last().map(|(position, _)| *position)
    }

    /// Whether the user was ever joined.
    #[must_use]
    pub fn was_ever_joined(&self) -> bool {
        self.memberships.iter().any(|(_, membership)| *membership == Membership::Join)
    }

    /// Whether the user joined after a position.
    pub(super) fn joined_after(&self, at: Position) -> bool {
        self.memberships.iter().any(|(position, membership)| *membership == Membership::Join && *position > at)
    }

    /// The position at which the user last left the room; `None` for a joined user, and one who never joined.
    #[must_use]
    pub fn left_at(&self) -> Option<Position> {
        let joined = self.memberships.iter().rposition(|(_, membership)| *membership == Membership::Join)?;
        self.memberships.get(joined + 1).map(|(position, _)| *position)
    }

    /// Whether the user has forgotten the room.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.is_forgotten
    }

    /// Whether the room is world-readable now.
    #[must_use]
    pub fn is_world_readable(&self) -> bool {
        self.spans.last().is_some_and(|span| span.visibility == HistoryVisibility::WorldReadable)
    }

    /// The range of positions that holds all events that the user may read: after the first, up to the second. `None` if the
    /// user may read none.
    #[must_use]
    pub fn readable(&self) -> Option<(Position, Position)> {
        let first = self.spans.iter().find(|span| span.is_visible)?;
        let last = self.spans.iter().rposition(|span| span.is_visible)?;
        // The events that begin and end a visible span are visible as well.
        let end = self.spans.get(last + 1).map_or(Position(i64::MAX), |next| next.from);
        Some((Position(first.from.0.saturating_sub(1)), end))
    }

    /// The span before the one that contains an event, and the one that contains it.
    fn spans_at(&self, at: Position) -> (Option<&Span>, Option<&Span>) {
        let after = self.spans.partition_point(|span| span.from <= at);
        let nth = |back: usize| after.checked_sub(back).and_then(|index| self.spans.get(index));
        (nth(2), nth(1))
    }
}

fn spans(memberships: &[(Position, Membership)], visibilities: &[(Position, HistoryVisibility)]) -> Vec<Span> {
    let last_join = memberships.iter().rfind(|(_, it)| *it == Membership::Join).map(|(position, _)| *position);
    let mut starts: Vec<Position> = memberships.iter().map(|(position, _)| *position).collect();
    starts.extend(visibilities.iter().map(|(position, _)| *position));
    starts.push(Position::START);
    starts.sort_unstable();
    starts.dedup();
    let span = |from: Position| {
        let membership = value_at(memberships, from).unwrap_or(Membership::Leave);
        let visibility = value_at(visibilities, from).unwrap_or(HistoryVisibility::Shared);
        let joined_later = last_join.is_some_and(|join| join > from);
        let viewpoint = Viewpoint::unchanged(visibility, membership, joined_later);
        Span { from, membership, visibility, is_visible: viewpoint.may_see() }
    };
    starts.into_iter().map(span).collect()
}

fn value_at<T: Copy>(changes: &[(Position, T)], at: Position) -> Option<T> {
    let after = changes.partition_point(|(position, _)| *position <= at);
    changes.get(after.checked_sub(1)?).map(|(_, value)| *value)
}

/// The visibility in an `m.room.history_visibility` event.
pub(crate) fn visibility_of(client_json: &[u8]) -> HistoryVisibility {
    let content = wire::member(client_json, "content").unwrap_or_default();
    let word = wire::member(content, "history_visibility").and_then(room_engine::string_value);
    word.map_or(HistoryVisibility::Shared, |word| HistoryVisibility::parse(&word))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use homeserver_core::{RoomSn, Timestamp};
    use room_engine::Membership::{Ban, Invite, Join, Leave};

    use super::*;

    fn view(memberships: &[(i64, Membership)], visibilities: &[(i64, &str)]) -> Visibility {
        Visibility::of(RoomView {
            memberships: memberships.iter().map(|(at, membership)| (Position(*at), *membership)).collect(),
            visibilities: visibilities
                .iter()
                .map(|(at, word)| {
                    let json = format!(
                        r#"{{"content":{{"history_visibility":"{word}"}},"type":"m.room.history_visibility"}}"#
                    );
                    (Position(*at), Bytes::from(json))
                })
                .collect(),
            is_forgotten: false,
        })
    }

    fn event(sn: i64) -> StoredEvent {
        StoredEvent {
            sn: EventSn(sn),
            order: TimelineOrder::of(EventSn(sn)),
            follows_gap: false,
            event_id: "$e".into(),
            room_sn: RoomSn(1),
            type_sn: TypeSn(1),
            state_key_sn: None,
            sender_sn: UserSn(1),
            origin_server_ts: Timestamp(0),
            depth: 1,
            countable_total: 0,
            client_json: Bytes::new(),
            replaces_sn: None,
            previous_sn: None,
            sender_erased_at: None,
            unsigned_erased_at: None,
            replaced_json: None,
            redacted_because: None,
            transaction: None,
            membership: None,
            redacts: None,
            unread: None,
        }
    }

    fn seen(view: &Visibility, among: std::ops::RangeInclusive<i64>) -> Vec<i64> {
        among.filter(|sn| view.may_see(&event(*sn))).collect()
    }

    #[test]
    fn joined_history_begins_with_the_join_and_ends_with_the_leaving() {
        let view = view(&[(5, Invite), (7, Join), (9, Leave)], &[(2, "joined")]);
        assert_eq!(seen(&view, 3..=12), [7, 8, 9]);
        assert_eq!(view.left_at(), Some(Position(9)));
    }

    #[test]
    fn state_is_seen_from_right_before_the_join_up_to_the_leaving() {
        let view = view(&[(5, Invite), (7, Join), (9, Leave)], &[(2, "joined")]);
        let seen: Vec<i64> = (3..=12).filter(|at| view.may_see_state_at(Position(*at))).collect();
        assert_eq!(seen, [6, 7, 8, 9]);
        assert!(!view.may_see_state_at(Position(i64::MAX)));
    }

    #[test]
    fn invited_history_begins_with_the_invite() {
        assert_eq!(seen(&view(&[(5, Invite), (7, Join)], &[(2, "invited")]), 3..=9), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn shared_history_is_open_up_to_the_leaving_and_again_after_coming_back() {
        let left = view(&[(5, Join), (8, Leave)], &[(2, "shared")]);
        assert_eq!(seen(&left, 1..=10), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(left.readable(), Some((Position(-1), Position(8))));
        let back = view(&[(5, Join), (8, Leave), (12, Join)], &[(2, "shared")]);
        assert_eq!(seen(&back, 9..=13), [9, 10, 11, 12, 13]);
        assert_eq!(back.left_at(), None);
    }

    #[test]
    fn strangers_see_world_readable_history_and_the_changes_around_it() {
        let view = view(&[], &[(2, "shared"), (5, "world_readable"), (8, "joined")]);
        assert_eq!(seen(&view, 1..=10), [5, 6, 7, 8]);
        assert_eq!(view.readable(), Some((Position(4), Position(8))));
        assert!(!view.is_world_readable());
        assert!(!view.was_ever_joined());
    }

    #[test]
    fn a_user_who_may_read_nothing_has_no_readable_range() {
        assert_eq!(view(&[(5, Invite), (6, Leave)], &[(2, "shared")]).readable(), None);
        assert_eq!(view(&[], &[]).readable(), None);
    }

    #[test]
    fn the_membership_at_an_event_includes_the_change_by_the_event() {
        let view = view(&[(5, Invite), (7, Join), (9, Ban)], &[]);
        let at = |sn| view.membership_at(&event(sn));
        assert_eq!([at(4), at(5), at(6), at(7), at(8), at(9), at(10)], [Leave, Invite, Invite, Join, Join, Ban, Ban]);
        assert_eq!(view.current_membership(), Some(Ban));
    }

    #[test]
    fn every_event_is_seen_exactly_as_the_rules_of_rooms_say() {
        let words = ["world_readable", "shared", "invited", "joined"];
        let steps = [Invite, Join, Leave, Ban];
        for first in words {
            for second in words {
                for (a, b, c) in (0..64).map(|n| (steps[n % 4], steps[n / 4 % 4], steps[n / 16])) {
                    let memberships = [(3, a), (5, b), (9, c)];
                    let view = view(&memberships, &[(2, first), (7, second)]);
                    for sn in 1..=11 {
                        let as_of =
                            |at: i64| memberships.iter().rfind(|(from, _)| *from <= at).map_or(Leave, |it| it.1);
                        let word = |at: i64| {
                            if at >= 7 {
                                second
                            } else if at >= 2 {
                                first
                            } else {
                                "shared"
                            }
                        };
                        let expected = Viewpoint {
                            visibility_before: HistoryVisibility::parse(word(sn - 1)),
                            visibility_after: HistoryVisibility::parse(word(sn)),
                            membership_before: as_of(sn - 1),
                            membership_after: as_of(sn),
                            joined_later: memberships.iter().any(|(at, it)| *at > sn && *it == Join),
                        };
                        let found = view.may_see(&event(sn));
                        assert_eq!(found, expected.may_see(), "{first} {second} {memberships:?} {sn}");
                        let readable = view.readable();
                        let in_range = readable.is_some_and(|(after, until)| sn > after.0 && sn <= until.0);
                        assert!(!found || in_range, "{first} {second} {memberships:?} {sn} {readable:?}");
                    }
                }
            }
        }
    }
}
