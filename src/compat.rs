//! Does an extension fit an OS? The verdict of systemd-sysext(8) and systemd-confext(8), with its reason.
//!
//! Pure: from the fields of os-release(5) and of the extension's release file. The rules are what the real tools do,
//! held against them by the integration case `compat`; 257 and 262 agree in all of it.

use std::collections::BTreeMap;
use std::fmt;

use crate::extension::ExtensionKind;
use crate::host::{Host, parse_environment};
use crate::image::Release;

/// The operating system that an extension is to be merged into: this one, or the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Os {
    fields: BTreeMap<String, String>,
    architecture: Option<String>,
}

/// Whether the extension would be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would.
    Fits,
    /// It would be passed over, in silence.
    Misfit(Misfit),
}

/// The first rule that an extension breaks; where two sides differ it carries both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// There is no release file: the image is no extension of this kind.
    NoExtension {
        /// The kind that was looked for.
        kind: ExtensionKind,
    },
    /// The release file has another name than the entry.
    Name {
        /// The name of the entry.
        entry: String,
        /// The names that there are release files for.
        found: Vec<String>,
    },
    /// It is for other places than a running system, by this list.
    Scope {
        /// The list as it is written.
        extension: String,
    },
    /// It is for another architecture.
    Architecture {
        /// What the extension wants.
        extension: String,
        /// What the OS runs on, when that is known.
        os: Option<String>,
    },
    /// The os-release names no OS: then nothing is merged at all, the tools fail.
    NoOs,
    /// The release file names no OS.
    NoId,
    /// It is for another OS.
    Id {
        /// What the extension wants.
        extension: String,
        /// What the OS is.
        os: String,
    },
    /// It is for another level of the interface that the OS offers to extensions.
    Level {
        /// The kind, which gives the field its name.
        kind: ExtensionKind,
        /// What the extension wants.
        extension: String,
        /// What the OS offers.
        os: String,
    },
    /// It is for another version of the OS.
    Version {
        /// What the extension wants, if it says so.
        extension: Option<String>,
        /// What the OS is, if it says so.
        os: Option<String>,
    },
}

impl Os {
    /// An OS of these os-release fields on this architecture (systemd's name).
    pub fn new(fields: BTreeMap<String, String>, architecture: Option<String>) -> Self {
        Self {
            fields,
            architecture,
        }
    }

    /// The OS that this os-release text describes.
    pub fn parse(text: &str, architecture: Option<String>) -> Self {
        Self::new(parse_environment(text), architecture)
    }

    /// The OS of a host; `None` when it has no os-release.
    pub fn of(host: &Host) -> Option<Self> {
        let fields = host.os_release.clone()?;
        Some(Self::new(fields, host.architecture.clone()))
    }

    /// A field's value; an empty one counts as none.
    fn field(&self, name: &str) -> Option<&str> {
        value(&self.fields, name)
    }
}

/// Judges what an image says under the name of its entry.
pub fn judge(os: &Os, kind: ExtensionKind, entry: &str, release: &Release) -> Verdict {
    match release {
        Release::Fields(fields) => judge_fields(os, kind, fields),
        Release::Named(found) => Verdict::Misfit(Misfit::Name {
            entry: entry.to_owned(),
            found: found.clone(),
        }),
        Release::None => Verdict::Misfit(Misfit::NoExtension { kind }),
    }
}

/// Judges the fields of a release file.
pub fn judge_fields(os: &Os, kind: ExtensionKind, release: &BTreeMap<String, String>) -> Verdict {
    match misfit(os, kind, release) {
        None => Verdict::Fits,
        Some(misfit) => Verdict::Misfit(misfit),
    }
}

fn misfit(os: &Os, kind: ExtensionKind, release: &BTreeMap<String, String>) -> Option<Misfit> {
    let Some(own) = os.field("ID") else {
        return Some(Misfit::NoOs);
    };
    if let Some(scope) = release.get(scope_field(kind))
        && !scope.split_whitespace().any(|place| place == "system")
    {
        return Some(Misfit::Scope {
            extension: scope.clone(),
        });
    }
    if let Some(wanted) = value(release, "ARCHITECTURE")
        && wanted != ANY
        && os.architecture.as_deref() != Some(wanted)
    {
        return Some(Misfit::Architecture {
            extension: wanted.to_owned(),
            os: os.architecture.clone(),
        });
    }
    let Some(id) = value(release, "ID") else {
        return Some(Misfit::NoId);
    };
    if id == ANY {
        return None;
    }
    // compat: an OS takes the extensions of its relatives, at its own level or version. That is what 257 and 262 do;
    // versions before them have not been tried.
    let mut relatives = os.field("ID_LIKE").unwrap_or_default().split_whitespace();
    if own != id && !relatives.any(|like| like == id) {
        return Some(Misfit::Id {
            extension: id.to_owned(),
            os: own.to_owned(),
        });
    }
    let level = level_field(kind);
    if let (Some(wanted), Some(own)) = (value(release, level), os.field(level)) {
        return (wanted != own).then(|| Misfit::Level {
            kind,
            extension: wanted.to_owned(),
            os: own.to_owned(),
        });
    }
    // compat: an OS without a version, such as a rolling one, takes every version.
    let (wanted, own) = (value(release, "VERSION_ID"), os.field("VERSION_ID"));
    if own.is_none() || wanted == own {
        return None;
    }
    Some(Misfit::Version {
        extension: wanted.map(str::to_owned),
        os: own.map(str::to_owned),
    })
}

fn value<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let value = fields.get(name).map(String::as_str);
    value.filter(|value| !value.is_empty())
}

fn level_field(kind: ExtensionKind) -> &'static str {
    match kind {
        ExtensionKind::Sysext => "SYSEXT_LEVEL",
        ExtensionKind::Confext => "CONFEXT_LEVEL",
    }
}

fn scope_field(kind: ExtensionKind) -> &'static str {
    match kind {
        ExtensionKind::Sysext => "SYSEXT_SCOPE",
        ExtensionKind::Confext => "CONFEXT_SCOPE",
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoExtension { kind } => write!(f, "it is no {kind}: it has no release file"),
            Self::Name { entry, found } => write!(
                f,
                "its release file is for the name '{}', not '{entry}'",
                found.join("', '")
            ),
            Self::Scope { extension } => {
                write!(f, "built for '{extension}', not for a running system")
            }
            Self::Architecture { extension, os } => {
                differ(f, "ARCHITECTURE=", extension, os.as_deref())
            }
            Self::NoOs => f.write_str("this host does not say which OS it is (ID=)"),
            Self::NoId => f.write_str("its release file names no OS (ID=)"),
            Self::Id { extension, os } => differ(f, "ID=", extension, Some(os)),
            Self::Level {
                kind,
                extension,
                os,
            } => differ(f, &format!("{}=", level_field(*kind)), extension, Some(os)),
            Self::Version { extension, os } => match extension {
                Some(extension) => differ(f, "VERSION_ID=", extension, os.as_deref()),
                None => write!(
                    f,
                    "built for no VERSION_ID, this host is {}",
                    os.as_deref().unwrap_or("without one")
                ),
            },
        }
    }
}

fn differ(
    f: &mut fmt::Formatter<'_>,
    field: &str,
    extension: &str,
    os: Option<&str>,
) -> fmt::Result {
    let os = os.unwrap_or("without one");
    write!(f, "built for {field}{extension}, this host is {os}")
}

/// The value that stands for every OS or architecture.
const ANY: &str = "_any";

#[cfg(test)]
mod tests {
    use super::*;
    use ExtensionKind::{Confext, Sysext};

    const OS: &str = "ID=flatcar\nID_LIKE=\"coreos gentoo\"\nVERSION_ID=\"1\"\n";
    const LEVELLED: &str = "ID=flatcar\nVERSION_ID=1\nSYSEXT_LEVEL=7\nCONFEXT_LEVEL=7\n";

    fn verdict(os: &str, kind: ExtensionKind, release: &str) -> String {
        let os = Os::parse(os, Some("x86-64".to_owned()));
        match judge_fields(&os, kind, &parse_environment(release)) {
            Verdict::Fits => "fits".to_owned(),
            Verdict::Misfit(misfit) => misfit.to_string(),
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_real_tools() {
        let rows = [
            (OS, "ID=_any", "fits"),
            (OS, "ID=_any\nVERSION_ID=2\nSYSEXT_LEVEL=8", "fits"),
            (OS, "ID=flatcar\nVERSION_ID=1", "fits"),
            (OS, "ID=coreos\nVERSION_ID=1", "fits"),
            (
                OS,
                "ID=flatcar\nVERSION_ID=2",
                "built for VERSION_ID=2, this host is 1",
            ),
            (OS, "ID=flatcar", "built for no VERSION_ID, this host is 1"),
            (
                OS,
                "ID=gentoo\nVERSION_ID=2",
                "built for VERSION_ID=2, this host is 1",
            ),
            (
                OS,
                "ID=fedora\nID_LIKE=flatcar\nVERSION_ID=1",
                "built for ID=fedora, this host is flatcar",
            ),
            (OS, "", "its release file names no OS (ID=)"),
            (
                OS,
                "ID=\nVERSION_ID=1",
                "its release file names no OS (ID=)",
            ),
            // A level counts only where both sides have one, and then alone.
            (OS, "ID=flatcar\nVERSION_ID=1\nSYSEXT_LEVEL=8", "fits"),
            (LEVELLED, "ID=flatcar\nVERSION_ID=2\nSYSEXT_LEVEL=7", "fits"),
            (
                LEVELLED,
                "ID=flatcar\nVERSION_ID=1\nSYSEXT_LEVEL=8",
                "built for SYSEXT_LEVEL=8, this host is 7",
            ),
            (LEVELLED, "ID=flatcar\nVERSION_ID=1\nSYSEXT_LEVEL=", "fits"),
            (
                LEVELLED,
                "ID=flatcar\nVERSION_ID=1\nCONFEXT_LEVEL=8",
                "fits",
            ),
            ("ID=flatcar", "ID=flatcar\nVERSION_ID=2", "fits"),
            (
                "ID=flatcar\nVERSION_ID=",
                "ID=flatcar\nVERSION_ID=2",
                "fits",
            ),
            (
                "VERSION_ID=1",
                "ID=_any",
                "this host does not say which OS it is (ID=)",
            ),
            (OS, "ID=_any\nARCHITECTURE=x86-64", "fits"),
            (OS, "ID=_any\nARCHITECTURE=_any", "fits"),
            (OS, "ID=_any\nARCHITECTURE=", "fits"),
            (
                OS,
                "ID=_any\nARCHITECTURE=arm64",
                "built for ARCHITECTURE=arm64, this host is x86-64",
            ),
            (OS, "ID=_any\nSYSEXT_SCOPE=\"initrd system\"", "fits"),
            (
                OS,
                "ID=_any\nSYSEXT_SCOPE=\"initrd portable\"",
                "built for 'initrd portable', not for a running system",
            ),
            (
                OS,
                "ID=_any\nSYSEXT_SCOPE=",
                "built for '', not for a running system",
            ),
            (OS, "ID=_any\nCONFEXT_SCOPE=initrd", "fits"),
        ];
        for (os, release, expected) in rows {
            assert_eq!(verdict(os, Sysext, release), expected, "{os:?} {release:?}");
            // The rules are the same for the other kind, with its own names.
            let swapped = release
                .replace("SYSEXT", "-")
                .replace("CONFEXT", "SYSEXT")
                .replace('-', "CONFEXT");
            if !release.contains("x86-64") {
                let expected = expected.replace("SYSEXT", "CONFEXT");
                assert_eq!(
                    verdict(os, Confext, &swapped),
                    expected,
                    "{os:?} {swapped:?}"
                );
            }
        }
    }

    #[test]
    fn a_release_file_of_another_name_does_not_count() {
        let os = Os::parse(OS, None);
        let named = Release::Named(vec!["a".to_owned(), "b".to_owned()]);
        let rows = [
            (
                named,
                "its release file is for the name 'a', 'b', not 'tool'",
            ),
            (
                Release::None,
                "it is no system extension: it has no release file",
            ),
        ];
        for (release, expected) in rows {
            let Verdict::Misfit(misfit) = judge(&os, Sysext, "tool", &release) else {
                panic!("{release:?} fits");
            };
            assert_eq!(misfit.to_string(), expected);
        }
        let fields = parse_environment("ID=_any");
        assert_eq!(
            judge(&os, Sysext, "tool", &Release::Fields(fields)),
            Verdict::Fits
        );
    }

    #[test]
    fn an_unknown_architecture_fits_only_what_is_for_all() {
        let os = Os::parse(OS, None);
        for (architecture, fits) in [("_any", true), ("x86-64", false)] {
            let fields = parse_environment(&format!("ID=_any\nARCHITECTURE={architecture}"));
            let verdict = judge_fields(&os, Sysext, &fields);
            assert_eq!(verdict == Verdict::Fits, fits, "{architecture}");
        }
    }
}
