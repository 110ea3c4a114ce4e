//! Interned identifiers. The text of a user ID, room ID, event type or state key is stored once; everything else refers to it
//! by number, and text appears only at the edges.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! interned {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }
    )*};
}

interned! {
    /// A user known to this server, local or remote.
    UserSn;
    /// A room known to this server.
    RoomSn;
    /// A device of a local user.
    DeviceSn;
    /// An event. The number is the position in the log at which the server learned of the event.
    EventSn;
    /// An event type, such as `m.room.message`.
    TypeSn;
    /// A state key, the empty one included.
    KeySn;
    /// Another server.
    ServerSn;
    /// A position in the log: the one total order in which everything that `/sync` can show became visible.
    /// Positions grow and become visible in order: a reader that has seen one has seen all before it.
    Position;
    /// A place in the timeline of a room, in which `/messages` and `/context` read. It follows from the position where the server
    /// learned of an event as part of its room's timeline; older events that it fetches later have places before those.
    TimelineOrder;
}

impl EventSn {
    /// The position in the log at which the event appeared.
    pub fn position(self) -> Position {
        Position(self.0)
    }
}

impl Position {
    /// Before everything in the log.
    pub const START: Self = Self(0);
}

impl TimelineOrder {
    /// Before every event of a timeline. What has no place in one comes before this.
    pub const START: Self = Self(-(1 << 61));
    /// After every event of a timeline.
    pub const END: Self = Self(i64::MAX);
    /// Places from one position to the next: what is missing before an event finds room there. The statements of `storage` have
    /// the same number.
    pub const PLACES: i64 = 1 << 20;

    /// The place of an event that was part of the timeline when the server learned of it.
    #[must_use]
    pub fn of(event: EventSn) -> Self {
        Self(event.0.saturating_mul(Self::PLACES))
    }

    /// The last place before what the server learned after a position.
    #[must_use]
    pub fn end_of(position: Position) -> Self {
        Self(position.0.saturating_add(1).saturating_mul(Self::PLACES).saturating_sub(1))
    }

    /// The last position that is not after the place.
    #[must_use]
    pub fn position(self) -> Position {
        Position(self.0.div_euclid(Self::PLACES).max(0))
    }

    /// The place right before.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_before_an_event_has_places_after_the_position_before() {
        let event = TimelineOrder::of(EventSn(8));
        assert_eq!(event.before(), TimelineOrder::end_of(Position(7)));
        assert_eq!((event.position(), event.before().position()), (Position(8), Position(7)));
        assert_eq!(TimelineOrder::end_of(Position(i64::MAX)), TimelineOrder(i64::MAX - 1));
        assert_eq!(TimelineOrder(-1).position(), Position::START);
    }
}
