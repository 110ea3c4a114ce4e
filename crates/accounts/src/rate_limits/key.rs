use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;

use homeserver_core::{RoomSn, UserSn};

/// Whose actions are counted together. The size is fixed, whatever text a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    space: Space,
    pub(super) value: u64,
}

/// Keeps users, addresses and so on apart where a kind counts several of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Space {
    User,
    Room,
    Name,
    Ipv4,
    Ipv6Network,
    NoAddress,
}

impl Key {
    /// A user.
    #[must_use]
    pub const fn user(user_sn: UserSn) -> Self {
        Self { space: Space::User, value: user_sn.0.cast_unsigned() }
    }

    /// A room.
    #[must_use]
    pub const fn room(room_sn: RoomSn) -> Self {
        Self { space: Space::Room, value: room_sn.0.cast_unsigned() }
    }

    /// A name that somebody has given, of an account that need not exist. The hash has random keys, so that nobody finds a name
    /// that is counted with another.
    pub(super) fn name(name: &str, random: &impl BuildHasher) -> Self {
        Self { space: Space::Name, value: random.hash_one(name) }
    }

    /// The address of a client. Of IPv6 addresses only the first 64 bits count, because a network owns all addresses that share them.
    #[must_use]
    pub fn address(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self { space: Space::NoAddress, value: 0 },
            Some(IpAddr::V4(address)) => Self { space: Space::Ipv4, value: u64::from(address.to_bits()) },
            Some(IpAddr::V6(address)) => {
                let network = u64::try_from(address.to_bits() >> 64).unwrap_or_default();
                Self { space: Space::Ipv6Network, value: network }
            }
        }
    }
}

/// A short text that is the same on every node and after a restart, but for a name.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = match self.space {
            Space::User => "user",
            Space::Room => "room",
            Space::Name => "name",
            Space::Ipv4 => "ipv4",
            Space::Ipv6Network => "ipv6",
            Space::NoAddress => "none",
        };
        write!(formatter, "{space}:{:x}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Key {
        Key::address(Some(text.parse().unwrap()))
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_together() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_ne!(address("0.0.0.0"), address("::"));
        assert_ne!(address("0.0.0.0"), Key::address(None));
    }

    #[test]
    fn a_user_a_room_and_a_name_are_never_the_same() {
        assert_ne!(Key::user(UserSn(1)), Key::room(RoomSn(1)));
        let random = std::hash::RandomState::new();
        assert_eq!(Key::name("@a:b", &random), Key::name("@a:b", &random));
        assert_ne!(Key::name("@a:b", &random), Key::name("@a:c", &random));
    }
}
