//! What a bakery offers: the names of its images, taken apart into extension, version and architecture.
//!
//! Pure. `NAME-VERSION-ARCH.raw` does not say where the name ends: names contain dashes and digits, and so do versions.
//! What decides is what the listing as a whole admits: of all ways to read a name the one counts whose extension most
//! other names agree on.

use std::collections::BTreeMap;

use crate::definition::nearest::nearest;
use crate::version::Version;

/// The extensions of a bakery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    extensions: BTreeMap<String, Offer>,
}

/// One extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Its versions for this architecture, newest first, each once.
    pub versions: Vec<Version>,
    /// Other architectures that there are images for.
    pub elsewhere: Vec<String>,
}

/// One way to read the name of an image.
struct Reading<'n> {
    name: &'n str,
    version: &'n str,
}

impl Catalog {
    /// Takes a listing of file names apart; what is no image of an extension is passed over. `architecture` is systemd's
    /// name of this machine's.
    #[must_use]
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>, architecture: Option<&str>) -> Self {
        let mut stems: Vec<(&str, &str)> =
            names.into_iter().filter_map(split_architecture).collect();
        stems.sort_unstable();
        stems.dedup();
        let mut support: BTreeMap<&str, usize> = BTreeMap::new();
        let mut last = "";
        for (stem, _) in &stems {
            // Two architectures of one version are one witness.
            if *stem != last {
                for reading in readings(stem) {
                    *support.entry(reading.name).or_default() += 1;
                }
                last = stem;
            }
        }
        let mut extensions: BTreeMap<String, Offer> = BTreeMap::new();
        for (stem, own) in stems {
            let best = readings(stem).max_by_key(|reading| {
                (
                    is_plain(reading.version),
                    support.get(reading.name).copied(),
                    std::cmp::Reverse(reading.name.len()),
                )
            });
            let Some(Reading { name, version }) = best else {
                continue;
            };
            let Ok(version) = version.parse::<Version>() else {
                continue;
            };
            let offer = extensions.entry(name.to_owned()).or_default();
            if Some(own) == architecture {
                offer.versions.push(version);
            } else if !offer.elsewhere.iter().any(|other| other == own) {
                offer.elsewhere.push(own.to_owned());
            }
        }
        for offer in extensions.values_mut() {
            offer.versions.sort_by(|one, two| two.cmp(one));
            offer.versions.dedup();
        }
        Self { extensions }
    }

    /// The extension of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Offer> {
        self.extensions.get(name)
    }

    /// The name that somebody who wrote this one may have meant.
    #[must_use]
    pub fn near(&self, name: &str) -> Option<&str> {
        nearest(name, self.extensions.keys().map(String::as_str))
    }

    /// All extensions whose name contains the text, in any case, by name.
    pub fn matching<'c>(&'c self, text: &str) -> impl Iterator<Item = (&'c str, &'c Offer)> {
        let wanted = text.to_lowercase();
        self.extensions
            .iter()
            .filter(move |(name, _)| name.to_lowercase().contains(&wanted))
            .map(|(name, offer)| (name.as_str(), offer))
    }
}

/// `NAME-VERSION` and the architecture of the name of an image.
fn split_architecture(file: &str) -> Option<(&str, &str)> {
    let stem = file.strip_suffix(".raw")?;
    if stem.contains('/') || stem.len() > 255 {
        return None;
    }
    ARCHITECTURES.iter().find_map(|architecture| {
        let rest = stem.strip_suffix(architecture)?.strip_suffix('-')?;
        Some((rest, *architecture))
    })
}

/// Every way to read `NAME-VERSION`: the version begins after a dash, with a digit that a `v` may precede.
fn readings(stem: &str) -> impl Iterator<Item = Reading<'_>> {
    stem.match_indices('-').filter_map(move |(dash, _)| {
        let (name, version) = (&stem[..dash], &stem[dash + 1..]);
        let digits = version.strip_prefix('v').unwrap_or(version);
        let begins = digits.starts_with(|sign: char| sign.is_ascii_digit());
        (begins && !name.is_empty() && !name.starts_with('.')).then_some(Reading { name, version })
    })
}

/// Whether a version begins as most do: a whole number, then nothing, a dot, a plus, a tilde or a dash.
fn is_plain(version: &str) -> bool {
    let digits = version.strip_prefix('v').unwrap_or(version);
    let rest = digits.trim_start_matches(|sign: char| sign.is_ascii_digit());
    rest.is_empty() || rest.starts_with(['.', '+', '~', '-', '_'])
}

/// Architectures that images are built for, by systemd's names; no name is the end of a later one.
const ARCHITECTURES: [&str; 10] = [
    "x86-64",
    "arm64",
    "riscv64",
    "loongarch64",
    "ppc64-le",
    "s390x",
    "mips64-le",
    "x86",
    "arm",
    "ppc64",
];

#[cfg(test)]
mod tests;
