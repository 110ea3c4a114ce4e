//! Search terms, and how well a user matches them.

use accounts::unicode::folded;
use storage::UserListing;

use super::FoundUser;

/// The words of a search term. A user must match all of them.
pub(super) struct Query {
    text: String,
    words: Vec<String>,
}

/// How well a user matches; the best is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fit {
    Whole,
    Beginning,
    Within,
}

impl Query {
    /// `None` if there is no word in the term.
    pub(super) fn new(term: &str) -> Option<Self> {
        let text = folded(term.trim());
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() { None } else { Some(Self { text, words }) }
    }

    /// The longest part of the term that the database compares. It cannot fold characters outside ASCII, so it returns every
    /// user whose name has such characters, and leaves the comparison to [`fit`](Self::fit).
    ///
    /// Display names are stored as JSON, so characters that JSON escapes are left to `fit` too. If nothing remains, the part is
    /// empty and every user has it.
    pub(super) fn sure_part(&self) -> &str {
        let parts = self.words.iter().flat_map(|word| word.split(is_escaped));
        parts.max_by_key(|part| (!part.is_ascii(), part.len())).unwrap_or_default()
    }

    /// How well a user matches; `None` if a word is missing. A word matches a server name only as a whole, or together with
    /// the end of the localpart: two letters of the server name would otherwise find every user of that server.
    pub(super) fn fit(&self, user: &FoundUser) -> Option<Fit> {
        let user_id = folded(&user.user_id);
        let name = folded(user.display_name.as_deref().unwrap_or_default());
        let (localpart, server_name) = user_id.split_once(':').unwrap_or((&user_id, ""));
        let has = |word: &String| {
            name.contains(word.as_str())
                || localpart.contains(word.as_str())
                || server_name == word
                || (word.contains(':') && user_id.contains(word.as_str()))
        };
        if !self.words.iter().all(has) {
            return None;
        }
        let texts = [name.as_str(), &user_id, localpart, localpart.trim_start_matches('@')];
        if texts.contains(&self.text.as_str()) {
            Some(Fit::Whole)
        } else if texts.iter().any(|text| text.starts_with(&self.text)) {
            Some(Fit::Beginning)
        } else {
            Some(Fit::Within)
        }
    }
}

/// Whether JSON escapes this character.
fn is_escaped(character: char) -> bool {
    character.is_ascii_control() || matches!(character, '"' | '\\')
}

impl From<UserListing> for FoundUser {
    fn from(listing: UserListing) -> Self {
        let text = |json: Option<String>| json.and_then(|json| serde_json::from_str::<String>(&json).ok());
        Self {
            user_id: listing.user_id,
            display_name: text(listing.display_name),
            avatar_url: text(listing.avatar_url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(term: &str, user_id: &str, name: &str) -> Option<Fit> {
        let user = FoundUser {
            user_id: user_id.to_owned(),
            display_name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            avatar_url: None,
        };
        Query::new(term).unwrap().fit(&user)
    }

    #[test]
    fn the_database_gets_a_part_that_it_can_compare() {
        for (term, part) in [
            ("Alice Cooper", "cooper"),
            ("JÜRGEN", "jürgen"),
            ("Иван", "иван"),
            ("ａｌｉｃｅ", "alice"),
            ("longest é", "é"),
            ("山田太郎", "山田太郎"),
            (r#"a"bc\d"#, "bc"),
            ("50%_off", "50%_off"),
        ] {
            assert_eq!(Query::new(term).unwrap().sure_part(), part, "{term}");
        }
        assert!(Query::new(" \t ").is_none());
    }

    #[test]
    fn every_word_must_be_in_the_name_or_the_user_id() {
        assert_eq!(fit("alice COOPER", "@a:hs", "Alice Cooper"), Some(Fit::Whole));
        assert_eq!(fit("cooper ali", "@a:hs", "Alice Cooper"), Some(Fit::Within));
        assert_eq!(fit("alice mallory", "@a:hs", "Alice Cooper"), None);
        assert_eq!(fit("иван", "@i:hs", "ИВАН"), Some(Fit::Whole));
        assert_eq!(fit("cafe\u{301}", "@c:hs", "CAFÉ"), Some(Fit::Whole));
        assert_eq!(fit("strasse", "@s:hs", "Große Straße"), Some(Fit::Within));
        assert_eq!(fit("user", "@user-1:hs", ""), Some(Fit::Beginning));
        assert_eq!(fit("@user-1:hs", "@user-1:hs", ""), Some(Fit::Whole));
    }

    #[test]
    fn a_server_name_counts_as_a_whole_only() {
        assert_eq!(fit("ex", "@a:example.org", ""), None);
        assert_eq!(fit("example.org", "@a:example.org", ""), Some(Fit::Within));
        assert_eq!(fit("a:ex", "@a:example.org", ""), Some(Fit::Within));
    }
}
