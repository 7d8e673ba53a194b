//! Other servers with the same files stand in for one that fails, and cannot change what is installed.

use std::io::Read as _;

use sysupdate::fetch::{Access, Fetch as _, HttpSettings, Request, Response, Rewrite, Transport};

use super::harness::{Host, Run, app};
use super::server::{Answer, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");

/// A source and its mirrors, which all serve the same.
fn cluster(mirrors: usize) -> (Server, Vec<Server>, Host) {
    let serving = || {
        let server = Server::new();
        server.publish(&[ONE]);
        server
    };
    let source = serving();
    let mirrors: Vec<_> = (0..mirrors).map(|_| serving()).collect();
    let host = Host::new();
    define(&host, &source.base, &mirrors);
    (source, mirrors, host)
}

fn define(host: &Host, base: &str, mirrors: &[Server]) {
    let list: Vec<_> = mirrors.iter().map(|server| server.base.as_str()).collect();
    let setting = format!("[Source]\nX-Mirrors={}\n", list.join(" "));
    let definition = app(base, "", "").replace("[Source]\n", &setting);
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
}

#[track_caller]
fn installs(host: &Host) -> Run {
    let run = host.update();
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    assert_eq!(host.read("srv/target/app.raw"), "one");
    run
}

#[test]
fn a_mirror_is_not_asked_while_the_source_answers() {
    let (_source, mirrors, host) = cluster(1);
    installs(&host).keeps_quiet_about("mirror");
    assert_eq!(mirrors[0].take_log(), []);
}

#[test]
fn a_source_that_is_down_is_reported_once_and_gone_around() {
    let (_source, mirrors, host) = cluster(2);
    // Nobody listens there.
    define(&host, "http://127.0.0.1:9/d", &mirrors);
    let run = installs(&host);
    assert_eq!(
        run.stderr.matches("Trying the next mirror").count(),
        1,
        "{run:#?}"
    );
    run.says("Could not connect to server for 'http://127.0.0.1:9/d/SHA256SUMS'");
    assert_eq!(mirrors[1].take_log(), []);
}

#[test]
fn each_kind_of_failure_leads_to_the_next() {
    for answer in [
        Answer::status(500),
        Answer::status(404),
        Answer::status(403),
        Answer::ok("one").short(1),
        Answer::redirect(302, "file:///etc/passwd"),
    ] {
        for path in ["/SHA256SUMS", "/app_1.raw"] {
            let (source, mirrors, host) = cluster(2);
            source.answer(path, answer.clone());
            mirrors[0].answer(path, answer.clone());
            let run = installs(&host);
            assert_eq!(
                run.stderr.matches("Trying the next mirror").count(),
                2,
                "{answer:?} {path}: {run:#?}"
            );
        }
    }
}

#[test]
fn when_all_fail_the_last_failure_is_the_error() {
    let (source, mirrors, host) = cluster(1);
    source.answer("/SHA256SUMS", Answer::status(503));
    mirrors[0].answer("/SHA256SUMS", Answer::status(404));
    let run = host.run(&["update"]).fails();
    assert_eq!(
        run.stderr.matches("failed with code 503").count(),
        1,
        "{run:#?}"
    );
    run.says("failed with code 404").says("(Wrong URL?)");
}

#[test]
fn a_download_goes_on_at_the_mirror_where_the_source_left_off() {
    let payload = "0123456789abcdef".repeat(64 * 1024);
    let (source, mirrors, host) = cluster(1);
    let listed = manifest(&[("app_1.raw", &payload)]);
    for server in [&source, &mirrors[0]] {
        server.put("/SHA256SUMS", listed.as_str());
    }
    source.first(
        "/app_1.raw",
        [Answer::ok(payload.as_str()).ranges().short(600_000)],
    );
    source.answer("/app_1.raw", Answer::status(503));
    mirrors[0].put("/app_1.raw", payload.as_str());
    host.update().says("Going on with the next mirror");
    assert!(host.read("srv/target/app.raw") == payload);
    let log = mirrors[0].take_log();
    let gets: Vec<_> = log
        .iter()
        .filter(|exchange| exchange.method == "GET")
        .map(|exchange| {
            (
                exchange.range.as_deref(),
                exchange.if_range.as_deref(),
                exchange.status,
            )
        })
        .collect();
    assert_eq!(gets, [(Some("bytes=598016-"), None, 206)]);
}

#[test]
fn a_mirror_cannot_change_what_is_installed() {
    let (source, mirrors, host) = cluster(1);
    source.answer("/app_1.raw", Answer::status(503));
    mirrors[0].put("/app_1.raw", "evil");
    host.run(&["update"])
        .fails()
        .says("does not match expected checksum");
    assert!(!host.path("srv/target/app.raw").exists());
}

#[test]
fn native_definitions_have_mirrors_and_a_file_may_be_one() {
    let (source, _, host) = cluster(0);
    host.remove("etc/sysupdate.d/10-app.transfer");
    host.write("mirror/SHA256SUMS", &manifest(&[ONE]));
    host.write("mirror/app_1.raw", "one");
    let text = format!(
        "[transfer]\nverify = \"none\"\n[source]\nurl = \"{}\"\nmirrors = [\"file://{}\"]\n\
         match = \"app_@v.raw\"\n[target]\npath = \"/srv/target\"\ncurrent_symlink = \"app.raw\"\n",
        source.base,
        host.path("mirror").display(),
    );
    host.write("etc/sysupdate/transfer.d/app.toml", &text);
    source.answer("/SHA256SUMS", Answer::status(500));
    source.answer("/app_1.raw", Answer::status(500));
    host.run(&["-C", "app", "update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

fn get(transport: &Transport, url: &str) -> String {
    let Ok(Response::Body(mut body)) = transport.open(&Request::new(url)) else {
        panic!("no body");
    };
    let mut text = String::new();
    body.reader.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn addresses_are_rewritten_at_the_end_of_a_part() {
    let (source, mirror) = (Server::new(), Server::new());
    source.put("/d/f", "source");
    source.put("/dd/f", "source");
    mirror.put("/cache/d/f", "mirror");
    let rule = |from: &str, to: String| Rewrite {
        from: format!("{}{from}", source.base),
        to,
    };
    let transport = Transport::new(HttpSettings::default());
    let transport = transport.rewriting(vec![
        rule("/dd", source.base.clone() + "/dd"),
        rule("/d", mirror.base.clone() + "/cache/d/"),
        rule("", "http://127.0.0.1:9".to_owned()),
    ]);
    assert_eq!(get(&transport, &format!("{}/d/f", source.base)), "mirror");
    assert_eq!(get(&transport, &format!("{}/dd/f", source.base)), "source");
    // Secrets are the source's own, wherever it is asked for.
    let access = Access {
        headers: vec![("X-Key".to_owned(), "hunter2".to_owned())],
        ..Access::default()
    };
    transport.route(&source.base, access);
    mirror.take_log();
    source.take_log();
    assert_eq!(get(&transport, &format!("{}/d/f", source.base)), "mirror");
    assert_eq!(mirror.take_log()[0].key, None);
    get(&transport, &format!("{}/dd/f", source.base));
    assert_eq!(source.take_log()[0].key.as_deref(), Some("hunter2"));
}

#[test]
fn a_proxy_of_the_settings_is_asked_for_everything() {
    let proxy = Server::new();
    proxy.answer("http://nowhere.example/f", Answer::ok("by proxy"));
    let transport = Transport::new(HttpSettings {
        proxy: Some(proxy.base.clone()),
        ..HttpSettings::default()
    });
    assert_eq!(get(&transport, "http://nowhere.example/f"), "by proxy");
}
