//! All that the library ever tells the user while it works.
//!
//! An [`Event`] is a value. How it is shown (a line, a bar, nothing) is decided by the one [`Reporter`] of the run.

use std::fmt::{self, Write as _};

/// Receives events; called from several threads.
pub trait Reporter: Send + Sync {
    /// Takes note of one event.
    fn report(&self, event: &Event<'_>);
}

impl<R: Reporter + ?Sized> Reporter for std::sync::Arc<R> {
    fn report(&self, event: &Event<'_>) {
        (**self).report(event);
    }
}

/// Hears nothing: for what was told before.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event<'_>) {}
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For somebody who looks for a fault.
    Debug,
    /// What is being done.
    Info,
    /// Something that deserves attention; the run goes on.
    Warning,
    /// Something failed.
    Error,
}

/// One thing worth telling.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A line of text of the given weight.
    Message(Severity, String),
    /// A payload of `total` bytes (if known) begins to arrive; `name` identifies it in later events.
    TransferStarted {
        /// What is transferred: the target's file name.
        name: &'a str,
        /// Its size in bytes, if known.
        total: Option<u64>,
    },
    /// `bytes` of the payload have arrived since it started.
    TransferProgress {
        /// The name given at the start.
        name: &'a str,
        /// Bytes so far.
        bytes: u64,
    },
    /// The payload is complete, or given up. The last progress told was all that had come.
    TransferEnded {
        /// The name given at the start.
        name: &'a str,
    },
}

impl Event<'_> {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Event::Message(severity, _) => *severity,
            _ => Severity::Info,
        }
    }
}

/// The text of a message; of a transfer, its name.
impl fmt::Display for Event<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Event::Message(_, text) => text,
            Event::TransferStarted { name, .. }
            | Event::TransferProgress { name, .. }
            | Event::TransferEnded { name } => name,
        })
    }
}

/// An error with all its causes, in one line. A cause that its effect already spells out is not said twice.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}
