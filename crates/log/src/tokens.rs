//! The tokens by which clients name positions in the log. They are opaque to clients; the digit is the version of the format,
//! so that it can grow.

use homeserver_core::Position;

/// The token of `/sync` for a position: everything up to it was seen.
#[must_use]
pub fn sync_token(position: Position) -> String {
    format!("s1_{position}")
}

/// The token for a place in a room's history: backwards from it is what is at or before the position, forwards what is
/// after.
#[must_use]
pub fn history_token(position: Position) -> String {
    format!("t1_{position}")
}

/// The position of a token of either kind.
#[must_use]
pub fn parse_token(token: &str) -> Option<Position> {
    let digits = token.strip_prefix("s1_").or_else(|| token.strip_prefix("t1_"))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        assert_eq!(parse_token(&sync_token(Position(7))), Some(Position(7)));
        assert_eq!(parse_token(&history_token(Position(0))), Some(Position(0)));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in ["", "s1_", "s1_-1", "s2_4", "t1_99999999999999999999", "4", "s1_+4", "s72594_4483_1934"] {
            assert_eq!(parse_token(text), None, "{text}");
        }
    }
}
