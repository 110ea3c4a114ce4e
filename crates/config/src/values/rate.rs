use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// A slower rate is a mistake for “never”, and a faster one is none.
const SLOWEST: f64 = 0.0001;
const FASTEST: f64 = 1_000_000.0;

/// How often a second, also less than once.
pub(crate) fn rate_per_second<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_f64(RatePerSecond)
}

struct RatePerSecond;

impl Visitor<'_> for RatePerSecond {
    type Value = f64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a number from {SLOWEST} to {FASTEST}")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        let is_within = (SLOWEST..=FASTEST).contains(&number);
        if is_within { Ok(number) } else { Err(E::invalid_value(Unexpected::Float(number), &self)) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        let whole = i32::try_from(number).map(f64::from);
        let whole = whole.ok().filter(|number| (SLOWEST..=FASTEST).contains(number));
        whole.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }
}
