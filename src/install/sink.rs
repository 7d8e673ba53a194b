//! Bytes from a reader into a file: the reading (network, digest, decompression) and the writing each have a thread, so
//! that neither waits for the other.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rustix::fs::Advice;

use super::space::RESERVE;

/// Bytes are moved in pieces of this size.
const PIECE: usize = 256 * 1024;
/// So many pieces are between reading and writing.
const DEPTH: usize = 4;
/// One system call writes so much: larger ones make the kernel allocate large folios for the page cache, which costs up to
/// five times as much where memory is scattered or has to be asked of a hypervisor.
const WRITE: usize = 64 * 1024;
/// Blocks of this size that hold only zeros are left as holes.
const BLOCK: usize = 4096;
/// After so many bytes the kernel is asked to begin writing them out, so that the final sync has little left to do.
const WRITE_BEHIND: u64 = 8 * 1024 * 1024;
/// So far behind, what was written is forgotten: the disk has had time for it.
const FORGET_BEHIND: u64 = 64 * 1024 * 1024;

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

/// Moves everything from the reader into the empty file, long zeros as holes.
///
/// # Errors
/// When either side fails, or more than `limit` bytes come; some have been written then.
pub(super) fn fill(file: &File, reader: &mut impl Read, limit: u64) -> Result<(), SinkError> {
    thread::scope(|scope| {
        let (full_sender, full) = sync_channel(DEPTH);
        let (empty_sender, empty) = channel();
        let writer = scope.spawn(move || write(file, &full, &empty_sender));
        let read = read(reader, &full_sender, &empty, limit);
        drop(full_sender);
        let written = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A writer that failed is why the reader found nobody to read for.
        written.map_err(SinkError::Write).and(read)
    })
}

/// A buffer and how much of it is filled.
type Piece = (Vec<u8>, usize);

fn read(
    reader: &mut impl Read,
    full: &SyncSender<Piece>,
    empty: &Receiver<Vec<u8>>,
    limit: u64,
) -> Result<(), SinkError> {
    let mut total = 0;
    let mut made = 0;
    loop {
        let mut buffer = match empty.try_recv() {
            Ok(buffer) => buffer,
            Err(_) if made <= DEPTH => {
                made += 1;
                vec![0; PIECE]
            }
            Err(_) => match empty.recv() {
                Ok(buffer) => buffer,
                Err(_) => return Ok(()),
            },
        };
        let length = read_full(reader, &mut buffer).map_err(SinkError::Read)?;
        total += length as u64;
        if total > limit {
            return Err(SinkError::TooLarge);
        }
        let ended = length < buffer.len();
        if full.send((buffer, length)).is_err() || ended {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn write(file: &File, full: &Receiver<Piece>, empty: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut offset = 0;
    let mut flushed = 0;
    while let Ok((buffer, length)) = full.recv() {
        write_piece(file, &buffer[..length], offset)?;
        offset += length as u64;
        if offset - flushed >= WRITE_BEHIND {
            refuse_a_full_disk(file)?;
            write_behind(file, flushed, offset);
            flushed = offset;
        }
        // A reader that has ended wants no buffers back.
        let _ = empty.send(buffer);
    }
    // Holes at the end count as well.
    file.set_len(offset)
}

/// Writes the runs of blocks that hold anything but zeros.
fn write_piece(file: &File, piece: &[u8], offset: u64) -> io::Result<()> {
    let mut start = 0;
    while start < piece.len() {
        let filled = piece[start..]
            .chunks(BLOCK)
            .take_while(|block| !is_zero(block))
            .map(<[u8]>::len)
            .sum::<usize>();
        for (index, part) in piece[start..start + filled].chunks(WRITE).enumerate() {
            file.write_all_at(part, offset + (start + index * WRITE) as u64)?;
        }
        start += filled;
        start += piece[start..]
            .chunks(BLOCK)
            .take_while(|block| is_zero(block))
            .map(<[u8]>::len)
            .sum::<usize>();
    }
    Ok(())
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    *block == ZEROS[..block.len()]
}

/// Sizes that servers announce may be wrong, and compressed data grows: the reserve is kept while writing, too.
fn refuse_a_full_disk(file: &File) -> io::Result<()> {
    let volume = rustix::fs::fstatvfs(file)?;
    if volume.f_bavail.saturating_mul(volume.f_frsize) < RESERVE {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

/// Asks the kernel to begin writing a range out, and to forget one that it was asked for a while ago and has written by
/// now: no burst at the end, no flooded page cache, and the same memory again and again instead of ever new.
fn write_behind(file: &File, from: u64, to: u64) {
    // Advice: a kernel that does not take it loses nothing but speed.
    let advise = |from: u64, to: u64| {
        let _ = rustix::fs::fadvise(
            file,
            from,
            std::num::NonZeroU64::new(to - from),
            Advice::DontNeed,
        );
    };
    advise(from, to);
    if let Some(written) = from.checked_sub(FORGET_BEHIND) {
        advise(written, written + (to - from));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn filled(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        fill(&file, &mut &content[..], u64::MAX).expect("filled");
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
            for period in [1, 2, 3, 50] {
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
                filled(&content).read_to_end(&mut read).expect("readable");
                assert!(
                    read == content,
                    "{size} bytes, every {period}th block filled"
                );
            }
        }
    }

    #[test]
    fn zeros_take_no_room() {
        let file = filled(&vec![0; 300_000]);
        let metadata = file.metadata().expect("metadata");
        assert_eq!((metadata.len(), metadata.blocks()), (300_000, 0));
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
        let refused = fill(&file, &mut io::repeat(1), 3 * PIECE as u64);
        assert!(matches!(refused, Err(SinkError::TooLarge)), "{refused:?}");
        let refused = fill(&file, &mut io::repeat(1).take(9).chain(Broken), u64::MAX);
        assert!(matches!(refused, Err(SinkError::Read(_))), "{refused:?}");
        let unwritable = File::open("/dev/null").expect("it opens");
        let refused = fill(&unwritable, &mut io::repeat(1), u64::MAX);
        assert!(matches!(refused, Err(SinkError::Write(_))), "{refused:?}");
    }
}
