//! What the API says of releases, and where their assets lie.
//!
//! Owns the grammar of a page and its bounds, and the addresses. Pure: every byte is somebody else's, nothing is fetched.

use serde::{Deserialize, Serialize};

use crate::definition::github::GithubSource;
use crate::metadata::Sha256;
use crate::verify::manifest;

/// A page of the list of releases, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) releases: Vec<Release>,
    /// Whether another one follows.
    pub(super) continues: bool,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    pub(super) tag_name: String,
    /// Not published; only its owners see it.
    #[serde(default)]
    pub(super) draft: bool,
    #[serde(default)]
    pub(super) prerelease: bool,
    #[serde(default)]
    pub(super) assets: Vec<Asset>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asset {
    /// Another file under the same name has another number.
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) size: u64,
    /// `uploaded`, or what it is until it is whole.
    #[serde(default)]
    state: Option<String>,
    /// `sha256:HEX`; missing for what was uploaded before mid-2025.
    #[serde(default)]
    digest: Option<String>,
}

impl Page {
    /// Reads the bytes of a page. Assets and releases with names that nobody can use are left out.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn parse(bytes: &[u8], continues: bool) -> Result<Self, String> {
        let releases: Vec<Release> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Self {
            releases,
            continues,
        }
        .bounded()
    }

    /// The text that [`Page::restored`] reads.
    pub(super) fn stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What was stored; nothing, if it is no page.
    pub(super) fn restored(text: &[u8]) -> Option<Self> {
        let page: Self = serde_json::from_slice(text).ok()?;
        page.bounded().ok()
    }

    fn bounded(mut self) -> Result<Self, String> {
        let most = self.releases.iter().map(|release| release.assets.len());
        let most = most.max().unwrap_or_default();
        if self.releases.len() > PAGE_RELEASES {
            return Err(format!(
                "it has more than the {PAGE_RELEASES} releases that were asked for"
            ));
        }
        if most > ASSETS {
            return Err(format!("a release has more than {ASSETS} assets"));
        }
        for release in &mut self.releases {
            release.assets.retain(Asset::is_usable);
        }
        self.releases
            .retain(|release| manifest::is_name(&release.tag_name));
        Ok(self)
    }
}

impl Release {
    /// The asset of this name.
    pub(super) fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }
}

impl Asset {
    /// The digest that the API tells.
    pub(super) fn sha256(&self) -> Option<Sha256> {
        Sha256::from_hex(self.digest.as_deref()?.strip_prefix("sha256:")?)
    }

    fn is_usable(&self) -> bool {
        let is_whole = self
            .state
            .as_deref()
            .is_none_or(|state| state == "uploaded");
        is_whole
            && self.size <= LARGEST
            && !self.name.contains('/')
            && manifest::is_name(&self.name)
    }
}

/// Where an asset is fetched from: where everybody does, or, in somebody's name, through the API.
pub(super) fn address(source: &GithubSource, release: &Release, asset: &Asset) -> String {
    if source.is_private() {
        format!("{}/releases/assets/{}", source.api, asset.id)
    } else {
        public_address(source, release, &asset.name)
    }
}

/// Where everybody fetches an asset.
pub(super) fn public_address(source: &GithubSource, release: &Release, name: &str) -> String {
    let (url, tag, name) = (&source.url, encoded(&release.tag_name), encoded(name));
    format!("{url}/releases/download/{tag}/{name}")
}

/// A path with what may not stand in a URL percent-encoded.
fn encoded(path: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/+@!$&'()*,;=:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// So many releases are asked for at once; the API gives no more.
pub(super) const PAGE_RELEASES: usize = 100;

/// The largest page, in bytes: with notes to each release, and hundreds of assets.
pub(super) const PAGE_BYTES: u64 = 32 << 20;

/// A release has no more assets.
const ASSETS: usize = 1000;

/// No larger payload is fetched, in bytes; and sizes of no bound would not add up.
const LARGEST: u64 = 64 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"[
        {"id": 7, "tag_name": "v2", "name": "Two", "draft": false, "prerelease": true, "body": "notes", "assets": [
            {"id": 1, "name": "app_2.raw", "size": 3, "state": "uploaded", "browser_download_url": "https://evil.example/",
             "digest": "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
            {"id": 2, "name": "half.raw", "size": 3, "state": "open", "digest": null},
            {"id": 3, "name": "../etc/passwd", "size": 3},
            {"id": 4, "name": "..", "size": 3},
            {"id": 5, "name": "a\nb", "size": 3},
            {"id": 6, "name": "", "size": 3},
            {"id": 9, "name": "huge", "size": 18446744073709551615},
            {"id": 8, "name": "old.raw", "size": 3, "digest": "md5:00"}]},
        {"tag_name": "../../evil", "assets": []},
        {"tag_name": "a\u0007", "assets": []},
        {"tag_name": "", "assets": []},
        {"tag_name": "nested/v1"}]"#;

    #[test]
    fn a_page_is_read_without_what_has_names_of_no_use() {
        let page = Page::parse(PAGE.as_bytes(), true).expect("a page");
        let tags: Vec<_> = page
            .releases
            .iter()
            .map(|release| release.tag_name.as_str())
            .collect();
        assert_eq!(tags, ["v2", "nested/v1"]);
        let names: Vec<_> = page.releases[0]
            .assets
            .iter()
            .map(|asset| (asset.name.as_str(), asset.sha256().is_some()))
            .collect();
        assert_eq!(names, [("app_2.raw", true), ("old.raw", false)]);
        assert!(page.releases[0].prerelease && !page.releases[1].prerelease);
        assert_eq!(Page::restored(&page.stored()), Some(page));
    }

    #[test]
    fn what_is_no_page_or_too_much_is_refused() {
        let release = r#"{"tag_name": "v1"}"#;
        let many = |count: usize, one: &str| vec![one; count].join(",");
        let asset = r#"{"id": 1, "name": "a", "size": 1}"#;
        let crowded = |count: usize| {
            format!(
                r#"[{{"tag_name": "v1", "assets": [{}]}}]"#,
                many(count, asset)
            )
        };
        let table = [
            ("[]".to_owned(), true),
            (format!("[{}]", many(100, release)), true),
            (format!("[{}]", many(101, release)), false),
            (crowded(1000), true),
            (crowded(1001), false),
            ("<!DOCTYPE html>".to_owned(), false),
            (r#"{"message": "Not Found"}"#.to_owned(), false),
            (r#"[{"tag_name": 1}]"#.to_owned(), false),
            (
                r#"[{"tag_name": "v1", "assets": [{"id": -1, "name": "a", "size": 1}]}]"#
                    .to_owned(),
                false,
            ),
            ("[".repeat(100_000), false),
            (String::new(), false),
        ];
        for (text, good) in table {
            let head: String = text.chars().take(60).collect();
            assert_eq!(Page::parse(text.as_bytes(), false).is_ok(), good, "{head}");
        }
    }

    #[test]
    fn a_page_of_any_bytes_has_only_names_that_are_names() {
        for position in 0..PAGE.len() {
            for byte in *b"/.%\"\\0\n\xff" {
                let mut bytes = PAGE.as_bytes().to_vec();
                bytes[position] = byte;
                let Ok(page) = Page::parse(&bytes, false) else {
                    continue;
                };
                for release in &page.releases {
                    assert!(manifest::is_name(&release.tag_name), "{release:?}");
                    for Asset { name, size, .. } in &release.assets {
                        let is_file = manifest::is_name(name) && !name.contains('/');
                        assert!(is_file && *size <= LARGEST, "{name:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_stored_page_that_is_damaged_is_none() {
        let whole = Page::parse(PAGE.as_bytes(), true).expect("a page").stored();
        for cut in 0..whole.len() {
            assert_eq!(Page::restored(&whole[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn an_address_says_what_the_names_say() {
        let table = [
            ("v1.32.2+k3s1", "v1.32.2+k3s1"),
            ("kustomize/v5", "kustomize/v5"),
            ("a#b?c d%", "a%23b%3Fc%20d%25"),
            ("ü", "%C3%BC"),
        ];
        for (text, wanted) in table {
            assert_eq!(encoded(text), wanted, "{text}");
        }
    }
}
