//! What follows the switches of a run: one activation for all components, also for those that a killed run left
//! switched and not activated.

use std::path::Path;

use super::Context;
use super::settings::ActivationRequest;
use crate::activate::dbus::SystemBus;
use crate::activate::{self, ActivateError, debt};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::install::Moved;
use crate::inventory::link::LinkState;
use crate::plan::Goal;
use crate::resolve::Resolution;
use crate::session::Surveyed;

/// The activation of a run.
pub(super) struct Activation<'a> {
    context: Context<'a>,
    scope: Scope,
    moved: Vec<(ComponentName, Moved)>,
}

/// Whether switches take effect on the running system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// They do.
    Running,
    /// Another root, definitions of one's own, an initrd, or `--no-activate`: only files change.
    FilesOnly,
}

impl<'a> Activation<'a> {
    pub(super) fn new(context: Context<'a>, goal: Goal) -> Self {
        let initrd = context.root.stat(Path::new("/etc/initrd-release")).is_ok();
        let running = context.root.is_host()
            && context.settings.definitions.is_none()
            && context.settings.activation == ActivationRequest::Wanted
            && goal == Goal::Install
            && !initrd;
        Self {
            context,
            scope: if running {
                Scope::Running
            } else {
                Scope::FilesOnly
            },
            moved: Vec::new(),
        }
    }

    /// Before the first link of a component moves: makes sure that its activation is not forgotten.
    pub(super) fn prepare(&self, name: &ComponentName) -> Result<(), Error> {
        match self.scope {
            Scope::Running => Ok(debt::note(
                self.context.root,
                &self.context.session.loader.key(name),
            )
            .map_err(ActivateError::Debt)?),
            Scope::FilesOnly => Ok(()),
        }
    }

    /// What an earlier run moved and did not come to activate.
    pub(super) fn owed(&self, surveyed: &Surveyed, resolution: &Resolution<'_>) -> Vec<Moved> {
        if self.scope == Scope::FilesOnly
            || !debt::is_noted(
                self.context.root,
                &self.context.session.loader.key(&surveyed.component.name),
            )
        {
            return Vec::new();
        }
        let Some(set) = resolution.current.map(|index| &resolution.sets[index]) else {
            return Vec::new();
        };
        let parts = resolution.transfers.iter().zip(&set.parts);
        let moved = parts.filter_map(|((transfer, inventory), part)| {
            let target = part.installed?.path()?;
            let link = match &inventory.link {
                None => None,
                Some(link) if link.state == LinkState::To(target.to_path_buf()) => {
                    Some(link.path.clone())
                }
                Some(_) => return None,
            };
            Some(Moved {
                transfer: transfer.id.clone(),
                version: set.version.to_string(),
                target: target.to_path_buf(),
                activation: transfer.activation.clone(),
                link,
            })
        });
        moved.collect()
    }

    /// Takes note of what a component's update moved.
    pub(super) fn add(&mut self, name: &ComponentName, moved: Vec<Moved>) {
        if moved.is_empty() && self.scope == Scope::Running {
            // Nothing of it changed, so nothing is owed. A note that stays costs one needless merge.
            let _ = debt::clear(self.context.root, &self.context.session.loader.key(name));
        }
        self.moved
            .extend(moved.into_iter().map(|moved| (name.clone(), moved)));
    }

    /// Activates everything that moved, with one merge. What failed for a passing reason is tried again by the next run.
    pub(super) fn run(self) -> Result<(), Error> {
        if self.scope == Scope::FilesOnly || self.moved.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self
            .moved
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        let moves: Vec<activate::Moved<'_>> = self
            .moved
            .iter()
            .zip(&names)
            .map(|((_, moved), name)| activate::Moved {
                component: name,
                version: &moved.version,
                activation: &moved.activation,
                target: &moved.target,
                link: moved.link.as_deref(),
            })
            .collect();
        let plan = activate::plan(&moves);
        let root = self.context.root;
        activate::require_reboot(root, &plan.reboot)?;
        let result = if plan.is_empty() {
            Ok(())
        } else {
            SystemBus::new()
                .map_err(ActivateError::Bus)
                .and_then(|bus| activate::activate(&plan, &bus, self.context.reporter))
        };
        if !result
            .as_ref()
            .is_err_and(ActivateError::is_worth_another_try)
        {
            for (name, _) in &self.moved {
                debt::clear(root, &self.context.session.loader.key(name))
                    .map_err(ActivateError::Debt)?;
            }
        }
        Ok(result?)
    }
}
