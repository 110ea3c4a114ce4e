//! Finding messages.

use std::collections::{HashMap, HashSet};

use accounts::ignoring::Ignored;
use accounts::sessions::Requester;
use homeserver_core::{EventSn, Position, RoomSn};
use ruma::{OwnedRoomId, RoomId};
use storage::StoredEvent;

use super::indexing::searched_types;
use super::{SearchRequest, Start};
use crate::RoomError;
use crate::reading::access::Access;
use crate::reading::erasure::redact_erased;
use crate::reading::history::History;
use crate::reading::related_by::related_by;
use crate::search_index::block;
use crate::search_index::{Words, searched_text};

/// So many results are looked for: the best of them fit best.
const MAX_MATCHES: usize = 200;
/// Most events that are looked at. The next page goes on behind them.
const MAX_EXAMINED: usize = 5_000;
/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 200;
/// Blocks whose lists are read at once.
const BLOCKS_AT_ONCE: i64 = 32;
/// Most events behind the last block that are looked through.
const MAX_UNINDEXED: i64 = 20_000;
/// Most positions of the log that are looked through for them.
const MAX_UNINDEXED_POSITIONS: i64 = 200_000;

/// The rooms that are searched, with their IDs.
pub(super) type Rooms = HashMap<RoomSn, Box<str>>;

/// An event that has all words.
pub(super) struct Match {
    pub(super) event: StoredEvent,
    pub(super) rank: f64,
}

/// What was found, the newest first.
pub(super) struct Found {
    pub(super) matches: Vec<Match>,
    /// Before which event there may be more.
    pub(super) continues_before: Option<EventSn>,
}

struct Finder<'a> {
    history: &'a History,
    requester: &'a Requester,
    request: &'a SearchRequest,
    words: &'a Words,
    room_ids: &'a HashMap<RoomSn, OwnedRoomId>,
    views: HashMap<RoomSn, Option<Access<'a>>>,
    ignored: Ignored,
    examined: usize,
    matches: Vec<Match>,
    /// The last event that was looked at.
    last: EventSn,
}

/// The newest matches before the start.
pub(super) async fn find(
    history: &History,
    requester: &Requester,
    request: &SearchRequest,
    words: &Words,
    (rooms, start): (&Rooms, Start),
) -> Result<Found, RoomError> {
    if words.is_empty() || rooms.is_empty() {
        return Ok(Found { matches: Vec::new(), continues_before: None });
    }
    let before = match start {
        Start::Rank(_) => EventSn(i64::MAX),
        Start::Before(sn, _) => sn,
    };
    let parsed = rooms.iter().filter_map(|(room_sn, id)| Some((*room_sn, RoomId::parse(&**id).ok()?)));
    let room_ids: HashMap<RoomSn, OwnedRoomId> = parsed.collect();
    let mut finder = Finder {
        history,
        requester,
        request,
        words,
        room_ids: &room_ids,
        views: HashMap::new(),
        ignored: history.ignored_users.of(requester).await?,
        examined: 0,
        matches: Vec::new(),
        last: before,
    };
    // Once for both parts: the index grows meanwhile, and nothing is to be found twice.
    let indexed_until = history.database.search_indexed_until().await?;
    let is_through =
        finder.find_unindexed(before, indexed_until).await? && finder.find_indexed(before, indexed_until).await?;
    let continues_before = (!is_through).then_some(finder.last);
    Ok(Found { matches: finder.matches, continues_before })
}

impl Finder<'_> {
    fn is_enough(&self) -> bool {
        self.matches.len() >= MAX_MATCHES || self.examined >= MAX_EXAMINED
    }

    /// Looks through what is not indexed yet. Returns whether there is a point in going on.
    async fn find_unindexed(&mut self, before: EventSn, indexed_until: Position) -> Result<bool, RoomError> {
        let database = &self.history.database;
        let end = Position(before.0.saturating_sub(1)).min(database.position().await?);
        // While the index is being made for the first time, what is older is found when it is in there.
        let range = (indexed_until.max(Position(end.0.saturating_sub(MAX_UNINDEXED_POSITIONS))), end);
        if range.0 >= range.1 {
            return Ok(true);
        }
        let types = searched_types(&self.history.interned).await?;
        let rooms: Vec<i64> = self.room_ids.keys().map(|room_sn| room_sn.0).collect();
        let events = database.newest_searched_events(&types, &rooms, range, MAX_UNINDEXED).await?;
        let has = |json: &[u8]| searched_text(json).is_some_and(|(_, text)| self.words.rank(&text).is_some());
        let found = events.iter().filter(|event| has(&event.client_json)).map(|event| event.event_sn).collect();
        self.examine(found).await
    }

    /// Looks into the blocks of the index, the newest first. Returns whether all were looked into.
    async fn find_indexed(&mut self, before: EventSn, indexed_until: Position) -> Result<bool, RoomError> {
        let database = self.history.database.clone();
        let terms: Vec<i64> = self.words.terms().into_iter().collect();
        let rooms: HashSet<RoomSn> = self.room_ids.keys().copied().collect();
        // The block that has the start is the first one.
        let first = database.search_block_at(before.0).await?;
        let mut end = first.map_or(i64::MAX, |block| block.saturating_add(1));
        loop {
            let blocks = database.search_blocks_before(end, BLOCKS_AT_ONCE).await?;
            let Some(oldest) = blocks.last().copied() else { return Ok(true) };
            let mut lists: HashMap<i64, Vec<Vec<u8>>> = HashMap::new();
            if !terms.is_empty() {
                for (block, _, list) in database.search_postings(&blocks, &terms).await? {
                    lists.entry(block).or_default().push(list);
                }
            }
            let has_all = |block: &i64| lists.get(block).map_or(0, Vec::len) == terms.len();
            let wanted: Vec<i64> = blocks.iter().copied().filter(has_all).collect();
            let mut found: Vec<EventSn> = Vec::new();
            for (block, documents) in database.search_documents(&wanted).await? {
                let lists: Vec<&[u8]> = lists.get(&block).into_iter().flatten().map(Vec::as_slice).collect();
                found.extend(block::found(&documents, &lists, &rooms));
            }
            found.retain(|event| *event < before && event.0 <= indexed_until.0);
            found.sort_unstable_by(|a, b| b.cmp(a));
            if !self.examine(found).await? {
                return Ok(false);
            }
            end = oldest;
        }
    }

    /// Keeps those of the events that match, which come the newest first. Returns `false` when it is enough.
    async fn examine(&mut self, found: Vec<EventSn>) -> Result<bool, RoomError> {
        for sns in found.chunks(EVENTS_AT_ONCE) {
            if self.is_enough() {
                return Ok(false);
            }
            let numbers: Vec<i64> = sns.iter().map(|sn| sn.0).collect();
            let mut events = self.history.database.events(&numbers).await?;
            self.examined += sns.len();
            events.retain(|event| self.fits(event).is_some());
            let shown = self.shown(events).await?;
            for event in shown.into_iter().rev() {
                if self.matches.len() >= MAX_MATCHES {
                    return Ok(false);
                }
                self.last = event.sn;
                if let Some(rank) = self.fits(&event) {
                    self.matches.push(Match { event, rank });
                }
            }
            self.last = sns.last().copied().unwrap_or(self.last);
        }
        Ok(true)
    }

    /// How well an event fits; `None` if it does not.
    fn fits(&self, event: &StoredEvent) -> Option<f64> {
        if !self.request.filter.includes_event(&event.client_json) || self.ignored.hides(event) {
            return None;
        }
        let (key, text) = searched_text(&event.client_json)?;
        let is_wanted = self.request.keys.is_empty() || self.request.keys.iter().any(|wanted| wanted == key);
        self.words.rank(&text).filter(|_| is_wanted)
    }

    /// Those of the events, in the order of the log, that the reader is shown, and as the reader is shown them.
    async fn shown(&mut self, events: Vec<StoredEvent>) -> Result<Vec<StoredEvent>, RoomError> {
        let mut by_room: HashMap<RoomSn, Vec<StoredEvent>> = HashMap::new();
        for event in events {
            by_room.entry(event.room_sn).or_default().push(event);
        }
        let mut shown = Vec::new();
        for (room_sn, mut events) in by_room {
            self.open(room_sn).await?;
            let Some(access) = self.views.get(&room_sn).and_then(Option::as_ref) else { continue };
            access.look_at(&self.history.database, &self.history.interned, &events).await?;
            events.retain(|event| access.may_see(event));
            redact_erased(&self.history.database, &access.visibility, &mut events).await?;
            let ids: Vec<String> = events.iter().map(|event| event.event_id.to_string()).collect();
            let filter = &self.request.filter;
            let related = related_by(&self.history.database, &self.history.interned, filter, room_sn, &ids).await?;
            events.retain(|event| related.as_ref().is_none_or(|related| related.contains(&*event.event_id)));
            shown.extend(events);
        }
        shown.sort_unstable_by_key(|event| event.sn);
        Ok(shown)
    }

    /// Finds out what the reader may see of a room: nothing, if the reader has left it meanwhile.
    async fn open(&mut self, room_sn: RoomSn) -> Result<(), RoomError> {
        let Some(room_id) = self.room_ids.get(&room_sn).filter(|_| !self.views.contains_key(&room_sn)) else {
            return Ok(());
        };
        let History { database, interned, states, .. } = self.history;
        let access = match Access::open(database, interned, states, self.requester, room_id).await {
            Ok(access) => Some(access),
            Err(RoomError::NoSuchRoom | RoomError::NotInRoom) => None,
            Err(error) => return Err(error),
        };
        self.views.insert(room_sn, access);
        Ok(())
    }
}
