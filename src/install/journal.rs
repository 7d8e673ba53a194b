//! Entries of the journal with fields of their own, for those who filter and count (systemd.journal-fields(7)).
//!
//! By the journal's native protocol, one datagram an entry. A courtesy: where no journal listens nothing is said.

use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::history::{Entry, Happening};
use crate::root::Root;

const SOCKET: &str = "/run/systemd/journal/socket";
/// A datagram has to fit a socket's buffer; longer logs lose their beginning, in bytes.
const LOG_LIMIT: usize = 32 * 1024;

/// Writes what happened into the journal of the system below `root`.
pub(super) fn tell(root: &Root, entry: &Entry) {
    // A link in a root of somebody else's must not lead to a socket of this host.
    let place = root.open_with(Path::new(SOCKET), OFlags::PATH, Mode::empty());
    let (Ok(place), Ok(socket)) = (place, UnixDatagram::unbound()) else {
        return;
    };
    // Never wait for a journal that does not take it.
    let _ = socket.set_nonblocking(true);
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let _ = socket.send_to(&datagram(entry), path);
}

/// The fields of an entry, as the protocol wants them.
fn datagram(entry: &Entry) -> Vec<u8> {
    let component = entry.component.as_deref().unwrap_or("<default>");
    let mut log = entry.log.join("\n");
    if log.len() > LOG_LIMIT {
        let start = (log.len() - LOG_LIMIT..log.len())
            .find(|start| log.is_char_boundary(*start))
            .unwrap_or(log.len());
        log = log.split_off(start);
    }
    let fields = [
        ("MESSAGE", Some(message(entry, component))),
        ("MESSAGE_ID", Some(message_id(entry.event).to_owned())),
        ("PRIORITY", Some(priority(entry.event).to_owned())),
        ("SYSLOG_IDENTIFIER", Some("sysupdate".to_owned())),
        ("SYSUPDATE_EVENT", Some(entry.event.as_str().to_owned())),
        ("SYSUPDATE_COMPONENT", Some(component.to_owned())),
        ("SYSUPDATE_VERSION", entry.to.clone()),
        ("SYSUPDATE_VERSION_BEFORE", entry.from.clone()),
        ("SYSUPDATE_REASON", entry.reason.clone()),
        ("SYSUPDATE_LOG", Some(log).filter(|log| !log.is_empty())),
        ("SYSUPDATE_COMMAND", Some(entry.command.clone())),
        ("SYSUPDATE_USER", Some(entry.user.clone())),
    ];
    let mut bytes = Vec::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            bytes.push(b'\n');
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// What happened, in a line.
fn message(entry: &Entry, component: &str) -> String {
    let version =
        |version: &Option<String>| version.clone().unwrap_or_else(|| "nothing".to_owned());
    let (from, to) = (version(&entry.from), version(&entry.to));
    let mut text = match entry.event {
        Happening::Installed => format!("{component}: installed {to}, before it was {from}"),
        Happening::Staged => format!("{component}: {to} waits for the next boot, now it is {from}"),
        Happening::Reverted => format!("{component}: {from} failed, {to} is back"),
        Happening::RolledBack => format!("{component}: went back from {from} to {to}"),
        Happening::Failed => format!("{component}: {to} could not be installed, it stays {from}"),
        Happening::Held => format!("{component}: held at {to}"),
        Happening::Unheld => format!("{component}: not held any more"),
    };
    if let Some(reason) = &entry.reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}

/// The priority of syslog(3).
fn priority(event: Happening) -> &'static str {
    match event {
        Happening::Reverted | Happening::Failed => "3",
        Happening::RolledBack => "4",
        Happening::Installed | Happening::Staged | Happening::Held | Happening::Unheld => "5",
    }
}

/// What tells one kind of entry from the next, for ever.
fn message_id(event: Happening) -> &'static str {
    match event {
        Happening::Installed => "6e6198ed17d64421a320c9281e8ae501",
        Happening::Staged => "ab1a6b63675c4acf8da274a191019a8d",
        Happening::Reverted => "ccacb2c5516c4b01a759b37df9757d24",
        Happening::RolledBack => "c5d8d8e5545f499abd24bed94d67be2a",
        Happening::Failed => "1441f708ef4e4fb38ceba0e7d5fd51ae",
        Happening::Held => "41d540b1750d44908760bb04eb87bad7",
        Happening::Unheld => "cfb643a71068477a8df34acd346384d6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            time: "2026-01-01T00:00:00Z".to_owned(),
            component: Some("app".to_owned()),
            event: Happening::Reverted,
            from: Some("2".to_owned()),
            to: Some("1".to_owned()),
            reason: Some("unit 'app.service' failed (result 'exit-code')".to_owned()),
            log: vec!["no such key".to_owned(), "giving up".to_owned()],
            command: "update -A".to_owned(),
            user: "root".to_owned(),
            seconds: 0.5,
        }
    }

    #[test]
    fn an_entry_carries_what_happened_and_the_log_of_the_unit() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("run/systemd/journal");
        std::fs::create_dir_all(&place).expect("created");
        let journal = UnixDatagram::bind(place.join("socket")).expect("bound");
        let root = Root::open(directory.path()).expect("opened");
        tell(&root, &entry());
        let mut bytes = [0; 4096];
        let length = journal.recv(&mut bytes).expect("an entry");
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        for line in [
            "MESSAGE=app: 2 failed, 1 is back: unit 'app.service' failed (result 'exit-code')\n",
            "PRIORITY=3\n",
            "SYSUPDATE_COMPONENT=app\n",
            "SYSUPDATE_VERSION=1\n",
            "SYSUPDATE_VERSION_BEFORE=2\n",
            "SYSUPDATE_EVENT=reverted\n",
            "SYSUPDATE_LOG\n\u{15}\0\0\0\0\0\0\0no such key\ngiving up\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text:?}");
        }
    }

    #[test]
    fn a_link_leads_to_no_socket_outside_of_the_root() {
        let outside = tempfile::tempdir().expect("a directory");
        let host = UnixDatagram::bind(outside.path().join("socket")).expect("bound");
        host.set_nonblocking(true).expect("set");
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("run/systemd/journal");
        std::fs::create_dir_all(&place).expect("created");
        std::os::unix::fs::symlink(outside.path().join("socket"), place.join("socket"))
            .expect("linked");
        tell(&Root::open(directory.path()).expect("opened"), &entry());
        let heard = host.recv(&mut [0; 16]).expect_err("nothing");
        assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn without_a_journal_and_with_endless_logs_nothing_breaks() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("opened");
        tell(&root, &entry());
        let long = Entry {
            log: vec!["é".repeat(LOG_LIMIT)],
            ..entry()
        };
        assert!(datagram(&long).len() < LOG_LIMIT + 2048);
    }
}
