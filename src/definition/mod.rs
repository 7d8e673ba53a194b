//! Definitions: text on disk to typed transfers.
//!
//! Owns both syntaxes (systemd's files and native TOML), where their files lie, and the checks that a transfer must pass.
//! It only reads, through [`Root`]; it never asks the network or looks at a target. In the flow it stands first: what
//! comes out is all that inventory, resolve and plan know of the configuration.
//!
//! `search` finds files, `ini` and `toml` read the syntaxes, `keys` is the one table that both feed, `check` turns the
//! draft into a [`transfer::Transfer`] or a [`DefinitionError`].

mod assign;
mod boot;
mod check;
mod component;
mod condition;
pub mod config;
mod draft;
mod error;
mod fault;
mod feature;
pub mod github;
mod ini;
mod keys;
pub(crate) mod nearest;
mod schema;
mod search;
mod toml;
pub mod transfer;
pub(crate) mod value;
pub mod window;
mod words;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub use boot::BootPaths;
pub use component::{ComponentKey, ComponentName, ComponentNameError, ComponentSettings};
pub use condition::Suggestion;
pub use error::DefinitionError;
pub use feature::Feature;

use crate::event::{Event, Reporter, Severity};
use crate::host::Host;
use crate::root::Root;
use check::{Check, Syntax};
use draft::Draft;
use schema::Schema;
use search::{DIRECTORIES, Found, Kind, Search};
use transfer::Transfer;

/// Reads definitions.
#[derive(Debug, Clone, Copy)]
pub struct Loader<'a> {
    /// Where the files lie.
    pub root: &'a Root,
    /// What specifiers stand for.
    pub host: &'a Host,
    /// `--definitions=`: replaces the search directories. Relative to the working directory, or absolute.
    pub directory: Option<&'a Path>,
    /// `--transfer-source=`: what `PathRelativeTo=explicit` is relative to.
    pub transfer_source: Option<&'a Path>,
    /// What `PathRelativeTo=esp` and its like are, where the environment says so.
    pub boot: BootPaths<'a>,
}

/// All that is defined for one component.
#[derive(Debug, Clone)]
pub struct Component {
    /// Which one.
    pub name: ComponentName,
    /// Whether `update` and `acquire` take it.
    pub enabled: bool,
    /// One line for people: its own, or that of its first transfer that has one.
    pub description: Option<String>,
    /// URLs of documentation.
    pub documentation: Vec<String>,
    /// All transfers, disabled ones too, in order.
    pub transfers: Vec<Transfer>,
}

impl Loader<'_> {
    /// The key under which state of a component is kept.
    #[must_use]
    pub fn key(&self, name: &ComponentName) -> ComponentKey {
        let absolute = self
            .directory
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
        ComponentKey::new(name, absolute.as_deref())
    }

    /// All named components, in byte order: `sysupdate.NAME.d` directories and native `transfer.d/NAME.toml` files.
    ///
    /// No file is opened. There are none when `--definitions=` replaces the search directories.
    ///
    /// # Errors
    /// When a directory cannot be read, or a native file has a name that no component can have.
    pub fn names(&self) -> Result<Vec<ComponentName>, DefinitionError> {
        if self.directory.is_some() {
            return Ok(Vec::new());
        }
        let mut names: BTreeSet<ComponentName> = search::component_directories(self.root)?
            .into_iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        for found in self.native_search(&Silent).files(".toml")? {
            let fail = |error| DefinitionError::FileName {
                file: self.shown(&found.path),
                error,
            };
            names.insert(found.stem.parse().map_err(fail)?);
        }
        Ok(names.into_iter().collect())
    }

    /// Whether the default component has a transfer, enabled or not (compat 1 section 7.2).
    ///
    /// # Errors
    /// When its definitions cannot be used.
    pub fn has_default(&self, reporter: &dyn Reporter) -> Result<bool, DefinitionError> {
        Ok(!self
            .load(&ComponentName::Default, reporter)?
            .transfers
            .is_empty())
    }

    /// Reads one component; warnings go to the reporter, with their exact texts.
    ///
    /// A component of which nothing is defined has no transfers; that is no error here.
    ///
    /// # Errors
    /// The first file that cannot be used ends the reading.
    pub fn load(
        &self,
        name: &ComponentName,
        reporter: &dyn Reporter,
    ) -> Result<Component, DefinitionError> {
        let mut settings = self.settings(name, reporter)?;
        let search = self.search(name, reporter)?;
        let native = self.native_file(name, reporter)?;
        let features = self.read_features(&search)?;
        let mut transfers = Vec::new();
        if let (Some(path), ComponentName::Named(name)) = (&native, name) {
            let bytes = self.read(path, NATIVE_LIMIT)?;
            transfers.push(self.native_transfer(name, path, &bytes, &mut settings, reporter)?);
        }
        let (suffix, found) = transfer_files(&search, |file| {
            native.is_none() || !settings.replaces.contains(&file.path)
        })?;
        if let (Some(native), Some(first)) = (&native, found.first()) {
            return Err(DefinitionError::DefinedTwice {
                component: name.to_string(),
                native: self.shown(native),
                systemd: self.shown(&first.path),
            });
        }
        for file in &found {
            transfers.push(self.transfer(name, &search, file, suffix, &features)?);
        }
        let ComponentSettings {
            enabled,
            description,
            documentation,
            suggestion: _,
            replaces: _,
        } = settings;
        let told = |transfer: &Transfer| transfer.description.clone();
        let description = description.or_else(|| transfers.iter().find_map(told));
        Ok(Component {
            name: name.clone(),
            enabled,
            description,
            documentation,
            transfers,
        })
    }

    /// Reads the transfer that the bytes of a native file define, as if it lay at the inner path `path`; what they say about
    /// the component `name` goes into `settings`.
    ///
    /// # Errors
    /// When they are no definition.
    pub fn native_transfer(
        &self,
        name: &str,
        path: &Path,
        bytes: &[u8],
        settings: &mut ComponentSettings,
        reporter: &dyn Reporter,
    ) -> Result<Transfer, DefinitionError> {
        let file = toml::File {
            name,
            path: &self.shown(path),
            host: self.host,
            root: self.root,
            boot: self.boot,
            reporter,
        };
        file.load(bytes, settings)
    }

    /// The files in systemd's form that the transfers of a component are read from, drop-ins behind their main files:
    /// inner paths.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn files(&self, name: &ComponentName) -> Result<Vec<PathBuf>, DefinitionError> {
        let search = self.search(name, &Silent)?;
        let (suffix, found) = transfer_files(&search, |_| true)?;
        let mut files = Vec::new();
        for file in found {
            let drop_ins = search.drop_ins(&format!("{}{suffix}", file.stem))?;
            files.push(file.path);
            files.extend(drop_ins);
        }
        Ok(files)
    }

    /// The native file that defines a component, if there is one: an inner path.
    ///
    /// # Errors
    /// When an inode cannot be read.
    pub fn native(&self, name: &ComponentName) -> Result<Option<PathBuf>, DefinitionError> {
        self.native_file(name, &Silent)
    }

    /// Reads the features of one component, sorted by id.
    ///
    /// # Errors
    /// The first file that cannot be used ends the reading.
    pub fn features(
        &self,
        name: &ComponentName,
        reporter: &dyn Reporter,
    ) -> Result<Vec<Feature>, DefinitionError> {
        self.read_features(&self.search(name, reporter)?)
    }

    /// Reads the `.component` file of a component and its drop-ins; what is not set has its default. The default component has
    /// no such files, and none are read with `--definitions=`.
    ///
    /// # Errors
    /// The first file that cannot be used ends the reading.
    pub fn settings(
        &self,
        name: &ComponentName,
        reporter: &dyn Reporter,
    ) -> Result<ComponentSettings, DefinitionError> {
        let mut settings = ComponentSettings::default();
        let (ComponentName::Named(name), None) = (name, self.directory) else {
            return Ok(settings);
        };
        name.parse::<ComponentName>()?;
        let unit = format!("sysupdate.{name}.component");
        let directories = DIRECTORIES.map(PathBuf::from).to_vec();
        let search = Search {
            root: self.root,
            reporter,
            directories,
        };
        let main = search.first(&unit)?.map(|(path, _)| path);
        self.apply(
            &search,
            main.as_deref(),
            &unit,
            &component::SCHEMA,
            &mut settings,
        )?;
        Ok(settings)
    }

    fn transfer(
        &self,
        name: &ComponentName,
        search: &Search<'_>,
        file: &Found,
        suffix: &str,
        features: &[Feature],
    ) -> Result<Transfer, DefinitionError> {
        let mut draft = Draft::default();
        self.apply(
            search,
            Some(&file.path),
            &format!("{}{suffix}", file.stem),
            &keys::SCHEMA,
            &mut draft,
        )?;
        let enabled = takes_part(&draft, features);
        let check = Check {
            id: &file.stem,
            file: &self.shown(&file.path),
            key_name: match name {
                ComponentName::Default => "default",
                ComponentName::Named(name) => name,
            },
            syntax: Syntax::Systemd,
            transfer_source: self.transfer_source,
            root: self.root,
            boot: self.boot,
            reporter: search.reporter,
        };
        check.transfer(draft, enabled)
    }

    fn read_features(&self, search: &Search<'_>) -> Result<Vec<Feature>, DefinitionError> {
        let mut features = Vec::new();
        for file in search.files(".feature")? {
            let unit = format!("{}.feature", file.stem);
            let mut feature = Feature {
                id: file.stem,
                ..Feature::default()
            };
            self.apply(
                search,
                Some(&file.path),
                &unit,
                &feature::SCHEMA,
                &mut feature,
            )?;
            features.push(feature);
        }
        Ok(features)
    }

    /// Applies a main file, then its drop-ins.
    fn apply<D>(
        &self,
        search: &Search<'_>,
        main: Option<&Path>,
        unit: &str,
        schema: &Schema<D>,
        draft: &mut D,
    ) -> Result<(), DefinitionError> {
        let drop_ins = search.drop_ins(unit)?;
        for path in main
            .into_iter()
            .chain(drop_ins.iter().map(PathBuf::as_path))
        {
            let bytes = self.read(path, FILE_LIMIT)?;
            assign::assign(
                &bytes,
                &self.shown(path),
                schema,
                draft,
                self.host,
                search.reporter,
            )?;
        }
        Ok(())
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DefinitionError> {
        self.root.read(path, limit).map_err(|source| {
            // An alternate root often has no /dev/null that a link could lead to.
            let masked = || {
                self.root
                    .read_link(path)
                    .is_ok_and(|link| link.as_deref() == Some(Path::new("/dev/null")))
            };
            if source.kind() == io::ErrorKind::InvalidInput || masked() {
                DefinitionError::NoRegularFile {
                    path: self.shown(path),
                }
            } else {
                DefinitionError::Read {
                    path: self.shown(path),
                    source,
                }
            }
        })
    }

    fn search<'s>(
        &'s self,
        name: &ComponentName,
        reporter: &'s dyn Reporter,
    ) -> Result<Search<'s>, DefinitionError> {
        let set = match name {
            ComponentName::Default => "sysupdate.d".to_owned(),
            ComponentName::Named(name) => {
                name.parse::<ComponentName>()?;
                format!("sysupdate.{name}.d")
            }
        };
        let directories = match self.directory {
            None => DIRECTORIES
                .iter()
                .map(|directory| Path::new(directory).join(&set))
                .collect(),
            Some(directory) => {
                let fail = |source| DefinitionError::List {
                    path: directory.to_path_buf(),
                    source,
                };
                vec![std::path::absolute(directory).map_err(fail)?]
            }
        };
        Ok(Search {
            root: self.root,
            reporter,
            directories,
        })
    }

    fn native_search<'s>(&'s self, reporter: &'s dyn Reporter) -> Search<'s> {
        let directories = DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join("sysupdate/transfer.d"))
            .collect();
        Search {
            root: self.root,
            reporter,
            directories,
        }
    }

    fn native_file(
        &self,
        name: &ComponentName,
        reporter: &dyn Reporter,
    ) -> Result<Option<PathBuf>, DefinitionError> {
        let (ComponentName::Named(name), None) = (name, self.directory) else {
            return Ok(None);
        };
        let file = format!("{name}.toml");
        // Hidden files define nothing, as everywhere.
        if file.starts_with('.') || file.len() > 255 {
            return Ok(None);
        }
        let found = self.native_search(reporter).first(&file)?;
        Ok(found.and_then(|(path, kind)| (kind == Kind::File).then_some(path)))
    }

    fn shown(&self, path: &Path) -> PathBuf {
        search::shown(self.root, path)
    }
}

/// The transfers of a set that are wanted, and their suffix: `.transfer`, or `.conf` when there is none of those (compat 1
/// section 2.10).
fn transfer_files(
    search: &Search<'_>,
    wanted: impl Fn(&Found) -> bool,
) -> Result<(&'static str, Vec<Found>), DefinitionError> {
    let mut found = search.files(".transfer")?;
    if !found.is_empty() {
        found.retain(wanted);
        return Ok((".transfer", found));
    }
    let mut legacy = search.files(".conf")?;
    legacy.retain(wanted);
    if !legacy.is_empty() {
        let text = "As of v257, transfer definitions should have the '.transfer' extension.";
        search
            .reporter
            .report(&Event::Message(Severity::Warning, text.to_owned()));
    }
    Ok((".conf", legacy))
}

/// Whether a transfer's features let it take part (compat 1 section 6.2); a feature that is not defined is disabled.
fn takes_part(draft: &Draft, features: &[Feature]) -> bool {
    let enabled: BTreeSet<&str> = features
        .iter()
        .filter(|feature| feature.enabled)
        .map(|feature| feature.id.as_str())
        .collect();
    let is_enabled = |id: &String| enabled.contains(id.as_str());
    draft.requisite_features.iter().all(is_enabled)
        && (draft.features.is_empty() || draft.features.iter().any(is_enabled))
}

/// The words of a value, quotes removed; `None` when a quote is not closed.
#[must_use]
pub fn quoted_words(text: &str) -> Option<Vec<String>> {
    words::quoted(text).ok()
}

/// The names of all settings of a definition: in systemd's form, and in the native one without their tables.
#[cfg(test)]
pub(crate) fn settings() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let transfers = keys::SCHEMA.keys().map(|key| (key.ini, key.toml));
    let components = component::SCHEMA.keys().map(|key| (key.ini, key.toml));
    transfers.chain(components)
}

/// Drops what a mere listing of names has to say: reading the component says it again.
struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event<'_>) {}
}

/// Largest systemd-style file, in bytes: systemd bounds lines (1 MiB), not files.
const FILE_LIMIT: u64 = 64 << 20;

/// Largest native file, and largest `config.toml`, in bytes.
const NATIVE_LIMIT: u64 = 2 << 20;

#[cfg(test)]
mod tests;
