//! Where a current symlink points.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::definition::transfer::{Place, Target};
use crate::root::Root;

/// A current symlink as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The inner path of the link, symlinks above it resolved as far as its directory exists.
    pub path: PathBuf,
    /// What it is now.
    pub state: LinkState,
}

/// What stands where the link belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Nothing.
    Missing,
    /// A link whose target does not exist.
    Dangling,
    /// A link that resolves to this inner path.
    To(PathBuf),
    /// Something that is no symlink.
    Occupied,
    /// A link to `/dev/null`: somebody has switched the artifact off, as one masks a unit.
    Masked,
}

/// The link's place could not be examined.
#[derive(Debug, thiserror::Error)]
#[error("cannot examine the current symlink '{}'", path.display())]
pub struct LinkError {
    path: PathBuf,
    source: io::Error,
}

/// Looks at the current symlink of a target, `None` when it has none.
///
/// # Errors
/// When the kernel refuses the look for another reason than absence.
pub fn examine(root: &Root, target: Target<'_>) -> Result<Option<Link>, LinkError> {
    let Some(written) = target.link() else {
        return Ok(None);
    };
    let failed = |source| LinkError {
        path: root.outer(&written),
        source,
    };
    let absent = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    };
    let path = match (written.parent(), written.file_name()) {
        (Some(parent), Some(name)) => root
            .canonicalize(parent)
            .map_or_else(|_| written.clone(), |parent| parent.join(name)),
        _ => written.clone(),
    };
    let state = match root.read_link(&path) {
        Err(error) if absent(&error) => LinkState::Missing,
        Err(error) => return Err(failed(error)),
        Ok(None) => LinkState::Occupied,
        Ok(Some(text)) if text == Path::new("/dev/null") => LinkState::Masked,
        // Partitions are known by their nodes, also where (in an image file) there are none.
        Ok(Some(text)) if matches!(target.place, Place::Slots(_)) => {
            LinkState::To(lexical(&path, &text))
        }
        Ok(Some(_)) => match root.canonicalize(&path) {
            Ok(destination) => LinkState::To(destination),
            Err(error)
                if absent(&error)
                    || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) =>
            {
                LinkState::Dangling
            }
            Err(error) => return Err(failed(error)),
        },
    };
    Ok(Some(Link { path, state }))
}

/// Where a link's text leads if nothing on the way is a link.
fn lexical(link: &Path, text: &Path) -> PathBuf {
    let mut path = link.parent().unwrap_or(Path::new("/")).to_path_buf();
    for component in text.components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::RootDir => path = PathBuf::from("/"),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// The text of a link at `link` that leads to `target`: relative, so that it holds in any root.
#[must_use]
pub fn text(link: &Path, target: &Path) -> PathBuf {
    let from: Vec<Component<'_>> = link
        .parent()
        .unwrap_or(Path::new("/"))
        .components()
        .collect();
    let to: Vec<Component<'_>> = target.components().collect();
    let shared = from
        .iter()
        .zip(&to)
        .take_while(|(left, right)| left == right)
        .count();
    let mut text = PathBuf::new();
    for _ in shared..from.len() {
        text.push("..");
    }
    text.extend(&to[shared..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_relative_to_the_directory_of_the_link() {
        for (link, target, expected) in [
            ("/srv/t/app.raw", "/srv/t/app_1.raw", "app_1.raw"),
            ("/srv/t/cur/x.raw", "/srv/t/app_1.raw", "../app_1.raw"),
            (
                "/etc/extensions/x.raw",
                "/opt/ext/x_1.raw",
                "../../opt/ext/x_1.raw",
            ),
            ("/a.bin", "/srv/sub-1/a.bin", "srv/sub-1/a.bin"),
        ] {
            assert_eq!(
                text(Path::new(link), Path::new(target)),
                Path::new(expected),
                "{link} -> {target}"
            );
        }
    }
}
