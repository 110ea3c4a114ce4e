//! The directory of public rooms.

use std::sync::Arc;

use accounts::sessions::Requester;
use accounts::unicode::folded;
use homeserver_core::RoomSn;
use ruma::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use storage::{Database, DirectoryEntry, Interned};
use tasks::limits::Limit;

use super::aliases::may_set_canonical_alias;
use super::{RoomError, Timeline};
use crate::shown_state::ShownState;

/// So many rooms are read at once.
const BATCH: i64 = 200;
/// One search looks at so many rooms; the client can continue where it ended.
const MAX_SCANNED: usize = 5_000;
/// So many rooms are counted for the estimate on each page.
const MAX_COUNTED: i64 = 10_000;
/// The rooms on a page if the client names no limit.
const DEFAULT_LIMIT: usize = 100;
/// The most rooms on a page.
const MAX_LIMIT: usize = 500;

/// A search of the directory.
#[derive(Clone, Default, Debug)]
pub struct DirectoryQuery {
    /// The most rooms on the page.
    pub limit: Option<usize>,
    /// A token from another page.
    pub since: Option<String>,
    /// Text in the name, topic or alias.
    pub search_term: Option<String>,
    /// The `type`s of the rooms, where `None` stands for rooms without one; all rooms if it is not given.
    pub room_types: Option<Vec<Option<String>>>,
}

/// A room in the directory.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct PublicRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its avatar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Its main alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// The number of its joined members that are known here.
    pub num_joined_members: i64,
    /// Whether everybody may read it.
    #[serde(default)]
    pub world_readable: bool,
    /// Whether guests may join it.
    #[serde(default)]
    pub guest_can_join: bool,
    /// Its join rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_rule: Option<String>,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
}

/// A page of the directory.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct DirectoryPage {
    /// The rooms, largest first.
    pub chunk: Vec<PublicRoom>,
    /// The token of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The token of the previous page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// The number of rooms in the directory, about.
    #[serde(default)]
    pub total_room_count_estimate: i64,
}

/// The direction of a page from a place in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    After,
    Before,
}

/// Lists public rooms.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>
pub struct Directory {
    database: Database,
    interned: Arc<Interned>,
    timeline: Arc<Timeline>,
    limit: Arc<Limit>,
}

impl Directory {
    /// The directory in `database`. `limit` bounds how many requests read it at once.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>, timeline: Arc<Timeline>, limit: Arc<Limit>) -> Self {
        Self { database, interned, timeline, limit }
    }

    /// Whether a room is listed.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such room.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, RoomError> {
        let room_sn = self.find(room_id).await?;
        Ok(self.database.is_room_published(room_sn).await?)
    }

    /// Adds a room to the directory, or removes it.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such room, [`RoomError::Forbidden`] if the user may not change its main alias
    /// and is no administrator.
    pub async fn publish(&self, requester: &Requester, room_id: &RoomId, is_published: bool) -> Result<(), RoomError> {
        let room_sn = self.find(room_id).await?;
        if !requester.is_admin {
            let mut room = self.timeline.open(room_sn).await?;
            if !may_set_canonical_alias(&mut room, requester).await? {
                let sentence = "You need to be in the room, with the power level for m.room.canonical_alias, to list it in the directory.";
                return Err(RoomError::Forbidden(sentence.to_owned()));
            }
        }
        Ok(self.database.set_room_published(room_sn, is_published).await?)
    }

    async fn find(&self, room_id: &RoomId) -> Result<RoomSn, RoomError> {
        let no_room = || RoomError::NotFound(format!("There is no room {room_id}."));
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or_else(no_room)?;
        if self.database.room_head(room_sn).await?.is_some() { Ok(room_sn) } else { Err(no_room()) }
    }

    /// A page of the directory.
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if the token is not from this server.
    #[tracing::instrument(name = "public_rooms", level = "debug", skip_all)]
    pub async fn page(&self, query: &DirectoryQuery) -> Result<DirectoryPage, RoomError> {
        let _permit = self.limit.enter().await?;
        let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let (direction, start) = match &query.since {
            Some(token) => parse_token(token)?,
            None => (Direction::After, DirectoryEntry { joined_count: i64::MAX, room_sn: RoomSn(0) }),
        };
        let mut scan = self.scan(query, direction, start, limit).await?;
        if direction == Direction::Before {
            scan.found.reverse();
        }
        let first = scan.found.first().map(|(entry, _)| *entry);
        let last = scan.found.last().map(|(entry, _)| *entry);
        let token = |direction, entry: Option<DirectoryEntry>| entry.map(|entry| write_token(direction, entry));
        let (next_batch, prev_batch) = match direction {
            Direction::After => {
                let next = scan.goes_on.then(|| write_token(Direction::After, scan.end));
                (next, query.since.as_ref().and_then(|_| token(Direction::Before, first.or(Some(start)))))
            }
            Direction::Before => {
                let before = scan.goes_on.then(|| write_token(Direction::Before, scan.end));
                (token(Direction::After, last), before)
            }
        };
        let chunk = scan.found.into_iter().map(|(_, room)| room).collect();
        let total_room_count_estimate = self.database.count_published_rooms(MAX_COUNTED).await?;
        Ok(DirectoryPage { chunk, next_batch, prev_batch, total_room_count_estimate })
    }

    /// Collects up to `limit` rooms that match, in the order of the direction.
    async fn scan(
        &self,
        query: &DirectoryQuery,
        direction: Direction,
        start: DirectoryEntry,
        limit: usize,
    ) -> Result<Scan, RoomError> {
        let search_term = query.search_term.as_deref().map(folded).filter(|term| !term.is_empty());
        let mut scan = Scan { found: Vec::new(), end: start, goes_on: true };
        let mut scanned = 0;
        while scanned < MAX_SCANNED {
            let entries = match direction {
                Direction::After => self.database.directory_after(scan.end, BATCH).await?,
                Direction::Before => self.database.directory_before(scan.end, BATCH).await?,
            };
            let is_last = entries.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
            scanned += entries.len();
            for (entry, room) in self.describe(entries).await? {
                if !matches(&room, search_term.as_deref(), query.room_types.as_deref()) {
                    scan.end = entry;
                    continue;
                }
                if scan.found.len() == limit {
                    return Ok(scan);
                }
                scan.end = entry;
                scan.found.push((entry, room));
            }
            if is_last {
                scan.goes_on = false;
                break;
            }
        }
        Ok(scan)
    }

    /// Reads the state of all these rooms that the directory shows.
    async fn describe(&self, entries: Vec<DirectoryEntry>) -> Result<Vec<(DirectoryEntry, PublicRoom)>, RoomError> {
        let numbers: Vec<i64> = entries.iter().map(|entry| entry.room_sn.0).collect();
        let mut shown = ShownState::of_rooms(&self.database, &self.interned, &numbers).await?;
        let mut rooms = Vec::with_capacity(entries.len());
        for entry in entries {
            let room_id = self.interned.room_id(entry.room_sn).await?;
            let Ok(room_id) = RoomId::parse(&*room_id) else { continue };
            let shown = shown.remove(&entry.room_sn).unwrap_or_default();
            rooms.push((entry, PublicRoom::new(room_id, entry.joined_count, &shown)));
        }
        Ok(rooms)
    }
}

struct Scan {
    found: Vec<(DirectoryEntry, PublicRoom)>,
    /// The last room of the scan.
    end: DirectoryEntry,
    /// Whether there may be more rooms after it.
    goes_on: bool,
}

impl PublicRoom {
    pub(crate) fn new(room_id: OwnedRoomId, num_joined_members: i64, shown: &ShownState) -> Self {
        let text = |event_type, key| shown.text(event_type, key).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            room_id,
            name: text("m.room.name", "name"),
            topic: text("m.room.topic", "topic"),
            avatar_url: text("m.room.avatar", "url"),
            canonical_alias: text("m.room.canonical_alias", "alias"),
            num_joined_members,
            world_readable: shown.text("m.room.history_visibility", "history_visibility") == Some("world_readable"),
            guest_can_join: shown.text("m.room.guest_access", "guest_access") == Some("can_join"),
            join_rule: text("m.room.join_rules", "join_rule"),
            room_type: text("m.room.create", "type"),
        }
    }
}

fn matches(room: &PublicRoom, search_term: Option<&str>, room_types: Option<&[Option<String>]>) -> bool {
    let texts = [&room.name, &room.topic, &room.canonical_alias];
    let has_term = |term: &str| texts.into_iter().flatten().any(|text| folded(text).contains(term));
    search_term.is_none_or(has_term) && room_types.is_none_or(|types| types.contains(&room.room_type))
}

fn write_token(direction: Direction, entry: DirectoryEntry) -> String {
    let letter = if direction == Direction::After { 'a' } else { 'b' };
    format!("{letter}1_{}_{}", entry.joined_count, entry.room_sn)
}

fn parse_token(token: &str) -> Result<(Direction, DirectoryEntry), RoomError> {
    let parse = || {
        let (direction, rest) = match token.split_once('_')? {
            ("a1", rest) => (Direction::After, rest),
            ("b1", rest) => (Direction::Before, rest),
            _ => return None,
        };
        let (joined_count, room_sn) = rest.split_once('_')?;
        let entry = DirectoryEntry { joined_count: joined_count.parse().ok()?, room_sn: RoomSn(room_sn.parse().ok()?) };
        Some((direction, entry))
    };
    parse().ok_or_else(|| RoomError::Invalid("since: not a token of the room directory".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        for direction in [Direction::After, Direction::Before] {
            let entry = DirectoryEntry { joined_count: 7, room_sn: RoomSn(42) };
            assert_eq!(parse_token(&write_token(direction, entry)).unwrap(), (direction, entry));
        }
        for broken in ["", "a1", "a1_1", "a1_x_1", "c1_1_1", "s1_5"] {
            assert!(parse_token(broken).is_err(), "{broken}");
        }
    }
}
