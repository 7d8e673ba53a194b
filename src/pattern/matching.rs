//! Matching of one pattern against one name: left to right, without backtracking (compat 2 B2).
//!
//! Runs for every entry of a directory and every line of a manifest; it allocates only when the metadata of a full match are made.

use super::grammar::{Element, Pattern};
use super::wildcard::{Value, Wildcard};
use crate::metadata::Metadata;

/// What one pattern says of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Mismatch,
    /// The name is a leading directory part of a possible match.
    Descend,
    Full,
}

/// The values found on the way; complete only after [`Outcome::Full`].
#[derive(Default)]
pub(super) struct Captures<'n> {
    version: Option<&'n str>,
    others: [Option<Value<'n>>; Wildcard::ALL.len() - 1],
    count: usize,
}

impl<'n> Captures<'n> {
    /// `None` when a name has more values than there are wildcards, which the grammar excludes.
    fn add(&mut self, value: Value<'n>) -> Option<()> {
        if let Value::Version(text) = value {
            self.version = Some(text);
        } else {
            *self.others.get_mut(self.count)? = Some(value);
            self.count += 1;
        }
        Some(())
    }

    /// The metadata of a full match; `None` without a version, which the grammar excludes.
    pub(super) fn into_metadata(self) -> Option<Metadata> {
        let mut metadata = Metadata::new(self.version?.parse().ok()?);
        for value in self.others.into_iter().flatten() {
            value.store(&mut metadata);
        }
        Some(metadata)
    }
}

impl Pattern {
    /// Matches a name without a `/` at its end.
    pub(super) fn match_into<'n>(&self, path: &'n str, captures: &mut Captures<'n>) -> Outcome {
        let name = if self.is_recursive() {
            // The prefix swallows the directories; what is left has no slash, so it never asks to descend.
            path.rsplit_once('/').map_or(path, |(_, name)| name)
        } else {
            path
        };
        match_elements(self.elements(), name, captures)
    }
}

fn match_elements<'n>(elements: &[Element], name: &'n str, captures: &mut Captures<'n>) -> Outcome {
    let mut rest = name;
    let mut elements = elements.iter().peekable();
    while let Some(element) = elements.next() {
        match element {
            Element::Literal(run) => match rest.strip_prefix(&**run) {
                Some(behind) => rest = behind,
                None => return Outcome::Mismatch,
            },
            Element::Slash if rest.is_empty() => return Outcome::Descend,
            Element::Slash => match rest.strip_prefix('/') {
                Some(behind) => rest = behind,
                None => return Outcome::Mismatch,
            },
            Element::Wildcard(wildcard) => {
                let Some(extent) = extent(rest, elements.peek().copied()) else {
                    return Outcome::Mismatch;
                };
                let (text, behind) = rest.split_at(extent);
                // A longer extent is never tried: `a-@v-b` does not match `a-1-b-b`.
                if wildcard
                    .read(text)
                    .and_then(|value| captures.add(value))
                    .is_none()
                {
                    return Outcome::Mismatch;
                }
                rest = behind;
            }
        }
    }
    if rest.is_empty() {
        Outcome::Full
    } else {
        Outcome::Mismatch
    }
}

/// How many bytes a wildcard covers, as the element behind it tells.
fn extent(rest: &str, next: Option<&Element>) -> Option<usize> {
    match next {
        Some(Element::Literal(run)) => rest.find(&**run),
        Some(Element::Slash) => Some(rest.find('/').unwrap_or(rest.len())),
        // The grammar lets no wildcard follow another one.
        Some(Element::Wildcard(_)) => None,
        None => Some(rest.len()),
    }
}
