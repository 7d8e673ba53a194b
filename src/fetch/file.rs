//! `file:` URLs.
//!
//! Owns the way from such a URL to an open regular file of the host, nothing else: directories, devices and FIFOs are
//! refused, and opening never waits for a writer.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::{Body, Cancel, Fetch, FetchError, Part, Range, Request, Response, Seams, url};

/// Opens `file:/p`, `file:///p` and `file://localhost/p`; the path may be percent-encoded.
///
/// compat: there are no validators and no modification time (compat B8.4: the target gets the time of the copy).
#[derive(Debug, Clone, Default)]
pub struct FileFetch {
    cancel: Cancel,
}

impl FileFetch {
    /// Reads end when `cancel` is thrown.
    pub fn new(cancel: Cancel) -> Self {
        Self { cancel }
    }

    fn file(&self, text: &str) -> Result<(File, Metadata), FetchError> {
        if self.cancel.is_cancelled() {
            return Err(FetchError::Cancelled {
                url: text.to_owned(),
            });
        }
        let path = path(text)?;
        let file = rustix::fs::open(
            &path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| failure(text, &error.into()))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| failure(text, &error))?;
        if !metadata.is_file() {
            return Err(FetchError::Io {
                url: text.to_owned(),
                cause: "not a regular file".to_owned(),
            });
        }
        Ok((file, metadata))
    }
}

impl Fetch for FileFetch {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        let (mut file, metadata) = self.file(request.url)?;
        let part = match request.range {
            None => None,
            Some(range) => Some(part(request.url, range, metadata.len())?),
        };
        let length = part.map_or(metadata.len(), |part| part.end - part.start);
        if let Some(part) = part {
            file.seek(SeekFrom::Start(part.start))
                .map_err(|error| failure(request.url, &error))?;
        }
        let reader = FileReader {
            file,
            url: request.url.to_owned(),
            length,
            received: 0,
            cancel: self.cancel.clone(),
        };
        Ok(Response::Body(Body {
            length: Some(length),
            part,
            tag: Some(tag(&metadata)),
            seams: Seams::default(),
            validators: None,
            modified: None,
            continues: false,
            reader: Box::new(reader),
        }))
    }

    fn size(&self, url: &str) -> Result<Option<u64>, FetchError> {
        Ok(Some(self.file(url)?.1.len()))
    }
}

/// The part of a file of `length` bytes that a range stands for, as a server would see it.
fn part(url: &str, range: Range, length: u64) -> Result<Part, FetchError> {
    let end = range.end.map_or(length, |end| end.min(length));
    if range.start >= end {
        return Err(FetchError::OutOfRange {
            url: url.to_owned(),
            length: Some(length),
        });
    }
    Ok(Part {
        start: range.start,
        end,
        total: Some(length),
    })
}

fn tag(metadata: &Metadata) -> String {
    let (inode, size) = (metadata.ino(), metadata.len());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    format!("{inode}-{size}-{seconds}.{nanoseconds:09}")
}

struct FileReader {
    file: File,
    url: String,
    length: u64,
    received: u64,
    cancel: Cancel,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(FetchError::Cancelled {
                url: self.url.clone(),
            }
            .into());
        }
        let left = self.length - self.received;
        let room = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let got = match self.file.read(&mut buffer[..room]) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(failure(&self.url, &error).into()),
        };
        if got == 0 {
            // The file was truncated while it was read.
            return Err(FetchError::Partial {
                url: self.url.clone(),
                received: self.received,
                expected: self.length,
                detail: String::new(),
            }
            .into());
        }
        self.received += got as u64;
        Ok(got)
    }
}

fn failure(url: &str, error: &io::Error) -> FetchError {
    let (url, cause) = (url.to_owned(), error.to_string());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            FetchError::NoSuchFile { url, cause }
        }
        _ => FetchError::Io { url, cause },
    }
}

fn path(text: &str) -> Result<PathBuf, FetchError> {
    url::check(text)?;
    if url::scheme(text).as_deref() != Some("file") {
        return Err(FetchError::UnsupportedScheme {
            url: text.to_owned(),
        });
    }
    let rest = &text["file:".len()..];
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => match rest.find('/') {
            Some(0) => rest,
            Some(slash) if rest[..slash].eq_ignore_ascii_case("localhost") => &rest[slash..],
            _ => {
                return Err(url::invalid(
                    text,
                    "a file URL names no other host".to_owned(),
                ));
            }
        },
    };
    if !path.starts_with('/') {
        return Err(url::invalid(text, "the path is not absolute".to_owned()));
    }
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let bytes = decode(&path[..end])
        .ok_or_else(|| url::invalid(text, "bad percent-encoding".to_owned()))?;
    if bytes.contains(&0) {
        return Err(url::invalid(text, "it contains a NUL byte".to_owned()));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(input.next()?).to_digit(16)?;
                let low = char::from(input.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Vec<u8>, FetchError> {
        let Response::Body(mut body) = FileFetch::default().open(&Request::new(url))? else {
            panic!("a file is never unmodified");
        };
        let mut bytes = Vec::new();
        body.reader
            .read_to_end(&mut bytes)
            .map_err(|e| FetchError::from_io(e).expect("typed"))?;
        assert_eq!(body.length, Some(bytes.len() as u64));
        Ok(bytes)
    }

    #[test]
    fn every_spelling_of_a_file_url_is_understood() {
        let table = [
            ("file:/a/b", "/a/b"),
            ("file:///a/b", "/a/b"),
            ("file://localhost/a", "/a"),
            ("FILE:///a", "/a"),
            ("file:///a%20b%2fc", "/a b/c"),
            ("file:///a?x#y", "/a"),
        ];
        for (url, wanted) in table {
            assert_eq!(path(url).expect(url), PathBuf::from(wanted), "{url}");
        }
        for bad in [
            "file:a",
            "file://host/a",
            "file://",
            "file:",
            "file:///%0",
            "file:///%zz",
            "file:///%00",
            "file:///a b",
        ] {
            assert!(
                matches!(path(bad), Err(FetchError::InvalidUrl { .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            path("http://h/"),
            Err(FetchError::UnsupportedScheme { .. })
        ));
    }

    #[test]
    fn a_file_is_read_whole_and_what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = format!("file://{}", directory.path().display());
        std::fs::write(directory.path().join("f 1"), b"content").expect("written");
        assert_eq!(
            read(&format!("{base}/f%201")).as_deref(),
            Ok(&b"content"[..])
        );
        assert_eq!(
            FileFetch::default().size(&format!("{base}/f%201")),
            Ok(Some(7))
        );

        assert!(
            read(&format!("{base}/missing"))
                .expect_err("missing")
                .is_not_found()
        );
        assert!(
            read(&format!("{base}/f%201/below"))
                .expect_err("below a file")
                .is_not_found()
        );
        let error = read(&base).expect_err("a directory");
        assert!(
            !error.is_not_found() && error.to_string().contains("not a regular file"),
            "{error}"
        );
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.path().join("fifo"), Mode::RUSR)
            .expect("a FIFO");
        assert!(matches!(
            read(&format!("{base}/fifo")),
            Err(FetchError::Io { .. })
        ));
    }

    #[test]
    fn a_file_that_shrinks_is_partial_and_one_that_grows_is_cut() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"0123456789").expect("written");
        let url = format!("file://{}", file.path().display());
        let open = || match FileFetch::default().open(&Request::new(&url)) {
            Ok(Response::Body(body)) => body,
            other => panic!("{other:?}"),
        };
        let mut body = open();
        file.as_file().set_len(4).expect("truncated");
        let error = body
            .reader
            .read_to_end(&mut Vec::new())
            .expect_err("partial");
        assert!(error.to_string().contains("got 4 of 10 bytes"), "{error}");

        let mut body = open();
        std::fs::write(file.path(), b"01234567").expect("grown");
        let mut bytes = Vec::new();
        body.reader.read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes, b"0123");
    }

    #[test]
    fn cancelling_ends_reading() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"0123456789").expect("written");
        let url = format!("file://{}", file.path().display());
        let cancel = Cancel::new();
        let fetch = FileFetch::new(cancel.clone());
        let Ok(Response::Body(mut body)) = fetch.open(&Request::new(&url)) else {
            panic!("must open");
        };
        cancel.cancel();
        let error = body.reader.read(&mut [0; 4]).expect_err("cancelled");
        assert!(FetchError::of_io(&error).expect("typed").is_cancelled());
        assert!(fetch.size(&url).expect_err("cancelled").is_cancelled());
    }
}
