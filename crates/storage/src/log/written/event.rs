//! An event, written as what the table of events does not have.

use std::sync::Arc;

use homeserver_core::{DeviceSn, EventSn, RoomSn, UserSn};
use serde::{Deserialize, Serialize};

use super::{WrittenMembership, read_membership, written_membership};
use crate::events::{RedactedEvent, StoredEvent};
use crate::unread::{Notice, Unread};
use crate::{LogEntry, StorageError};

/// Users that are named with an event. Where there are more, readers count what is unread in the database.
const MAX_UNREAD_USERS: usize = 500;

/// What the table of events does not have.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenEvent {
    #[serde(rename = "at")]
    pub(super) sn: EventSn,
    #[serde(rename = "room")]
    room_sn: RoomSn,
    #[serde(rename = "before", skip_serializing_if = "Option::is_none", default)]
    previous_sn: Option<EventSn>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    membership: Option<WrittenMembership>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    redacts: Option<WrittenRedaction>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    unread: Option<WrittenUnread>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    transaction: Option<(DeviceSn, Box<str>)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenRedaction {
    pub(super) sn: EventSn,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    member: Option<UserSn>,
}

/// Thread, what it is usually, who is silent, to whom it is something else, and the sender.
#[derive(Serialize, Deserialize)]
struct WrittenUnread(Option<EventSn>, u8, Vec<UserSn>, Vec<(UserSn, u8)>, Option<UserSn>);

impl WrittenEvent {
    pub(super) fn of(event: &StoredEvent) -> Self {
        Self {
            sn: event.sn,
            room_sn: event.room_sn,
            previous_sn: event.previous_sn,
            membership: event.membership.map(written_membership),
            redacts: event.redacts.as_ref().map(|it| WrittenRedaction { sn: it.sn, member: it.member }),
            unread: event.unread.as_deref().and_then(WrittenUnread::of),
            transaction: event.transaction.clone(),
        }
    }

    /// The events that have to be read for it.
    pub(super) fn needs(&self) -> impl Iterator<Item = i64> + use<> {
        [Some(self.sn.0), self.redacts.as_ref().map(|redacted| redacted.sn.0)].into_iter().flatten()
    }

    /// The entry, with the events that it needs. An event that has been removed since has nothing to show, but what it did to memberships is told.
    pub(super) fn complete<'a>(
        self,
        event_of: impl Fn(EventSn) -> Option<&'a StoredEvent>,
    ) -> Result<LogEntry, StorageError> {
        let membership = self.membership.map(read_membership).transpose()?;
        let Some(stored) = event_of(self.sn) else {
            return Ok(LogEntry::StateResolved { position: self.sn.position(), room_sn: self.room_sn, membership });
        };
        let redacts = self.redacts.and_then(|written| {
            let client_json = event_of(written.sn)?.client_json.clone();
            Some(RedactedEvent { sn: written.sn, client_json, member: written.member, unread: None })
        });
        // An event that was redacted since is not unread. How much that takes off depends on whether a follower has seen the redaction.
        let unread = self.unread.filter(|_| stored.redacted_because.is_none());
        Ok(LogEntry::Event(Arc::new(StoredEvent {
            transaction: self.transaction,
            membership,
            redacts,
            unread: unread.map(|unread| Arc::new(unread.read())),
            previous_sn: self.previous_sn,
            ..stored.clone()
        })))
    }
}

impl WrittenUnread {
    pub(super) fn of(unread: &Unread) -> Option<Self> {
        let Unread { thread, usual, silent, others, local_sender } = unread;
        let others: Vec<_> = others.iter().map(|(user_sn, notice)| (*user_sn, written_notice(*notice))).collect();
        let is_small = silent.len() + others.len() <= MAX_UNREAD_USERS;
        is_small.then(|| Self(*thread, written_notice(*usual), silent.to_vec(), others, *local_sender))
    }

    pub(super) fn read(self) -> Unread {
        let Self(thread, usual, silent, others, local_sender) = self;
        let others = others.into_iter().map(|(user_sn, notice)| (user_sn, read_notice(notice))).collect();
        Unread { thread, usual: read_notice(usual), silent: silent.into(), others, local_sender }
    }
}

fn written_notice(notice: Notice) -> u8 {
    u8::from(notice.notify) | (u8::from(notice.highlight) << 1)
}

fn read_notice(written: u8) -> Notice {
    Notice { notify: written & 1 != 0, highlight: written & 2 != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_users_are_not_named_with_an_event() {
        let many: Arc<[UserSn]> = (0..=500).map(UserSn).collect();
        assert!(WrittenUnread::of(&Unread { silent: many, ..Unread::default() }).is_none());
    }
}
