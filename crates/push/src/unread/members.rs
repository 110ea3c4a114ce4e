//! The local members of a room, with their push rules.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use accounts::ignoring::ignored_users;
use homeserver_core::{RoomSn, UserSn};
use push_rules::{Audience, CompiledRules, Differences, Member, Outcome, PreparedEvent, Ruleset};
use room_engine::string_value;
use ruma::UserId;
use storage::{AudienceMember, Notice, StorageError, Unread};

use super::Audiences;

/// The heap bytes of a member.
const MEMBER_BYTES: usize = 250;
/// The heap bytes of a room with few members.
const ROOM_BYTES: usize = 600;

/// The local members of a room.
pub(super) struct Members {
    audience: Audience,
    users: HashSet<UserSn>,
    /// The members who ignore a user, by that user's ID.
    ignored_by: HashMap<Box<str>, HashSet<UserSn>>,
    /// The members who ignore any user.
    ignoring: HashSet<UserSn>,
    /// The number of all joined members, with those of other servers.
    joined_count: u64,
    /// The number of changes of rules that these members include.
    rules_seen: u64,
    /// The members who were not notified of the last event: the next event mostly has the same.
    last_silent: Arc<[UserSn]>,
}

impl Members {
    fn empty() -> Self {
        Self {
            audience: Audience::new(),
            users: HashSet::new(),
            ignored_by: HashMap::new(),
            ignoring: HashSet::new(),
            joined_count: 0,
            rules_seen: 0,
            last_silent: Arc::default(),
        }
    }

    pub(super) async fn read(audiences: &Audiences, room_sn: RoomSn) -> Result<Self, StorageError> {
        let mut members = Self::empty();
        members.count(audiences, room_sn).await?;
        for member in audiences.database.audience(room_sn).await? {
            members.insert(audiences, room_sn, &member).await?;
        }
        Ok(members)
    }

    /// Reads some users again, who may have joined or left.
    pub(super) async fn read_again(
        &mut self,
        audiences: &Audiences,
        room_sn: RoomSn,
        users: &HashSet<UserSn>,
    ) -> Result<(), StorageError> {
        self.count(audiences, room_sn).await?;
        let numbers: Vec<i64> = users.iter().map(|user_sn| user_sn.0).collect();
        let found = audiences.database.audience_among(room_sn, &numbers).await?;
        for user_sn in users {
            if self.users.remove(user_sn) {
                self.audience.remove(&audiences.interned.user_id(*user_sn).await?);
                self.forget_ignored(*user_sn);
            }
        }
        for member in found {
            self.insert(audiences, room_sn, &member).await?;
        }
        Ok(())
    }

    async fn count(&mut self, audiences: &Audiences, room_sn: RoomSn) -> Result<(), StorageError> {
        let head = audiences.database.room_head(room_sn).await?;
        self.joined_count = head.map_or(0, |head| u64::try_from(head.known_members().joined).unwrap_or(0));
        Ok(())
    }

    async fn insert(
        &mut self,
        audiences: &Audiences,
        room_sn: RoomSn,
        member: &AudienceMember,
    ) -> Result<(), StorageError> {
        let AudienceMember { user_sn, user_id, rules, ignored } = member;
        let ruleset = rules.as_deref().map(Ruleset::parse).transpose().unwrap_or_else(|error| {
            tracing::error!(%error, %user_sn, "stored push rules cannot be read; the default ones are used");
            None
        });
        let rules = audiences.compiler.compile(&ruleset.unwrap_or_default());
        let display_name =
            if rules.asks_display_name() { display_name(audiences, room_sn, user_id).await? } else { None };
        self.audience.insert(Member { user: *user_sn, user_id, display_name: display_name.as_deref(), rules });
        self.users.insert(*user_sn);
        for ignored in ignored.as_deref().map(ignored_users).into_iter().flatten() {
            self.ignoring.insert(*user_sn);
            self.ignored_by.entry(ignored).or_default().insert(*user_sn);
        }
        Ok(())
    }

    /// A bound on the heap bytes of so many members, without their shared rules.
    pub(super) fn heap_bytes_of(members: usize) -> usize {
        if members == 0 { 0 } else { ROOM_BYTES + members * MEMBER_BYTES }
    }

    fn forget_ignored(&mut self, user_sn: UserSn) {
        if self.ignoring.remove(&user_sn) {
            self.ignored_by.retain(|_, users| {
                users.remove(&user_sn);
                !users.is_empty()
            });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn has(&self, user_sn: UserSn) -> bool {
        self.users.contains(&user_sn)
    }

    pub(super) fn joined_count(&self) -> u64 {
        self.joined_count
    }

    pub(super) fn rules_seen(&self) -> u64 {
        self.rules_seen
    }

    pub(super) fn set_rules_seen(&mut self, rules_seen: u64) {
        self.rules_seen = rules_seen;
    }

    /// The outcome of an event for the members, without its thread and its sender.
    pub(super) fn evaluate(&mut self, event: &PreparedEvent<'_>, usual: &CompiledRules, sender: &UserId) -> Unread {
        let Differences { usual, members } = self.audience.differences(event, usual);
        let mut unread = Unread { usual: notice(&usual), ..Unread::default() };
        let ignored_by = self.ignored_by.get(sender.as_str());
        let mut silent = Vec::new();
        for (user_sn, outcome) in &members {
            if ignored_by.is_some_and(|users| users.contains(user_sn)) {
                continue;
            }
            match notice(outcome) {
                Notice { notify: false, .. } => silent.push(*user_sn),
                other => unread.others.push((*user_sn, other)),
            }
        }
        if unread.usual.notify {
            silent.extend(ignored_by.into_iter().flatten());
            silent.sort_unstable();
            if *self.last_silent != *silent {
                self.last_silent = silent.into();
            }
            unread.silent = self.last_silent.clone();
        }
        unread.others.sort_unstable_by_key(|(user_sn, _)| *user_sn);
        unread
    }
}

/// An event highlights only if it notifies.
fn notice(outcome: &Outcome<'_>) -> Notice {
    Notice { notify: outcome.notify, highlight: outcome.notify && outcome.highlight }
}

/// The display name of a member in the room.
async fn display_name(audiences: &Audiences, room_sn: RoomSn, user_id: &str) -> Result<Option<String>, StorageError> {
    let member_type = audiences.interned.event_type("m.room.member").await?;
    let Some(key_sn) = audiences.interned.find_key(user_id).await? else { return Ok(None) };
    let event = audiences.database.state_pdu(room_sn, member_type, key_sn).await?;
    Ok(event.and_then(|event| {
        let content = room_engine::member(&event.client_json, "content")?;
        room_engine::member(content, "displayname").and_then(string_value).map(|name| name.into_owned())
    }))
}

#[cfg(test)]
mod tests {
    use push_rules::Compiler;

    use super::*;

    #[test]
    fn the_counted_bytes_bound_the_allocated_bytes() {
        let rules = Compiler::new(1 << 20).compile(&Ruleset::default());
        for members in [1, 2, 3, 5, 10, 100, 1_000, 10_000] {
            let user_ids: Vec<String> =
                (0..members).map(|number| format!("@somebody{number:05}:example.org")).collect();
            let mut room = Members::empty();
            let taken = allocation_counter::measure(|| {
                for (user_sn, user_id) in (1..).map(UserSn).zip(&user_ids) {
                    let rules = rules.clone();
                    room.audience.insert(Member { user: user_sn, user_id, display_name: None, rules });
                    room.users.insert(user_sn);
                }
            });
            let (taken, counted) = (usize::try_from(taken.bytes_current).unwrap(), Members::heap_bytes_of(members));
            assert!((taken..=taken * 2).contains(&counted), "{members} members: {counted} counted, {taken} taken");
        }
    }
}
