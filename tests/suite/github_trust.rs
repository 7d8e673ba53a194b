//! What of a repository's releases is trusted, and who is shown the token.

use serde_json::{Value, json};

use super::harness::Host;
use super::minisign::MADE;
use super::minisigner::Pair;
use super::repository::{CHECK, Digests, LIST, Repository, UPDATE, page, page_path, root};
use super::server::{Answer, manifest, sha256};
use super::signatures::{ALICE, MALLORY, armoured, keyring};

#[test]
fn a_plan_is_not_carried_out_with_other_bytes() {
    let mut repository = Repository::with(&["2"]);
    let host = repository.host();
    let plan = host.run(&["-C", "app", "plan", "--json=short"]).succeeds();
    host.write(
        "plan.json",
        &plan.stdout.replace("ROOT", root(&host).as_str()),
    );
    repository.releases.clear();
    repository.release("v2", &[("app_2.raw", "other")], Digests::Told);
    repository.publish();
    let file = host.path("plan.json").display().to_string();
    let run = host.run(&["apply", &file]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(!host.path("srv/target/app_2.raw").exists());
}

#[test]
fn without_a_digest_of_the_api_the_sums_of_the_release_count_and_are_kept() {
    let mut repository = Repository::new();
    let sums = manifest(&[("app_1.raw", "1")]);
    repository.release(
        "v1",
        &[("app_1.raw", "1"), ("SHA256SUMS", &sums)],
        Digests::Missing,
    );
    repository.publish();
    let host = repository.host();
    host.run(&CHECK).succeeds().prints("1\n");
    assert_eq!(
        repository.site.take_requests(),
        ["GET /o/r/releases/download/v1/SHA256SUMS 302"]
    );
    host.run(&UPDATE).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "1");
    assert_eq!(
        repository.site.take_requests(),
        ["GET /o/r/releases/download/v1/app_1.raw 302"]
    );
}

#[test]
fn sums_of_a_release_that_are_too_large_are_not_read() {
    let mut repository = Repository::new();
    let sums = manifest(&[("app_1.raw", "1")]);
    let others = sums.replace("app_1.raw", &"x".repeat(180)).repeat(17_000);
    assert!(others.len() > 4 << 20);
    let sums = format!("{sums}{others}");
    repository.release(
        "v1",
        &[("app_1.raw", "1"), ("SHA256SUMS", &sums)],
        Digests::Missing,
    );
    repository.publish();
    repository
        .host()
        .run(&CHECK)
        .fails()
        .says("SHA256SUMS': File overly large, refusing. (more than 4194304 bytes)");
}

#[test]
fn what_has_no_digest_at_all_is_not_offered() {
    let mut repository = Repository::new();
    repository.add("1", Digests::Missing);
    repository.publish();
    let host = repository.host();
    host.run(&CHECK)
        .fails()
        .says("no release of")
        .says("'v1/app_1.raw'")
        .says("no 'SHA256SUMS'");
    // One that has is offered instead, and what is newer is told.
    repository.releases.clear();
    repository.add("1", Digests::Told);
    repository.add("0.5", Digests::Missing);
    let sums = manifest(&[("other", "")]);
    repository.release(
        "v2",
        &[("app_2.raw", "2"), ("SHA256SUMS", &sums)],
        Digests::Missing,
    );
    repository.add("3", Digests::Missing);
    repository.publish();
    host.run(&CHECK)
        .succeeds()
        .prints("1\n")
        .says("'v3/app_3.raw' of")
        .says("'SHA256SUMS' of the release does not name it")
        .keeps_quiet_about("app_0.5");
}

#[test]
fn bytes_of_another_digest_are_not_installed() {
    let mut repository = Repository::with(&["1"]);
    let host = repository.host();
    host.run(&UPDATE).succeeds();
    let digest = format!("sha256:{}", sha256(b"something else"));
    repository.add("2", Digests::Told)["assets"][0]["digest"] = json!(digest);
    repository.publish();
    let run = host.run(&UPDATE);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert_eq!(host.read("srv/target/app.raw"), "1");
    assert!(!host.path("srv/target/app_2.raw").exists());
    // Once it is put right, a plain run goes on. The first digest that was seen is trusted, so that has to be accepted.
    repository.releases.remove(0);
    repository.add("2", Digests::Told);
    repository.publish();
    host.run(&["-C", "app", "update", "--accept-manifest"])
        .succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "2");
}

#[test]
fn a_release_that_was_made_anew_is_passed_over_until_that_is_accepted() {
    let mut repository = Repository::with(&["1"]);
    let host = repository.host();
    host.run(&CHECK).succeeds().prints("1\n");
    repository.releases.clear();
    repository.release("v1", &[("app_1.raw", "rebuilt")], Digests::Told);
    repository.publish();
    host.run(&["-C", "app", "list", "--why"])
        .succeeds()
        .says("has changed");
    host.run(&UPDATE).says("'v1/app_1.raw' has the checksum");
    assert!(!host.path("srv/target/app_1.raw").exists());
    host.run(&["-C", "app", "update", "--accept-manifest"])
        .succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "rebuilt");
}

#[test]
fn signed_sums_are_verified_and_asked_for_once() {
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    repository.add_signed("1", Some(&pair));
    repository.add_signed("2", Some(&pair));
    repository.publish();
    let host = repository.trusting(&pair);
    host.run(&UPDATE).succeeds().keeps_quiet_about("unsigned");
    assert_eq!(host.read("srv/target/app.raw"), "2");
    repository.api.take_log();
    repository.site.take_log();
    host.run(&CHECK).prints("");
    assert_eq!(repository.api.take_requests(), page(304));
    assert_eq!(repository.site.take_requests(), <[String; 0]>::default());
    let status = host.run(&["--json=short", "status"]).succeeds().json();
    assert_eq!(status[0]["verification"], "minisign");
    // What is kept is verified again: with another key it holds no more.
    host.write("etc/sysupdate/keys/app.pub", &Pair::new(2).public());
    host.run(&CHECK).fails();
}

#[test]
fn openpgp_signatures_are_found_among_the_assets() {
    for (key, good) in [(&*ALICE, true), (&*MALLORY, false)] {
        let mut repository = Repository::new();
        let sums = manifest(&[("app_1.raw", "1")]);
        let signature = armoured(key, &sums);
        let files = [
            ("app_1.raw", "1"),
            ("SHA256SUMS", sums.as_str()),
            ("SHA256SUMS.asc", signature.as_str()),
        ];
        repository.release("v1", &files, Digests::Missing);
        repository.publish();
        let mut host = Host::new();
        repository.define(&host, "", "");
        std::fs::write(host.path("keys.pgp"), keyring(&[&ALICE])).expect("written");
        let path = host.path("keys.pgp").display().to_string();
        host.set("SYSTEMD_OPENPGP_KEYRING", path);
        let run = host.run(&CHECK);
        if good {
            run.succeeds().prints("1\n");
            let requests = repository.site.take_requests();
            assert_eq!(
                requests.len(),
                2,
                "nothing is asked for in vain: {requests:?}"
            );
        } else {
            run.fails().says("cannot trust the manifest");
        }
    }
}

#[test]
fn signatures_that_are_too_old_are_refused_and_expired_sums_passed_over() {
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    repository.add_signed("1", Some(&pair));
    repository.publish();
    let host = repository.trusting(&pair);
    for (age, good) in [("1d", false), ("36500d", true)] {
        let transfer = format!("verify = \"minisign\"\nmax_age = \"{age}\"");
        repository.define(&host, &transfer, "");
        let run = host.run(&CHECK);
        if good {
            run.succeeds().prints("1\n");
        } else {
            run.fails().says("more than 1 days old is not allowed");
        }
    }
    let marker = "BEST-BEFORE-2020-01-01";
    let sums = manifest(&[("app_2.raw", "2"), (marker, "")]);
    let signature = pair.sign(sums.as_bytes(), MADE);
    let files = [
        ("app_2.raw", "2"),
        ("SHA256SUMS", sums.as_str()),
        ("SHA256SUMS.minisig", signature.as_str()),
    ];
    repository.release("v2", &files, Digests::Told);
    repository.publish();
    host.run(&CHECK)
        .succeeds()
        .prints("1\n")
        .says("'v2/app_2.raw' of");
}

#[test]
fn what_is_not_signed_well_is_not_offered_where_signatures_are_demanded() {
    let (pair, mallory) = (Pair::new(1), Pair::new(9));
    let rows: [(Option<&Pair>, &str); 2] = [
        (None, "is a signature of it"),
        (Some(&mallory), "cannot trust"),
    ];
    for (signer, words) in rows {
        let mut repository = Repository::new();
        repository.add_signed("2", signer);
        repository.publish();
        let host = repository.trusting(&pair);
        host.run(&CHECK).fails().says(words);
        host.run(&UPDATE).fails();
        assert!(!host.path("srv/target/app_2.raw").exists());
        // An older one that is signed is offered, and the newer one told.
        repository.add_signed("1", Some(&pair));
        repository.publish();
        host.run(&CHECK)
            .succeeds()
            .prints("1\n")
            .says("'v2/app_2.raw' of")
            .says(words);
        // Whoever wants none gets the newest.
        host.run(&["-C", "app", "--verify=no", "check-new"])
            .succeeds()
            .prints("2\n");
    }
}

#[test]
fn the_api_cannot_put_other_bytes_in_the_place_of_signed_ones() {
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    repository.add_signed("1", Some(&pair));
    let digest = format!("sha256:{}", sha256(b"evil"));
    repository.add_signed("2", Some(&pair))["assets"][0]["digest"] = json!(digest);
    // Without a digest of its own, the signed one alone counts.
    repository.publish();
    let host = repository.trusting(&pair);
    host.run(&CHECK)
        .succeeds()
        .prints("1\n")
        .says("'v2/app_2.raw' of")
        .says(&sha256(b"evil"));
    repository.releases[0]["assets"][0]["digest"] = Value::Null;
    repository.publish();
    host.run(&CHECK).succeeds().prints("2\n");
    repository.store.put("/4?expires=soon", "evil");
    let run = host.run(&UPDATE);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(!host.path("srv/target/app_2.raw").exists());
}

#[test]
fn a_signed_release_that_was_seen_does_not_vanish_unnoticed() {
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    repository.add_signed("1", Some(&pair));
    repository.add_signed("2", Some(&pair));
    repository.publish();
    let host = repository.trusting(&pair);
    host.run(&CHECK).succeeds().prints("2\n");
    repository.releases.remove(0);
    repository.publish();
    host.run(&CHECK).fails().says("'2' was seen here on");
    host.run(&["-C", "app", "check-new", "--accept-manifest"])
        .succeeds()
        .prints("1\n");
}

#[test]
fn sums_that_cannot_be_fetched_are_no_reason_to_say_that_nothing_is_new() {
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    repository.add_signed("1", Some(&pair));
    repository.add_signed("2", Some(&pair));
    repository.publish();
    for name in ["SHA256SUMS", "SHA256SUMS.minisig"] {
        let host = repository.trusting(&pair);
        let path = format!("/o/r/releases/download/v2/{name}");
        repository.site.answer(&path, Answer::status(500));
        host.run(&CHECK).fails().says("500");
        let number = if name == "SHA256SUMS" { 5 } else { 6 };
        let away = format!("{}/{number}?expires=soon", repository.store.base);
        repository.site.answer(&path, Answer::redirect(302, away));
        host.run(&CHECK).succeeds().prints("2\n");
    }
}

#[test]
fn hundreds_of_signed_releases_cost_a_few_requests_once() {
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    for number in 1..=250 {
        repository.add_signed(&number.to_string(), Some(&pair));
    }
    repository.publish();
    let host = repository.trusting(&pair);
    repository.define(&host, "verify = \"minisign\"\nmax_version = \"99\"", "");
    host.run(&CHECK).succeeds().prints("99\n");
    // Two files each of the newest four, and of the newest twelve that may be chosen.
    assert_eq!(repository.site.take_requests().len(), 32);
    assert_eq!(repository.api.take_requests().len(), 3);
    host.run(&CHECK).succeeds().prints("99\n");
    assert_eq!(repository.site.take_requests().len(), 0);
    // What is asked for by name is looked at, too.
    host.run(&["-C", "app", "update", "7"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "7");
}

#[test]
fn a_token_is_shown_to_the_api_and_to_nobody_else() {
    const SECRET: &str = "hunter2";
    let (mut repository, pair) = (Repository::new(), Pair::new(1));
    repository.add_signed("1", Some(&pair));
    repository.publish();
    let mut host = repository.trusting(&pair);
    repository.define(&host, "verify = \"minisign\"", "credential = \"app\"");
    host.write("credentials/app", SECRET);
    host.set(
        "CREDENTIALS_DIRECTORY",
        host.path("credentials").display().to_string(),
    );
    host.set("SYSTEMD_LOG_LEVEL", "debug");
    let run = host.run(&UPDATE).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "1");
    for exchange in repository.api.take_log() {
        assert_eq!(
            exchange.authorization.as_deref(),
            Some("Bearer hunter2"),
            "{exchange:?}"
        );
        let media = if exchange.path.contains("/assets/") {
            "application/octet-stream"
        } else {
            "application/vnd.github+json"
        };
        assert_eq!(exchange.accept.as_deref(), Some(media), "{exchange:?}");
    }
    let log = repository.store.take_log();
    assert!(!log.is_empty());
    for exchange in log {
        assert_eq!(exchange.authorization, None, "{exchange:?}");
    }
    assert_eq!(
        repository.site.take_log(),
        [],
        "who is not known there has no business there"
    );
    assert!(!run.stderr.contains(SECRET), "{run:#?}");
    // Refused, it is not shown either.
    repository.api.answer(&page_path(1), Answer::status(401));
    let run = host.run(&CHECK).fails().says("is not accepted");
    assert!(!run.stderr.contains(SECRET), "{run:#?}");
}

#[test]
fn names_that_lead_elsewhere_are_no_names() {
    let mut repository = Repository::with(&["1"]);
    let digest = format!("sha256:{}", sha256(b"x"));
    let asset = |name: &str| json!({"id": 900, "name": name, "size": 1, "digest": digest});
    let names = [
        "../app_7.raw",
        "/app_7.raw",
        "app_7.raw\n",
        "a/app_7.raw",
        ".sysupdate.partial.app_7.raw",
    ];
    let assets: Vec<Value> = names.map(asset).into();
    repository
        .releases
        .push(json!({"tag_name": "v7", "assets": assets}));
    for tag in ["../v8", "/v8", "v8\u{1b}[2J", "..", ""] {
        let assets = [asset("app_8.raw")];
        repository
            .releases
            .push(json!({"tag_name": tag, "assets": assets}));
    }
    repository.publish();
    let host = repository.host();
    host.run(&LIST).succeeds();
    host.run(&CHECK).succeeds().prints("1\n");
}
