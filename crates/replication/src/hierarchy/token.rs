//! The place in a hierarchy at which a page begins.

use std::fmt;

use accounts::sessions::Requester;
use ruma::RoomId;

use super::{HierarchyError, HierarchyQuery, MAX_DEPTH};

/// A place in a walk, and what decides its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    /// How many children were looked at before.
    pub(super) steps: usize,
    pub(super) max_depth: u32,
    pub(super) suggested_only: bool,
}

impl Token {
    /// The place where a page begins. The parameters may be left out beside a token, but not differ from it.
    pub(super) fn start(query: &HierarchyQuery) -> Result<Self, HierarchyError> {
        let max_depth = query.max_depth.map(|depth| depth.min(MAX_DEPTH));
        let Some(from) = &query.from else {
            let suggested_only = query.suggested_only.unwrap_or_default();
            return Ok(Self { steps: 0, max_depth: max_depth.unwrap_or(MAX_DEPTH), suggested_only });
        };
        let unknown = || HierarchyError::Invalid("from: not a token of a hierarchy".to_owned());
        let token = Self::parse(from).ok_or_else(unknown)?;
        let is_same = max_depth.is_none_or(|depth| depth == token.max_depth)
            && query.suggested_only.is_none_or(|suggested| suggested == token.suggested_only);
        if !is_same {
            let sentence = "max_depth and suggested_only must be the same on every page";
            return Err(HierarchyError::Invalid(sentence.to_owned()));
        }
        Ok(token)
    }

    /// Under which a walk is kept that has come to this place.
    pub(super) fn key(&self, requester: &Requester, room_id: &RoomId) -> String {
        format!("{} {room_id} {self}", requester.user_sn)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("h1_")?.split('_');
        let steps = parts.next()?.parse().ok()?;
        let max_depth = parts.next()?.parse().ok().filter(|depth| *depth <= MAX_DEPTH)?;
        let suggested_only = match parts.next()? {
            "all" => false,
            "suggested" => true,
            _ => return None,
        };
        parts.next().is_none().then_some(Self { steps, max_depth, suggested_only })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rooms = if self.suggested_only { "suggested" } else { "all" };
        write!(formatter, "h1_{}_{}_{rooms}", self.steps, self.max_depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_holds_the_parameters_of_the_first_page() {
        let token = Token { steps: 7, max_depth: 3, suggested_only: true };
        let query = |max_depth, suggested_only| HierarchyQuery {
            from: Some(token.to_string()),
            limit: None,
            max_depth,
            suggested_only,
        };
        for (max_depth, suggested_only) in [(None, None), (Some(3), Some(true)), (None, Some(true))] {
            assert_eq!(Token::start(&query(max_depth, suggested_only)).unwrap(), token);
        }
        assert!(Token::start(&query(Some(4), None)).is_err());
        assert!(Token::start(&query(None, Some(false))).is_err());
        for broken in ["", "h1", "h1_1", "h1_1_1_x", "h1_x_1_all", "h1_1_101_all", "h1_1_1_all_1", "a1_1_1_all"] {
            assert!(Token::parse(broken).is_none(), "{broken}");
        }
        let deep = HierarchyQuery { max_depth: Some(u32::MAX), ..HierarchyQuery::default() };
        assert_eq!(Token::start(&deep).unwrap().max_depth, MAX_DEPTH);
    }
}
