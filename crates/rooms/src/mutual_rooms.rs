//! The rooms that a user shares with another one.

use std::sync::Arc;

use accounts::sessions::Requester;
use homeserver_core::RoomSn;
use ruma::UserId;
use serde::Serialize;
use storage::{Database, Interned};

use crate::RoomError;

/// Most rooms of a page.
const MAX_ROOMS: usize = 500;
/// What a token begins with: the version of its form.
const TOKEN: &str = "m1_";

/// A page of rooms.
#[derive(Serialize, Debug)]
pub struct MutualRoomsPage {
    /// The IDs of the rooms.
    pub joined: Vec<Box<str>>,
    /// How many there are on all pages.
    pub count: i64,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// Finds the rooms that two users are in.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms>
pub struct MutualRooms {
    database: Database,
    interned: Arc<Interned>,
}

impl MutualRooms {
    /// The rooms in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        Self { database, interned }
    }

    /// The rooms that the requester and another user are in, from a token on. A user who is not known is in no room.
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if the other user is the requester, or the token is none that was given out.
    pub async fn page(
        &self,
        requester: &Requester,
        user_id: &UserId,
        from: Option<&str>,
    ) -> Result<MutualRoomsPage, RoomError> {
        if requester.user_id == user_id {
            return Err(RoomError::Invalid("user_id: name another user than yourself.".to_owned()));
        }
        let after = from.map_or(Ok(RoomSn(0)), parse_token)?;
        let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? else {
            return Ok(MutualRoomsPage { joined: Vec::new(), count: 0, next_batch: None });
        };
        let users = (requester.user_sn, user_sn);
        let wanted = i64::try_from(MAX_ROOMS + 1).unwrap_or(i64::MAX);
        let mut rooms = self.database.mutual_rooms(users, after, wanted).await?;
        let count = self.database.mutual_room_count(users).await?;
        let has_more = rooms.len() > MAX_ROOMS;
        rooms.truncate(MAX_ROOMS);
        let next_batch = rooms.last().filter(|_| has_more).map(|(room_sn, _)| format!("{TOKEN}{room_sn}"));
        Ok(MutualRoomsPage { joined: rooms.into_iter().map(|(_, room_id)| room_id).collect(), count, next_batch })
    }
}

fn parse_token(token: &str) -> Result<RoomSn, RoomError> {
    let number = token.strip_prefix(TOKEN).and_then(|number| number.parse().ok()).map(RoomSn);
    number.ok_or_else(|| RoomError::Invalid("from: this is not a token that this server gave out.".to_owned()))
}
