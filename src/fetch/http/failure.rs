//! What an error of the HTTP library means.
//!
//! Owns the walk along its chain of sources down to the real cause.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::super::FetchError;

/// The error of a request that got no answer.
pub(super) fn of_request(
    url: &str,
    error: &reqwest::Error,
    connect_timeout: Duration,
) -> FetchError {
    let url = url.to_owned();
    let chain = chain(error);
    if error.is_timeout() {
        return FetchError::Timeout {
            url,
            seconds: connect_timeout.as_secs(),
        };
    }
    let cause = cause(error);
    // "tls handshake eof": the peer hung up in the middle, for which there is no error of the TLS library.
    let in_handshake = chain
        .iter()
        .any(|link| link.to_string().starts_with("tls handshake"));
    if in_handshake || chain.iter().any(|link| link.is::<rustls::Error>()) {
        FetchError::Tls { url, cause }
    } else if chain
        .iter()
        .any(|link| link.to_string().starts_with("dns error"))
    {
        FetchError::Resolve { url, cause }
    } else if error.is_connect() {
        FetchError::Connect { url, cause }
    } else {
        FetchError::Protocol { url, cause }
    }
}

/// Whether the connection was established, and the server then closed it without a word.
pub(super) fn is_hang_up(error: &reqwest::Error) -> bool {
    let silent = chain(error)
        .into_iter()
        .any(|link| match link.downcast_ref::<io::Error>() {
            Some(inner) => matches!(
                inner.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            // The HTTP library's own words; its error type is not among our dependencies.
            None => link.to_string() == "connection closed before message completed",
        });
    silent && !error.is_connect() && !error.is_timeout()
}

/// The deepest cause, in words.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let chain = chain(error);
    let Some(deepest) = chain.last() else {
        return error.to_string();
    };
    match deepest.downcast_ref::<io::Error>() {
        // "connection refused" instead of "Connection refused (os error 111)".
        Some(inner) if is_network(inner.kind()) => inner.kind().to_string(),
        _ => deepest.to_string(),
    }
}

fn is_network(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::BrokenPipe
            | Kind::TimedOut
    )
}

/// The error and all that caused it, outermost first. What an [`io::Error`] wraps counts as its cause, which
/// [`Error::source`] alone would jump over.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain = vec![error];
    let mut current = error;
    // The bound only guards against a source that is its own.
    while chain.len() < 32 {
        let inside = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let next = match inside {
            Some(inside) => inside as &(dyn Error + 'static),
            None => match current.source() {
                Some(source) => source,
                None => break,
            },
        };
        chain.push(next);
        current = next;
    }
    chain
}
