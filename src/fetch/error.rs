//! Why a transfer failed.
//!
//! Owns the error of the layer and its way through [`io::Error`], which is all that a `Read` can give back.
//! The sentences that scripts may look for are those of the original (compat B8.1).

use std::fmt;
use std::io;
use std::time::Duration;

use jiff::Timestamp;

/// Why something could not be fetched. Each variant but the last carries the URL as the caller spelled it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server answered with a status that is no success.
    #[error("HTTP request to {url} failed with code {code}.")]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        code: u16,
    },
    /// The server has been asked too often.
    #[error(
        "HTTP request to {url} failed with code {code}: the server's rate limit is used up{renewal}."
    )]
    RateLimited {
        /// What was asked for.
        url: String,
        /// The status code.
        code: u16,
        /// When it will answer again.
        renewal: Renewal,
    },
    /// The server answered 401.
    #[error(
        "Access to image requires authentication. (HTTP request to {url} failed with code 401.)"
    )]
    NeedsAuthentication {
        /// What was asked for.
        url: String,
    },
    /// A file URL names nothing.
    #[error("Transfer failed: Could not read a file:// file: '{url}': {cause}")]
    NoSuchFile {
        /// What was asked for.
        url: String,
        /// What the kernel said.
        cause: String,
    },
    /// A file URL names something that cannot be read.
    #[error("Transfer failed: Could not read a file:// file: '{url}': {cause}")]
    Io {
        /// What was asked for.
        url: String,
        /// What the kernel said.
        cause: String,
    },
    /// No connection.
    #[error("Transfer failed: Could not connect to server for '{url}': {cause}")]
    Connect {
        /// What was asked for.
        url: String,
        /// What the kernel or the proxy said.
        cause: String,
    },
    /// The name of the host (or of the proxy) is unknown.
    #[error("Transfer failed: Could not resolve hostname of '{url}': {cause}")]
    Resolve {
        /// What was asked for.
        url: String,
        /// What the resolver said.
        cause: String,
    },
    /// No secure connection, mostly a certificate that is not trusted.
    #[error("Transfer failed: cannot establish a secure connection for '{url}': {cause}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What the TLS library said.
        cause: String,
    },
    /// No connection, or no answer, in time.
    #[error("Transfer failed: no answer for '{url}' within {seconds} s")]
    Timeout {
        /// What was asked for.
        url: String,
        /// The limit, rounded down.
        seconds: u64,
    },
    /// The body arrives too slowly, or has stopped to arrive.
    #[error("Transfer failed: '{url}' stalled: fewer than {bytes} bytes in {seconds} s")]
    TooSlow {
        /// What was asked for.
        url: String,
        /// What should have arrived at least.
        bytes: u64,
        /// In that time.
        seconds: u64,
    },
    /// A body of which little is expected still is not whole.
    #[error("Transfer failed: '{url}' takes longer than {seconds} s")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// The body ended before its announced length.
    #[error(
        "Transfer failed: Transferred a partial file: got {received} of {expected} bytes of '{url}'{detail}"
    )]
    Partial {
        /// What was asked for.
        url: String,
        /// Bytes that arrived.
        received: u64,
        /// Bytes that were announced.
        expected: u64,
        /// Empty, or `: ` and why the connection ended.
        detail: String,
    },
    /// More redirects than allowed.
    #[error("Transfer failed: Number of redirects hit maximum amount ({limit}) for '{url}'")]
    TooManyRedirects {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// A redirect that is not followed.
    #[error(
        "Transfer failed: Unsupported protocol: '{url}' redirects to '{target}', refused: {reason}"
    )]
    RedirectRefused {
        /// What was asked for.
        url: String,
        /// Where the server sent us.
        target: String,
        /// Why we do not go there.
        reason: &'static str,
    },
    /// A scheme other than http, https and file.
    #[error("Transfer failed: Unsupported protocol: '{url}' is no http, https or file URL")]
    UnsupportedScheme {
        /// What was asked for.
        url: String,
    },
    /// Something that is no URL.
    #[error("'{url}' is not a valid URL: {reason}")]
    InvalidUrl {
        /// What was asked for, control characters escaped.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server sends only whole files.
    #[error("'{url}' cannot be read in parts: the server answers ranges with the whole file")]
    NoRanges {
        /// What was asked for.
        url: String,
    },
    /// The server answered 416: it has nothing in that range.
    #[error("HTTP request to {url} failed with code 416.")]
    OutOfRange {
        /// What was asked for.
        url: String,
        /// The length of the whole, if the server tells.
        length: Option<u64>,
    },
    /// The server sent another part than the one asked for.
    #[error("Transfer failed: '{url}' was answered with the wrong part: {cause}")]
    WrongRange {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Between two requests it became another one.
    #[error("Transfer failed: '{url}' was replaced while it was read")]
    Changed {
        /// What was asked for.
        url: String,
    },
    /// Looking into it would cost more than it is worth.
    #[error("'{url}' is not read any further: more than {bytes} bytes or {requests} requests")]
    TooMuch {
        /// What was asked for.
        url: String,
        /// The most that may be fetched, in bytes.
        bytes: u64,
        /// The most that may be asked.
        requests: u32,
    },
    /// What would let us in cannot be shown.
    #[error("cannot use the credential '{name}': {cause}")]
    Credential {
        /// Its name or path, never the secret.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// [`super::Cancel`] was thrown.
    #[error("transfer of '{url}' cancelled")]
    Cancelled {
        /// What was asked for.
        url: String,
    },
    /// The server does not speak HTTP as it should, or broke the connection off.
    #[error("Transfer failed: '{url}': {cause}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What was wrong.
        cause: String,
    },
    /// The network thread could not be started.
    #[error("cannot start the network thread: {cause}")]
    Setup {
        /// What was wrong.
        cause: String,
    },
}

impl FetchError {
    /// Whether the thing simply is not there (404, or no such file), so that looking elsewhere makes sense.
    ///
    /// compat: 410 is not among them (B7.2: only 404 moves the signature search on).
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Status { code: 404, .. } | Self::NoSuchFile { .. }
        )
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500..=599),
            Self::Connect { .. }
            | Self::Resolve { .. }
            | Self::Timeout { .. }
            | Self::TooSlow { .. }
            | Self::Partial { .. }
            | Self::Protocol { .. } => true,
            _ => false,
        }
    }

    /// What the user can do about it, where that follows from the failure itself.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Status { code: 404, .. } => Some(
                "nothing is there: look at the source's URL in the definition (`url`, `Path=`), which is that of the directory, and \
                 whether the publisher has taken it away",
            ),
            Self::NeedsAuthentication { .. } => Some(
                "name a credential in the definition (`credential`, `X-Credential=`): user and password, or a token",
            ),
            Self::Tls { cause, .. }
                if cause.contains("expired") || cause.contains("not valid yet") =>
            {
                Some(
                    "see whether this host's clock is right (`timedatectl`); if it is, the server needs another certificate",
                )
            }
            Self::Tls { cause, .. } if cause.contains("UnknownIssuer") => Some(
                "if the server has a certificate by an authority of your own, name that: `ca_file` in [network] of config.toml",
            ),
            Self::Connect { .. } | Self::Resolve { .. } | Self::Timeout { .. } => Some(
                "nothing was changed: see whether this host is online, and whether the source's URL is right; `--offline` works \
                 with what is here",
            ),
            _ => None,
        }
    }

    /// Whether the transfer was ended by [`super::Cancel`].
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }

    /// The transport's error inside an error that a [`super::Body::reader`] gave, if there is one.
    pub fn of_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Takes the transport's error out of an error that a [`super::Body::reader`] gave.
    ///
    /// # Errors
    /// The same error when there is none inside.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }
}

/// When a server that has been asked too often will answer again. Displayed as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It does not say.
    Unknown,
    /// Then.
    At(Timestamp),
    /// After so long.
    After(Duration),
}

impl fmt::Display for Renewal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::At(time) => write!(formatter, " until {time}"),
            Self::After(wait) => write!(formatter, " for another {} s", wait.as_secs()),
        }
    }
}

impl From<FetchError> for io::Error {
    fn from(error: FetchError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> FetchError {
        FetchError::Status {
            url: "http://h/f".to_owned(),
            code,
        }
    }

    #[test]
    fn only_a_missing_thing_counts_as_not_found() {
        let url = || "file:///f".to_owned();
        assert!(status(404).is_not_found());
        assert!(
            FetchError::NoSuchFile {
                url: url(),
                cause: String::new()
            }
            .is_not_found()
        );
        assert!(!status(410).is_not_found());
        assert!(!status(500).is_not_found());
        assert!(
            !FetchError::Io {
                url: url(),
                cause: String::new()
            }
            .is_not_found()
        );
        assert!(!FetchError::NeedsAuthentication { url: url() }.is_not_found());
    }

    #[test]
    fn an_error_comes_out_of_io_as_it_went_in() {
        let inside = io::Error::from(status(500));
        assert_eq!(FetchError::of_io(&inside), Some(&status(500)));
        assert_eq!(FetchError::from_io(inside).ok(), Some(status(500)));
        let other = io::Error::other("disk");
        assert_eq!(FetchError::of_io(&other), None);
        assert!(FetchError::from_io(other).is_err());
        assert!(FetchError::of_io(&io::Error::from(io::ErrorKind::NotFound)).is_none());
    }

    #[test]
    fn a_status_is_told_in_the_words_of_the_original() {
        assert_eq!(
            status(503).to_string(),
            "HTTP request to http://h/f failed with code 503."
        );
    }
}
