//! Changes of a user's member events in all rooms, which jobs make.

use accounts::profiles::Profiles;
use accounts::sessions::Requester;
use futures::{StreamExt, stream};
use homeserver_core::{RoomSn, UserSn};
use room_engine::Membership;
use ruma::{RoomId, UserId};

use super::Memberships;
use crate::member_content::{AUTHORISED_VIA, canonical, replace_profile};
use crate::{Draft, OpenRoom, RoomChange, RoomError, StagedChange, wire};

/// Rooms in which the member event of a user is changed at the same time.
const ROOM_CONCURRENCY: usize = 8;

/// Receives the progress of a change that takes many steps.
pub trait ReportProgress: Sync {
    /// `done` of `total` rooms, or members, are done.
    fn report(&self, done: usize, total: usize) -> impl Future<Output = ()> + Send;
}

impl Memberships {
    /// Copies a user's profile, or one `field` of it, into the member events of all rooms that the user is in. A room that
    /// refuses keeps the old event.
    ///
    /// # Errors
    /// [`RoomError`] if the rooms cannot be listed, or one failed that may succeed later.
    pub async fn update_member_profile<P: ReportProgress>(
        &self,
        user_sn: UserSn,
        user_id: &UserId,
        field: Option<&str>,
        progress: &P,
    ) -> Result<(), RoomError> {
        let rooms = self.database.rooms_of_user(user_sn, Membership::Join).await?;
        let update = &ProfileUpdate { profiles: &self.profiles, user_sn, user_id, field };
        for_each_room(rooms, user_id, progress, |room_sn| self.timeline.change(room_sn, update)).await
    }

    /// Leaves all rooms, declines all invitations and withdraws all knocks. A room that refuses is left out.
    ///
    /// # Errors
    /// [`RoomError`] if the rooms cannot be listed, or one failed that may succeed later.
    pub async fn leave_all<P: ReportProgress>(
        &self,
        user_sn: UserSn,
        user_id: &UserId,
        progress: &P,
    ) -> Result<(), RoomError> {
        let requester = &Requester::on_behalf_of(user_sn, user_id.to_owned());
        let memberships = self.database.memberships_of_user(user_sn).await?;
        let is_in = |membership| !matches!(membership, Membership::Leave | Membership::Ban);
        let rooms = memberships.into_iter().filter(|room| is_in(room.membership)).map(|room| room.room_sn).collect();
        for_each_room(rooms, user_id, progress, |room_sn| self.leave_by_number(requester, room_sn)).await
    }

    async fn leave_by_number(&self, requester: &Requester, room_sn: RoomSn) -> Result<(), RoomError> {
        let room_id = self.interned.room_id(room_sn).await?;
        let room_id = RoomId::parse(&*room_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        self.leave(requester, &room_id, None).await
    }
}

/// Makes a change in all rooms, in [`ROOM_CONCURRENCY`] at the same time. A room that refuses is left out.
async fn for_each_room<P: ReportProgress, F: Future<Output = Result<(), RoomError>>>(
    rooms: Vec<RoomSn>,
    user_id: &UserId,
    progress: &P,
    change: impl Fn(RoomSn) -> F,
) -> Result<(), RoomError> {
    let total = rooms.len();
    let change = &change;
    let changes = rooms.into_iter().map(|room_sn| async move { (room_sn, change(room_sn).await) });
    let mut changed = stream::iter(changes).buffer_unordered(ROOM_CONCURRENCY);
    let (mut done, mut retryable) = (0, None);
    while let Some((room_sn, outcome)) = changed.next().await {
        match outcome {
            Ok(()) => {}
            // The other rooms would fail as well.
            Err(error @ RoomError::Storage(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, %room_sn, %user_id, "a member event was not changed");
                retryable = retryable.or(Some(error).filter(RoomError::is_retryable));
            }
        }
        done += 1;
        progress.report(done, total).await;
    }
    retryable.map_or(Ok(()), Err)
}

/// Copies a user's profile into the user's member event.
struct ProfileUpdate<'a> {
    profiles: &'a Profiles,
    user_sn: UserSn,
    user_id: &'a UserId,
    /// The only field that changes; all of them if `None`.
    field: Option<&'a str>,
}

impl RoomChange for ProfileUpdate<'_> {
    type Answer = ();

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<()>, RoomError> {
        let current = room.state("m.room.member", self.user_id.as_str()).await?;
        let Some(current) = current.filter(|event| event.membership() == Some(Membership::Join)) else {
            return Ok(((), None));
        };
        let old = wire::values(current.content().as_bytes());
        let mut new = old.clone();
        // The profile is read while the room is locked, so that an older profile never replaces a newer one.
        replace_profile(&mut new, &self.profiles.member_profile(self.user_sn).await?, self.field);
        if new != old {
            // The reason and the authorising user belong to the join.
            new.remove("reason");
            new.remove(AUTHORISED_VIA);
            let draft = Draft::state("m.room.member", self.user_id.as_str(), canonical(&new)?);
            room.stage(self.user_sn, self.user_id, &draft).await?;
        }
        Ok(((), None))
    }
}
