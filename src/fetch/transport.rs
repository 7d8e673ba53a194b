//! The implementation of [`Fetch`] that the program uses.
//!
//! Owns the choice by scheme, and the way around a source that fails by its mirrors. The HTTP part, with its thread,
//! exists only once an http or https URL has been opened.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::http::{Caller, HttpFetch, HttpSettings};
use super::route::{Rewrite, Route, Routes, is_companion};
use super::{Access, Body, Fetch, FetchError, FileFetch, Request, Response, url};
use crate::event::{Event, Reporter, Severity};

/// Sends each URL to the part that knows its scheme.
pub struct Transport {
    file: FileFetch,
    http: Mutex<Option<Arc<HttpFetch>>>,
    settings: HttpSettings,
    routes: Routes,
    reporter: Option<Arc<dyn Reporter>>,
    rewrites: Vec<Rewrite>,
}

impl Transport {
    /// Prepares nothing yet; the settings' [`super::Cancel`] is for files, too.
    pub fn new(settings: HttpSettings) -> Self {
        Self {
            file: FileFetch::new(settings.cancel.clone()),
            http: Mutex::new(None),
            settings,
            routes: Routes::default(),
            reporter: None,
            rewrites: Vec::new(),
        }
    }

    /// Asks elsewhere for some addresses.
    #[must_use]
    pub fn rewriting(self, rewrites: Vec<Rewrite>) -> Self {
        Self { rewrites, ..self }
    }

    fn rewritten(&self, url: &str) -> String {
        let fitting = self
            .rewrites
            .iter()
            .filter_map(|rule| Some((rule.from.len(), rule.apply(url)?)));
        let rewritten = fitting.max_by_key(|(length, _)| *length).map(|(_, to)| to);
        rewritten.unwrap_or_else(|| url.to_owned())
    }

    /// Tells of sources that are gone around.
    #[must_use]
    pub fn telling(self, reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter: Some(reporter),
            ..self
        }
    }

    fn http(&self) -> Result<Arc<HttpFetch>, FetchError> {
        // The slot is written in one step, so a panic elsewhere cannot have left it half made.
        let mut slot = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = &*slot {
            return Ok(Arc::clone(http));
        }
        let http = HttpFetch::telling(self.settings.clone(), self.reporter.clone())?;
        let http = Arc::new(http);
        *slot = Some(Arc::clone(&http));
        Ok(http)
    }

    fn open_as(&self, request: &Request<'_>, caller: &Caller) -> Result<Response, FetchError> {
        match url::scheme(request.url).as_deref() {
            Some("file") => self.file.open(request),
            Some("http" | "https") => self.http()?.open_as(request, caller),
            _ => Err(FetchError::UnsupportedScheme {
                url: request.url.escape_debug().to_string(),
            }),
        }
    }

    fn size_as(&self, url: &str, caller: &Caller) -> Result<Option<u64>, FetchError> {
        match url::scheme(url).as_deref() {
            Some("file") => self.file.size(url),
            Some("http" | "https") => self.http()?.size_as(url, caller),
            _ => Err(FetchError::UnsupportedScheme {
                url: url.escape_debug().to_string(),
            }),
        }
    }

    /// Goes one way after the other until there is an answer.
    fn follow(&self, route: &Arc<Route>, request: &Request<'_>) -> Result<Response, FetchError> {
        let below = route.below(request.url).unwrap_or_default();
        let order = route.order(below);
        let mut failure = None;
        for (position, way) in order.iter().copied().enumerate() {
            let address = self.rewritten(&route.address(way, below));
            let is_last = position + 1 == order.len();
            match self.go(route, way, &address, request, is_last) {
                Ok(response) => {
                    route.note_came(way, below);
                    return Ok(response);
                }
                Err(error) if error.is_cancelled() => return Err(error),
                // Where the manifest is, its signature would be as well.
                Err(error) if error.is_not_found() && is_companion(below) => return Err(error),
                Err(error) => {
                    // One file that is missing says nothing of the others.
                    let is_news = error.is_not_found() || route.fail(way);
                    if !is_last && is_news {
                        self.tell(format!("{error} Trying the next mirror..."));
                    }
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| FetchError::Setup {
            cause: "there is no way to it".to_owned(),
        }))
    }

    fn go(
        &self,
        route: &Arc<Route>,
        way: usize,
        address: &str,
        request: &Request<'_>,
        is_last: bool,
    ) -> Result<Response, FetchError> {
        let caller = Caller {
            headers: route.headers(address)?,
            is_patient: is_last,
        };
        // What a part must be a part of is only known to the server that said so.
        let is_own = way == 0 || request.range.is_none();
        let request = Request {
            url: address,
            validators: request.validators.filter(|_| is_own),
            range: request.range,
        };
        let mut body = match self.open_as(&request, &caller)? {
            Response::Body(body) => body,
            Response::NotModified => return Ok(Response::NotModified),
        };
        if way > 0 {
            // They would be shown to the source itself later on.
            body.validators = None;
        }
        // The whole of what only a part was asked for is not wanted.
        if route.has_mirrors() && request.range.is_some() == body.part.is_some() {
            body = begun(body, address)?;
            body.reader = Box::new(Watched {
                inner: body.reader,
                route: Arc::clone(route),
                way,
            });
        }
        Ok(Response::Body(body))
    }

    fn tell(&self, text: String) {
        if let Some(reporter) = &self.reporter {
            reporter.report(&Event::Message(Severity::Warning, text));
        }
    }
}

impl Fetch for Transport {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        if let Some(route) = self.routes.find(request.url) {
            return self.follow(&route, request);
        }
        let url = self.rewritten(request.url);
        let request = Request {
            url: &url,
            ..*request
        };
        self.open_as(&request, &Caller::default())
    }

    fn size(&self, url: &str) -> Result<Option<u64>, FetchError> {
        let Some(route) = self.routes.find(url) else {
            return self.size_as(&self.rewritten(url), &Caller::default());
        };
        let below = route.below(url).unwrap_or_default();
        let mut outcome = Ok(None);
        for way in route.order(below) {
            let address = self.rewritten(&route.address(way, below));
            let caller = Caller {
                headers: route.headers(&address)?,
                is_patient: false,
            };
            outcome = self.size_as(&address, &caller);
            if matches!(outcome, Ok(Some(_))) {
                break;
            }
        }
        outcome
    }

    fn route(&self, base: &str, access: Access) {
        self.routes.add(base, access);
    }

    fn reproach(&self, url: &str) -> Option<String> {
        let route = self.routes.find(url).filter(|route| route.has_mirrors())?;
        let below = route.below(url)?;
        let way = route.came_by(below)?;
        route.fail(way);
        Some(self.rewritten(&route.address(way, below)))
    }

    fn has_alternative(&self, url: &str) -> bool {
        let route = self.routes.find(url);
        route.is_some_and(|route| route.has_mirrors() && route.has_alternative())
    }
}

/// Reads the beginning of a body at once: manifests and signatures are no longer, and while nothing of them has been
/// given out, another mirror can still stand in.
fn begun(mut body: Body, address: &str) -> Result<Body, FetchError> {
    let mut head = Vec::new();
    let read = (&mut body.reader).take(HEAD).read_to_end(&mut head);
    read.map_err(|error| {
        FetchError::from_io(error).unwrap_or_else(|error| FetchError::Protocol {
            url: address.to_owned(),
            cause: error.to_string(),
        })
    })?;
    body.reader = Box::new(Cursor::new(head).chain(body.reader));
    Ok(body)
}

/// Notes which way a body failed to come.
struct Watched {
    inner: Box<dyn Read + Send>,
    route: Arc<Route>,
    way: usize,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            if FetchError::of_io(error).is_some_and(FetchError::is_transient) {
                self.route.fail(self.way);
            }
        })
    }
}

/// Bytes that are read at once.
const HEAD: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_we_do_not_speak_is_refused_and_starts_nothing() {
        let transport = Transport::new(HttpSettings::default());
        for url in ["ftp://h/f", "/srv/f", "data:,x", ""] {
            let request = Request::new(url);
            assert!(
                matches!(
                    transport.open(&request),
                    Err(FetchError::UnsupportedScheme { .. })
                ),
                "{url}"
            );
            assert!(
                matches!(
                    transport.size(url),
                    Err(FetchError::UnsupportedScheme { .. })
                ),
                "{url}"
            );
        }
        assert!(transport.http.lock().expect("not poisoned").is_none());
    }
}
