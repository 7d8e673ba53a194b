//! A repository with releases, as GitHub shows it: the API, the site and the store behind it are three servers.

use serde_json::{Value, json};

use super::harness::Host;
use super::minisign::MADE;
use super::minisigner::Pair;
use super::server::{Answer, Server, manifest, sha256};

/// A repository.
pub(crate) struct Repository {
    pub(crate) api: Server,
    pub(crate) site: Server,
    /// Where both send who asks for an asset, to addresses that expire.
    pub(crate) store: Server,
    /// Newest first.
    pub(crate) releases: Vec<Value>,
    assets: usize,
}

/// Whether the API says what an asset hashes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digests {
    Told,
    Missing,
}

impl Repository {
    pub(crate) fn new() -> Self {
        Self {
            api: Server::new(),
            site: Server::new(),
            store: Server::new(),
            releases: Vec::new(),
            assets: 0,
        }
    }

    /// Adds a release with a file of its version, and publishes all.
    pub(crate) fn with(versions: &[&str]) -> Self {
        let mut repository = Self::new();
        for version in versions {
            repository.add(version, Digests::Told);
        }
        repository.publish();
        repository
    }

    pub(crate) fn add(&mut self, version: &str, digests: Digests) -> &mut Value {
        let name = format!("app_{version}.raw");
        self.release(&format!("v{version}"), &[(&name, version)], digests)
    }

    /// Adds a release with the sums of its file, signed if there is a key.
    pub(crate) fn add_signed(&mut self, version: &str, pair: Option<&Pair>) -> &mut Value {
        let name = format!("app_{version}.raw");
        let sums = manifest(&[(&name, version)]);
        let signature = pair.map(|pair| pair.sign(sums.as_bytes(), MADE));
        let mut files = vec![(name.as_str(), version), ("SHA256SUMS", sums.as_str())];
        if let Some(signature) = &signature {
            files.push(("SHA256SUMS.minisig", signature));
        }
        self.release(&format!("v{version}"), &files, Digests::Told)
    }

    pub(crate) fn release(
        &mut self,
        tag: &str,
        files: &[(&str, &str)],
        digests: Digests,
    ) -> &mut Value {
        let assets: Vec<Value> = files
            .iter()
            .map(|(name, content)| self.asset(tag, name, content, digests))
            .collect();
        let release = json!({
            "id": 1, "tag_name": tag, "name": "A release", "body": "Notes", "draft": false, "prerelease": false,
            "assets": assets,
        });
        self.releases.insert(0, release);
        &mut self.releases[0]
    }

    fn asset(&mut self, tag: &str, name: &str, content: &str, digests: Digests) -> Value {
        self.assets += 1;
        let id = self.assets;
        let path = format!("/{id}?expires=soon");
        let away = format!("{}{path}", self.store.base);
        self.store.put(&path, content);
        let public = format!("/o/r/releases/download/{tag}/{name}");
        self.site
            .answer(&public, Answer::redirect(302, away.clone()));
        let private = format!("/repos/o/r/releases/assets/{id}");
        self.api.answer(&private, Answer::redirect(302, away));
        let digest = format!("sha256:{}", sha256(content.as_bytes()));
        json!({
            "id": id, "name": name, "size": content.len(), "state": "uploaded", "content_type": "application/octet-stream",
            "digest": (digests == Digests::Told).then_some(digest),
            "browser_download_url": format!("{}{public}", self.site.base),
        })
    }

    pub(crate) fn publish(&self) {
        self.publish_by(100);
    }

    /// Serves the list in pages of so many releases.
    pub(crate) fn publish_by(&self, size: usize) {
        let pages: Vec<&[Value]> = match self.releases.len() {
            0 => vec![&[]],
            _ => self.releases.chunks(size).collect(),
        };
        for (index, page) in pages.iter().enumerate() {
            let body = serde_json::to_vec(page).expect("JSON");
            let tag = format!("W/\"{}\"", &sha256(&body)[..16]);
            let mut answer = Answer::ok(body).header("ETag", tag);
            if index + 1 < pages.len() {
                // As there: the address of the page has nothing of ours.
                let base = &self.api.base;
                let link = format!(
                    "<{base}/repositories/1/releases?page={}>; rel=\"next\"",
                    index + 2
                );
                answer = answer.header("Link", link);
            }
            self.api.answer(&page_path(index + 1), answer);
        }
    }

    /// Defines the component `app`.
    pub(crate) fn define(&self, host: &Host, transfer: &str, source: &str) {
        let (site, api) = (&self.site.base, &self.api.base);
        host.write(
            "etc/sysupdate/transfer.d/app.toml",
            &format!(
                "[transfer]\n{transfer}\n[source]\ntype = \"github\"\nurl = \"{site}/o/r\"\napi_url = \"{api}\"\n\
                 match = [\"app_@v.raw\"]\n{source}\n[target]\npath = \"/srv/target\"\ncurrent_symlink = \"app.raw\"\n"
            ),
        );
    }

    /// A host that asks for no signatures.
    pub(crate) fn host(&self) -> Host {
        let host = Host::new();
        self.define(&host, "verify = \"none\"", "");
        host
    }

    /// A host that trusts this pair.
    pub(crate) fn trusting(&self, pair: &Pair) -> Host {
        let host = Host::new();
        self.define(&host, "verify = \"minisign\"", "");
        host.write("etc/sysupdate/keys/app.pub", &pair.public());
        host
    }
}

pub(crate) fn page_path(number: usize) -> String {
    format!("/repos/o/r/releases?per_page=100&page={number}")
}

pub(crate) const UPDATE: [&str; 3] = ["-C", "app", "update"];
pub(crate) const CHECK: [&str; 3] = ["-C", "app", "check-new"];
pub(crate) const LIST: [&str; 3] = ["-C", "app", "list"];
const FIRST_PAGE: &str = "GET /repos/o/r/releases?per_page=100&page=1";

/// What [`super::harness::Run`] writes as `ROOT`.
pub(crate) fn root(host: &Host) -> String {
    let path = host.path("").display().to_string();
    path.trim_end_matches('/').to_owned()
}

pub(crate) fn page(status: u16) -> Vec<String> {
    vec![format!("{FIRST_PAGE} {status}")]
}
