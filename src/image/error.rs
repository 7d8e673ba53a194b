//! Why an image could not be looked into: the three cases that callers treat differently.

use std::io;

/// A look into an image failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image may well be good, but this program cannot see inside: another file system, an unknown codec,
    /// encryption, or more content than a look is worth.
    #[error("cannot look inside {what}")]
    Opaque {
        /// What it is, with its article.
        what: String,
    },
    /// The image claims to be of a kind and breaks that kind's rules, or ends too early.
    #[error("damaged {kind} image: {problem}")]
    Damaged {
        /// What it claims to be.
        kind: &'static str,
        /// The first thing found wrong.
        problem: String,
    },
    /// The reader below failed; the error is the reader's own, so that a network's failure stays one.
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    /// The writer that a file is copied into failed.
    #[error("cannot write what the image holds")]
    Write(#[source] io::Error),
}

impl ImageError {
    pub(super) fn opaque(what: impl Into<String>) -> Self {
        Self::Opaque { what: what.into() }
    }

    pub(super) fn damaged(kind: &'static str, problem: impl Into<String>) -> Self {
        Self::Damaged {
            kind,
            problem: problem.into(),
        }
    }
}
