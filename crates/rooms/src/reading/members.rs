//! Reading the members of a room.

use homeserver_core::Position;
use ruma::RoomId;
pub use storage::Membership;
use storage::StoredEvent;

use super::access::Access;
use super::erasure::redact_erased_members;
use super::state::RoomState;
use super::writing::EventWriter;
use crate::RoomError;
use crate::wire::{member, push_string, write_list};
use accounts::sessions::Requester;

/// A filter on member events.
#[derive(Clone, Copy, Default, Debug)]
pub struct MemberQuery {
    /// As they were at this position; now if absent.
    pub at: Option<Position>,
    /// Only members of this membership …
    pub membership: Option<Membership>,
    /// … or members of any other membership than this one.
    pub not_membership: Option<Membership>,
}

impl MemberQuery {
    fn wants(&self, event: &StoredEvent) -> bool {
        let content = member(&event.client_json, "content").unwrap_or_default();
        let word = member(content, "membership").and_then(room_engine::string_value);
        let membership = word.and_then(|word| Membership::parse(&word));
        match (self.membership, self.not_membership) {
            (None, None) => true,
            (wanted, unwanted) => {
                wanted.is_some_and(|wanted| membership == Some(wanted))
                    || unwanted.is_some_and(|unwanted| membership != Some(unwanted))
            }
        }
    }
}

impl RoomState {
    /// The member events of a room: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room, [`RoomError::Forbidden`] if the user may not read it at the
    /// requested position, [`RoomError::StillPartial`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn members(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        query: MemberQuery,
    ) -> Result<Vec<u8>, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let at = [query.at, access.ends_at()].into_iter().flatten().min();
        let full = self.states.full(access.room_sn).await?;
        let _permit = self.enter(access.room_sn).await?;
        let mut members = match (self.interned.find_type("m.room.member").await?, at) {
            (None, _) => Vec::new(),
            (Some(member_type), None) => self.database.current_state_of_type(&full, member_type).await?,
            (Some(member_type), Some(at)) => {
                // A token may point before the first event of the room. The client then wants the first members.
                let began = self.database.first_change_of_type(access.room_sn, member_type).await?;
                let at = began.map_or(at, |began| began.max(at));
                if query.at.is_some() && !access.visibility.may_see_state_at(at) {
                    let sentence = "You may not see who was in this room at that time.";
                    return Err(RoomError::Forbidden(sentence.to_owned()));
                }
                self.database.members_at(&full, member_type, at).await?
            }
        };
        members.retain(|event| query.wants(event));
        redact_erased_members(&self.database, &access.visibility, &mut members).await?;
        let mut out = Vec::with_capacity(members.len() * 768 + 16);
        out.extend_from_slice(b"{\"chunk\":");
        EventWriter::new(&access, self.clock.now()).state(&mut out, &members);
        out.push(b'}');
        Ok(out)
    }

    /// The joined members of a room, with their display names and avatars in it: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user is not joined, [`RoomError::StillPartial`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn joined_members(&self, requester: &Requester, room_id: &RoomId) -> Result<Vec<u8>, RoomError> {
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or(RoomError::NoSuchRoom)?;
        let own = self.database.membership(room_sn, requester.user_sn).await?;
        if own.is_none_or(|own| own.membership != Membership::Join) {
            return Err(RoomError::NotInRoom);
        }
        let full = self.states.full(room_sn).await?;
        let _permit = self.enter(room_sn).await?;
        let members = self.database.joined_member_events(&full).await?;
        let mut out = Vec::with_capacity(members.len() * 128 + 16);
        out.extend_from_slice(b"{\"joined\":{");
        for (index, (user_id, client_json)) in members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(&mut out, user_id);
            out.push(b':');
            push_profile(&mut out, member(client_json, "content").unwrap_or_default());
        }
        out.extend_from_slice(b"}}");
        Ok(out)
    }

    /// The rooms that a user is joined to: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>
    pub async fn joined_rooms(&self, requester: &Requester) -> Result<Vec<u8>, RoomError> {
        let rooms = self.database.joined_room_ids(requester.user_sn).await?;
        let mut out = b"{\"joined_rooms\":".to_vec();
        write_list(&mut out, &rooms, |out, room_id| push_string(out, room_id));
        out.push(b'}');
        Ok(out)
    }
}

/// Appends the display name and the avatar of a member event. Clients expect a string under both keys, so a missing value, or
/// one of another type, is the empty string.
fn push_profile(out: &mut Vec<u8>, content: &[u8]) {
    let text = |key| member(content, key).filter(|value| value.starts_with(b"\""));
    out.extend_from_slice(b"{\"display_name\":");
    out.extend_from_slice(text("displayname").unwrap_or(b"\"\""));
    out.extend_from_slice(b",\"avatar_url\":");
    out.extend_from_slice(text("avatar_url").unwrap_or(b"\"\""));
    out.push(b'}');
}
