//! Dummy events, which merge the forward extremities of a room. With many of them, every new state must be resolved from all.

use room_engine::{CanonicalObject, Numbers, Pdu};
use ruma::UserId;

use super::super::resolving::RoomIdentity;
use super::super::{Draft, RoomError, Timeline};

/// The type of dummy events. The specification has none for them; other servers use this one.
const DUMMY: &str = "org.matrix.dummy_event";
/// With so many forward extremities, this server sends a dummy event that follows them all.
pub(super) const TOO_MANY_EXTREMITIES: usize = 10;
/// So many local members are tried as the sender.
const MAX_SENDERS: usize = 20;

/// Whether an event only merges forward extremities, and no client sees it.
pub(in super::super) fn is_dummy(pdu: &Pdu) -> bool {
    pdu.event_type() == DUMMY && pdu.state_key().is_none()
}

impl Timeline {
    /// Sends a dummy event as the first local member whom the rules of the room allow to.
    pub(super) async fn merge_extremities(&self, context: &RoomIdentity) -> Result<(), RoomError> {
        let draft = Draft::message(DUMMY, CanonicalObject::parse(b"{}", Numbers::Strict)?);
        for user_sn in self.database().local_members(context.room_sn).await?.into_iter().take(MAX_SENDERS) {
            let user_id = self.interned().user_id(user_sn).await?;
            let Ok(user_id) = UserId::parse(&*user_id) else { continue };
            let mut room = self.open(context.room_sn).await?;
            match room.stage(user_sn, &user_id, &draft).await {
                Ok(_) => {
                    room.submit(None).await?.stored().await?;
                    return Ok(());
                }
                Err(RoomError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tracing::debug!(room_sn = %context.room_sn, "no local member may send a dummy event into a room");
        Ok(())
    }
}
