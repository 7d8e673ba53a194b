//! What lets us in is shown to the source, and to nobody else: no other server, no message, no file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::harness::{Host, app};
use super::server::{Answer, Exchange, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const SECRET: &str = "hunter2";

fn serving() -> Server {
    let server = Server::new();
    server.publish(&[ONE]);
    server
}

fn define(host: &Host, base: &str, settings: &str) {
    let definition = app(base, "", "").replace("[Source]\n", &format!("[Source]\n{settings}\n"));
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
}

/// A host with a credential that was passed to the run.
fn holding(secret: &str) -> Host {
    let mut host = Host::new();
    host.write("credentials/app", secret);
    let directory = host.path("credentials");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(directory.join("app"), private).expect("set");
    host.set("CREDENTIALS_DIRECTORY", directory.display().to_string());
    host
}

#[track_caller]
fn all_show(log: &[Exchange], authorization: Option<&str>, key: Option<&str>) {
    assert!(!log.is_empty(), "it was asked");
    for exchange in log {
        let shown = (exchange.authorization.as_deref(), exchange.key.as_deref());
        assert_eq!(shown, (authorization, key), "{log:#?}");
    }
}

/// Nothing on the host, or in what was said, holds the secret.
#[track_caller]
fn is_kept(host: &Host, texts: &[&str]) {
    for text in texts {
        assert!(!text.contains(SECRET), "{text}");
    }
    let mut names = vec![0; 4096];
    let file = host.path("srv/target/app_1.raw");
    let length = rustix::fs::listxattr(&file, &mut names).unwrap_or_default();
    let names = names[..length].split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let length = rustix::fs::getxattr(&file, name, &mut value).expect("it is listed");
        let value = String::from_utf8_lossy(&value[..length]).into_owned();
        assert!(!value.contains(SECRET), "{value}");
    }
    let cache = host.path("var/cache/sysupdate/manifests");
    for entry in fs::read_dir(cache).into_iter().flatten() {
        let content = fs::read(entry.expect("an entry").path()).expect("readable");
        assert!(!String::from_utf8_lossy(&content).contains(SECRET));
    }
}

#[test]
fn a_credential_is_shown_with_every_request_to_the_source() {
    let login = "user:hunter2\n";
    let rows = [
        ("hunter2", "Bearer hunter2"),
        (login, "Basic dXNlcjpodW50ZXIy"),
    ];
    for (content, wanted) in rows {
        let host = holding(content);
        let file = host.path("credentials/app").display().to_string();
        for credential in ["app", file.as_str()] {
            let server = serving();
            define(&host, &server.base, &format!("X-Credential={credential}"));
            let run = host.run(&["list"]).succeeds();
            host.run(&["update"]).succeeds();
            all_show(&server.take_log(), Some(wanted), None);
            is_kept(&host, &[&run.stderr, &run.stdout]);
        }
    }
}

#[test]
fn a_password_in_the_url_is_shown_to_the_source_only() {
    let (server, host) = (serving(), Host::new());
    let base = server.base.replace("http://", "http://user:hunter2@");
    define(&host, &base, "");
    let updated = host.update();
    let listed = host.run(&["list", "1", "--json=pretty"]).succeeds();
    all_show(&server.take_log(), Some("Basic dXNlcjpodW50ZXIy"), None);
    server.answer("/SHA256SUMS", Answer::status(500));
    let failed = host.run(&["list"]).fails();
    let texts = [
        &updated.stderr,
        &listed.stdout,
        &listed.stderr,
        &failed.stderr,
    ];
    is_kept(&host, &texts.map(String::as_str));
}

#[test]
fn another_server_sees_nothing_be_it_by_a_redirect_or_as_a_mirror() {
    let (source, other, host) = (serving(), serving(), holding(SECRET));
    let settings = "X-Credential=app\nX-Header=X-Key: hunter2";
    define(&host, &source.base, settings);
    let away = format!("{}/app_1.raw", other.base);
    source.answer("/app_1.raw", Answer::redirect(302, away));
    source.answer("/SHA256SUMS", Answer::redirect(302, "/elsewhere"));
    source.put("/elsewhere", manifest(&[ONE]));
    host.update();
    all_show(&source.take_log(), Some("Bearer hunter2"), Some(SECRET));
    all_show(&other.take_log(), None, None);

    let (source, mirror, host) = (serving(), serving(), holding(SECRET));
    let settings = format!("{settings}\nX-Mirrors={}", mirror.base);
    define(&host, &source.base, &settings);
    source.answer("/SHA256SUMS", Answer::status(404));
    let run = host.update();
    all_show(&mirror.take_log(), None, None);
    all_show(&source.take_log(), Some("Bearer hunter2"), Some(SECRET));
    is_kept(&host, &[&run.stderr]);
}

#[test]
fn who_was_led_away_and_back_shows_nothing_more() {
    let (source, other, host) = (serving(), serving(), holding(SECRET));
    define(&host, &source.base, "X-Credential=app");
    let (away, back) = (
        format!("{}/away", other.base),
        format!("{}/back", source.base),
    );
    source.answer("/app_1.raw", Answer::redirect(302, away));
    other.answer("/away", Answer::redirect(302, back));
    source.put("/back", "one");
    host.update();
    let log = source.take_log();
    let back: Vec<_> = log
        .into_iter()
        .filter(|exchange| exchange.path == "/back")
        .collect();
    all_show(&back, None, None);
}

#[test]
fn a_secret_that_cannot_be_used_is_told_before_anything_is_asked() {
    let (server, mut host) = (serving(), Host::new());
    host.write("secret", SECRET);
    let file = host.path("secret");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
    define(
        &host,
        &server.base,
        &format!("X-Credential={}", file.display()),
    );
    host.run(&["list"]).fails().says("its mode must be 0600");
    define(&host, &server.base, "X-Credential=app");
    host.run(&["list"])
        .fails()
        .says("cannot use the credential 'app'")
        .says("$CREDENTIALS_DIRECTORY");
    host.set("CREDENTIALS_DIRECTORY", "/nonexistent");
    host.run(&["list"])
        .fails()
        .says("cannot use the credential '/nonexistent/app'");
    assert_eq!(server.take_log(), []);
    // What needs no network needs no secret.
    host.run(&["list", "--offline"]).succeeds();
}

/// A proxy by which the source `http://nowhere.example` is reached.
pub(crate) fn proxy() -> Server {
    let proxy = Server::new();
    proxy.put("http://nowhere.example/SHA256SUMS", manifest(&[ONE]));
    proxy.put("http://nowhere.example/app_1.raw", "one");
    proxy
}

#[test]
fn a_proxy_of_a_request_that_made_us_run_is_none_of_ours() {
    let (proxy, mut host) = (proxy(), Host::new());
    define(&host, "http://nowhere.example", "");
    host.set("HTTP_PROXY", proxy.base.clone());
    host.run(&["check-new"]).succeeds().prints("1\n");
    // In a CGI program that is what the header `Proxy:` of the request says.
    proxy.take_log();
    host.set("REQUEST_METHOD", "GET");
    host.run(&["--network-timeout=1", "check-new"]).fails();
    assert_eq!(proxy.take_log(), []);
}

#[test]
fn the_password_of_a_proxy_is_shown_to_the_proxy_only() {
    let (proxy, mut host) = (proxy(), Host::new());
    let login = |base: &str| base.replace("http://", "http://user:hunter2@");
    define(&host, "http://nowhere.example", "");
    host.set("http_proxy", login(&proxy.base));
    let run = host.update();
    // To the source, nothing of it.
    all_show(&proxy.take_log(), None, None);
    is_kept(&host, &[&run.stderr]);
    for unusable in ["http://127.0.0.1:9", "socks5://127.0.0.1:9"] {
        let (scheme, rest) = unusable.split_once("://").expect("a URL");
        host.set("http_proxy", format!("{scheme}://user:hunter2@{rest}"));
        let run = host.run(&["--network-timeout=1", "check-new"]).fails();
        is_kept(&host, &[&run.stderr]);
        host.set("http_proxy", "");
        let setting = format!("[network]\nproxy = \"{scheme}://user:hunter2@{rest}\"\n");
        host.write("etc/sysupdate/config.toml", &setting);
        let run = host.run(&["--network-timeout=1", "check-new"]).fails();
        is_kept(&host, &[&run.stderr]);
        host.remove("etc/sysupdate/config.toml");
    }
}

#[test]
fn two_ways_to_say_who_we_are_are_one_too_many() {
    let (server, host) = (serving(), Host::new());
    let base = server.base.replace("http://", "http://user:hunter2@");
    define(&host, &base, "X-Credential=app");
    let run = host.run(&["list"]).fails().says("remove one of the two");
    is_kept(&host, &[&run.stderr]);
}
