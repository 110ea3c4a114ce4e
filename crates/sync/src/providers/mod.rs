//! What changed for a user between two positions of the log: one provider for each kind of data, a file each.
//!
//! A view such as [`v3`](crate::v3) makes a [`Pass`], asks [`changes`] which rooms have something new, and the other providers for
//! what that is. A provider knows what the client [wants](Wants), and not which view asks, nor how the view writes its answer.
//!
//! | file | answers |
//! |---|---|
//! | [`changes`] | which rooms have something new, from the tail of the log or from the database |
//! | [`timelines`] | the newest events of rooms, with the help of [`sieved`] (filtered timelines) and [`hidden_state`] |
//! | [`state`] | the state before or after a timeline |
//! | [`members`] | the members whom a lazily loading client needs |
//! | [`summary`] | who a room is named after, and how many members it has |
//! | [`unread`] | what the user has not read |
//! | [`receipts`], [`typing`] | ephemeral events of rooms |
//! | [`presence`], [`account_data`] | what belongs to users |
//! | [`stripped`] | rooms as they look to somebody who is invited |

pub(crate) mod account_data;
pub(crate) mod changes;
mod filtering;
mod hidden_state;
mod members;
mod pass;
mod presence;
mod receipts;
mod sieved;
mod state;
pub(crate) mod stripped;
pub(crate) mod summary;
pub(crate) mod timelines;
mod typing;
mod unread;

use std::sync::Arc;

use accounts::ignoring::IgnoredUsers;
use accounts::sessions::Requester;
use event_log::{LogTail, UserRoomsCache};
use homeserver_core::Position;
use rooms::RoomError;
use storage::{Database, Interned, RoomStates};

pub(crate) use self::pass::Pass;
pub use self::pass::Wants;
use crate::presence::Presences;
use crate::typing::Typing;

/// What the providers read from.
pub struct Providers {
    /// For everything that is not in memory.
    pub database: Database,
    /// The numbers of identifiers.
    pub interned: Arc<Interned>,
    /// What is known of the state of rooms.
    pub states: Arc<RoomStates>,
    /// The newest part of the log.
    pub tail: Arc<LogTail>,
    /// Which rooms users are in.
    pub user_rooms: Arc<UserRoomsCache>,
    /// The users whom others ignore.
    pub ignored_users: Arc<IgnoredUsers>,
    /// The users who type.
    pub typing: Arc<Typing>,
    /// The presence of users.
    pub presences: Arc<Presences>,
}

impl Providers {
    /// A pass over what is new since `from`, up to the end of the log.
    ///
    /// # Errors
    /// [`RoomError`] if the user's rooms cannot be read.
    pub(crate) async fn pass<'a>(
        &self,
        requester: &'a Requester,
        wants: &'a Wants,
        from: Option<Position>,
    ) -> Result<Pass<'a>, RoomError> {
        // The end is read first: what is read after it includes everything up to there.
        let to = self.tail.end();
        let rooms = self.user_rooms.of(requester.user_sn).await?;
        let ignored = self.ignored_users.of(requester).await?;
        Ok(Pass { requester, wants, rooms, ignored, from, to })
    }
}
