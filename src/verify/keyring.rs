//! Where the trusted `OpenPGP` keys of this host are kept (compat B7.3).
//!
//! Owns the search; what the files say is [`super::openpgp`]'s. Keyrings are only read.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::openpgp::{Keyring, KeyringParseError};
use crate::root::Root;

/// The keyrings that are looked for, in this order.
pub const PATHS: [&str; 3] = [
    "/etc/systemd/import-pubring.pgp",
    "/etc/systemd/import-pubring.gpg",
    "/usr/lib/systemd/import-pubring.pgp",
];

/// The largest keyring that is read, in bytes; the usual ones have some 50 KiB.
pub const KEYRING_LIMIT: u64 = 32 << 20;

/// Why there are no keys to verify with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The named keyring is a relative path, or one with `.`, `..` or double slashes.
    #[error("$SYSTEMD_OPENPGP_KEYRING must be an absolute, normalized path, got '{}'.", .path.display())]
    NotNormalized {
        /// What was named.
        path: PathBuf,
    },
    /// The named keyring cannot be read.
    #[error("Failed to copy keyring '{}': {}", .path.display(), said(.cause))]
    Named {
        /// What was named.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A keyring of the host exists but cannot be read.
    #[error("cannot read keyring '{}': {}", .path.display(), said(.cause))]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A keyring holds something else.
    #[error("cannot use keyring '{}': {cause}", .path.display())]
    Parse {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: KeyringParseError,
    },
    /// There is none.
    #[error("No OpenPGP keyrings found, checked '{}', '{}', and '{}'.", .checked[0].display(), .checked[1].display(), .checked[2].display())]
    NoneFound {
        /// Where it was looked for.
        checked: [PathBuf; 3],
    },
}

/// Loads the trusted keys: of the keyring that is named, alone; else those of `/etc` (the first that exists of
/// [`PATHS`]' two) together with the vendor's. Always the running host's files, also with `--root=`.
///
/// # Errors
/// When there is none, or one cannot be read or is damaged, even if another is good.
pub fn load(named: Option<&Path>) -> Result<Keyring, KeyringError> {
    load_from(named, PATHS.map(PathBuf::from))
}

fn load_from(named: Option<&Path>, paths: [PathBuf; 3]) -> Result<Keyring, KeyringError> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        if !is_normalized(path) {
            return Err(KeyringError::NotNormalized {
                path: path.to_owned(),
            });
        }
        let bytes = read(path).map_err(|cause| KeyringError::Named {
            path: path.to_owned(),
            cause,
        })?;
        return parse(path, &bytes);
    }
    let [first, second, vendor] = &paths;
    let local = match read_existing(first)? {
        None => read_existing(second)?.map(|bytes| (second, bytes)),
        Some(bytes) => Some((first, bytes)),
    };
    let vendor = read_existing(vendor)?.map(|bytes| (vendor, bytes));
    if local.is_none() && vendor.is_none() {
        return Err(KeyringError::NoneFound { checked: paths });
    }
    let mut keyring = Keyring::default();
    for (path, bytes) in local.into_iter().chain(vendor) {
        keyring.extend(parse(path, &bytes)?);
    }
    Ok(keyring)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Keyring, KeyringError> {
    Keyring::parse(bytes).map_err(|cause| KeyringError::Parse {
        path: path.to_owned(),
        cause,
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    Root::host().read(path, KEYRING_LIMIT)
}

fn read_existing(path: &Path) -> Result<Option<Vec<u8>>, KeyringError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(KeyringError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// What the original calls normalized: absolute, no `.`, no `..`, no doubled or trailing slash.
fn is_normalized(path: &Path) -> bool {
    let rebuilt: PathBuf = path.components().collect();
    path.is_absolute()
        && rebuilt.as_os_str() == path.as_os_str()
        && !path
            .components()
            .any(|component| matches!(component, Component::ParentDir | Component::CurDir))
}

/// The kernel's words without the error number, as the original prints them.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        directory: tempfile::TempDir,
    }

    impl Host {
        fn new(files: &[(&str, &[u8])]) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            for (name, bytes) in files {
                std::fs::write(directory.path().join(name), bytes).expect("written");
            }
            Self { directory }
        }

        fn load(&self, named: Option<&Path>) -> Result<Keyring, KeyringError> {
            load_from(
                named,
                ["etc.pgp", "etc.gpg", "usr.pgp"].map(|name| self.directory.path().join(name)),
            )
        }
    }

    #[test]
    fn no_keyring_at_all_names_all_three_places() {
        let error = load_from(
            None,
            PATHS.map(|path| PathBuf::from(format!("/nonexistent{path}"))),
        );
        assert_eq!(
            error.expect_err("none").to_string(),
            "No OpenPGP keyrings found, checked '/nonexistent/etc/systemd/import-pubring.pgp', \
             '/nonexistent/etc/systemd/import-pubring.gpg', and '/nonexistent/usr/lib/systemd/import-pubring.pgp'."
        );
    }

    #[test]
    fn the_second_keyring_of_etc_counts_only_without_the_first() {
        let first_wins = Host::new(&[("etc.pgp", b""), ("etc.gpg", b"garbage")]);
        assert!(first_wins.load(None).is_ok());
        let second = Host::new(&[("etc.gpg", b"garbage")]);
        assert!(
            matches!(second.load(None), Err(KeyringError::Parse { path, .. }) if path.ends_with("etc.gpg"))
        );
    }

    #[test]
    fn a_damaged_keyring_is_an_error_even_beside_a_good_one() {
        let host = Host::new(&[
            ("etc.pgp", b""),
            ("usr.pgp", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
        ]);
        let error = host.load(None).expect_err("armoured").to_string();
        assert!(
            error.contains("usr.pgp") && error.contains("gpg --dearmor"),
            "{error}"
        );
    }

    #[test]
    fn a_named_keyring_is_the_only_one() {
        let host = Host::new(&[("etc.pgp", b"garbage"), ("named", b"")]);
        assert!(
            host.load(Some(&host.directory.path().join("named")))
                .is_ok()
        );
        assert!(
            host.load(Some(Path::new(""))).is_err(),
            "an empty name is none"
        );

        let error = host
            .load(Some(Path::new("/nonexistent/k")))
            .expect_err("missing")
            .to_string();
        assert_eq!(
            error,
            "Failed to copy keyring '/nonexistent/k': No such file or directory"
        );
        for path in ["k", "./k", "/a/../k", "/a/./k", "/a//k", "/k/"] {
            let error = host
                .load(Some(Path::new(path)))
                .expect_err(path)
                .to_string();
            let wanted = format!(
                "$SYSTEMD_OPENPGP_KEYRING must be an absolute, normalized path, got '{path}'."
            );
            assert_eq!(error, wanted);
        }
    }

    #[test]
    fn a_keyring_that_is_a_directory_or_too_large_is_refused() {
        let host = Host::new(&[]);
        std::fs::create_dir(host.directory.path().join("etc.pgp")).expect("a directory");
        assert!(matches!(host.load(None), Err(KeyringError::Read { .. })));

        let host = Host::new(&[("etc.pgp", b"")]);
        let file = std::fs::File::options()
            .write(true)
            .open(host.directory.path().join("etc.pgp"));
        file.and_then(|file| file.set_len(KEYRING_LIMIT + 1))
            .expect("made large");
        assert!(matches!(host.load(None), Err(KeyringError::Read { .. })));
    }
}
