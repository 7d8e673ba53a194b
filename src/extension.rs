//! The kinds of extensions that systemd merges into the host, and where their entries lie.
//!
//! Owns the values and the rule that makes a path an entry (systemd-sysext(8)). Never looks at a file: it goes by the
//! text of a path alone.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

/// The two kinds of extension images that systemd merges into the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtensionKind {
    /// Merged over `/usr` and `/opt`.
    Sysext,
    /// Merged over `/etc`.
    Confext,
}

impl ExtensionKind {
    /// The kind of extension that the inner path `path` belongs to: that of the search directory (`extensions` or
    /// `confexts` in `/etc`, `/run` or `/var/lib`) it lies in, directly or deeper. `None` for any other path, and
    /// for a search directory itself.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        Self::entry(path).map(|(kind, _)| kind)
    }

    /// The search directory's kind, and the name of the extension that the inner path `path` is, or is part of.
    #[must_use]
    pub fn entry(path: &Path) -> Option<(Self, String)> {
        if !path.is_absolute() {
            return None;
        }
        let path = without_dots(path);
        for base in SEARCH_BASES {
            let Ok(rest) = path.strip_prefix(base) else {
                continue;
            };
            let mut names = rest.components().map(Component::as_os_str);
            let kind = match names.next()?.to_str()? {
                "extensions" => Self::Sysext,
                "confexts" => Self::Confext,
                _ => return None,
            };
            return Some((kind, extension_name(&names.next()?.to_string_lossy())));
        }
        None
    }

    /// The service that merges all extensions of this kind.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Sysext => "systemd-sysext.service",
            Self::Confext => "systemd-confext.service",
        }
    }

    /// The host's tool for this kind.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Sysext => "systemd-sysext",
            Self::Confext => "systemd-confext",
        }
    }
}

impl fmt::Display for ExtensionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sysext => "system extension",
            Self::Confext => "configuration extension",
        })
    }
}

/// The name that systemd-sysext gives the entry `file_name`: without `.v` (a versioned directory) and `.raw`.
fn extension_name(file_name: &str) -> String {
    let name = file_name.strip_suffix(".v").unwrap_or(file_name);
    name.strip_suffix(".raw").unwrap_or(name).to_owned()
}

/// The path with `.` and `..` resolved by the text alone.
fn without_dots(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                result.pop();
            }
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

/// Where systemd looks for extensions (systemd-sysext(8)), as far as a transfer writes there.
const SEARCH_BASES: [&str; 3] = ["/etc", "/run", "/var/lib"];

#[cfg(test)]
mod tests {
    use super::*;
    use ExtensionKind::{Confext, Sysext};

    #[test]
    fn a_path_belongs_to_a_search_directory_only_beneath_it() {
        let cases = [
            ("/var/lib/extensions/a.raw", Some(Sysext)),
            ("/etc/extensions/a", Some(Sysext)),
            ("/run/extensions/a.raw", Some(Sysext)),
            ("/run/confexts/a.raw", Some(Confext)),
            ("/etc/confexts/a.raw", Some(Confext)),
            ("/var/lib/confexts/a", Some(Confext)),
            // Deeper: a versioned directory, a file of a directory extension.
            ("/var/lib/extensions/a.raw.v/a_1.raw", Some(Sysext)),
            ("/var/lib/extensions/a/usr/bin/a", Some(Sysext)),
            // Spelled oddly.
            ("//var//lib/./extensions/a.raw", Some(Sysext)),
            ("/var/lib/extensions.d/../extensions/a.raw", Some(Sysext)),
            ("/../var/lib/extensions/a.raw", Some(Sysext)),
            ("/var/lib/extensions/../extensions.d/a.raw", None),
            // The directory itself, and names that only begin alike.
            ("/var/lib/extensions", None),
            ("/var/lib/extensions/", None),
            ("/var/lib/extensions.d/a/a.raw", None),
            ("/var/lib/extensions.mutable/usr", None),
            ("/var/lib/extension/a.raw", None),
            ("/var/library/extensions/a.raw", None),
            ("/var/extensions/a.raw", None),
            ("/etcetera/extensions/a.raw", None),
            ("/srv/var/lib/extensions/a.raw", None),
            ("/usr/lib/extensions/a.raw", None),
            // No inner path at all.
            ("var/lib/extensions/a.raw", None),
            ("extensions/a.raw", None),
            ("/", None),
            ("", None),
        ];
        for (path, kind) in cases {
            assert_eq!(ExtensionKind::of_path(Path::new(path)), kind, "{path}");
        }
    }

    #[test]
    fn an_extension_is_named_after_its_entry() {
        let cases = [
            ("/var/lib/extensions/wasmtime.raw", "wasmtime"),
            ("/var/lib/extensions/wasmtime", "wasmtime"),
            (
                "/var/lib/extensions/wasmtime.raw.v/wasmtime_1.raw",
                "wasmtime",
            ),
            ("/var/lib/extensions/wasmtime.v/wasmtime_1", "wasmtime"),
            ("/var/lib/extensions/docker-1.2.raw", "docker-1.2"),
            ("/var/lib/extensions/a.raw.raw", "a.raw"),
        ];
        for (path, name) in cases {
            assert_eq!(
                ExtensionKind::entry(Path::new(path))
                    .map(|(_, name)| name)
                    .as_deref(),
                Some(name),
                "{path}"
            );
        }
    }
}
