//! Bytes in: documents and payloads from http, https and file URLs.
//!
//! Owns the transport: what a request says, which answers are a success, and when a transfer counts as broken. It
//! never judges the bytes (digests and signatures are [`crate::verify`]'s), never unpacks them, and never
//! looks at the target. What may pass is tried again, a body from where it had come to. [`Transport`] is the implementation the program uses; it sends each URL to
//! the part that knows its scheme. Everything asynchronous stays behind the `http` module: callers see plain blocking
//! readers.

mod access;
mod cancel;
mod deadline;
mod error;
mod file;
mod http;
mod range;
mod retry;
mod route;
mod transport;
pub mod url;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use access::{Access, Credential};
pub use cancel::Cancel;
pub use deadline::Deadline;
pub use error::{FetchError, Renewal};
pub use file::FileFetch;
pub use http::{HttpFetch, HttpSettings};
pub use range::{Budget, Ranged};
pub use retry::RetrySettings;
pub use route::Rewrite;
pub use transport::Transport;

/// Opens URLs. The one seam between the program and the network.
pub trait Fetch: Send + Sync {
    /// Starts a `GET`; the body is read through the response.
    ///
    /// # Errors
    /// When there is no such thing, the server refuses it, or it cannot be reached. Failures after the first byte
    /// come out of [`Body::reader`]; [`FetchError::of_io`] finds them there.
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError>;

    /// The size of the body in bytes where the server tells without sending it (`HEAD`), else `None`.
    ///
    /// # Errors
    /// When the server cannot be reached. A server that answers, but with a refusal, gives `None`.
    fn size(&self, url: &str) -> Result<Option<u64>, FetchError>;

    /// Says how URLs below `base` are reached from now on.
    fn route(&self, base: &str, access: Access) {
        let _ = (base, access);
    }

    /// Says that what has come from a URL is not what it must be: whoever has served it is asked last from now on. His
    /// address comes back, where a source has mirrors.
    fn reproach(&self, url: &str) -> Option<String> {
        let _ = url;
        None
    }

    /// Whether a URL may be had from a mirror that has not failed yet.
    fn has_alternative(&self, url: &str) -> bool {
        let _ = url;
        false
    }
}

/// What to get.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// An absolute http, https or file URL.
    pub url: &'a str,
    /// Makes the request conditional. With a range: the range is only wanted of what they stand for (`If-Range`), and
    /// something else comes whole.
    pub validators: Option<&'a Validators>,
    /// Only these bytes are wanted. A server may send everything all the same: [`Body::part`] tells.
    pub range: Option<Range>,
}

impl<'a> Request<'a> {
    /// Asks for all of it, unconditionally.
    #[must_use]
    pub fn new(url: &'a str) -> Self {
        Self {
            url,
            validators: None,
            range: None,
        }
    }
}

/// A run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte wanted, counted from 0.
    pub start: u64,
    /// The byte after the last one wanted; `None` means all that follow.
    pub end: Option<u64>,
}

/// Where the bytes of a part lie in the whole (RFC 9110 section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first byte, counted from 0.
    pub start: u64,
    /// The byte after the last one.
    pub end: u64,
    /// The length of the whole, if the server tells.
    pub total: Option<u64>,
}

/// The validators of a representation (RFC 9110 section 8.8), as the server spelled them.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// `ETag`, quotes and `W/` included.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// The answer.
#[derive(Debug)]
pub enum Response {
    /// 304 to a conditional request.
    NotModified,
    /// The bytes asked for.
    Body(Body),
}

/// A body that arrives.
pub struct Body {
    /// Its length in bytes, if announced. The reader itself fails when fewer arrive, and stops after as many.
    pub length: Option<u64>,
    /// Which part of the whole this is, `None` when it is the whole. Never another one than was asked for: it begins
    /// with the first byte wanted, and does not go beyond the last.
    pub part: Option<Part>,
    /// What tells this state of the thing from others, to compare it with an earlier answer; not fit for conditions.
    /// The `ETag` as sent; of files, inode, size and time of change.
    pub tag: Option<String>,
    /// Its validators, `None` when they are not strong enough to be trusted later: none sent, or `Last-Modified`
    /// less than one second before `Date` (RFC 9110 section 8.8.2.2).
    pub validators: Option<Validators>,
    /// `Last-Modified` in microseconds since the epoch.
    pub modified: Option<u64>,
    /// Whether the server says that it is a page of something, and another one follows (`Link`, RFC 8288).
    pub continues: bool,
    /// Whether it was put together from several answers, known at its end. A digest that does not hold may be due to
    /// that.
    pub seams: Seams,
    /// The bytes as transferred. After a failure that may pass, the rest is fetched over another connection. Errors of the transport are [`FetchError`]s inside of [`std::io::Error`]s.
    pub reader: Box<dyn Read + Send>,
}

/// Tells, while a body arrives and after, whether it comes from several answers. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Seams(Arc<AtomicBool>);

impl Seams {
    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Body")
            .field("length", &self.length)
            .field("part", &self.part)
            .field("tag", &self.tag)
            .field("validators", &self.validators)
            .field("modified", &self.modified)
            .finish_non_exhaustive()
    }
}
