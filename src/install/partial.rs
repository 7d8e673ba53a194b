//! What a download that was cut off has left, and whether it can be gone on with.
//!
//! A partial file carries a [`Mark`] that says what it is a beginning of; only what is stored as it comes gets one. It is
//! never believed: the bytes are digested again, and the digest of the whole decides. What is looked for here is only
//! that going on is likely to succeed, and safe: a file that somebody else could still write to is not gone on with.

mod slate;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::fs::{Advice, Mode, OFlags};
use serde::{Deserialize, Serialize};

pub(super) use self::slate::Slate;
use super::sink::BLOCK;
use crate::fetch::{Cancel, Validators};
use crate::metadata::Sha256;
use crate::root::{Directory, Root};
use crate::storage::atomic::{self, AtomicError, Durability};
use crate::verify::reader::Hashing;

/// What is known of a partial file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The digest of the whole.
    sha256: String,
    /// Where the bytes came from.
    pub(super) url: String,
    /// What the server said of the state that they are of.
    pub(super) validators: Option<Validators>,
    /// When the source was last modified, in microseconds since the epoch.
    pub(super) modified: Option<u64>,
    /// How many bytes had been written when the download was given up in an orderly way, and were on the disk then. A
    /// file without this, or of another length, was left by a kill or a power cut.
    length: Option<u64>,
}

impl Mark {
    pub(super) fn new(
        sha256: Sha256,
        url: &str,
        validators: Option<Validators>,
        modified: Option<u64>,
    ) -> Self {
        Self {
            sha256: sha256.to_string(),
            url: url.to_owned(),
            validators,
            modified,
            length: None,
        }
    }

    /// Puts the mark at a file that is about to be written. One that cannot be marked is fetched again if it is cut off.
    pub(super) fn put(&self, file: &File, slate: Slate<'_>) {
        if let Ok(text) = serde_json::to_string(self) {
            slate.write(file, &text);
        }
    }

    /// Notes that all of a file is what the mark says. It has to be on the disk.
    pub(super) fn settle(file: &File, slate: Slate<'_>) {
        let length = file.metadata().map(|metadata| metadata.len());
        if let (Some(mark), Ok(length)) = (Self::read(file, slate), length) {
            let length = Some(length);
            Self { length, ..mark }.put(file, slate);
        }
    }

    /// Makes an ordinary file of it.
    pub(super) fn remove(file: &File, slate: Slate<'_>) {
        slate.clear(file);
    }

    fn read(file: &File, slate: Slate<'_>) -> Option<Self> {
        serde_json::from_str(&slate.read(file)?).ok()
    }
}

/// The beginning of a file, ready to be gone on with.
pub(super) struct Found {
    pub(super) file: File,
    pub(super) mark: Mark,
    /// So many bytes are there. The file ends with them, unless it is whole.
    pub(super) length: u64,
    /// Has seen them.
    pub(super) digest: Hashing<io::Empty>,
    /// Whether these are all bytes, so that nothing needs to be fetched.
    pub(super) is_whole: bool,
}

/// The partial file `name`, if it is the beginning of what is wanted. Whatever is wrong with it, it is fetched again.
pub(super) fn find(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    wanted: Sha256,
    cancel: &Cancel,
) -> Option<Found> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    let file = directory.open(name, flags, Mode::empty()).ok()?;
    let metadata = file.metadata().ok()?;
    let is_ours = metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.nlink() == 1
        && metadata.mode() & 0o022 == 0;
    let path = directory.path().join(name);
    let mark = Mark::read(&file, Slate::new(root, &path))
        .filter(|mark| is_ours && mark.sha256 == wanted.to_string())?;
    let mut end = metadata.len();
    let mut digest = Hashing::new(io::empty());
    if mark.length != Some(end) {
        end = solid(&file, end).ok()?;
    }
    // Writing goes on at the beginning of a block.
    let length = end - end % BLOCK as u64;
    digest = absorb(&file, digest, 0..length, cancel)?;
    let last = absorb(&file, digest.clone().with(io::empty()), length..end, cancel)?;
    // A whole file may end with zeros that were taken for what a crash leaves.
    let is_whole = last.finish() == wanted && end == metadata.len();
    if !is_whole {
        if length == 0 {
            return None;
        }
        file.set_len(length).ok()?;
    }
    Some(Found {
        file,
        mark,
        length: if is_whole { end } else { length },
        digest,
        is_whole,
    })
}

/// Pushes a partial file to the disk, or removes it: what the kernel could not write it takes for written all the same, and
/// shows to whoever reads it again. Nothing may be gone on with that has failed once.
pub(super) fn settle(
    root: &Root,
    directory: &Directory,
    name: &OsStr,
    file: &File,
    durability: Durability,
) -> Result<(), AtomicError> {
    let path = directory.path().join(name);
    atomic::sync_file(root, file, &path, durability).inspect_err(|_| {
        Mark::remove(file, Slate::new(root, &path));
        // The failure stands; where even this fails, so will whatever is tried next.
        let _ = atomic::remove(root, directory, name);
    })
}

/// Digests a piece of a file; `None` when it cannot be read, or the user wants out.
fn absorb(
    file: &File,
    mut digest: Hashing<io::Empty>,
    range: std::ops::Range<u64>,
    cancel: &Cancel,
) -> Option<Hashing<io::Empty>> {
    let mut buffer = vec![0; PIECE];
    let mut position = range.start;
    while position < range.end {
        let room = usize::try_from(range.end - position).map_or(PIECE, |left| left.min(PIECE));
        file.read_exact_at(&mut buffer[..room], position).ok()?;
        let mut piece = digest.with(&buffer[..room]);
        io::copy(&mut piece, &mut io::sink()).ok()?;
        digest = piece.with(io::empty());
        // What was read is not needed again: the host's own files keep their place in memory.
        let length = std::num::NonZeroU64::new(room as u64);
        let _ = rustix::fs::fadvise(file, position, length, Advice::DontNeed);
        position += room as u64;
        if cancel.is_cancelled() {
            return None;
        }
    }
    Some(digest)
}

/// The length of a file without the zeros at its end: after a crash of the machine, those are what was never written.
fn solid(file: &File, length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut end = length;
    while end > 0 {
        let room = usize::try_from(end).map_or(PIECE, |left| left.min(PIECE));
        let start = end - room as u64;
        file.read_exact_at(&mut buffer[..room], start)?;
        if let Some(last) = buffer[..room].iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Bytes are read in pieces of this size.
const PIECE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use rustix::fs::XattrFlags;

    use super::*;

    fn digest(bytes: &[u8]) -> Sha256 {
        let mut hashing = Hashing::new(bytes);
        io::copy(&mut hashing, &mut io::sink()).expect("digested");
        hashing.finish()
    }

    struct Place {
        outer: tempfile::TempDir,
        root: Root,
        directory: Directory,
    }

    impl Place {
        fn new() -> Self {
            let outer = tempfile::tempdir().expect("a directory");
            let root = Root::open(outer.path()).expect("it opens");
            let directory = root.directory(Path::new("/")).expect("it opens");
            Self {
                outer,
                root,
                directory,
            }
        }

        /// A partial file with these bytes that wants to become `whole`.
        fn leave(&self, bytes: &[u8], whole: &[u8]) -> File {
            let path = self.outer.path().join("f");
            let _ = std::fs::remove_file(&path);
            let flags = OFlags::RDWR | OFlags::CREATE;
            let mode = Mode::from_raw_mode(0o600);
            let mut file = self
                .directory
                .open(OsStr::new("f"), flags, mode)
                .expect("it opens");
            file.write_all(bytes).expect("written");
            Mark::new(digest(whole), "http://h/f", None, Some(7)).put(&file, self.slate());
            file
        }

        fn find(&self, whole: &[u8]) -> Option<Found> {
            find(
                &self.root,
                &self.directory,
                OsStr::new("f"),
                digest(whole),
                &Cancel::new(),
            )
        }

        fn slate(&self) -> Slate<'_> {
            Slate::new(&self.root, Path::new("/f"))
        }

        fn length(&self) -> u64 {
            std::fs::metadata(self.outer.path().join("f"))
                .expect("it exists")
                .len()
        }
    }

    fn content() -> Vec<u8> {
        (0..3 * PIECE + 5000)
            .map(|index| 1 + u8::try_from(index % 251).expect("less"))
            .collect()
    }

    #[test]
    fn a_beginning_is_gone_on_with_from_the_last_whole_block() {
        let (place, content) = (Place::new(), content());
        for length in [BLOCK, BLOCK + 1, PIECE + 17, 3 * PIECE] {
            place.leave(&content[..length], &content);
            let found = place.find(&content).expect("it is one");
            let kept = length - length % BLOCK;
            assert_eq!((found.length, found.is_whole), (kept as u64, false));
            assert_eq!(place.length(), kept as u64, "the file ends with it");
            assert_eq!(found.digest.finish(), digest(&content[..kept]));
            assert_eq!(
                (found.mark.url.as_str(), found.mark.modified),
                ("http://h/f", Some(7))
            );
        }
        place.leave(&content[..BLOCK - 1], &content);
        assert!(
            place.find(&content).is_none(),
            "less than a block is nothing"
        );
    }

    #[test]
    fn a_whole_file_needs_nothing_more() {
        let place = Place::new();
        for content in [content(), b"short".to_vec()] {
            place.leave(&content, &content);
            let found = place.find(&content).expect("it is one");
            assert!(found.is_whole);
            assert_eq!(found.length, content.len() as u64);
            assert_eq!(place.length(), content.len() as u64);
        }
    }

    #[test]
    fn zeros_at_the_end_are_believed_only_when_they_are_settled() {
        let place = Place::new();
        let mut content = content();
        content[PIECE..].fill(0);
        let file = place.leave(&content[..2 * PIECE], &content);
        assert_eq!(
            place.find(&content).expect("it is one").length,
            PIECE as u64
        );
        file.set_len(2 * PIECE as u64).expect("longer");
        Mark::settle(&file, place.slate());
        assert_eq!(
            place.find(&content).expect("it is one").length,
            2 * PIECE as u64
        );
        file.set_len(2 * PIECE as u64 + 1).expect("longer still");
        assert_eq!(
            place.find(&content).expect("it is one").length,
            PIECE as u64
        );
        place.leave(&vec![0; PIECE], &content);
        assert!(place.find(&content).is_none());
    }

    #[test]
    fn what_is_of_something_else_or_not_ours_alone_is_left() {
        let (place, content) = (Place::new(), content());
        let file = place.leave(&content[..PIECE], &content);
        assert!(place.find(b"something else").is_none());
        assert!(place.find(&content).is_some());
        Mark::remove(&file, place.slate());
        assert!(place.find(&content).is_none(), "nothing says what it is of");
        let file = place.leave(&content[..PIECE], &content);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o620)).expect("changed");
        assert!(place.find(&content).is_none(), "others can write to it");
        place.leave(&content[..PIECE], &content);
        std::fs::hard_link(place.outer.path().join("f"), place.outer.path().join("g"))
            .expect("linked");
        assert!(place.find(&content).is_none(), "it has another name");
        std::fs::remove_file(place.outer.path().join("f")).expect("removed");
        std::os::unix::fs::symlink("g", place.outer.path().join("f")).expect("linked");
        assert!(place.find(&content).is_none(), "a link");
        let file = place.leave(&content[..PIECE], &content);
        rustix::fs::fsetxattr(&file, slate::ATTRIBUTE, b"{garbage", XattrFlags::empty())
            .expect("set");
        assert!(place.find(&content).is_none(), "no mark of ours");
    }

    #[test]
    fn what_could_not_be_written_is_not_gone_on_with() {
        let (place, content) = (Place::new(), content());
        let name = OsStr::new("f");
        let settle = |file: &File| {
            settle(
                &place.root,
                &place.directory,
                name,
                file,
                Durability::Synced,
            )
        };
        let file = place.leave(&content[..PIECE], &content);
        settle(&file).expect("written");
        assert!(place.find(&content).is_some());
        // Nobody can sync a pipe (fsync(2), `EINVAL`).
        let (_reader, writer) = io::pipe().expect("a pipe");
        let broken = File::from(std::os::fd::OwnedFd::from(writer));
        settle(&broken).expect_err("it is none");
        assert!(place.find(&content).is_none());
        assert!(!place.outer.path().join("f").exists());
    }
}
