//! The canonical form of e-mail addresses.

use lettre::Address;
use unicase::UniCase;

/// The longest address that mail can be sent to, in bytes (RFC 5321).
const MAX_ADDRESS_BYTES: usize = 254;

/// The one form in which an e-mail address is stored and compared, or what is wrong with it.
///
/// Mail is sent to this form, never to what was typed: `strauß@…` and `strauss@…` are one address here and may be two mailboxes
/// elsewhere, and the owner of one must not get the mail of the other.
///
/// <https://spec.matrix.org/v1.19/appendices/#e-mail>
///
/// # Errors
/// A sentence about what is wrong.
pub fn canonical_email(text: &str) -> Result<String, &'static str> {
    const NOT_ONE: &str = "not an e-mail address such as alice@example.org";
    let folded = UniCase::unicode(text.trim_matches(' ')).to_folded_case();
    if folded.len() > MAX_ADDRESS_BYTES {
        return Err("longer than an e-mail address can be");
    }
    // A quoted local part may hold anything; nobody has such an address.
    if folded.chars().any(|letter| letter.is_control() || letter.is_whitespace() || "\"<>(),;:\\[]".contains(letter)) {
        return Err(NOT_ONE);
    }
    let address: Address = folded.parse().map_err(|_| NOT_ONE)?;
    Ok(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::canonical_email;

    #[test]
    fn addresses_that_differ_in_case_are_one() {
        for (text, canonical) in [
            ("bob@Example.com", "bob@example.com"),
            ("Strauß@Example.com", "strauss@example.com"),
            ("  Alice.B+tag@EXAMPLE.org ", "alice.b+tag@example.org"),
            ("ΣΊΣΥΦΟΣ@example.org", "σίσυφοσ@example.org"),
        ] {
            assert_eq!(canonical_email(text).as_deref(), Ok(canonical), "{text}");
            assert_eq!(canonical_email(canonical).as_deref(), Ok(canonical), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_or_more_than_one_is_refused() {
        for text in [
            "",
            "alice",
            "@example.org",
            "alice@",
            "a b@example.org",
            "alice@example.org\r\nBcc: eve@example.org",
            "alice@example.org, eve@example.org",
            "Alice <alice@example.org>",
            "mailto:alice@example.org",
            "\"a b\"@example.org",
            "a@b@c",
            "a@[127.0.0.1]",
            "a\u{0}@example.org",
            &format!("{}@example.org", "x".repeat(250)),
        ] {
            assert!(canonical_email(text).is_err(), "{text:?}");
        }
    }
}
