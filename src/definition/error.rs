//! What makes the reading of definitions fail; every variant names the file, and the line where there is one.

use std::path::PathBuf;

use super::component::ComponentNameError;
use super::transfer::Origin;

/// Why a component's definitions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A file of systemd's form is refused in the course of parsing; two lines, as systemd prints them.
    #[error("{origin}: {message}\n{origin}: Failed to parse file: {errno}")]
    Unparsable {
        /// The line at fault.
        origin: Origin,
        /// systemd's first message.
        message: String,
        /// systemd's words for the cause.
        errno: &'static str,
    },
    /// A line is refused, or the transfer as a whole is (then it is line 1 of the main file).
    #[error("{origin}: {message}")]
    Refused {
        /// The place at fault.
        origin: Origin,
        /// What is wrong with it.
        message: String,
    },
    /// A path that only partitions can have; systemd names no file here.
    #[error("Automatic root path discovery only supported for partition resources.")]
    AutomaticPath {
        /// The main file of the transfer.
        file: PathBuf,
    },
    /// There is no partition for boot loaders; systemd names no file here.
    #[error("{message}")]
    Boot {
        /// The main file of the transfer.
        file: PathBuf,
        /// systemd's words.
        message: String,
    },
    /// The disk that partitions are on is not there; systemd names no file here.
    #[error("Failed to resolve '{path}': {cause}", path = path.display())]
    Disk {
        /// Its outer path.
        path: PathBuf,
        /// The cause, in systemd's words.
        cause: String,
    },
    /// A native file is refused.
    #[error("{origin}:{column}: {message}\n  {text}")]
    Native {
        /// The line at fault.
        origin: Origin,
        /// The column, in characters from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// The line itself, shortened, control characters escaped.
        text: String,
    },
    /// A component is defined in both forms.
    #[error("component '{component}' is defined twice, by '{native}' and by '{systemd}'", native = native.display(), systemd = systemd.display())]
    DefinedTwice {
        /// The component.
        component: String,
        /// The native file.
        native: PathBuf,
        /// The first transfer of systemd's form.
        systemd: PathBuf,
    },
    /// No component can have that name.
    #[error(transparent)]
    Name(#[from] ComponentNameError),
    /// The name of a native file is no component's name.
    #[error("{file}: {error}", file = file.display())]
    FileName {
        /// The file.
        file: PathBuf,
        /// Why its stem is no name.
        error: ComponentNameError,
    },
    /// A drop-in or component file that is no regular file, a link to /dev/null among them (compat 1 section 2.8).
    #[error("Failed to open {path}: File descriptor in bad state", path = path.display())]
    NoRegularFile {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read '{path}'", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A directory cannot be listed.
    #[error("cannot list directory '{path}'", path = path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl DefinitionError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::DefinedTwice { .. } => Some(
                "remove one of them, or let the native file stand in for the other: `replaces = [\"/PATH\"]` at its top",
            ),
            // What is meant already stands in the line.
            Self::Native { message, .. } if message.contains("did you mean") => None,
            Self::Native { .. } => Some(
                "correct the line; sysupdate.toml(5) has all settings (`sysupdate generate man 5`)",
            ),
            Self::Unparsable { .. } | Self::Refused { .. } | Self::AutomaticPath { .. } => Some(
                "correct the definition; sysupdate.d(5) and sysupdate.toml(5) have all settings (`sysupdate generate man 5`)",
            ),
            _ => None,
        }
    }
}
