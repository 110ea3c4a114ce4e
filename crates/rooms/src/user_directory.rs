//! The user directory: finding users by their names.

mod query;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use accounts::rate_limits::{LimitExceeded, LimitedAction, RateLimits};
use accounts::sessions::Requester;
use homeserver_core::{RoomSn, UserSn};
use room_engine::string_value;
use serde::Serialize;
use storage::{Database, Interned, Membership, StorageError};
use tasks::limits::{Busy, Limit};

use self::query::{Fit, Query};
use crate::wire;

/// The users in an answer if the client names no limit.
const DEFAULT_LIMIT: usize = 10;
/// The most users in an answer.
const MAX_LIMIT: usize = 100;
/// The longest search term, in characters: room for a display name and a user ID.
const MAX_TERM_CHARS: usize = 512;
/// One search looks at so many memberships of the requester's rooms, the smallest rooms first. Members of the other rooms are
/// found by the search of all users.
const MAX_SHARED_PLACES: i64 = 20_000;
/// So many users' names are compared at once.
const WINDOW: i64 = 10_000;
/// One search looks at so many windows.
const MAX_WINDOWS: usize = 10;
/// For so many users with a matching name, one search checks whether the requester may see them.
const MAX_MATCHES: usize = 2_000;
/// It looks at so many memberships of these users.
const MAX_PLACES: i64 = 20_000;
/// It checks whether so many of their rooms are public, the rooms with most of these users first.
const MAX_ROOMS: usize = 2_000;

/// The reason why a search failed.
#[derive(Debug, thiserror::Error)]
pub enum UserDirectoryError {
    /// The term is longer than any name.
    #[error("search_term: at most {MAX_TERM_CHARS} characters")]
    TermTooLong,
    /// The requester sent too many searches.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The server has too many searches.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A user in the answer.
#[derive(Clone, Serialize, Debug)]
pub struct FoundUser {
    /// The user's ID.
    pub user_id: String,
    /// The display name in the user's profile, never one from a room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The picture in the user's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// The answer to a search.
#[derive(Clone, Default, Serialize, Debug)]
pub struct FoundUsers {
    /// Users who share a room with the requester come first, then users with the best matching names.
    pub results: Vec<FoundUser>,
    /// Whether there may be more users.
    pub limited: bool,
}

struct Match {
    user_sn: UserSn,
    user: FoundUser,
    fit: Fit,
}

/// Finds users whom the requester may see: users who share a room with the requester, and users in rooms that everybody may
/// join or read.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#user-directory>
pub struct UserDirectory {
    database: Database,
    interned: Arc<Interned>,
    rate_limits: Arc<RateLimits>,
    limit: Arc<Limit>,
}

impl UserDirectory {
    /// The directory of the users in `database`. `limit` bounds how many searches run at once.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>, rate_limits: Arc<RateLimits>, limit: Arc<Limit>) -> Self {
        Self { database, interned, rate_limits, limit }
    }

    /// Finds up to `limit` users with all words of `term` in the user ID or in the display name of the public profile.
    ///
    /// Requesters find themselves only if everybody else would.
    ///
    /// # Errors
    /// [`UserDirectoryError::TermTooLong`].
    #[tracing::instrument(name = "search_users", level = "debug", skip_all)]
    pub async fn search(
        &self,
        requester: &Requester,
        term: &str,
        limit: Option<usize>,
    ) -> Result<FoundUsers, UserDirectoryError> {
        if term.chars().count() > MAX_TERM_CHARS {
            return Err(UserDirectoryError::TermTooLong);
        }
        let Some(query) = Query::new(term) else { return Ok(FoundUsers::default()) };
        self.rate_limits.spend_by_user(LimitedAction::UserDirectory, requester)?.keep();
        let _permit = self.limit.enter().await?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let rooms = self.database.rooms_of_user(requester.user_sn, Membership::Join).await?;

        let mut found = self.sharing(requester.user_sn, &rooms, &query).await?;
        sort(&mut found);
        let mut is_cut = false;
        // Other users come after them, so they are needed only if there is room.
        if found.len() <= limit {
            let known: HashSet<_> = found.iter().map(|it| it.user_sn).collect();
            let (mut others, is_incomplete) = self.others(requester.user_sn, &rooms, &query, &known).await?;
            sort(&mut others);
            found.append(&mut others);
            is_cut = is_incomplete;
        }
        let limited = is_cut || found.len() > limit;
        Ok(FoundUsers { results: found.into_iter().take(limit).map(|it| it.user).collect(), limited })
    }

    /// Matching users in the smaller rooms of the requester.
    async fn sharing(&self, requester: UserSn, rooms: &[RoomSn], query: &Query) -> Result<Vec<Match>, StorageError> {
        let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let mut heads = self.database.room_heads(&rooms).await?;
        heads.sort_by_key(|head| head.known_members().joined);
        let mut places = 0_i64;
        let mut fits_in = |count: i64| {
            places = places.saturating_add(count);
            places <= MAX_SHARED_PLACES
        };
        let rooms: Vec<i64> =
            heads.iter().take_while(|head| fits_in(head.known_members().joined)).map(|head| head.room_sn.0).collect();
        let listings = self.database.listings_in_rooms(query.sure_part(), &rooms, MAX_SHARED_PLACES).await?;
        let others = listings.into_iter().filter(|listing| listing.user_sn != requester);
        Ok(others.filter_map(|listing| matching(query, listing)).collect())
    }

    /// Matching users in public rooms or in large rooms of the requester, without the `known` ones; and whether there may be
    /// more.
    async fn others(
        &self,
        requester: UserSn,
        rooms: &[RoomSn],
        query: &Query,
        known: &HashSet<UserSn>,
    ) -> Result<(Vec<Match>, bool), StorageError> {
        let (mut matches, mut is_cut) = self.named(query, known).await?;
        let users: Vec<i64> = matches.iter().map(|it| it.user_sn.0).collect();
        let places = self.database.joined_rooms_of(&users, MAX_PLACES).await?;
        is_cut |= i64::try_from(places.len()).is_ok_and(|count| count >= MAX_PLACES);

        let mut members: HashMap<RoomSn, usize> = HashMap::new();
        for (_, room) in &places {
            *members.entry(*room).or_default() += 1;
        }
        let mut places_in: Vec<_> = members.into_iter().collect();
        places_in.sort_by_key(|(room, count)| (Reverse(*count), room.0));
        is_cut |= places_in.len() > MAX_ROOMS;
        let considered: Vec<i64> = places_in.iter().take(MAX_ROOMS).map(|(room, _)| room.0).collect();
        let public = self.public_rooms(&considered).await?;

        let own: HashSet<RoomSn> = rooms.iter().copied().collect();
        let is_seen =
            |(user, room): &&(UserSn, RoomSn)| public.contains(room) || (*user != requester && own.contains(room));
        let seen: HashSet<UserSn> = places.iter().filter(is_seen).map(|(user, _)| *user).collect();
        matches.retain(|it| seen.contains(&it.user_sn));
        Ok((matches, is_cut))
    }

    /// All users with a matching name, without the `known` ones; and whether there may be more.
    async fn named(&self, query: &Query, known: &HashSet<UserSn>) -> Result<(Vec<Match>, bool), StorageError> {
        let mut matches = Vec::new();
        let mut after = UserSn(0);
        for _ in 0..MAX_WINDOWS {
            let end = self.database.user_behind(after, WINDOW).await?;
            let until = end.unwrap_or(UserSn(i64::MAX));
            let listings = self.database.listings_between(query.sure_part(), after, until).await?;
            let unknown = listings.into_iter().filter(|listing| !known.contains(&listing.user_sn));
            matches.extend(unknown.filter_map(|listing| matching(query, listing)));
            if matches.len() > MAX_MATCHES {
                matches.truncate(MAX_MATCHES);
                return Ok((matches, true));
            }
            if end.is_none() {
                return Ok((matches, false));
            }
            after = until;
        }
        Ok((matches, true))
    }

    /// The rooms among these that everybody may join or read.
    async fn public_rooms(&self, rooms: &[i64]) -> Result<HashSet<RoomSn>, StorageError> {
        let join_rules = self.interned.find_type("m.room.join_rules").await?;
        let history_visibility = self.interned.find_type("m.room.history_visibility").await?;
        let types: Vec<i64> = [join_rules, history_visibility].into_iter().flatten().map(|type_sn| type_sn.0).collect();
        let Some(key_sn) = self.interned.find_key("").await? else { return Ok(HashSet::new()) };
        let mut public = HashSet::new();
        for (room_sn, type_sn, json) in self.database.state_json_of_rooms(rooms, &types, key_sn).await? {
            let (key, open) = if Some(type_sn) == join_rules {
                ("join_rule", "public")
            } else {
                ("history_visibility", "world_readable")
            };
            let content = wire::member(&json, "content").unwrap_or_default();
            if wire::member(content, key).and_then(string_value).is_some_and(|word| word == open) {
                public.insert(room_sn);
            }
        }
        Ok(public)
    }
}

fn matching(query: &Query, listing: storage::UserListing) -> Option<Match> {
    let user_sn = listing.user_sn;
    let user = FoundUser::from(listing);
    let fit = query.fit(&user)?;
    Some(Match { user_sn, user, fit })
}

/// Sorts by how well the name matches, then by whether there is a profile.
fn sort(matches: &mut [Match]) {
    matches.sort_by(|a, b| {
        let key = |it: &Match| (it.fit, it.user.display_name.is_none(), it.user.avatar_url.is_none());
        key(a).cmp(&key(b)).then_with(|| a.user.user_id.cmp(&b.user.user_id))
    });
}
