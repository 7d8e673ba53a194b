use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

struct Place {
    outer: tempfile::TempDir,
    root: Root,
}

impl Place {
    fn new() -> Self {
        let outer = tempfile::tempdir().expect("a directory");
        let root = Root::open(outer.path()).expect("it opens");
        Self { outer, root }
    }

    fn top(&self) -> Directory {
        self.root.directory(Path::new("/")).expect("it opens")
    }
}

fn mode(mode: u32) -> Attributes {
    Attributes {
        mode,
        modified: Some((1000, 5)),
        ..Attributes::default()
    }
}

#[test]
fn a_directory_is_closed_after_everything_is_in_it() {
    let place = Place::new();
    let top = create(&place.root, &place.top(), OsStr::new("t"), true).expect("made");
    let mut writer = TreeWriter::new(&place.root, top, u64::MAX);
    writer.directory(Path::new("a"), mode(0o555)).expect("made");
    writer
        .directory(Path::new("a/b"), mode(0o500))
        .expect("made");
    writer
        .file(Path::new("a/b/f"), &mode(0o4755), |_, _| {
            Ok::<_, TreeError>(())
        })
        .expect("made");
    writer.finish(Some(0o750)).expect("finished");
    let found = |path: &str| {
        let metadata = fs::metadata(place.outer.path().join("t").join(path)).expect("there");
        (metadata.permissions().mode() & 0o7777, metadata.mtime())
    };
    assert_eq!(found("a"), (0o555, 1000));
    assert_eq!(found("a/b"), (0o500, 1000));
    assert_eq!(found("a/b/f"), (0o4755, 1000));
    assert_eq!(found("").0, 0o750);
}

#[test]
fn a_sealed_tree_can_be_unsealed_and_removed() {
    let place = Place::new();
    let (top, name) = (place.top(), OsStr::new("t"));
    create(&place.root, &top, name, false).expect("made");
    let outer = place.outer.path();
    for path in ["t/a/b/c", "t/a/d", "t/e"] {
        fs::create_dir_all(outer.join(path)).expect("made");
        fs::write(outer.join(path).join("f"), "x").expect("written");
    }
    std::os::unix::fs::symlink("/etc", outer.join("t/a/link")).expect("linked");
    seal(&place.root, &top, name, Durability::Synced).expect("sealed");
    if rustix::process::geteuid().is_root() {
        let flags = rustix::fs::ioctl_getflags(top.subdirectory(name).expect("it opens"));
        if let Ok(flags) = flags
            && flags.contains(IFlags::IMMUTABLE)
        {
            fs::write(outer.join("t/new"), "x").expect_err("it is immutable");
        }
    }
    remove(&place.root, &top, name).expect("removed");
    assert!(!outer.join("t").exists() && Path::new("/etc").exists());
    remove(&place.root, &top, name).expect("what is not there is removed already");
    unseal(&place.root, &top, OsStr::new("missing")).expect("nothing to do");
}

#[test]
fn what_is_counted_ends_at_the_limit() {
    let place = Place::new();
    let top = create(&place.root, &place.top(), OsStr::new("t"), false).expect("made");
    let mut writer = TreeWriter::new(&place.root, top, 1000);
    writer.directory(Path::new("a"), mode(0o755)).expect("made");
    let refused = writer.directory(Path::new("b"), mode(0o755));
    assert!(
        matches!(refused, Err(TreeError::TooLarge(1000))),
        "{refused:?}"
    );
}

#[test]
fn directories_that_nothing_names_take_room_and_end_somewhere() {
    let place = Place::new();
    let top = create(&place.root, &place.top(), OsStr::new("t"), false).expect("made");
    let mut writer = TreeWriter::new(&place.root, top, 100 * INODE);
    let deep = |levels: usize, top: &str| {
        let path: PathBuf = std::iter::repeat_n("d", levels).collect();
        Path::new(top).join(path)
    };
    writer.directory(&deep(50, "a"), mode(0o755)).expect("made");
    let error = writer.directory(&deep(60, "b"), mode(0o755));
    assert!(matches!(error, Err(TreeError::TooLarge(_))), "{error:?}");
    let top = create(&place.root, &place.top(), OsStr::new("u"), false).expect("made");
    let mut writer = TreeWriter::new(&place.root, top, u64::MAX);
    writer
        .directory(&deep(DEPTH, "a"), mode(0o755))
        .expect("made");
    let error = writer.symlink(&deep(DEPTH + 1, "a"), OsStr::new("x"), &mode(0o755));
    assert!(matches!(error, Err(TreeError::Depth(_))), "{error:?}");
    writer.finish(None).expect("finished");
}

#[test]
fn what_directories_carry_is_held_up_to_a_bound() {
    let place = Place::new();
    let top = create(&place.root, &place.top(), OsStr::new("t"), false).expect("made");
    let mut writer = TreeWriter::new(&place.root, top, u64::MAX);
    let heavy = Attributes {
        xattrs: vec![("user.x".into(), vec![0; 1 << 20])],
        ..mode(0o755)
    };
    let mut made = (0..1000).map(|_| writer.directory(Path::new("a"), heavy.clone()));
    let error = made.find_map(Result::err);
    assert!(matches!(error, Some(TreeError::Directories)), "{error:?}");
    // Many small ones take more than their bytes.
    let top = create(&place.root, &place.top(), OsStr::new("u"), false).expect("made");
    let mut writer = TreeWriter::new(&place.root, top, u64::MAX);
    let many = Attributes {
        xattrs: vec![("user.x".into(), vec![]); 2000],
        ..mode(0o755)
    };
    let mut made = (0..1500).map(|_| writer.directory(Path::new("a"), many.clone()));
    let error = made.find_map(Result::err);
    assert!(matches!(error, Some(TreeError::Directories)), "{error:?}");
}
