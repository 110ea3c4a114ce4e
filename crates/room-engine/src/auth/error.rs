//! Why an event is not allowed.

use std::fmt;

use ruma::{OwnedEventId, OwnedUserId};

use super::PowerLevel;

/// The rule that refused an event. The text is a sentence for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Rule 1.1.
    #[error("A create event cannot follow other events.")]
    CreateHasPrevEvents,
    /// Rule 1.2 of versions 1 to 11.
    #[error("A room must be created under the name of its creator's server.")]
    CreateForOtherServer,
    /// Rule 1.3.
    #[error("The room version of the create event is unknown.")]
    CreateOfUnknownVersion,
    /// Rule 1.4 of versions 1 to 10.
    #[error("A create event needs `creator` in this room version.")]
    CreateWithoutCreator,
    /// Rule 1.4 of version 12.
    #[error("`additional_creators` must be a list of user IDs.")]
    MalformedAdditionalCreators,
    /// Rule 2 of version 12.
    #[error("The room's ID is not that of an accepted create event.")]
    RoomIdWithoutCreate,
    /// Rule 2.1.
    #[error("`auth_events` has two events for `{event_type}` with state key `{state_key}`.")]
    DuplicateAuthEvent {
        /// The type.
        event_type: Box<str>,
        /// The state key.
        state_key: Box<str>,
    },
    /// Rule 2.2.
    #[error("`auth_events` has the event {event_id}, which does not bear on this event.")]
    UnneededAuthEvent {
        /// The event that does not belong there.
        event_id: OwnedEventId,
    },
    /// Rule 2.3.
    #[error("`auth_events` has the event {event_id}, which was rejected.")]
    RejectedAuthEvent {
        /// The rejected event.
        event_id: OwnedEventId,
    },
    /// Rule 2.4 of versions 1 to 11, and what every rule after it takes for granted.
    #[error("The room has no create event.")]
    NoCreateEvent,
    /// Rule 2.5.
    #[error("`auth_events` has the event {event_id} of another room.")]
    AuthEventOfOtherRoom {
        /// The foreign event.
        event_id: OwnedEventId,
    },
    /// Rule 3.
    #[error("This room is closed to users of other servers.")]
    NotFederated,
    /// Rule 4 of versions 1 to 5.
    #[error("A server can only set the aliases of its own name.")]
    AliasesOfOtherServer,
    /// Rule 4.1.
    #[error("A membership event needs a user ID as its state key.")]
    MemberWithoutUser,
    /// Rules 4.1 and 4.8.
    #[error("The `membership` is missing or not one that this room version knows.")]
    UnknownMembership,
    /// Rule 4.3.2.
    #[error("You cannot join a room for someone else.")]
    JoinForOther,
    /// Rules 4.3.3, 4.4.1.1 and 4.4.3.
    #[error("{user} is banned from this room.")]
    Banned {
        /// The banned user.
        user: OwnedUserId,
    },
    /// Rules 4.3.4 and 4.3.7.
    #[error("You are not invited to this room.")]
    NotInvited,
    /// Rule 4.3.5.2, with what it finds missing.
    #[error("You are not invited to this room, and {reason}.")]
    RestrictedJoinRefused {
        /// What is missing.
        reason: &'static str,
    },
    /// Rule 4.4.1 and those below it.
    #[error("The third-party invite is not valid: {reason}.")]
    ThirdPartyInviteRefused {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Rules 4.4.2, 4.5.2, 4.6.1 and 5.
    #[error("You are not in this room.")]
    SenderNotJoined,
    /// Rule 4.4.3.
    #[error("{user} is already in the room.")]
    AlreadyJoined {
        /// The user.
        user: OwnedUserId,
    },
    /// Rule 4.5.1.
    #[error("You cannot leave a room that you are neither in nor invited to.")]
    NothingToLeave,
    /// Rules 4.4.4, 4.5.3, 4.5.4, 4.6.2, 6 and 7.
    #[error("You need power level {needed} to {action}, and have {have}.")]
    InsufficientPower {
        /// The level that is needed.
        needed: i64,
        /// The sender's level.
        have: PowerLevel,
        /// What it is needed for.
        action: Action,
    },
    /// Rules 4.5.4 and 4.6.2.
    #[error("You cannot {action} {user}, whose power level {target} is not below yours, {have}.")]
    TargetNotBelow {
        /// What the sender wanted.
        action: Action,
        /// Whom it was about.
        user: OwnedUserId,
        /// That user's level.
        target: PowerLevel,
        /// The sender's level.
        have: PowerLevel,
    },
    /// Rule 4.7.1.
    #[error("This room does not allow knocking.")]
    KnockingNotAllowed,
    /// Rule 4.7.2.
    #[error("You cannot knock for someone else.")]
    KnockForOther,
    /// Rule 4.7.3.
    #[error("You cannot knock on a room that you are in, invited to, or banned from.")]
    NoNeedToKnock,
    /// Rule 8.
    #[error("A state key that is a user ID can only be used by that user.")]
    StateOfOtherUser,
    /// Rules 9.1 to 9.3.
    #[error("`{property}` of the power levels is not of the form that this room version needs.")]
    MalformedPowerLevels {
        /// The property.
        property: &'static str,
    },
    /// Rule 10.4 of version 12.
    #[error("{user} created this room and cannot be given a power level.")]
    LevelOfCreator {
        /// The creator.
        user: OwnedUserId,
    },
    /// Rules 9.5 to 9.9.
    #[error("You cannot change {what} from or to power level {level}, because you have {have}.")]
    LevelAboveOwn {
        /// The property, event type, kind of notification or user.
        what: Box<str>,
        /// The level that is out of reach.
        level: i64,
        /// The sender's level.
        have: PowerLevel,
    },
    /// Rule 9.8.
    #[error("You cannot change the power level of {user}, {level}, because it is not below yours, {have}.")]
    LevelOfEqual {
        /// The user.
        user: OwnedUserId,
        /// That user's level.
        level: i64,
        /// The sender's level.
        have: PowerLevel,
    },
    /// Rule 11 of versions 1 and 2.
    #[error("You need power level {needed} to redact events of other servers, and have {have}.")]
    RedactionRefused {
        /// The redact level.
        needed: i64,
        /// The sender's level.
        have: PowerLevel,
    },
    /// An event of another type than the caller took it for.
    #[error("The event is not of the type {expected}.")]
    WrongEventType {
        /// The type that was needed.
        expected: &'static str,
    },
}

/// What a power level is needed for; reads as the end of "You need … to".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send an event of this type.
    Send(Box<str>),
    /// Invite.
    Invite,
    /// Remove a member or withdraw an invitation.
    Kick,
    /// Ban.
    Ban,
    /// Lift a ban.
    Unban,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(event_type) => write!(f, "send {event_type}"),
            Self::Invite => f.write_str("invite"),
            Self::Kick => f.write_str("kick"),
            Self::Ban => f.write_str("ban"),
            Self::Unban => f.write_str("unban"),
        }
    }
}
