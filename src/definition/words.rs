//! Word lists: the two ways in which a value of systemd's dialect splits into words.
//!
//! Pure. Patterns have C escapes and no quotes, all other lists have quotes and no escapes (compat 1 section 1).

use super::value::Errno;

/// Splits at white space; `'…'` and `"…"` group and are removed, backslashes are ordinary.
///
/// # Errors
/// When a quote is not closed.
pub(super) fn quoted(text: &str) -> Result<Vec<String>, Errno> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in text.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, blank) if is_blank(blank) => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if quote.is_some() {
        Err(Errno::Invalid)
    } else {
        Ok(words)
    }
}

/// The next pattern word, its escapes decoded (`None`: to what is no UTF-8), and the unparsed rest.
pub(super) struct Word<'a> {
    /// As written.
    pub(super) raw: &'a str,
    /// With its escapes decoded; `None` when that is no UTF-8.
    pub(super) decoded: Option<String>,
    /// What follows; `None` at the end of the value.
    pub(super) rest: Option<&'a str>,
}

/// Splits at white space; C escapes are decoded, unknown ones keep their backslash, quotes are ordinary.
pub(super) fn patterns(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut remaining = text.trim_matches(is_blank);
    std::iter::from_fn(move || {
        if remaining.is_empty() {
            return None;
        }
        let (raw, decoded, after) = next_pattern(remaining);
        remaining = after.trim_start_matches(is_blank);
        Some(Word {
            raw,
            decoded: String::from_utf8(decoded).ok(),
            rest: (!remaining.is_empty()).then_some(remaining),
        })
    })
}

fn next_pattern(text: &str) -> (&str, Vec<u8>, &str) {
    let mut decoded = Vec::new();
    let mut position = 0;
    while let Some(character) = text[position..].chars().next() {
        if is_blank(character) {
            break;
        }
        if character == '\\' {
            let escape = &text[position + 1..];
            if let Some(length) = unescape(escape, &mut decoded) {
                position += 1 + length;
            } else {
                // An unknown escape keeps its backslash and binds what follows, a blank too.
                let bound = escape.chars().next();
                decoded.push(b'\\');
                position += 1;
                if let Some(bound) = bound {
                    push(&mut decoded, bound);
                    position += bound.len_utf8();
                }
            }
        } else {
            push(&mut decoded, character);
            position += character.len_utf8();
        }
    }
    (&text[..position], decoded, &text[position..])
}

/// Decodes one escape behind its backslash; answers how many bytes it has. NUL cannot be escaped.
fn unescape(escape: &str, decoded: &mut Vec<u8>) -> Option<usize> {
    let bytes = escape.as_bytes();
    let simple = match bytes.first()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b's' => b' ',
        quoted @ (b'\\' | b'"' | b'\'') => *quoted,
        b'x' => {
            decoded.push(u8::try_from(digits(bytes.get(1..3)?, 16)?).ok()?);
            return Some(3);
        }
        b'u' => {
            push(decoded, char::from_u32(digits(bytes.get(1..5)?, 16)?)?);
            return Some(5);
        }
        b'U' => {
            push(decoded, char::from_u32(digits(bytes.get(1..9)?, 16)?)?);
            return Some(9);
        }
        b'0'..=b'7' => {
            decoded.push(u8::try_from(digits(bytes.get(..3)?, 8)?).ok()?);
            return Some(3);
        }
        _ => return None,
    };
    decoded.push(simple);
    Some(1)
}

/// The number, unless it is 0.
fn digits(bytes: &[u8], radix: u32) -> Option<u32> {
    let mut number: u32 = 0;
    for &byte in bytes {
        number = number
            .checked_mul(radix)?
            .checked_add(char::from(byte).to_digit(radix)?)?;
    }
    (number != 0).then_some(number)
}

fn push(decoded: &mut Vec<u8>, character: char) {
    decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_words_and_vanish() {
        for (text, words) in [
            ("", vec![]),
            (" a  b\tc ", vec!["a", "b", "c"]),
            ("'a b' \"c d\"e", vec!["a b", "c de"]),
            ("a\\b \"it's\" ''", vec!["a\\b", "it's", ""]),
        ] {
            assert_eq!(
                quoted(text),
                Ok(words.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
        assert_eq!(quoted("a 'b"), Err(Errno::Invalid));
        assert_eq!(quoted("a\""), Err(Errno::Invalid));
    }

    #[test]
    fn patterns_decode_escapes_and_keep_quotes() {
        for (text, words) in [
            ("a-@v b-@v", vec![Some("a-@v"), Some("b-@v")]),
            ("\"b c_@v\"", vec![Some("\"b"), Some("c_@v\"")]),
            ("a\\x20b\\sc", vec![Some("a b c")]),
            ("\\101\\u00e9\\U0001F600\\t", vec![Some("Aé😀\t")]),
            ("a\\qb c", vec![Some("a\\qb"), Some("c")]),
            ("a\\ b", vec![Some("a\\ b")]),
            ("a\\", vec![Some("a\\")]),
            (
                "\\\\ \\x00 \\x4 \\u12",
                vec![Some("\\"), Some("\\x00"), Some("\\x4"), Some("\\u12")],
            ),
            (
                "\\xff \\xc3\\xa9 \\777",
                vec![None, Some("é"), Some("\\777")],
            ),
            ("\\é", vec![Some("\\é")]),
        ] {
            let found: Vec<_> = patterns(text).map(|word| word.decoded).collect();
            assert_eq!(
                found,
                words
                    .into_iter()
                    .map(|word| word.map(str::to_owned))
                    .collect::<Vec<_>>(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_rest_behind_a_pattern_is_known() {
        let rests: Vec<_> = patterns("a  b c ")
            .map(|word| (word.raw, word.rest))
            .collect();
        assert_eq!(rests, [("a", Some("b c")), ("b", Some("c")), ("c", None)]);
    }
}
