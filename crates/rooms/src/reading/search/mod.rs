//! Full-text search in the rooms that a user is in.
//!
//! The index names messages that may have the words, the newest first; the texts decide, as they are now, and the reader must be
//! allowed to see them. `finding` does that, `answering` writes what was found, with what is around it.

mod answering;
mod finding;
mod indexing;

use std::sync::Arc;

use accounts::filters::RoomEventFilter;
use accounts::rate_limits::{LimitedAction, RateLimits};
use accounts::sessions::Requester;
use homeserver_core::EventSn;
use tasks::limits::Limit;

use self::finding::Match;
pub use self::indexing::SearchIndexing;
use super::history::History;
use crate::RoomError;
use crate::search_index::Words;

/// Results of a page if the client names no limit.
const DEFAULT_LIMIT: u64 = 10;
/// Most results of a page.
const MAX_LIMIT: u64 = 100;
/// The longest search term, in bytes.
const MAX_TERM_BYTES: usize = 1_024;
/// Most events before and after a result.
pub const MAX_CONTEXT: usize = 50;

/// What is searched for, and how it is answered.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// The words.
    pub search_term: String,
    /// In which keys of contents: `body`, `name`, `topic`.
    pub keys: Vec<String>,
    /// In which events.
    pub filter: RoomEventFilter,
    /// Whether the newest come first, not those that fit best.
    pub is_newest_first: bool,
    /// What to tell of the events around a result.
    pub context: ContextWish,
    /// Whether to tell the state of the rooms.
    pub include_state: bool,
    /// Whether to group the results by room.
    pub by_room: bool,
    /// Whether to group the results by sender.
    pub by_sender: bool,
    /// `next_batch` of the page before.
    pub next_batch: Option<String>,
}

/// What to tell of the events around a result.
#[derive(Clone, Copy, Debug)]
pub struct ContextWish {
    /// Most events before.
    pub before: usize,
    /// Most events after.
    pub after: usize,
    /// Whether to tell what the senders were called.
    pub include_profile: bool,
}

/// Searches messages.
pub struct Search {
    history: Arc<History>,
    rate_limits: Arc<RateLimits>,
    limit: Arc<Limit>,
}

/// Where a page begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// Behind so many results that fit better.
    Rank(usize),
    /// With the newest event before this one, after so many results.
    Before(EventSn, usize),
}

impl Search {
    /// Searches in what `history` reads; `limit` limits concurrent searches.
    #[must_use]
    pub fn new(history: Arc<History>, rate_limits: Arc<RateLimits>, limit: Arc<Limit>) -> Self {
        Self { history, rate_limits, limit }
    }

    /// Searches the rooms of a user: the JSON of the answer's `room_events`.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search>
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if the term or the token cannot be used, [`RoomError::LimitExceeded`], [`RoomError::Busy`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn search(&self, requester: &Requester, request: &SearchRequest) -> Result<Vec<u8>, RoomError> {
        if request.search_term.len() > MAX_TERM_BYTES {
            return Err(RoomError::Invalid(format!("search_term: at most {MAX_TERM_BYTES} bytes")));
        }
        let start = Start::parse(request)?;
        self.rate_limits.spend_by_user(LimitedAction::UserDirectory, requester)?.keep();
        let _permit = self.limit.enter().await?;
        let words = Words::new(&request.search_term);
        let rooms = self.history.database.joined_rooms_with_ids(requester.user_sn).await?;
        let rooms: finding::Rooms =
            rooms.into_iter().filter(|(_, room_id)| request.filter.includes_room(room_id)).collect();
        let found = finding::find(&self.history, requester, request, &words, (&rooms, start)).await?;
        let limit = request.filter.events.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let limit = usize::try_from(limit).unwrap_or(0);
        let page = page(found.matches, start, limit, found.continues_before);
        answering::write(&self.history, requester, request, &words, (&rooms, page)).await
    }
}

/// A page of results.
struct Page {
    matches: Vec<Match>,
    next: Option<Start>,
    /// How many there are in all, as far as they were looked for.
    count: usize,
}

/// Takes a page of what was found, which is the newest first. As in other servers, a full page has a next one, which may be empty.
fn page(mut matches: Vec<Match>, start: Start, limit: usize, continues_before: Option<EventSn>) -> Page {
    match start {
        Start::Rank(skipped) => {
            let count = matches.len();
            matches.sort_by(|a, b| b.rank.total_cmp(&a.rank));
            let matches: Vec<Match> = matches.into_iter().skip(skipped).take(limit).collect();
            let is_full = limit > 0 && matches.len() == limit;
            Page { matches, next: is_full.then_some(Start::Rank(skipped.saturating_add(limit))), count }
        }
        Start::Before(_, seen) => {
            let count = seen.saturating_add(matches.len());
            matches.truncate(limit);
            let seen = seen.saturating_add(matches.len());
            let last = matches.last().filter(|_| matches.len() == limit).map(|last| last.event.sn);
            let next = last.or(continues_before).map(|sn| Start::Before(sn, seen));
            Page { matches, next, count }
        }
    }
}

impl Start {
    /// Where the request says that the page begins.
    fn parse(request: &SearchRequest) -> Result<Self, RoomError> {
        let unknown = || RoomError::Invalid("next_batch: this is not a token that this server gave out.".to_owned());
        let Some(token) = request.next_batch.as_deref().filter(|token| !token.is_empty()) else {
            return Ok(if request.is_newest_first { Self::Before(EventSn(i64::MAX), 0) } else { Self::Rank(0) });
        };
        let parsed = match token.split_once('_') {
            Some(("k1", skipped)) if !request.is_newest_first => skipped.parse().ok().map(Self::Rank),
            Some(("n1", rest)) if request.is_newest_first => rest.split_once('_').and_then(|(sn, seen)| {
                let sn = sn.parse().ok().filter(|sn: &i64| *sn >= 0)?;
                Some(Self::Before(EventSn(sn), seen.parse().ok()?))
            }),
            _ => None,
        };
        parsed.ok_or_else(unknown)
    }

    fn token(self) -> String {
        match self {
            Self::Rank(skipped) => format!("k1_{skipped}"),
            Self::Before(sn, seen) => format!("n1_{sn}_{seen}"),
        }
    }
}
