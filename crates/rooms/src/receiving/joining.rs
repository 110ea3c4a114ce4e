//! Joining the ends of a room when there are many: every state that is worked out has to look at all of them.

use room_engine::{CanonicalObject, Numbers, Pdu};
use ruma::UserId;

use super::super::resolving::RoomContext;
use super::super::{Draft, RoomError, Timeline};

/// Events that join ends and say nothing. The specification has no type for them; this is the one in use.
const JOINT: &str = "org.matrix.dummy_event";
/// With so many ends, one more event is sent that follows them all.
pub(super) const TOO_MANY_ENDS: usize = 10;
/// How many local members are tried as its sender.
const MAX_SENDERS: usize = 20;

/// Whether an event only joins branches of a room, and is shown to nobody.
pub(in super::super) fn is_joint(pdu: &Pdu) -> bool {
    pdu.event_type() == JOINT && pdu.state_key().is_none()
}

impl Timeline {
    /// Sends an event that follows all ends of the room, in the name of a member of this server who may.
    pub(super) async fn join_ends(&self, context: &RoomContext) -> Result<(), RoomError> {
        let draft = Draft::message(JOINT, CanonicalObject::parse(b"{}", Numbers::Strict)?);
        for user_sn in self.database().local_members(context.room_sn).await?.into_iter().take(MAX_SENDERS) {
            let user_id = self.interned().user_id(user_sn).await?;
            let Ok(user_id) = UserId::parse(&*user_id) else { continue };
            let mut room = self.open(context.room_sn).await?;
            match room.stage(user_sn, &user_id, &draft).await {
                Ok(_) => {
                    room.commit(None).await?.stored().await?;
                    return Ok(());
                }
                Err(RoomError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tracing::debug!(room_sn = %context.room_sn, "nobody here may join the ends of a room");
        Ok(())
    }
}
