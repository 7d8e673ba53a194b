//! Two names of one file, which a renaming that was cut off leaves on FAT: the new entry was written, the old one not yet
//! taken away. Who removes one of them frees the blocks of both; only fsck.vfat can part them.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use crate::inventory::State;
use crate::inventory::files;
use crate::root::{Directory, Root};

/// The other name of a file, if there may be one: one of the two is of something unfinished, and the content is the same.
pub(crate) fn of(root: &Root, path: &Path) -> Option<PathBuf> {
    let directory = root.directory(path.parent()?).ok()?;
    directory
        .is_fat()
        .then(|| beside(&directory, path.file_name()?))?
}

fn beside(directory: &Directory, name: &OsStr) -> Option<PathBuf> {
    let is_unfinished = |name: &OsStr| {
        let name = name.to_str();
        name.is_some_and(|name| files::split_state(name).0 != State::Complete)
    };
    let size = |name: &OsStr| directory.stat(name).map(|stat| stat.st_size);
    let own = size(name).ok().filter(|size| *size > 0)?;
    let mut others = directory.entries().ok()?.into_iter().filter(|entry| {
        entry.name != name
            && (is_unfinished(name) || is_unfinished(&entry.name))
            && size(&entry.name).is_ok_and(|other| other == own)
    });
    // What cannot be read cannot be told apart.
    let other = others.find(|entry| is_same(directory, name, &entry.name).unwrap_or(true))?;
    Some(directory.path().join(other.name))
}

fn is_same(directory: &Directory, one: &OsStr, two: &OsStr) -> io::Result<bool> {
    let open = |name| {
        let file = directory.open_to_read(name)?;
        io::Result::Ok(BufReader::with_capacity(PIECE, file))
    };
    let (mut one, mut two) = (open(one)?, open(two)?);
    loop {
        let (left, right) = (one.fill_buf()?, two.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        one.consume(length);
        two.consume(length);
    }
}

/// So much is compared at once, in bytes.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_name_has_the_same_content_and_one_of_both_is_unfinished() {
        let outer = tempfile::tempdir().expect("a directory");
        let long = [b"x".repeat(PIECE), b"end".to_vec()].concat();
        let other = [b"x".repeat(PIECE), b"END".to_vec()].concat();
        for (name, content) in [
            ("app_1", &long),
            ("app_2", &other),
            (".sysupdate.pending.app_1", &long),
            (".sysupdate.partial.app_3", &other[..9].to_vec()),
            (".sysupdate.partial.app_4", &Vec::new()),
            (".sysupdate.partial.app_5", &Vec::new()),
            ("app_6", &other[..8].to_vec()),
            ("app_7", &other[..8].to_vec()),
        ] {
            std::fs::write(outer.path().join(name), content).expect("written");
        }
        let root = Root::open(outer.path()).expect("it opens");
        let directory = root.directory(Path::new("/")).expect("it opens");
        for (name, twin) in [
            ("app_1", Some("/.sysupdate.pending.app_1")),
            (".sysupdate.pending.app_1", Some("/app_1")),
            ("app_2", None),
            (".sysupdate.partial.app_3", None),
            (".sysupdate.partial.app_4", None),
            ("app_6", None),
            ("app_8", None),
        ] {
            let found = beside(&directory, OsStr::new(name));
            assert_eq!(found.as_deref(), twin.map(Path::new), "{name}");
        }
        assert_eq!(of(&root, Path::new("/app_1")), None, "this is no FAT");
    }
}
