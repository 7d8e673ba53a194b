//! Progress for programs.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use super::harness::Host;
use super::server::{Answer, Server, manifest};

fn serving() -> (Server, Host, String) {
    let payload = "0123456789abcdef".repeat(64 * 1024);
    let server = Server::new();
    server.put("/SHA256SUMS", manifest(&[("app_1.raw", &payload)]));
    let slow = Answer::ok(payload.as_str()).slow(600_000, Duration::from_millis(400));
    server.answer("/app_1.raw", slow);
    let host = Host::with_app(&server);
    (server, host, payload)
}

#[test]
fn progress_is_told_as_json_lines_to_whoever_holds_the_other_end() {
    let (_server, host, payload) = serving();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = host.command(&["update", "--progress-fd=1", "--quiet"]);
    // The same file is stdout here, which nothing is printed to.
    command
        .stdout(Stdio::from(OwnedFd::from(writer)))
        .stderr(Stdio::null());
    let status = command.status().expect("it runs");
    drop(command);
    assert!(status.success());
    let mut text = String::new();
    (&reader).read_to_string(&mut text).expect("text");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let total = payload.len();
    let first = serde_json::json!({"event": "started", "transfer": "app_1.raw", "bytes": 0, "total": total});
    assert_eq!(lines.first(), Some(&first));
    assert!(lines.len() >= 3, "{lines:?}");
    let last = lines.last().expect("there are some");
    let wanted = serde_json::json!({"event": "ended", "transfer": "app_1.raw", "bytes": total, "total": total});
    assert_eq!(*last, wanted);
    let bytes: Vec<_> = lines.iter().map(|line| line["bytes"].as_u64()).collect();
    assert!(bytes.is_sorted(), "{bytes:?}");
}

#[test]
fn a_front_end_that_does_not_read_holds_nothing_up() {
    let (_server, host, _) = serving();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut full = writer.try_clone().expect("another end");
    let filler = std::thread::spawn(move || {
        // Until the other end is closed.
        let _ = std::io::Write::write_all(&mut full, &vec![b'\n'; 1 << 20]);
    });
    let mut command = host.command(&["update", "--progress-fd=1"]);
    command
        .stdout(Stdio::from(OwnedFd::from(writer)))
        .stderr(Stdio::null());
    assert!(command.status().expect("it runs").success());
    drop((reader, command));
    filler.join().expect("it ends");
    for bad in ["x", "-1", "99"] {
        host.run(&["list", &format!("--progress-fd={bad}")])
            .fails()
            .says("--progress-fd=");
    }
}

#[test]
fn a_service_manager_is_told_the_state() {
    let (_server, mut host, _) = serving();
    let path = host.path("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_nonblocking(true).expect("set");
    host.set("NOTIFY_SOCKET", path.display().to_string());
    host.update();
    let mut states = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        states.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(states.first().map(String::as_str), Some("READY=1"));
    for wanted in [
        "STATUS=Downloading app_1.raw",
        "STATUS=Successfully installed update '1'.",
    ] {
        assert!(states.iter().any(|state| state == wanted), "{states:?}");
    }
    // One that is gone, or not to be understood, is nobody's trouble.
    drop(socket);
    for address in [
        path.to_str().expect("text"),
        "@gone",
        "vsock:2:1",
        "",
        "relative",
    ] {
        host.set("NOTIFY_SOCKET", address);
        host.run(&["list"]).succeeds();
    }
}
