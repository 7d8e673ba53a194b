//! Why the releases of a repository cannot be used, and what the user can do about it.

use std::io;
use std::sync::Arc;

use crate::fetch::FetchError;
use crate::inventory::remote::RemoteError;
use crate::metadata::Sha256;

/// Why the releases of a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReleasesError {
    /// The list cannot be fetched.
    #[error("cannot list the releases of '{url}'")]
    Fetch {
        /// The repository.
        url: String,
        /// Whether somebody's name was given.
        is_private: bool,
        /// The cause.
        source: FetchError,
    },
    /// The list breaks off, or is too large.
    #[error("cannot read the list of releases '{url}'")]
    Read {
        /// The page.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// It is something else.
    #[error("'{url}' is no list of releases: {cause}")]
    NoList {
        /// The page.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// There are releases that match, and none that can be used.
    #[error("no release of '{url}' can be used, of the newest '{name}'")]
    Unusable {
        /// The repository.
        url: String,
        /// The newest asset.
        name: String,
        /// What is wrong with it.
        source: Arc<PassedOver>,
    },
}

impl ReleasesError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Fetch {
                source: FetchError::RateLimited { .. },
                is_private: false,
                ..
            } => Some(
                "nothing was changed. Without a token, an address is answered 60 times an hour: put a token into a file of mode \
                 0600, and name it with `credential` in [source]",
            ),
            Self::Fetch {
                source: FetchError::RateLimited { .. },
                ..
            } => Some("nothing was changed; the limit is that of the token, whoever else uses it"),
            Self::Fetch {
                source: FetchError::NeedsAuthentication { .. },
                ..
            } => Some("the token that `credential` names is not accepted; it may have expired"),
            Self::Fetch {
                source: error,
                is_private: false,
                ..
            } if error.is_not_found() => Some(
                "the address is wrong, or the repository is a private one: that needs a token, which `credential` in [source] \
                 names",
            ),
            Self::Fetch { .. } | Self::Read { .. } => {
                Some("nothing was changed; `--offline` works with what is on this host")
            }
            Self::NoList { .. } => Some(
                "the API may be another one: `api_url` names it, \"https://HOST/api/v3\" on a GitHub Enterprise Server",
            ),
            Self::Unusable { source, .. } => source.hint(),
        }
    }
}

/// Why an asset that matches is not offered.
#[derive(Debug, thiserror::Error)]
pub enum PassedOver {
    /// Others are newer by far.
    #[error("so many newer ones match that its checksum was not asked for")]
    TooOld,
    /// Nothing says what its bytes are.
    #[error("the release has no '{manifest}', and no checksum that would do comes from the API")]
    NoManifest {
        /// The name of what it lacks.
        manifest: String,
    },
    /// Nobody has signed it.
    #[error("nothing beside '{manifest}' of the release is a signature of it")]
    Unsigned {
        /// The name of what is not signed.
        manifest: String,
    },
    /// The checksums cannot be trusted or read.
    #[error("its checksums cannot be used, '{manifest}' of the release")]
    Manifest {
        /// Their name.
        manifest: String,
        /// The cause.
        source: Box<RemoteError>,
    },
    /// The checksums are of others.
    #[error("'{manifest}' of the release does not name it")]
    Unlisted {
        /// Their name.
        manifest: String,
    },
    /// There is more than one checksum.
    #[error("'{manifest}' of the release names several checksums of it")]
    Ambiguous {
        /// Their name.
        manifest: String,
    },
    /// It is not what it should be.
    #[error("its checksum is {announced}, but '{manifest}' of the release says {listed}")]
    Contradiction {
        /// The name of the checksums.
        manifest: String,
        /// What they say.
        listed: Sha256,
        /// What the API says.
        announced: Sha256,
    },
    /// Its name has another digest (`@h`).
    #[error("its name says another checksum")]
    Misnamed,
}

impl PassedOver {
    /// Whether somebody should look, however old it is.
    pub(super) fn is_alarming(&self) -> bool {
        matches!(self, Self::Contradiction { .. } | Self::Misnamed)
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsigned { .. } => Some(
                "looked for among the assets: SHA256SUMS with .asc, .gpg, .sha256.asc, .sha256.gpg (OpenPGP) or .minisig. If \
                 the publisher signs nothing, `verify = \"none\"` accepts what the API says",
            ),
            Self::NoManifest { .. } => Some(
                "the publisher has to add a SHA256SUMS to the release; `manifest` says if it has another name",
            ),
            Self::Manifest { source, .. } => source.hint(),
            _ => None,
        }
    }
}
