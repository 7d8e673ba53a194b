//! Looks into an extension image without mounting it: over a local file, or over ranges of one that is far away.
//!
//! Owns the reading of squashfs, EROFS, ext2/3/4, of disk images that hold one of these and of directories, and the few questions that
//! are worth a look: what the release file says, which units come, what a name stands for, whether two executables are
//! the same. Never writes, never judges whether the extension fits (that is `compat`), and trusts nothing that it
//! reads: every image ends in an answer or an [`ImageError`], within bounds of memory and work that stand in the code.
//!
//! ```text
//! Bytes ─▶ source (chunks, budget) ─▶ disk (partitions) ─▶ squashfs │ erofs │ ext4 ─▶ Image ─▶ Facts
//! ```

mod codec;
mod directory;
mod disk;
mod erofs;
mod error;
mod ext4;
mod facts;
mod source;
mod squashfs;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::root::{Directory, Root};
use sha2::Digest;

use crate::extension::ExtensionKind;
use crate::host::parse_environment;
use crate::metadata::Sha256;

pub use error::ImageError;
pub use facts::{Facts, UnitFacts};
pub use source::Bytes;
pub use tree::{Kind, Stat};

use source::Source;
use tree::Tree;

/// An opened image. Paths are those that the extension will have on the host, with or without a leading slash;
/// symlinks are resolved inside the image.
pub struct Image {
    source: Source,
    format: Format,
    root: Option<Box<dyn Tree>>,
    /// What lies at `usr`, when that is a partition of its own.
    usr: Option<Box<dyn Tree>>,
}

/// How an image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// The file system with the content.
    pub file_system: FileSystem,
    /// What holds that file system.
    pub container: Container,
}

/// The file systems that can be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// Squashfs 4.
    Squashfs,
    /// EROFS.
    Erofs,
    /// ext2, ext3 or ext4.
    Ext4,
    /// None: a directory of this host.
    Directory,
}

/// What the file system of an image lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// The image is the file system.
    Bare,
    /// A partition of a disk image.
    Disk,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.file_system {
            FileSystem::Squashfs => "squashfs",
            FileSystem::Erofs => "erofs",
            FileSystem::Ext4 => "ext4",
            FileSystem::Directory => "directory",
        })?;
        match self.container {
            Container::Bare => Ok(()),
            Container::Disk => f.write_str(" in a disk image"),
        }
    }
}

/// What an image says that it is an extension for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// The fields of the release file of the asked name.
    Fields(BTreeMap<String, String>),
    /// There is none of that name, but there are these names: the image would be an extension as one of them.
    Named(Vec<String>),
    /// There is no release file: the image is no extension of the asked kind.
    None,
}

/// A unit file or drop-in that an image brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// Its content.
    File(Vec<u8>),
    /// A symlink's text: an alias, a mask, an entry of a `.wants` directory.
    Link(String),
}

impl Image {
    /// Opens what is at a path of this host, an image file or a directory; `None` when it is neither.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn of_path(
        root: &Root,
        path: &Path,
        architecture: &str,
    ) -> Result<Option<Self>, ImageError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = root.open_with(path, flags, Mode::empty());
        let file = File::from(opened.map_err(ImageError::Read)?);
        let metadata = file.metadata().map_err(ImageError::Read)?;
        if metadata.is_dir() {
            let top = root.directory(path).map_err(ImageError::Read)?;
            return Ok(Some(Self::of_directory(top)));
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        Self::open(Box::new(file), metadata.len(), architecture).map(Some)
    }

    /// Takes a directory for the tree of an image.
    #[must_use]
    pub fn of_directory(top: Directory) -> Self {
        Self {
            // Nothing of it is read through here; as large as its files may be.
            source: Source::new(Box::new(io::empty()), FILE_LIMIT),
            format: Format {
                file_system: FileSystem::Directory,
                container: Container::Bare,
            },
            root: Some(Box::new(directory::Files::new(top))),
            usr: None,
        }
    }

    /// Recognises the image and reads what is needed to find names in it.
    ///
    /// `length` is that of the whole image in bytes; `architecture` is systemd's name of the one whose partitions are
    /// taken from a disk image.
    ///
    /// # Errors
    /// [`ImageError::Opaque`] for what is no image of a known kind, too.
    pub fn open(
        reader: Box<dyn Bytes>,
        length: u64,
        architecture: &str,
    ) -> Result<Self, ImageError> {
        let source = Source::new(reader, length);
        let Some(sector) = disk::sector_size(&source)? else {
            let (tree, file_system) = open(&source)?;
            return Ok(Self {
                source,
                format: Format {
                    file_system,
                    container: Container::Bare,
                },
                root: Some(tree),
                usr: None,
            });
        };
        let partitions = disk::partitions(&source, sector, architecture)?;
        let root = partitions.root.as_ref().map(open).transpose()?;
        let usr = partitions.usr.as_ref().map(open).transpose()?;
        let Some(file_system) = usr.as_ref().or(root.as_ref()).map(|(_, kind)| *kind) else {
            return Err(ImageError::opaque("a disk image without partitions"));
        };
        Ok(Self {
            source,
            format: Format {
                file_system,
                container: Container::Disk,
            },
            root: root.map(|(tree, _)| tree),
            usr: usr.map(|(tree, _)| tree),
        })
    }

    /// How the image is made.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What the release file for the entry `name` says (os-release(5), "extension-release").
    ///
    /// # Errors
    /// The image's.
    pub fn release(&mut self, kind: ExtensionKind, name: &str) -> Result<Release, ImageError> {
        self.source.grant(0);
        let directory = match kind {
            ExtensionKind::Sysext => "usr/lib/extension-release.d",
            ExtensionKind::Confext => "etc/extension-release.d",
        };
        let Some(directory) = self.resolve(directory)? else {
            return Ok(Release::None);
        };
        if self
            .at(&directory)?
            .is_none_or(|stat| stat.kind != Kind::Directory)
        {
            return Ok(Release::None);
        }
        let file = format!("{directory}/{RELEASE_PREFIX}{name}");
        if !name.contains('/')
            && let Some(file) = self.resolve(&file)?
            && let Some(stat) = self.at(&file)?
            && stat.kind == Kind::File
        {
            return self.fields(&file, stat.size);
        }
        let names = self.listed(&directory, ENTRIES)?.into_iter();
        let mut names: Vec<String> = names
            .filter_map(|(name, _)| Some(name.strip_prefix(RELEASE_PREFIX)?.to_owned()))
            .collect();
        names.sort();
        if names.is_empty() {
            return Ok(Release::None);
        }
        match self.loose(&directory, &names)? {
            Some((file, size)) => self.fields(&file, size),
            None => Ok(Release::Named(names)),
        }
    }

    /// The one release file that counts whatever its image is called, by its attribute `user.extension-release.strict`
    /// (systemd-sysext(8)). Two of them are none: 257 and 262 agree in that.
    fn loose(
        &mut self,
        directory: &str,
        names: &[String],
    ) -> Result<Option<(String, u64)>, ImageError> {
        let mut loose = None;
        for name in names {
            let file = format!("{directory}/{RELEASE_PREFIX}{name}");
            let Some(stat) = self.at(&file)?.filter(|stat| stat.kind == Kind::File) else {
                continue;
            };
            let (tree, inner) = self.tree(&file).ok_or_else(gone)?;
            let strict = tree.user_attribute(inner, "extension-release.strict")?;
            if !strict.is_some_and(|value| is_false(&value)) {
                continue;
            }
            if loose.is_some() {
                return Ok(None);
            }
            loose = Some((file, stat.size));
        }
        Ok(loose)
    }

    fn fields(&mut self, file: &str, size: u64) -> Result<Release, ImageError> {
        let bytes = self.content(file, size, RELEASE_LIMIT)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(Release::Fields(parse_environment(&text)))
    }

    /// The unit files and what lies in the directories beside them (drop-ins, `.wants`), by path.
    ///
    /// # Errors
    /// [`ImageError::Opaque`] when there are more than 4096, or more than 4 MiB of them.
    pub fn units(&mut self) -> Result<BTreeMap<String, Unit>, ImageError> {
        self.source.grant(0);
        let mut units = BTreeMap::new();
        let mut room = UNIT_BYTES;
        for top in ["usr/lib/systemd/system", "etc/systemd/system"] {
            let mut directories = vec![top.to_owned()];
            while let Some(shown) = directories.pop() {
                let Some(actual) = self.resolve(&shown)? else {
                    continue;
                };
                if self
                    .at(&actual)?
                    .is_none_or(|stat| stat.kind != Kind::Directory)
                {
                    continue;
                }
                for (name, kind) in self.listed(&actual, UNITS)? {
                    let path = format!("{shown}/{name}");
                    let place = format!("{actual}/{name}");
                    let unit = match kind {
                        // One level: systemd looks no deeper.
                        Kind::Directory if shown == top => {
                            directories.push(path);
                            continue;
                        }
                        Kind::File => {
                            // What a directory says of its entries need not be so.
                            let Some(stat) =
                                self.at(&place)?.filter(|stat| stat.kind == Kind::File)
                            else {
                                continue;
                            };
                            let bytes = self.content(&place, stat.size, room)?;
                            room -= bytes.len() as u64;
                            Unit::File(bytes)
                        }
                        Kind::Link => Unit::Link(self.link(&place)?),
                        Kind::Directory | Kind::Other => continue,
                    };
                    units.insert(path, unit);
                    if units.len() > UNITS {
                        return Err(ImageError::opaque(format!(
                            "an image with more than {UNITS} unit files"
                        )));
                    }
                }
            }
        }
        Ok(units)
    }

    /// What stands at `path`, behind symlinks; `None` when nothing does.
    ///
    /// # Errors
    /// The image's.
    pub fn stat(&mut self, path: &str) -> Result<Option<Stat>, ImageError> {
        self.source.grant(0);
        match self.resolve(path)? {
            Some(path) => self.at(&path),
            None => Ok(None),
        }
    }

    /// The names in the directory at `path` and what they stand for, themselves; `None` when there is no directory.
    ///
    /// # Errors
    /// [`ImageError::Opaque`] when there are more than 16384.
    pub fn entries(&mut self, path: &str) -> Result<Option<Vec<(String, Kind)>>, ImageError> {
        self.source.grant(0);
        let Some(path) = self.resolve(path)? else {
            return Ok(None);
        };
        if self
            .at(&path)?
            .is_none_or(|stat| stat.kind != Kind::Directory)
        {
            return Ok(None);
        }
        let mut entries = self.listed(&path, ENTRIES)?;
        entries.sort();
        Ok(Some(entries))
    }

    /// Streams the regular file at `path` and says how many bytes it has; `None` when there is no such file.
    ///
    /// # Errors
    /// [`ImageError::Opaque`] for a file that claims to be much larger than its image could hold;
    /// [`ImageError::Write`] when the writer fails.
    pub fn copy(&mut self, path: &str, writer: &mut impl Write) -> Result<Option<u64>, ImageError> {
        self.source.grant(0);
        let Some(path) = self.resolve(path)? else {
            return Ok(None);
        };
        let Some(stat) = self.at(&path)?.filter(|stat| stat.kind == Kind::File) else {
            return Ok(None);
        };
        let most = self.source.length().saturating_mul(EXPANSION);
        if stat.size > most.clamp(FILE_FLOOR, FILE_LIMIT) {
            return Err(ImageError::opaque(format!(
                "a file of {} bytes in an image of {}",
                stat.size,
                self.source.length()
            )));
        }
        // Read, decoded and handed on.
        self.source.grant(stat.size.saturating_mul(4));
        let mut length = 0;
        let (tree, inner) = self.tree(&path).ok_or_else(gone)?;
        tree.copy(inner, &mut |piece| {
            length += piece.len() as u64;
            writer.write_all(piece).map_err(ImageError::Write)
        })?;
        Ok(Some(length))
    }

    /// The SHA-256 digest of the regular file at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// Those of [`Self::copy`].
    pub fn digest(&mut self, path: &str) -> Result<Option<Sha256>, ImageError> {
        let mut hash = sha2::Sha256::new();
        let mut sink = Hash(&mut hash);
        let found = self.copy(path, &mut sink)?;
        Ok(found.map(|_| Sha256(hash.finalize().into())))
    }

    // ---- names ----

    /// The path without symlinks and dots that `path` leads to, without a slash at its start; `None` when it leads
    /// nowhere. `..` ends at the image's root, as in a chroot.
    fn resolve(&mut self, path: &str) -> Result<Option<String>, ImageError> {
        let mut ahead: VecDeque<String> = names(path);
        let mut behind: Vec<String> = Vec::new();
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = ahead.pop_front() {
            steps += 1;
            if steps > STEPS {
                return Ok(None);
            }
            if name == ".." {
                behind.pop();
                continue;
            }
            behind.push(name);
            let here = behind.join("/");
            match self.at(&here)?.map(|stat| stat.kind) {
                Some(Kind::Directory) => {}
                Some(Kind::Link) => {
                    links += 1;
                    if links > LINKS {
                        return Ok(None);
                    }
                    let text = self.link(&here)?;
                    behind.pop();
                    if text.starts_with('/') {
                        behind.clear();
                    }
                    for name in names(&text).into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
                Some(_) if ahead.is_empty() => {}
                Some(_) | None => return Ok(None),
            }
        }
        Ok(Some(behind.join("/")))
    }

    /// The tree that a resolved path belongs to, and the path within it.
    fn tree<'a>(&mut self, path: &'a str) -> Option<(&mut (dyn Tree + 'static), &'a str)> {
        let below = path.strip_prefix("usr");
        match (&mut self.usr, below) {
            (Some(usr), Some("")) => Some((usr.as_mut(), "")),
            (Some(usr), Some(rest)) if rest.starts_with('/') => Some((usr.as_mut(), &rest[1..])),
            _ => self.root.as_mut().map(|root| (root.as_mut(), path)),
        }
    }

    /// What stands at a path whose directory is resolved.
    fn at(&mut self, path: &str) -> Result<Option<Stat>, ImageError> {
        match self.tree(path) {
            Some((tree, inner)) => tree.stat(inner),
            // There is a usr partition only.
            None if path.is_empty() => Ok(Some(Stat {
                size: 0,
                mtime: 0,
                kind: Kind::Directory,
            })),
            None => Ok(None),
        }
    }

    fn listed(&mut self, path: &str, most: usize) -> Result<Vec<(String, Kind)>, ImageError> {
        let mut found = Vec::new();
        let mut whole = true;
        if let Some((tree, inner)) = self.tree(path) {
            tree.list(inner, &mut |name, kind| {
                if found.len() == most {
                    whole = false;
                    return ControlFlow::Break(());
                }
                found.push((String::from_utf8_lossy(name).into_owned(), kind));
                ControlFlow::Continue(())
            })?;
        }
        if !whole {
            return Err(ImageError::opaque(format!(
                "an image with more than {most} names in '{path}'"
            )));
        }
        if path.is_empty() && self.usr.is_some() && found.iter().all(|(name, _)| name != "usr") {
            found.push(("usr".to_owned(), Kind::Directory));
        }
        Ok(found)
    }

    fn link(&mut self, path: &str) -> Result<String, ImageError> {
        let (tree, inner) = self.tree(path).ok_or_else(gone)?;
        let text = tree.target(inner)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A whole file, which has to be small.
    fn content(&mut self, path: &str, size: u64, limit: u64) -> Result<Vec<u8>, ImageError> {
        if size > limit {
            return Err(ImageError::opaque(format!(
                "an image whose '{path}' has {size} bytes"
            )));
        }
        let mut bytes = Vec::new();
        let (tree, inner) = self.tree(path).ok_or_else(gone)?;
        tree.copy(inner, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Recognises a file system by its superblock and opens it.
fn open(source: &Source) -> Result<(Box<dyn Tree>, FileSystem), ImageError> {
    if has(source, 0, b"hsqs")? {
        let tree = squashfs::Squashfs::open(source)?;
        return Ok((Box::new(tree), FileSystem::Squashfs));
    }
    for (at, magic, what) in OPAQUE {
        if has(source, *at, magic)? {
            return Err(ImageError::opaque(*what));
        }
    }
    if has(source, 1024, &0xe0f5_e1e2_u32.to_le_bytes())? {
        let tree = erofs::Erofs::open(source)?;
        return Ok((Box::new(tree), FileSystem::Erofs));
    }
    if has(source, 1080, &0xef53_u16.to_le_bytes())? {
        let tree = ext4::Ext::open(source)?;
        return Ok((Box::new(tree), FileSystem::Ext4));
    }
    Err(ImageError::opaque("what is no image of a known kind"))
}

fn has(source: &Source, at: u64, magic: &[u8]) -> Result<bool, ImageError> {
    if source.length() < at + magic.len() as u64 {
        return Ok(false);
    }
    let mut bytes = [0; 8];
    let bytes = &mut bytes[..magic.len().min(8)];
    source.read(at, bytes)?;
    Ok(bytes == magic)
}

/// Whether a value means "no" (systemd.syntax(7)).
fn is_false(value: &[u8]) -> bool {
    ["0", "no", "n", "false", "f", "off"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// The names of a path, without empty ones and dots.
fn names(path: &str) -> VecDeque<String> {
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    names.map(str::to_owned).collect()
}

fn gone() -> ImageError {
    ImageError::damaged("disk", "a name is in no partition")
}

/// Feeds what is written into a digest.
struct Hash<'a>(&'a mut sha2::Sha256);

impl Write for Hash<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where, by which bytes (eight at most), and what it is that cannot be looked into.
const OPAQUE: &[(u64, &[u8], &str)] = &[
    (0, b"sqsh", "a squashfs of the other byte order"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (0, b"XFSB", "an XFS file system"),
    (0x1_0040, b"_BHRfS_M", "a btrfs file system"),
];

/// How the name of a release file begins.
const RELEASE_PREFIX: &str = "extension-release.";

/// Release files have some hundred bytes.
const RELEASE_LIMIT: u64 = 64 << 10;

/// How many unit files are looked at, and how many bytes they have together.
const UNITS: usize = 4096;
const UNIT_BYTES: u64 = 4 << 20;

/// How many names of a directory are listed.
const ENTRIES: usize = 16 << 10;

/// Symlinks followed, and names passed, on the way along one path.
const LINKS: usize = 16;
const STEPS: usize = 256;

/// A file may be so many times as large as its image, within these bounds: more is a claim, not content.
const EXPANSION: u64 = 256;
const FILE_FLOOR: u64 = 16 << 20;
const FILE_LIMIT: u64 = 16 << 30;
