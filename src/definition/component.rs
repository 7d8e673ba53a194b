//! Components: their names and their `.component` files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::Digest as _;

use crate::metadata::Sha256;

use super::condition::{Suggestible, Suggestion, suggestions};
use super::fault::Fault;
use super::keys::push_url;
use super::schema::{Key, Kind, Schema};
use super::value;

/// Which component: the one of `sysupdate.d`, or a named one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentName {
    /// What `sysupdate.d` defines.
    Default,
    /// What `sysupdate.NAME.d` or the native `NAME.toml` defines. Made by [`FromStr`], the name is valid.
    Named(String),
}

/// Parses the name of a named component (compat 1 section 2.17); the default one has none.
impl FromStr for ComponentName {
    type Err = ComponentNameError;

    fn from_str(name: &str) -> Result<Self, ComponentNameError> {
        let valid = !name.is_empty()
            && name.len() <= NAME_LIMIT
            && !name.contains('/')
            && !name.ends_with(".component")
            && !name.chars().any(|character| character.is_ascii_control());
        if valid {
            Ok(Self::Named(name.to_owned()))
        } else {
            Err(ComponentNameError(name.to_owned()))
        }
    }
}

/// Displays the name, or `<default>`.
impl fmt::Display for ComponentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Default => "<default>",
            Self::Named(name) => name,
        })
    }
}

/// The file name under which state of a component is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentKey(String);

impl ComponentKey {
    /// The key of a component, or of the definitions in a directory of their own (`--definitions=`).
    #[must_use]
    pub fn new(name: &ComponentName, definitions: Option<&Path>) -> Self {
        Self(match (definitions, name) {
            (Some(directory), _) => {
                let digest = sha2::Sha256::digest(directory.as_os_str().as_encoded_bytes());
                format!("definitions-{}", Sha256(digest.into()))
            }
            // The default component has no name that another one could not have.
            (None, ComponentName::Default) => "default".to_owned(),
            (None, ComponentName::Named(name)) => format!("component-{name}"),
        })
    }

    /// The file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text names no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Component name invalid: {0}")]
pub struct ComponentNameError(
    /// The text.
    pub String,
);

/// `sysupdate.NAME.component.d` has at most the 255 bytes of a file name.
const NAME_LIMIT: usize = 233;

/// What a `.component` file and its drop-ins say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSettings {
    /// Whether it is updated; yes by default.
    pub enabled: bool,
    /// One line for people.
    pub description: Option<String>,
    /// URLs of documentation.
    pub documentation: Vec<String>,
    /// Whether it suggests itself, not evaluated.
    pub suggestion: Suggestion,
    /// The definitions in systemd's form that its native file stands in for: inner paths.
    pub replaces: Vec<PathBuf>,
}

impl Default for ComponentSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            description: None,
            documentation: Vec::new(),
            suggestion: Suggestion::default(),
            replaces: Vec::new(),
        }
    }
}

impl Suggestible for ComponentSettings {
    fn suggestion(&mut self) -> &mut Suggestion {
        &mut self.suggestion
    }
}

/// The keys of `.component` files, their drop-ins, and the top level of native files.
pub(super) static SCHEMA: Schema<ComponentSettings> = Schema {
    sections: &[SECTION],
    keys: &[KEYS, &suggestions(SECTION)],
};

const SECTION: &str = "Component";

type Setting = Key<ComponentSettings>;

const KEYS: &[Setting] = &[
    Setting::new(
        SECTION,
        "Enabled",
        &[],
        Kind::Boolean,
        "a boolean",
        |component, raw, _| {
            component.enabled = value::boolean(raw).map_err(Fault::Unparsable)?;
            Ok(())
        },
    ),
    Setting::new(
        SECTION,
        "Description",
        &["description"],
        Kind::Text,
        "a text",
        |component, raw, _| {
            component.description = Some(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|component, _| component.description = None),
    Setting::new(
        SECTION,
        "Documentation",
        &["documentation"],
        Kind::List,
        "a URL",
        |component, raw, scope| push_url(&mut component.documentation, raw, scope),
    )
    .resetting(|component, _| component.documentation.clear()),
    // Only the native form has it: what it counts for is whether a native file stands alone.
    Setting::new(
        SECTION,
        "X-Replaces",
        &["replaces"],
        Kind::List,
        "the absolute path of a definition",
        |component, raw, _| {
            if !value::is_normalized_absolute(raw) {
                return Err(Fault::NotNormalized(raw.to_owned()));
            }
            component.replaces.push(raw.into());
            Ok(())
        },
    )
    .resetting(|component, _| component.replaces.clear())
    .ours(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_file_names() {
        let longest = "a".repeat(233);
        for name in [
            ".",
            "..",
            "a.b",
            ".hid",
            "a b",
            "-",
            "a@b",
            "é",
            "x.transfer",
            "component",
            longest.as_str(),
        ] {
            assert_eq!(
                name.parse(),
                Ok(ComponentName::Named(name.to_owned())),
                "{name}"
            );
        }
        let too_long = "a".repeat(234);
        for name in [
            "",
            "a/",
            "../x",
            "/",
            "a.component",
            ".component",
            "a\tb",
            "a\n",
            "a\u{7f}",
            too_long.as_str(),
        ] {
            assert_eq!(
                name.parse::<ComponentName>(),
                Err(ComponentNameError(name.to_owned())),
                "{name}"
            );
        }
        assert_eq!(
            ComponentNameError("../x".to_owned()).to_string(),
            "Component name invalid: ../x"
        );
    }

    #[test]
    fn the_default_component_is_shown_in_brackets() {
        assert_eq!(ComponentName::Default.to_string(), "<default>");
        assert_eq!(ComponentName::Named("k".to_owned()).to_string(), "k");
        assert!(ComponentName::Default < ComponentName::Named("!".to_owned()));
    }
}
