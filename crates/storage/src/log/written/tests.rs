//! What is written is read as it was.

use homeserver_core::{DeviceSn, TimelineOrder, Timestamp};

use super::*;
use crate::events::RedactedEvent;
use crate::presence::{Presence, PresenceState};
use crate::receipts::{Receipt, ReceiptThread, ReceiptType};
use crate::unread::{Notice, Unread};

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
        LogEntry::RemoteMembership { position, room_sn, user_sn, membership: Membership::Invite },
        LogEntry::Media { position, media: [key].into() },
        LogEntry::Devices { position, devices: [(user_sn, DeviceSn(7))].into(), change: DeviceChange::OneTimeKeys },
        LogEntry::DeviceList { position, user_sn, seen_by: None },
        LogEntry::DeviceList { position, user_sn, seen_by: Some(UserSn(8)) },
    ]
}

fn event() -> StoredEvent {
    StoredEvent {
        sn: EventSn(10),
        order: TimelineOrder::of(EventSn(10)),
        follows_gap: false,
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
