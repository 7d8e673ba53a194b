//! Runs one program of the host to its end: bounded in time and in what it may say.

use std::convert::Infallible;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::system::{CommandOutcome, SystemError};

/// Runs `program` (looked up in the search path) with an empty standard input.
///
/// # Errors
/// [`SystemError::Run`] when it cannot be started or watched, [`SystemError::RunTimeout`] when it runs longer than
/// `limit`: it is killed then. A program that fails is an `Ok` value.
pub(super) fn run(
    program: &str,
    arguments: &[&str],
    limit: Duration,
) -> Result<CommandOutcome, SystemError> {
    let failed = |source| SystemError::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let ended = drain_and_wait(&mut child, limit);
    if !matches!(ended, Ok(Some(_))) {
        // Both fail only when it is gone already, which is what they are for.
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
        .map_err(failed)?
        .ok_or_else(|| SystemError::RunTimeout {
            program: program.to_owned(),
            seconds: limit.as_secs(),
        })
}

/// Reads both streams while the child runs; `None` when it is still running after `limit`.
fn drain_and_wait(child: &mut Child, limit: Duration) -> io::Result<Option<CommandOutcome>> {
    let stdout = child.stdout.take().map(Stream::read).transpose()?;
    let stderr = child.stderr.take().map(Stream::read).transpose()?;
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    if !ends_within(&handle, limit)? {
        return Ok(None);
    }
    let status = child.wait()?;
    let text = |stream: Option<Stream>| stream.map(Stream::finish).unwrap_or_default();
    Ok(Some(CommandOutcome {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }))
}

/// Whether the process behind `handle` ends within `limit`. A signal starts the time anew, which only makes it longer.
fn ends_within(handle: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    loop {
        match poll(
            &mut [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)],
            Some(&limit),
        ) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A stream that is read on a thread of its own: what fits is kept, the rest is read and dropped, so that a talkative
/// program neither blocks nor fills the memory.
struct Stream {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Hangs up at the end of the stream.
    end: Receiver<Infallible>,
}

impl Stream {
    fn read(mut source: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, end) = channel();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&kept);
        thread::Builder::new()
            .name("command-output".to_owned())
            .spawn(move || {
                let _hang_up = sender;
                let mut buffer = [0; 8192];
                loop {
                    match source.read(&mut buffer) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // A read error ends the text; how the program ended tells the rest.
                        Ok(0) | Err(_) => return,
                        Ok(length) => {
                            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                            let room = OUTPUT_LIMIT.saturating_sub(kept.len());
                            kept.extend_from_slice(&buffer[..length.min(room)]);
                        }
                    }
                }
            })?;
        Ok(Self { kept, end })
    }

    /// What was said. A descendant may hold the stream open after the program itself has ended: that one is not
    /// waited for.
    fn finish(self) -> Vec<u8> {
        // Both outcomes mean the same: no more is waited for.
        let _ = self.end.recv_timeout(STREAM_GRACE);
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Bytes of each stream that are kept.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How long to wait for a stream's end after the program's own.
const STREAM_GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, limit: Duration) -> Result<CommandOutcome, SystemError> {
        run("sh", &["-c", script], limit)
    }

    #[test]
    fn both_streams_and_the_status_come_back() {
        let outcome = shell("echo out; echo err >&2; exit 3", LONG).expect("sh runs");
        let expected = CommandOutcome {
            code: Some(3),
            stdout: b"out\n".to_vec(),
            stderr: b"err\n".to_vec(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_signal_is_no_exit_status() {
        assert_eq!(shell("kill -9 $$", LONG).expect("sh runs").code, None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("/nonexistent/tool", &[], LONG).expect_err("there is no such program");
        assert!(matches!(&error, SystemError::Run { program, source }
            if program == "/nonexistent/tool" && source.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let error =
            shell("exec sleep 1000", Duration::from_millis(100)).expect_err("it sleeps too long");
        assert!(matches!(error, SystemError::RunTimeout { .. }));
    }

    #[test]
    fn a_talkative_program_neither_blocks_nor_fills_the_memory() {
        let outcome = shell("head -c 5000000 /dev/zero", LONG).expect("sh runs");
        assert_eq!(
            (outcome.code, outcome.stdout.len()),
            (Some(0), OUTPUT_LIMIT)
        );
    }

    #[test]
    fn a_descendant_that_keeps_the_streams_open_is_not_waited_for() {
        let outcome = shell("sleep 3 & echo said", LONG).expect("sh runs");
        assert_eq!(
            (outcome.code, outcome.stdout.as_slice()),
            (Some(0), b"said\n".as_slice())
        );
    }
}
