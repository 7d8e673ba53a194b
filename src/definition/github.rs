//! The releases of a GitHub repository as a source, `type = "github"` in the native form.
//!
//! Owns its settings and what they have to be: a repository's address, and that of the API that knows its releases.
//! Addresses are https. Plain http is for servers of this very host (tests): a token must not go over a network in clear.

use super::check::Check;
use super::draft::{Draft, ResourceType};
use super::error::DefinitionError;
use super::fault::Fault;
use super::keys::{NAME_LIMIT, TEXT_LIMIT};
use super::schema::Scope;
use super::transfer::{Located, Origin, SourceAccess};
use super::value;
use crate::pattern::{Pattern, Patterns};

/// `type = "github"`.
#[derive(Debug, Clone)]
pub struct GithubSource {
    /// The repository for people, `https://github.com/OWNER/REPO`, without a slash at its end.
    pub url: String,
    /// The repository in the API, `https://api.github.com/repos/OWNER/REPO`.
    pub api: String,
    /// The asset of each release with the digests of the others, `SHA256SUMS` by default.
    pub manifest: String,
    /// What the tags of releases are called; without it any tag will do.
    pub tag: Option<Patterns>,
    /// What the assets are called; with a slash in it, one is held against `TAG/NAME`.
    pub patterns: Patterns,
    /// What becomes of releases that are not meant for everybody.
    pub prereleases: Prereleases,
    /// How the API is reached.
    pub access: SourceAccess,
}

/// What becomes of releases that are marked as pre-releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prereleases {
    /// They are passed over.
    #[default]
    Ignored,
    /// They are releases like others (`prerelease = true`).
    Offered,
}

impl GithubSource {
    /// Whether it is asked in somebody's name: then assets have to come through the API, as only that knows him.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let mut headers = self.access.headers.iter();
        self.access.credential.is_some()
            || headers.any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    }

    /// How its parts of the API are reached: addresses, and headers beside those that the definition sets.
    #[must_use]
    pub fn parts(&self) -> [(String, Vec<(String, String)>); 2] {
        let accepting = |media: &str| {
            let set = &self.access.headers;
            let is_set = |name: &str| {
                set.iter()
                    .any(|(other, _)| other.eq_ignore_ascii_case(name))
            };
            let usual = [("Accept", media), ("X-GitHub-Api-Version", API_VERSION)];
            let usual = usual.into_iter().filter(|(name, _)| !is_set(name));
            usual
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .chain(set.iter().cloned())
                .collect()
        };
        [
            (self.api.clone(), accepting("application/vnd.github+json")),
            (
                format!("{}/releases/assets", self.api),
                accepting("application/octet-stream"),
            ),
        ]
    }
}

/// What only this type has, as given.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) tag: Option<Located<Pattern>>,
    pub(super) prereleases: Option<Located<Prereleases>>,
    pub(super) api: Option<Located<String>>,
}

impl Settings {
    /// The first that is given: its name, and where it stands.
    fn first(&self) -> Option<(&'static str, &Origin)> {
        let tag = self.tag.as_ref().map(|tag| ("tag", &tag.origin));
        let prereleases = self.prereleases.as_ref();
        let api = self.api.as_ref();
        tag.or_else(|| prereleases.map(|setting| ("prerelease", &setting.origin)))
            .or_else(|| api.map(|setting| ("api_url", &setting.origin)))
    }
}

pub(super) fn tag(draft: &mut Draft, raw: &str, scope: &Scope<'_>) -> Result<(), Fault> {
    let text = scope.expand(raw, NAME_LIMIT)?;
    let pattern = text.parse().map_err(Fault::Pattern)?;
    draft.github.tag = Some(scope.locate(pattern));
    Ok(())
}

pub(super) fn prerelease(draft: &mut Draft, raw: &str, scope: &Scope<'_>) -> Result<(), Fault> {
    let prereleases = if value::boolean(raw).map_err(Fault::Unparsable)? {
        Prereleases::Offered
    } else {
        Prereleases::Ignored
    };
    draft.github.prereleases = Some(scope.locate(prereleases));
    Ok(())
}

pub(super) fn api_url(draft: &mut Draft, raw: &str, scope: &Scope<'_>) -> Result<(), Fault> {
    let url = scope.expand(raw, TEXT_LIMIT)?;
    let url = url.trim_end_matches('/');
    if Address::parse(url).is_none() {
        return Err(Fault::Invalid("URL", url.to_owned()));
    }
    draft.github.api = Some(scope.locate(url.to_owned()));
    Ok(())
}

impl Check<'_> {
    /// Refuses settings of this type for sources of others.
    pub(super) fn github_only(
        &self,
        draft: &Draft,
        kind: ResourceType,
    ) -> Result<(), DefinitionError> {
        match draft.github.first() {
            Some((name, origin)) if kind != ResourceType::Github => Err(self.refuse_at(
                origin,
                format!("'{name}' is for sources of type \"github\" only"),
            )),
            _ => Ok(()),
        }
    }

    /// Puts the source together.
    pub(super) fn github(
        &self,
        draft: &mut Draft,
        url: &Located<String>,
        manifest: String,
        patterns: Patterns,
    ) -> Result<GithubSource, DefinitionError> {
        let refuse = |message: &str| Err(self.refuse_at(&url.origin, message.to_owned()));
        let access = std::mem::take(&mut draft.access);
        if !access.mirrors.is_empty() {
            return refuse("a source of type \"github\" has no mirrors");
        }
        let settings = std::mem::take(&mut draft.github);
        let address = url.value.trim_end_matches('/');
        let Some((site, owner, name)) = repository(address) else {
            return refuse(
                "the URL of a source of type \"github\" must be https://HOST/OWNER/REPOSITORY, without a login",
            );
        };
        let api = match settings.api {
            Some(api) => api.value,
            None if site.eq_ignore_ascii_case("https://github.com") => PUBLIC_API.to_owned(),
            None => {
                return refuse(
                    "which API knows the releases must be said by 'api_url': \"https://HOST/api/v3\" on a GitHub Enterprise Server",
                );
            }
        };
        Ok(GithubSource {
            url: address.to_owned(),
            api: format!("{api}/repos/{owner}/{name}"),
            manifest,
            tag: settings.tag.map(|tag| Patterns::from(tag.value)),
            patterns,
            prereleases: settings
                .prereleases
                .map(|setting| setting.value)
                .unwrap_or_default(),
            access,
        })
    }
}

/// The site, the owner and the name that the address of a repository consists of.
fn repository(url: &str) -> Option<(&str, &str, &str)> {
    let Address { path } = Address::parse(url)?;
    let (owner, name) = path.strip_prefix('/')?.split_once('/')?;
    let is_name = |text: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !matches!(text, "" | "." | "..") && text.len() <= 100 && text.bytes().all(letter)
    };
    let site = &url[..url.len() - path.len()];
    (is_name(owner) && is_name(name)).then_some((site, owner, name))
}

/// An address that a token may be shown to.
struct Address<'a> {
    /// What follows the host.
    path: &'a str,
}

impl<'a> Address<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\%".contains(&byte);
        let is_safe = match scheme {
            "https" => true,
            "http" => is_loopback(host),
            _ => false,
        };
        (is_safe && !host.is_empty() && rest.bytes().all(plain)).then_some(Self { path })
    }
}

/// Whether a host, with its port perhaps, is this one.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_local = |address: std::net::IpAddr| address.is_loopback();
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name == "localhost" || bare.unwrap_or(name).parse().is_ok_and(is_local)
}

/// What the word stands for in systemd's form: no text of it.
pub(super) const TYPE: &str = "\0github";

/// The API that knows the repositories of github.com.
const PUBLIC_API: &str = "https://api.github.com";

/// What is understood of it.
const API_VERSION: &str = "2022-11-28";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_repository_is_taken_apart_or_refused() {
        let table = [
            (
                "https://github.com/o/r",
                Some(("https://github.com", "o", "r")),
            ),
            (
                "https://h:8443/Some-One/a.b_c",
                Some(("https://h:8443", "Some-One", "a.b_c")),
            ),
            (
                "http://127.0.0.1:8080/o/r",
                Some(("http://127.0.0.1:8080", "o", "r")),
            ),
            ("http://[::1]:1/o/r", Some(("http://[::1]:1", "o", "r"))),
            ("http://github.com/o/r", None),
            ("http://127.0.0.1.example.com/o/r", None),
            ("https://u:p@github.com/o/r", None),
            ("https://github.com/o", None),
            ("https://github.com/o/r/releases", None),
            ("https://github.com/o/..", None),
            ("https://github.com/o/r?x", None),
            ("https://github.com/o/%2e", None),
            ("https:///o/r", None),
            ("file:///o/r", None),
            ("github.com/o/r", None),
        ];
        for (url, wanted) in table {
            assert_eq!(repository(url), wanted, "{url}");
        }
    }
}
