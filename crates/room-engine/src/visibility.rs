//! The users who may read an event: [room history visibility](https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility).

use crate::{CanonicalObject, Membership};

/// The `history_visibility` of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryVisibility {
    /// Anyone.
    WorldReadable,
    /// Members, also events before they joined.
    Shared,
    /// Members, from their invite on.
    Invited,
    /// Members, from their join on.
    Joined,
}

impl HistoryVisibility {
    /// The visibility of that name; `shared` for an unknown name.
    pub fn parse(name: &str) -> Self {
        match name {
            "world_readable" => Self::WorldReadable,
            "invited" => Self::Invited,
            "joined" => Self::Joined,
            _ => Self::Shared,
        }
    }

    /// The name, as in `history_visibility`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorldReadable => "world_readable",
            Self::Shared => "shared",
            Self::Invited => "invited",
            Self::Joined => "joined",
        }
    }

    /// The visibility in the content of `m.room.history_visibility`; `shared` when there is none.
    pub fn of_content(content: Option<&CanonicalObject>) -> Self {
        content.and_then(|content| content.string("history_visibility")).map_or(Self::Shared, |name| Self::parse(&name))
    }
}

/// The input that decides whether a user may see an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewpoint {
    /// The visibility in the state before the event.
    pub visibility_before: HistoryVisibility,
    /// The visibility in the state after it; another one only for `m.room.history_visibility`.
    pub visibility_after: HistoryVisibility,
    /// The user's membership in the state before the event.
    pub membership_before: Membership,
    /// The user's membership in the state after it; another one only for the user's own `m.room.member`.
    pub membership_after: Membership,
    /// Whether the user joined the room at any point after the event.
    pub joined_later: bool,
}

impl Viewpoint {
    /// The view of an event that changes neither the visibility nor the user's membership.
    pub const fn unchanged(visibility: HistoryVisibility, membership: Membership, joined_later: bool) -> Self {
        Self {
            visibility_before: visibility,
            visibility_after: visibility,
            membership_before: membership,
            membership_after: membership,
            joined_later,
        }
    }

    /// Whether the user may see the event. For events that change the visibility or the user's own membership it is
    /// enough that the state before or the state after allows it.
    pub fn may_see(self) -> bool {
        let visibilities = [self.visibility_before, self.visibility_after];
        let memberships = [self.membership_before, self.membership_after];
        visibilities.into_iter().any(|visibility| {
            memberships.into_iter().any(|membership| is_visible(visibility, membership, self.joined_later))
        })
    }
}

/// The [five rules](https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-7).
const fn is_visible(visibility: HistoryVisibility, membership: Membership, joined_later: bool) -> bool {
    match (visibility, membership) {
        (HistoryVisibility::WorldReadable, _)
        | (_, Membership::Join)
        | (HistoryVisibility::Invited, Membership::Invite) => true,
        (HistoryVisibility::Shared, _) => joined_later,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HistoryVisibility::{Invited, Joined, Shared, WorldReadable};

    #[test]
    fn anyone_reads_a_world_readable_room() {
        assert!(Viewpoint::unchanged(WorldReadable, Membership::Leave, false).may_see());
        assert!(Viewpoint::unchanged(WorldReadable, Membership::Ban, false).may_see());
    }

    #[test]
    fn members_read_what_is_sent_while_they_are_in_the_room() {
        for visibility in [WorldReadable, Shared, Invited, Joined] {
            assert!(Viewpoint::unchanged(visibility, Membership::Join, false).may_see());
        }
    }

    #[test]
    fn shared_history_opens_to_those_who_join_later_and_to_nobody_else() {
        for membership in [Membership::Leave, Membership::Invite, Membership::Knock, Membership::Ban] {
            assert!(Viewpoint::unchanged(Shared, membership, true).may_see());
            assert!(!Viewpoint::unchanged(Shared, membership, false).may_see());
        }
    }

    #[test]
    fn invited_history_starts_with_the_invite_and_joined_history_with_the_join() {
        assert!(Viewpoint::unchanged(Invited, Membership::Invite, true).may_see());
        assert!(!Viewpoint::unchanged(Invited, Membership::Leave, true).may_see());
        assert!(!Viewpoint::unchanged(Joined, Membership::Invite, true).may_see());
    }

    #[test]
    fn a_change_of_visibility_is_seen_by_those_who_see_either_side() {
        let opening =
            Viewpoint { visibility_after: WorldReadable, ..Viewpoint::unchanged(Joined, Membership::Leave, false) };
        let closing =
            Viewpoint { visibility_after: Joined, ..Viewpoint::unchanged(WorldReadable, Membership::Leave, false) };
        let narrowing =
            Viewpoint { visibility_after: Joined, ..Viewpoint::unchanged(Invited, Membership::Leave, false) };
        assert!(opening.may_see());
        assert!(closing.may_see());
        assert!(!narrowing.may_see());
    }

    #[test]
    fn users_see_their_own_join_and_their_own_leaving() {
        let coming =
            Viewpoint { membership_after: Membership::Join, ..Viewpoint::unchanged(Joined, Membership::Leave, false) };
        let going =
            Viewpoint { membership_after: Membership::Ban, ..Viewpoint::unchanged(Joined, Membership::Join, false) };
        assert!(coming.may_see());
        assert!(going.may_see());
    }

    #[test]
    fn an_unknown_visibility_counts_as_shared() {
        assert_eq!(HistoryVisibility::parse("friends"), Shared);
        assert_eq!(HistoryVisibility::of_content(None), Shared);
    }
}
