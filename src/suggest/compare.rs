//! The operators of conditions: `=`, `!=` (texts), `==`, `<>`, `<`, `<=`, `>`, `>=` (versions), `$=`, `!$=` (shell patterns).

use std::cmp::Ordering;

use super::glob::{self, Case};
use crate::version;

/// What relates two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Same,
    Different,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    Mismatches,
}

/// Longest first.
const OPERATORS: [(&str, Operator); 10] = [
    ("!$=", Operator::Mismatches),
    ("$=", Operator::Matches),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("!=", Operator::Different),
    ("==", Operator::Equal),
    ("<>", Operator::Unequal),
    ("=", Operator::Same),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Operator {
    /// The operator at the start of a text, and what follows it.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)))
    }

    /// Whether it holds between the two.
    pub(super) fn holds(self, left: &str, right: &str) -> bool {
        let ordering = || version::compare(left, right);
        match self {
            Self::Same => left == right,
            Self::Different => left != right,
            Self::Equal => ordering() == Ordering::Equal,
            Self::Unequal => ordering() != Ordering::Equal,
            Self::Less => ordering() == Ordering::Less,
            Self::LessOrEqual => ordering() != Ordering::Greater,
            Self::Greater => ordering() == Ordering::Greater,
            Self::GreaterOrEqual => ordering() != Ordering::Less,
            Self::Matches => glob::matches(right, left, Case::Sensitive),
            Self::Mismatches => !glob::matches(right, left, Case::Sensitive),
        }
    }
}
