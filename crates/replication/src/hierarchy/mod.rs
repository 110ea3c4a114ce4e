//! Spaces with their rooms, and summaries of single rooms, wherever they are.
//!
//! A client reads a hierarchy page by page, depth first ([`walk`]). Rooms that this server is in are summarised by [`Summaries`], many at
//! once; of other ones a server is asked that the parent names ([`asking`]), within a bound on their number and time for each page. What a
//! page has not come to is found by the token of the next one ([`token`]).
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#spaces>

mod asking;
mod serving;
mod token;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accounts::asking::{Asker, AskingError, Shares};
use accounts::sessions::Requester;
use homeserver_core::{Cache, Identity, MemoryBudget};
use rooms::RoomError;
use rooms::remote::{RemoteError, RemoteQueries};
use rooms::summaries::{KnownRoom, RoomSummary, SpaceRoom, Summaries, Viewer};
use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId, RoomId};
use serde::Serialize;
use storage::Membership;
use tasks::limits::Limit;
use tokio::time::Instant;

use self::asking::RemoteHierarchy;
pub use self::serving::ServedHierarchy;
use self::token::Token;
use self::walk::{Bounds, Walk};
use crate::requests::RoomRequests;

/// The rooms on a page if the client names no limit.
const DEFAULT_LIMIT: usize = 50;
/// The most rooms on a page.
const MAX_LIMIT: usize = 1_000;
/// How deep a hierarchy is read.
const MAX_DEPTH: u32 = 100;
/// The most children that are looked at for one page.
const MAX_STEPS_OF_PAGE: usize = 5_000;
/// The most rooms of a page that other servers are asked for.
const MAX_ASKED: usize = 10;
/// How long other servers may take for one page.
const TIME_FOR_ALL: Duration = Duration::from_secs(20);
/// How long a walk is kept for the next page; after that it is walked again.
const KEPT: Duration = Duration::from_mins(10);

/// What [`Hierarchies`] are made of.
pub struct HierarchiesParts {
    /// This server.
    pub identity: Arc<Identity>,
    /// Summaries of rooms that this server is in.
    pub summaries: Summaries,
    /// Asks other servers.
    pub requests: Arc<RoomRequests>,
    /// Asks other servers for the rooms of aliases.
    pub remote: Arc<RemoteQueries>,
    /// The shares of users and addresses in what other servers are asked for their sake.
    pub shares: Shares,
    /// How many read rooms of this server at once.
    pub reading: Arc<Limit>,
}

/// Reads hierarchies of spaces, and summaries of rooms.
pub struct Hierarchies {
    parts: HierarchiesParts,
    told: Cache<String, Arc<RemoteHierarchy>>,
    walks: Cache<String, Arc<Walk>>,
}

/// Which part of a hierarchy a client asks for.
#[derive(Clone, Default, Debug)]
pub struct HierarchyQuery {
    /// The token of the page.
    pub from: Option<String>,
    /// The most rooms on it.
    pub limit: Option<usize>,
    /// How far down it goes; the space itself is at 0.
    pub max_depth: Option<u32>,
    /// Whether only suggested rooms are wanted.
    pub suggested_only: Option<bool>,
}

/// A page of a hierarchy.
#[derive(Serialize, Debug)]
pub struct HierarchyPage {
    /// The rooms, each before its children.
    pub rooms: Vec<SpaceRoom>,
    /// The token of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// A summary of a room, for one user.
#[derive(Serialize, Debug)]
pub struct SummaryFor {
    /// What is told of the room.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// What the user is to it; absent for somebody who is not logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<&'static str>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// There is no such room, or who asks may not know of it.
    #[error("There is no such room, or you may not see it.")]
    NotFound,
    /// The same, for a space whose rooms are asked for.
    #[error("You are not in this room, and it cannot be previewed.")]
    NotAccessible,
    /// The parameters contradict the token.
    #[error("{0}")]
    Invalid(String),
    /// Other servers were not asked.
    #[error(transparent)]
    Asking(#[from] AskingError),
    /// Something cannot be read.
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl Hierarchies {
    /// Hierarchies by what is in `parts`, with caches in `memory`.
    #[must_use]
    pub fn new(parts: HierarchiesParts, memory: &MemoryBudget) -> Self {
        Self { parts, told: Cache::new(memory, "told_hierarchies"), walks: Cache::new(memory, "hierarchy_walks") }
    }

    /// A page of the hierarchy below a room.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>
    ///
    /// # Errors
    /// [`HierarchyError`].
    #[tracing::instrument(name = "read_hierarchy", level = "debug", skip_all)]
    pub async fn page(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        query: &HierarchyQuery,
    ) -> Result<HierarchyPage, HierarchyError> {
        let start = Token::start(query)?;
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let deadline = Instant::now() + TIME_FOR_ALL;
        let mut walk = match self.walks.get(&start.key(requester, room_id)) {
            Some(walk) => Walk::clone(&walk),
            None => self.walk_to(requester, room_id, &start, deadline).await?,
        };
        let mut bounds = Bounds { rooms: limit, steps: MAX_STEPS_OF_PAGE, asked: MAX_ASKED, deadline };
        let rooms = Box::pin(self.next_rooms(requester, &mut walk, &mut bounds)).await?;
        if walk.is_over() {
            let is_hidden = start.steps == 0 && rooms.is_empty();
            return if is_hidden {
                Err(HierarchyError::NotAccessible)
            } else {
                Ok(HierarchyPage { rooms, next_batch: None })
            };
        }
        let next = Token { steps: walk.steps(), ..start };
        self.walks.insert_for(next.key(requester, room_id), Arc::new(walk), Some(KEPT));
        Ok(HierarchyPage { rooms, next_batch: Some(next.to_string()) })
    }

    /// The walk at the place of a token. From its beginning, because this node has not kept it.
    async fn walk_to(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        token: &Token,
        deadline: Instant,
    ) -> Result<Walk, HierarchyError> {
        let mut walk = Walk::new(room_id.to_owned(), token);
        if token.steps > 0 {
            let mut bounds = Bounds { rooms: usize::MAX, steps: token.steps, asked: usize::MAX, deadline };
            Box::pin(self.next_rooms(requester, &mut walk, &mut bounds)).await?;
            if walk.steps() < token.steps {
                let sentence = "from: this token is not known any more; begin with the first page".to_owned();
                return Err(HierarchyError::Invalid(sentence));
            }
        }
        Ok(walk)
    }

    /// A summary of a room.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>
    ///
    /// # Errors
    /// [`HierarchyError::NotFound`] if there is no such room as far as who asks may know.
    #[tracing::instrument(name = "summarise_room", level = "debug", skip_all)]
    pub async fn summary(
        &self,
        asker: Asker<'_>,
        room_id: &RoomId,
        via: &[OwnedServerName],
    ) -> Result<SummaryFor, HierarchyError> {
        let viewer = viewer_of(asker);
        let known = self.known(&[room_id.to_owned()], viewer, true).await?.remove(room_id);
        let summary = match known {
            Some(known) if known.is_accessible => known.room.summary,
            Some(_) => return Err(HierarchyError::NotFound),
            None => self.summary_elsewhere(asker, room_id, via).await?,
        };
        let membership = match viewer {
            Viewer::User(_) => {
                Some(self.parts.summaries.membership(viewer, room_id).await?.unwrap_or(Membership::Leave))
            }
            _ => None,
        };
        Ok(SummaryFor { summary, membership: membership.map(Membership::as_str) })
    }

    /// Those of some rooms that this server is in.
    async fn known(
        &self,
        rooms: &[OwnedRoomId],
        viewer: Viewer<'_>,
        suggested_only: bool,
    ) -> Result<HashMap<OwnedRoomId, KnownRoom>, HierarchyError> {
        let _permit = self.parts.reading.enter().await.map_err(AskingError::from)?;
        Ok(self.parts.summaries.of(rooms, viewer, suggested_only).await?)
    }

    async fn summary_elsewhere(
        &self,
        asker: Asker<'_>,
        room_id: &RoomId,
        via: &[OwnedServerName],
    ) -> Result<RoomSummary, HierarchyError> {
        let servers: Vec<OwnedServerName> =
            via.iter().map(|server| &**server).chain(room_id.server_name()).map(ToOwned::to_owned).collect();
        let deadline = Instant::now() + TIME_FOR_ALL;
        let told = self.ask(asker, (room_id, servers.as_slice()), true, deadline).await?;
        let told = told.ok_or(HierarchyError::NotFound)?;
        let is_accessible = self.parts.summaries.may_know(viewer_of(asker), &told.room.summary).await?;
        if is_accessible { Ok(told.room.summary.clone()) } else { Err(HierarchyError::NotFound) }
    }

    /// The room of an alias, and servers that are in it.
    ///
    /// # Errors
    /// [`RemoteError`] if the alias is not one of this server and its server does not tell.
    pub async fn resolve_elsewhere(
        &self,
        asker: Asker<'_>,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), RemoteError> {
        let found = self.parts.remote.alias(asker, alias).await?;
        let mut servers = vec![alias.server_name().to_owned()];
        servers.extend(found.servers);
        Ok((found.room_id, servers))
    }
}

/// Who wants to know, of who has this server ask.
fn viewer_of(asker: Asker<'_>) -> Viewer<'static> {
    asker.requester().map_or(Viewer::Anybody, |requester| Viewer::User(requester.user_sn))
}
