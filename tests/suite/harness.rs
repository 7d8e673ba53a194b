//! A temporary root with definitions, and the real binary run upon it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::Server;

/// A host that is a temporary directory.
pub(crate) struct Host {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self {
            directory,
            variables: Vec::new(),
        }
    }

    /// A host with the transfer that most tests are about: `app_@v.raw` into /srv/target with a symlink.
    pub(crate) fn with_app(server: &Server) -> Self {
        let host = Self::new();
        host.app(server, "", "");
        host
    }

    /// Defines the default component's transfer `10-app`, with more settings for its first and last section.
    pub(crate) fn app(&self, server: &Server, transfer: &str, target: &str) {
        self.write(
            "etc/sysupdate.d/10-app.transfer",
            &app(&server.base, transfer, target),
        );
    }

    pub(crate) fn set(&mut self, variable: &'static str, value: impl Into<String>) {
        self.variables.retain(|(name, _)| *name != variable);
        self.variables.push((variable, value.into()));
    }

    /// The outer path of a path below the root.
    pub(crate) fn path(&self, inner: &str) -> PathBuf {
        self.directory.path().join(inner.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, inner: &str, content: &str) {
        let path = self.path(inner);
        fs::create_dir_all(path.parent().expect("a path below the root")).expect("created");
        fs::write(path, content).expect("written");
    }

    pub(crate) fn link(&self, inner: &str, text: &str) {
        let path = self.path(inner);
        fs::create_dir_all(path.parent().expect("a path below the root")).expect("created");
        if path.is_symlink() {
            fs::remove_file(&path).expect("removed");
        }
        symlink(text, path).expect("linked");
    }

    /// Lets a link lead where it led before `newest` got its name, as a run leaves it that was killed in between.
    pub(crate) fn leave_behind(&self, inner: &str, text: &str, newest: &str) {
        self.link(inner, text);
        self.touch(newest);
    }

    /// Changes the inode, and nothing of it.
    pub(crate) fn touch(&self, inner: &str) {
        let path = self.path(inner);
        let permissions = fs::metadata(&path).expect("it exists").permissions();
        fs::set_permissions(path, permissions).expect("set");
    }

    pub(crate) fn read(&self, inner: &str) -> String {
        fs::read_to_string(self.path(inner)).expect("a readable file")
    }

    pub(crate) fn remove(&self, inner: &str) {
        fs::remove_file(self.path(inner)).expect("removed");
    }

    /// Every file below a directory, in name order: `NAME MODE` or `NAME -> TEXT`.
    pub(crate) fn tree(&self, inner: &str) -> Vec<String> {
        let mut lines = Vec::new();
        walk(&self.path(inner), "", &mut lines);
        lines.sort();
        lines
    }

    /// The same without the memory of sources, which every look at one leaves behind.
    pub(crate) fn tree_without_memory(&self, inner: &str) -> Vec<String> {
        let mut lines = self.tree(inner);
        lines.retain(|line| !line.contains("sysupdate/seen/"));
        lines
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .arg(format!("--root={}", self.directory.path().display()))
            // Failures are met with as many tries as ever, and less patience.
            .arg("--retry-delay=2")
            .args(arguments);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments), &self.path(""))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running {
            child: command.spawn().expect("the program starts"),
            root: self.path(""),
        }
    }

    /// `update`, which must succeed.
    pub(crate) fn update(&self) -> Run {
        self.run(&["update"]).succeeds()
    }
}

/// The binary in a clean environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sysupdate"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

/// The definition of a transfer of `app_@v.raw`.
pub(crate) fn app(base: &str, transfer: &str, target: &str) -> String {
    let verify = if transfer.contains("Verify=") {
        ""
    } else {
        "Verify=no\n"
    };
    format!(
        "[Transfer]\n{verify}{transfer}\n[Source]\nType=url-file\nPath={base}/\nMatchPattern=app_@v.raw\n\n\
         [Target]\nType=regular-file\nPath=/srv/target\nMatchPattern=app_@v.raw\nCurrentSymlink=app.raw\nMode=0644\n\
         InstancesMax=2\n{target}"
    )
}

/// A call that has ended. The root's path is written as `ROOT` in its texts.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    /// The signal that has ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(mut command: Command, root: &Path) -> Self {
        Self::ended(command.output().expect("the program runs"), root)
    }

    fn ended(output: Output, root: &Path) -> Self {
        let root = root.display().to_string();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.replace(root.trim_end_matches('/'), "ROOT")
        };
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Ends with 1, says nothing on stdout, and something on stderr.
    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        assert_ne!(self.stderr, "", "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, stdout: &str) -> Self {
        assert_eq!(self.stdout, stdout, "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no '{text}' in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no '{text}' in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn keeps_quiet_about(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "'{text}' in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A call that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    root: PathBuf,
}

impl Running {
    /// Waits for the end, at most 20 seconds.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Run {
        until("the program ends", || {
            self.child.try_wait().expect("a child of ours").is_some()
        });
        Run::ended(
            self.child.wait_with_output().expect("it has ended"),
            &self.root,
        )
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).ok();
        let process = id
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(process, signal).expect("it runs");
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "in vain: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn walk(directory: &Path, prefix: &str, lines: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.map(|entry| entry.expect("a readable entry")) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata().expect("an entry's metadata");
        if metadata.is_symlink() {
            let text = fs::read_link(entry.path()).expect("a link");
            lines.push(format!("{name} -> {}", text.display()));
        } else if metadata.is_dir() {
            walk(&entry.path(), &format!("{name}/"), lines);
        } else {
            lines.push(format!(
                "{name} {:04o}",
                metadata.permissions().mode() & 0o7777
            ));
        }
    }
}
