//! What a key is: its names in both syntaxes, the kind of its value, its handler.
//!
//! The shapes of the tables in `keys` (transfers), `feature` and `component`; which keys exist is said there.

use super::fault::Fault;
use super::transfer::{Located, Origin};
use crate::host::Host;
use crate::specifier;

/// The sections and keys that one sort of file knows.
pub(super) struct Schema<D: 'static> {
    pub(super) sections: &'static [&'static str],
    /// Its own, and those that it shares with other sorts.
    pub(super) keys: &'static [&'static [Key<D>]],
}

impl<D> Schema<D> {
    /// All keys, in the order in which they stand there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key<D>> + Clone + use<D> {
        self.keys.iter().copied().flatten()
    }
}

/// One key.
pub(super) struct Key<D> {
    /// The section of systemd's form.
    pub(super) section: &'static str,
    /// The name in systemd's form.
    pub(super) ini: &'static str,
    /// The names in the native form, inside the table of the section; none: only systemd's form has it.
    pub(super) toml: &'static [&'static str],
    /// How a value splits and which native type it has.
    pub(super) kind: Kind,
    /// What a right value is, for our own messages.
    pub(super) expects: &'static str,
    /// Whose key it is.
    pub(super) owner: Owner,
    /// What an empty assignment does; none: the handler is asked.
    pub(super) reset: Option<fn(&mut D, &Scope<'_>)>,
    /// Takes one value.
    pub(super) set: Handler<D>,
}

type Handler<D> = fn(&mut D, &str, &Scope<'_>) -> Result<(), Fault>;

/// Whose key it is; a bad value in one of our own refuses the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Systemd,
    Ours,
}

/// How a value splits into texts for the handler, and which type it has in the native form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole value; a string.
    Text,
    /// The whole value; a boolean.
    Boolean,
    /// The whole value; an integer.
    Integer,
    /// The whole value; octal digits in a string, or an integer.
    Octal,
    /// The whole value; one of the native words, each standing for a text of systemd's form.
    Choice(&'static [(&'static str, &'static str)]),
    /// One entry an assignment; an array of strings, or one string.
    List,
    /// Words with quotes; an array of strings, or one string.
    Words,
    /// Words with escapes; an array of strings, or one string.
    Patterns,
}

/// What a handler may look at.
pub(super) struct Scope<'a> {
    pub(super) host: &'a Host,
    /// Where the assignment stands.
    pub(super) origin: &'a Origin,
    /// The key's name in systemd's form.
    pub(super) key: &'static str,
}

impl Scope<'_> {
    /// Expands specifiers, to at most `limit` bytes.
    pub(super) fn expand(&self, raw: &str, limit: usize) -> Result<String, Fault> {
        specifier::expand(raw, self.host, limit).map_err(|_| Fault::Unexpandable(None))
    }

    pub(super) fn locate<T>(&self, value: T) -> Located<T> {
        Located {
            value,
            origin: self.origin.clone(),
        }
    }
}

impl<D> Key<D> {
    pub(super) const fn new(
        section: &'static str,
        ini: &'static str,
        toml: &'static [&'static str],
        kind: Kind,
        expects: &'static str,
        set: Handler<D>,
    ) -> Self {
        Self {
            section,
            ini,
            toml,
            kind,
            expects,
            owner: Owner::Systemd,
            reset: None,
            set,
        }
    }

    pub(super) const fn resetting(self, reset: fn(&mut D, &Scope<'_>)) -> Self {
        Self {
            reset: Some(reset),
            ..self
        }
    }

    pub(super) const fn ours(self) -> Self {
        Self {
            owner: Owner::Ours,
            ..self
        }
    }
}
