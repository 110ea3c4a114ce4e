//! The form in which entries are written down: JSON, because nodes of two versions read each other during an upgrade.
//!
//! Of an event only what the table of events lacks is written. All other entries are written as a whole.

mod event;
#[cfg(test)]
mod tests;
mod users;

use std::collections::HashMap;
use std::sync::Arc;

use database::Readers;
use homeserver_core::{DeviceSn, EventSn, Position, RoomSn, UserSn};
use serde::{Deserialize, Serialize};

use self::event::WrittenEvent;
use self::users::{WrittenPresence, WrittenReceipt};
use super::{DeviceChange, LogEntry};
use crate::events::{StoredEvent, event_query, read_event};
use crate::media::MediaKey;
use crate::{Membership, StorageError, membership, params};

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenEntry {
    Event(WrittenEvent),
    /// Position, room, the user whose membership changed and the new membership.
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
    /// Position, room, user and the new membership.
    RemoteMembership(Position, RoomSn, WrittenMembership),
    /// Position, room, event.
    Forward(Position, RoomSn, EventSn),
    /// Position, server names and media IDs.
    Media(Position, Vec<(String, String)>),
    /// Position, users with their devices, the code of what has changed.
    Devices(Position, Vec<(UserSn, DeviceSn)>, u8),
    /// Position, user, who alone sees it.
    DeviceList(Position, UserSn, Option<UserSn>),
}

/// A user and the code of a membership.
type WrittenMembership = (UserSn, i64);

/// The entries as they are written.
pub(super) fn encode(entries: &[LogEntry]) -> Result<String, StorageError> {
    let written: Vec<WrittenEntry> = entries.iter().map(WrittenEntry::from).collect();
    serde_json::to_string(&written)
        .map_err(|error| StorageError::Statement(format!("what was added to the log cannot be written: {error}")))
}

/// The entries of several transactions, each from its text. The events in them are read together.
pub(super) async fn decode_all(readers: &Readers, texts: &[&str]) -> Result<Vec<Vec<LogEntry>>, StorageError> {
    let mut decoded = Vec::with_capacity(texts.len());
    let mut needed = Vec::new();
    for text in texts {
        let entries = decode(text)?.into_iter().map(WrittenEntry::complete);
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        needed.extend(entries.iter().filter_map(|entry| entry.as_ref().err()).flat_map(WrittenEvent::needs));
        decoded.push(entries);
    }
    let events = events(readers, &needed).await?;
    let complete = |entry: Result<LogEntry, WrittenEvent>| match entry {
        Ok(entry) => Ok(entry),
        Err(event) => event.complete(|sn| events.get(&sn)),
    };
    decoded.into_iter().map(|entries| entries.into_iter().map(complete).collect()).collect()
}

fn decode(text: &str) -> Result<Vec<WrittenEntry>, StorageError> {
    serde_json::from_str(text).map_err(|error| {
        StorageError::Corrupt(format!("an entry of the log, perhaps of a newer version, cannot be read: {error}"))
    })
}

async fn events(readers: &Readers, sns: &[i64]) -> Result<HashMap<EventSn, StoredEvent>, StorageError> {
    if sns.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = event_query!("WHERE e.event_sn IN LIST($1) ORDER BY e.event_sn");
    let read = readers.query(sql, params![sns], read_event).await?;
    Ok(read.into_iter().map(|event| (event.sn, event)).collect())
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
            LogEntry::RemoteMembership { position, room_sn, user_sn, membership } => {
                Self::RemoteMembership(*position, *room_sn, written_membership((*user_sn, *membership)))
            }
            LogEntry::Forward { position, room_sn, event_sn } => Self::Forward(*position, *room_sn, *event_sn),
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
    fn complete(self) -> Result<Result<LogEntry, WrittenEvent>, StorageError> {
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
            Self::RemoteMembership(position, room_sn, membership) => {
                let (user_sn, membership) = read_membership(membership)?;
                LogEntry::RemoteMembership { position, room_sn, user_sn, membership }
            }
            Self::Forward(position, room_sn, event_sn) => LogEntry::Forward { position, room_sn, event_sn },
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

fn written_membership((user_sn, membership): (UserSn, Membership)) -> WrittenMembership {
    (user_sn, membership::code(membership))
}

fn read_membership((user_sn, code): WrittenMembership) -> Result<(UserSn, Membership), StorageError> {
    let membership = membership::from_code(code).ok_or_else(|| unknown("membership", code))?;
    Ok((user_sn, membership))
}

fn unknown(what: &str, code: i64) -> StorageError {
    StorageError::Corrupt(format!("{code} is no {what} in an entry of the log"))
}
