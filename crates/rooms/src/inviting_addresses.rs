//! Inviting people of whom only an address is known.

use accounts::rate_limits::{Key, LimitedAction};
use accounts::sessions::Requester;
use room_engine::CanonicalObject;
use ruma::RoomId;

use super::member_content::{ContentMap, canonical};
use super::{Draft, Memberships, RoomError};

/// The event that invites an address.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mroomthird_party_invite>
const THIRD_PARTY_INVITE: &str = "m.room.third_party_invite";

/// What an identity server is told of the room: the key, and where in the room's state it is.
const TOLD: [(&str, &str, &str); 5] = [
    ("room_alias", "m.room.canonical_alias", "alias"),
    ("room_avatar_url", "m.room.avatar", "url"),
    ("room_join_rules", "m.room.join_rules", "join_rule"),
    ("room_name", "m.room.name", "name"),
    ("room_type", "m.room.create", "type"),
];

impl Memberships {
    /// Checks that a user may invite addresses to a room, and spends the rates of an invitation. Returns what an identity server is told of
    /// the room and the user.
    ///
    /// # Errors
    /// What the rules of the room refuse.
    pub async fn begin_inviting_address(
        &self,
        requester: &Requester,
        room_id: &RoomId,
    ) -> Result<ContentMap, RoomError> {
        let room_sn = self.timeline.find(room_id).await?;
        let mut room = self.timeline.open(room_sn).await?;
        let draft = Draft::state(THIRD_PARTY_INVITE, "", canonical(&ContentMap::new())?);
        room.propose(&requester.user_id, &draft).await?;
        for (kind, key) in [
            (LimitedAction::Message, Key::user(requester.user_sn)),
            (LimitedAction::InvitesPerRoom, Key::room(room_sn)),
            (LimitedAction::InvitesPerIssuer, Key::user(requester.user_sn)),
            (LimitedAction::ThirdPartyInvite, Key::user(requester.user_sn)),
        ] {
            self.rate_limits.spend(kind, key, Some(requester))?.keep();
        }
        let mut told = ContentMap::from_iter([
            ("room_id".to_owned(), room_id.as_str().into()),
            ("sender".to_owned(), requester.user_id.as_str().into()),
        ]);
        for (key, event_type, member) in TOLD {
            let event = room.state(event_type, "").await?;
            let text = event.as_ref().and_then(|event| event.content().string(member));
            told.extend(text.map(|text| (key.to_owned(), text.into_owned().into())));
        }
        drop(room);
        let profile = self.profiles.member_profile(requester.user_sn).await?;
        let shown = [("sender_display_name", profile.display_name), ("sender_avatar_url", profile.avatar_url)];
        told.extend(shown.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?.into()))));
        Ok(told)
    }

    /// Invites an address, which an identity server knows by `token`.
    ///
    /// # Errors
    /// What the rules of the room refuse.
    pub async fn invite_address(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        token: &str,
        content: &ContentMap,
    ) -> Result<(), RoomError> {
        let content: CanonicalObject = canonical(content)?;
        self.timeline.send(requester, room_id, &Draft::state(THIRD_PARTY_INVITE, token, content), None).await?;
        Ok(())
    }

    /// The name by which an address was invited with a token; `None` if the room is not known here or has no such invitation.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn name_of_invited_address(&self, room_id: &RoomId, token: &str) -> Result<Option<String>, RoomError> {
        let room_sn = self.timeline.find(room_id).await?;
        let mut room = self.timeline.open(room_sn).await?;
        let event = room.state(THIRD_PARTY_INVITE, token).await?;
        let name = event.as_ref().and_then(|event| event.content().string("display_name"));
        Ok(name.map(std::borrow::Cow::into_owned))
    }
}
