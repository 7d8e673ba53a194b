//! Where the keys are kept that a definition names, and the usual ones of minisign.
//!
//! Owns the reading; what the files say is [`super::minisign`]'s and [`super::openpgp`]'s. Unlike the keyrings of systemd
//! ([`super::keyring`]) they lie below the root of the run: a definition and its keys come together.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::minisign::{self, PublicKeyError, PublicKeys};
use super::openpgp::{Keyring, KeyringParseError};
use crate::root::Root;

/// The largest `OpenPGP` keyring that is read, in bytes.
const KEYRING_LIMIT: u64 = super::keyring::KEYRING_LIMIT;

/// Why there are no keys to verify with. Paths are those of the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A file that is named cannot be read.
    #[error("cannot read the public key '{}'", .path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody can put a key of his own into a file.
    #[error("cannot trust the public key '{}': everybody can write to it", .path.display())]
    Writable {
        /// Its path.
        path: PathBuf,
    },
    /// A file holds no keys of minisign.
    #[error("cannot use the public key '{}'", .path.display())]
    Minisign {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: PublicKeyError,
    },
    /// A file holds no keys of `OpenPGP`.
    #[error("cannot use the keyring '{}'", .path.display())]
    OpenPgp {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: KeyringParseError,
    },
    /// None of the usual files exists.
    #[error("no public key found, looked for {}", quoted(.looked_for))]
    NoneFound {
        /// Where it was looked for.
        looked_for: Vec<PathBuf>,
    },
    /// More keys must have signed than are there.
    #[error("{threshold} keys must have signed, but only {found} distinct ones are in {}", quoted(.files))]
    TooFew {
        /// So many must.
        threshold: usize,
        /// So many are there.
        found: usize,
        /// Where.
        files: Vec<PathBuf>,
    },
}

/// Loads the minisign keys of all these files.
///
/// # Errors
/// When one cannot be read, or they hold fewer than `threshold` keys together.
pub fn minisign(root: &Root, files: &[PathBuf], threshold: usize) -> Result<PublicKeys, KeysError> {
    let mut keys = PublicKeys::default();
    for file in files {
        let path = root.outer(file);
        let bytes = read(root, file, minisign::SIZE_LIMIT as u64)?;
        PublicKeys::parse(&bytes)
            .and_then(|more| keys.extend(more))
            .map_err(|source| KeysError::Minisign { path, source })?;
    }
    if keys.len() < threshold {
        return Err(KeysError::TooFew {
            threshold,
            found: keys.len(),
            files: outer(root, files),
        });
    }
    Ok(keys)
}

/// Loads the minisign keys of the first of these files that exists.
///
/// # Errors
/// When there is none, or as [`minisign()`].
pub fn usual(root: &Root, files: &[PathBuf], threshold: usize) -> Result<PublicKeys, KeysError> {
    let exists = |file: &&PathBuf| {
        // One that cannot be looked at is not passed over: the reading says why.
        !matches!(root.stat(file), Err(error) if error.kind() == io::ErrorKind::NotFound)
    };
    match files.iter().find(exists) {
        Some(file) => minisign(root, std::slice::from_ref(file), threshold),
        None => Err(KeysError::NoneFound {
            looked_for: outer(root, files),
        }),
    }
}

/// Loads the `OpenPGP` keys of all these files.
///
/// # Errors
/// When one cannot be read, or they hold fewer than `threshold` keys together.
pub fn openpgp(root: &Root, files: &[PathBuf], threshold: usize) -> Result<Keyring, KeysError> {
    let mut keyring = Keyring::default();
    for file in files {
        let path = root.outer(file);
        let bytes = read(root, file, KEYRING_LIMIT)?;
        match Keyring::parse(&bytes) {
            Ok(more) => keyring.extend(more),
            Err(source) => return Err(KeysError::OpenPgp { path, source }),
        }
    }
    if keyring.len() < threshold {
        return Err(KeysError::TooFew {
            threshold,
            found: keyring.len(),
            files: outer(root, files),
        });
    }
    Ok(keyring)
}

/// Reads a file that only those may change who decide what is installed.
fn read(root: &Root, file: &Path, limit: u64) -> Result<Vec<u8>, KeysError> {
    let path = || root.outer(file);
    let failed = |source| KeysError::Read {
        path: path(),
        source,
    };
    let bytes = root.read(file, limit).map_err(failed)?;
    let mode = root.stat(file).map_err(failed)?.st_mode;
    if mode & Mode::WOTH.as_raw_mode() != 0 {
        return Err(KeysError::Writable { path: path() });
    }
    Ok(bytes)
}

fn outer(root: &Root, files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().map(|file| root.outer(file)).collect()
}

fn quoted(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|path: &PathBuf| format!("'{}'", Path::display(path)))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("written");
        }
        let root = Root::open(directory.path()).expect("it opens");
        (directory, root)
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn the_first_of_the_usual_files_counts_alone() {
        let (_directory, root) = root(&[("b", KEY), ("c", "garbage")]);
        assert_eq!(
            usual(&root, &paths(&["/a", "/b", "/c"]), 1)
                .map(|keys| keys.len())
                .ok(),
            Some(1)
        );
        let error = usual(&root, &paths(&["/a", "/c", "/b"]), 1).expect_err("garbage");
        assert!(matches!(error, KeysError::Minisign { path, .. } if path.ends_with("c")));
        let error = usual(&root, &paths(&["/x", "/y"]), 1).expect_err("none");
        let text = error.to_string();
        assert!(matches!(error, KeysError::NoneFound { .. }));
        assert!(text.contains("/x', '") && text.ends_with("/y'"), "{text}");
    }

    #[test]
    fn every_file_that_is_named_has_to_be_good() {
        let (_directory, root) = root(&[("a", KEY), ("bad", "x")]);
        assert!(matches!(
            minisign(&root, &paths(&["/a", "/absent"]), 1),
            Err(KeysError::Read { .. })
        ));
        assert!(matches!(
            minisign(&root, &paths(&["/a", "/bad"]), 1),
            Err(KeysError::Minisign { .. })
        ));
        assert!(matches!(
            minisign(&root, &paths(&["/"]), 1),
            Err(KeysError::Read { .. })
        ));
        assert!(matches!(
            openpgp(&root, &paths(&["/a"]), 1),
            Err(KeysError::OpenPgp { .. })
        ));
    }

    #[test]
    fn a_key_that_everybody_can_replace_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, root) = root(&[("a", KEY)]);
        for (mode, is_trusted) in [(0o644, true), (0o664, true), (0o646, false), (0o602, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.path().join("a"), permissions).expect("set");
            for keys in [
                minisign(&root, &paths(&["/a"]), 1),
                usual(&root, &paths(&["/a"]), 1),
            ] {
                match keys {
                    Ok(_) => assert!(is_trusted, "{mode:o}"),
                    Err(error) => {
                        assert!(!is_trusted, "{mode:o}");
                        assert!(matches!(error, KeysError::Writable { .. }), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_key_in_two_files_counts_once() {
        let (_directory, root) = root(&[("a", KEY), ("b", KEY)]);
        let error = minisign(&root, &paths(&["/a", "/b"]), 2).expect_err("one key");
        assert!(
            matches!(
                error,
                KeysError::TooFew {
                    threshold: 2,
                    found: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}
