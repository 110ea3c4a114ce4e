//! Which servers are asked for a room, and the best reason why none of them helped.

use std::collections::HashSet;
use std::time::Duration;

use room_engine::{elements, member, string_value};
use ruma::{OwnedServerName, RoomId, ServerName, UserId};
use storage::RemoteMembership;
use tokio::time::Instant;

use super::{MembershipError, SharedMemberships};

/// So many servers are asked one after the other.
const MAX_CANDIDATES: usize = 20;
/// How long all of them may take until one has let the user in. Reading the room's state is not counted.
const TIME_FOR_ALL: Duration = Duration::from_secs(100);

impl SharedMemberships {
    /// Servers to ask for a room, best first.
    pub(super) async fn candidates(
        &self,
        room_id: &RoomId,
        via: Vec<OwnedServerName>,
        remote: Option<&RemoteMembership>,
    ) -> Result<Vec<OwnedServerName>, MembershipError> {
        let mut candidates: Vec<OwnedServerName> = Vec::new();
        let mut add = |server: &ServerName| {
            let is_other = server != self.parts.identity.server_name;
            if is_other && candidates.len() < MAX_CANDIDATES && !candidates.iter().any(|known| known == server) {
                candidates.push(server.to_owned());
            }
        };
        // The server of the user who sent the invitation is in the room, so it can let the user in or out.
        remote.into_iter().flat_map(introducing_servers).for_each(|server| add(&server));
        via.iter().for_each(|server| add(server));
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        self.guessed_candidates(room_id).await
    }

    /// Servers to ask for a room if nobody has named one: the one in its ID, which since version 12 names none, and those of users who are
    /// in the room as far as that is known, and of which another server said so.
    async fn guessed_candidates(&self, room_id: &RoomId) -> Result<Vec<OwnedServerName>, MembershipError> {
        let mut candidates: Vec<OwnedServerName> = room_id.server_name().map(ToOwned::to_owned).into_iter().collect();
        if let Some(room_sn) = self.parts.interned.find_room(room_id.as_str()).await? {
            let users = self.parts.database.some_joined_users(room_sn).await?;
            let users = users.iter().filter_map(|user_id| UserId::parse(&**user_id).ok());
            candidates.extend(users.map(|user_id| user_id.server_name().to_owned()));
            let told = self.parts.database.told_servers(room_sn).await?;
            candidates.extend(told.iter().filter_map(|server| ServerName::parse(server.as_str()).ok()));
        }
        let mut seen = HashSet::new();
        candidates.retain(|server| *server != self.parts.identity.server_name && seen.insert(server.clone()));
        candidates.truncate(MAX_CANDIDATES);
        Ok(candidates)
    }
}

/// The servers of the users who have sent the invitation, or the state that introduces the room.
fn introducing_servers(remote: &RemoteMembership) -> Vec<OwnedServerName> {
    let events = remote.event.iter().map(|event| &**event).chain(elements(&remote.state));
    let senders = events.filter_map(|event| member(event, "sender").and_then(string_value));
    senders.filter_map(|sender| Some(UserId::parse(sender).ok()?.server_name().to_owned())).collect()
}

/// Attempts with one server after the other, within one time.
pub(super) struct Attempts {
    pub(super) deadline: Instant,
    best: Option<MembershipError>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { deadline: Instant::now() + TIME_FOR_ALL, best: None }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Keeps the reason, unless a better one is known.
    pub(super) fn note(&mut self, room_id: &RoomId, server: &ServerName, error: MembershipError) {
        tracing::info!(%error, %room_id, %server, "a server did not help to enter or leave a room");
        if self.best.as_ref().is_none_or(|best| !best.is_refusal()) {
            self.best = Some(error);
        }
    }

    /// Why no server helped; `none` if there was none to ask.
    pub(super) fn failure(self, none: MembershipError) -> MembershipError {
        let is_over = self.is_over();
        match self.best {
            Some(best) => best,
            None if is_over => MembershipError::TooSlow,
            None => none,
        }
    }
}
