//! Rendering: the name that a pattern gives to an instance (compat 2 B3).

use std::path::{Component, Path};

use super::grammar::{Element, MAX_COMPONENT, Pattern};
use super::wildcard::Wildcard;
use crate::metadata::Metadata;

impl Pattern {
    /// Renders the pattern with the fields of `metadata`; the `**/` prefix gives nothing.
    ///
    /// `@l` renders as 3 and `@d` as 0 when they are unknown. The result is relative and normalized: a `/` at the start, `./` and
    /// `//` are dropped, so that joining it to a directory never leads out of that directory.
    ///
    /// # Errors
    ///
    /// [`RenderError::MissingField`] when a field is unknown, [`RenderError::UnsuitableName`] when the result cannot name a file: a
    /// `..`, an empty last component, a component above 255 bytes, or a path of 4096 bytes or more.
    pub fn render(&self, metadata: &Metadata) -> Result<String, RenderError> {
        let mut name = String::new();
        for element in self.elements() {
            match element {
                Element::Literal(run) => name.push_str(run),
                Element::Slash => name.push('/'),
                Element::Wildcard(wildcard) => {
                    wildcard.write(metadata, &mut name).ok_or_else(|| {
                        RenderError::MissingField {
                            pattern: self.as_str().to_owned(),
                            wildcard: *wildcard,
                        }
                    })?;
                }
            }
        }
        normalize(&name).ok_or(RenderError::UnsuitableName { name })
    }
}

/// The name without what the original tolerates, or `None` when it names no file below a directory.
fn normalize(name: &str) -> Option<String> {
    // A name that ends in a slash, or in `/.`, would be installed under another name than the pattern finds.
    if name.len() >= PATH_MAX || name.ends_with('/') || name.ends_with("/.") || name == "." {
        return None;
    }
    let mut normalized = String::with_capacity(name.len());
    for component in Path::new(name).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) if part.len() <= MAX_COMPONENT => {
                if !normalized.is_empty() {
                    normalized.push('/');
                }
                normalized.push_str(part.to_str()?);
            }
            Component::Normal(_) | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!normalized.is_empty()).then_some(normalized)
}

/// The kernel's limit of a path in bytes, the closing zero included.
const PATH_MAX: usize = 4096;

/// Why a pattern cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The pattern needs a field that nothing tells.
    #[error(
        "Failed to format target pattern: No such device or address ('{wildcard}' of '{pattern}' is unknown)"
    )]
    MissingField {
        /// The pattern's source text.
        pattern: String,
        /// The field that is unknown.
        wildcard: Wildcard,
    },
    /// The name is too long for a partition's label, or the one that free partitions have.
    #[error("Formatted pattern is not suitable as GPT partition label, refusing: {name}")]
    UnsuitableLabel {
        /// The name as rendered.
        name: String,
    },
    /// The name is no relative path to a file.
    #[error("Formatted pattern is not suitable as file name, refusing: {name}")]
    UnsuitableName {
        /// The name as rendered.
        name: String,
    },
}
