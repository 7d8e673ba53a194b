//! The variables that are read: the README names all of them and no others, and they do what is said there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use super::harness::{Host, app};
use super::secrets::proxy;
use super::server::{Answer, Server, manifest};
use super::tls;

/// Read by libraries, each with its own rules.
const OTHERS: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TZ",
];

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).expect("a file of the project")
}

#[test]
fn the_readme_names_every_variable_that_is_read_and_no_other() {
    let settings = source("src/cli/settings.rs");
    let is_variable = |word: &&str| {
        let mut letters = word.bytes();
        word.len() > 2 && letters.all(|byte| byte.is_ascii_uppercase() || b"_8".contains(&byte))
    };
    let read: BTreeSet<&str> = settings
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(is_variable)
        .chain(OTHERS)
        .collect();
    let readme = source("README.md");
    let section = readme.split("\n## Environment\n").nth(1).expect("it");
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let named: BTreeSet<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, read);
}

#[test]
fn the_proxy_of_the_environment_is_asked_unless_it_is_to_be_spared() {
    let rows = [
        ("http_proxy", "", true),
        ("HTTP_PROXY", "", true),
        ("all_proxy", "", true),
        ("ALL_PROXY", "", true),
        ("http_proxy", "nowhere.example", false),
        ("http_proxy", "elsewhere.example", true),
        // What is meant for the other scheme.
        ("https_proxy", "", false),
    ];
    for (variable, spared, asked) in rows {
        for spare in ["no_proxy", "NO_PROXY"] {
            let (proxy, mut host) = (proxy(), Host::new());
            let definition = app("http://nowhere.example", "", "");
            host.write("etc/sysupdate.d/10-app.transfer", &definition);
            host.set(variable, proxy.base.clone());
            host.set(spare, spared);
            let run = host.run(&["--network-timeout=1", "check-new"]);
            let code = if asked { Some(0) } else { Some(1) };
            assert_eq!(run.code, code, "{variable} {spare}={spared}: {run:#?}");
            assert_eq!(proxy.take_log().is_empty(), !asked, "{variable} {spare}");
        }
    }
}

/// A proxy that lets bytes through to whoever is asked for with CONNECT, and what it was asked.
fn tunnel() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let log = Arc::clone(&log);
            thread::spawn(move || pass_through(near, &log));
        }
    });
    (base, asked)
}

fn pass_through(near: TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(near.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|got| *got > 0)?;
    }
    let request = head.lines().next()?.to_owned();
    let to = request.split(' ').nth(1)?.to_owned();
    log.lock().ok()?.push(request);
    let mut near = near;
    let mut far = TcpStream::connect(to).ok()?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .ok()?;
    let mut answer = (far.try_clone().ok()?, near.try_clone().ok()?);
    thread::spawn(move || io::copy(&mut answer.0, &mut answer.1));
    io::copy(&mut reader, &mut far).ok().map(|_| ())
}

#[test]
fn a_secure_connection_goes_through_the_proxy_for_it() {
    let base = tls::stranger("server.pem");
    let address = base.trim_start_matches("https://").to_owned();
    for (variable, asked) in [
        ("https_proxy", true),
        ("HTTPS_PROXY", true),
        ("all_proxy", true),
        // What is meant for the other scheme.
        ("http_proxy", false),
    ] {
        let ((proxy, log), mut host) = (tunnel(), Host::new());
        host.write("etc/sysupdate.d/10-app.transfer", &app(&base, "", ""));
        host.set("SSL_CERT_FILE", tls::file("ca.pem").display().to_string());
        host.set(variable, proxy);
        // The server behind it is heard, and is who it should be. What it says is no manifest.
        let run = host.run(&["check-new"]).fails().says("SHA256SUMS");
        run.keeps_quiet_about("certificate");
        let log = log.lock().expect("whole").clone();
        let connect = format!("CONNECT {address} HTTP/1.1");
        let expected: &[String] = if asked { &[connect] } else { &[] };
        assert_eq!(log, expected, "{variable}");
    }
}

#[test]
fn a_certificate_is_the_servers_own_behind_a_proxy_too() {
    let ((proxy, log), mut host) = (tunnel(), Host::new());
    let base = tls::stranger("server.pem");
    host.write("etc/sysupdate.d/10-app.transfer", &app(&base, "", ""));
    host.set(
        "SSL_CERT_FILE",
        tls::file("times.pem").display().to_string(),
    );
    host.set("https_proxy", proxy);
    host.run(&["check-new"]).fails().says("certificate");
    assert!(!log.lock().expect("whole").is_empty());
}

/// What an update writes to a terminal of this kind as its stderr.
fn seen_on_a_terminal(kind: Option<&str>) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let server = Server::new();
    server.put("/SHA256SUMS", manifest(&[("app_1.raw", "one")]));
    let pause = Duration::from_millis(300);
    server.answer("/app_1.raw", Answer::ok("one").slow(1, pause));
    let host = Host::with_app(&server);
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("a name");
    let name = name.into_string().expect("UTF-8");
    let theirs = File::options().read(true).write(true).open(name);
    let mut command = host.command(&["update"]);
    command.env_remove("TERM");
    if let Some(kind) = kind {
        command.env("TERM", kind);
    }
    command.stderr(theirs.expect("the other end"));
    let reader = thread::spawn(move || {
        let mut seen = Vec::new();
        // A terminal ends with an error once nobody has its other end open.
        let _ = File::from(ours).read_to_end(&mut seen);
        String::from_utf8_lossy(&seen).into_owned()
    });
    let status = command.status().expect("the program runs");
    // With it goes what it keeps of the other end.
    drop(command);
    assert!(status.success());
    reader.join().expect("a reader")
}

#[test]
fn progress_is_drawn_where_the_terminal_can() {
    let drawn = seen_on_a_terminal(Some("xterm"));
    assert!(drawn.contains('\u{1b}'), "{drawn:?}");
    for kind in [Some("dumb"), None] {
        let told = seen_on_a_terminal(kind);
        assert!(!told.contains('\u{1b}'), "{told:?}");
        assert!(told.contains("Successfully installed update '1'."));
    }
}

#[test]
fn authorities_of_the_environment_are_trusted_and_no_others() {
    let mut host = Host::new();
    let base = tls::stranger("server.pem");
    host.write("etc/sysupdate.d/10-app.transfer", &app(&base, "", ""));
    // In a directory they have the names that OpenSSL looks for.
    for (directory, authority) in [("ours", "ca.pem"), ("theirs", "times.pem")] {
        let pem = fs::read_to_string(tls::file(authority)).expect("readable");
        host.write(&format!("{directory}/0123abcd.0"), &pem);
    }
    let file = |name: &str| tls::file(name).display().to_string();
    let directory = |host: &Host, name: &str| host.path(name).display().to_string();
    for (variable, ours, theirs) in [
        ("SSL_CERT_FILE", file("ca.pem"), file("times.pem")),
        (
            "SSL_CERT_DIR",
            directory(&host, "ours"),
            directory(&host, "theirs"),
        ),
    ] {
        host.set("SSL_CERT_FILE", "");
        host.set("SSL_CERT_DIR", "");
        host.set(variable, theirs);
        host.run(&["check-new"]).fails().says("certificate");
        // The server is heard then. What it says is no manifest.
        host.set(variable, ours);
        let run = host.run(&["check-new"]).fails().says("SHA256SUMS");
        run.keeps_quiet_about("certificate");
    }
}

#[test]
fn temporary_directories_are_those_of_the_first_variable_that_names_one() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    for specifier in ["%T", "%V"] {
        let mut host = Host::new();
        let definition = app(&server.base, "", "");
        let definition = definition.replace("Path=/srv/target", &format!("Path={specifier}/here"));
        host.write("etc/sysupdate.d/10-app.transfer", &definition);
        host.write("second/file", "");
        let second = host.path("second").display().to_string();
        host.set("TMPDIR", "no/absolute/path");
        host.set("TEMP", second.clone());
        host.set("TMP", "/");
        host.update();
        assert_eq!(host.read(&format!("{second}/here/app_1.raw")), "one");
    }
}

#[test]
fn times_are_shown_in_the_zone_of_the_environment() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let mut host = Host::with_app(&server);
    host.update();
    let file = fs::File::open(host.path("srv/target/app_1.raw")).expect("it is there");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(time).expect("set");
    for (zone, shown) in [
        ("UTC", "Sun 2001-09-09 01:46:40"),
        ("JST-9", "Sun 2001-09-09 10:46:40"),
    ] {
        host.set("TZ", zone);
        host.run(&["list", "1"]).succeeds().shows(shown);
    }
}

#[test]
fn the_history_names_who_called() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    for (variable, named) in [("SUDO_USER", "alice"), ("PKEXEC_UID", "1001")] {
        let mut host = Host::with_app(&server);
        host.set(variable, named);
        host.update();
        let history = host.run(&["--json=short", "history"]).succeeds().json();
        assert_eq!(history[0]["user"], named);
    }
}
