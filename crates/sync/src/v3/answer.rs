//! The JSON of an answer, written as it is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use encryption::device_lists::DeviceListChanges;
use encryption::to_device::Delivery;
use event_log::tokens::{history_token, partial_sync_token, sync_token};
use homeserver_core::{Position, TimelineOrder, Timestamp};
use rooms::wire::{ADDED_BYTES, Reader, push_number, push_string, write_list, write_stripped};
use storage::{AccountDataEntry, KeyCounts, Membership};

use super::devices::{write_device_lists, write_key_counts};
use super::form::EventForm;
use super::joined::RoomAnswer;
use super::unread::write_unread;
use crate::providers::Pass;
use crate::providers::account_data::AccountData;
use crate::providers::stripped::StrippedRoom;
use crate::providers::summary::Summary;

/// An answer in the making.
pub(super) struct Answer {
    next_batch: Position,
    account_data: Vec<AccountDataEntry>,
    room_account_data: BTreeMap<Arc<str>, Vec<AccountDataEntry>>,
    /// Presence events, as JSON.
    presence: Vec<Vec<u8>>,
    to_device: Vec<Bytes>,
    /// Up to where the messages to the device are in it, if not all are.
    to_device_cut_at: Option<Position>,
    device_lists: DeviceListChanges,
    key_counts: Option<Arc<KeyCounts>>,
    /// Members of the objects `rooms.join` and so on: `"!room:server":{…}`, separated by commas.
    joined: Vec<u8>,
    left: Vec<u8>,
    invited: Vec<u8>,
    knocked: Vec<u8>,
}

impl Answer {
    pub(super) fn new(next_batch: Position) -> Self {
        Self {
            next_batch,
            account_data: Vec::new(),
            room_account_data: BTreeMap::new(),
            presence: Vec::new(),
            to_device: Vec::new(),
            to_device_cut_at: None,
            device_lists: DeviceListChanges::default(),
            key_counts: None,
            joined: Vec::new(),
            left: Vec::new(),
            invited: Vec::new(),
            knocked: Vec::new(),
        }
    }

    /// Where the next answer goes on.
    pub(super) fn next_batch(&self) -> Position {
        self.next_batch
    }

    /// Whether a client would learn nothing from it.
    pub(super) fn is_empty(&self) -> bool {
        self.account_data.is_empty()
            && self.room_account_data.is_empty()
            && self.presence.is_empty()
            && self.to_device.is_empty()
            && self.device_lists.is_empty()
            && [&self.joined, &self.left, &self.invited, &self.knocked].iter().all(|section| section.is_empty())
    }

    pub(super) fn add_account_data(&mut self, account_data: AccountData) {
        self.account_data.extend(account_data.global);
        self.add_account_data_of_rooms(account_data.of_rooms);
    }

    pub(super) fn add_account_data_of_rooms(&mut self, entries: Vec<(Arc<str>, AccountDataEntry)>) {
        for (room_id, entry) in entries {
            self.room_account_data.entry(room_id).or_default().push(entry);
        }
    }

    pub(super) fn set_to_device(&mut self, delivery: Delivery) {
        self.to_device = delivery.events;
        self.to_device_cut_at = delivery.cut_at;
    }

    pub(super) fn set_device_lists(&mut self, changes: DeviceListChanges) {
        self.device_lists = changes;
    }

    pub(super) fn set_key_counts(&mut self, counts: Arc<KeyCounts>) {
        self.key_counts = Some(counts);
    }

    pub(super) fn add_presence(&mut self, events: Vec<Vec<u8>>) {
        self.presence.extend(events);
    }

    /// Begins the entry of a joined room, up to its state, which more can be added to; `false` if there is nothing to tell of it.
    pub(super) fn begin_joined(&mut self, room: &RoomAnswer, pass: &Pass<'_>, now: Timestamp) -> bool {
        let has_account_data = self.room_account_data.contains_key(&room.room_id);
        if room.is_empty() && !has_account_data && pass.from.is_some() {
            return false;
        }
        let out = begin_room(&mut self.joined, &room.room_id);
        write_timeline_and_state(out, room, pass, now);
        true
    }

    /// Adds more events to the state of the joined room that was begun.
    pub(super) fn add_state(&mut self, room: &RoomAnswer, pass: &Pass<'_>, now: Timestamp, is_first: bool) {
        let form = form_of(room, pass, now);
        for (index, event) in room.state.iter().enumerate() {
            if index > 0 || !is_first {
                self.joined.push(b',');
            }
            form.write(&mut self.joined, event, None);
        }
    }

    /// Ends the entry of the joined room that was begun.
    pub(super) fn end_joined(&mut self, room: &RoomAnswer, pass: &Pass<'_>) {
        let account_data = self.room_account_data.remove(&room.room_id).unwrap_or_default();
        let out = &mut self.joined;
        out.extend_from_slice(b"]}");
        if let Some(summary) = &room.summary {
            out.extend_from_slice(b",\"summary\":");
            write_summary(out, summary);
        }
        write_unread(out, &room.unread, pass.wants.unread_threads());
        out.extend_from_slice(b",\"ephemeral\":{\"events\":");
        write_list(out, &room.ephemeral, |out, event| out.extend_from_slice(event));
        out.extend_from_slice(b"},\"account_data\":{\"events\":");
        write_account_data(out, &account_data);
        out.extend_from_slice(b"}}");
    }

    pub(super) fn add_left(&mut self, room: &RoomAnswer, pass: &Pass<'_>, now: Timestamp) {
        let out = begin_room(&mut self.left, &room.room_id);
        write_timeline_and_state(out, room, pass, now);
        out.extend_from_slice(b"]},\"account_data\":{\"events\":[]}}");
    }

    pub(super) fn add_stripped(&mut self, room: &StrippedRoom) {
        let (section, key) = match room.membership {
            Membership::Knock => (&mut self.knocked, "knock_state"),
            _ => (&mut self.invited, "invite_state"),
        };
        let out = begin_room(section, &room.room_id);
        push_string(out, key);
        out.extend_from_slice(b":{\"events\":");
        write_list(out, &room.state, |out, event| write_stripped(out, event));
        out.extend_from_slice(b"}}");
    }

    /// Adds the rooms that have new account data and nothing else.
    pub(super) fn add_remaining_account_data(&mut self) {
        for (room_id, entries) in std::mem::take(&mut self.room_account_data) {
            let out = begin_room(&mut self.joined, &room_id);
            out.extend_from_slice(b"\"account_data\":{\"events\":");
            write_account_data(out, &entries);
            out.extend_from_slice(b"}}");
        }
    }

    /// Takes the rooms that were added, by section.
    pub(super) fn take_rooms(&mut self) -> [(&'static str, Vec<u8>); 4] {
        let sections = [&mut self.joined, &mut self.left, &mut self.invited, &mut self.knocked].map(std::mem::take);
        let [joined, left, invited, knocked] = sections;
        [("join", joined), ("leave", left), ("invite", invited), ("knock", knocked)]
    }

    /// Writes the beginning of the answer: all that comes before the rooms.
    pub(super) fn write_start(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"next_batch\":");
        let cut_at = self.to_device_cut_at.map(|cut_at| partial_sync_token(self.next_batch, cut_at));
        push_string(out, &cut_at.unwrap_or_else(|| sync_token(self.next_batch)));
        if !self.account_data.is_empty() {
            out.extend_from_slice(b",\"account_data\":{\"events\":");
            write_account_data(out, &self.account_data);
            out.push(b'}');
        }
        if !self.presence.is_empty() {
            out.extend_from_slice(b",\"presence\":{\"events\":");
            write_list(out, &self.presence, |out, event| out.extend_from_slice(event));
            out.push(b'}');
        }
        if !self.to_device.is_empty() {
            out.extend_from_slice(b",\"to_device\":{\"events\":");
            write_list(out, &self.to_device, |out, event| out.extend_from_slice(event));
            out.push(b'}');
        }
        if !self.device_lists.is_empty() {
            write_device_lists(out, &self.device_lists);
        }
        if let Some(counts) = &self.key_counts {
            write_key_counts(out, counts);
        }
    }

    pub(super) fn into_json(mut self) -> Vec<u8> {
        self.add_remaining_account_data();
        let rooms = self.take_rooms();
        let rooms_length: usize = rooms.iter().map(|(_, rooms)| rooms.len()).sum();
        let presence_length: usize = self.presence.iter().map(|event| event.len() + 1).sum();
        let mut out = Vec::with_capacity(rooms_length + presence_length + 256);
        self.write_start(&mut out);
        let mut sections = RoomSections::default();
        for (section, rooms) in rooms {
            sections.append(&mut out, section, &rooms);
        }
        sections.end(&mut out);
        out
    }
}

/// Writes the rooms of an answer, section by section.
#[derive(Default)]
pub(super) struct RoomSections {
    open: Option<&'static str>,
}

impl RoomSections {
    /// Appends whole rooms to a section, or the beginning of one. All of a section come one after the other.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, section: &'static str, rooms: &[u8]) {
        if rooms.is_empty() {
            return;
        }
        if self.open == Some(section) {
            out.push(b',');
        } else {
            out.extend_from_slice(if self.open.is_none() { b",\"rooms\":{" } else { b"}," });
            push_string(out, section);
            out.extend_from_slice(b":{");
            self.open = Some(section);
        }
        out.extend_from_slice(rooms);
    }

    /// Ends the answer.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        if self.open.is_some() {
            out.extend_from_slice(b"}}");
        }
        out.push(b'}');
    }
}

fn begin_room<'a>(section: &'a mut Vec<u8>, room_id: &str) -> &'a mut Vec<u8> {
    if !section.is_empty() {
        section.push(b',');
    }
    push_string(section, room_id);
    section.extend_from_slice(b":{");
    section
}

fn form_of<'a>(room: &'a RoomAnswer, pass: &Pass<'a>, now: Timestamp) -> EventForm<'a> {
    let reader = Reader { room_id: None, now, device_sn: pass.requester.device_sn, bundles: Some(&room.bundles) };
    EventForm { reader, pdus: &room.pdus, fields: pass.wants.filter.event_fields.as_ref() }
}

/// Writes the timeline and the state, but for the end of the list of state events.
fn write_timeline_and_state(out: &mut Vec<u8>, room: &RoomAnswer, pass: &Pass<'_>, now: Timestamp) {
    let form = form_of(room, pass, now);
    let memberships = room.memberships.iter().copied().chain(std::iter::repeat(None));
    let events = room.timeline.iter().chain(&room.state);
    out.reserve(events.map(|event| event.client_json.len() + ADDED_BYTES).sum());
    out.extend_from_slice(b"\"timeline\":{\"events\":");
    write_list(out, room.timeline.iter().zip(memberships), |out, (event, membership)| {
        form.write(out, event, membership);
    });
    out.extend_from_slice(if room.is_limited { b",\"limited\":true" } else { b",\"limited\":false" });
    out.extend_from_slice(b",\"prev_batch\":");
    push_string(out, &history_token(TimelineOrder::end_of(room.prev_batch)));
    let key = if pass.wants.state_after { "state_after" } else { "state" };
    out.extend_from_slice(b"},");
    push_string(out, key);
    out.extend_from_slice(b":{\"events\":");
    write_list(out, &room.state, |out, event| form.write(out, event, None));
    // The end of the list.
    out.pop();
}

fn write_summary(out: &mut Vec<u8>, summary: &Summary) {
    out.push(b'{');
    if let Some(members) = &summary.members {
        out.extend_from_slice(b"\"m.joined_member_count\":");
        push_number(out, members.joined);
        out.extend_from_slice(b",\"m.invited_member_count\":");
        push_number(out, members.invited);
    }
    if let Some(heroes) = &summary.heroes {
        if summary.members.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(b"\"m.heroes\":");
        write_list(out, heroes, |out, hero| push_string(out, &hero.user_id));
    }
    out.push(b'}');
}

fn write_account_data(out: &mut Vec<u8>, entries: &[AccountDataEntry]) {
    write_list(out, entries, |out, entry| {
        out.extend_from_slice(b"{\"type\":");
        push_string(out, &entry.data_type);
        out.extend_from_slice(b",\"content\":");
        out.extend_from_slice(&entry.content);
        out.push(b'}');
    });
}
