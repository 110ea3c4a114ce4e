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
