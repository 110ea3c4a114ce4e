//! Ends of a room that turn out to be followed by events of the past.

use std::collections::HashSet;

use room_engine::state_map::StateMap;
use storage::{Append, GraphEvent, later_version};

use super::super::current::RoomEffect;
use super::super::event_context::followed;
use super::states::Judged;
use crate::resolving::{Resolver, RoomIdentity};
use crate::timeline::ATTEMPTS;
use crate::{RoomError, Timeline};

impl Timeline {
    /// Gives up the forward extremities that the events follow. They were the end of the room before a gap, and what came after it has
    /// joined the rest of the room. One without which the current state would be another one stays: what other servers tell of the past
    /// changes no state.
    pub(super) async fn give_up_followed_ends(&self, room: &RoomIdentity, judged: &[Judged]) -> Result<(), RoomError> {
        let database = self.database();
        let placed = judged.iter().filter(|judged| judged.standing.is_followed());
        let before: HashSet<String> =
            placed.flat_map(|judged| judged.pdu.prev_events()).map(ToString::to_string).collect();
        let before: Vec<String> = before.into_iter().collect();
        let before = database.graph_events_by_id(room.room_sn, &before).await?;
        let followed = followed(database, room, &before).await?;
        let resolver = Resolver { database, interned: self.interned(), room };
        for _ in 0..ATTEMPTS {
            let open = self.open_settled(room.room_sn).await?;
            let head = database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
            let ends = database.graph_events(&head.extremities).await?;
            let left: Vec<&GraphEvent> =
                ends.iter().filter(|event| !followed.contains(&*event.stored.event_id)).collect();
            if left.is_empty() || left.len() == ends.len() {
                return Ok(());
            }
            let current: StateMap = head.state.ok_or(RoomError::StateUnknown)?;
            let effect = RoomEffect::of_ends(&resolver, current, &left).await?;
            if !effect.effects.is_empty() {
                return Ok(());
            }
            let append = Append {
                room_sn: room.room_sn,
                room_version: room.version.as_str().into(),
                expected_version: head.version,
                new_version: later_version(head.version),
                events: Vec::new(),
                resolved: Some(effect.effects),
                extremities: Some(effect.extremities),
                transaction: None,
                joined_change: effect.joined_change,
                invited_change: effect.invited_change,
                also: None,
                is_entry: false,
            };
            match open.append(append).await {
                Err(RoomError::Contended) => {}
                outcome => return outcome,
            }
        }
        Err(RoomError::Contended)
    }
}
