//! Typical mistakes and misfortunes, and what is said about each: the object, the cause, the next step.
//!
//! The texts stand in one file, to be read as a whole: `snapshots/…mistakes.snap`. `INSTA_UPDATE=always cargo test mistakes`
//! writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::harness::{Host, Run, app};
use super::server::{Answer, Server, manifest};
use super::signatures::{ALICE, MALLORY, keyring, signed};
use super::tls;

const NATIVE: &str = "etc/sysupdate/transfer.d/app.toml";
const SYSTEMD: &str = "etc/sysupdate.d/10-app.transfer";
const ONE: (&str, &str) = ("app_1.raw", "one");

/// One mistake.
struct Mistake {
    what: &'static str,
    /// Makes it.
    make: fn(&mut Stage),
    arguments: &'static [&'static str],
    /// What the text must name: the thing that it is about, and what to do.
    names: &'static [&'static str],
}

/// Where it is made: a server that offers `app` 1, and a host that has it.
struct Stage {
    host: Host,
    server: Server,
    /// Gives the call another form.
    change: Option<fn(&Command, &Host) -> Command>,
}

impl Stage {
    fn new() -> Self {
        let server = Server::new();
        server.publish(&[ONE]);
        Self {
            host: Host::with_app(&server),
            server,
            change: None,
        }
    }

    /// Defines the component `app` natively, with these lines instead of the usual ones where they begin alike.
    fn native(&self, lines: &str) {
        let base = format!("source.url = \"{}\"\n", self.server.base);
        let base = if lines.contains("url") { "" } else { &base };
        let text =
            format!("transfer.verify = \"none\"\n{base}source.match = \"app_@v.raw\"\n{lines}\n");
        self.host.write(NATIVE, &text);
    }

    /// Changes the definition of the default component.
    fn edit(&self, from: &str, to: &str) {
        let text = self.host.read(SYSTEMD);
        assert!(text.contains(from), "{text}");
        self.host.write(SYSTEMD, &text.replacen(from, to, 1));
    }

    /// Demands signatures by Alice; the manifest has this one.
    fn signed(&mut self, signature: Option<Vec<u8>>) {
        self.host.app(&self.server, "Verify=yes\n", "");
        fs::write(self.host.path("keys.pgp"), keyring(&[&ALICE])).expect("written");
        let keys = self.host.path("keys.pgp").display().to_string();
        self.host.set("SYSTEMD_OPENPGP_KEYRING", keys);
        if let Some(signature) = signature {
            self.server.put("/SHA256SUMS.gpg", signature);
        }
    }

    /// Takes the source from a server with this certificate.
    fn secure(&mut self, certificate: &str, authority: &str) {
        let base = tls::stranger(certificate);
        self.host.write(SYSTEMD, &app(&base, "", ""));
        let authority = tls::file(authority).display().to_string();
        self.host.set("SSL_CERT_FILE", authority);
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let command = self.host.command(arguments);
        let command = match self.change {
            Some(change) => change(&command, &self.host),
            None => command,
        };
        Run::of(command, &self.host.path(""))
    }
}

/// The same call by somebody who may do nothing here. (Root is refused nothing.)
fn as_nobody(command: &Command, host: &Host) -> Command {
    let binary = host.path("program");
    fs::copy(command.get_program(), &binary).expect("copied");
    let open = |path: &str, mode| {
        fs::set_permissions(host.path(path), fs::Permissions::from_mode(mode)).expect("set");
    };
    open("", 0o755);
    open("program", 0o755);
    let mut other = Command::new(binary);
    other
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(command.get_args());
    if rustix::process::geteuid().is_root() {
        other.uid(65534).gid(65534);
    } else {
        open("", 0o555);
    }
    other
}

/// The same call with room for a few KiB a file: what a full disk is to a write.
fn with_small_files(command: &Command, _: &Host) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .env_clear()
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        what: "a verb that is none",
        make: |_| (),
        arguments: &["udpate"],
        names: &["'udpate'", "did you mean 'update'?"],
    },
    Mistake {
        what: "an option that is none",
        make: |_| (),
        arguments: &["update", "--oflfine"],
        names: &["'--oflfine'", "did you mean '--offline'?"],
    },
    Mistake {
        what: "an option that belongs to another verb",
        make: |_| (),
        arguments: &["update", "--from=own"],
        names: &["--from=", "'update'", "`add`"],
    },
    Mistake {
        what: "a verb without its argument",
        make: |_| (),
        arguments: &["add"],
        names: &["add: the name", "`sysupdate search`"],
    },
    Mistake {
        what: "a root that is not there",
        make: |_| (),
        arguments: &["--root=/nonexistent", "list"],
        names: &["'/nonexistent'", "hint: "],
    },
    Mistake {
        what: "nothing is defined",
        make: |stage| stage.host.remove(SYSTEMD),
        arguments: &["update"],
        names: &[
            "No transfer definitions found.",
            "sysupdate/transfer.d/NAME.toml",
            "`sysupdate add NAME`",
        ],
    },
    Mistake {
        what: "a component that nobody defines",
        make: |stage| stage.native(""),
        arguments: &["-C", "ap", "update"],
        names: &["'ap'", "defined components: app"],
    },
    Mistake {
        what: "a component that is switched off",
        make: |stage| {
            stage.native("");
            stage
                .host
                .write("etc/sysupdate.app.component", "[Component]\nEnabled=no\n");
        },
        arguments: &["-C", "app", "update"],
        names: &["disabled", "`sysupdate enable-component"],
    },
    Mistake {
        what: "a component that is defined twice",
        make: |stage| {
            stage.native("");
            let text = stage.host.read(SYSTEMD);
            stage.host.write("etc/sysupdate.app.d/a.transfer", &text);
        },
        arguments: &["-C", "app", "update"],
        names: &["app.toml", "a.transfer", "replaces"],
    },
    Mistake {
        what: "a typing error in a key",
        make: |stage| stage.native("source.mirors = []"),
        arguments: &["-C", "app", "update"],
        names: &["app.toml:4:8", "did you mean 'mirrors'?"],
    },
    Mistake {
        what: "a typing error in a key, in systemd's form",
        make: |stage| stage.edit("MatchPattern=", "MatchPatern="),
        arguments: &["update"],
        names: &["10-app.transfer:7", "MatchPatern", "lacks MatchPattern="],
    },
    Mistake {
        what: "a typing error in a global setting",
        make: |stage| {
            stage
                .host
                .write("etc/sysupdate/config.toml", "[network]\nretires = 3\n");
        },
        arguments: &["update"],
        names: &["config.toml:2:1", "did you mean 'retries'?"],
    },
    Mistake {
        what: "a global setting that resembles none",
        make: |stage| {
            stage
                .host
                .write("etc/sysupdate/config.toml", "[network]\ncolour = \"red\"\n");
        },
        arguments: &["update"],
        names: &[
            "config.toml:2:1",
            "'colour'",
            "hint: ",
            "`sysupdate generate man 5`",
        ],
    },
    Mistake {
        what: "text that is no TOML",
        make: |stage| stage.native("target.mode = 0644"),
        arguments: &["-C", "app", "update"],
        names: &["app.toml:4", "hint: "],
    },
    Mistake {
        what: "a value of the wrong kind",
        make: |stage| stage.native("target.instances_max = \"three\""),
        arguments: &["-C", "app", "update"],
        names: &["app.toml:4", "'instances_max' must be an integer"],
    },
    Mistake {
        what: "a range that is none",
        make: |stage| stage.native("transfer.range = \"1.x.y.z\""),
        arguments: &["-C", "app", "update"],
        names: &["app.toml:4", "'1.x.y.z' is no valid 'range'", "hint: "],
    },
    Mistake {
        what: "a range that nothing lies in",
        make: |stage| stage.native("transfer.range = \"~7\""),
        arguments: &["-C", "app", "update"],
        names: &["`sysupdate", "list --why"],
    },
    Mistake {
        what: "types that do not go together",
        make: |stage| stage.edit("Type=regular-file", "Type=directory"),
        arguments: &["update"],
        names: &[
            "10-app.transfer",
            "'directory' is incompatible with source type 'url-file'",
            "hint: ",
        ],
    },
    Mistake {
        what: "a pattern without a version",
        make: |stage| stage.edit("app_@v.raw", "app.raw"),
        arguments: &["update"],
        names: &["10-app.transfer:7", "app.raw", "hint: "],
    },
    Mistake {
        what: "a version that is not offered",
        make: |_| (),
        arguments: &["update", "9"],
        names: &["'9'", "`sysupdate list`"],
    },
    Mistake {
        what: "a component that is held",
        make: |stage| {
            stage.host.update();
            stage.host.run(&["hold"]).succeeds();
            stage.server.publish(&[ONE, ("app_2.raw", "two")]);
        },
        arguments: &["update"],
        names: &["held", "`sysupdate unhold`"],
    },
    Mistake {
        what: "a wrong URL: no manifest there",
        make: |stage| stage.server.remove("/SHA256SUMS"),
        arguments: &["update"],
        names: &["SHA256SUMS", "404", "hint: "],
    },
    Mistake {
        what: "a file that is in the manifest alone",
        make: |stage| stage.server.remove("/app_1.raw"),
        arguments: &["update"],
        names: &["app_1.raw", "404", "hint: "],
    },
    Mistake {
        what: "a source that wants to know who asks",
        make: |stage| stage.server.answer("/SHA256SUMS", Answer::status(401)),
        arguments: &["update"],
        names: &["401", "X-Credential="],
    },
    Mistake {
        what: "no network, or nobody there",
        make: |stage| {
            stage
                .host
                .write(SYSTEMD, &app("http://127.0.0.1:9", "", ""));
        },
        arguments: &["update"],
        names: &["127.0.0.1:9", "refused", "--offline"],
    },
    Mistake {
        what: "a certificate that has expired",
        make: |stage| stage.secure("expired.pem", "times.pem"),
        arguments: &["update"],
        names: &["127.0.0.1", "expired", "clock"],
    },
    Mistake {
        what: "a clock in 1970: each certificate is of the future",
        make: |stage| stage.secure("future.pem", "times.pem"),
        arguments: &["update"],
        names: &["127.0.0.1", "not valid yet", "clock"],
    },
    Mistake {
        what: "a certificate of an unknown authority",
        make: |stage| stage.secure("server.pem", "times.pem"),
        arguments: &["update"],
        names: &["127.0.0.1", "UnknownIssuer", "`ca_file`"],
    },
    Mistake {
        what: "a signature is demanded, and there is none",
        make: |stage| stage.signed(None),
        arguments: &["update"],
        names: &["signature", "Verify=no"],
    },
    Mistake {
        what: "a signature of something else",
        make: |stage| stage.signed(Some(signed(&ALICE, "else"))),
        arguments: &["update"],
        names: &["SHA256SUMS", "hint: "],
    },
    Mistake {
        what: "a signature by a key that is not known",
        make: |stage| stage.signed(Some(signed(&MALLORY, &manifest(&[ONE])))),
        arguments: &["update"],
        names: &["SHA256SUMS", "key", "hint: "],
    },
    Mistake {
        what: "no keyring",
        make: |stage| {
            stage.signed(Some(signed(&ALICE, &manifest(&[ONE]))));
            stage.host.remove("keys.pgp");
        },
        arguments: &["update"],
        names: &["keys.pgp", "gpg --export"],
    },
    Mistake {
        what: "a file with another checksum than its manifest says",
        make: |stage| stage.server.put("/app_1.raw", "eno"),
        arguments: &["update"],
        names: &["app_1.raw", "manifest says", "hint: "],
    },
    Mistake {
        what: "a file that is larger than the disk",
        make: |stage| {
            let head = Answer::ok("").header("Content-Length", (4_u64 << 60).to_string());
            stage.server.answer("HEAD /app_1.raw", head);
        },
        arguments: &["update"],
        names: &["'ROOT'", "bytes are needed", "free some space"],
    },
    Mistake {
        what: "a disk that is full all of a sudden",
        make: |stage| {
            let text = "x".repeat(1 << 20);
            stage.server.publish(&[("app_1.raw", text.as_str())]);
            stage.change = Some(with_small_files);
        },
        arguments: &["update"],
        names: &["app_1.raw", "File too large", "hint: "],
    },
    Mistake {
        what: "somebody who may not write here",
        make: |stage| stage.change = Some(as_nobody),
        arguments: &["update"],
        names: &["ROOT/run", "Permission denied", "hint: "],
    },
    Mistake {
        what: "a target that cannot be a directory",
        make: |stage| stage.host.write("srv/target", "a file"),
        arguments: &["update"],
        names: &["ROOT/srv/target", "Not a directory", "hint: "],
    },
    Mistake {
        what: "something that is no link where the link belongs",
        make: |stage| stage.host.write("srv/target/app.raw", "a file"),
        arguments: &["update"],
        names: &["ROOT/srv/target/app.raw", "hint: "],
    },
    Mistake {
        what: "another run at work",
        make: |stage| {
            stage.host.update();
            let lock = fs::File::options()
                .write(true)
                .open(stage.host.path("run/sysupdate/lock"))
                .expect("it exists");
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
            // Held for as long as the tests run.
            std::mem::forget(lock);
        },
        arguments: &["--wait=0", "update"],
        names: &["ROOT/run/sysupdate/lock", "--wait=SECONDS"],
    },
    Mistake {
        what: "a plan that is not there",
        make: |_| (),
        arguments: &["apply", "/nonexistent"],
        names: &["'/nonexistent'", "plan --json=short"],
    },
    Mistake {
        what: "something to remove that was not added",
        make: |stage| {
            let text = stage.host.read(SYSTEMD);
            stage.host.write("etc/sysupdate.app.d/a.transfer", &text);
        },
        arguments: &["remove", "app", "--yes"],
        names: &["a.transfer", "sysupdate -C app cleanup"],
    },
];

/// The texts, without what is another each time.
fn plain(text: &str, server: &Server) -> String {
    let mut plain = text.replace(&server.base, "http://SERVER");
    for prefix in [
        "127.0.0.1:",
        "PID ",
        "bytes are needed, ",
        "verification time ",
        "(",
    ] {
        let mut parts = plain.split(prefix);
        let mut next = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let number = if digits < 3 { &part[..digits] } else { "N" };
            let _ = write!(next, "{prefix}{number}{}", &part[digits..]);
        }
        plain = next;
    }
    // Keys are made anew for each run of the tests.
    let mut words: Vec<&str> = plain.split(' ').collect();
    for word in &mut words {
        let fingerprint = word.trim_end_matches([':', ',']);
        if fingerprint.len() == 40 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            *word = "KEY";
        }
    }
    words.join(" ")
}

#[test]
fn every_mistake_is_told_with_its_object_and_the_next_step() {
    let mut all = String::new();
    let mut lacking = Vec::new();
    for mistake in MISTAKES {
        let mut stage = Stage::new();
        (mistake.make)(&mut stage);
        let run = stage.run(mistake.arguments);
        // So that it can be cleared away again.
        fs::set_permissions(stage.host.path(""), fs::Permissions::from_mode(0o755)).expect("set");
        let text = plain(&run.stderr, &stage.server);
        let _ = writeln!(
            all,
            "## {}\n$ sysupdate {}\n{text}→ {}\n",
            mistake.what,
            mistake.arguments.join(" "),
            run.code.unwrap_or(-1)
        );
        for name in mistake.names.iter().filter(|name| !text.contains(**name)) {
            lacking.push(format!("{}: no \"{name}\"", mistake.what));
        }
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("mistakes", all);
    });
    assert!(lacking.is_empty(), "{lacking:#?}");
}
