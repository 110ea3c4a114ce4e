//! EDUs of rooms that refuse the server that sends them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls>

use std::collections::{BTreeMap, HashMap};

use rooms::RoomError;
use ruma::{OwnedRoomId, ServerName};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Receiving;
use crate::edus::Edu;

/// An EDU about one room.
#[derive(Deserialize)]
struct OfRoom {
    room_id: OwnedRoomId,
}

impl Receiving {
    /// The EDUs without what is about rooms that refuse `origin`.
    pub(super) async fn admitted(&self, origin: &ServerName, edus: Vec<Edu>) -> Result<Vec<Edu>, RoomError> {
        let mut admitted = Vec::with_capacity(edus.len());
        let mut known = HashMap::new();
        for edu in edus {
            let rest = match edu.edu_type.as_str() {
                "m.typing" => match serde_json::from_str::<OfRoom>(edu.content.get()) {
                    Ok(OfRoom { room_id }) if self.is_admitted(origin, &room_id, &mut known).await? => Some(edu),
                    _ => None,
                },
                "m.receipt" => self.receipts_of_admitting_rooms(origin, edu, &mut known).await?,
                _ => Some(edu),
            };
            admitted.extend(rest);
        }
        Ok(admitted)
    }

    async fn receipts_of_admitting_rooms(
        &self,
        origin: &ServerName,
        edu: Edu,
        known: &mut HashMap<OwnedRoomId, bool>,
    ) -> Result<Option<Edu>, RoomError> {
        let Ok(rooms) = serde_json::from_str::<BTreeMap<OwnedRoomId, Box<RawValue>>>(edu.content.get()) else {
            return Ok(None);
        };
        let mut admitting = BTreeMap::new();
        let count = rooms.len();
        for (room_id, receipts) in rooms {
            if self.is_admitted(origin, &room_id, known).await? {
                admitting.insert(room_id, receipts);
            }
        }
        if admitting.len() == count {
            return Ok(Some(edu));
        }
        Ok(to_raw_value(&admitting).ok().map(|content| Edu { content, ..edu }))
    }

    async fn is_admitted(
        &self,
        origin: &ServerName,
        room_id: &OwnedRoomId,
        known: &mut HashMap<OwnedRoomId, bool>,
    ) -> Result<bool, RoomError> {
        if let Some(is_admitted) = known.get(room_id) {
            return Ok(*is_admitted);
        }
        let is_admitted = match self.parts.interned.find_room(room_id.as_str()).await? {
            Some(room_sn) => self.parts.timeline.admits_server(room_sn, origin).await?,
            None => false,
        };
        known.insert(room_id.clone(), is_admitted);
        Ok(is_admitted)
    }
}
