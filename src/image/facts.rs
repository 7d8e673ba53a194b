//! What one look into an image brings to light, as a small value that can be kept: an image with the same digest
//! always says the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::{Format, Image, ImageError, Kind, Release, Unit};
use crate::extension::ExtensionKind;
use crate::metadata::Sha256;

/// The facts that decisions about an extension need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How the image is made.
    pub format: Format,
    /// What it says it is for.
    pub release: Release,
    /// The directories that it brings directly below the hierarchy it is merged into (`usr`, for a confext `etc`).
    #[serde(default)]
    pub directories: Vec<String>,
    /// The unit files and drop-ins that it brings, by path.
    pub units: BTreeMap<String, UnitFacts>,
}

/// A unit file, drop-in or link, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFacts {
    /// Digest of the content, or of a symlink's text.
    #[serde(with = "hexadecimal")]
    pub sha256: Sha256,
    /// The text of a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The content of a `.service` unit or of a drop-in of one; `None` for others, and when there is too much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Facts {
    /// Looks into the image as the extension `name`.
    ///
    /// # Errors
    /// The image's, see [`Image::release`] and [`Image::units`].
    pub fn of(image: &mut Image, kind: ExtensionKind, name: &str) -> Result<Self, ImageError> {
        let release = image.release(kind, name)?;
        let hierarchy = match kind {
            ExtensionKind::Sysext => "usr",
            ExtensionKind::Confext => "etc",
        };
        let entries = image.entries(hierarchy)?.unwrap_or_default().into_iter();
        let directories = entries
            .filter(|(_, kind)| *kind == Kind::Directory)
            .map(|(name, _)| format!("{hierarchy}/{name}"))
            .collect();
        Ok(Self {
            format: image.format(),
            release,
            directories,
            units: UnitFacts::all(image.units()?),
        })
    }
}

impl UnitFacts {
    /// What is remembered of the units of an image.
    #[must_use]
    pub fn all(units: BTreeMap<String, Unit>) -> BTreeMap<String, Self> {
        let mut room = TEXT_LIMIT;
        let units = units.into_iter().map(|(path, unit)| {
            let facts = Self::of(&path, unit, &mut room);
            (path, facts)
        });
        units.collect()
    }

    fn of(path: &str, unit: Unit, room: &mut usize) -> Self {
        let digest = |bytes: &[u8]| Sha256(sha2::Sha256::digest(bytes).into());
        match unit {
            Unit::Link(text) => Self {
                sha256: digest(text.as_bytes()),
                link: Some(text),
                text: None,
            },
            Unit::File(bytes) => {
                let sha256 = digest(&bytes);
                let wanted = path.contains(".service") && bytes.len() <= *room;
                let text = wanted.then(|| String::from_utf8(bytes).ok()).flatten();
                *room -= text.as_ref().map_or(0, String::len);
                Self {
                    sha256,
                    link: None,
                    text,
                }
            }
        }
    }
}

/// A digest as its 64 digits.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::metadata::Sha256;

    pub(super) fn serialize<S: Serializer>(
        digest: &Sha256,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Sha256, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// How much text of units one image's facts carry, in bytes.
const TEXT_LIMIT: usize = 256 << 10;
