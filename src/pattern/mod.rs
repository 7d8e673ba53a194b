//! Match patterns: how the name of a file tells the version and other fields of an instance.
//!
//! Owns the grammar (`grammar`), the wildcards' values (`wildcard`), matching (`matching`) and rendering (`render`) of compat 2, B1 to
//! B3. Pure text: never lists a directory, never expands `%` specifiers and never looks at a prefix of temporary names; the callers do
//! that before.

mod grammar;
mod matching;
mod render;
mod wildcard;

pub use grammar::{FileNameFault, ForbiddenCharacter, GrammarFault, Pattern, PatternError};
pub use render::RenderError;
pub use wildcard::Wildcard;

use crate::metadata::Metadata;
use matching::{Captures, Outcome};

/// A list of patterns without duplicates; the first one is the one new instances are named by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Appends a pattern; one that is in the list already is dropped.
    pub fn push(&mut self, pattern: Pattern) {
        if !self.0.contains(&pattern) {
            self.0.push(pattern);
        }
    }

    /// Empties the list, as an empty `MatchPattern=` does.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Walks the patterns in list order.
    pub fn iter(&self) -> std::slice::Iter<'_, Pattern> {
        self.0.iter()
    }

    /// The pattern that new instances are named by.
    pub fn first(&self) -> Option<&Pattern> {
        self.0.first()
    }

    /// Whether any pattern carries the `**/` prefix, so that every directory is to be entered (compat 2 B5.2).
    pub fn is_recursive(&self) -> bool {
        self.iter().any(Pattern::is_recursive)
    }

    /// The same list for a target: `**/` stripped, duplicates dropped (compat 1, 3.1 row 15).
    #[must_use]
    pub fn for_target(&self) -> Self {
        self.iter().map(Pattern::without_prefix).collect()
    }

    /// Matches a path relative to the resource's directory, or a manifest's entry, against all patterns (compat 2 B2).
    ///
    /// The path has `/` between its components. One that ends in `/` has no file name and never matches.
    pub fn match_path(&self, path: &str) -> PathMatch {
        let mut result = PathMatch {
            metadata: None,
            descend: false,
        };
        // compat: such a line of a manifest never matches (B6.2), although `a-@v/` would fit it to the letter.
        if path.ends_with('/') {
            return result;
        }
        for pattern in self {
            let mut captures = Captures::default();
            match pattern.match_into(path, &mut captures) {
                Outcome::Mismatch => {}
                Outcome::Descend => result.descend = true,
                Outcome::Full => {
                    if result.metadata.is_none() {
                        result.metadata = captures.into_metadata();
                    }
                }
            }
        }
        result
    }
}

impl From<Pattern> for Patterns {
    fn from(pattern: Pattern) -> Self {
        Self(vec![pattern])
    }
}

/// Collects in order, dropping duplicates.
impl FromIterator<Pattern> for Patterns {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let mut list = Self::default();
        list.extend(patterns);
        list
    }
}

/// Appends in order, dropping duplicates.
impl Extend<Pattern> for Patterns {
    fn extend<I: IntoIterator<Item = Pattern>>(&mut self, patterns: I) {
        for pattern in patterns {
            self.push(pattern);
        }
    }
}

impl<'p> IntoIterator for &'p Patterns {
    type Item = &'p Pattern;
    type IntoIter = std::slice::Iter<'p, Pattern>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a list of patterns says of one path; it can both match and be a directory to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMatch {
    /// The fields of the first pattern that matches fully.
    pub metadata: Option<Metadata>,
    /// Whether the path is a leading directory part of a possible match.
    pub descend: bool,
}

#[cfg(test)]
mod tests;
