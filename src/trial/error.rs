//! What keeps a trial from being conducted.

use crate::activate::ActivateError;
use crate::activate::system::SystemError;
use crate::install::marks::MarksError;
use crate::install::switch::SwitchError;

use super::record::RecordError;

/// A trial cannot be conducted.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What failed cannot be put on record.
    #[error(transparent)]
    Marks(#[from] MarksError),
    /// A link or a file cannot be moved back.
    #[error("cannot take version '{version}' of {component} back")]
    Back {
        /// The component.
        component: String,
        /// The version.
        version: String,
        /// The cause.
        source: SwitchError,
    },
    /// The switch that another run began cannot be finished.
    #[error("cannot finish the switch of {component} to version '{version}'")]
    Forward {
        /// The component.
        component: String,
        /// The version.
        version: String,
        /// The cause.
        source: SwitchError,
    },
    /// A reboot cannot be asked for.
    #[error(transparent)]
    Reboot(#[from] ActivateError),
    /// No image can be merged on this system as it is.
    #[error("nothing was switched")]
    Preflight(#[from] SystemError),
}

impl TrialError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Record(error) => Some(error.hint().to_owned()),
            Self::Marks(error) => Some(error.hint().to_owned()),
            Self::Back { source, .. } | Self::Forward { source, .. } => {
                let usual = "the next run goes on with it; nothing has to be cleaned up";
                Some(source.hint().unwrap_or(usual).to_owned())
            }
            Self::Reboot(error) => error.hints().into_iter().next(),
            Self::Preflight(_) => Some(
                "`losetup --list` shows who uses them (the kernel's `max_loop=` bounds them); what was fetched is kept for the \
                 next run"
                    .to_owned(),
            ),
        }
    }
}
