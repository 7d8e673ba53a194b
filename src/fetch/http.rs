//! http and https URLs.
//!
//! Owns the only asynchronous code of the layer: a runtime with one worker thread, the clients, the redirects. A body
//! goes from a network task through a shallow bounded channel to a blocking reader in the caller's thread
//! ([`body`](self::body)). HTTP/1.1 only: a single large payload is faster over it than over HTTP/2. Nothing here may
//! be called from inside an asynchronous task: it blocks.

mod body;
mod clients;
mod failure;
mod headers;
mod pace;
mod paging;
mod steady;
mod tls;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap};
use reqwest::{Method, StatusCode};

use self::clients::Clients;
use self::headers::{conditions, date, microseconds, retry_after, text, validators};
use self::pace::Pace;
use self::steady::{Answer, Steady};
use super::retry::{Retry, RetrySettings};
use super::{Body, Cancel, Fetch, FetchError, Part, Range, Request, Response};
use crate::event::{Event, Reporter, Severity};

/// How to talk to servers.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `User-Agent`.
    pub user_agent: String,
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// The time over which [`Self::stall_rate`] is measured; also how long the server may think before it answers.
    pub stall_window: Duration,
    /// A body slower than this many bytes per second, on average over [`Self::stall_window`], is given up.
    pub stall_rate: u64,
    /// How many redirects are followed for one URL.
    pub redirects: usize,
    /// Every request goes through this proxy, whatever the environment says: an http or https URL.
    pub proxy: Option<String>,
    /// Files with certificates (PEM) that are trusted besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// A file with our certificate and those that lead to its authority (PEM), for servers that ask who we are.
    pub client_certificate: Option<PathBuf>,
    /// The file with its private key (PEM), which nobody else may be able to read; `None` if both are in one file.
    pub client_key: Option<PathBuf>,
    /// The most that all bodies together may bring, in bytes per second.
    pub limit_rate: Option<NonZeroU64>,
    /// What becomes of failures that may pass.
    pub retry: RetrySettings,
    /// Ends running transfers.
    pub cancel: Cancel,
}

impl Default for HttpSettings {
    /// 30 s to connect; at least 1 KiB/s over 60 s; 30 redirects (compat B8.1).
    fn default() -> Self {
        Self {
            user_agent: concat!("sysupdate/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(30),
            stall_window: Duration::from_secs(60),
            stall_rate: 1024,
            redirects: 30,
            proxy: None,
            ca_files: Vec::new(),
            client_certificate: None,
            client_key: None,
            limit_rate: None,
            retry: RetrySettings::default(),
            cancel: Cancel::new(),
        }
    }
}

/// Opens http and https URLs. Proxies come from the usual variables of the environment, trusted roots from the
/// system; the payload is delivered as transferred, whatever `Content-Encoding` says.
pub struct HttpFetch {
    network: Arc<Network>,
}

impl HttpFetch {
    /// Starts the network thread; clients are made when first needed.
    ///
    /// # Errors
    /// [`FetchError::Setup`] when no thread can be started.
    pub fn new(settings: HttpSettings) -> Result<Self, FetchError> {
        Self::telling(settings, None)
    }

    /// Like [`Self::new`]; long waits are told.
    pub(super) fn telling(
        settings: HttpSettings,
        reporter: Option<Arc<dyn Reporter>>,
    ) -> Result<Self, FetchError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(|error| FetchError::Setup {
                cause: error.to_string(),
            })?;
        let network = Network {
            runtime: Some(runtime),
            clients: Arc::new(Clients::new(settings.clone())),
            pace: Pace::new(settings.limit_rate),
            reporter,
            settings,
        };
        Ok(Self {
            network: Arc::new(network),
        })
    }
}

/// Who asks, and how patiently.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// What is shown to the server asked, and to none that it redirects to.
    pub(super) headers: HeaderMap,
    /// Whether there is nobody else to ask.
    pub(super) is_patient: bool,
}

impl Default for Caller {
    /// Shows nothing, and has nobody else to ask.
    fn default() -> Self {
        Self {
            headers: HeaderMap::new(),
            is_patient: true,
        }
    }
}

/// What is sent besides the address.
#[derive(Debug, Clone, Copy)]
struct Sent<'a> {
    /// To every server.
    headers: &'a HeaderMap,
    /// To the scheme, host and port of the address only.
    private: &'a HeaderMap,
}

impl Fetch for HttpFetch {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        self.open_as(request, &Caller::default())
    }

    fn size(&self, url: &str) -> Result<Option<u64>, FetchError> {
        self.size_as(url, &Caller::default())
    }
}

impl HttpFetch {
    pub(super) fn open_as(
        &self,
        request: &Request<'_>,
        caller: &Caller,
    ) -> Result<Response, FetchError> {
        let condition = match request.range {
            None => request.validators.map(conditions).unwrap_or_default(),
            Some(range) => headers::partial(range, request.validators),
        };
        let network = &self.network;
        let mut settings = network.settings.retry;
        if !caller.is_patient {
            settings.attempts = settings.attempts.min(HASTY_ATTEMPTS);
        }
        let mut retry = Retry::new(settings);
        let sent = Sent {
            headers: &condition,
            private: &caller.headers,
        };
        let response = network.ask(&Method::GET, request.url, sent, &mut retry, Instant::now())?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && request.range.is_none() && !condition.is_empty() {
            return Ok(Response::NotModified);
        }
        let part = match request.range {
            None => None,
            Some(range) => headers::part(request.url, range, &response)?,
        };
        if !status.is_success() || (part.is_none() && headers::is_fragment(&response)) {
            return Err(network.refusal(request.url, &response));
        }
        let answer = answer(&response, request.range, part);
        let continues = paging::continues(response.headers());
        let private = caller.headers.clone();
        let reader = Steady::new(
            network,
            request.url,
            response,
            answer.clone(),
            retry,
            private,
        );
        Ok(Response::Body(Body {
            length: answer.length,
            part,
            tag: answer.tag,
            validators: answer.validators,
            modified: answer.modified,
            continues,
            seams: reader.seams(),
            reader: Box::new(reader),
        }))
    }

    pub(super) fn size_as(&self, url: &str, caller: &Caller) -> Result<Option<u64>, FetchError> {
        let sent = Sent {
            headers: &HeaderMap::new(),
            private: &caller.headers,
        };
        let response = self.network.exchange(&Method::HEAD, url, sent)?;
        if !response.status().is_success() {
            return Ok(None);
        }
        // Not `content_length()`: that is the length of the (empty) body of the answer to HEAD.
        Ok(text(response.headers(), &header::CONTENT_LENGTH).and_then(|value| value.parse().ok()))
    }
}

/// What all transfers share; lives as long as the last of them.
struct Network {
    /// `None` only while being dropped.
    runtime: Option<tokio::runtime::Runtime>,
    clients: Arc<Clients>,
    pace: Pace,
    reporter: Option<Arc<dyn Reporter>>,
    settings: HttpSettings,
}

impl Drop for Network {
    fn drop(&mut self) {
        // Does not wait for a name resolution that hangs in a thread of its own.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Network {
    fn runtime(&self) -> &tokio::runtime::Runtime {
        self.runtime
            .as_ref()
            .expect("only Drop takes the runtime out")
    }

    /// Lets the network's thread do some work, until it ends or is cancelled.
    ///
    /// Nothing may be sent from any other thread: when a request is handed to a connection just while the connection's
    /// own task ends in another thread, tokio's channel between them keeps the request, and nobody ever answers (one of
    /// some 30,000, if servers close the connections that are kept). In one thread, one comes after the other.
    fn wait<T: Send + 'static>(
        &self,
        url: &str,
        work: impl Future<Output = Result<T, FetchError>> + Send + 'static,
    ) -> Result<T, FetchError> {
        let mut task = self.runtime().spawn(work);
        self.runtime().block_on(async {
            tokio::select! {
                biased;
                () = self.settings.cancel.cancelled() => {
                    task.abort();
                    Err(FetchError::Cancelled { url: url.to_owned() })
                }
                result = &mut task => result.unwrap_or_else(|error| Err(FetchError::Protocol {
                    url: url.to_owned(),
                    cause: error.to_string(),
                })),
            }
        })
    }

    /// Sends one request.
    fn exchange(
        &self,
        method: &Method,
        url: &str,
        sent: Sent<'_>,
    ) -> Result<reqwest::Response, FetchError> {
        self.clients.prepare(url)?;
        let clients = Arc::clone(&self.clients);
        let (method, address) = (method.clone(), url.to_owned());
        let (headers, private) = (sent.headers.clone(), sent.private.clone());
        self.wait(url, async move {
            let sent = Sent {
                headers: &headers,
                private: &private,
            };
            clients.exchange(method, &address, sent).await
        })
    }

    /// Sends a request until there is an answer that counts, which may be a refusal. `since` is when something came in
    /// last.
    fn ask(
        &self,
        method: &Method,
        url: &str,
        sent: Sent<'_>,
        retry: &mut Retry,
        since: Instant,
    ) -> Result<reqwest::Response, FetchError> {
        loop {
            let answer = self.exchange(method, url, sent);
            let (error, advice) = match &answer {
                Ok(response) if response.status().is_success() => return answer,
                Ok(response) => (self.refusal(url, response), retry_after(response.headers())),
                Err(error) => (error.clone(), None),
            };
            match self.pause(url, retry, &error, advice, since) {
                Ok(()) => {}
                Err(error) if error.is_cancelled() => return Err(error),
                Err(_) => return answer,
            }
        }
    }

    /// What an answer says that is no success.
    fn refusal(&self, url: &str, response: &reqwest::Response) -> FetchError {
        let (url, status) = (url.to_owned(), response.status());
        let code = status.as_u16();
        let patience = self.settings.retry.longest_wait;
        if status == StatusCode::UNAUTHORIZED {
            return FetchError::NeedsAuthentication { url };
        }
        match paging::exhausted(status, response.headers(), patience) {
            Some(renewal) => FetchError::RateLimited { url, code, renewal },
            None => FetchError::Status { url, code },
        }
    }

    /// Waits before another try, or gives the failure back when it is time to give up.
    fn pause(
        &self,
        url: &str,
        retry: &mut Retry,
        error: &FetchError,
        advice: Option<Duration>,
        since: Instant,
    ) -> Result<(), FetchError> {
        // Each such hasher starts with another random key.
        let chance = RandomState::new().build_hasher().finish();
        let Some(delay) = retry.after(error, advice, since.elapsed(), chance) else {
            return Err(error.clone());
        };
        if let Some(reporter) = &self.reporter {
            let severity = if delay < NOTICED {
                Severity::Debug
            } else {
                Severity::Info
            };
            let seconds = delay.as_secs_f64();
            // Some of the original's sentences end with a full stop, and some do not.
            let text = error.to_string();
            let text = text.trim_end_matches('.');
            let text = format!("{text}. Trying again in {seconds:.1} s...");
            reporter.report(&Event::Message(severity, text));
        }
        self.wait(url, async move {
            tokio::time::sleep(delay).await;
            Ok(())
        })
    }
}

/// Longer waits are told.
const NOTICED: Duration = Duration::from_secs(1);
/// Further tries where a mirror may be asked instead.
const HASTY_ATTEMPTS: u32 = 1;

/// What an answer says of its body, which is `part` of the whole if `range` was asked for.
fn answer(response: &reqwest::Response, range: Option<Range>, part: Option<Part>) -> Answer {
    let headers = response.headers();
    let length = match (part, range) {
        // A server may send less than all that follow; the reader then asks for more.
        (
            Some(Part {
                start,
                total: Some(total),
                ..
            }),
            Some(Range { end: None, .. }),
        ) => Some(total - start),
        (Some(part), _) => Some(part.end - part.start),
        (None, _) => response.content_length(),
    };
    Answer {
        part,
        length,
        tag: text(headers, &header::ETAG).map(str::to_owned),
        modified: date(headers, &header::LAST_MODIFIED).map(microseconds),
        validators: validators(headers),
    }
}

#[cfg(test)]
mod tests;
