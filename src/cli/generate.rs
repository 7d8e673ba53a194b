//! `generate`: man pages and shell completions, from what the command line and the definitions know of themselves; and
//! the help, which is made of the same.

mod man;
mod shells;

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::args::Args;
use super::output::{self};
use super::verb::{ARGUMENTS, Completion, GROUPS};
use super::{Context, Exit, UsageError};
use crate::error::Error;
use crate::event::Silent;
use crate::plan::Reach;
use crate::session::SessionError;

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    /// sysupdate(8).
    Man,
    /// sysupdate.toml(5).
    ManSettings,
    Bash,
    Zsh,
    Fish,
    /// What a completion asks for: one word a line, from the live state.
    Words(Completion),
}

impl Product {
    pub(super) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["man"] | ["man", "8"] => Ok(Self::Man),
            ["man", "5"] => Ok(Self::ManSettings),
            ["bash"] => Ok(Self::Bash),
            ["zsh"] => Ok(Self::Zsh),
            ["fish"] => Ok(Self::Fish),
            ["words", "components"] => Ok(Self::Words(Completion::Components)),
            ["words", "features"] => Ok(Self::Words(Completion::Features)),
            ["words", "versions"] => Ok(Self::Words(Completion::Versions)),
            _ => Err(UsageError::new(
                "generate: one of man, man 5, bash, zsh, fish is needed.",
            )),
        }
    }
}

pub(super) fn run(context: &Context<'_>, product: Product) -> Result<Exit, Error> {
    let text = match product {
        Product::Man => man::command(&options()),
        Product::ManSettings => man::settings(),
        Product::Bash => shells::bash(&options()),
        Product::Zsh => shells::zsh(&options()),
        Product::Fish => shells::fish(&options()),
        Product::Words(kind) => words(context, kind)?,
    };
    output::print(&text).map_err(Error::Output)?;
    Ok(Exit::Success)
}

/// The template of `--help`: the verbs by their groups, and what surrounds them.
pub(super) fn help() -> String {
    let mut help = "Usage: sysupdate [OPTION…] [COMMAND] [ARGUMENT]\n\n\
                    {about}:\nfetched, verified, switched to atomically, activated.\n"
        .to_owned();
    for (name, arguments, _, meaning) in ARGUMENTS {
        if let Some((heading, _)) = GROUPS.iter().find(|(_, first)| *first == name) {
            let _ = write!(help, "\n{heading}:\n");
        }
        let call = format!("{name} {arguments}").replace("...", "…");
        // Writing to a string cannot fail.
        let _ = writeln!(help, "  {call:<27} {meaning}");
    }
    help.push_str(
        "\nOptions:\n{options}\n\n\
         Definitions are read from /etc, /run, /usr/local/lib and /usr/lib:\n  \
         sysupdate/transfer.d/NAME.toml   one component in one file\n  \
         sysupdate.d/*.transfer           systemd's form, for the default component\n  \
         sysupdate.NAME.d/*.transfer      systemd's form, for component NAME",
    );
    help
}

/// An option of the command line.
struct CommandOption {
    short: Option<char>,
    long: String,
    /// What its value is called, if it takes one.
    value: Option<String>,
    help: String,
}

/// All options that `--help` shows.
fn options() -> Vec<CommandOption> {
    let command = Args::command();
    let options = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_long().is_some());
    let options = options.map(|argument| CommandOption {
        short: argument.get_short(),
        long: argument.get_long().unwrap_or_default().to_owned(),
        value: argument
            .get_action()
            .takes_values()
            .then(|| argument.get_value_names().and_then(|names| names.first()))
            .flatten()
            .map(ToString::to_string),
        help: argument
            .get_help()
            .map_or_else(String::new, ToString::to_string),
    });
    options.collect()
}

/// The words of one kind that make sense now. What cannot be read completes to nothing.
fn words(context: &Context<'_>, kind: Completion) -> Result<String, Error> {
    let loader = context.session.loader;
    let name = context.one()?;
    let words: Vec<String> = match kind {
        Completion::Components => {
            let names = loader.names().map_err(SessionError::from)?;
            names.iter().map(ToString::to_string).collect()
        }
        Completion::Features => {
            let features = loader.features(&name, &Silent).unwrap_or_default();
            features.into_iter().map(|feature| feature.id).collect()
        }
        Completion::Versions => match loader.load(&name, &Silent) {
            Ok(component) if !component.transfers.is_empty() => {
                let surveyed = context.session.survey(component, Reach::Offline)?;
                let resolution = surveyed.resolve();
                let sets = resolution.sets.iter();
                sets.map(|set| set.version.to_string()).collect()
            }
            _ => Vec::new(),
        },
        Completion::Nothing | Completion::Files => Vec::new(),
    };
    Ok(words.into_iter().map(|word| word + "\n").collect())
}

/// The verbs that take words of a kind.
fn verbs_completing(kind: Completion) -> Vec<&'static str> {
    ARGUMENTS
        .iter()
        .filter(|(_, _, completion, _)| *completion == kind)
        .map(|(name, ..)| *name)
        .collect()
}

#[cfg(test)]
mod tests;
