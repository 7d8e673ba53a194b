//! The glue that every verb needs: definitions to inventories, online or offline.

mod fit;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::compat::Os;
use crate::definition::transfer::{
    Authentication, Place, Source, SourceAccess, SourceCredential, Target, Transfer, UrlSource,
    Verification,
};
use crate::definition::{Component, ComponentName, DefinitionError, Loader};
use crate::event::{Event, Reporter, Severity, Silent};
use crate::fetch::{self, Access, Credential, Fetch};
use crate::install::marks::MarksError;
use crate::install::{choice, marks};
use crate::inventory::files::{self, FilesError, Side, Sort};
use crate::inventory::link::{self, LinkError, LinkState};
use crate::inventory::remote::{Demand, Interest, Listing, Manifests, RemoteError};
use crate::inventory::slots::{self, Slot, Slots};
use crate::inventory::{self, Instance, Inventory, Location, Provenance, State};
use crate::pattern::Patterns;
use crate::plan::Reach;
use crate::resolve::{self, Knowledge, Resolution};
use crate::root::Root;
use crate::storage::disk::DiskError;
use crate::verify::openpgp::{OpenPgpError, Refusal};
use crate::version::Version;

/// What a run reads with.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The file system.
    pub root: &'a Root,
    /// The definitions.
    pub loader: &'a Loader<'a>,
    /// The manifests.
    pub manifests: &'a Manifests<'a>,
    /// Who is told.
    pub reporter: &'a dyn Reporter,
    /// `--verify=`: overrides every definition.
    pub verification: Option<Verification>,
    /// What is told how sources are reached.
    pub fetch: &'a dyn Fetch,
    /// Where the credentials lie that were passed to this run (`$CREDENTIALS_DIRECTORY`).
    pub credentials: Option<&'a Path>,
    /// The operating system that images have to fit.
    pub os: &'a Os,
    /// The way to remote images that are looked into before they are here; `None`: they are not.
    pub peek: Option<&'a Arc<dyn Fetch>>,
}

/// What must be defined for a verb to work (compat 1, section 2.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// At least one transfer whose features are on.
    EnabledTransfer,
    /// At least one transfer.
    AnyTransfer,
}

/// A component and what exists of it.
#[derive(Debug)]
pub struct Surveyed {
    /// The component.
    pub component: Component,
    /// One inventory per transfer, in order; of disabled transfers only the target.
    pub inventories: Vec<Inventory>,
    /// What is known of its versions besides.
    pub knowledge: Knowledge,
}

/// A component could not be read or surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A definition is broken.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Nothing is defined.
    #[error("{}", nothing_defined(.0))]
    Undefined(ComponentName),
    /// The component is switched off.
    #[error("Component is disabled.")]
    Disabled,
    /// A source's manifest cannot be had.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A directory cannot be listed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The partitions of a disk cannot be looked at.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A current symlink cannot be examined.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What is on record of a component cannot be read.
    #[error(transparent)]
    Marks(#[from] MarksError),
}

/// What to do about a signature that does not hold.
fn untrusted(error: &OpenPgpError) -> &'static str {
    match error {
        OpenPgpError::Refused(Refusal::FromTheFuture { .. } | Refusal::KeyFromTheFuture { .. }) => {
            "see whether this host's clock is right (`timedatectl`)"
        }
        OpenPgpError::Refused(Refusal::UnknownKey { .. }) => {
            "if the publisher has a new key, get it from him by a way that you trust, and add it: `gpg --export KEY >> \
             /etc/systemd/import-pubring.pgp`"
        }
        _ => {
            "nothing was changed; if it stays so, the server shows something that the publisher has not signed: ask him"
        }
    }
}

fn nothing_defined(name: &ComponentName) -> String {
    match name {
        ComponentName::Default => "No transfer definitions found.".to_owned(),
        ComponentName::Named(name) => {
            format!("No transfer definitions for component '{name}' found.")
        }
    }
}

impl SessionError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Definition(error) => error.hint(),
            Self::Disabled => {
                Some("`sysupdate enable-component NAME` switches it on again, for the timer too")
            }
            Self::Remote(RemoteError::Fetch(error)) if error.hint().is_some() => error.hint(),
            Self::Remote(RemoteError::Signature { source, .. }) => Some(untrusted(source)),
            Self::Remote(error) => error.hint(),
            Self::Files(FilesError::Open { source, .. })
                if source.kind() == std::io::ErrorKind::NotADirectory =>
            {
                Some("move that away, or choose another directory: `path` in [target] (`Path=`)")
            }
            Self::Marks(error) => Some(error.hint()),
            _ => None,
        }
    }
}

impl Session<'_> {
    /// Reads the definitions of a component.
    ///
    /// # Errors
    /// When one is broken, or none that the verb needs exists.
    pub fn load(
        &self,
        name: &ComponentName,
        requirement: Requirement,
    ) -> Result<Component, SessionError> {
        let mut component = self.loader.load(name, self.reporter)?;
        let usable = match requirement {
            Requirement::EnabledTransfer => {
                component.transfers.iter().any(|transfer| transfer.enabled)
            }
            Requirement::AnyTransfer => !component.transfers.is_empty(),
        };
        if !usable {
            return Err(SessionError::Undefined(name.clone()));
        }
        for transfer in &component.transfers {
            match transfer.source() {
                Source::Url(source) => {
                    self.fetch.route(&source.base, self.access(&source.access));
                }
                Source::Github(source) => {
                    let access = self.access(&source.access);
                    for (base, headers) in source.parts() {
                        let access = Access {
                            headers,
                            ..access.clone()
                        };
                        self.fetch.route(&base, access);
                    }
                }
                Source::Directory(_) => {}
            }
        }
        if let Some(verification) = self.verification {
            for transfer in &mut component.transfers {
                transfer.verification = match verification {
                    Verification::Skip => Verification::Skip,
                    // It is turned on; how is for the definition to say.
                    _ => transfer.authentication.scheme,
                };
            }
        }
        Ok(component)
    }

    fn access(&self, source: &SourceAccess) -> Access {
        let credential =
            source
                .credential
                .as_ref()
                .map(|credential| match (credential, self.credentials) {
                    (SourceCredential::Named(name), Some(directory)) => {
                        Credential::Passed(directory.join(name))
                    }
                    (SourceCredential::Named(name), None) => Credential::Absent(name.clone()),
                    (SourceCredential::File(path), _) => Credential::Private(path.clone()),
                    (SourceCredential::Login(user, password), _) => Credential::Login {
                        user: user.clone(),
                        password: password.clone(),
                    },
                });
        Access {
            mirrors: source.mirrors.clone(),
            headers: source.headers.clone(),
            credential,
        }
    }

    /// Finds out what exists of a component.
    ///
    /// # Errors
    /// When a target cannot be read, or (online) a source not be listed.
    pub fn survey(&self, component: Component, reach: Reach) -> Result<Surveyed, SessionError> {
        self.survey_for(component, reach, None)
    }

    /// The same for somebody who asks for a version by name: sources that show each version by itself look at that one,
    /// too, however old it is.
    ///
    /// # Errors
    /// Those of [`Session::survey`].
    pub fn survey_for(
        &self,
        component: Component,
        reach: Reach,
        wanted: Option<&Version>,
    ) -> Result<Surveyed, SessionError> {
        let transfers = component.transfers.iter();
        let inventories = transfers
            .map(|transfer| self.inventory(transfer, reach, wanted))
            .collect::<Result<Vec<_>, _>>()?;
        let key = self.loader.key(&component.name);
        let knowledge = Knowledge {
            choice: choice::read(self.root, &key),
            marks: marks::read(self.root, &key)?,
            misfits: Vec::new(),
        };
        Ok(Surveyed {
            component,
            inventories,
            knowledge,
        })
    }

    /// What the bakery at this URL offers to this machine.
    ///
    /// # Errors
    /// When its listing cannot be had.
    pub fn catalog(&self, bakery: &str) -> Result<Catalog, SessionError> {
        let source = UrlSource {
            base: bakery.to_owned(),
            manifest: "SHA256SUMS".to_owned(),
            patterns: Patterns::default(),
            access: SourceAccess::default(),
        };
        let authentication = Authentication::default();
        // Only looked at: what is installed later is verified as its definition says.
        let demand = Demand {
            verification: Verification::Skip,
            authentication: &authentication,
        };
        let names = self.manifests.names(&source, demand)?;
        let architecture = self.loader.host.architecture.as_deref();
        Ok(Catalog::of(names.iter().map(String::as_str), architecture))
    }

    /// What the current symlinks of all other components lead to, as far as these can be read: patterns of two
    /// components may overlap in one directory, and nothing that is in use is anybody's old version.
    #[must_use]
    pub fn linked_elsewhere(&self, name: &ComponentName) -> HashSet<PathBuf> {
        let mut names = self.loader.names().unwrap_or_default();
        names.push(ComponentName::Default);
        let others = names.iter().filter(|other| *other != name);
        let components = others.filter_map(|other| self.loader.load(other, &Silent).ok());
        let links = components
            .flat_map(|component| component.transfers)
            .filter_map(|transfer| link::examine(self.root, transfer.target()).ok().flatten());
        links
            .filter_map(|link| match link.state {
                LinkState::To(destination) => Some(destination),
                _ => None,
            })
            .collect()
    }

    fn inventory(
        &self,
        transfer: &Transfer,
        reach: Reach,
        wanted: Option<&Version>,
    ) -> Result<Inventory, SessionError> {
        let target = transfer.target();
        let Slots {
            instances: mut installed,
            free,
        } = self.held(target)?;
        let Listing {
            instances: mut available,
            changed,
        } = match reach {
            Reach::Online if transfer.enabled => self.available(transfer, wanted)?,
            _ => Listing::default(),
        };
        for instances in [&mut installed, &mut available] {
            let mut duplicates = 0;
            inventory::sort(instances, |first, second| {
                duplicates += 1;
                if duplicates <= DUPLICATES_TOLD {
                    self.tell_duplicate(transfer, first, second);
                }
            });
            if duplicates > DUPLICATES_TOLD {
                let text = format!("… and {} more.", duplicates - DUPLICATES_TOLD);
                self.reporter.report(&Event::Message(Severity::Info, text));
            }
        }
        // Of what its source has changed, what was acquired may be the right one.
        let unchanged: Vec<&Instance> = available
            .iter()
            .filter(|offered| !changed.contains_key(&offered.metadata.version))
            .collect();
        distrust(&mut installed, &unchanged, transfer.verification);
        let link = link::examine(self.root, target)?;
        Ok(Inventory {
            available,
            changed,
            installed,
            free,
            // A masked one takes no part: nothing that it led to would be seen.
            link: link.filter(|link| link.state != LinkState::Masked),
        })
    }

    /// What a target holds.
    fn held(&self, target: Target<'_>) -> Result<Slots, SessionError> {
        let (directory, sort) = match target.place {
            Place::Files(directory) => (directory, Sort::Files),
            Place::Trees(directory, _) => (directory, Sort::Trees),
            Place::Slots(target) => return Ok(slots::list(self.root, target)?),
        };
        Ok(Slots {
            instances: files::list(self.root, directory, target.patterns, sort, Side::Target)?,
            free: Vec::new(),
        })
    }

    fn available(
        &self,
        transfer: &Transfer,
        wanted: Option<&Version>,
    ) -> Result<Listing, SessionError> {
        let demand = Demand {
            verification: transfer.verification,
            authentication: &transfer.authentication,
        };
        Ok(match transfer.source() {
            Source::Url(source) => self.manifests.list(source, demand)?,
            Source::Github(source) => {
                let admits = |version: &Version| resolve::admits(transfer, version);
                let interest = Interest {
                    admits: &admits,
                    wanted,
                };
                self.manifests.releases(source, demand, interest)?
            }
            Source::Directory(source) => {
                let sort = if transfer.copies_trees() {
                    Sort::Trees
                } else {
                    Sort::Files
                };
                let (path, patterns) = (&source.path, &source.patterns);
                Listing {
                    instances: files::list(self.root, path, patterns, sort, Side::Source)?,
                    ..Listing::default()
                }
            }
        })
    }

    fn tell_duplicate(&self, transfer: &Transfer, first: &Instance, second: &Instance) {
        let (left, right) = (
            first.metadata.version.as_str(),
            second.metadata.version.as_str(),
        );
        let versions = if left == right {
            format!("'{left}'")
        } else {
            format!("'{left}'/'{right}'")
        };
        let (one, two) = (self.shown(transfer, first), self.shown(transfer, second));
        let text =
            format!("Multiple instances of version {versions} found at '{one}' and '{two}'.");
        self.reporter.report(&Event::Message(Severity::Info, text));
    }

    /// Where an instance is, as messages and listings name it.
    #[must_use]
    pub fn shown(&self, transfer: &Transfer, instance: &Instance) -> String {
        match (&instance.location, transfer.source()) {
            (Location::File { path, .. } | Location::Slot(Slot { path, .. }), _) => {
                self.root.outer(path).display().to_string()
            }
            (Location::Remote { name }, Source::Url(from)) => {
                fetch::url::join(&from.base, name).unwrap_or_else(|_| name.clone())
            }
            (Location::Asset { url, .. }, _) => url.clone(),
            (Location::Remote { name }, Source::Directory(_) | Source::Github(_)) => name.clone(),
        }
    }
}

/// So many versions with several instances are told of per listing; the rest is counted.
const DUPLICATES_TOLD: usize = 10;

/// A pending file is only worth its name as long as it is what the manifest names: one of other bytes, or one that
/// nobody authenticated although verification is on now, has to be fetched again.
fn distrust(installed: &mut [Instance], available: &[&Instance], verification: Verification) {
    for pending in installed
        .iter_mut()
        .filter(|instance| instance.state == State::Pending)
    {
        let Some(Provenance {
            sha256,
            verification: then,
        }) = pending.provenance
        else {
            continue;
        };
        let offered = available
            .iter()
            .find(|offered| offered.metadata.version == pending.metadata.version);
        let holds = match offered.and_then(|offered| offered.metadata.sha256) {
            Some(expected) => expected == sha256,
            None => then == verification || verification == Verification::Skip,
        };
        if !holds {
            pending.state = State::Partial;
        }
    }
}

impl Surveyed {
    /// All transfers with their inventories.
    #[must_use]
    pub fn transfers(&self) -> Vec<(&Transfer, &Inventory)> {
        self.component
            .transfers
            .iter()
            .zip(&self.inventories)
            .collect()
    }

    /// What follows from what exists.
    #[must_use]
    pub fn resolve(&self) -> Resolution<'_> {
        let enabled: Vec<_> = self
            .transfers()
            .into_iter()
            .filter(|(transfer, _)| transfer.enabled)
            .collect();
        Resolution::new(&enabled, &self.knowledge)
    }
}
