//! Bytes from a reader into a file: the reading (network, digest, decompression) and the writing each have a thread, so
//! that neither waits for the other.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rustix::fs::{Advice, OFlags};

use super::space::{RESERVE, available};

/// Bytes are moved in pieces of this size.
const PIECE: usize = 256 * 1024;
/// So many pieces are between reading and writing.
const DEPTH: usize = 8;
/// Blocks of this size that hold only zeros are left as holes; also the alignment of direct writes (open(2), `O_DIRECT`):
/// no disk has larger sectors.
pub(super) const BLOCK: usize = 4096;
/// After so many bytes it is looked whether the disk is full, and the kernel is asked to begin writing them out, so that
/// the final sync has little left to do.
const WRITE_BEHIND: u64 = 8 * 1024 * 1024;
/// So far behind, what was written is forgotten: the disk has had time for it.
const FORGET_BEHIND: u64 = 64 * 1024 * 1024;
/// Files from this size on go past the page cache: they would only push out what the host works with, and copying them
/// there costs as much as hashing them.
const DIRECT_FROM: u64 = 64 * 1024 * 1024;

/// Why not everything was moved.
#[derive(Debug)]
pub(super) enum SinkError {
    /// The reader failed.
    Read(io::Error),
    /// The file could not be written.
    Write(io::Error),
    /// More than the limit came.
    TooLarge,
}

/// What the bytes become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A file, which has `start` bytes already, whole blocks of them, and ends with what comes. Long zeros become holes.
    Sparse {
        /// Bytes that are there.
        start: u64,
    },
    /// A piece of something that has its size: zeros are written, too.
    Dense {
        /// Where the piece begins, in bytes.
        start: u64,
    },
}

/// Moves everything from the reader to its place. `expected` is about how many bytes come. Returns where they end.
///
/// # Errors
/// When either side fails, or more than `limit` bytes come. What came before is written then.
pub(super) fn fill(
    file: &File,
    shape: Shape,
    reader: &mut impl Read,
    expected: Option<u64>,
    limit: u64,
) -> Result<u64, SinkError> {
    thread::scope(|scope| {
        let (full_sender, full) = sync_channel(DEPTH);
        let (empty_sender, empty) = channel();
        let mut writer = Writer::new(file, shape, expected);
        let writer = scope.spawn(move || writer.write(&full, &empty_sender));
        let read = read(reader, &full_sender, &empty, limit);
        drop(full_sender);
        let written = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A writer that failed is why the reader found nobody to read for.
        let end = written.map_err(SinkError::Write)?;
        read.map(|()| end)
    })
}

/// A buffer that begins at a multiple of [`BLOCK`] in memory, and how much of it is filled.
struct Piece {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Piece {
    fn new() -> Self {
        let memory = vec![0; PIECE + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Self {
            memory,
            start,
            length: 0,
        }
    }

    fn space(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + PIECE]
    }

    fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

fn read(
    reader: &mut impl Read,
    full: &SyncSender<Piece>,
    empty: &Receiver<Piece>,
    limit: u64,
) -> Result<(), SinkError> {
    let mut total = 0;
    let mut made = 0;
    loop {
        let mut piece = match empty.try_recv() {
            Ok(piece) => piece,
            Err(_) if made <= DEPTH => {
                made += 1;
                Piece::new()
            }
            Err(_) => match empty.recv() {
                Ok(piece) => piece,
                Err(_) => return Ok(()),
            },
        };
        let (length, outcome) = read_full(reader, piece.space());
        piece.length = length;
        total += piece.length as u64;
        if total > limit {
            return Err(SinkError::TooLarge);
        }
        let ended = piece.length < PIECE;
        // What came before a failure is a beginning that can be gone on with.
        let sent = full.send(piece);
        outcome.map_err(SinkError::Read)?;
        if sent.is_err() || ended {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the stream ends or fails; how much has been read in any case.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}

/// The end of the file.
struct Writer<'a> {
    file: &'a File,
    shape: Shape,
    path: WritePath,
    offset: u64,
    /// Up to where the kernel was asked to write.
    flushed: u64,
}

/// Which way bytes take to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WritePath {
    /// Straight from our memory; whole blocks only.
    Direct,
    /// Through the page cache.
    Cached,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File, shape: Shape, expected: Option<u64>) -> Self {
        let (Shape::Sparse { start } | Shape::Dense { start }) = shape;
        let large = expected.is_some_and(|expected| expected >= DIRECT_FROM);
        // Not every file system can do it.
        let direct = large && rustix::fs::fcntl_setfl(file, OFlags::DIRECT).is_ok();
        let path = if direct {
            WritePath::Direct
        } else {
            WritePath::Cached
        };
        Self {
            file,
            shape,
            path,
            offset: start,
            flushed: start,
        }
    }

    fn write(&mut self, full: &Receiver<Piece>, empty: &Sender<Piece>) -> io::Result<u64> {
        while let Ok(piece) = full.recv() {
            self.write_piece(piece.filled())?;
            if self.offset - self.flushed >= WRITE_BEHIND {
                // A partition has its room.
                if let Shape::Sparse { .. } = self.shape {
                    refuse_a_full_disk(self.file)?;
                }
                self.write_behind();
                self.flushed = self.offset;
            }
            // A reader that has ended wants no buffers back.
            let _ = empty.send(piece);
        }
        if self.path == WritePath::Direct {
            rustix::fs::fcntl_setfl(self.file, OFlags::empty())?;
        }
        // Holes at the end count as well.
        if let Shape::Sparse { .. } = self.shape {
            self.file.set_len(self.offset)?;
        }
        Ok(self.offset)
    }

    /// Writes the runs of blocks that hold anything but zeros, or everything.
    fn write_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Shape::Dense { .. } = self.shape {
            self.write_run(piece, self.offset)?;
            self.offset += piece.len() as u64;
            return Ok(());
        }
        let run = |from: usize, zero: bool| {
            let blocks = piece[from..]
                .chunks(BLOCK)
                .take_while(|block| is_zero(block) == zero);
            blocks.map(<[u8]>::len).sum::<usize>()
        };
        let mut start = 0;
        while start < piece.len() {
            let filled = run(start, false);
            self.write_run(&piece[start..start + filled], self.offset + start as u64)?;
            start += filled;
            start += run(start, true);
        }
        self.offset += piece.len() as u64;
        Ok(())
    }

    fn write_run(&mut self, run: &[u8], offset: u64) -> io::Result<()> {
        if self.path == WritePath::Direct {
            let whole = run.len() - run.len() % BLOCK;
            match self.file.write_all_at(&run[..whole], offset) {
                Ok(()) if whole == run.len() => return Ok(()),
                // The last, broken block of a file goes the other way, and so does all of it where the file system, or a
                // write that was cut short, wants another alignment.
                Ok(()) => {}
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
            rustix::fs::fcntl_setfl(self.file, OFlags::empty())?;
            self.path = WritePath::Cached;
        }
        self.file.write_all_at(run, offset)
    }

    /// Asks the kernel to begin writing what was written last, and to forget what it was asked for a while ago and has
    /// written by now: no burst at the end, no flooded page cache, and the same memory again instead of ever new.
    fn write_behind(&self) {
        // Advice: a kernel that does not take it loses nothing but speed.
        let advise = |from: u64, to: u64| {
            let length = std::num::NonZeroU64::new(to.saturating_sub(from));
            let _ = rustix::fs::fadvise(self.file, from, length, Advice::DontNeed);
        };
        if self.path == WritePath::Direct {
            return;
        }
        advise(self.flushed, self.offset);
        if let Some(written) = self.flushed.checked_sub(FORGET_BEHIND) {
            advise(written, written + (self.offset - self.flushed));
        }
    }
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    *block == ZEROS[..block.len()]
}

/// Sizes that servers announce may be wrong, and compressed data grows: the reserve is kept while writing, too.
fn refuse_a_full_disk(file: &File) -> io::Result<()> {
    if available(&rustix::fs::fstatvfs(file)?) < RESERVE {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn filled(content: &[u8], expected: Option<u64>) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        fill(
            &file,
            Shape::Sparse { start: 0 },
            &mut &content[..],
            expected,
            u64::MAX,
        )
        .expect("filled");
        file.rewind().expect("rewound");
        file
    }

    #[test]
    fn what_comes_out_is_what_went_in_at_every_size_and_with_holes_anywhere() {
        for size in [
            0,
            1,
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            PIECE * 7 + 5,
        ] {
            for (period, expected) in [
                (1, None),
                (2, None),
                (3, None),
                (50, None),
                (1, Some(DIRECT_FROM)),
                (3, Some(DIRECT_FROM)),
            ] {
                let content: Vec<u8> = (0..size)
                    .map(|index| {
                        if (index / BLOCK).is_multiple_of(period) {
                            1 + u8::from(index % 3 == 0)
                        } else {
                            0
                        }
                    })
                    .collect();
                let mut read = Vec::new();
                filled(&content, expected)
                    .read_to_end(&mut read)
                    .expect("readable");
                assert!(
                    read == content,
                    "{size} bytes, every {period}th block filled, expected {expected:?}"
                );
            }
        }
    }

    #[test]
    fn zeros_take_no_room() {
        let file = filled(&vec![0; 300_000], None);
        let metadata = file.metadata().expect("metadata");
        assert_eq!((metadata.len(), metadata.blocks()), (300_000, 0));
    }

    #[test]
    fn what_follows_a_beginning_comes_after_it() {
        let content: Vec<u8> = (0..PIECE * 3 + 5)
            .map(|index| u8::from(index / BLOCK % 3 != 1))
            .collect();
        for start in [BLOCK, 2 * BLOCK, PIECE, 2 * PIECE + BLOCK] {
            for expected in [None, Some(DIRECT_FROM)] {
                let mut file = filled(&content[..start], None);
                let mut rest = &content[start..];
                fill(
                    &file,
                    Shape::Sparse {
                        start: start as u64,
                    },
                    &mut rest,
                    expected,
                    u64::MAX,
                )
                .expect("filled");
                let mut read = Vec::new();
                file.rewind().expect("rewound");
                file.read_to_end(&mut read).expect("readable");
                assert!(read == content, "after {start} bytes, {expected:?}");
            }
        }
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }

    #[test]
    fn more_than_the_limit_is_refused_and_so_is_what_cannot_be_read_or_written() {
        let file = tempfile::tempfile().expect("a temporary file");
        let refused = fill(
            &file,
            Shape::Sparse { start: 0 },
            &mut io::repeat(1),
            None,
            3 * PIECE as u64,
        );
        assert!(matches!(refused, Err(SinkError::TooLarge)), "{refused:?}");
        let refused = fill(
            &file,
            Shape::Sparse { start: 0 },
            &mut io::repeat(1).take(PIECE as u64 + 9).chain(Broken),
            None,
            u64::MAX,
        );
        assert!(matches!(refused, Err(SinkError::Read(_))), "{refused:?}");
        let kept = file.metadata().expect("metadata").len();
        assert_eq!(kept, PIECE as u64 + 9, "what came before is there");
        let unwritable = File::open("/dev/null").expect("it opens");
        let refused = fill(
            &unwritable,
            Shape::Sparse { start: 0 },
            &mut io::repeat(1),
            None,
            u64::MAX,
        );
        assert!(matches!(refused, Err(SinkError::Write(_))), "{refused:?}");
    }
}
