//! Versions, names, and the lists that sources show.

use std::fmt::Write as _;
use std::io::Cursor;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use sysupdate::catalog::Catalog;
use sysupdate::definition::transfer::{Authentication, SourceAccess, UrlSource, Verification};
use sysupdate::event::Silent;
use sysupdate::fetch::{Body, Fetch, FetchError, Request, Response, Seams};
use sysupdate::inventory::remote::{Demand, Freshness, MANIFEST_TIMEOUT, Manifests, Policy};
use sysupdate::metadata::Sha256;
use sysupdate::pattern::{Pattern, Patterns};
use sysupdate::root::Root;
use sysupdate::verify::manifest::Manifest;
use sysupdate::verify::memory::{self, Acceptance, File, Offer, Standing};
use sysupdate::version::Version;

use crate::Work;

pub(crate) fn versions_sorted() -> Work {
    let mut versions = versions();
    Box::new(move || {
        versions.sort();
        let pairs = versions.windows(2);
        pairs.filter(|pair| pair[0] < pair[1]).count()
    })
}

pub(crate) fn pattern() -> Work {
    let patterns = patterns(&["other_@v.raw", "app_@v+@l-@d.efi", "app_@v.raw"]);
    let names = (0_usize..).zip(versions()).map(|(number, version)| {
        let rest = [".raw", "+2-1.efi", ".raw.asc"][number % 3];
        format!("app_{version}{rest}")
    });
    let names: Vec<String> = names.collect();
    Box::new(move || {
        let matches = names.iter().map(|name| patterns.match_path(name));
        matches.filter(|one| one.metadata.is_some()).count()
    })
}

pub(crate) fn manifest() -> Work {
    let mut text = manifest_text();
    Box::new(move || {
        let manifest = Manifest::parse(std::mem::take(&mut text)).expect("a manifest");
        let findings = manifest.freshness(now(), &TimeZone::UTC).count();
        findings + manifest.entries().count()
    })
}

/// What a source offers, from the bytes of its manifest to instances.
pub(crate) fn listing() -> Work {
    let (root, shelf) = (Root::host(), Shelf(manifest_text()));
    let source = UrlSource {
        // Of a local one nothing is kept.
        base: "file:///nowhere/counts".to_owned(),
        manifest: "SHA256SUMS".to_owned(),
        patterns: patterns(&["app_@v.raw"]),
        access: SourceAccess::default(),
    };
    let authentication = Authentication::default();
    Box::new(move || {
        let policy = Policy {
            keyring: None,
            freshness: Freshness::Enforced,
            acceptance: Acceptance::Never,
            manifest_timeout: MANIFEST_TIMEOUT,
            now: now(),
            zone: || TimeZone::UTC,
        };
        let demand = Demand {
            verification: Verification::Skip,
            authentication: &authentication,
        };
        let manifests = Manifests::new(&shelf, &root, policy, &Silent);
        let listing = manifests.list(&source, demand).expect("a listing");
        listing.instances.len()
    })
}

/// Serves one document.
struct Shelf(Vec<u8>);

impl Fetch for Shelf {
    fn open(&self, _: &Request<'_>) -> Result<Response, FetchError> {
        Ok(Response::Body(Body {
            length: Some(self.0.len() as u64),
            part: None,
            tag: None,
            validators: None,
            modified: None,
            continues: false,
            seams: Seams::default(),
            reader: Box::new(Cursor::new(self.0.clone())),
        }))
    }

    fn size(&self, _: &str) -> Result<Option<u64>, FetchError> {
        Ok(Some(self.0.len() as u64))
    }
}

/// A source that is new, and the same once more, with a changed file among those that are remembered.
pub(crate) fn memory() -> Work {
    let files = versions().into_iter().zip(0_usize..);
    let files: Vec<(String, Version, Sha256)> = files
        .map(|(version, number)| (format!("app_{version}.raw"), version, digest(number)))
        .collect();
    Box::new(move || {
        let mut offer = Offer {
            manifest: digest(1),
            standing: Standing::Unsigned,
            files: files
                .iter()
                .map(|(name, version, sha256)| File {
                    name,
                    version,
                    sha256: *sha256,
                })
                .collect(),
            now: now(),
        };
        let judge = |known, offer: &_| memory::judge(known, offer, Acceptance::Never);
        let first = judge(None, &offer).expect("nothing contradicts it");
        offer.manifest = digest(2);
        let newest = offer.files.iter_mut().max_by_key(|file| file.version);
        newest.expect("there are some").sha256 = digest(MANY);
        let second = judge(first.record.as_ref(), &offer).expect("unsigned ones are passed over");
        second.changed.len()
    })
}

pub(crate) fn catalog() -> Work {
    let names = (0..MANY).map(|number| {
        let letters =
            [number / 10 % 10, number % 10].map(|letter| char::from(b"abcdefghij"[letter]));
        let extension = String::from_iter(letters);
        let architecture = ["x86-64", "arm64"][number / 100 % 2];
        format!("tool-{extension}-v1.{}.0-{architecture}.raw", number / 200)
    });
    let names: Vec<String> = names.collect();
    Box::new(move || {
        let catalog = Catalog::of(names.iter().map(String::as_str), Some("x86-64"));
        catalog.matching("tool").count()
    })
}

/// All that a part has many of.
const MANY: usize = 4_000;

/// Different versions of several kinds, in no order.
pub(crate) fn versions() -> Vec<Version> {
    let mut versions: Vec<Version> = (0..MANY)
        .map(|number| {
            let (major, minor, patch) = (number / 1000, number / 10 % 100, number % 10);
            let text = match number % 5 {
                0 => format!("{major}.{minor}.{patch}"),
                1 => format!("v{major}.{minor}.{patch}+k3s1"),
                2 => format!("{major}.{minor}.{patch}~rc1"),
                3 => format!("20{major:02}{minor:02}-{patch}"),
                _ => format!("{major}.{minor}.{patch}^post1-2"),
            };
            text.parse().expect("a version")
        })
        .collect();
    // A linear congruential generator (Knuth's MMIX) drives Fisher and Yates' shuffle.
    let mut state: u64 = 1;
    for last in (1..versions.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        versions.swap(last, (state >> 33) as usize % (last + 1));
    }
    versions
}

fn patterns(texts: &[&str]) -> Patterns {
    let patterns = texts.iter().map(|text| text.parse::<Pattern>());
    patterns
        .collect::<Result<_, _>>()
        .expect("these are patterns")
}

/// A manifest in which every other line is of something that no pattern wants.
fn manifest_text() -> Vec<u8> {
    let mut text = String::new();
    for (version, number) in versions().into_iter().zip(0_usize..) {
        let suffix = ["raw", "raw.asc"][number % 2];
        let _ = writeln!(text, "{}  app_{version}.{suffix}", digest(number));
    }
    text.into_bytes()
}

fn digest(number: usize) -> Sha256 {
    let mut bytes = [0xa5; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Sha256(bytes)
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_795_700_000).expect("a time")
}
