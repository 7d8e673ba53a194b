//! The glue that every verb needs: definitions to inventories, online or offline.

use crate::definition::transfer::{BlobSource, Transfer};
use crate::definition::{Component, ComponentName, DefinitionError, Loader};
use crate::event::{Event, Reporter, Severity};
use crate::inventory::files::{self, FilesError, Side};
use crate::inventory::link::{self, LinkError};
use crate::inventory::remote::{Manifests, RemoteError};
use crate::inventory::{self, Inventory};
use crate::plan::{Reach, source, target};
use crate::resolve::Resolution;
use crate::root::Root;

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
    pub verification: Option<crate::definition::transfer::Verification>,
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
    /// A current symlink cannot be examined.
    #[error(transparent)]
    Link(#[from] LinkError),
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
            Self::Remote(error) => error.hint(),
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
        if let Some(verification) = self.verification {
            for transfer in &mut component.transfers {
                transfer.verification = verification;
            }
        }
        Ok(component)
    }

    /// Finds out what exists of a component.
    ///
    /// # Errors
    /// When a target cannot be read, or (online) a source not be listed.
    pub fn survey(&self, component: Component, reach: Reach) -> Result<Surveyed, SessionError> {
        let inventories = component
            .transfers
            .iter()
            .map(|transfer| self.inventory(transfer, reach))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Surveyed {
            component,
            inventories,
        })
    }

    fn inventory(&self, transfer: &Transfer, reach: Reach) -> Result<Inventory, SessionError> {
        let target = target(transfer);
        let mut installed =
            files::list(self.root, &target.directory, &target.patterns, Side::Target)?;
        let mut available = match reach {
            Reach::Online if transfer.enabled => self.available(transfer)?,
            _ => Vec::new(),
        };
        for instances in [&mut installed, &mut available] {
            inventory::sort(instances, |first, second| {
                self.tell_duplicate(first, second);
            });
        }
        Ok(Inventory {
            available,
            installed,
            link: link::examine(self.root, target)?,
        })
    }

    fn available(&self, transfer: &Transfer) -> Result<Vec<inventory::Instance>, SessionError> {
        Ok(match source(transfer) {
            BlobSource::Url(source) => self.manifests.list(source, transfer.verification)?,
            BlobSource::Directory(source) => {
                files::list(self.root, &source.path, &source.patterns, Side::Source)?
            }
        })
    }

    fn tell_duplicate(&self, first: &inventory::Instance, second: &inventory::Instance) {
        let (left, right) = (
            first.metadata.version.as_str(),
            second.metadata.version.as_str(),
        );
        let versions = if left == right {
            format!("'{left}'")
        } else {
            format!("'{left}'/'{right}'")
        };
        let (one, two) = (first.location.to_string(), second.location.to_string());
        let text =
            format!("Multiple instances of version {versions} found at '{one}' and '{two}'.");
        self.reporter.report(&Event::Message(Severity::Info, text));
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
        Resolution::new(&enabled)
    }
}
