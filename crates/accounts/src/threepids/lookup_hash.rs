//! How identity servers are asked for the users of addresses.

use ruma::serde::Base64;
use ruma::serde::base64::UrlSafe;
use sha2::{Digest as _, Sha256};

/// The form in which an address is looked up, by an algorithm that the identity server knows; `None` if it is another one.
///
/// <https://spec.matrix.org/v1.19/identity-service-api/#client-behaviour>
#[must_use]
pub fn hashed_address(algorithm: &str, pepper: &str, medium: &str, address: &str) -> Option<String> {
    match algorithm {
        "sha256" => {
            let digest = Sha256::digest(format!("{address} {medium} {pepper}"));
            Some(Base64::<UrlSafe, Vec<u8>>::new(digest.to_vec()).encode())
        }
        "none" => Some(format!("{address} {medium}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::hashed_address;

    #[test]
    fn addresses_are_hashed_as_the_specification_shows_it() {
        let hashed = |algorithm, address| hashed_address(algorithm, "matrixrocks", "email", address);
        assert_eq!(
            hashed("sha256", "alice@example.com").as_deref(),
            Some("4kenr7N9drpCJ4AfalmlGQVsOn3o2RHjkADUpXJWZUc")
        );
        assert_eq!(hashed("none", "alice@example.com").as_deref(), Some("alice@example.com email"));
        assert_eq!(hashed("md5", "alice@example.com"), None);
    }
}
