//! Who types, as ephemeral events of rooms.

use std::collections::HashSet;

use homeserver_core::RoomSn;
use rooms::RoomError;
use rooms::wire::{push_string, write_list};

use super::changes::RoomUpdate;
use super::joined::RoomAnswer;
use super::{Pass, Sync};

impl Sync {
    /// Adds who types to the answers, which are of these rooms. It is who types now, which may be newer than the pass.
    pub(super) async fn add_typing(
        &self,
        pass: &Pass<'_>,
        fresh: &[&RoomUpdate],
        known: &[&RoomUpdate],
        answers: &mut [RoomAnswer],
    ) -> Result<(), RoomError> {
        if !pass.wants_typing() {
            return Ok(());
        }
        let mut changed: HashSet<RoomSn> =
            known.iter().filter(|update| update.typing_changed == Some(true)).map(|update| update.room_sn).collect();
        let unknown: Vec<i64> =
            known.iter().filter(|update| update.typing_changed.is_none()).map(|update| update.room_sn.0).collect();
        if !unknown.is_empty() {
            changed.extend(self.database.rooms_with_typing(&unknown, pass.after(), pass.to).await?);
        }
        let is_fresh: HashSet<RoomSn> = fresh.iter().map(|update| update.room_sn).collect();
        let filter = &pass.request.filter.room.0.ephemeral.0;
        for answer in answers.iter_mut().filter(|answer| filter.includes_room(&answer.room_id)) {
            let typists = self.typing.in_room(answer.room_sn);
            // Of a room that is new to the client nobody needs to be told that nobody types there.
            let is_news = is_fresh.contains(&answer.room_sn) && !typists.is_empty();
            if !is_news && !changed.contains(&answer.room_sn) {
                continue;
            }
            let mut user_ids = Vec::with_capacity(typists.len());
            for user_sn in typists {
                user_ids.push(self.interned.user_id(user_sn).await?);
            }
            let mut event = br#"{"type":"m.typing","content":{"user_ids":"#.to_vec();
            write_list(&mut event, &user_ids, |out, user_id| push_string(out, user_id));
            event.extend_from_slice(b"}}");
            answer.ephemeral.push(event);
        }
        Ok(())
    }
}
