//! Shell patterns as fnmatch(3) matches them: `*`, `?`, `[…]`, and the backslash that takes their meaning away.

/// Whether letters have to agree in case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Sensitive,
    Ignored,
}

/// Whether the whole text matches. Never more than length times length steps: only the last `*` is gone back to.
pub(super) fn matches(pattern: &str, text: &str, case: Case) -> bool {
    let fold = |text: &str| -> Vec<char> {
        match case {
            Case::Sensitive => text.chars().collect(),
            Case::Ignored => text.chars().flat_map(char::to_lowercase).collect(),
        }
    };
    let (pattern, text) = (fold(pattern), fold(text));
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, position));
            at += 1;
        } else if let Some(next) = one(&pattern, at, text[position]) {
            at = next;
            position += 1;
        } else if let Some((before, taken)) = star {
            // The star takes one more.
            star = Some((before, taken + 1));
            (at, position) = (before + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|sign| *sign == '*')
}

/// Where the pattern goes on when its element at `at` accepts the character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => match pattern.get(at + 1) {
            Some(escaped) => (*escaped == character).then_some(at + 2),
            None => None,
        },
        '[' => match set(pattern, at, character) {
            Some((accepts, next)) => accepts.then_some(next),
            // One that is not closed is an ordinary character.
            None => (character == '[').then_some(at + 1),
        },
        plain => (plain == character).then_some(at + 1),
    }
}

/// Whether the set that begins at `at` holds the character, and where it ends; `None` when it is not closed.
fn set(pattern: &[char], at: usize, character: char) -> Option<(bool, usize)> {
    let mut position = at + 1;
    let is_negated = matches!(pattern.get(position), Some('!' | '^'));
    position += usize::from(is_negated);
    let first = position;
    let mut holds = false;
    loop {
        let begin = *pattern.get(position)?;
        if begin == ']' && position > first {
            return Some((holds != is_negated, position + 1));
        }
        if begin == '[' && pattern.get(position + 1) == Some(&':') {
            let length = pattern[position..]
                .windows(2)
                .position(|two| two == [':', ']'])?;
            let name: String = pattern[position + 2..position + length].iter().collect();
            holds |= class(&name, character);
            position += length + 2;
            continue;
        }
        let (begin, after) = match begin {
            '\\' => (*pattern.get(position + 1)?, position + 2),
            _ => (begin, position + 1),
        };
        match (pattern.get(after), pattern.get(after + 1)) {
            (Some('-'), Some(end)) if *end != ']' => {
                holds |= (begin..=*end).contains(&character);
                position = after + 2;
            }
            _ => {
                holds |= begin == character;
                position = after;
            }
        }
    }
}

fn class(name: &str, character: char) -> bool {
    match name {
        "alnum" => character.is_ascii_alphanumeric(),
        "alpha" => character.is_ascii_alphabetic(),
        "blank" => matches!(character, ' ' | '\t'),
        "cntrl" => character.is_ascii_control(),
        "digit" => character.is_ascii_digit(),
        "graph" => character.is_ascii_graphic(),
        "lower" => character.is_ascii_lowercase(),
        "print" => character.is_ascii_graphic() || character == ' ',
        "punct" => character.is_ascii_punctuation(),
        "space" => character.is_ascii_whitespace() || character == '\u{b}',
        "upper" => character.is_ascii_uppercase(),
        "xdigit" => character.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_does() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "a-bb-b-c", true),
            ("a*b", "a-b-", false),
            ("?", "é", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[[:digit:]]*", "7x", true),
            ("[[:digit:]]*", "x7", false),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("a\\", "a", false),
            ("A*", "abc", false),
        ] {
            assert_eq!(
                matches(pattern, text, Case::Sensitive),
                expected,
                "{pattern:?} {text:?}"
            );
        }
        assert!(matches("NODE-*", "node-1", Case::Ignored));
        // Many stars cost no more than the product of the lengths.
        let hostile = "a*".repeat(2000);
        assert!(!matches(&hostile, &"a".repeat(1999), Case::Sensitive));
    }
}
