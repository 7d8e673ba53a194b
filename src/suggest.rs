//! Whether a feature or component suggests itself on this host: `Suggest=` and the `SuggestOn…=` conditions.
//!
//! Definitions keep the conditions as text; their syntax is judged only here, when somebody asks (compat 1, section 8).
//! Reads the host, changes nothing.

mod compare;
mod firmware;
mod glob;
mod host;
mod tags;

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::definition::Suggestion;
use crate::host::Host;
use crate::root::Root;

/// What conditions are held against.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The system that definitions are about.
    pub root: &'a Root,
    /// Its facts.
    pub host: &'a Host,
    /// Where credentials of the calling process lie.
    pub credentials: &'a [PathBuf],
    /// In the place of `/etc/machine-info`: an outer path.
    pub machine_info: Option<&'a std::path::Path>,
    /// Asks a program of the host.
    pub run: &'a Run,
}

/// Runs a program by its name and arguments: what it prints, and whether it succeeds.
pub type Run = dyn Fn(&str, &[&str]) -> io::Result<(String, bool)>;

/// A condition that cannot be evaluated; displayed in the words of strerror(3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuggestError {
    /// It is malformed.
    Invalid,
    /// It names a number out of its range.
    OutOfRange,
    /// What it asks about cannot be read.
    Unreadable(String),
}

impl fmt::Display for SuggestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Invalid => "Invalid argument",
            Self::OutOfRange => "Numerical result out of range",
            Self::Unreadable(why) => why,
        })
    }
}

impl std::error::Error for SuggestError {}

impl From<io::Error> for SuggestError {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        // What follows is the number, which strerror does not tell.
        Self::Unreadable(text.split(" (os error").next().unwrap_or(&text).to_owned())
    }
}

/// A condition as it is written: `[|][!]ARGUMENT`.
struct Condition<'a> {
    is_trigger: bool,
    is_negated: bool,
    argument: &'a str,
}

impl<'a> Condition<'a> {
    fn parse(text: &'a str) -> Self {
        let (is_trigger, text) = match text.strip_prefix('|') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        let (is_negated, argument) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        Self {
            is_trigger,
            is_negated,
            argument,
        }
    }
}

impl Scene<'_> {
    /// Whether it suggests itself. All conditions must hold, of those that begin with `|` at least one.
    ///
    /// # Errors
    /// When that depends on a condition that cannot be evaluated.
    pub fn suggests(&self, suggestion: &Suggestion) -> Result<bool, SuggestError> {
        if let Some(explicit) = suggestion.explicit {
            return Ok(explicit);
        }
        let mut found = false;
        let mut failed = None;
        // Whether a trigger held; `None` without any.
        let mut triggered: Option<Result<bool, SuggestError>> = None;
        for (key, values) in &suggestion.conditions {
            for value in values {
                found = true;
                let condition = Condition::parse(value);
                let holds = self
                    .holds(key, condition.argument)
                    .map(|holds| holds != condition.is_negated);
                if condition.is_trigger {
                    triggered = Some(match (triggered, holds) {
                        (Some(Ok(true)), _) | (_, Ok(true)) => Ok(true),
                        (Some(Err(error)), _) | (_, Err(error)) => Err(error),
                        _ => Ok(false),
                    });
                    continue;
                }
                match holds {
                    // Nothing can make up for that, whatever else cannot be evaluated.
                    Ok(false) => return Ok(false),
                    Ok(true) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        if !found || triggered == Some(Ok(false)) {
            return Ok(false);
        }
        match (failed, triggered) {
            (Some(error), _) | (None, Some(Err(error))) => Err(error),
            (None, _) => Ok(true),
        }
    }

    fn holds(&self, key: &str, argument: &str) -> Result<bool, SuggestError> {
        match key {
            "SuggestOnArchitecture" => self.architecture(argument),
            "SuggestOnFirmware" => firmware::holds(argument),
            "SuggestOnVirtualization" => self.virtualization(argument),
            "SuggestOnHost" => Ok(self.is_host(argument)),
            "SuggestOnFraction" => self.fraction(argument),
            "SuggestOnKernelCommandLine" => host::command_line(argument),
            "SuggestOnVersion" => self.version(argument),
            "SuggestOnCredential" => self.credential(argument),
            "SuggestOnSecurity" => Ok(self.security(argument)),
            "SuggestOnOSRelease" => self.os_release(argument),
            "SuggestOnMachineTag" => Ok(self.machine_tag(argument)),
            _ => Err(SuggestError::Invalid),
        }
    }
}

#[cfg(test)]
mod tests;
