//! The condition on the number of members.

use std::{cmp::Ordering, fmt};

/// The `is` of [`room_member_count`](https://spec.matrix.org/v1.19/client-server-api/#conditions-1): an operator and a number
/// of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberCountIs {
    /// How the number of members compares.
    pub comparison: Comparison,
    /// With what it is compared.
    pub count: u64,
}

/// An operator of [`MemberCountIs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`, or nothing.
    Equal,
    /// `<`.
    Less,
    /// `>`.
    Greater,
    /// `<=`.
    AtMost,
    /// `>=`.
    AtLeast,
}

impl MemberCountIs {
    /// Reads a decimal integer with or without an operator in front.
    pub fn parse(text: &str) -> Option<Self> {
        let operators = [
            ("==", Comparison::Equal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let operator = operators.into_iter().find_map(|(operator, comparison)| {
            let digits = text.strip_prefix(operator)?;
            Some((comparison, digits))
        });
        let (comparison, digits) = operator.unwrap_or((Comparison::Equal, text));
        let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse().ok().filter(|_| is_decimal)?;
        Some(Self { comparison, count })
    }

    /// Whether the condition holds for that many members.
    pub fn holds(self, members: u64) -> bool {
        let order = members.cmp(&self.count);
        match self.comparison {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::AtMost => order != Ordering::Greater,
            Comparison::AtLeast => order != Ordering::Less,
        }
    }
}

impl fmt::Display for MemberCountIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.comparison {
            Comparison::Equal => "",
            Comparison::Less => "<",
            Comparison::Greater => ">",
            Comparison::AtMost => "<=",
            Comparison::AtLeast => ">=",
        };
        write!(f, "{operator}{}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(is: &str) -> Vec<u64> {
        let is = MemberCountIs::parse(is).unwrap();
        (0..5).filter(|members| is.holds(*members)).collect()
    }

    #[test]
    fn each_operator_compares_and_none_means_equal() {
        assert_eq!(holding("2"), [2]);
        assert_eq!(holding("==2"), [2]);
        assert_eq!(holding("<2"), [0, 1]);
        assert_eq!(holding(">2"), [3, 4]);
        assert_eq!(holding("<=2"), [0, 1, 2]);
        assert_eq!(holding(">=2"), [2, 3, 4]);
    }

    #[test]
    fn what_is_no_decimal_integer_is_no_condition() {
        for text in ["", "==", "<", "two", "+2", "-1", "2.0", " 2", "=2", "!=2", "0x2", "99999999999999999999"] {
            assert_eq!(MemberCountIs::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_condition_is_written_as_it_is_read() {
        for text in ["2", "<2", ">2", "<=2", ">=2"] {
            assert_eq!(MemberCountIs::parse(text).unwrap().to_string(), text);
        }
    }
}
