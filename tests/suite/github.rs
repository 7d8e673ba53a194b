//! Releases of a repository as a source: its list, page by page, and what is made of it.

use std::fmt::Write as _;

use serde_json::json;

use super::harness::Host;
use super::repository::{CHECK, Digests, LIST, Repository, UPDATE, page, page_path, root};
use super::server::{Answer, Server, sha256};

#[test]
fn the_newest_release_is_installed_and_an_unchanged_list_costs_one_question() {
    let repository = Repository::with(&["1", "10", "9"]);
    let host = repository.host();
    host.run(&UPDATE).succeeds().says("unsigned");
    assert_eq!(host.read("srv/target/app.raw"), "10");
    assert_eq!(repository.api.take_requests(), page(200));
    let asset = "GET /o/r/releases/download/v10/app_10.raw 302";
    assert_eq!(repository.site.take_requests(), [asset]);
    assert_eq!(repository.store.take_requests().len(), 1);

    host.run(&UPDATE).succeeds();
    host.run(&CHECK).prints("");
    assert_eq!(
        repository.api.take_requests(),
        [page(304), page(304)].concat()
    );
    let log = [&repository.site, &repository.store].map(Server::take_log);
    assert_eq!(log, [[], []], "nothing else is asked");
}

#[test]
fn listings_plans_and_attributes_name_the_release() {
    let repository = Repository::with(&["1", "2"]);
    let host = repository.host();
    let url = format!(
        "{}/o/r/releases/download/v2/app_2.raw",
        repository.site.base
    );
    let shown = host
        .run(&["-C", "app", "list", "2", "--json=short"])
        .succeeds()
        .json();
    assert!(shown.to_string().contains(&url), "{shown}");
    let plan = host.run(&["-C", "app", "plan", "--json=short"]).succeeds();
    host.write(
        "plan.json",
        &plan.stdout.replace("ROOT", root(&host).as_str()),
    );
    let file = host.path("plan.json").display().to_string();
    host.run(&["apply", &file]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "2");
    let mut value = vec![0; 4096];
    let path = host.path("srv/target/app_2.raw");
    if let Ok(length) = rustix::fs::getxattr(&path, "user.source_url", &mut value) {
        assert_eq!(String::from_utf8_lossy(&value[..length]), url);
    }
    let status = host.run(&["--json=short", "status"]).succeeds().json();
    assert_eq!(status[0]["verification"], "unsigned");
}

#[test]
fn all_pages_are_read_and_each_is_asked_about_by_itself() {
    let mut repository = Repository::new();
    for version in ["9", "1", "2", "3", "4"] {
        repository.add(version, Digests::Told);
    }
    repository.publish_by(2);
    let host = repository.host();
    host.run(&CHECK).succeeds().prints("9\n");
    let asked = |statuses: [u16; 3]| -> Vec<String> {
        let numbered = statuses.iter().zip(1..);
        numbered
            .map(|(status, number)| format!("GET {} {status}", page_path(number)))
            .collect()
    };
    assert_eq!(repository.api.take_requests(), asked([200; 3]));
    host.run(&CHECK).succeeds().prints("9\n");
    assert_eq!(repository.api.take_requests(), asked([304; 3]));
    // The last page alone changes.
    repository.releases[4]["assets"][0]["name"] = json!("app_8.raw");
    repository.publish_by(2);
    let run = host.run(&CHECK).succeeds().prints("8\n");
    assert_eq!(repository.api.take_requests(), asked([304, 304, 200]));
    run.says("the newest version in it is '8', but '9' was seen here");
}

#[test]
fn a_page_that_cannot_be_had_is_no_end_of_the_list() {
    let mut repository = Repository::new();
    for version in ["9", "1", "2"] {
        repository.add(version, Digests::Told);
    }
    repository.publish_by(2);
    let host = repository.host();
    for status in [500, 404] {
        repository.api.answer(&page_path(2), Answer::status(status));
        host.run(&CHECK)
            .fails()
            .says("cannot list the releases")
            .says(&status.to_string());
    }
    repository.publish_by(2);
    host.run(&CHECK).succeeds().prints("9\n");
}

#[test]
fn pages_without_end_are_left_after_thirty_and_no_link_is_followed() {
    let repository = Repository::new();
    let elsewhere = Server::new();
    for number in 1..=40 {
        let name = format!("app_{number}.raw");
        let asset = json!({"id": number, "name": name, "size": 1, "digest": format!("sha256:{}", sha256(b"x"))});
        let body = json!([{"tag_name": format!("v{number}"), "assets": [asset]}]);
        let link = format!(
            "<{}/repos/o/r/releases?page=2>; rel=\"next\"",
            elsewhere.base
        );
        let answer = Answer::ok(body.to_string()).header("Link", link);
        repository.api.answer(&page_path(number), answer);
    }
    let host = repository.host();
    host.run(&CHECK)
        .succeeds()
        .prints("30\n")
        .says("more releases than the 30");
    assert_eq!(repository.api.take_requests().len(), 30);
    assert_eq!(elsewhere.take_log(), []);
}

#[test]
fn a_limit_that_is_used_up_is_told_with_its_end_and_no_old_list_stands_in() {
    let repository = Repository::with(&["1"]);
    let host = repository.host();
    host.run(&CHECK).succeeds().prints("1\n");
    repository.api.take_log();
    for status in [403, 429] {
        let refusal = Answer::status(status)
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "1790812800");
        repository.api.answer(&page_path(1), refusal);
        host.run(&CHECK)
            .fails()
            .says("the server's rate limit is used up until 2026-10-01T00:00:00Z")
            .says("put a token into a file");
        host.run(&UPDATE).fails();
        assert_eq!(
            repository.api.take_requests(),
            [page(status), page(status)].concat(),
            "asked once each"
        );
    }
    let refusal = Answer::status(429).header("Retry-After", "3600");
    repository.api.answer(&page_path(1), refusal);
    host.run(&CHECK).fails().says("used up for another 3600 s");
    // Another refusal is no matter of limits.
    repository.api.answer(
        &page_path(1),
        Answer::status(403).header("x-ratelimit-remaining", "7"),
    );
    host.run(&CHECK)
        .fails()
        .says("code 403")
        .keeps_quiet_about("limit");
    repository.publish();
    host.run(&CHECK).succeeds().prints("1\n");
}

#[test]
fn what_is_no_list_is_told_and_nothing_comes_of_it() {
    let repository = Repository::with(&["1"]);
    let host = repository.host();
    let html = "<!DOCTYPE html><html><body>Not Found</body></html>";
    let rows = [
        (Answer::status(404).body(html), "a private one"),
        (Answer::ok(html), "is no list of releases"),
        (
            Answer::ok(r#"{"message": "Moved"}"#),
            "is no list of releases",
        ),
        (
            Answer::ok("[{\"tag_name\": \"v1\"").unannounced(),
            "is no list of releases",
        ),
        (
            Answer::ok("[ ".repeat(1 << 20)).endless(),
            "cannot read the list of releases",
        ),
        (
            Answer::status(401),
            "Access to image requires authentication",
        ),
    ];
    for (answer, words) in rows {
        repository.api.answer(&page_path(1), answer);
        host.run(&CHECK).fails().says(words);
    }
    repository.publish();
    host.run(&CHECK).succeeds().prints("1\n");
}

#[test]
fn drafts_are_ignored_and_prereleases_unless_they_are_wanted() {
    let mut repository = Repository::with(&["1"]);
    repository.add("2", Digests::Told)["prerelease"] = json!(true);
    repository.add("3", Digests::Told)["draft"] = json!(true);
    repository.publish();
    let host = repository.host();
    for (source, wanted) in [
        ("", "1\n"),
        ("prerelease = false", "1\n"),
        ("prerelease = true", "2\n"),
    ] {
        repository.define(&host, "verify = \"none\"", source);
        host.run(&CHECK).succeeds().prints(wanted);
    }
}

#[test]
fn a_tag_has_to_say_the_version_where_it_is_said_how() {
    let mut repository = Repository::new();
    repository.release("v1", &[("app_1.raw", "1")], Digests::Told);
    repository.release("v2", &[("app_3.raw", "3")], Digests::Told);
    repository.release("other-4", &[("app_4.raw", "4")], Digests::Told);
    repository.publish();
    let host = repository.host();
    for (source, wanted) in [
        ("", "4\n"),
        ("tag = \"v@v\"", "1\n"),
        ("tag = \"other-@v\"", "4\n"),
    ] {
        repository.define(&host, "verify = \"none\"", source);
        host.run(&CHECK).succeeds().prints(wanted);
    }
}

#[test]
fn assets_without_a_version_have_that_of_the_tag() {
    let mut repository = Repository::new();
    for version in ["1.9", "1.10"] {
        let tag = format!("v{version}");
        let files = [("tool.raw", version), ("app.raw", version)];
        repository.release(&tag, &files, Digests::Told);
    }
    repository.publish();
    let host = repository.host();
    let path = "etc/sysupdate/transfer.d/app.toml";
    let text = host.read(path);
    let text = text.replace("match = [\"app_@v.raw\"]", "match = [\"v@v/app.raw\"]");
    host.write(path, &format!("{text}match = [\"app_@v.raw\"]\n"));
    host.run(&UPDATE).succeeds();
    assert_eq!(host.read("srv/target/app_1.10.raw"), "1.10");
    assert_eq!(host.read("srv/target/app.raw"), "1.10");
    let asset = "GET /o/r/releases/download/v1.10/app.raw 302";
    assert_eq!(repository.site.take_requests(), [asset]);
}

#[test]
fn an_api_below_a_path_of_its_own_is_found_there() {
    let repository = Repository::with(&["1"]);
    let listing = serde_json::to_vec(&repository.releases).expect("JSON");
    let site = &repository.site;
    site.answer(
        "/api/v3/repos/o/r/releases?per_page=100&page=1",
        Answer::ok(listing),
    );
    let host = repository.host();
    let path = "etc/sysupdate/transfer.d/app.toml";
    let api = format!("{}/api/v3/", site.base);
    host.write(path, &host.read(path).replace(&repository.api.base, &api));
    host.run(&UPDATE).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "1");
    assert_eq!(repository.api.take_log(), []);
}

#[test]
fn an_asset_that_is_led_into_the_open_or_to_another_scheme_is_not_fetched() {
    let repository = Repository::with(&["1"]);
    let host = repository.host();
    let path = "/o/r/releases/download/v1/app_1.raw";
    for target in ["ftp://127.0.0.1/x", "file:///etc/passwd"] {
        repository.site.answer(path, Answer::redirect(302, target));
        let run = host.run(&UPDATE);
        assert_eq!(run.code, Some(1), "{run:#?}");
        run.says("only http and https are followed");
    }
}

#[test]
fn a_download_that_was_cut_off_goes_on_where_the_release_sends_it_next() {
    let mut repository = Repository::new();
    let content = "0123456789".repeat(100_000);
    repository.release("v1", &[("app_1.raw", &content)], Digests::Told);
    repository.publish();
    let host = repository.host();
    let whole = Answer::ok(content.clone()).ranges().header("ETag", "\"x\"");
    let address = "/1?expires=soon";
    repository
        .store
        .first(address, [whole.clone().short(600_000)]);
    // Then the address has expired.
    repository.store.answer(address, Answer::status(403));
    host.run(&UPDATE).fails().says("failed with code 403");
    // Another one leads to the same.
    let away = format!("{}/1?expires=later", repository.store.base);
    repository.store.answer("/1?expires=later", whole);
    let path = "/o/r/releases/download/v1/app_1.raw";
    repository.site.answer(path, Answer::redirect(302, away));
    repository.store.take_log();
    host.run(&UPDATE).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), content);
    let log = repository.store.take_log();
    let ranges = log.iter().filter(|exchange| exchange.range.is_some());
    assert!(ranges.count() > 0, "{log:#?}");
}

#[test]
fn a_definition_that_does_not_fit_the_type_is_refused() {
    let host = Host::new();
    let rows = [
        ("url = \"https://example.com/o/r\"", "'api_url'"),
        (
            "url = \"https://github.com/o\"",
            "https://HOST/OWNER/REPOSITORY",
        ),
        (
            "url = \"http://github.com/o/r\"",
            "https://HOST/OWNER/REPOSITORY",
        ),
        ("url = \"https://u:p@github.com/o/r\"", "without a login"),
        (
            "url = \"https://github.com/o/r\"\nmirrors = [\"https://m.example/\"]",
            "no mirrors",
        ),
        (
            "url = \"https://github.com/o/r\"\napi_url = \"http://api.example.com\"",
            "'api_url'",
        ),
        ("url = \"https://github.com/o/r\"\ntag = \"v1\"", "pattern"),
        (
            "url = \"https://github.com/o/r\"\nprerelease = \"yes\"",
            "true or false",
        ),
    ];
    for (settings, words) in rows {
        let text = format!("[source]\ntype = \"github\"\n{settings}\n");
        host.write("etc/sysupdate/transfer.d/app.toml", &text);
        host.run(&LIST).fails().says(words);
    }
    let mut text = String::from("[source]\nurl = \"https://github.com/o/r\"\n");
    let _ = writeln!(text, "tag = \"v@v\"");
    host.write("etc/sysupdate/transfer.d/app.toml", &text);
    host.run(&LIST)
        .fails()
        .says("'tag' is for sources of type \"github\" only");
    // systemd's form has no such type.
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        "[Source]\nType=github\nPath=https://github.com/o/r\nMatchPattern=app_@v.raw\n[Target]\nPath=/srv/target\n",
    );
    host.run(&["list"])
        .fails()
        .says("Failed to parse Type=github, ignoring");
}
