//! The implementation of [`Fetch`] that the program uses.
//!
//! Owns the choice by scheme. The HTTP part, with its thread, exists only once an http or https URL has been opened.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Fetch, FetchError, FileFetch, HttpFetch, HttpSettings, Request, Response, url};

/// Sends each URL to the part that knows its scheme.
pub struct Transport {
    file: FileFetch,
    http: Mutex<Option<Arc<HttpFetch>>>,
    settings: HttpSettings,
}

impl Transport {
    /// Prepares nothing yet; the settings' [`super::Cancel`] is for files, too.
    pub fn new(settings: HttpSettings) -> Self {
        Self {
            file: FileFetch::new(settings.cancel.clone()),
            http: Mutex::new(None),
            settings,
        }
    }

    fn http(&self) -> Result<Arc<HttpFetch>, FetchError> {
        // The slot is written in one step, so a panic elsewhere cannot have left it half made.
        let mut slot = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = &*slot {
            return Ok(Arc::clone(http));
        }
        let http = Arc::new(HttpFetch::new(self.settings.clone())?);
        *slot = Some(Arc::clone(&http));
        Ok(http)
    }
}

impl Fetch for Transport {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        match url::scheme(request.url).as_deref() {
            Some("file") => self.file.open(request),
            Some("http" | "https") => self.http()?.open(request),
            _ => Err(FetchError::UnsupportedScheme {
                url: request.url.escape_debug().to_string(),
            }),
        }
    }

    fn size(&self, url: &str) -> Result<Option<u64>, FetchError> {
        match url::scheme(url).as_deref() {
            Some("file") => self.file.size(url),
            Some("http" | "https") => self.http()?.size(url),
            _ => Err(FetchError::UnsupportedScheme {
                url: url.escape_debug().to_string(),
            }),
        }
    }
}

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
