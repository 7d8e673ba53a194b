//! `doctor`: each thing that it finds, and that it finds nothing where nothing is wrong.

use super::extension::{FITS, NEXT, OS, Parts, define, publish, sysext};
use super::harness::{Host, Run};
use super::server::Server;

/// A host on which nothing is wrong: a local source, one version installed.
fn well() -> Host {
    let host = Host::new();
    host.write("etc/os-release", OS);
    host.write("srv/source/app_1.raw", "one");
    host.write("etc/sysupdate.d/app.transfer", &local("app", "/srv/target"));
    host.update();
    host
}

fn local(name: &str, target: &str) -> String {
    format!(
        "[Transfer]\nVerify=no\n[Source]\nType=regular-file\nPath=/srv/source\nMatchPattern={name}_@v.raw\n[Target]\n\
         Type=regular-file\nPath={target}\nMatchPattern={name}_@v.raw\nCurrentSymlink={name}.raw\n"
    )
}

/// A call that has found something.
fn found(run: Run) -> Run {
    assert_eq!(run.code, Some(1), "{run:?}");
    run
}

#[test]
fn where_nothing_is_wrong_nothing_is_found() {
    well()
        .run(&["doctor"])
        .succeeds()
        .prints("")
        .says("Nothing is wrong.");
    Host::new().run(&["doctor"]).succeeds().prints("");
}

#[test]
fn a_definition_that_installs_nothing_is_told() {
    let host = well();
    host.write(
        "etc/sysupdate.d/noop.transfer",
        "[Source]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n[Target]\nType=regular-file\nPath=/\n",
    );
    host.run(&["doctor"])
        .shows("etc/sysupdate.d/noop.transfer: it installs nothing");
}

#[test]
fn each_fault_is_found_with_its_place_and_a_way_out() {
    type Spoil = fn(&Host);
    let cases: &[(Spoil, &str, &str)] = &[
        (
            |host| host.write("etc/sysupdate.d/app.transfer", "[Transfer]\nVerify=no\n"),
            "error: etc/sysupdate.d/app.transfer:1: ",
            "correct the file",
        ),
        (
            |host| {
                host.write("etc/sysupdate.d/two.transfer", &local("app", "/srv/target"));
            },
            "error: etc/sysupdate.d/two.transfer: 'etc/sysupdate.d/app.transfer' writes '/srv/target/app.raw' as well",
            "give one of them another",
        ),
        (
            |host| {
                let text = local("ext", "/var/lib/extensions");
                host.write("etc/sysupdate.d/ext.transfer", &text);
            },
            "warning: etc/sysupdate.d/ext.transfer: its versions lie in '/var/lib/extensions'",
            "let `Path=` in [Target] be another directory",
        ),
        (
            |host| {
                host.write("srv/file", "");
                host.write("etc/sysupdate.d/x.transfer", &local("x", "/srv/file/below"));
            },
            "error: etc/sysupdate.d/x.transfer: its target '/srv/file/below' cannot be made: '/srv/file' is no directory",
            "move that away",
        ),
        (
            |host| host.remove("srv/target/app_1.raw"),
            "error: ROOT/srv/target/app.raw: the current symlink leads nowhere",
            "`sysupdate update` puts it right",
        ),
        (
            |host| {
                host.remove("srv/target/app.raw");
                host.write("srv/target/app.raw", "a file");
            },
            "error: ROOT/srv/target/app.raw: something that is no symlink",
            "move it away",
        ),
        (
            |host| host.remove("etc/sysupdate.d/app.transfer"),
            "warning: <default>: it is not defined any more, and what it installed may still be here",
            "`sysupdate cleanup` removes it",
        ),
        (
            |host| {
                let wants = "etc/systemd/system/timers.target.wants";
                for timer in ["sysupdate.timer", "systemd-sysupdate.timer"] {
                    host.link(
                        &format!("{wants}/{timer}"),
                        &format!("/usr/lib/systemd/system/{timer}"),
                    );
                }
            },
            "warning: systemd-sysupdate.timer: it is enabled beside sysupdate.timer",
            "systemctl disable --now systemd-sysupdate.timer",
        ),
        (
            |host| host.write("var/lib/sysupdate/trial/record.json", "{garbled"),
            "error: the record of the trial: ",
            "",
        ),
    ];
    for (spoil, problem, advice) in cases {
        let host = well();
        spoil(&host);
        let run = found(host.run(&["doctor"]));
        assert!(run.stdout.contains(problem), "{problem}: {run:?}");
        assert!(run.stdout.contains(advice), "{advice}: {run:?}");
        let json = found(host.run(&["--json=short", "doctor"])).json();
        assert!(json.as_array().is_some_and(|all| !all.is_empty()), "{json}");
    }
}

#[test]
fn notes_are_told_and_are_no_failure() {
    let host = well();
    host.write("srv/target/.sysupdate.partial.app_2.raw", "half");
    host.write("run/reboot-required", "a kernel\n");
    let run = host.run(&["doctor"]).succeeds();
    for line in [
        "note: ROOT/srv/target/.sysupdate.partial.app_2.raw: a download that was cut off",
        "note: ROOT/run/reboot-required: something waits for a reboot",
    ] {
        assert!(run.stdout.contains(line), "{line}: {run:?}");
    }
    let server = Server::new();
    define(&host, &server, "");
    let run = host.run(&["doctor"]).succeeds();
    assert!(
        run.stdout
            .contains("app.toml: what it fetches is not authenticated"),
        "{run:?}"
    );
}

#[test]
fn an_image_in_use_that_does_not_fit_is_found() {
    let (server, host) = (Server::new(), Host::new());
    host.write("etc/os-release", OS);
    define(&host, &server, "");
    publish(&server, Parts::Sent, &[("1.0", sysext("app", FITS))]);
    host.run(&["-C", "app", "update"]).succeeds();
    host.run(&["doctor"]).succeeds();
    host.write("etc/os-release", NEXT);
    let run = found(host.run(&["doctor"]));
    let line = "error: app: version 1.0 is in use and does not fit this system: built for VERSION_ID=1, this host is 2";
    assert!(run.stdout.contains(line), "{run:?}");
}

#[test]
fn sources_are_asked_only_on_request() {
    let server = Server::new();
    let host = Host::with_app(&server);
    host.run(&["doctor"]).succeeds();
    assert_eq!(server.take_log(), []);
    let run = found(host.run(&["--retry-delay=1", "doctor", "--online"]));
    assert!(run.stdout.contains("error: <default>: "), "{run:?}");
    assert!(run.stdout.contains("404"), "{run:?}");
    server.publish(&[("app_1.raw", "one")]);
    host.run(&["doctor", "--online"]).succeeds();
}

#[test]
fn what_is_safe_is_repaired_and_nothing_else() {
    let host = well();
    host.write("srv/source/app_2.raw", "two");
    host.update();
    host.write("srv/target/.#sysupdate.new.app.raw", "");
    host.remove("srv/target/app_2.raw");
    let found = found(host.run(&["doctor"]));
    assert!(
        found.stdout.contains("(`sysupdate doctor --fix` does it)"),
        "{found:?}"
    );
    assert!(
        host.path("srv/target/.#sysupdate.new.app.raw").exists(),
        "only looked"
    );
    host.run(&["doctor", "--fix"])
        .succeeds()
        .says("Repaired: ROOT/srv/target/.#sysupdate.new.app.raw: a leftover of a run that was cut off.")
        .says("Repaired: ROOT/srv/target/app.raw: the current symlink leads nowhere.");
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert!(!host.path("srv/target/.#sysupdate.new.app.raw").exists());
    host.run(&["update", "--fix"])
        .fails()
        .says("--fix cannot be used with 'update'.");
}
