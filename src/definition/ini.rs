//! The grammar of systemd's definition files: bytes to sections and assignments with line numbers (compat 1 section 1).
//!
//! Pure: it neither knows which sections and keys exist nor reports anything; it hands out what it finds in order, so
//! that messages about grammar and values come in the order of the file.

use super::value::Errno;

/// One line that means something, and the number by which messages call it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The last physical line of it, from 1.
    pub(super) number: usize,
    /// What it says.
    pub(super) item: Item,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `[NAME]`.
    Section(String),
    /// `KEY=VALUE`, both trimmed.
    Assignment {
        /// Never empty.
        key: String,
        /// May be empty.
        value: String,
    },
    /// There is no `=` in it.
    MissingEquals,
    /// There is nothing before the `=`.
    MissingKey,
}

/// Why the file as a whole is refused; nothing follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The line that messages name.
    pub(super) number: usize,
    /// The message.
    pub(super) message: String,
    /// The errno of the second message `Failed to parse file`, where there is one.
    pub(super) errno: Option<Errno>,
}

/// Reads a file line by line.
pub(super) struct Parser<'a> {
    rest: &'a [u8],
    completed: usize,
    /// What a continued line has gathered.
    pending: Option<Vec<u8>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
            completed: 0,
            pending: None,
        }
    }

    /// The next physical line without its end.
    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self
            .rest
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r' | 0))
            .unwrap_or(self.rest.len());
        let (line, after) = self.rest.split_at(end);
        self.rest = after
            .strip_prefix(b"\r\n")
            .unwrap_or_else(|| after.get(1..).unwrap_or_default());
        Some(line)
    }

    fn broken(
        &mut self,
        number: usize,
        message: String,
        errno: Option<Errno>,
    ) -> Result<Line, Broken> {
        self.rest = &[];
        self.pending = None;
        Err(Broken {
            number,
            message,
            errno,
        })
    }

    fn finish(&mut self, number: usize, line: &[u8]) -> Option<Result<Line, Broken>> {
        match interpret(line) {
            Ok(None) => None,
            Ok(Some(item)) => Some(Ok(Line { number, item })),
            Err((message, errno)) => Some(self.broken(number, message, Some(errno))),
        }
    }
}

impl Iterator for Parser<'_> {
    type Item = Result<Line, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(line) = self.physical() else {
                // A continuation still open at the end counts as the line after the last one.
                let pending = self.pending.take()?;
                return self.finish(self.completed + 1, &pending);
            };
            if line.len() > LINE_LIMIT {
                return Some(self.broken(self.completed, "Line too long".to_owned(), None));
            }
            self.completed += 1;
            if matches!(trim(line).first(), Some(b'#' | b';')) {
                continue;
            }
            let continued = ends_in_continuation(line);
            if continued || self.pending.is_some() {
                let mut joined = self.pending.take().unwrap_or_default();
                joined.extend_from_slice(line);
                if joined.len() > LINE_LIMIT {
                    return Some(self.broken(
                        self.completed,
                        "Continuation line too long".to_owned(),
                        None,
                    ));
                }
                if continued {
                    joined.pop();
                    joined.push(b' ');
                    self.pending = Some(joined);
                } else if let Some(found) = self.finish(self.completed, &joined) {
                    return Some(found);
                }
            } else if let Some(found) = self.finish(self.completed, line) {
                return Some(found);
            }
        }
    }
}

fn interpret(line: &[u8]) -> Result<Option<Item>, (String, Errno)> {
    let line = trim(line);
    let Ok(text) = std::str::from_utf8(line) else {
        let shown = String::from_utf8_lossy(line);
        return Err((
            format!("String is not UTF-8 clean, ignoring assignment: {shown}"),
            Errno::Invalid,
        ));
    };
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(header) = text.strip_prefix('[') {
        let Some(name) = header.strip_suffix(']') else {
            return Err((
                format!("Invalid section header '{text}'"),
                Errno::BadMessage,
            ));
        };
        // compat: the same fault in other words.
        if name.is_empty()
            || name.contains(['"', '\'', '\\'])
            || name.chars().any(|character| character.is_ascii_control())
        {
            return Err((
                format!("Section header invalid '{text}'"),
                Errno::BadMessage,
            ));
        }
        return Ok(Some(Item::Section(name.to_owned())));
    }
    let item = match text.split_once('=') {
        None => Item::MissingEquals,
        Some((key, value)) => match key.trim_matches(BLANKS) {
            "" => Item::MissingKey,
            key => Item::Assignment {
                key: key.to_owned(),
                value: value.trim_matches(BLANKS).to_owned(),
            },
        },
    };
    Ok(Some(item))
}

/// Whether the line ends in an odd number of backslashes.
fn ends_in_continuation(line: &[u8]) -> bool {
    line.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

fn trim(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    &line[start..end]
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Longest physical or joined line, in bytes.
const LINE_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Result<(usize, Item), (usize, String)>> {
        Parser::new(bytes)
            .map(|line| {
                line.map(|line| (line.number, line.item))
                    .map_err(|broken| (broken.number, broken.message))
            })
            .collect()
    }

    fn set(key: &str, value: &str) -> Item {
        Item::Assignment {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn lines_are_sections_and_trimmed_assignments() {
        let text =
            b"\xef\xbb\xbf[Target]\n\n# c\n ; c\n \t Mode = 0600 # c \nA=b=c\nE=\nnothing\n =x\n";
        assert_eq!(
            all(text),
            [
                Ok((1, Item::Section("Target".to_owned()))),
                Ok((5, set("Mode", "0600 # c"))),
                Ok((6, set("A", "b=c"))),
                Ok((7, set("E", ""))),
                Ok((8, Item::MissingEquals)),
                Ok((9, Item::MissingKey)),
            ]
        );
    }

    #[test]
    fn every_line_end_counts_one_line() {
        assert_eq!(
            all(b"A=1\rB=2\r\nC=3\0D=4\n\nE=5"),
            [
                Ok((1, set("A", "1"))),
                Ok((2, set("B", "2"))),
                Ok((3, set("C", "3"))),
                Ok((4, set("D", "4"))),
                Ok((6, set("E", "5")))
            ]
        );
    }

    #[test]
    fn continuations_join_with_one_space() {
        for (text, found) in [
            (&b"P=1\\\n2"[..], vec![Ok((2, set("P", "1 2")))]),
            (
                b"P=1\\\n# c \\\n;d\n  2\nQ=3",
                vec![Ok((4, set("P", "1   2"))), Ok((5, set("Q", "3")))],
            ),
            (
                b"P=2\\\\\nQ=3",
                vec![Ok((1, set("P", "2\\\\"))), Ok((2, set("Q", "3")))],
            ),
            (b"P=2\\\\\\\n3", vec![Ok((2, set("P", "2\\\\ 3")))]),
            (b"P=1\\\n2\\\n", vec![Ok((3, set("P", "1 2")))]),
            (
                b"P=1\\\n\nQ=2",
                vec![Ok((2, set("P", "1"))), Ok((3, set("Q", "2")))],
            ),
            (b"# c \\\nQ=2", vec![Ok((2, set("Q", "2")))]),
            (b"\\\n\\\n", vec![]),
        ] {
            assert_eq!(all(text), found, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn bad_headers_and_bad_text_end_the_file() {
        for (text, number, message) in [
            (
                &b"A=1\n[Target\nB=2"[..],
                2,
                "Invalid section header '[Target'",
            ),
            (b"[\n", 1, "Invalid section header '['"),
            (b"[]", 1, "Section header invalid '[]'"),
            (b"[a\"b]", 1, "Section header invalid '[a\"b]'"),
            (b"[a\x01b]", 1, "Section header invalid '[a\u{1}b]'"),
            (
                b"# \xff\nA=\xffx\nB=1",
                2,
                "String is not UTF-8 clean, ignoring assignment: A=\u{fffd}x",
            ),
        ] {
            assert_eq!(
                all(text).pop(),
                Some(Err((number, message.to_owned()))),
                "{message}"
            );
        }
    }

    #[test]
    fn lines_have_a_limit_of_one_mebibyte() {
        let mut text = b"A=1\n".to_vec();
        text.extend(vec![b'x'; LINE_LIMIT + 1]);
        assert_eq!(all(&text).pop(), Some(Err((1, "Line too long".to_owned()))));
        let mut text = b"A=".to_vec();
        text.extend(vec![b'x'; LINE_LIMIT - 2]);
        assert!(matches!(all(&text).as_slice(), [Ok(_)]));
        let joined = format!("A={}\\\n", "x".repeat(1 << 18)).repeat(5);
        assert_eq!(
            all(joined.as_bytes()).pop(),
            Some(Err((4, "Continuation line too long".to_owned())))
        );
    }
}
