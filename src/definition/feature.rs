//! Optional features: `ID.feature` files, which decide whether transfers take part.

use super::condition::{Suggestible, Suggestion, suggestions};
use super::fault::Fault;
use super::keys::{TEXT_LIMIT, push_url};
use super::schema::{Key, Kind, Schema};
use super::value;

/// One feature of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feature {
    /// File name without its extension.
    pub id: String,
    /// Whether it is enabled; no by default.
    pub enabled: bool,
    /// One line for people.
    pub description: Option<String>,
    /// URLs of documentation.
    pub documentation: Vec<String>,
    /// URL of an `AppStream` catalog.
    pub appstream: Option<String>,
    /// Whether it suggests itself, not evaluated.
    pub suggestion: Suggestion,
}

impl Suggestible for Feature {
    fn suggestion(&mut self) -> &mut Suggestion {
        &mut self.suggestion
    }
}

/// The keys of `.feature` files and their drop-ins.
pub(super) static SCHEMA: Schema<Feature> = Schema {
    sections: &[SECTION],
    keys: &[KEYS, &suggestions(SECTION)],
};

const SECTION: &str = "Feature";

type Setting = Key<Feature>;

const KEYS: &[Setting] = &[
    Setting::new(
        SECTION,
        "Enabled",
        &[],
        Kind::Boolean,
        "a boolean",
        |feature, raw, _| {
            feature.enabled = value::boolean(raw).map_err(Fault::Unparsable)?;
            Ok(())
        },
    ),
    Setting::new(
        SECTION,
        "Description",
        &[],
        Kind::Text,
        "a text",
        |feature, raw, _| {
            feature.description = Some(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|feature, _| feature.description = None),
    Setting::new(
        SECTION,
        "Documentation",
        &[],
        Kind::List,
        "a URL",
        |feature, raw, scope| push_url(&mut feature.documentation, raw, scope),
    )
    .resetting(|feature, _| feature.documentation.clear()),
    Setting::new(
        SECTION,
        "AppStream",
        &[],
        Kind::Text,
        "a URL",
        |feature, raw, scope| {
            let url = scope.expand(raw, TEXT_LIMIT)?;
            if !value::is_web_url(&url) {
                return Err(Fault::Invalid("URL", raw.to_owned()));
            }
            feature.appstream = Some(url);
            Ok(())
        },
    )
    .resetting(|feature, _| feature.appstream = None),
];
