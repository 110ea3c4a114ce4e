//! JSON numbers, strict and lenient.

use crate::{EventError, MAX_CANONICAL_INTEGER};

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Integer,
    Fraction,
    /// With an exponent, with or without a fraction.
    Exponent,
}

/// The length and form of the JSON number at the start of `text`; `None` when there is none.
pub(super) fn measure(text: &str) -> Option<(usize, Form)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(end);
    if whole == 0 || (whole > 1 && bytes.get(end) == Some(&b'0')) {
        return None;
    }
    end += whole;
    let mut form = Form::Integer;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if fraction == 0 {
            return None;
        }
        end += 1 + fraction;
        form = Form::Fraction;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent == 0 {
            return None;
        }
        end += 1 + sign + exponent;
        form = Form::Exponent;
    }
    Some((end, form))
}

/// Writes an integer of the canonical range, and refuses everything else.
pub(super) fn push_strict(out: &mut Vec<u8>, digits: &str, form: Form, offset: usize) -> Result<(), EventError> {
    if form != Form::Integer || digits == "-0" {
        return Err(EventError::NotAnInteger { offset });
    }
    match digits.parse::<i64>() {
        Ok(value) if value.unsigned_abs() <= MAX_CANONICAL_INTEGER.unsigned_abs() => {
            out.extend_from_slice(digits.as_bytes());
            Ok(())
        }
        _ => Err(EventError::IntegerOutOfRange { offset }),
    }
}

/// Writes any finite number in the form that servers of old rooms hash: integers of any size as they are, integral
/// numbers with an exponent as integers (as in the specification's examples), other numbers in the shortest decimal
/// form that reads back as the same binary64, with an exponent of at least two digits below 1e-4 and from 1e16 on.
pub(super) fn push_lenient(out: &mut Vec<u8>, digits: &str, form: Form, offset: usize) -> Result<(), EventError> {
    if form == Form::Integer {
        out.extend_from_slice(if digits == "-0" { b"0" } else { digits.as_bytes() });
        return Ok(());
    }
    let value: f64 = digits.parse().map_err(|_| EventError::NotAnInteger { offset })?;
    if !value.is_finite() {
        return Err(EventError::IntegerOutOfRange { offset });
    }
    let text = if form == Form::Exponent && value.fract() == 0.0 && value.abs() < 1e16 {
        // Adding zero makes a negative zero positive.
        format!("{:.0}", value + 0.0)
    } else {
        shortest_decimal(value)
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn shortest_decimal(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let scientific = format!("{value:e}");
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, power) = exponent.strip_prefix('-').map_or(('+', exponent), |power| ('-', power));
        format!("{mantissa}e{sign}{power:0>2}")
    } else {
        format!("{value:?}")
    }
}
