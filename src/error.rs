//! The error of a run: one transparent variant per layer, and the next step for the user.

use std::io;

use crate::activate::ActivateError;
use crate::install::cleanup::CleanupError;
use crate::install::history::HistoryError;
use crate::install::lock::LockError;
use crate::install::{AcquireError, InstallError, VacuumError};
use crate::plan::PlanError;
use crate::plan::document::ApplyError;
use crate::session::SessionError;
use crate::storage::atomic::AtomicError;
use crate::trial::TrialError;

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
    /// A trial could not be conducted.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// A saved plan cannot be carried out.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The history cannot be read.
    #[error(transparent)]
    History(HistoryError),
    /// A request names what is not there, or is no name; in the words of systemd-sysupdate.
    #[error("{0}")]
    Request(String),
    /// A file of definitions, or what is noted of them, cannot be written or removed.
    #[error("cannot change the definitions")]
    DropIn(#[source] AtomicError),
    /// What no transfer owns any more cannot be found or removed.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
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
            Self::Install(InstallError::Acquire { source, .. }) => acquisition(source),
            Self::Install(InstallError::Switch { source, .. }) => source.hint(),
            Self::Install(InstallError::Space(_)) => Some(
                "free some space, or keep fewer versions: `instances_max` in [target] (`InstancesMax=`), `-m 1 vacuum` at once",
            ),
            Self::Install(InstallError::Cancelled) => Some(
                "nothing was switched; the next run resumes the update, and a download where it was cut off",
            ),
            Self::Activate(error) => return error.hints(),
            Self::Trial(error) => return error.hint().into_iter().collect(),
            Self::Apply(error) => Some(error.hint()),
            Self::Install(_)
            | Self::Vacuum(_)
            | Self::Output(_)
            | Self::History(_)
            | Self::Request(_)
            | Self::DropIn(_)
            | Self::Cleanup(_) => None,
        };
        hint.map(str::to_owned).into_iter().collect()
    }
}

/// What to do about a download that failed.
fn acquisition(error: &AcquireError) -> Option<&'static str> {
    match error {
        AcquireError::Fetch(error) => error.hint(),
        AcquireError::Write { source, .. } if is_out_of_room(source.kind()) => Some(
            "free some space, or keep fewer versions: `instances_max` in [target] (`InstancesMax=`); the next run goes on where \
             this one has ended",
        ),
        other => other.hint(),
    }
}

/// The disk is full, or what may be written of it.
fn is_out_of_room(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
