//! Calls that cannot be understood, and those that only ask.

use super::harness::{Host, Run, program};
use super::server::Server;

#[track_caller]
fn refused(arguments: &[&str], message: &str) {
    let host = Host::new();
    let run = host.run(arguments);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(1), ""),
        "{arguments:?}: {run:?}"
    );
    assert!(run.stderr.contains(message), "{arguments:?}: {run:?}");
    assert_eq!(host.tree(""), [""; 0], "{arguments:?} changed something");
}

#[test]
fn calls_that_make_no_sense_are_refused_before_anything_is_done() {
    let table: [(&[&str], &str); 32] = [
        (&["frobnicate"], "Unknown command verb 'frobnicate'."),
        (&[""], "Unknown command verb ''."),
        (&["--frobnicate"], "unrecognized option '--frobnicate'"),
        (
            &["update", "--frobnicate"],
            "unrecognized option '--frobnicate'",
        ),
        (&["-x"], "unrecognized option '-x'"),
        (&["--oflfine"], "--offline"),
        (&["list", "1", "2"], "Too many arguments."),
        (&["update", "1", "2"], "Too many arguments."),
        (&["acquire", "1", "2"], "Too many arguments."),
        (&["check-new", "1"], "Too many arguments."),
        (&["vacuum", "1"], "Too many arguments."),
        (&["components", "1"], "Too many arguments."),
        (&["status", "1"], "Too many arguments."),
        (
            &["--json=xml", "list"],
            "Unknown argument to --json= switch: xml",
        ),
        (&["--json=", "list"], "Unknown argument to --json= switch: "),
        (
            &["--verify=", "list"],
            "Failed to parse boolean argument to '--verify=': ",
        ),
        (
            &["--verify=perhaps", "list"],
            "Failed to parse boolean argument to '--verify=': perhaps",
        ),
        (
            &["--sync=perhaps", "update"],
            "Failed to parse boolean argument to '--sync=': perhaps",
        ),
        (
            &["--instances-max=many", "vacuum"],
            "Failed to parse --instances-max= parameter: many",
        ),
        (
            &["--instances-max=-1", "vacuum"],
            "Failed to parse --instances-max= parameter: -1",
        ),
        (
            &["--instances-max=0", "vacuum"],
            "The --instances-max= argument must be >= 1 while vacuuming",
        ),
        (
            &["--instances-max=1", "update"],
            "The --instances-max= argument must be >= 2 while updating",
        ),
        (
            &["-m", "1", "update"],
            "The --instances-max= argument must be >= 2 while updating",
        ),
        (
            &["--wait=soon", "update"],
            "Failed to parse --wait= parameter: soon",
        ),
        (&["--component=a/b", "list"], "Component name invalid: a/b"),
        (
            &["-C", "..", "list"],
            "No transfer definitions for component '..' found.",
        ),
        (
            &["--definitions=/x", "--component=a", "list"],
            "The --definitions= and --component=/--component-all/--component-suggested switches may not be combined.",
        ),
        (
            &["--definitions=/x", "list"],
            "The --definitions= switch may not be combined with --root= or --image=.",
        ),
        (
            &["--component-all", "list"],
            "--component-all/--component-suggested currently not supported for 'list'.",
        ),
        (
            &["-A", "vacuum"],
            "--component-all/--component-suggested currently not supported for 'vacuum'.",
        ),
        (&["--root"], "--root"),
        (&["-C"], "--component"),
    ];
    for (arguments, message) in table {
        refused(arguments, message);
    }
}

#[test]
fn so_are_those_of_the_verbs_that_systemd_has_not() {
    let table: [(&[&str], &str); 14] = [
        (&["plan", "1", "2"], "Too many arguments."),
        (&["apply", "1", "2"], "Too many arguments."),
        (&["apply"], "apply: the file with the plan is missing."),
        (&["rollback", "1", "2"], "Too many arguments."),
        (&["hold", "1"], "Too many arguments."),
        (&["unhold", "1"], "Too many arguments."),
        (&["activate", "1"], "Too many arguments."),
        (&["history", "1"], "Too many arguments."),
        (&["select", "1"], "Too many arguments."),
        (&["settle", "1"], "Too many arguments."),
        (&["rolback"], "hint: did you mean 'rollback'?"),
        (
            &["gate"],
            "hint: give the os-release file of the next operating system",
        ),
        (
            &["--for-os-release=/x", "update"],
            "--for-os-release= cannot be used with 'update': what is installed must fit this system.",
        ),
        (
            &["--for-os-release=/x", "select"],
            "--for-os-release= cannot be used with 'select'",
        ),
    ];
    for (arguments, message) in table {
        refused(arguments, message);
    }
}

#[test]
fn a_root_that_does_not_exist_is_refused() {
    let host = Host::new();
    let mut command = program();
    command
        .arg(format!("--root={}", host.path("absent").display()))
        .arg("list");
    Run::of(command, &host.path(""))
        .fails()
        .says("Failed to determine if 'ROOT/absent' points to the root directory: No such file or directory");
    host.write("file", "x");
    let mut command = program();
    command
        .arg(format!("--root={}", host.path("file").display()))
        .arg("list");
    Run::of(command, &host.path(""))
        .fails()
        .says("Not a directory");
}

#[test]
fn options_may_follow_the_verb() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = Host::with_app(&server);
    let expected = "{\"available\":\"1\"}\n";
    for arguments in [["--json=short", "check-new"], ["check-new", "--json=short"]] {
        host.run(&arguments).succeeds().prints(expected);
    }
    host.run(&["check-new", "--json", "short"])
        .succeeds()
        .prints(expected);
    host.run(&["list", "1", "--offline"])
        .fails()
        .says("Update '1' not found.");
    // The last of several counts.
    host.run(&["--json=off", "--json=pretty", "check-new", "--json=short"])
        .succeeds()
        .prints(expected);
}

#[test]
fn help_and_version_are_printed_and_nothing_else_is_done() {
    let host = Host::new();
    for arguments in [["--help"], ["-h"]] {
        let run = host.run(&arguments).succeeds();
        for option in ["--component", "--json", "--for-os-release", "--why"] {
            assert!(run.stdout.contains(option), "no {option}: {run:?}");
        }
        let verbs: Vec<&str> = run
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with([' ', '-']))
            .filter_map(|line| line.split(' ').next())
            .take_while(|word| !word.contains('/'))
            .collect();
        assert_eq!(
            verbs,
            [
                "list",
                "check-new",
                "update",
                "acquire",
                "vacuum",
                "cleanup",
                "pending",
                "reboot",
                "components",
                "enable-component",
                "disable-component",
                "features",
                "enable-feature",
                "disable-feature",
                "plan",
                "apply",
                "status",
                "history",
                "config",
                "doctor",
                "rollback",
                "hold",
                "unhold",
                "activate",
                "search",
                "add",
                "remove",
                "import",
                "gate",
                "select",
                "settle",
                "generate",
            ],
            "{}",
            run.stdout
        );
        assert_eq!(run.stderr, "");
    }
    let run = host.run(&["update", "--help"]).succeeds();
    assert!(run.stdout.contains("Commands:"));
    let run = host.run(&["--version"]).succeeds();
    assert_eq!(
        run.stdout,
        concat!("sysupdate ", env!("CARGO_PKG_VERSION"), "\n")
    );
    host.run(&["--json=help"]).succeeds();
    assert_eq!(host.tree(""), [""; 0]);
}

#[test]
fn nothing_defined_is_an_error_for_one_component_and_none_for_all() {
    let host = Host::new();
    for verb in ["list", "check-new", "update", "acquire", "vacuum"] {
        host.run(&[verb])
            .fails()
            .says("No transfer definitions found.");
        host.run(&["-C", "x", verb])
            .fails()
            .says("No transfer definitions for component 'x' found.");
    }
    for verb in ["update", "acquire", "check-new"] {
        host.run(&["-A", verb])
            .succeeds()
            .prints("")
            .says("No transfer definitions found.");
    }
    host.run(&["components"])
        .succeeds()
        .prints("")
        .says("No components defined.");
    assert_eq!(
        host.tree(""),
        [""; 0],
        "not even a lock is made for nothing"
    );
}

#[test]
fn quiet_says_nothing_but_errors() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = Host::with_app(&server);
    let run = host.run(&["--quiet", "update"]).succeeds().prints("");
    assert_eq!(run.stderr, "");
    server.remove("/SHA256SUMS");
    host.run(&["-q", "update"])
        .fails()
        .says("failed with code 404.");
}

#[test]
fn a_definition_that_is_wrong_is_named_with_its_line() {
    let server = Server::new();
    let host = Host::with_app(&server);
    let text = host.read("etc/sysupdate.d/10-app.transfer");
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &text.replacen("app_@v.raw", "app.raw", 1),
    );
    host.run(&["list"]).fails().says(
        "etc/sysupdate.d/10-app.transfer:7: MatchPattern= string is not valid, refusing: app.raw",
    );
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &text.replace("Type=url-file\n", ""),
    );
    host.run(&["update"])
        .fails()
        .says("Source Type= must be one of");
}

#[test]
fn definitions_can_be_read_from_one_directory() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = Host::new();
    host.write(
        "d/10-app.transfer",
        &super::harness::app(&server.base, "", ""),
    );
    let target = host.path("srv/target").display().to_string();
    let text = host
        .read("d/10-app.transfer")
        .replace("Path=/srv/target", &format!("Path={target}"));
    host.write("d/10-app.transfer", &text);
    let mut command = program();
    command
        .arg(format!("--definitions={}", host.path("d").display()))
        .arg("check-new");
    Run::of(command, &host.path("")).succeeds().prints("1\n");
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = Host::with_app(&server);
    for arguments in [
        &["list"][..],
        &["check-new"],
        &["--json=short", "list", "1"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("the device");
        let mut command = host.command(arguments);
        let output = command.stdout(full).output().expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write the result"), "{stderr}");
    }
}

#[test]
fn arguments_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let host = Host::new();
    for arguments in [
        ["list".as_bytes(), b"\xff"],
        [b"\xff", b"1"],
        [b"--json=\xff", b"list"],
    ] {
        let mut command = host.command(&[]);
        command.args(arguments.map(std::ffi::OsStr::from_bytes));
        Run::of(command, &host.path("")).fails();
    }
}

#[test]
fn changing_verbs_print_nothing_on_stdout_in_json_mode_either() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let mut host = Host::with_app(&server);
    host.set("SYSTEMD_LOG_LEVEL", "debug");
    host.run(&["--json=short", "acquire"]).succeeds().prints("");
    host.run(&["--json=pretty", "update"]).succeeds().prints("");
    host.run(&["--json=short", "vacuum"])
        .succeeds()
        .prints("{\"removed\":0,\"disabledTransfers\":0}\n");
    for level in ["debug", "7"] {
        host.set("SYSTEMD_LOG_LEVEL", level);
        host.run(&["list"]).succeeds().says("is unchanged");
    }
    host.set("SYSTEMD_LOG_LEVEL", "info");
    host.run(&["list"])
        .succeeds()
        .keeps_quiet_about("is unchanged");
}

#[test]
fn a_local_source_is_not_called_unsigned() {
    let host = Host::new();
    let definition = super::harness::app("/src", "", "")
        .replace("Path=/src/", "Path=/src")
        .replace("url-file", "regular-file");
    host.write("etc/sysupdate.d/10-app.transfer", &definition);
    host.write("src/app_1.raw", "one");
    host.run(&["update", "--offline"])
        .succeeds()
        .says("No update needed.");
    host.run(&["--verify=no", "update"])
        .succeeds()
        .keeps_quiet_about("unsigned");
    let status = host.run(&["--json=short", "status"]).succeeds().json();
    assert_eq!(status[0]["verification"], "local");
}

#[test]
fn pages_and_completions_are_printed_and_ask_the_live_state() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let host = Host::with_app(&server);
    host.update();
    host.write("etc/sysupdate.d/extra.feature", "[Feature]\n");
    host.write("etc/sysupdate.other.d/x", "");
    for (arguments, text) in [
        (&["generate", "man"][..], ".TH SYSUPDATE 8"),
        (&["generate", "man", "5"], ".TH SYSUPDATE.TOML 5"),
        (&["generate", "bash"], "complete -F _sysupdate sysupdate"),
        (&["generate", "zsh"], "#compdef sysupdate"),
        (&["generate", "fish"], "complete -c sysupdate"),
        (&["generate", "words", "components"], "other\n"),
        (&["generate", "words", "features"], "extra\n"),
        (&["generate", "words", "versions"], "1\n"),
    ] {
        let run = host.run(arguments).succeeds();
        assert!(run.stdout.contains(text), "{arguments:?}: {run:?}");
        assert_eq!(run.stderr, "", "{arguments:?}");
    }
    host.run(&["generate", "csh"])
        .fails()
        .says("generate: one of man, man 5, bash, zsh, fish is needed.");
}
