//! The grammar of one pattern: text into elements, or the reason why not (compat 2 B1).

use std::fmt;
use std::str::FromStr;

use super::wildcard::Wildcard;

/// One validated match pattern, the `**/` prefix included where it has one.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    recursive: bool,
    elements: Vec<Element>,
}

impl Pattern {
    /// Parses a pattern of a target, where the `**/` prefix is not allowed.
    ///
    /// # Errors
    ///
    /// [`PatternError::RecursiveTarget`] for a text that begins with `**/`, else as [`FromStr`].
    pub fn parse_target(text: &str) -> Result<Self, PatternError> {
        if text.starts_with(RECURSIVE_PREFIX) {
            return Err(PatternError::RecursiveTarget {
                pattern: text.to_owned(),
            });
        }
        text.parse()
    }

    /// The source text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it carries the `**/` prefix.
    pub fn is_recursive(&self) -> bool {
        self.recursive
    }

    /// Whether a name of this pattern has a boot counter (`@l`; UAPI.1, Boot Counting).
    pub fn is_counted(&self) -> bool {
        self.elements
            .contains(&Element::Wildcard(Wildcard::TriesLeft))
    }

    /// The same pattern without its `**/` prefix.
    #[must_use]
    pub fn without_prefix(&self) -> Self {
        let text = self
            .text
            .strip_prefix(RECURSIVE_PREFIX)
            .unwrap_or(&self.text);
        Self {
            text: text.to_owned(),
            recursive: false,
            elements: self.elements.clone(),
        }
    }

    /// What the pattern consists of, the prefix apart; two wildcards never stand side by side, nor do two literals.
    pub(super) fn elements(&self) -> &[Element] {
        &self.elements
    }
}

/// The text alone decides: the elements follow from it.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Parses a pattern after the expansion of specifiers (compat 2 B1.3 to B1.8).
impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let remainder = text.strip_prefix(RECURSIVE_PREFIX);
        if let Some(fault) = remainder.and_then(FileNameFault::of) {
            return Err(PatternError::RecursiveRemainder {
                pattern: text.to_owned(),
                fault,
            });
        }
        let start = text.len() - remainder.unwrap_or(text).len();
        let mut scanner = Scanner::default();
        scanner
            .scan(text, start)
            .map_err(|fault| fault.of_pattern(text))?;
        Ok(Self {
            text: text.to_owned(),
            recursive: remainder.is_some(),
            elements: scanner.elements,
        })
    }
}

/// Displays the source text.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// A whole run of bytes that stand for themselves; has no `/`.
    Literal(Box<str>),
    /// A field of the metadata.
    Wildcard(Wildcard),
    /// The separator of directories.
    Slash,
}

/// Gathers the elements from left to right; the first fault ends it.
#[derive(Default)]
struct Scanner {
    elements: Vec<Element>,
    literal: String,
}

impl Scanner {
    fn scan(&mut self, text: &str, start: usize) -> Result<(), Fault> {
        let mut characters = text[start..].char_indices();
        while let Some((offset, character)) = characters.next() {
            let position = start + offset;
            match character {
                '@' => match characters.next() {
                    None => return Err(GrammarFault::TrailingAt.into()),
                    Some((_, '@')) => self.literal.push('@'),
                    Some((_, letter)) => self.wildcard(letter, position)?,
                },
                '/' => {
                    self.end_literal();
                    self.elements.push(Element::Slash);
                }
                refused if is_forbidden(refused) => {
                    return Err(Fault::Character(ForbiddenCharacter {
                        character: refused,
                        position,
                    }));
                }
                other => self.literal.push(other),
            }
        }
        self.end_literal();
        if self.has(Wildcard::Version) {
            Ok(())
        } else {
            Err(GrammarFault::NoVersion.into())
        }
    }

    fn wildcard(&mut self, letter: char, position: usize) -> Result<(), GrammarFault> {
        let Some(wildcard) = Wildcard::from_letter(letter) else {
            return Err(GrammarFault::UnknownWildcard { letter, position });
        };
        if self.has(wildcard) {
            return Err(GrammarFault::RepeatedWildcard { wildcard, position });
        }
        self.end_literal();
        if let Some(&Element::Wildcard(first)) = self.elements.last() {
            return Err(GrammarFault::AdjacentWildcards {
                first,
                second: wildcard,
                position,
            });
        }
        self.elements.push(Element::Wildcard(wildcard));
        Ok(())
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let run = std::mem::take(&mut self.literal);
            self.elements.push(Element::Literal(run.into()));
        }
    }

    /// Walks all elements, of which a hostile text may have many; that happens at most once for each wildcard and once at the end.
    fn has(&self, wildcard: Wildcard) -> bool {
        self.elements.contains(&Element::Wildcard(wildcard))
    }
}

/// Control characters, and what the shell or the specifiers would read otherwise (compat 2 B1.7).
fn is_forbidden(character: char) -> bool {
    character.is_ascii_control()
        || matches!(character, '$' | '*' | '?' | '[' | ']' | '!' | '\\' | '|')
}

/// Makes only the last component of a name count.
pub(super) const RECURSIVE_PREFIX: &str = "**/";

/// The longest name of a directory's entry in bytes.
pub(super) const MAX_COMPONENT: usize = 255;

/// What the scanner found; becomes a [`PatternError`] once the text is added.
enum Fault {
    Grammar(GrammarFault),
    Character(ForbiddenCharacter),
}

impl Fault {
    fn of_pattern(self, text: &str) -> PatternError {
        let pattern = text.to_owned();
        match self {
            Self::Grammar(fault) => PatternError::Grammar { pattern, fault },
            Self::Character(fault) => PatternError::ForbiddenCharacter { pattern, fault },
        }
    }
}

impl From<GrammarFault> for Fault {
    fn from(fault: GrammarFault) -> Self {
        Self::Grammar(fault)
    }
}

/// Why a text is no pattern.
///
/// Displays the original's message without `FILE:LINE: `; the next line of the original ends in [`PatternError::errno_text`]. What is
/// wrong in detail is the error's source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The wildcards are wrong.
    #[error("MatchPattern= string is not valid, refusing: {pattern}")]
    Grammar {
        /// The text that is no pattern.
        pattern: String,
        /// What is wrong.
        #[source]
        fault: GrammarFault,
    },
    /// A character that may not stand in a pattern.
    #[error("MatchPattern= string is not valid, refusing: {pattern}")]
    ForbiddenCharacter {
        /// The text that is no pattern.
        pattern: String,
        /// Which one, and where.
        #[source]
        fault: ForbiddenCharacter,
    },
    /// What follows `**/` is no file name.
    #[error("The pattern after a '**/' prefix must be a valid filename, refusing: {pattern}")]
    RecursiveRemainder {
        /// The text that is no pattern, the prefix included.
        pattern: String,
        /// What is wrong.
        #[source]
        fault: FileNameFault,
    },
    /// The `**/` prefix stands in a pattern of a target.
    #[error("'**/' prefix is only supported in a source MatchPattern=, refusing: {pattern}")]
    RecursiveTarget {
        /// The text, the prefix included.
        pattern: String,
    },
}

impl PatternError {
    /// The error text that the original appends to `FILE:LINE: Failed to parse file: `.
    pub fn errno_text(&self) -> &'static str {
        match self {
            Self::ForbiddenCharacter { .. } => "Invalid request code",
            Self::Grammar { .. }
            | Self::RecursiveRemainder { .. }
            | Self::RecursiveTarget { .. } => "Invalid argument",
        }
    }

    /// The text that was refused.
    pub fn pattern(&self) -> &str {
        match self {
            Self::Grammar { pattern, .. }
            | Self::ForbiddenCharacter { pattern, .. }
            | Self::RecursiveRemainder { pattern, .. }
            | Self::RecursiveTarget { pattern } => pattern,
        }
    }
}

/// What is wrong with the wildcards of a pattern; positions are byte offsets from the start of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrammarFault {
    /// `@` is followed by a letter that means nothing.
    #[error("there is no wildcard '@{}' (at offset {position}); a literal '@' is written '@@'", .letter.escape_default())]
    UnknownWildcard {
        /// The character after the `@`.
        letter: char,
        /// Where the `@` stands.
        position: usize,
    },
    /// Nothing follows an `@`.
    #[error("it ends in a single '@'; a literal '@' is written '@@'")]
    TrailingAt,
    /// A wildcard stands twice.
    #[error("wildcard '{wildcard}' stands twice (again at offset {position})")]
    RepeatedWildcard {
        /// The one that stands twice.
        wildcard: Wildcard,
        /// Where it stands for the second time.
        position: usize,
    },
    /// Nothing says where one wildcard's text ends and the next one's begins.
    #[error("nothing separates the wildcards '{first}' and '{second}' (at offset {position})")]
    AdjacentWildcards {
        /// The left one.
        first: Wildcard,
        /// The right one.
        second: Wildcard,
        /// Where the right one stands.
        position: usize,
    },
    /// There is no `@v`.
    #[error("the wildcard '@v' for the version is missing")]
    NoVersion,
}

/// A character that may not stand in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("character '{}' (at offset {position}) is not allowed in a pattern", .character.escape_default())]
pub struct ForbiddenCharacter {
    /// The character; always ASCII.
    pub character: char,
    /// Its byte offset from the start of the pattern.
    pub position: usize,
}

/// Why a text is no name of a directory's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileNameFault {
    /// There is no text.
    #[error("the name is empty")]
    Empty,
    /// It holds a `/`.
    #[error("the name has a '/'")]
    Slash,
    /// It is `.` or `..`.
    #[error("the name is '.' or '..'")]
    Dots,
    /// It is longer than 255 bytes.
    #[error("the name has {length} bytes, more than {MAX_COMPONENT}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl FileNameFault {
    fn of(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::Empty),
            "." | ".." => Some(Self::Dots),
            _ if name.contains('/') => Some(Self::Slash),
            _ if name.len() > MAX_COMPONENT => Some(Self::TooLong { length: name.len() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse()
            .unwrap_or_else(|error| panic!("'{text}' is a pattern: {error}"))
    }

    #[test]
    fn valid_patterns_keep_their_text() {
        for text in [
            "@v",
            "linux-@v.erofs",
            "a@@@v",
            "@v/@u",
            "a-@v/@d",
            "/a-@v",
            "a-@v/",
            "a//b-@v",
            "../a-@v",
            "./a-@v",
            "a b-@v",
            "\"a-@v\"",
            "é-@v",
            "'@v'#%{}()<>&;`^~,:=+",
            "@v-@u-@f-@a-@g-@r-@t-@m-@s-@d-@l-@h",
            "**/b-@v.raw",
            "**/é-@v",
        ] {
            assert_eq!(pattern(text).to_string(), text);
            assert_eq!(
                pattern(text).is_recursive(),
                text.starts_with("**/"),
                "{text}"
            );
        }
    }

    #[test]
    fn faults_of_the_wildcards_are_told_apart() {
        use GrammarFault::{
            AdjacentWildcards, NoVersion, RepeatedWildcard, TrailingAt, UnknownWildcard,
        };
        let repeated = |wildcard, position| RepeatedWildcard { wildcard, position };
        let unknown = |letter, position| UnknownWildcard { letter, position };
        let cases = [
            ("", NoVersion),
            ("app.raw", NoVersion),
            ("a-@@v", NoVersion),
            ("a-@d", NoVersion),
            ("app_@v_@q.raw", unknown('q', 7)),
            ("@V", unknown('V', 0)),
            ("@é@v", unknown('é', 0)),
            ("@*@v", unknown('*', 0)),
            ("@/@v", unknown('/', 0)),
            ("@v@", TrailingAt),
            ("@v@@@", TrailingAt),
            ("@v-@v", repeated(Wildcard::Version, 3)),
            ("@v/@v", repeated(Wildcard::Version, 3)),
            ("@v@v", repeated(Wildcard::Version, 2)),
            ("@d-@v-@d", repeated(Wildcard::TriesDone, 6)),
            ("**/@v-@v", repeated(Wildcard::Version, 6)),
            (
                "@v@u",
                AdjacentWildcards {
                    first: Wildcard::Version,
                    second: Wildcard::PartitionUuid,
                    position: 2,
                },
            ),
        ];
        for (text, fault) in cases {
            let error = text.parse::<Pattern>().expect_err(text);
            let pattern = text.to_owned();
            assert_eq!(error, PatternError::Grammar { pattern, fault });
            assert_eq!(error.errno_text(), "Invalid argument");
            assert_eq!(
                error.to_string(),
                format!("MatchPattern= string is not valid, refusing: {text}")
            );
        }
    }

    #[test]
    fn every_forbidden_character_is_refused_with_its_place() {
        let controls = (0..0x20).chain([0x7f]).map(char::from);
        for character in controls.chain("$*?[]!\\|".chars()) {
            let text = format!("é{character}-@v");
            let error = text.parse::<Pattern>().expect_err("a forbidden character");
            let fault = ForbiddenCharacter {
                character,
                position: 2,
            };
            let pattern = text.clone();
            assert_eq!(error, PatternError::ForbiddenCharacter { pattern, fault });
            assert_eq!(error.errno_text(), "Invalid request code");
            assert_eq!(
                error.to_string(),
                format!("MatchPattern= string is not valid, refusing: {text}")
            );
        }
        for text in ["a**/b-@v", "***/@v", "a/**/@v", "**/a*@v", "*@v@v"] {
            let error = text.parse::<Pattern>().expect_err(text);
            assert!(
                matches!(error, PatternError::ForbiddenCharacter { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_follows_the_prefix_must_be_a_file_name() {
        let long = format!("**/{}@v", "a".repeat(254));
        let cases = [
            ("**/", FileNameFault::Empty),
            ("**/.", FileNameFault::Dots),
            ("**/..", FileNameFault::Dots),
            ("**/a/b-@v", FileNameFault::Slash),
            ("**/**/@v", FileNameFault::Slash),
            ("**/@v/", FileNameFault::Slash),
            (&long, FileNameFault::TooLong { length: 256 }),
        ];
        for (text, fault) in cases {
            let error = text.parse::<Pattern>().expect_err(text);
            let pattern = text.to_owned();
            assert_eq!(error, PatternError::RecursiveRemainder { pattern, fault });
            assert_eq!(error.errno_text(), "Invalid argument");
            let message = format!(
                "The pattern after a '**/' prefix must be a valid filename, refusing: {text}"
            );
            assert_eq!(error.to_string(), message);
        }
        assert!(
            format!("**/{}@v", "a".repeat(253))
                .parse::<Pattern>()
                .is_ok()
        );
    }

    #[test]
    fn a_target_refuses_the_prefix_before_all_else() {
        for text in ["**/a-@v", "**/", "**/a/b", "**/*"] {
            let error = Pattern::parse_target(text).expect_err(text);
            assert_eq!(
                error,
                PatternError::RecursiveTarget {
                    pattern: text.to_owned()
                }
            );
            assert_eq!(error.errno_text(), "Invalid argument");
            let message = format!(
                "'**/' prefix is only supported in a source MatchPattern=, refusing: {text}"
            );
            assert_eq!(error.to_string(), message);
        }
        assert_eq!(Pattern::parse_target("a-@v"), Ok(pattern("a-@v")));
        assert!(matches!(
            Pattern::parse_target("a"),
            Err(PatternError::Grammar { .. })
        ));
    }

    #[test]
    fn the_cause_says_what_is_wrong() {
        let cases = [
            (
                "@v_@q",
                "there is no wildcard '@q' (at offset 3); a literal '@' is written '@@'",
            ),
            ("@v@v", "wildcard '@v' stands twice (again at offset 2)"),
            (
                "@v@u",
                "nothing separates the wildcards '@v' and '@u' (at offset 2)",
            ),
            (
                "a*@v",
                "character '*' (at offset 1) is not allowed in a pattern",
            ),
            (
                "a\x1b@v",
                "character '\\u{1b}' (at offset 1) is not allowed in a pattern",
            ),
            ("**/", "the name is empty"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Pattern>().expect_err(text);
            let cause = std::error::Error::source(&error).expect("a cause");
            assert_eq!(cause.to_string(), expected);
            assert_eq!(error.pattern(), text);
        }
    }
}
