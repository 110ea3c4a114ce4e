/// A kind of action that is limited, by Synapse's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitedAction {
    /// Whatever a user puts into rooms, by user.
    Message,
    /// Redacting what others have sent, by user; where it has no limit of its own, it is a message.
    AdminRedaction,
    /// Registering, by address.
    Registration,
    /// Asking whether a user name is free, by address.
    RegistrationAvailable,
    /// Asking whether a registration token is valid, by address.
    RegistrationTokenValidity,
    /// Beginning user-interactive authentication, by user or address; and wrong proofs of the shared secret, by address.
    InteractiveAuth,
    /// Logging in, by address.
    LoginAddress,
    /// Logging in with success, by account.
    LoginAccount,
    /// Logging in with a wrong password, by account.
    LoginFailedAttempts,
    /// Proving to be oneself with a wrong password, by user.
    ProofFailedAttempts,
    /// Joining a room that this server is in, by user.
    JoinsLocal,
    /// Joining a room that this server is not in, by user.
    JoinsRemote,
    /// Joining a room, by room.
    JoinsPerRoom,
    /// Inviting to a room, by room.
    InvitesPerRoom,
    /// Inviting a user, by who is invited.
    InvitesPerUser,
    /// Inviting a user, by who invites.
    InvitesPerIssuer,
    /// Inviting an address, by user.
    ThirdPartyInvite,
    /// Creating and upgrading rooms, by user.
    RoomCreation,
    /// Reading the directory of public rooms, by user or address.
    RoomDirectory,
    /// Searching the user directory, by user.
    UserDirectory,
    /// Asking for a mail that proves an e-mail address, by address of the client.
    ThirdPartyValidation,
    /// Changing one's presence, by user.
    Presence,
    /// Uploading media, or announcing that, by user.
    MediaCreate,
    /// Asking another server about its users and aliases, by user or address.
    RemoteQueries,
    /// Fetching media of another server, by user or address.
    RemoteMedia,
    /// Asking another server for its keys, by the address of the request that claims to come from that server.
    ServerKeys,
    /// Sending messages to devices, by user.
    ToDevice,
    /// Asking for a token by which another device can log in, by user.
    LoginToken,
    /// Requests to places where two clients meet before they log in, by address.
    Rendezvous,
    /// Reporting events, rooms and users, by user.
    Report,
}

impl LimitedAction {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 30] = [
        Self::Message,
        Self::AdminRedaction,
        Self::Registration,
        Self::RegistrationAvailable,
        Self::RegistrationTokenValidity,
        Self::InteractiveAuth,
        Self::LoginAddress,
        Self::LoginAccount,
        Self::LoginFailedAttempts,
        Self::ProofFailedAttempts,
        Self::JoinsLocal,
        Self::JoinsRemote,
        Self::JoinsPerRoom,
        Self::InvitesPerRoom,
        Self::InvitesPerUser,
        Self::InvitesPerIssuer,
        Self::ThirdPartyInvite,
        Self::RoomCreation,
        Self::RoomDirectory,
        Self::UserDirectory,
        Self::ThirdPartyValidation,
        Self::Presence,
        Self::MediaCreate,
        Self::RemoteQueries,
        Self::RemoteMedia,
        Self::ServerKeys,
        Self::ToDevice,
        Self::LoginToken,
        Self::Rendezvous,
        Self::Report,
    ];

    /// Its name in metrics, which is that of its key in the configuration where it has one of its own.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::AdminRedaction => "admin_redaction",
            Self::Registration => "registration",
            Self::RegistrationAvailable => "registration_available",
            Self::RegistrationTokenValidity => "registration_token_validity",
            Self::InteractiveAuth => "interactive_auth",
            Self::LoginAddress => "login.address",
            Self::LoginAccount => "login.account",
            Self::LoginFailedAttempts => "login.failed_attempts",
            Self::ProofFailedAttempts => "proof.failed_attempts",
            Self::JoinsLocal => "joins.local",
            Self::JoinsRemote => "joins.remote",
            Self::JoinsPerRoom => "joins_per_room",
            Self::InvitesPerRoom => "invites.per_room",
            Self::InvitesPerUser => "invites.per_user",
            Self::InvitesPerIssuer => "invites.per_issuer",
            Self::ThirdPartyInvite => "third_party_invite",
            Self::RoomCreation => "room_creation",
            Self::RoomDirectory => "room_directory",
            Self::UserDirectory => "user_directory",
            Self::ThirdPartyValidation => "third_party_validation",
            Self::Presence => "presence_per_user",
            Self::MediaCreate => "media_create",
            Self::RemoteQueries => "remote_queries",
            Self::RemoteMedia => "remote_media",
            Self::ServerKeys => "server_keys",
            Self::ToDevice => "to_device",
            Self::LoginToken => "login_token",
            Self::Rendezvous => "rendezvous",
            Self::Report => "reports",
        }
    }

    /// What there are too many of, for the client.
    pub(super) fn complaint(self) -> &'static str {
        match self {
            Self::Message => "You are sending too much",
            Self::AdminRedaction => "You are redacting too much",
            Self::Registration => "There are too many registrations from your address",
            Self::RegistrationAvailable
            | Self::RegistrationTokenValidity
            | Self::ThirdPartyValidation
            | Self::Rendezvous => "There are too many of these requests from your address",
            Self::InteractiveAuth => "You are beginning to authenticate too often",
            Self::LoginAddress => "There are too many logins from your address",
            Self::LoginAccount => "There are too many logins to this account",
            Self::LoginFailedAttempts | Self::ProofFailedAttempts => {
                "There are too many attempts with a wrong password for this account"
            }
            Self::JoinsLocal | Self::JoinsRemote => "You are joining too many rooms",
            Self::JoinsPerRoom => "Too many users are joining this room",
            Self::InvitesPerRoom => "There are too many invitations to this room",
            Self::InvitesPerUser => "There are too many invitations of this user",
            Self::InvitesPerIssuer | Self::ThirdPartyInvite => "You are inviting too many users",
            Self::RoomCreation => "You are creating too many rooms",
            Self::Presence => "You are changing your presence too often",
            Self::MediaCreate => "You are uploading too many files",
            Self::RoomDirectory | Self::UserDirectory => "You are searching too often",
            Self::RemoteQueries | Self::RemoteMedia => "You are having this server ask others too often",
            Self::ToDevice => "You are sending too many messages to devices",
            Self::LoginToken => "You are asking for too many login tokens",
            Self::Report => "You are reporting too much",
            Self::ServerKeys => "Too many servers are named as the origin of requests from your address",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LimitedAction;

    #[test]
    fn every_kind_stands_at_its_number() {
        for (number, kind) in LimitedAction::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?}");
        }
    }
}
