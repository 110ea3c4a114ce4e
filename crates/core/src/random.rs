//! Random strings from the operating system's generator.

use rand::Rng;
use rand::distr::Alphanumeric;

/// `length` random ASCII letters and digits: about 5.95 bits of entropy for each.
#[must_use]
pub fn random_string(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// A secret that begins with `prefix` and carries 256 bits of entropy.
#[must_use]
pub fn random_token(prefix: &str) -> String {
    let mut token = String::with_capacity(prefix.len() + 44);
    token.push_str(prefix);
    token.push_str(&random_string(43));
    token
}

/// `length` random decimal digits.
#[must_use]
pub fn random_digits(length: usize) -> String {
    let mut generator = rand::rng();
    (0..length).map(|_| char::from(b'0' + generator.random_range(0..10u8))).collect()
}
