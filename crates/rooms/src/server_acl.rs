//! Which servers may take part in a room.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls>

use homeserver_core::RoomSn;
use room_engine::{elements, member, string_value};
use ruma::ServerName;

use crate::{RoomError, Timeline};

/// The type of the state event with the list.
const SERVER_ACL: &str = "m.room.server_acl";

/// A room's list of servers that may take part in it, and of servers that may not.
#[derive(Clone, Debug)]
pub struct ServerAcl {
    allows_ip_literals: bool,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl ServerAcl {
    /// The list in the content of a `m.room.server_acl`, as canonical JSON. What is malformed in it counts as left out.
    #[must_use]
    pub fn read(content: &[u8]) -> Self {
        let names = |key: &str| {
            let list = member(content, key).unwrap_or_default();
            elements(list).filter_map(|name| Some(string_value(name)?.to_lowercase())).collect()
        };
        let allows_ip_literals = member(content, "allow_ip_literals") != Some(b"false");
        Self { allows_ip_literals, allow: names("allow"), deny: names("deny") }
    }

    /// Whether a server may take part. Its port does not matter.
    #[must_use]
    pub fn admits(&self, server: &ServerName) -> bool {
        if !self.allows_ip_literals && server.is_ip_literal() {
            return false;
        }
        let host = server.host().to_lowercase();
        let is_in = |list: &[String]| list.iter().any(|pattern| matches_glob(pattern.as_bytes(), host.as_bytes()));
        !is_in(&self.deny) && is_in(&self.allow)
    }
}

impl Timeline {
    /// Whether the current state of a room lets a server take part. A room without a list lets all of them.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn admits_server(&self, room_sn: RoomSn, server: &ServerName) -> Result<bool, RoomError> {
        let (Some(type_sn), Some(key_sn)) =
            (self.interned().find_type(SERVER_ACL).await?, self.interned().find_key("").await?)
        else {
            return Ok(true);
        };
        let Some(stored) = self.database().state_pdu(room_sn, type_sn, key_sn).await? else { return Ok(true) };
        Ok(member(&stored.client_json, "content").is_none_or(|content| ServerAcl::read(content).admits(server)))
    }
}

/// Whether the text has the form of the pattern, in which `*` is any text and `?` any character. Linear in the text for each `*`.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut in_pattern, mut in_text) = (0, 0);
    // Where the last `*` is, and how much of the text it takes.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(in_text) {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern, in_text));
                in_pattern += 1;
            }
            Some(expected) if *expected == b'?' || expected == byte => {
                in_pattern += 1;
                in_text += 1;
            }
            _ => {
                let Some((at, taken)) = &mut star else { return false };
                *taken += 1;
                (in_pattern, in_text) = (*at + 1, *taken);
            }
        }
    }
    pattern.iter().skip(in_pattern).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(content: &str, server: &str) -> bool {
        ServerAcl::read(content.as_bytes()).admits(&ServerName::parse(server).unwrap())
    }

    #[test]
    fn a_server_is_admitted_by_name_and_refused_by_name() {
        let content = r#"{"allow":["*"],"deny":["evil.example","*.Evil.example","e?il.test"]}"#;
        for (server, is_admitted) in [
            ("good.example", true),
            ("good.example:8448", true),
            ("evil.example", false),
            ("EVIL.example:80", false),
            ("a.b.evil.example", false),
            ("notevil.example", true),
            ("exil.test", false),
            ("eil.test", true),
            ("127.0.0.1", true),
        ] {
            assert_eq!(admits(content, server), is_admitted, "{server}");
        }
        assert!(!admits(r#"{"allow":[]}"#, "good.example"));
        assert!(!admits("{}", "good.example"));
        assert!(admits(r#"{"allow":[5,"g*d.ex*e"],"deny":"*"}"#, "good.example"));
        let no_addresses = r#"{"allow":["*"],"allow_ip_literals":false}"#;
        assert!(!admits(no_addresses, "127.0.0.1:1") && !admits(no_addresses, "[::1]"));
        assert!(admits(no_addresses, "good.example"));
    }

    #[test]
    fn a_pattern_of_stars_takes_no_time() {
        let (pattern, text) = ("*a".repeat(100) + "b", "a".repeat(230));
        assert!(!matches_glob(pattern.as_bytes(), text.as_bytes()));
        assert!(matches_glob(b"*", b"") && matches_glob(b"", b"") && !matches_glob(b"", b"a"));
    }
}
