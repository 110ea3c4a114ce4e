//! `m.room.member` and the join rules.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma::{OwnedUserId, UserId};

use crate::{
    CanonicalObject, Members,
    canonical::{ObjectWriter, member, string_value},
};

/// A user's [membership](https://spec.matrix.org/v1.19/client-server-api/#room-membership) of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// In the room.
    Join,
    /// Invited.
    Invite,
    /// Not in the room.
    Leave,
    /// Banned.
    Ban,
    /// Has knocked.
    Knock,
}

impl Membership {
    /// The membership of that name, if it is one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Join, Self::Invite, Self::Leave, Self::Ban, Self::Knock]
            .into_iter()
            .find(|membership| membership.as_str() == name)
    }

    /// The name, as in `membership`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Leave => "leave",
            Self::Ban => "ban",
            Self::Knock => "knock",
        }
    }
}

/// Who may join, from [`m.room.join_rules`](https://spec.matrix.org/v1.19/client-server-api/#mroomjoin_rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinRule {
    /// Everybody.
    Public,
    /// Invited users.
    Invite,
    /// Invited users; everybody may knock.
    Knock,
    /// Members of other rooms.
    Restricted,
    /// Members of other rooms; everybody may knock.
    KnockRestricted,
    /// Nobody: `private`, or a name that is not in the specification.
    Unknown,
}

impl JoinRule {
    /// The rule in the content of `m.room.join_rules`; `invite` when there is none.
    pub fn of_content(content: Option<&CanonicalObject>) -> Self {
        let Some(value) = content.and_then(|content| content.value("join_rule")) else { return Self::Invite };
        match value {
            br#""public""# => Self::Public,
            br#""invite""# => Self::Invite,
            br#""knock""# => Self::Knock,
            br#""restricted""# => Self::Restricted,
            br#""knock_restricted""# => Self::KnockRestricted,
            _ => Self::Unknown,
        }
    }
}

/// A value that is there but does not have the form that a rule needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedValue;

/// What the rules read of [`m.room.member`](https://spec.matrix.org/v1.19/client-server-api/#mroommember).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberContent {
    /// The membership; `None` when it is absent or unknown.
    pub membership: Option<Membership>,
    /// The user whose server authorises a restricted join.
    pub join_authorised_via_users_server: Result<Option<OwnedUserId>, MalformedValue>,
    /// The signed part of a third-party invite.
    pub third_party_invite: Result<Option<SignedInvite>, MalformedValue>,
}

impl MemberContent {
    pub(crate) fn parse(content: &CanonicalObject) -> Self {
        Self {
            membership: content.string("membership").and_then(|name| Membership::parse(&name)),
            join_authorised_via_users_server: content
                .value("join_authorised_via_users_server")
                .map(|value| string_value(value).and_then(|id| UserId::parse(id).ok()).ok_or(MalformedValue))
                .transpose(),
            third_party_invite: content
                .value("third_party_invite")
                .map(|invite| SignedInvite::parse(invite).ok_or(MalformedValue))
                .transpose(),
        }
    }
}

/// The `signed` part of a third-party invite, and the signatures on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInvite {
    /// The invited user.
    pub mxid: String,
    /// The state key of the `m.room.third_party_invite` event.
    pub token: String,
    /// The ed25519 signatures.
    pub signatures: Vec<Vec<u8>>,
    /// The canonical JSON that was signed.
    pub signed_json: Vec<u8>,
}

impl SignedInvite {
    fn parse(invite: &[u8]) -> Option<Self> {
        let signed = member(invite, "signed")?;
        let mut signed_json = Vec::with_capacity(signed.len());
        let mut writer = ObjectWriter::begin(&mut signed_json);
        for (key, value) in Members::new(signed).filter(|(key, _)| !matches!(*key, b"signatures" | b"unsigned")) {
            writer.raw_key(key).extend_from_slice(value);
        }
        writer.end();
        Some(Self {
            mxid: member(signed, "mxid").and_then(string_value)?.into_owned(),
            token: member(signed, "token").and_then(string_value)?.into_owned(),
            signatures: member(signed, "signatures").map(signatures).unwrap_or_default(),
            signed_json,
        })
    }
}

fn signatures(json: &[u8]) -> Vec<Vec<u8>> {
    Members::new(json)
        .flat_map(|(_, of_server)| Members::new(of_server))
        .filter(|(key_id, _)| key_id.starts_with(b"ed25519:"))
        .filter_map(|(_, signature)| decode_base64(&string_value(signature)?))
        .collect()
}

/// Decodes Base64 in either alphabet, padded or not.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let standard = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    let url_safe = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    standard.decode(text).or_else(|_| url_safe.decode(text)).ok()
}
