//! Which assets are a transfer's, and for which of them more than the list is asked for.
//!
//! Pure.

use std::collections::{BTreeSet, HashSet};

use super::Interest;
use super::api::{Asset, Release};
use crate::definition::github::{GithubSource, Prereleases};
use crate::inventory::remote::is_unfinished;
use crate::metadata::Metadata;
use crate::version::Version;

/// An asset that the patterns match.
pub(super) struct Candidate<'r> {
    pub(super) release: &'r Release,
    pub(super) asset: &'r Asset,
    /// What its name says.
    pub(super) metadata: Metadata,
    /// `TAG/NAME`.
    pub(super) name: String,
}

/// The assets that the definition means, newest version first. Of two under one name the first counts.
pub(super) fn candidates<'r>(source: &GithubSource, releases: &'r [Release]) -> Vec<Candidate<'r>> {
    let mut found = Vec::new();
    let mut tags = HashSet::new();
    for release in releases {
        let is_public =
            !release.draft && (!release.prerelease || source.prereleases == Prereleases::Offered);
        if !is_public || !tags.insert(release.tag_name.as_str()) {
            continue;
        }
        let tagged = match &source.tag {
            None => None,
            Some(patterns) => match patterns.match_path(&release.tag_name).metadata {
                Some(metadata) => Some(metadata.version),
                None => continue,
            },
        };
        let mut names = HashSet::new();
        for asset in &release.assets {
            let name = format!("{}/{}", release.tag_name, asset.name);
            let own = source.patterns.match_path(&asset.name).metadata;
            // A pattern with a slash takes the version from the tag.
            let Some(metadata) = own.or_else(|| source.patterns.match_path(&name).metadata) else {
                continue;
            };
            // A release that carries files of another version is not what the definition means.
            let agrees = tagged.as_ref().is_none_or(|tag| *tag == metadata.version);
            if !agrees || is_unfinished(&asset.name) || !names.insert(asset.name.as_str()) {
                continue;
            }
            found.push(Candidate {
                release,
                asset,
                metadata,
                name,
            });
        }
    }
    found.sort_by(|left, right| right.metadata.version.cmp(&left.metadata.version));
    found
}

/// The versions that are looked at closely: the newest ones, the newest that the settings admit, and the one that was
/// asked for. `candidates` have the newest first.
pub(super) fn near<'c>(
    candidates: &'c [Candidate<'_>],
    interest: Interest<'_>,
) -> BTreeSet<&'c Version> {
    let mut near = BTreeSet::new();
    let mut versions: Vec<&Version> = candidates
        .iter()
        .map(|candidate| &candidate.metadata.version)
        .collect();
    versions.dedup();
    let mut admitted = 0;
    for (rank, version) in versions.into_iter().enumerate() {
        let is_chosen = admitted < ADMITTED && (interest.admits)(version);
        admitted += usize::from(is_chosen);
        if rank < NEWEST || is_chosen || interest.wanted == Some(version) {
            near.insert(version);
        }
    }
    near
}

/// So many of the newest versions, whatever the settings say: by the newest, a source is known again.
const NEWEST: usize = 4;

/// So many of those that may be chosen: some of the newest may not fit this host.
const ADMITTED: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::transfer::SourceAccess;
    use crate::inventory::remote::github::api::Page;
    use crate::pattern::{Pattern, Patterns};

    fn patterns(text: &str) -> Patterns {
        Patterns::from(text.parse::<Pattern>().expect("a pattern"))
    }

    fn source(tag: Option<&str>, prereleases: Prereleases) -> GithubSource {
        GithubSource {
            url: "https://github.com/o/r".to_owned(),
            api: "https://api.github.com/repos/o/r".to_owned(),
            manifest: "SHA256SUMS".to_owned(),
            tag: tag.map(patterns),
            patterns: patterns("app_@v.raw"),
            prereleases,
            access: SourceAccess::default(),
        }
    }

    fn releases() -> Vec<Release> {
        let text = r#"[
            {"tag_name": "v3", "draft": true, "assets": [{"id": 1, "name": "app_3.raw", "size": 1}]},
            {"tag_name": "v2.1", "prerelease": true, "assets": [{"id": 2, "name": "app_2.1.raw", "size": 1}]},
            {"tag_name": "v1", "assets": [{"id": 3, "name": "app_1.raw", "size": 1}, {"id": 4, "name": "app_1.txt", "size": 1},
                {"id": 5, "name": "app_1.raw", "size": 9}, {"id": 6, "name": "app_0.9.raw", "size": 1}]},
            {"tag_name": "v1", "assets": [{"id": 7, "name": "app_1.5.raw", "size": 1}]},
            {"tag_name": "other-2", "assets": [{"id": 8, "name": "app_2.raw", "size": 1}]}]"#;
        Page::parse(text.as_bytes(), false)
            .expect("a page")
            .releases
    }

    #[test]
    fn what_is_unpublished_or_otherwise_named_is_no_candidate() {
        use Prereleases::{Ignored, Offered};
        let table: [(_, _, &[&str]); 3] = [
            (
                None,
                Ignored,
                &["other-2/app_2.raw", "v1/app_1.raw", "v1/app_0.9.raw"],
            ),
            (Some("v@v"), Ignored, &["v1/app_1.raw"]),
            (Some("v@v"), Offered, &["v2.1/app_2.1.raw", "v1/app_1.raw"]),
        ];
        for (tag, prereleases, wanted) in table {
            let releases = releases();
            let found = candidates(&source(tag, prereleases), &releases);
            let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names, wanted, "{tag:?} {prereleases:?}");
            assert!(
                found.iter().all(|one| one.asset.size == 1),
                "the first counts"
            );
        }
    }

    #[test]
    fn only_versions_that_may_matter_are_looked_at() {
        let one = |number: u32| {
            let asset = format!(r#"{{"id": {number}, "name": "app_{number}.raw", "size": 1}}"#);
            format!(r#"{{"tag_name": "v{number}", "assets": [{asset}]}}"#)
        };
        let all: Vec<String> = (0..100).map(one).collect();
        let text = format!("[{}]", all.join(","));
        let releases = Page::parse(text.as_bytes(), false)
            .expect("a page")
            .releases;
        let found = candidates(&source(None, Prereleases::Ignored), &releases);
        let version = |text: &str| -> Version { text.parse().expect("a version") };
        let (limit, wanted) = (version("50"), version("3"));
        let admits = |version: &Version| *version < limit;
        let interest = Interest {
            admits: &admits,
            wanted: Some(&wanted),
        };
        let near = near(&found, interest);
        let shown: Vec<_> = near.iter().rev().map(|version| version.as_str()).collect();
        let newest = (96..100).rev().map(|number| number.to_string());
        let admitted = (38..50).rev().map(|number| number.to_string());
        let expected: Vec<String> = newest.chain(admitted).chain(["3".to_owned()]).collect();
        assert_eq!(shown, expected);
    }
}
