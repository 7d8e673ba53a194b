//! Progress for programs: JSON lines on a file descriptor (`--progress-fd=`), and states for a service manager, as
//! `sd_notify(3)` says.
//!
//! Neither ever holds up the work: what a reader does not take is dropped.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::event::{Event, Severity};

/// Who wants to know how far things are, beside people.
#[derive(Default)]
pub(crate) struct Frontend {
    lines: Option<Mutex<Lines>>,
    manager: Option<Mutex<Manager>>,
}

impl Frontend {
    /// `lines` takes the JSON lines, `notify` is the manager's address (`$NOTIFY_SOCKET`).
    pub(crate) fn new(lines: Option<File>, notify: Option<&str>) -> Self {
        let frontend = Self {
            lines: lines.map(|file| {
                Mutex::new(Lines {
                    file,
                    running: HashMap::new(),
                })
            }),
            manager: notify.and_then(Manager::new).map(Mutex::new),
        };
        frontend.notify("READY=1");
        frontend
    }

    pub(crate) fn hear(&self, event: &Event<'_>) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.write(event);
        }
        match event {
            Event::Message(severity, text) if *severity >= Severity::Info => {
                let line = text.lines().next().unwrap_or_default();
                self.notify(&format!("STATUS={}", super::printable(line)));
            }
            Event::TransferStarted { name, .. } => {
                self.notify(&format!("STATUS=Downloading {}", super::printable(name)));
            }
            _ => {}
        }
    }

    fn notify(&self, state: &str) {
        if let Some(manager) = &self.manager {
            let manager = manager.lock().unwrap_or_else(PoisonError::into_inner);
            manager.send(state);
        }
    }
}

/// JSON, one object a line.
struct Lines {
    file: File,
    /// What each transfer has come to.
    running: HashMap<String, Progress>,
}

#[derive(Clone, Copy)]
struct Progress {
    bytes: u64,
    total: Option<u64>,
    told: Instant,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    transfer: &'a str,
    bytes: u64,
    total: Option<u64>,
}

impl Lines {
    fn write(&mut self, event: &Event<'_>) {
        let (name, word, progress) = match event {
            Event::Message(..) => return,
            Event::TransferStarted { name, total } => {
                let (total, told) = (*total, Instant::now());
                let progress = Progress {
                    bytes: 0,
                    total,
                    told,
                };
                self.running.insert((*name).to_owned(), progress);
                (name, "started", progress)
            }
            Event::TransferProgress { name, bytes } => {
                let Some(progress) = self.running.get_mut(*name) else {
                    return;
                };
                progress.bytes = *bytes;
                if progress.told.elapsed() < INTERVAL {
                    return;
                }
                progress.told = Instant::now();
                (name, "progress", *progress)
            }
            Event::TransferEnded { name } => {
                let Some(progress) = self.running.remove(*name) else {
                    return;
                };
                (name, "ended", progress)
            }
        };
        let line = Line {
            event: word,
            transfer: name,
            bytes: progress.bytes,
            total: progress.total,
        };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // Lines are short enough to be written as a whole or not at all (pipe(7), `PIPE_BUF`). There is nobody to
            // tell when one is not.
            let _ = self.file.write_all(&text);
        }
    }
}

/// A service manager that wants to know.
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    fn new(address: &str) -> Option<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if Path::new(address).is_absolute() => SocketAddr::from_pathname(address),
            // vsock, for virtual machines.
            None => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            address: address.ok()?,
        })
    }

    fn send(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }
}

/// Progress is told at most this often for each transfer.
const INTERVAL: Duration = Duration::from_millis(100);
