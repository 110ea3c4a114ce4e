//! The grammar of new user IDs.

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

/// The longest user ID, in bytes, with the sigil and the server name.
const MAX_USER_ID_BYTES: usize = 255;

/// The operator named a user of another server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{user_id} is a user of another server: this one is {server_name}")]
pub struct OtherServer {
    user_id: String,
    server_name: OwnedServerName,
}

/// The part before the colon of a user of this server, whom somebody names by that part or by the whole ID.
///
/// # Errors
/// [`OtherServer`].
pub(crate) fn localpart<'a>(name: &'a str, server_name: &ServerName) -> Result<&'a str, OtherServer> {
    let Some((localpart, server)) = name.strip_prefix('@').and_then(|rest| rest.split_once(':')) else {
        return Ok(name);
    };
    if server != server_name.as_str() {
        return Err(OtherServer { user_id: name.to_owned(), server_name: server_name.to_owned() });
    }
    Ok(localpart)
}

/// The ID of a new user of `server_name` who wants to be called `name`; capitals become small letters. Refused with a sentence.
///
/// <https://spec.matrix.org/v1.19/appendices/#user-identifiers>
pub(super) fn new_user_id(name: &str, server_name: &ServerName) -> Result<OwnedUserId, &'static str> {
    let localpart = name.to_ascii_lowercase();
    if localpart.is_empty() {
        return Err("A user name has at least one character");
    }
    if localpart.starts_with('_') {
        return Err("A user name does not begin with an underscore");
    }
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._=/+".contains(&byte);
    if !localpart.bytes().all(is_allowed) {
        return Err("A user name consists of the letters a to z, digits, and the characters - . _ = / +");
    }
    let user_id = format!("@{localpart}:{server_name}");
    if user_id.len() > MAX_USER_ID_BYTES {
        return Err("The user ID would be longer than 255 bytes");
    }
    UserId::parse(user_id).map_err(|_| "This is not a valid user name")
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[test]
    fn capitals_become_small_and_all_allowed_characters_stay() {
        let user_id = new_user_id("Alice-._=/+9", server_name!("example.org")).unwrap();
        assert_eq!(user_id, "@alice-._=/+9:example.org");
    }

    #[test]
    fn a_user_of_this_server_is_named_by_the_whole_id_too() {
        let server_name = server_name!("example.org:8448");
        assert_eq!(localpart("carol", server_name).unwrap(), "carol");
        assert_eq!(localpart("@carol:example.org:8448", server_name).unwrap(), "carol");
        assert_eq!(localpart("@carol", server_name).unwrap(), "@carol");
        let refused = localpart("@carol:example.org", server_name).unwrap_err().to_string();
        assert_eq!(refused, "@carol:example.org is a user of another server: this one is example.org:8448");
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        for name in ["", "_bridge", "us,er", "é", "a b", "a:b", "@a", "a\n", "a\u{212a}", &"x".repeat(250)] {
            assert!(new_user_id(name, server_name!("example.org")).is_err(), "{name}");
        }
    }
}
