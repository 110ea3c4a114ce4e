//! Receipts of users of other servers.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use homeserver_core::{RoomSn, Timestamp, UserSn};
use replication::edus::EduReceiver;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{NewReceipt, ReceiptType, StorageError};

use super::{ReceiptError, Receipts};
use crate::from_servers::{member, readable};

/// Most receipts of one transaction: the rest is left out.
const MAX_RECEIPTS: usize = 1_000;

/// By room, type and user.
type Content = BTreeMap<OwnedRoomId, BTreeMap<String, BTreeMap<OwnedUserId, OfUser>>>;

#[derive(Deserialize)]
struct OfUser {
    event_ids: Vec<OwnedEventId>,
    #[serde(default)]
    data: About,
}

#[derive(Default, Deserialize)]
struct About {
    /// In milliseconds since 1970.
    ts: Option<i64>,
    thread_id: Option<String>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#receipts>
impl EduReceiver for Receipts {
    fn edu_type(&self) -> &'static str {
        "m.receipt"
    }

    async fn receive(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        let mut receipts: BTreeMap<(RoomSn, UserSn), Vec<NewReceipt>> = BTreeMap::new();
        let mut left = MAX_RECEIPTS;
        for content in readable::<Content>(origin, contents) {
            for (room_id, mut types) in content {
                // Others are private, or not of the specification.
                let Some(users) = types.remove(ReceiptType::Read.as_str()) else { continue };
                for (user_id, of_user) in users {
                    if left == 0 {
                        tracing::debug!(%origin, "a transaction has more than {MAX_RECEIPTS} receipts");
                        break;
                    }
                    let found = member((&self.database, &self.interned), origin, &room_id, &user_id).await?;
                    let Some(member) = found else { continue };
                    left = left.saturating_sub(of_user.event_ids.len().max(1));
                    receipts.entry(member).or_default().extend(self.known(member.0, of_user).await?);
                }
            }
        }
        let writes = receipts.into_iter().filter(|(_, receipts)| !receipts.is_empty());
        let writes =
            writes.map(|((room_sn, user_sn), receipts)| self.database.add_receipts(room_sn, user_sn, receipts, None));
        try_join_all(writes).await.map(drop)
    }
}

impl Receipts {
    /// The receipts on events that are known here.
    async fn known(&self, room_sn: RoomSn, of_user: OfUser) -> Result<Vec<NewReceipt>, StorageError> {
        let OfUser { event_ids, data } = of_user;
        let now = self.clock.now();
        let received_at = data.ts.map_or(now, |ts| Timestamp(ts.max(0)).min(now));
        let mut receipts = Vec::new();
        for event_id in event_ids.iter().take(MAX_RECEIPTS) {
            let found = async {
                let Some(event) = self.event(room_sn, event_id).await? else { return Ok(None) };
                let thread = self.thread(room_sn, &event, data.thread_id.as_deref()).await?;
                Ok(Some(NewReceipt { received_at, ..self.receipt(ReceiptType::Read, thread, &event) }))
            };
            match found.await {
                Ok(receipt) => receipts.extend(receipt),
                Err(ReceiptError::Storage(error)) => return Err(error),
                Err(error) => tracing::debug!(%error, "a receipt of another server was left out"),
            }
        }
        Ok(receipts)
    }
}
