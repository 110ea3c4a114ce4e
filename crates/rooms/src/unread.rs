//! Evaluating new events by the push rules of the members, which gives their unread counts.

use std::sync::Arc;

use push::unread::UnwrittenEvent;
use room_engine::{Pdu, string_value};
use ruma::UserId;
use storage::Unread;

use super::resolving::RoomIdentity;
use super::{OpenRoom, RoomError, Timeline};
use crate::wire;

impl OpenRoom {
    /// Evaluates what is staged by the push rules of the members.
    pub(super) async fn evaluate_staged(&mut self) -> Result<(), RoomError> {
        // The first events of a room are unread for nobody.
        if self.head()?.version == 0 {
            return Ok(());
        }
        let create = self.state("m.room.create", "").await?;
        let power_levels = self.state("m.room.power_levels", "").await?;
        let head = self.guard.as_ref().ok_or(RoomError::NoSuchRoom)?;
        let room_id = head.room_id.as_deref().ok_or(RoomError::NoSuchRoom)?;
        for staged in &mut self.staged {
            let sender = wire::member(&staged.client_json, "sender").and_then(string_value).unwrap_or_default();
            let sender = <&UserId>::try_from(&*sender).map_err(|error| RoomError::Invalid(error.to_string()))?;
            let event = UnwrittenEvent {
                room_sn: head.room_sn,
                room_id,
                sender,
                local_sender: Some(staged.sender_sn),
                client_json: &staged.client_json,
                create: create.as_ref(),
                power_levels: power_levels.as_ref(),
            };
            staged.unread = Arc::new(self.audiences.unread(&event).await?);
        }
        Ok(())
    }
}

impl Timeline {
    /// Evaluates an event of another server by the push rules of the members.
    pub(super) async fn evaluate_received(&self, room: &RoomIdentity, pdu: &Pdu) -> Result<Unread, RoomError> {
        let unread = self.evaluate_all_received(room, std::slice::from_ref(pdu)).await?.pop();
        Ok(unread.unwrap_or_default())
    }

    /// Evaluates events of other servers by the push rules of the members, in their order.
    pub(super) async fn evaluate_all_received(
        &self,
        room: &RoomIdentity,
        pdus: &[Pdu],
    ) -> Result<Vec<Unread>, RoomError> {
        let create = self.stored_state(room, "m.room.create").await?;
        let power_levels = self.stored_state(room, "m.room.power_levels").await?;
        let mut unread = Vec::with_capacity(pdus.len());
        for pdu in pdus {
            let event = UnwrittenEvent {
                room_sn: room.room_sn,
                room_id: &room.room_id,
                sender: pdu.sender(),
                local_sender: None,
                client_json: pdu.client_json(),
                create: create.as_ref(),
                power_levels: power_levels.as_ref(),
            };
            unread.push(self.audiences().unread(&event).await?);
        }
        Ok(unread)
    }
}
