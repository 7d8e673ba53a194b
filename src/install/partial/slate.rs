//! Where the mark of a partial file is written.
//!
//! Owns the two places: an extended attribute of the file, and, where the file system has none or the mark is too long for
//! it (an EFI system partition, ramfs), a file of its own below /var/lib/sysupdate. Beside the partial file it could be
//! taken for a version: `@v` matches names that begin with a dot, here and in systemd-sysupdate.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::metadata::Sha256;
use crate::root::Root;
use crate::storage::atomic::{self, Durability};

/// The place of one partial file's mark.
#[derive(Debug, Clone, Copy)]
pub(in crate::install) struct Slate<'a> {
    root: &'a Root,
    /// The partial file's inner path.
    path: &'a Path,
}

/// What is written into a file of its own.
#[derive(Serialize, Deserialize)]
struct Page {
    /// The partial file's inner path.
    path: PathBuf,
    mark: String,
}

impl<'a> Slate<'a> {
    pub(in crate::install) fn new(root: &'a Root, path: &'a Path) -> Self {
        Self { root, path }
    }

    /// Writes a mark. One that cannot be written is missed when the download is cut off, and nowhere else.
    pub(super) fn write(&self, file: &File, mark: &str) {
        if mark.len() > LARGEST {
            return self.clear(file);
        }
        let kept = rustix::fs::fsetxattr(file, ATTRIBUTE, mark.as_bytes(), XattrFlags::empty());
        if kept.is_ok() {
            // That counts from now on: what another file system may have needed before is of no use.
            return self.remove_page();
        }
        // One that is there would be of something else.
        clear_attribute(file);
        self.remove_orphans();
        let page = Page {
            path: self.path.to_path_buf(),
            mark: mark.to_owned(),
        };
        if let Ok(text) = serde_json::to_vec(&page) {
            // Addresses may hold what opens them.
            let _ = atomic::write(self.root, &self.page(), &text, 0o600);
        }
    }

    pub(super) fn read(&self, file: &File) -> Option<String> {
        let mut text = vec![0; LARGEST];
        if let Ok(length) = rustix::fs::fgetxattr(file, ATTRIBUTE, &mut text) {
            text.truncate(length);
            return String::from_utf8(text).ok();
        }
        let page = self.root.read(&self.page(), LARGEST_PAGE).ok()?;
        let page: Page = serde_json::from_slice(&page).ok()?;
        (page.path == self.path).then_some(page.mark)
    }

    /// Makes an ordinary file of it.
    pub(super) fn clear(&self, file: &File) {
        clear_attribute(file);
        self.remove_page();
    }

    fn remove_page(&self) {
        let (page, directory) = (self.page(), Path::new(DIRECTORY));
        let _ = atomic::remove_file_if_any(self.root, &page, directory, Durability::Unsynced);
    }

    /// Removes the marks of files that are gone: whoever removes a partial file knows nothing of its mark.
    fn remove_orphans(&self) {
        let Ok(directory) = self.root.directory(Path::new(DIRECTORY)) else {
            return;
        };
        for entry in directory.entries().unwrap_or_default() {
            let page = self
                .root
                .read(&Path::new(DIRECTORY).join(&entry.name), LARGEST_PAGE);
            let page = page
                .ok()
                .and_then(|text| serde_json::from_slice::<Page>(&text).ok());
            let is_needed = page.is_some_and(|page| self.root.stat(&page.path).is_ok());
            if !is_needed {
                let _ = atomic::remove(self.root, &directory, &entry.name);
            }
        }
    }

    fn page(&self) -> PathBuf {
        let key = sha2::Sha256::digest(self.path.as_os_str().as_bytes());
        Path::new(DIRECTORY).join(format!("{}.json", Sha256(key.into())))
    }
}

fn clear_attribute(file: &File) {
    // There may be none.
    let _ = rustix::fs::fremovexattr(file, ATTRIBUTE);
}

const DIRECTORY: &str = "/var/lib/sysupdate/partial";
/// The name of the attribute.
pub(super) const ATTRIBUTE: &str = "user.sysupdate.partial";
/// Larger marks are nobody's, in bytes: more than the kernel lets an attribute be (xattr(7)).
const LARGEST: usize = 128 << 10;
/// The same with the path around it, and what JSON makes of both.
const LARGEST_PAGE: u64 = 8 * LARGEST as u64;

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        root: Root,
        file: File,
        _outer: tempfile::TempDir,
    }

    fn place() -> Place {
        let outer = tempfile::tempdir().expect("a directory");
        let root = Root::open(outer.path()).expect("it opens");
        let file = File::create_new(outer.path().join("f")).expect("created");
        Place {
            root,
            file,
            _outer: outer,
        }
    }

    impl Place {
        fn pages(&self) -> usize {
            let directory = self.root.directory(Path::new(DIRECTORY));
            directory.map_or(0, |directory| directory.entries().expect("readable").len())
        }
    }

    /// No file system takes this for an attribute (`E2BIG`, xattr(7)).
    fn long() -> String {
        "x".repeat((64 << 10) + 1)
    }

    #[test]
    fn a_mark_that_no_attribute_can_hold_is_kept_elsewhere() {
        let place = place();
        let slate = Slate::new(&place.root, Path::new("/f"));
        assert_eq!(slate.read(&place.file), None);
        slate.write(&place.file, &long());
        assert_eq!((slate.read(&place.file), place.pages()), (Some(long()), 1));
        // It is that file's only.
        let other = Slate::new(&place.root, Path::new("/g"));
        assert_eq!(other.read(&place.file), None);
        // Where it went says nothing of where the next one goes.
        slate.write(&place.file, "short");
        let kept = slate.read(&place.file);
        assert_eq!((kept.as_deref(), place.pages()), (Some("short"), 0));
        slate.write(&place.file, &long());
        assert_eq!(slate.read(&place.file), Some(long()));
        slate.clear(&place.file);
        assert_eq!((slate.read(&place.file), place.pages()), (None, 0));
    }

    #[test]
    fn a_mark_beyond_measure_is_kept_nowhere() {
        let place = place();
        let slate = Slate::new(&place.root, Path::new("/f"));
        slate.write(&place.file, "before");
        slate.write(&place.file, &"x".repeat(LARGEST + 1));
        assert_eq!((slate.read(&place.file), place.pages()), (None, 0));
    }

    #[test]
    fn marks_of_files_that_are_gone_go_with_the_next_one() {
        let place = place();
        for path in ["/gone", "/f"] {
            Slate::new(&place.root, Path::new(path)).write(&place.file, &long());
        }
        assert_eq!(place.pages(), 1);
        let slate = Slate::new(&place.root, Path::new("/f"));
        assert_eq!(slate.read(&place.file), Some(long()));
    }

    #[test]
    fn a_page_that_is_damaged_or_of_another_file_is_none() {
        let place = place();
        let slate = Slate::new(&place.root, Path::new("/f"));
        slate.write(&place.file, &long());
        let page = place.root.outer(&slate.page());
        let whole = std::fs::read(&page).expect("readable");
        for cut in [0, 1, 40, whole.len() - 2] {
            std::fs::write(&page, &whole[..cut]).expect("written");
            assert_eq!(slate.read(&place.file), None, "cut at {cut}");
        }
        let other = Slate::new(&place.root, Path::new("/g"));
        std::fs::write(&page, &whole).expect("written");
        std::fs::rename(&page, place.root.outer(&other.page())).expect("renamed");
        assert_eq!(other.read(&place.file), None);
    }
}
