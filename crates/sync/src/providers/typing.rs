//! The users who type in a room, as an ephemeral event.

use std::collections::{HashMap, HashSet};

use homeserver_core::RoomSn;
use rooms::RoomError;
use rooms::wire::{push_string, write_list};

use super::changes::RoomUpdate;
use super::{Pass, Providers};

impl Providers {
    /// The event that tells who types, as JSON, for each room in which that changed, or which is new to the client (`fresh`). It is who
    /// types now, which may be newer than the pass.
    pub(crate) async fn typing_events(
        &self,
        pass: &Pass<'_>,
        fresh: &[&RoomUpdate],
        known: &[&RoomUpdate],
    ) -> Result<HashMap<RoomSn, Vec<u8>>, RoomError> {
        let mut events = HashMap::new();
        if !pass.wants.typing() {
            return Ok(events);
        }
        let mut changed: HashSet<RoomSn> =
            known.iter().filter(|update| update.typing_changed == Some(true)).map(|update| update.room_sn).collect();
        let unknown: Vec<i64> =
            known.iter().filter(|update| update.typing_changed.is_none()).map(|update| update.room_sn.0).collect();
        if !unknown.is_empty() {
            changed.extend(self.database.rooms_with_typing(&unknown, pass.after(), pass.to).await?);
        }
        let filter = pass.wants.ephemeral_filter();
        let fresh = fresh.iter().map(|update| (update, true));
        for (update, is_fresh) in fresh.chain(known.iter().map(|update| (update, false))) {
            let typists = self.typing.in_room(update.room_sn);
            // Of a room that is new to the client nobody needs to be told that nobody types there.
            let is_news = (is_fresh && !typists.is_empty()) || changed.contains(&update.room_sn);
            if !is_news || !filter.includes_room(&update.room_id) {
                continue;
            }
            let mut user_ids = Vec::with_capacity(typists.len());
            for user_sn in typists {
                user_ids.push(self.interned.user_id(user_sn).await?);
            }
            let mut event = br#"{"type":"m.typing","content":{"user_ids":"#.to_vec();
            write_list(&mut event, &user_ids, |out, user_id| push_string(out, user_id));
            event.extend_from_slice(b"}}");
            events.insert(update.room_sn, event);
        }
        Ok(events)
    }
}
