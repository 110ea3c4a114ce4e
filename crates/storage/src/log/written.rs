//! The form in which entries are written down: JSON, because nodes of two versions read each other during an upgrade.
//!
//! Events are written as what the table of events does not have. All else is complete.

use std::sync::Arc;

use homeserver_core::{DeviceSn, EventSn, Position, RoomSn, Timestamp, UserSn};
use serde::{Deserialize, Serialize};

use super::{DeviceChange, LogEntry};
use crate::events::{RedactedEvent, StoredEvent};
use crate::media::MediaKey;
use crate::presence::{Presence, PresenceState};
use crate::receipts::{Receipt, ReceiptThread, ReceiptType};
use crate::unread::{Notice, Unread};
use crate::{Membership, StorageError};

/// Users that are named with an event. Where there are more, readers count what is unread in the database.
const MAX_UNREAD_USERS: usize = 500;

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WrittenEntry {
    Event(WrittenEvent),
    /// Position, room, whose membership changed.
    StateResolved(Position, RoomSn, Option<WrittenMembership>),
    /// Position, room, whether all of the state is known.
    StateKnown(Position, RoomSn, bool),
    /// Position, user, room.
    AccountData(Position, UserSn, Option<RoomSn>),
    Receipt(WrittenReceipt),
    /// Position, room, user, whether the user types no longer.
    Typing(Position, RoomSn, UserSn, bool),
    Presence(WrittenPresence),
    /// Position, user.
    NotificationRules(Position, UserSn),
    /// Position, user, whether sessions may have ended.
    Account(Position, UserSn, bool),
    /// Position, room, user.
    RoomForgotten(Position, RoomSn, UserSn),
    /// Position, server names and media IDs.
    Media(Position, Vec<(String, String)>),
    /// Position, users with their devices, the code of what has changed.
    Devices(Position, Vec<(UserSn, DeviceSn)>, u8),
    /// Position, user, who alone sees it.
    DeviceList(Position, UserSn, Option<UserSn>),
}

/// A user and the code of a membership.
type WrittenMembership = (UserSn, i64);

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

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenReceipt {
    position: Position,
    room_sn: RoomSn,
    user_sn: UserSn,
    /// As in the table of receipts.
    receipt_type: i64,
    /// As in the table of receipts, with the ID of the root.
    thread: (i64, Option<Box<str>>),
    event_sn: EventSn,
    event_id: Box<str>,
    received_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenPresence {
    position: Position,
    user_sn: UserSn,
    state: i64,
    status_message: Option<Box<str>>,
    last_active_at: Timestamp,
}

/// The entries as they are written.
pub(super) fn encode(entries: &[LogEntry]) -> Result<String, StorageError> {
    let written: Vec<WrittenEntry> = entries.iter().map(WrittenEntry::from).collect();
    serde_json::to_string(&written)
        .map_err(|error| StorageError::Statement(format!("what was added to the log cannot be written: {error}")))
}

/// What was written.
pub(super) fn decode(text: &str) -> Result<Vec<WrittenEntry>, StorageError> {
    serde_json::from_str(text).map_err(|error| {
        StorageError::Corrupt(format!("an entry of the log, perhaps of a newer version, cannot be read: {error}"))
    })
}

impl From<&LogEntry> for WrittenEntry {
    fn from(entry: &LogEntry) -> Self {
        match entry {
            LogEntry::Event(event) => Self::Event(WrittenEvent::of(event)),
            LogEntry::StateResolved { position, room_sn, membership } => {
                Self::StateResolved(*position, *room_sn, membership.map(written_membership))
            }
            LogEntry::StateKnown { position, room_sn, is_whole } => Self::StateKnown(*position, *room_sn, *is_whole),
            LogEntry::AccountData { position, user_sn, room_sn } => Self::AccountData(*position, *user_sn, *room_sn),
            LogEntry::Receipt(receipt) => Self::Receipt(WrittenReceipt::of(receipt)),
            LogEntry::Typing { position, room_sn, user_sn, has_ended } => {
                Self::Typing(*position, *room_sn, *user_sn, *has_ended)
            }
            LogEntry::Presence(presence) => Self::Presence(WrittenPresence::of(presence)),
            LogEntry::NotificationRules { position, user_sn } => Self::NotificationRules(*position, *user_sn),
            LogEntry::Account { position, user_sn, has_ended } => Self::Account(*position, *user_sn, *has_ended),
            LogEntry::RoomForgotten { position, room_sn, user_sn } => {
                Self::RoomForgotten(*position, *room_sn, *user_sn)
            }
            LogEntry::Media { position, media } => {
                let keys = media.iter().map(|key| (key.server_name.clone(), key.media_id.clone()));
                Self::Media(*position, keys.collect())
            }
            LogEntry::Devices { position, devices, change } => {
                Self::Devices(*position, devices.to_vec(), change.code())
            }
            LogEntry::DeviceList { position, user_sn, seen_by } => Self::DeviceList(*position, *user_sn, *seen_by),
        }
    }
}

impl WrittenEntry {
    /// The entry; `None` if it is an event, which is read from its table.
    pub(super) fn complete(self) -> Result<Result<LogEntry, WrittenEvent>, StorageError> {
        Ok(Ok(match self {
            Self::Event(event) => return Ok(Err(event)),
            Self::StateResolved(position, room_sn, membership) => {
                let membership = membership.map(read_membership).transpose()?;
                LogEntry::StateResolved { position, room_sn, membership }
            }
            Self::StateKnown(position, room_sn, is_whole) => LogEntry::StateKnown { position, room_sn, is_whole },
            Self::AccountData(position, user_sn, room_sn) => LogEntry::AccountData { position, user_sn, room_sn },
            Self::Receipt(receipt) => LogEntry::Receipt(Arc::new(receipt.read()?)),
            Self::Typing(position, room_sn, user_sn, has_ended) => {
                LogEntry::Typing { position, room_sn, user_sn, has_ended }
            }
            Self::Presence(presence) => LogEntry::Presence(Arc::new(presence.read()?)),
            Self::NotificationRules(position, user_sn) => LogEntry::NotificationRules { position, user_sn },
            Self::Account(position, user_sn, has_ended) => LogEntry::Account { position, user_sn, has_ended },
            Self::RoomForgotten(position, room_sn, user_sn) => LogEntry::RoomForgotten { position, room_sn, user_sn },
            Self::Media(position, keys) => {
                let keys = keys.into_iter().map(|(server_name, media_id)| MediaKey { server_name, media_id });
                LogEntry::Media { position, media: keys.collect() }
            }
            Self::Devices(position, devices, code) => {
                let unknown = || unknown("change of devices", code.into());
                let change = DeviceChange::from_code(code).ok_or_else(unknown)?;
                LogEntry::Devices { position, devices: devices.into(), change }
            }
            Self::DeviceList(position, user_sn, seen_by) => LogEntry::DeviceList { position, user_sn, seen_by },
        }))
    }
}

impl WrittenEvent {
    fn of(event: &StoredEvent) -> Self {
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
        // What was redacted since is unread to nobody, and how much that is depends on who has followed that already.
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
    fn of(unread: &Unread) -> Option<Self> {
        let Unread { thread, usual, silent, others, local_sender } = unread;
        let others: Vec<_> = others.iter().map(|(user_sn, notice)| (*user_sn, written_notice(*notice))).collect();
        let is_small = silent.len() + others.len() <= MAX_UNREAD_USERS;
        is_small.then(|| Self(*thread, written_notice(*usual), silent.to_vec(), others, *local_sender))
    }

    fn read(self) -> Unread {
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

fn written_membership((user_sn, membership): (UserSn, Membership)) -> WrittenMembership {
    (user_sn, membership.code())
}

fn read_membership((user_sn, code): WrittenMembership) -> Result<(UserSn, Membership), StorageError> {
    let membership = Membership::from_code(code).ok_or_else(|| unknown("membership", code))?;
    Ok((user_sn, membership))
}

fn unknown(what: &str, code: i64) -> StorageError {
    StorageError::Corrupt(format!("{code} is no {what} in an entry of the log"))
}

impl WrittenReceipt {
    fn of(receipt: &Receipt) -> Self {
        let Receipt { position, room_sn, user_sn, receipt_type, thread, event_sn, event_id, received_at } = receipt;
        let root = match thread {
            ReceiptThread::Thread(_, root) => Some(root.clone()),
            ReceiptThread::Unthreaded | ReceiptThread::Main => None,
        };
        Self {
            position: *position,
            room_sn: *room_sn,
            user_sn: *user_sn,
            receipt_type: receipt_type.code(),
            thread: (thread.code(), root),
            event_sn: *event_sn,
            event_id: event_id.clone(),
            received_at: *received_at,
        }
    }

    fn read(self) -> Result<Receipt, StorageError> {
        let Self { position, room_sn, user_sn, receipt_type, thread: (thread, root), event_sn, event_id, received_at } =
            self;
        let receipt_type =
            ReceiptType::from_code(receipt_type).ok_or_else(|| unknown("type of receipt", receipt_type))?;
        let thread = ReceiptThread::from_code(thread, root).ok_or_else(|| unknown("thread of a receipt", thread))?;
        Ok(Receipt { position, room_sn, user_sn, receipt_type, thread, event_sn, event_id, received_at })
    }
}

impl WrittenPresence {
    fn of(presence: &Presence) -> Self {
        let Presence { position, user_sn, state, status_message, last_active_at } = presence;
        Self {
            position: *position,
            user_sn: *user_sn,
            state: state.code(),
            status_message: status_message.clone(),
            last_active_at: *last_active_at,
        }
    }

    fn read(self) -> Result<Presence, StorageError> {
        let Self { position, user_sn, state, status_message, last_active_at } = self;
        let state = PresenceState::from_code(state).ok_or_else(|| unknown("state of presence", state))?;
        Ok(Presence { position, user_sn, state, status_message, last_active_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position(i64::MAX);

    /// One entry of each kind but an event.
    fn entries() -> Vec<LogEntry> {
        let (position, room_sn, user_sn) = (AT, RoomSn(1), UserSn(2));
        let text = "\"quotes\", 'others', \\, \0 and \u{10ffff}";
        let receipt = |receipt_type, thread| Receipt {
            position,
            room_sn,
            user_sn,
            receipt_type,
            thread,
            event_sn: EventSn(3),
            event_id: text.into(),
            received_at: Timestamp(4),
        };
        let presence = |state, status_message| {
            let last_active_at = Timestamp(5);
            LogEntry::Presence(Arc::new(Presence { position, user_sn, state, status_message, last_active_at }))
        };
        let key = MediaKey { server_name: "a".to_owned(), media_id: text.to_owned() };
        vec![
            LogEntry::StateResolved { position, room_sn, membership: Some((user_sn, Membership::Ban)) },
            LogEntry::StateResolved { position, room_sn, membership: None },
            LogEntry::StateKnown { position, room_sn, is_whole: true },
            LogEntry::AccountData { position, user_sn, room_sn: Some(room_sn) },
            LogEntry::AccountData { position, user_sn, room_sn: None },
            LogEntry::Receipt(Arc::new(receipt(ReceiptType::Read, ReceiptThread::Main))),
            LogEntry::Receipt(Arc::new(receipt(ReceiptType::ReadPrivate, ReceiptThread::Unthreaded))),
            LogEntry::Receipt(Arc::new(receipt(ReceiptType::Read, ReceiptThread::Thread(EventSn(9), text.into())))),
            LogEntry::Typing { position, room_sn, user_sn, has_ended: true },
            presence(PresenceState::Unavailable, Some(text.into())),
            presence(PresenceState::Offline, None),
            LogEntry::NotificationRules { position, user_sn },
            LogEntry::Account { position, user_sn, has_ended: false },
            LogEntry::RoomForgotten { position, room_sn, user_sn },
            LogEntry::Media { position, media: [key].into() },
            LogEntry::Devices { position, devices: [(user_sn, DeviceSn(7))].into(), change: DeviceChange::OneTimeKeys },
            LogEntry::DeviceList { position, user_sn, seen_by: None },
            LogEntry::DeviceList { position, user_sn, seen_by: Some(UserSn(8)) },
        ]
    }

    fn event() -> StoredEvent {
        StoredEvent {
            sn: EventSn(10),
            event_id: "$event".into(),
            room_sn: RoomSn(1),
            type_sn: homeserver_core::TypeSn(1),
            state_key_sn: None,
            sender_sn: UserSn(2),
            origin_server_ts: Timestamp(3),
            depth: 4,
            countable_total: 5,
            client_json: "{}".into(),
            replaces_sn: None,
            replaced_json: None,
            redacted_because: None,
            transaction: Some((DeviceSn(6), "it's".into())),
            membership: Some((UserSn(2), Membership::Join)),
            redacts: Some(RedactedEvent {
                sn: EventSn(7),
                client_json: "{\"redacted\":1}".into(),
                member: Some(UserSn(8)),
                unread: None,
            }),
            unread: Some(Arc::new(Unread {
                thread: Some(EventSn(7)),
                usual: Notice { notify: true, highlight: false },
                silent: [UserSn(1), UserSn(4)].into(),
                others: vec![(UserSn(3), Notice { notify: true, highlight: true })],
                local_sender: Some(UserSn(2)),
            })),
            previous_sn: Some(EventSn(9)),
            sender_erased_at: None,
            unsigned_erased_at: None,
        }
    }

    /// What its table has of an event.
    fn stored(event: &StoredEvent) -> StoredEvent {
        let (transaction, membership, redacts, unread, previous_sn) = (None, None, None, None, None);
        StoredEvent { transaction, membership, redacts, unread, previous_sn, ..event.clone() }
    }

    fn read_back(entries: &[LogEntry], table: &[StoredEvent]) -> Vec<LogEntry> {
        let of = |sn: EventSn| table.iter().find(|event| event.sn == sn);
        let complete = |entry: WrittenEntry| match entry.complete().unwrap() {
            Ok(entry) => entry,
            Err(event) => event.complete(of).unwrap(),
        };
        decode(&encode(entries).unwrap()).unwrap().into_iter().map(complete).collect()
    }

    #[test]
    fn every_entry_is_read_as_it_was_written() {
        let entries = entries();
        assert_eq!(format!("{:?}", read_back(&entries, &[])), format!("{entries:?}"));
    }

    #[test]
    fn an_event_is_read_with_what_its_table_has() {
        let event = event();
        let redacted = StoredEvent { sn: EventSn(7), client_json: "{\"redacted\":1}".into(), ..stored(&event) };
        let entries = [LogEntry::Event(Arc::new(event.clone()))];
        let read = read_back(&entries, &[redacted, stored(&event)]);
        assert_eq!(format!("{read:?}"), format!("{entries:?}"));
    }

    #[test]
    fn an_event_that_was_redacted_or_removed_since_says_no_more_than_is_known() {
        let event = event();
        let entries = [LogEntry::Event(Arc::new(event.clone()))];
        let redacted = StoredEvent { redacted_because: Some("{}".into()), ..stored(&event) };
        let [LogEntry::Event(read)] = &*read_back(&entries, &[redacted]) else { panic!("no event") };
        assert!(read.unread.is_none() && read.redacts.is_none());
        let [LogEntry::StateResolved { position, membership, .. }] = &*read_back(&entries, &[]) else {
            panic!("an event that is not there")
        };
        assert_eq!((*position, *membership), (Position(10), Some((UserSn(2), Membership::Join))));
    }

    #[test]
    fn many_users_are_not_named_with_an_event() {
        let many: Arc<[UserSn]> = (0..=500).map(UserSn).collect();
        assert!(WrittenUnread::of(&Unread { silent: many, ..Unread::default() }).is_none());
    }
}
