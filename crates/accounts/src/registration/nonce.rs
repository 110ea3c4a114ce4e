//! Nonces that prove when they were given out, so that nothing is stored of those that nobody uses.

use std::time::Duration;

use hmac::{Hmac, Mac};
use homeserver_core::{Timestamp, random_string};
use sha2::Sha256;

/// How long a nonce can be used.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Hexadecimal digits of the time.
const TIME_CHARS: usize = 16;
/// Letters and digits by which nonces differ: about 190 bits.
const RANDOM_CHARS: usize = 32;
/// Keeps these hashes apart from others with the same secret.
const PURPOSE: &[u8] = b"nonce of shared secret registration\0";

/// A nonce of this moment.
pub(super) fn give_out(secret: &str, now: Timestamp) -> String {
    let body = format!("{:016x}{}", now.0, random_string(RANDOM_CHARS));
    let proof = proof(secret, &body).map(|proof| proof.finalize().into_bytes());
    let digits = proof.iter().flatten().map(|byte| format!("{byte:02x}"));
    digits.fold(body, |nonce, digits| nonce + &digits)
}

/// Whether a nonce was given out with this secret, no longer ago than it can be used.
pub(super) fn is_valid(secret: &str, nonce: &str, now: Timestamp) -> bool {
    let Some((body, digits)) = nonce.split_at_checked(TIME_CHARS + RANDOM_CHARS) else { return false };
    let Some(given) = super::shared_secret::from_hex(digits) else { return false };
    let is_ours = proof(secret, body).is_some_and(|proof| proof.verify_slice(&given).is_ok());
    let given_out = body.get(..TIME_CHARS).and_then(|time| i64::from_str_radix(time, 16).ok());
    // Another node's clock may be ahead.
    let is_near = |at: Timestamp| now.since(at) <= MAX_AGE && at.since(now) <= MAX_AGE;
    is_ours && given_out.map(Timestamp).is_some_and(is_near)
}

fn proof(secret: &str, body: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(PURPOSE);
    mac.update(body.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_valid_for_a_minute_and_with_its_secret() {
        let now = Timestamp(1_700_000_000_000);
        let nonce = give_out("secret", now);
        assert_ne!(nonce, give_out("secret", now));
        assert!(nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(is_valid("secret", &nonce, now) && is_valid("secret", &nonce, now.plus(MAX_AGE)));
        assert!(!is_valid("secret", &nonce, now.plus(MAX_AGE + Duration::from_millis(1))));
        assert!(!is_valid("other", &nonce, now));
        let later = format!("{:016x}{}", now.0 + 1000, &nonce[TIME_CHARS..]);
        for forged in ["", "x", &nonce[1..], &later, &format!("{nonce}00"), &"é".repeat(60)] {
            assert!(!is_valid("secret", forged, now), "{forged}");
        }
    }
}
