//! The native form: one strict TOML file, the same keys and handlers as systemd's form, and defaults for extensions.
//!
//! Whatever is not understood refuses the file, with line, column, the line itself and the nearest name that exists.

use std::ops::Range;
use std::path::Path;

use ::toml::de::{DeTable, DeValue};

use super::boot::BootPaths;
use super::check::{Check, Syntax};
use super::component::{self, ComponentSettings};
use super::draft::{Draft, PathSetting, ResourceType};
use super::error::DefinitionError;
use super::fault::Fault;
use super::keys::{self, ACTIVATE, SOURCE, TARGET, TRANSFER};
use super::nearest::nearest;
use super::schema::{Key, Kind, Scope};
use super::transfer::{Located, Origin, Transfer};
use super::value;
use crate::event::Reporter;
use crate::host::Host;
use crate::root::Root;

/// A native file that is not read yet.
pub(super) struct File<'a> {
    /// The component's name.
    pub(super) name: &'a str,
    /// As shown in messages.
    pub(super) path: &'a Path,
    pub(super) host: &'a Host,
    pub(super) root: &'a Root,
    pub(super) boot: BootPaths<'a>,
    pub(super) reporter: &'a dyn Reporter,
}

impl File<'_> {
    /// Reads the transfer; what the file says about the component goes into `settings`.
    ///
    /// # Errors
    /// When the file is no TOML, or anything in it is not understood, not handled, or does not fit together.
    pub(super) fn load(
        &self,
        bytes: &[u8],
        settings: &mut ComponentSettings,
    ) -> Result<Transfer, DefinitionError> {
        let text = Text::decode(bytes, self.path)?;
        let document = text.parse()?;
        let mut draft = Draft::default();
        for entry in entries(&document) {
            match TABLES.iter().find(|(name, _)| *name == entry.name) {
                Some((table, section)) => self.table(&text, table, section, &entry, &mut draft)?,
                None => self.top(&text, &entry, settings)?,
            }
        }
        self.fill(&text, &document, &mut draft)?;
        let check = Check {
            id: self.name,
            file: self.path,
            key_name: self.name,
            syntax: Syntax::Native,
            transfer_source: None,
            root: self.root,
            boot: self.boot,
            reporter: self.reporter,
        };
        check
            .transfer(draft, true)
            .map_err(|error| text.place(error, &document))
    }

    fn table(
        &self,
        text: &Text<'_>,
        table: &str,
        section: &str,
        outer: &Entry<'_>,
        draft: &mut Draft,
    ) -> Result<(), DefinitionError> {
        let DeValue::Table(inner) = outer.value else {
            return Err(text.refuse(outer.span.start, format!("'{table}' must be a table")));
        };
        for entry in entries(inner) {
            let known = keys::SCHEMA.keys().filter(|key| key.section == section);
            // Systemd's form has one section for what are two tables here.
            let prefix = if table == CHECK_TABLE { "check." } else { "" };
            let name = |full: &&'static str| match full.strip_prefix("check.") {
                Some(name) if table == CHECK_TABLE => Some(name),
                Some(_) => None,
                None => (table != CHECK_TABLE).then_some(*full),
            };
            let wanted = format!("{prefix}{}", entry.name);
            let Some(key) = known
                .clone()
                .find(|key| key.toml.contains(&wanted.as_str()))
            else {
                let names = known.flat_map(|key| key.toml).filter_map(name);
                return Err(text.unknown(
                    &entry,
                    &format!("in [{table}]"),
                    home(entry.name),
                    names,
                ));
            };
            self.assign(text, key, &entry, draft)?;
        }
        Ok(())
    }

    fn top(
        &self,
        text: &Text<'_>,
        entry: &Entry<'_>,
        settings: &mut ComponentSettings,
    ) -> Result<(), DefinitionError> {
        let mut keys = component::SCHEMA.keys();
        let Some(key) = keys.clone().find(|key| key.toml.contains(&entry.name)) else {
            let names = keys
                .by_ref()
                .flat_map(|key| key.toml)
                .copied()
                .chain(TABLES.iter().map(|(name, _)| *name));
            return Err(text.unknown(entry, "at the top level", home(entry.name), names));
        };
        if key.kind == Kind::List
            && let Some(reset) = key.reset
        {
            // The native file stands for the whole list, as it does for a text.
            reset(
                settings,
                &Scope {
                    host: self.host,
                    origin: &text.origin(entry.span.start),
                    key: key.ini,
                },
            );
        }
        self.assign(text, key, entry, settings)
    }

    fn assign<D>(
        &self,
        text: &Text<'_>,
        key: &Key<D>,
        entry: &Entry<'_>,
        draft: &mut D,
    ) -> Result<(), DefinitionError> {
        let values = raw_values(text, key.kind, entry)?;
        if values.is_empty()
            && let Some(reset) = key.reset
        {
            // An empty list is what an empty assignment is in systemd's form.
            reset(
                draft,
                &Scope {
                    host: self.host,
                    origin: &text.origin(entry.value_start),
                    key: key.ini,
                },
            );
        }
        for (raw, start) in values {
            let origin = text.origin(start);
            let scope = Scope {
                host: self.host,
                origin: &origin,
                key: key.ini,
            };
            let taken = if raw.is_empty() {
                Err(Fault::Unparsable(value::Errno::Invalid))
            } else {
                (key.set)(draft, &raw, &scope)
            };
            taken
                .map_err(|fault| text.refuse(start, fault.strict(entry.name, &raw, key.expects)))?;
        }
        Ok(())
    }

    /// The defaults of an extension (product.md).
    fn fill(
        &self,
        text: &Text<'_>,
        document: &DeTable<'_>,
        draft: &mut Draft,
    ) -> Result<(), DefinitionError> {
        let given = |name: &str| setting(document, SOURCE_TABLE, name);
        let default_kind = match (given("url"), given("path")) {
            (Some(url), Some(path)) => {
                return Err(text.refuse(
                    url.max(path),
                    "only one of 'url' and 'path' can be the source".to_owned(),
                ));
            }
            (Some(_), None) => ResourceType::UrlFile,
            (None, Some(_)) => ResourceType::RegularFile,
            (None, None) => {
                let start = document
                    .get("source")
                    .map_or(0, |source| source.span().start);
                return Err(text.refuse(start, "the source has no 'url' (nor 'path')".to_owned()));
            }
        };
        let kind = *draft.source.kind.get_or_insert(default_kind);
        let origin = text.origin(0);
        // What an extension is called: an image has the suffix that a directory must not have.
        let (offered, installed) = match kind {
            ResourceType::UrlTar | ResourceType::Tar => (ARCHIVES, ""),
            ResourceType::Directory | ResourceType::Subvolume => (&[""][..], ""),
            _ => (&[".raw"][..], ".raw"),
        };
        if draft.source.patterns.is_empty() {
            for suffix in offered {
                self.default_pattern(text, draft, SOURCE, suffix)?;
            }
            if draft.target.patterns.is_empty() && !offered.contains(&installed) {
                self.default_pattern(text, draft, TARGET, installed)?;
            }
        }
        if matches!(draft.target.path, PathSetting::Unset) {
            let directory = format!("/var/lib/extensions.d/{}", self.name);
            draft.target.path = PathSetting::At(Located {
                value: directory,
                origin,
            });
            if draft.current_symlink.is_none() {
                draft.current_symlink = Some(
                    Path::new("/var/lib/extensions").join(format!("{}{installed}", self.name)),
                );
            }
        }
        Ok(())
    }

    /// Sets the pattern that holds where none is given.
    fn default_pattern(
        &self,
        text: &Text<'_>,
        draft: &mut Draft,
        section: &'static str,
        suffix: &str,
    ) -> Result<(), DefinitionError> {
        let Some(key) = keys::SCHEMA
            .keys()
            .find(|key| key.section == section && key.kind == Kind::Patterns)
        else {
            return Ok(());
        };
        // The name is literal text: what a pattern would read as a wildcard or specifier is doubled.
        let literal = self.name.replace('@', "@@").replace('%', "%%");
        let pattern = format!("{literal}-@v-%a{suffix}");
        let scope = Scope {
            host: self.host,
            origin: &text.origin(0),
            key: key.ini,
        };
        (key.set)(draft, &pattern, &scope).map_err(|fault| {
            let cause = fault.strict("match", &pattern, key.expects);
            let table = section.to_lowercase();
            text.refuse(
                0,
                format!("the name of the component makes no default for '{table}.match': {cause}"),
            )
        })
    }
}

/// How archives of extensions end.
const ARCHIVES: &[&str] = &[".tar.zst", ".tar.xz", ".tar.gz", ".tar"];

/// The tables of a native file and the sections they stand for.
const TABLES: [(&str, &str); 5] = [
    ("transfer", TRANSFER),
    (SOURCE_TABLE, SOURCE),
    ("target", TARGET),
    ("activate", ACTIVATE),
    (CHECK_TABLE, ACTIVATE),
];

const CHECK_TABLE: &str = "check";

const SOURCE_TABLE: &str = "source";

/// Where the key of a setting stands, if there is one.
fn setting(document: &DeTable<'_>, table: &str, name: &str) -> Option<usize> {
    let DeValue::Table(table) = document.get(table)?.get_ref() else {
        return None;
    };
    let (key, _) = table.get_key_value(name)?;
    Some(key.span().start)
}

/// One `key = value`.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) span: Range<usize>,
    pub(super) value: &'a DeValue<'a>,
    pub(super) value_start: usize,
}

/// The entries of a table in the order of the file.
pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| Entry {
            name: key.get_ref(),
            span: key.span(),
            value: value.get_ref(),
            value_start: value.span().start,
        })
        .collect();
    entries.sort_by_key(|entry| entry.span.start);
    entries
}

/// The texts that a value stands for, as systemd's form would write them, and where each begins.
fn raw_values(
    text: &Text<'_>,
    kind: Kind,
    entry: &Entry<'_>,
) -> Result<Vec<(String, usize)>, DefinitionError> {
    let start = entry.value_start;
    let wrong =
        |wanted: &str, at: usize| text.refuse(at, format!("'{}' must be {wanted}", entry.name));
    let one = |raw: String| Ok(vec![(raw, start)]);
    match (kind, entry.value) {
        (Kind::Text | Kind::Octal, DeValue::String(string)) => one(string.to_string()),
        (Kind::Text, _) => Err(wrong("a string", start)),
        (Kind::Boolean, DeValue::Boolean(boolean)) => {
            one(if *boolean { "yes" } else { "no" }.to_owned())
        }
        (Kind::Boolean, _) => Err(wrong("true or false", start)),
        (Kind::Integer, DeValue::Integer(integer)) => {
            match u64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => one(number.to_string()),
                Err(_) => Err(wrong("an unsigned integer of at most 64 bits", start)),
            }
        }
        (Kind::Integer, _) => Err(wrong("an integer", start)),
        (Kind::Octal, DeValue::Integer(integer)) if integer.radix() == 8 => {
            one(integer.as_str().to_owned())
        }
        (Kind::Octal, DeValue::Integer(_)) => {
            Err(wrong("written in octal, as 0o644 or \"0644\"", start))
        }
        (Kind::Octal, _) => Err(wrong("an octal string or integer", start)),
        (Kind::Choice(words), DeValue::String(string)) => {
            match words.iter().find(|(word, _)| word == string) {
                Some((_, raw)) => one((*raw).to_owned()),
                None => Err(wrong(&choices(words), start)),
            }
        }
        (Kind::Choice(words), _) => Err(wrong(&choices(words), start)),
        (Kind::List | Kind::Words | Kind::Patterns, DeValue::String(string)) => {
            one(string.to_string())
        }
        (Kind::List | Kind::Words | Kind::Patterns, DeValue::Array(array)) => array
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(string) => Ok((string.to_string(), item.span().start)),
                _ => Err(wrong("a list of strings", item.span().start)),
            })
            .collect(),
        (Kind::List | Kind::Words | Kind::Patterns, _) => Err(wrong("a list of strings", start)),
    }
}

fn choices(words: &[(&str, &str)]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The text of a file, and its lines for messages.
pub(super) struct Text<'a> {
    pub(super) content: &'a str,
    path: &'a Path,
    line_starts: Vec<usize>,
}

impl<'a> Text<'a> {
    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// When they are no UTF-8.
    pub(super) fn decode(bytes: &'a [u8], path: &'a Path) -> Result<Self, DefinitionError> {
        std::str::from_utf8(bytes)
            .map(|text| Self::new(text, path))
            .map_err(|error| {
                let (valid, _) = bytes.split_at(error.valid_up_to());
                let valid = std::str::from_utf8(valid).unwrap_or_default();
                Text::new(valid, path).refuse(valid.len(), "the text is not UTF-8".to_owned())
            })
    }

    /// Parses it.
    ///
    /// # Errors
    /// When it is no TOML.
    pub(super) fn parse(&self) -> Result<DeTable<'a>, DefinitionError> {
        match DeTable::parse(self.content) {
            Ok(document) => Ok(document.into_inner()),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                Err(self.refuse(offset, message))
            }
        }
    }

    fn new(text: &'a str, path: &'a Path) -> Self {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(position, _)| position + 1);
        Self {
            content: text,
            path,
            line_starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    /// The line of a byte, from 0.
    fn line(&self, offset: usize) -> usize {
        self.line_starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    pub(super) fn origin(&self, offset: usize) -> Origin {
        Origin {
            file: self.path.to_path_buf(),
            line: self.line(offset) + 1,
        }
    }

    pub(super) fn refuse(&self, offset: usize, message: String) -> DefinitionError {
        let start = self.line_starts[self.line(offset)];
        let before = self.content.get(start..offset).unwrap_or_default();
        let line = self.content[start..].lines().next().unwrap_or_default();
        let line = masked(line.trim_end());
        let text = line.chars().take(SHOWN_LIMIT).flat_map(|character| {
            // A tab is harmless; other control characters could play with the terminal.
            let escape = character.is_control() && character != '\t';
            let plain = (!escape).then_some(character);
            plain
                .into_iter()
                .chain(character.escape_default().filter(move |_| escape))
        });
        DefinitionError::Native {
            origin: self.origin(offset),
            column: before.chars().count() + 1,
            message,
            text: text.collect(),
        }
    }

    /// Gives a refusal by the checks the form of all others; one of the file as a whole points to the type of its source.
    fn place(&self, error: DefinitionError, document: &DeTable<'_>) -> DefinitionError {
        let (line, message) = match error {
            DefinitionError::Refused { origin, message } => (origin.line, message),
            DefinitionError::AutomaticPath { .. } => (1, error.to_string()),
            other => return other,
        };
        let kind = setting(document, SOURCE_TABLE, "type").filter(|_| line == 1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let rest = &self.content[start..];
        let indented = start + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
        self.refuse(kind.unwrap_or(indented), message)
    }

    pub(super) fn unknown<'n>(
        &self,
        entry: &Entry<'_>,
        place: &str,
        home: Option<&str>,
        names: impl IntoIterator<Item = &'n str>,
    ) -> DefinitionError {
        // The right name in the wrong table is the commoner mistake.
        let meant = match home {
            Some(table) => format!(", it belongs in [{table}]"),
            None => nearest(entry.name, names)
                .map(|name| format!(", did you mean '{name}'?"))
                .unwrap_or_default(),
        };
        self.refuse(
            entry.span.start,
            format!("unknown key '{}' {place}{meant}", entry.name.escape_debug()),
        )
    }
}

/// The table that a key of this name belongs in.
fn home(name: &str) -> Option<&'static str> {
    let key = keys::SCHEMA.keys().find(|key| key.toml.contains(&name))?;
    TABLES
        .iter()
        .find(|(_, section)| *section == key.section)
        .map(|(table, _)| *table)
}

/// A line without the passwords of URLs: what is refused ends up in the journal.
fn masked(line: &str) -> String {
    let mut pieces = line.split("://");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str("://");
        let end = piece.find(['/', '"', '\'', ' ']).unwrap_or(piece.len());
        let (authority, rest) = piece.split_at(end);
        match authority
            .rsplit_once('@')
            .map(|(login, host)| (login.split_once(':'), host))
        {
            Some((Some((user, _)), host)) => text.extend([user, ":…@", host]),
            _ => text.push_str(authority),
        }
        text.push_str(rest);
    }
    text
}

/// Longest part of a line in a message, in characters.
const SHOWN_LIMIT: usize = 160;

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn no_password_is_in_a_line_that_is_shown() {
        let table = [
            ("url = \"http://h/d\"", "url = \"http://h/d\""),
            ("p = \"http://u:secret@h\" # x", "p = \"http://u:…@h\" # x"),
            (
                "[\"http://u:se@cr:et@h/a\", \"https://v@h\"]",
                "[\"http://u:…@h/a\", \"https://v@h\"]",
            ),
            ("socks5://u:secret@h", "socks5://u:…@h"),
            ("a://b://c:secret@", "a://b://c:…@"),
            ("", ""),
        ];
        for (line, shown) in table {
            assert_eq!(masked(line), shown);
        }
    }
}
