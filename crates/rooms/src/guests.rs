//! Guests, who must leave a room that no longer admits them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use homeserver_core::{RoomSn, Timestamp, UserSn};
use room_engine::{Membership, Pdu};
use ruma::{OwnedUserId, UserId};
use storage::{Step, Tx};
use tasks::queue::Job as _;

use super::member_content::{ContentMap, canonical};
use super::membership::{Memberships, ReportProgress};
use super::{Draft, OpenRoom, RoomChange, RoomError, StagedChange};
use crate::jobs::RemoveGuests;

/// The type of the state event that says whether guests may be in a room.
pub(super) const GUEST_ACCESS: &str = "m.room.guest_access";

/// Whether guests may join a room, and stay in it.
pub(super) async fn admits_guests(room: &mut OpenRoom) -> Result<bool, RoomError> {
    Ok(room.state(GUEST_ACCESS, "").await?.is_some_and(|event| lets_guests_in(&event)))
}

/// Whether the event, if it is in force, says that guests may be in the room.
fn lets_guests_in(guest_access: &Pdu) -> bool {
    guest_access.content().string("guest_access").as_deref() == Some("can_join")
}

/// Whether the event, once it is in force, says that guests may not be in the room.
pub(super) fn keeps_guests_out(event: &Pdu) -> bool {
    event.event_type() == GUEST_ACCESS && event.state_key() == Some("") && !lets_guests_in(event)
}

/// Adds the job that removes the guests to the transaction of the event that keeps them out.
pub(super) fn with_removal_of_guests(room_sn: RoomSn, now: Timestamp, also: Option<Box<dyn Step>>) -> Box<dyn Step> {
    let job = RemoveGuests { room_sn: room_sn.0 };
    Box::new(async move |tx: &mut Tx| {
        if let Some(also) = &also {
            also.run(tx).await?;
        }
        job.schedule(tx, now).await.map(drop)
    })
}

impl Memberships {
    /// Has the guests of this server leave a room, unless it admits guests again.
    ///
    /// # Errors
    /// [`RoomError`] if some are left, or the guests cannot be listed.
    pub async fn remove_guests(&self, room_sn: RoomSn, progress: &impl ReportProgress) -> Result<(), RoomError> {
        let guests = self.database.guests_of_room(room_sn).await?;
        for (done, user_sn) in guests.iter().enumerate() {
            progress.report(done, guests.len()).await;
            let user_id = self.interned.user_id(*user_sn).await?;
            let user_id = UserId::parse(&*user_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
            let leaving = GuestLeaving { user_sn: *user_sn, user_id };
            match self.timeline.change(room_sn, &leaving).await {
                Ok(()) => {}
                Err(error) if !matches!(error, RoomError::Storage(_)) && !error.is_retryable() => {
                    tracing::warn!(%error, %room_sn, user_id = %leaving.user_id, "a guest was not removed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A guest leaves, unless the room admits guests again.
struct GuestLeaving {
    user_sn: UserSn,
    user_id: OwnedUserId,
}

impl RoomChange for GuestLeaving {
    type Answer = ();

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<()>, RoomError> {
        if !admits_guests(room).await? && room.membership(&self.user_id).await? == Some(Membership::Join) {
            let content = ContentMap::from_iter([("membership".to_owned(), Membership::Leave.as_str().into())]);
            let draft = Draft::state("m.room.member", self.user_id.as_str(), canonical(&content)?);
            room.stage(self.user_sn, &self.user_id, &draft).await?;
        }
        Ok(((), None))
    }
}
