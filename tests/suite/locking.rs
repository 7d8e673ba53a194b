//! Two runs on one root.

use std::time::Duration;

use rustix::process::Signal;

use super::harness::{Host, Running, until};
use super::server::{Answer, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");

/// A host on which an `update` runs that waits for the second half of its payload.
fn busy(answer: impl FnOnce(Answer) -> Answer) -> (Server, Host, Running) {
    let server = Server::new();
    server.put("/SHA256SUMS", manifest(&[ONE]));
    server.answer("/app_1.raw", answer(Answer::ok(ONE.1)));
    let host = Host::with_app(&server);
    let running = host.start(&["update"]);
    let partial = host.path("srv/target/.sysupdate.partial.app_1.raw");
    until("the first run writes", || partial.exists());
    (server, host, running)
}

#[test]
fn a_second_run_that_may_not_wait_names_the_first() {
    let (_server, host, mut running) = busy(|answer| answer.stalled(1));
    let holder = format!("PID {} (sysupdate update)", running.child.id());
    for verb in ["update", "acquire", "vacuum"] {
        host.run(&["--wait=0", verb])
            .fails()
            .says(&holder)
            .says("ROOT/run/sysupdate/lock")
            .says("--wait=");
    }
    running.child.kill().expect("killed");
    running.finish();
}

#[test]
fn a_second_run_waits_for_the_first_and_then_has_nothing_to_do() {
    let (server, host, running) = busy(|answer| answer.slow(1, Duration::from_millis(400)));
    let second = host.run(&["--wait=20", "update"]).succeeds();
    second
        .says("Waiting for another run to end: PID ")
        .says("No update needed.");
    running.finish().succeeds();
    assert_eq!(
        host.tree("srv/target"),
        ["app.raw -> app_1.raw", "app_1.raw 0644"]
    );
    let downloads = server
        .take_requests()
        .into_iter()
        .filter(|line| line == "GET /app_1.raw 200");
    assert_eq!(downloads.count(), 1);
}

#[test]
fn a_wait_that_is_over_fails() {
    let (_server, host, mut running) = busy(|answer| answer.stalled(1));
    host.run(&["--wait=1", "update"])
        .fails()
        .says("another run holds the lock");
    running.child.kill().expect("killed");
    running.finish();
}

#[test]
fn a_run_that_waits_can_be_interrupted() {
    let (_server, host, mut running) = busy(|answer| answer.stalled(1));
    let second = host.start(&["--wait=infinity", "update"]);
    std::thread::sleep(Duration::from_millis(300));
    second.signal(Signal::INT);
    let ended = second.finish();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    running.child.kill().expect("killed");
    running.finish();
}

#[test]
fn a_run_that_was_killed_holds_nothing() {
    let (server, host, mut running) = busy(|answer| answer.stalled(1));
    running.child.kill().expect("killed");
    running.finish();
    server.put("/app_1.raw", ONE.1);
    host.run(&["--wait=0", "update"]).succeeds();
}

#[test]
fn looking_needs_no_lock() {
    let (_server, host, mut running) = busy(|answer| answer.stalled(1));
    host.run(&["list"]).succeeds();
    host.run(&["check-new"]).succeeds().prints("1\n");
    host.run(&["status"]).succeeds();
    host.run(&["components"]).succeeds();
    running.child.kill().expect("killed");
    running.finish();
}

#[test]
fn a_broken_definition_is_told_without_waiting() {
    let (_server, host, mut running) = busy(|answer| answer.stalled(1));
    host.write(
        "etc/sysupdate.d/20-broken.transfer",
        "[Transfer]\n[Source]\n[Target]\n",
    );
    host.run(&["--wait=0", "update"])
        .fails()
        .says("20-broken.transfer")
        .keeps_quiet_about("another run");
    running.child.kill().expect("killed");
    running.finish();
}

#[test]
fn a_second_signal_ends_what_the_first_cannot() {
    let server = Server::new();
    let names: Vec<String> = (0..5000)
        .map(|number| format!("app_{number}.raw"))
        .collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    server.put("/SHA256SUMS", manifest(&files));
    let host = Host::with_app(&server);
    let mut running = host.start(&["list"]);
    // Nobody reads what it prints, so that it waits for ever.
    let stdout = running.child.stdout.take().expect("a pipe");
    until("the pipe is full", || {
        rustix::io::ioctl_fionread(&stdout).expect("a pipe") >= 60_000
    });
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.signal, Some(15), "{ended:?}");
}
