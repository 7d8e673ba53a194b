//! A bakery on loopback, with the ways of the Flatcar community bakery: short addresses that redirect to the assets of
//! releases, which redirect once more to an address that soon expires; everything else leads to the documentation.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

/// A running server; it ends with this value.
pub(crate) struct Bakery {
    address: SocketAddr,
    shelves: Arc<Mutex<Shelves>>,
    _runtime: Runtime,
}

/// What there is to be had.
#[derive(Default)]
struct Shelves {
    /// `TAG/FILE` of a release and its bytes.
    assets: BTreeMap<String, Bytes>,
    /// What the expiring addresses stand for, and when they end.
    objects: HashMap<String, (String, Instant)>,
    /// One line per request.
    log: Vec<String>,
}

type Answer = Response<Full<Bytes>>;

impl Bakery {
    pub(crate) fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let shelves = Arc::new(Mutex::new(Shelves::default()));
        runtime.spawn(serve(listener, Arc::clone(&shelves)));
        Ok(Self {
            address,
            shelves,
            _runtime: runtime,
        })
    }

    /// Where extensions are found.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/extensions", self.address)
    }

    /// Publishes images of one version, one per architecture: a release with them, and their lines in the extension's
    /// manifest.
    pub(crate) fn publish(
        &self,
        name: &str,
        version: &str,
        images: &[(String, Vec<u8>)],
    ) -> Result<(), Box<dyn Error>> {
        let mut shelves = lock(&self.shelves);
        let manifest = format!("{name}/SHA256SUMS");
        let mut lines = match shelves.assets.get(&manifest) {
            Some(bytes) => String::from_utf8(bytes.to_vec())?,
            None => String::new(),
        };
        for (architecture, bytes) in images {
            let file = format!("{name}-{version}-{architecture}.raw");
            writeln!(lines, "{}  {file}", hexadecimal(bytes))?;
            shelves.assets.insert(
                format!("{name}-{version}/{file}"),
                Bytes::copy_from_slice(bytes),
            );
        }
        shelves.assets.insert(manifest, lines.into());
        Ok(())
    }

    /// Replaces the bytes of a published image; the manifest stays as it is.
    pub(crate) fn replace(&self, name: &str, version: &str, architecture: &str, bytes: &[u8]) {
        let asset = format!("{name}-{version}/{name}-{version}-{architecture}.raw");
        lock(&self.shelves)
            .assets
            .insert(asset, Bytes::copy_from_slice(bytes));
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shelves).log)
    }
}

async fn serve(listener: TcpListener, shelves: Arc<Mutex<Shelves>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let shelves = Arc::clone(&shelves);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = lock(&shelves).answer(&request);
                async { Ok::<_, Infallible>(answer) }
            });
            // A client that goes away is no fault of ours.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Shelves {
    fn answer(&mut self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let answer = if !matches!(*request.method(), Method::GET | Method::HEAD) {
            plain(StatusCode::METHOD_NOT_ALLOWED)
        } else if let Some(asked) = path.strip_prefix("/extensions/") {
            redirect(&release(asked).map_or_else(
                || DOCUMENTATION.to_owned(),
                |asset| format!("{RELEASES}{asset}"),
            ))
        } else if let Some(asset) = path.strip_prefix(RELEASES) {
            self.sign(asset)
        } else if path.starts_with(OBJECTS) {
            self.object(path, request.headers().get(header::IF_NONE_MATCH))
        } else {
            page()
        };
        self.log.push(format!(
            "{} {path} → {}",
            request.method(),
            answer.status().as_u16()
        ));
        answer
    }

    /// Redirects to an address for these bytes alone, that ends soon.
    fn sign(&mut self, asset: &str) -> Answer {
        if !self.assets.contains_key(asset) {
            return plain(StatusCode::NOT_FOUND);
        }
        let path = format!("{OBJECTS}{:08x}", self.objects.len());
        self.objects
            .insert(path.clone(), (asset.to_owned(), Instant::now() + LIFETIME));
        redirect(&format!("{path}?expires={}", LIFETIME.as_secs()))
    }

    fn object(&self, path: &str, condition: Option<&HeaderValue>) -> Answer {
        let alive = self
            .objects
            .get(path)
            .filter(|(_, end)| Instant::now() < *end);
        let Some(bytes) = alive.and_then(|(asset, _)| self.assets.get(asset)) else {
            return plain(StatusCode::FORBIDDEN);
        };
        let tag = format!("\"{}\"", &hexadecimal(bytes)[..16]);
        if condition.is_some_and(|condition| condition.as_bytes() == tag.as_bytes()) {
            return plain(StatusCode::NOT_MODIFIED);
        }
        let mut answer = Response::new(Full::new(bytes.clone()));
        set(&mut answer, header::ETAG, &tag);
        answer
    }
}

/// The asset that a short address stands for.
fn release(asked: &str) -> Option<String> {
    if let Some(name) = asked.strip_suffix("/SHA256SUMS") {
        return (!name.contains('/')).then(|| asked.to_owned());
    }
    let file = asked.rsplit('/').next().unwrap_or(asked);
    let (tag, _architecture) = file.strip_suffix(".raw").and_then(split_architecture)?;
    Some(format!("{tag}/{file}"))
}

/// `NAME-VERSION` and the architecture, which has a dash itself.
fn split_architecture(stem: &str) -> Option<(&str, &str)> {
    match stem.strip_suffix("-x86-64") {
        Some(tag) => Some((tag, "x86-64")),
        None => stem.rsplit_once('-'),
    }
}

fn redirect(location: &str) -> Answer {
    let mut answer = plain(StatusCode::FOUND);
    set(&mut answer, header::LOCATION, location);
    answer
}

fn page() -> Answer {
    let mut answer = Response::new(Full::from(
        "<!DOCTYPE html><title>The bakery</title><p>Freshly baked.</p>\n",
    ));
    set(&mut answer, header::CONTENT_TYPE, "text/html");
    answer
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn set(answer: &mut Answer, name: header::HeaderName, value: &str) {
    // Paths that came in a request, and digits: both can stand in a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn lock(shelves: &Mutex<Shelves>) -> MutexGuard<'_, Shelves> {
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}

const RELEASES: &str = "/flatcar/sysext-bakery/releases/download/";
const OBJECTS: &str = "/objects/";
const DOCUMENTATION: &str = "/sysext-bakery/";
/// How long an object's address is good.
const LIFETIME: Duration = Duration::from_secs(30);
