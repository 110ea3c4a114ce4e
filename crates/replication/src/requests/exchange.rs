//! Invitations of addresses, for the servers of those who have invited them.

use bytes::Bytes;
use federation::RequestError;
use ruma::{RoomId, ServerName};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::Instant;

use super::{Limits, RoomRequests, TIMEOUT, path};

/// The longest answer: an empty object.
const MAX_ANSWER_BYTES: usize = 4 << 10;

impl RoomRequests {
    /// Asks the server of a user who has invited an address to invite the user to whom it belongs.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn exchange_third_party_invite(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event: &Value,
    ) -> Result<(), RequestError> {
        let limits = Limits { bytes: MAX_ANSWER_BYTES, deadline: Instant::now() + TIMEOUT };
        let uri = path("v1", "exchange_third_party_invite", &[&room_id]);
        self.put::<IgnoredAny>(server, &uri, Bytes::from(event.to_string()), limits).await.map(drop)
    }
}
