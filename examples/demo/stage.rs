//! What the audience sees: headlines, commands with their output, trees, and a tick for everything that was checked.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name under which this program is `sysupdate` itself.
pub(crate) const PROGRAM: &str = "sysupdate";

/// A directory that plays the host, and a terminal to show it on.
pub(crate) struct Stage {
    root: PathBuf,
    colour: Colour,
    interrupted: Arc<AtomicBool>,
    acts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Shown,
    Hidden,
}

/// How a run of the program ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Something did not go as told.
#[derive(Debug)]
pub(crate) struct Surprise(String);

impl fmt::Display for Surprise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Surprise {}

/// Says something to the audience.
pub(crate) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Shows lines that are no talk of ours, set in.
pub(crate) fn quote(text: &str) -> io::Result<()> {
    text.lines()
        .try_for_each(|text| line(format!("  {text}").trim_end()))
}

impl Stage {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The program that runs meanwhile ends by the same Ctrl-C; this one has a directory to remove.
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        Ok(Self {
            root: root.to_path_buf(),
            colour: colour(),
            interrupted,
            acts: 0,
        })
    }

    pub(crate) fn headline(&mut self, text: &str) -> io::Result<()> {
        self.acts += 1;
        line(&format!(
            "\n{}",
            self.paint(BOLD, &format!("{}. {text}", self.acts))
        ))
    }

    /// Runs the real command line in a process of its own, and shows what it prints as it comes.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Outcome, Box<dyn Error>> {
        self.run_with(&[], arguments)
    }

    /// Like [`Self::run`], with variables of the environment.
    pub(crate) fn run_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Outcome, Box<dyn Error>> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Surprise("interrupted".to_owned()).into());
        }
        let variables: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}={} ", self.shortened(value)))
            .collect();
        let shown = format!(
            "$ {}{PROGRAM} --root=$ROOT {}",
            variables.concat(),
            arguments.join(" ")
        );
        line(&self.paint(GREEN, &shown))?;
        // Nothing else from the environment (a proxy, a keyring) has a say.
        let mut child = Command::new(std::env::current_exe()?)
            .arg0(PROGRAM)
            .env_clear()
            .envs(environment.iter().copied())
            .arg(format!("--root={}", self.root.display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdout = String::new();
        let mut stderr = String::new();
        let data = child.stdout.take();
        std::thread::scope(|scope| -> io::Result<()> {
            let reader =
                scope.spawn(|| data.map_or(Ok(0), |mut data| data.read_to_string(&mut stdout)));
            for text in child
                .stderr
                .take()
                .into_iter()
                .flat_map(|talk| BufReader::new(talk).lines())
            {
                let text = text?;
                quote(&self.paint(DIM, &self.shortened(&text)))?;
                stderr.push_str(&text);
                stderr.push('\n');
            }
            reader
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the reader of stdout panicked")))?;
            Ok(())
        })?;
        quote(&self.shortened(&stdout))?;
        Ok(Outcome {
            code: child.wait()?.code(),
            stdout,
            stderr,
        })
    }

    /// Ticks off what is so, or ends the show.
    pub(crate) fn check(&self, what: &str, so: bool) -> Result<(), Box<dyn Error>> {
        if !so {
            return Err(Surprise(format!("not so: {what}")).into());
        }
        line(&format!("{} {what}", self.paint(GREEN, "✓")))?;
        Ok(())
    }

    /// Like [`Self::check`], for the exit status of a run.
    pub(crate) fn check_exit(
        &self,
        outcome: &Outcome,
        code: i32,
        meaning: &str,
    ) -> Result<(), Box<dyn Error>> {
        if outcome.code != Some(code) {
            let found = outcome
                .code
                .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            return Err(Surprise(format!(
                "exit status {code} was due ({meaning}), it was {found}"
            ))
            .into());
        }
        self.check(&format!("exit status {code}: {meaning}"), true)
    }

    /// Shows the files below some inner directories.
    pub(crate) fn tree(&self, directories: &[&str]) -> io::Result<()> {
        for directory in directories {
            line(&format!("  {directory}"))?;
            self.branch(&self.inside(directory), "  ")?;
        }
        Ok(())
    }

    fn branch(&self, directory: &Path, indent: &str) -> io::Result<()> {
        let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let last = entries.len().saturating_sub(1);
        for (index, entry) in entries.iter().enumerate() {
            let (twig, deeper) = if index == last {
                ("└─", "  ")
            } else {
                ("├─", "│ ")
            };
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let name = name.to_string_lossy();
            if kind.is_symlink() {
                let destination = fs::read_link(entry.path())?;
                line(&format!(
                    "{indent}{twig} {} → {}",
                    self.paint(BOLD, &name),
                    destination.display()
                ))?;
            } else if kind.is_dir() {
                line(&format!("{indent}{twig} {name}/"))?;
                self.branch(&entry.path(), &format!("{indent}{deeper} "))?;
            } else {
                line(&format!(
                    "{indent}{twig} {name}  {} bytes",
                    entry.metadata()?.len()
                ))?;
            }
        }
        Ok(())
    }

    /// An inner path, as this process names it.
    pub(crate) fn inside(&self, inner: &str) -> PathBuf {
        self.root.join(inner.trim_start_matches('/'))
    }

    fn shortened(&self, text: &str) -> String {
        text.replace(&self.root.display().to_string(), "$ROOT")
    }

    fn paint(&self, style: &str, text: &str) -> String {
        match self.colour {
            Colour::Shown => format!("\u{1b}[{style}m{text}\u{1b}[0m"),
            Colour::Hidden => text.to_owned(),
        }
    }
}

/// Colour is for terminals that know it, and for people who want it (<https://no-color.org>).
#[expect(
    clippy::disallowed_methods,
    reason = "an example has no settings that could read the environment for it"
)]
fn colour() -> Colour {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let unable = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    if io::stdout().is_terminal() && !unwanted && !unable {
        Colour::Shown
    } else {
        Colour::Hidden
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
