//! The ways to a source: the source itself and its mirrors.
//!
//! Owns the order in which they are tried, and what is known of them in this run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::{Access, FetchError};

/// The ways to one source.
pub(super) struct Route {
    /// The source's own address first; none ends with a slash.
    ways: Vec<Way>,
    access: Access,
    /// Read when a request needs it first.
    headers: OnceLock<Result<HeaderMap, FetchError>>,
    /// Which way each file came, by its address below the source.
    came: Mutex<HashMap<String, usize>>,
}

struct Way {
    base: String,
    /// Whether it has failed, so that others are tried first.
    failed: AtomicBool,
}

impl Route {
    pub(super) fn new(base: &str, access: Access) -> Self {
        let bases = std::iter::once(base).chain(access.mirrors.iter().map(String::as_str));
        let ways = bases.map(|base| Way {
            base: trimmed(base).to_owned(),
            failed: AtomicBool::new(false),
        });
        Self {
            ways: ways.collect(),
            access,
            headers: OnceLock::new(),
            came: Mutex::default(),
        }
    }

    pub(super) fn is_like(&self, base: &str, access: &Access) -> bool {
        self.ways[0].base == trimmed(base) && self.access == *access
    }

    /// What follows the source's address in a URL below it.
    pub(super) fn below<'u>(&self, url: &'u str) -> Option<&'u str> {
        let rest = url.strip_prefix(&self.ways[0].base)?;
        rest.starts_with('/').then_some(rest)
    }

    /// How specific it is.
    pub(super) fn depth(&self) -> usize {
        self.ways[0].base.len()
    }

    /// The ways to a file, in the order in which they are to be tried: those that have not failed, or all.
    pub(super) fn order(&self, below: &str) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ways.len())
            .filter(|way| !self.has_failed(*way))
            .collect();
        if order.is_empty() {
            order = (0..self.ways.len()).collect();
        }
        // A signature belongs to the manifest that came before.
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = companion(below).and_then(|manifest| came.get(manifest)) {
            order.sort_by_key(|other| other != way);
        }
        order
    }

    pub(super) fn address(&self, way: usize, below: &str) -> String {
        format!("{}{below}", self.ways[way].base)
    }

    /// What is shown to an address: our secrets only if it is on the same server as the source.
    pub(super) fn headers(&self, address: &str) -> Result<HeaderMap, FetchError> {
        let own = origin(&self.ways[0].base);
        if own.is_none() || origin(address) != own {
            return Ok(HeaderMap::new());
        }
        self.headers.get_or_init(|| self.access.headers()).clone()
    }

    pub(super) fn note_came(&self, way: usize, below: &str) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.insert(below.to_owned(), way);
    }

    /// Which way a file came last.
    pub(super) fn came_by(&self, below: &str) -> Option<usize> {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.get(below).copied()
    }

    /// Notes a failure of a way; whether it is the first.
    pub(super) fn fail(&self, way: usize) -> bool {
        !self.ways[way].failed.swap(true, Ordering::Relaxed)
    }

    pub(super) fn has_failed(&self, way: usize) -> bool {
        self.ways[way].failed.load(Ordering::Relaxed)
    }

    pub(super) fn has_mirrors(&self) -> bool {
        self.ways.len() > 1
    }

    /// Whether there is a way that has not failed, beside others that have.
    pub(super) fn has_alternative(&self) -> bool {
        (0..self.ways.len()).any(|way| !self.has_failed(way))
    }
}

/// All routes of a run.
#[derive(Default)]
pub(super) struct Routes(Mutex<Vec<Arc<Route>>>);

impl Routes {
    /// Adds a route, or replaces the one from the same address. What is known of one that stays as it was is kept, and
    /// who has nothing to say of an address changes nothing.
    pub(super) fn add(&self, base: &str, access: Access) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = routes.iter().any(|route| route.is_like(base, &access));
        if is_known || access == Access::default() {
            return;
        }
        routes.retain(|route| route.ways[0].base != trimmed(base));
        routes.push(Arc::new(Route::new(base, access)));
    }

    /// The most specific route that a URL lies on.
    pub(super) fn find(&self, url: &str) -> Option<Arc<Route>> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = routes.iter().filter(|route| route.below(url).is_some());
        fitting.max_by_key(|route| route.depth()).cloned()
    }
}

/// Addresses that begin in one way are asked for in another: a mirror of everything, say, in front of all sources. Of
/// several that fit, the longest counts, and what it leads to is not rewritten again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// What an address begins with, up to the end of one of its parts.
    pub from: String,
    /// What it begins with then.
    pub to: String,
}

impl Rewrite {
    /// The address to be asked for, if this one is meant.
    pub(super) fn apply(&self, url: &str) -> Option<String> {
        let (from, to) = (
            self.from.trim_end_matches('/'),
            self.to.trim_end_matches('/'),
        );
        let rest = url.strip_prefix(from)?;
        let ends = rest.is_empty() || rest.starts_with(['/', '?', '#']);
        ends.then(|| format!("{to}{rest}"))
    }
}

/// As [`super::url::join`] takes it.
fn trimmed(base: &str) -> &str {
    let end = base.find(['?', '#']).unwrap_or(base.len());
    base[..end].trim_end_matches('/')
}

/// Scheme, host and port.
fn origin(base: &str) -> Option<reqwest::Url> {
    let mut url = Url::parse(base).ok()?;
    url.host()?;
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    // Who asks is no part of where.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url)
}

/// The manifest that a signature is beside.
fn companion(below: &str) -> Option<&str> {
    let suffixes = [".sha256.asc", ".sha256.gpg", ".gpg", ".asc", ".minisig"];
    suffixes
        .iter()
        .find_map(|suffix| below.strip_suffix(suffix))
}

/// Whether a file that is missing on one way is not looked for on others.
pub(super) fn is_companion(below: &str) -> bool {
    companion(below).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let mirrors = ["http://m/x/", "http://h:8080/d", "http://h/other"];
        Route::new(
            "http://h/d/",
            Access {
                mirrors: mirrors.map(str::to_owned).into(),
                headers: vec![("x-key".to_owned(), "secret".to_owned())],
                ..Access::default()
            },
        )
    }

    #[test]
    fn ways_lead_to_the_same_file_and_failed_ones_come_last() {
        let route = route();
        assert_eq!(route.below("http://h/d/a/f"), Some("/a/f"));
        assert_eq!(route.below("http://h/dd/f"), None);
        let addresses: Vec<_> = route
            .order("/f")
            .into_iter()
            .map(|way| route.address(way, "/f"))
            .collect();
        assert_eq!(
            addresses,
            [
                "http://h/d/f",
                "http://m/x/f",
                "http://h:8080/d/f",
                "http://h/other/f"
            ]
        );
        assert!(route.fail(0) && !route.fail(0) && route.has_alternative());
        assert_eq!(route.order("/f"), [1, 2, 3]);
        for way in 1..4 {
            route.fail(way);
        }
        assert!(!route.has_alternative());
        assert_eq!(route.order("/f"), [0, 1, 2, 3], "better than none");
    }

    #[test]
    fn a_signature_is_looked_for_where_its_manifest_came_from() {
        let route = route();
        route.note_came(2, "/SHA256SUMS");
        assert_eq!(route.order("/SHA256SUMS.sha256.asc"), [2, 0, 1, 3]);
        assert_eq!(route.order("/SHA256SUMS.minisig"), [2, 0, 1, 3]);
        assert_eq!(route.order("/OTHER.asc"), [0, 1, 2, 3]);
    }

    #[test]
    fn secrets_go_to_the_scheme_host_and_port_of_the_source_only() {
        let route = route();
        let shown: Vec<_> = (0..4)
            .map(|way| route.headers(&route.address(way, "/f")).expect("readable"))
            .map(|headers| !headers.is_empty())
            .collect();
        assert_eq!(shown, [true, false, false, true]);
    }

    #[test]
    fn the_most_specific_route_counts_and_what_is_known_stays() {
        let routes = Routes::default();
        let access = |mirror: &str| Access {
            mirrors: vec![mirror.to_owned()],
            ..Access::default()
        };
        routes.add("http://h/", access("http://a"));
        routes.add("http://h/d/", access("http://b"));
        let find = |url: &str| routes.find(url).map(|route| route.address(1, ""));
        assert_eq!(find("http://h/f").as_deref(), Some("http://a"));
        assert_eq!(find("http://h/d/f").as_deref(), Some("http://b"));
        assert_eq!(find("http://i/f"), None);
        routes.find("http://h/f").expect("there").fail(0);
        routes.add("http://h", access("http://a"));
        assert!(routes.find("http://h/f").expect("there").has_failed(0));
        routes.add("http://h", Access::default());
        assert_eq!(find("http://h/f").as_deref(), Some("http://a"));
        routes.add("http://h", access("http://c"));
        assert_eq!(find("http://h/f").as_deref(), Some("http://c"));
    }
}
