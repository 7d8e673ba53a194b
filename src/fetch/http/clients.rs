//! The way of one request: over a connection that is kept or a new one, along redirects, to whoever answers it.
//!
//! Owns the clients with the connections that they keep, and the rule where redirects may lead.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Method, Url};

use super::super::{FetchError, url};
use super::{HttpSettings, Sent, failure, tls};

/// All clients of a run, each made when it is first needed.
pub(super) struct Clients {
    /// Without trusted roots: reading the system's takes many times longer than a plain http request.
    plain: OnceLock<Client>,
    secure: OnceLock<Client>,
    settings: HttpSettings,
}

impl Clients {
    pub(super) fn new(settings: HttpSettings) -> Self {
        Self {
            plain: OnceLock::new(),
            secure: OnceLock::new(),
            settings,
        }
    }

    /// Makes the client that a URL needs: reading files is nothing for the network's thread.
    pub(super) fn prepare(&self, url: &str) -> Result<(), FetchError> {
        match url::scheme(url).as_deref() {
            Some("https") => self.secure(url).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Sends the request and follows redirects; whatever the last server says is the answer.
    pub(super) async fn exchange(
        &self,
        method: Method,
        url: &str,
        sent: Sent<'_>,
    ) -> Result<reqwest::Response, FetchError> {
        let mut current = parse(url)?;
        let own = current.origin();
        let mut all = sent.headers.clone();
        all.extend(sent.private.clone());
        let mut is_own = true;
        let (begun, patience) = (Instant::now(), PATIENCE * self.patience());
        for _ in 0..=self.settings.redirects {
            // Whoever was led away once may be led back to anywhere.
            is_own &= current.origin() == own;
            let headers = if is_own { &all } else { sent.headers };
            let response = self.send(&method, url, &current, headers).await?;
            match redirect(url, &current, &response)? {
                None => return Ok(response),
                Some(next) => current = next,
            }
            if begun.elapsed() > patience {
                let seconds = patience.as_secs();
                let url = url.to_owned();
                return Err(FetchError::Timeout { url, seconds });
            }
        }
        Err(FetchError::TooManyRedirects {
            url: url.to_owned(),
            limit: self.settings.redirects,
        })
    }

    async fn send(
        &self,
        method: &Method,
        url: &str,
        current: &Url,
        headers: &HeaderMap,
    ) -> Result<reqwest::Response, FetchError> {
        if current.scheme() == "http" {
            match self
                .send_with(self.plain(url)?, method, url, current, headers)
                .await
            {
                // A proxy that is itself reached over TLS: only that needs roots for a plain URL.
                Err(FetchError::Tls { .. }) => {}
                result => return result,
            }
        }
        self.send_with(self.secure(url)?, method, url, current, headers)
            .await
    }

    async fn send_with(
        &self,
        client: &Client,
        method: &Method,
        url: &str,
        current: &Url,
        headers: &HeaderMap,
    ) -> Result<reqwest::Response, FetchError> {
        let limit = self.patience();
        let mut again = true;
        loop {
            let request = client
                .request(method.clone(), current.clone())
                .headers(headers.clone());
            match tokio::time::timeout(limit, request.send()).await {
                Ok(Ok(response)) => return Ok(response),
                // A server may close a kept connection just when it is used again: ask once more, over a new one.
                Ok(Err(error)) if again && failure::is_hang_up(&error) => again = false,
                Ok(Err(error)) => {
                    return Err(failure::of_request(
                        url,
                        &error,
                        self.settings.connect_timeout,
                    ));
                }
                Err(_) => {
                    return Err(FetchError::Timeout {
                        url: url.to_owned(),
                        seconds: limit.as_secs(),
                    });
                }
            }
        }
    }

    /// How long one server may take to answer.
    fn patience(&self) -> Duration {
        self.settings.connect_timeout + self.settings.stall_window
    }

    fn plain(&self, url: &str) -> Result<&Client, FetchError> {
        let builder = || Ok(self.client()?.tls_certs_only([]));
        kept(&self.plain, builder).map_err(|cause| FetchError::Protocol {
            url: url.to_owned(),
            cause,
        })
    }

    fn secure(&self, url: &str) -> Result<&Client, FetchError> {
        let builder = || tls::prepared(self.client()?, &self.settings);
        kept(&self.secure, builder).map_err(|cause| FetchError::Tls {
            url: url.to_owned(),
            cause,
        })
    }

    fn client(&self) -> Result<reqwest::ClientBuilder, String> {
        // Fails when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = match &self.settings.proxy {
            None => Client::builder(),
            Some(proxy) => {
                let proxy = reqwest::Proxy::all(proxy).map_err(|error| failure::cause(&error))?;
                Client::builder().proxy(proxy)
            }
        };
        Ok(builder
            .user_agent(&self.settings.user_agent)
            .connect_timeout(self.settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(KEPT)
            .pool_idle_timeout(IDLE))
    }
}

/// All servers on a way of redirects may take so many times as long as one: each could use up its time, and sends us on.
const PATIENCE: u32 = 2;

/// Connections that are kept for each server: one for each payload that is fetched at once.
const KEPT: usize = 8;
/// Those that have been idle for longer are not used again, which is less than what servers wait (5 s and more).
const IDLE: Duration = Duration::from_secs(4);

/// The client of a slot, made when it is first asked for, or why it cannot be made.
fn kept(
    slot: &OnceLock<Client>,
    builder: impl FnOnce() -> Result<reqwest::ClientBuilder, String>,
) -> Result<&Client, String> {
    if let Some(client) = slot.get() {
        return Ok(client);
    }
    let client = builder()?.build().map_err(|error| failure::cause(&error))?;
    Ok(slot.get_or_init(|| client))
}

fn parse(text: &str) -> Result<Url, FetchError> {
    url::check(text)?;
    let parsed = Url::parse(text).map_err(|error| url::invalid(text, error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        "http" | "https" => Err(url::invalid(text, "it names no host".to_owned())),
        _ => Err(FetchError::UnsupportedScheme {
            url: text.to_owned(),
        }),
    }
}

/// Where an answer sends us, `None` when it is no redirect.
fn redirect(
    url: &str,
    current: &Url,
    response: &reqwest::Response,
) -> Result<Option<Url>, FetchError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(header::LOCATION) else {
        return Ok(None);
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    target(current, &location)
        .map(Some)
        .map_err(|reason| FetchError::RedirectRefused {
            url: url.to_owned(),
            target: location.escape_debug().to_string(),
            reason,
        })
}

/// Where `location` leads from `current`, or why it is not followed.
fn target(current: &Url, location: &str) -> Result<Url, &'static str> {
    let target = current
        .join(location)
        .map_err(|_| "the target is not a valid URL")?;
    match (current.scheme(), target.scheme()) {
        ("https", "http") => Err("it leads from https to http"),
        (_, "http" | "https") if target.has_host() => Ok(target),
        _ => Err("only http and https are followed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_never_lead_to_another_scheme_or_out_of_https() {
        let from = |scheme: &str| Url::parse(&format!("{scheme}://h/a/b")).expect("a URL");
        let table = [
            ("http", "c", Some("http://h/a/c")),
            ("http", "https://i/c", Some("https://i/c")),
            ("https", "//i/c", Some("https://i/c")),
            ("https", "http://h/a/b", None),
            ("http", "ftp://h/", None),
            ("http", "data:,x", None),
            ("http", "http://[", None),
        ];
        for (scheme, location, wanted) in table {
            let found = target(&from(scheme), location).ok();
            assert_eq!(
                found.as_ref().map(Url::as_str),
                wanted,
                "{scheme} to {location}"
            );
        }
    }
}
