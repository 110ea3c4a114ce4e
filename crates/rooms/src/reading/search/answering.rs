//! Writing what was found, with what is around it.

use std::collections::BTreeMap;

use accounts::filters::RoomEventFilter;
use accounts::sessions::Requester;
use event_log::tokens::history_token;
use homeserver_core::{RoomSn, TimelineOrder};
use room_engine::string_value;
use ruma::RoomId;
use storage::{KnownState, StoredEvent};

use super::finding::{Match, Rooms};
use super::{ContextWish, Page, SearchRequest};
use crate::RoomError;
use crate::reading::access::Access;
use crate::reading::erasure::redact_erased_members;
use crate::reading::history::History;
use crate::reading::page::Direction;
use crate::reading::writing::{EventWriter, with_transaction_ids};
use crate::search_index::Words;
use crate::wire::{member, push_number, push_string, write_list};

/// The states of rooms that are told with results have about so many bytes at most.
const MAX_STATES_BYTES: usize = 16 << 20;
/// Results of a group, by their event IDs.
type Groups = BTreeMap<String, Vec<Box<str>>>;

struct Answering<'a> {
    history: &'a History,
    requester: &'a Requester,
    request: &'a SearchRequest,
    rooms: &'a Rooms,
}

/// Writes the answer's `room_events`.
pub(super) async fn write(
    history: &History,
    requester: &Requester,
    request: &SearchRequest,
    words: &Words,
    (rooms, page): (&Rooms, Page),
) -> Result<Vec<u8>, RoomError> {
    let answering = Answering { history, requester, request, rooms };
    let Page { mut matches, next, count } = page;
    let mut out = Vec::with_capacity(matches.len() * 2048 + 512);
    out.extend_from_slice(b"{\"count\":");
    push_number(&mut out, i64::try_from(count).unwrap_or(i64::MAX));
    out.extend_from_slice(b",\"highlights\":");
    write_list(&mut out, words.texts(), push_string);
    out.extend_from_slice(b",\"results\":[");
    for (index, found) in matches.iter_mut().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        answering.result(&mut out, found).await?;
    }
    out.extend_from_slice(b"],\"state\":{");
    if request.include_state {
        answering.states(&mut out, &matches).await?;
    }
    out.extend_from_slice(b"},\"groups\":");
    answering.groups(&mut out, &matches).await?;
    if let Some(next) = next {
        out.extend_from_slice(b",\"next_batch\":");
        push_string(&mut out, &next.token());
    }
    out.push(b'}');
    Ok(out)
}

impl Answering<'_> {
    async fn result(&self, out: &mut Vec<u8>, found: &mut Match) -> Result<(), RoomError> {
        with_transaction_ids(&self.history.database, self.requester, std::slice::from_mut(&mut found.event)).await?;
        let room_id = self.room_id(found.event.room_sn)?;
        let access = self.access(&room_id).await?;
        let event = &found.event;
        let ContextWish { before, after, include_profile } = self.request.context;
        let filter = RoomEventFilter::default();
        let scan = self.history.scan(&access, &filter, before).await?;
        let before = scan.page(Direction::Backwards, event.order.before(), TimelineOrder::START).await?.events;
        let scan = self.history.scan(&access, &filter, after).await?;
        let after = scan.page(Direction::Forwards, event.order, TimelineOrder::END).await?.events;
        let shown = || before.iter().chain(&after).chain([event]);
        let bundles = self.history.bundles(&access, shown()).await?;
        let writer = EventWriter::new(&access, self.history.clock.now()).with_bundles(&bundles);

        out.extend_from_slice(format!("{{\"rank\":{:.4},\"result\":", found.rank).as_bytes());
        writer.event(out, event);
        out.extend_from_slice(b",\"context\":{\"events_before\":");
        writer.timeline(out, &before);
        out.extend_from_slice(b",\"events_after\":");
        writer.timeline(out, &after);
        out.extend_from_slice(b",\"start\":");
        push_string(out, &history_token(before.last().unwrap_or(event).order.before()));
        out.extend_from_slice(b",\"end\":");
        push_string(out, &history_token(after.last().unwrap_or(event).order));
        if include_profile {
            let events: Vec<StoredEvent> = shown().cloned().collect();
            let members = self.history.members_of_senders(&access, &events).await?;
            out.extend_from_slice(b",\"profile_info\":{");
            write_profiles(out, &members);
            out.push(b'}');
        }
        out.extend_from_slice(b"}}");
        Ok(())
    }

    /// The state of the rooms of the results, by room.
    async fn states(&self, out: &mut Vec<u8>, matches: &[Match]) -> Result<(), RoomError> {
        let mut rooms: Vec<RoomSn> = matches.iter().map(|found| found.event.room_sn).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let begin = out.len();
        for room_sn in rooms {
            // What is not known as a whole yet is left out, and what would be too much.
            let KnownState::Full(full) = self.history.states.of(room_sn) else { continue };
            if out.len() - begin > MAX_STATES_BYTES {
                break;
            }
            let room_id = self.room_id(room_sn)?;
            let access = self.access(&room_id).await?;
            let mut state = self.history.database.current_state_events(&full).await?;
            redact_erased_members(&self.history.database, &access.visibility, &mut state).await?;
            if out.len() > begin {
                out.push(b',');
            }
            push_string(out, room_id.as_str());
            out.push(b':');
            EventWriter::new(&access, self.history.clock.now()).state(out, &state);
        }
        Ok(())
    }

    async fn groups(&self, out: &mut Vec<u8>, matches: &[Match]) -> Result<(), RoomError> {
        let (mut by_room, mut by_sender): (Groups, Groups) = (BTreeMap::new(), BTreeMap::new());
        for Match { event, .. } in matches {
            let sender = self.history.interned.user_id(event.sender_sn).await?;
            by_sender.entry(sender.to_string()).or_default().push(event.event_id.clone());
            by_room.entry(self.room_id(event.room_sn)?.to_string()).or_default().push(event.event_id.clone());
        }
        let wanted = [("room_id", self.request.by_room, by_room), ("sender", self.request.by_sender, by_sender)];
        let wanted = wanted.into_iter().filter_map(|(key, is_wanted, groups)| is_wanted.then_some((key, groups)));
        out.push(b'{');
        for (index, (key, groups)) in wanted.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(out, key);
            out.push(b':');
            write_groups(out, &groups, matches);
        }
        out.push(b'}');
        Ok(())
    }

    fn room_id(&self, room_sn: RoomSn) -> Result<ruma::OwnedRoomId, RoomError> {
        let room_id = self.rooms.get(&room_sn).ok_or(RoomError::NoSuchRoom)?;
        RoomId::parse(&**room_id).map_err(|error| RoomError::Invalid(error.to_string()))
    }

    async fn access<'r>(&'r self, room_id: &'r RoomId) -> Result<Access<'r>, RoomError> {
        let History { database, interned, states, .. } = self.history;
        Access::open(database, interned, states, self.requester, room_id).await
    }
}

/// Groups in the order in which their first results come.
fn write_groups(out: &mut Vec<u8>, groups: &Groups, matches: &[Match]) {
    let place = |ids: &[Box<str>]| {
        ids.first().and_then(|first| matches.iter().position(|found| found.event.event_id == *first)).unwrap_or(0)
    };
    out.push(b'{');
    for (index, (name, ids)) in groups.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.extend_from_slice(b":{\"order\":");
        push_number(out, i64::try_from(place(ids)).unwrap_or(i64::MAX));
        out.extend_from_slice(b",\"results\":");
        write_list(out, ids, |out, id| push_string(out, id));
        out.push(b'}');
    }
    out.push(b'}');
}

/// What the members were called.
fn write_profiles(out: &mut Vec<u8>, members: &[StoredEvent]) {
    let mut is_first = true;
    for event in members {
        let content = member(&event.client_json, "content").unwrap_or_default();
        let Some(user_id) = member(&event.client_json, "state_key").and_then(string_value) else { continue };
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        push_string(out, &user_id);
        out.extend_from_slice(b":{");
        let keys = ["displayname", "avatar_url"];
        let present = keys.into_iter().filter_map(|key| Some((key, member(content, key)?)));
        for (index, (key, value)) in present.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(out, key);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }
}
