//! Why a source cannot be listed, and what the user can do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use jiff::Timestamp;

use super::github::ReleasesError;
use crate::fetch::FetchError;
use crate::verify::keyring::KeyringError;
use crate::verify::keys::KeysError;
use crate::verify::manifest::{ManifestError, PastMarker};
use crate::verify::memory::Finding;
use crate::verify::minisign::MinisignError;
use crate::verify::openpgp::OpenPgpError;

/// Why a source cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The manifest cannot be fetched.
    #[error("cannot fetch the manifest: Failed to retrieve image file.{}", if .0.is_not_found() { " (Wrong URL?)" } else { "" })]
    Fetch(#[source] FetchError),
    /// The manifest is too large, packed or unpacked.
    #[error(
        "Failed to read manifest file from child: Argument list too long ('{0}' is larger than 64 MiB)"
    )]
    TooLarge(String),
    /// The manifest breaks off, cannot be unpacked, or is too large.
    #[error("cannot read the manifest '{url}'")]
    Read {
        /// Its URL.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// No signature file exists, or it cannot be fetched.
    #[error("Failed to retrieve signature file, cannot verify. (Try --verify=no?)")]
    NoSignature(#[source] FetchError),
    /// The signature file breaks off or is too large.
    #[error("Failed to retrieve signature file, cannot verify. (Try --verify=no?)")]
    ReadSignature(#[source] io::Error),
    /// No minisign signature exists, or it cannot be fetched.
    #[error("cannot fetch the minisign signature of the manifest '{url}'")]
    NoMinisign {
        /// The manifest's URL.
        url: String,
        /// The cause; that of the transport, if it is one, inside.
        source: io::Error,
    },
    /// The host has nothing to verify signatures with.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The keys that a definition names, or the usual ones of minisign, cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The signature does not hold.
    #[error("cannot trust the manifest '{url}'")]
    Signature {
        /// Its URL.
        url: String,
        /// The cause.
        source: OpenPgpError,
    },
    /// The minisign signatures do not hold.
    #[error("cannot trust the manifest '{url}'")]
    Minisign {
        /// Its URL.
        url: String,
        /// The cause.
        source: MinisignError,
    },
    /// Good signatures, but by too few keys.
    #[error(
        "cannot trust the manifest '{url}': it is signed by {found} keys, but {threshold} must have signed"
    )]
    TooFewSigners {
        /// Its URL.
        url: String,
        /// So many distinct keys have signed it.
        found: usize,
        /// So many must.
        threshold: usize,
    },
    /// The signature is older than the definition allows.
    #[error("cannot trust the manifest '{url}': {age}")]
    TooOld {
        /// Its URL.
        url: String,
        /// How old it is.
        age: Age,
    },
    /// It does not follow from what was seen of the source before.
    #[error("cannot trust the manifest '{url}'")]
    Seen {
        /// Its URL.
        url: String,
        /// What is odd.
        source: Finding,
    },
    /// The manifest's text is malformed.
    #[error("cannot use the manifest '{url}'")]
    Manifest {
        /// Its URL.
        url: String,
        /// The cause.
        source: ManifestError,
    },
    /// The manifest says itself that it has expired.
    #[error(transparent)]
    Stale(#[from] PastMarker),
    /// The releases of a repository cannot be listed, or not be used.
    #[error(transparent)]
    Releases(#[from] ReleasesError),
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
}

impl RemoteError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSignature(error) if error.is_not_found() => Some(
                "looked for beside the manifest: .sha256.asc, .sha256.gpg, .gpg, .asc. If the publisher signs nothing, \
                 `Verify=no` in the definition (native: `verify = \"none\"`) accepts the manifest unauthenticated",
            ),
            Self::Stale(_) => {
                Some("the publisher has not renewed the manifest; ask, or check this host's clock")
            }
            Self::Fetch(_) => {
                Some("nothing was changed; `--offline` works with what is on this host")
            }
            Self::Cancelled => Some("nothing was changed; the next run resumes with what is here"),
            Self::Releases(error) => error.hint(),
            Self::Keyring(_) => Some(
                "install the publisher's key: `gpg --export KEY > /etc/systemd/import-pubring.pgp`",
            ),
            Self::NoMinisign { .. } => Some(
                "the signature is looked for beside the manifest, under its name with .minisig: the publisher makes it with \
                 `minisign -Sm SHA256SUMS`. `verify = \"none\"` (`Verify=no`) accepts the manifest unauthenticated",
            ),
            Self::Keys(KeysError::NoneFound { .. }) => Some(
                "put the publisher's .pub file there, or name it with `keys` in the definition (`X-Keys=`)",
            ),
            Self::Keys(KeysError::Writable { .. }) => Some(
                "see that it still is the publisher's key, then take that right away: `chmod o-w`",
            ),
            Self::Keys(KeysError::TooFew { .. }) => Some(
                "`threshold` (`X-Threshold=`) asks for more keys than `keys` (`X-Keys=`) names",
            ),
            Self::Minisign {
                source: MinisignError::UnknownKey { .. },
                ..
            } => Some(
                "if the publisher has a new key, get it from him by a way that you trust, and add its file to `keys` \
                 (`X-Keys=`), or to the usual file in /etc/sysupdate/keys",
            ),
            Self::Minisign { .. } | Self::TooFewSigners { .. } => Some(
                "nothing was changed; if it stays so, the server shows something that the publisher has not signed: ask him",
            ),
            Self::Seen {
                source: Finding::Changed { .. },
                ..
            } => Some(
                "nothing was changed. A publisher who rebuilds something signs it later; if he has (ask him), `--accept-manifest` \
                 with any verb that goes online accepts what is offered now, once, and remembers it",
            ),
            Self::Seen { .. } => Some(
                "nothing was changed. The server may be showing an old manifest; if the publisher has withdrawn something (ask \
                 him), `--accept-manifest` with any verb that goes online accepts what is offered now, once, and remembers it",
            ),
            Self::TooOld { .. } => Some(
                "the server may be showing an old manifest; ask the publisher to sign it anew, or allow more with `max_age` \
                 (`X-MaxAge=`)",
            ),
            _ => None,
        }
    }

    /// Whether what was served is at fault, so that somebody else who serves the same may do better.
    pub(super) fn is_of_the_server(&self) -> bool {
        let is_missing = |error: &FetchError| error.is_not_found();
        match self {
            Self::Fetch(error) => matches!(error, FetchError::TooLong { .. }),
            Self::Keyring(_) | Self::Keys(_) | Self::Releases(_) | Self::Cancelled => false,
            // What failed otherwise has been looked for everywhere.
            Self::NoSignature(error) => is_missing(error),
            Self::NoMinisign { source, .. } => FetchError::of_io(source).is_none_or(is_missing),
            Self::TooLarge(_)
            | Self::Read { .. }
            | Self::ReadSignature(_)
            | Self::Signature { .. }
            | Self::Minisign { .. }
            | Self::TooFewSigners { .. }
            | Self::TooOld { .. }
            | Self::Seen { .. }
            | Self::Manifest { .. }
            | Self::Stale(_) => true,
        }
    }

    /// Whether the manifest and its signature do not belong together, which may be because one of them was replaced between
    /// the two requests.
    pub(super) fn is_mismatch(&self) -> bool {
        matches!(
            self,
            Self::Signature { .. } | Self::Minisign { .. } | Self::TooFewSigners { .. }
        )
    }
}

/// How old a manifest is that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// When it was signed, if that is known.
    pub signed: Option<Timestamp>,
    /// The oldest that is allowed.
    pub limit: Duration,
}

impl Age {
    /// Whether that is too old at the time `now`; what has no time is.
    pub(super) fn is_exceeded(self, now: Timestamp) -> bool {
        let Some(signed) = self.signed else {
            return true;
        };
        let age = now.as_second().saturating_sub(signed.as_second());
        u64::try_from(age).is_ok_and(|age| age > self.limit.as_secs())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.as_secs();
        let limit = if limit.is_multiple_of(86_400) {
            format!("{} days", limit / 86_400)
        } else {
            format!("{limit} seconds")
        };
        match self.signed {
            Some(signed) => write!(
                formatter,
                "it was signed on {signed}, and more than {limit} old is not allowed"
            ),
            None => write!(
                formatter,
                "its signature does not say when it was made, and more than {limit} old is not allowed"
            ),
        }
    }
}
