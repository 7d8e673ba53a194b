//! Applies a file of systemd's form to a draft: sections, keys, and what is said about those that do not fit.
//!
//! Takes the lines of [`super::ini`] and the handlers of a [`Schema`]; reports warnings in systemd's words.

use std::path::Path;

use super::error::DefinitionError;
use super::fault::Fault;
use super::ini::{Broken, Item, Parser};
use super::keys::ACTIVATE;
use super::nearest::nearest;
use super::schema::{Key, Kind, Owner, Schema, Scope};
use super::transfer::Origin;
use super::words;
use crate::event::{Event, Reporter, Severity};
use crate::host::Host;

/// Applies all assignments of the file called `file` in messages.
///
/// # Errors
/// When the file is damaged, or a value refuses it.
pub(super) fn assign<D>(
    bytes: &[u8],
    file: &Path,
    schema: &Schema<D>,
    draft: &mut D,
    host: &Host,
    reporter: &dyn Reporter,
) -> Result<(), DefinitionError> {
    let mut section = Section::Outside;
    for line in Parser::new(bytes) {
        let line = line.map_err(|broken| refuse(broken, file))?;
        let place = Place {
            origin: Origin {
                file: file.to_path_buf(),
                line: line.number,
            },
            host,
            reporter,
        };
        match (line.item, section) {
            (Item::Section(name), _) => section = place.open(&name, schema),
            (_, Section::Ignored) => {}
            (_, Section::Outside) => place.warn("Assignment outside of section. Ignoring."),
            (Item::MissingEquals, Section::Known(_)) => place.warn("Missing '=', ignoring line."),
            (Item::MissingKey, Section::Known(_)) => {
                place.warn("Missing key name before '=', ignoring line.");
            }
            (Item::Assignment { key, value }, Section::Known(section)) => {
                place.assign(schema, section, &key, &value, draft)?;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Section {
    Outside,
    Ignored,
    Known(&'static str),
}

/// One line, and to whom to talk about it.
struct Place<'a> {
    origin: Origin,
    host: &'a Host,
    reporter: &'a dyn Reporter,
}

impl Place<'_> {
    fn open<D>(&self, name: &str, schema: &Schema<D>) -> Section {
        if let Some(known) = schema.sections.iter().find(|known| **known == name) {
            return Section::Known(known);
        }
        if !name.starts_with("X-") {
            self.warn(&format!("Unknown section '{name}'. Ignoring."));
            if let Some(meant) = nearest(name, schema.sections.iter().copied()) {
                self.hint(&format!("Did you mean '[{meant}]'?"));
            }
        }
        Section::Ignored
    }

    fn assign<D>(
        &self,
        schema: &Schema<D>,
        section: &'static str,
        name: &str,
        raw: &str,
        draft: &mut D,
    ) -> Result<(), DefinitionError> {
        let Some(key) = schema
            .keys()
            .find(|key| key.section == section && key.ini == name)
        else {
            self.unknown(schema, section, name);
            return Ok(());
        };
        let scope = Scope {
            host: self.host,
            origin: &self.origin,
            key: key.ini,
        };
        let Err(fault) = take(key, raw, draft, &scope) else {
            return Ok(());
        };
        match (&fault, key.owner) {
            (_, Owner::Ours) => {
                Err(self.refused(fault.strict(&format!("{name}="), raw, key.expects)))
            }
            (Fault::Pattern(error), _) => {
                Err(self.unparsable(fault.lenient(name, raw), error.errno_text()))
            }
            (Fault::Garbled(_), _) => Err(self.unparsable(
                fault.lenient(name, raw),
                super::value::Errno::Invalid.text(),
            )),
            (Fault::TooMany(_), _) => Err(self.refused(fault.lenient(name, raw))),
            _ => {
                self.warn(&fault.lenient(name, raw));
                Ok(())
            }
        }
    }

    fn unknown<D>(&self, schema: &Schema<D>, section: &str, name: &str) {
        if name.starts_with("X-") {
            return;
        }
        self.warn(&format!(
            "Unknown key '{name}' in section [{section}], ignoring."
        ));
        let inside = schema.keys().filter(|key| key.section == section);
        if let Some(meant) = nearest(name, inside.map(|key| key.ini)) {
            self.hint(&format!("Did you mean '{meant}='?"));
        } else if let Some(key) = schema
            .keys()
            .find(|key| key.ini == name && key.section != ACTIVATE)
        {
            self.hint(&format!(
                "'{name}=' belongs into section [{}].",
                key.section
            ));
        }
    }

    fn warn(&self, text: &str) {
        self.tell(Severity::Warning, text);
    }

    fn hint(&self, text: &str) {
        self.tell(Severity::Info, text);
    }

    fn tell(&self, severity: Severity, text: &str) {
        self.reporter.report(&Event::Message(
            severity,
            format!("{}: {text}", self.origin),
        ));
    }

    fn refused(&self, message: String) -> DefinitionError {
        DefinitionError::Refused {
            origin: self.origin.clone(),
            message,
        }
    }

    fn unparsable(&self, message: String, errno: &'static str) -> DefinitionError {
        DefinitionError::Unparsable {
            origin: self.origin.clone(),
            message,
            errno,
        }
    }
}

fn refuse(broken: Broken, file: &Path) -> DefinitionError {
    let origin = Origin {
        file: file.to_path_buf(),
        line: broken.number,
    };
    match broken.errno {
        Some(errno) => DefinitionError::Unparsable {
            origin,
            message: broken.message,
            errno: errno.text(),
        },
        None => DefinitionError::Refused {
            origin,
            message: broken.message,
        },
    }
}

/// Splits the value as the key's kind says and hands the parts to its handler.
fn take<D>(key: &Key<D>, raw: &str, draft: &mut D, scope: &Scope<'_>) -> Result<(), Fault> {
    if raw.is_empty()
        && let Some(reset) = key.reset
    {
        reset(draft, scope);
        return Ok(());
    }
    match key.kind {
        Kind::Words => {
            for word in words::quoted(raw).map_err(Fault::Unparsable)? {
                (key.set)(draft, &word, scope)?;
            }
            Ok(())
        }
        Kind::Patterns => {
            for word in words::patterns(raw) {
                let text = word
                    .decoded
                    .ok_or_else(|| Fault::Garbled(word.raw.to_owned()))?;
                (key.set)(draft, &text, scope).map_err(|fault| match fault {
                    // compat: what is shown is the part of the value behind the word at fault.
                    Fault::Unexpandable(_) => {
                        Fault::Unexpandable(Some(word.rest.unwrap_or("(null)").to_owned()))
                    }
                    other => other,
                })?;
            }
            Ok(())
        }
        Kind::Text | Kind::Boolean | Kind::Integer | Kind::Octal | Kind::Choice(_) | Kind::List => {
            (key.set)(draft, raw, scope)
        }
    }
}
