//! The error of a run: one transparent variant per layer, and the next step for the user.

use std::fmt::Write as _;
use std::io;

use crate::activate::ActivateError;
use crate::install::lock::LockError;
use crate::install::{AcquireError, InstallError, VacuumError};
use crate::plan::PlanError;
use crate::session::SessionError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A component could not be read or surveyed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The request is refused.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Another run works on the same root.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The plan could not be carried out.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Something old could not be removed.
    #[error(transparent)]
    Vacuum(#[from] VacuumError),
    /// The files were switched, what uses them could not be.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// The result could not be written to stdout.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
}

impl Error {
    /// What the user can do about it, as far as anything is known.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Session(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Install(InstallError::Acquire { source, .. }) => AcquireError::hint(source),
            Self::Install(InstallError::Switch { source, .. }) => source.hint(),
            Self::Install(InstallError::Space(_)) => Some(
                "free some space, or keep fewer versions: `instances_max` in [target] (`InstancesMax=`), `-m 1 vacuum` at once",
            ),
            Self::Install(InstallError::Cancelled) => Some(
                "nothing was switched; the next run resumes the update, and a download where it was cut off",
            ),
            Self::Activate(error) => return error.hints(),
            Self::Install(_) | Self::Vacuum(_) | Self::Output(_) => None,
        };
        hint.map(str::to_owned).into_iter().collect()
    }
}

/// An error with all its causes, in one line. A cause that its effect already spells out is not said twice.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}
