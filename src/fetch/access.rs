//! How a source is reached: its mirrors, and what is shown to be let in.
//!
//! Owns the secrets, and the rule where they may go: to the scheme, host and port of the source itself, nowhere else.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use rustix::fs::{Mode, OFlags};

use super::FetchError;

/// What a definition says about reaching its source, beside the address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Other addresses with the same files below them, in the order in which they are tried.
    pub mirrors: Vec<String>,
    /// Headers of each request.
    pub headers: Vec<(String, String)>,
    /// What lets us in.
    pub credential: Option<Credential>,
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// In a file that was passed to us for this run.
    Passed(PathBuf),
    /// In a file of this host, which nobody else may be able to read.
    Private(PathBuf),
    /// Under this name in a directory that was not passed to us.
    Absent(String),
    /// In the definition's URL.
    Login {
        /// The name.
        user: String,
        /// The secret.
        password: String,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passed(path) | Self::Private(path) => path.fmt(formatter),
            Self::Absent(name) => name.fmt(formatter),
            Self::Login { .. } => formatter.write_str("Login"),
        }
    }
}

impl Access {
    /// The headers that show who asks.
    ///
    /// # Errors
    /// [`FetchError::Credential`] when the secret cannot be read, or must not be used.
    pub(super) fn headers(&self) -> Result<HeaderMap, FetchError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let parsed = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            );
            let (Ok(name), Ok(mut value)) = parsed else {
                return Err(refused(name, "it cannot stand in a request"));
            };
            value.set_sensitive(true);
            map.append(name, value);
        }
        let Some(credential) = &self.credential else {
            return Ok(map);
        };
        let (name, text) = match credential {
            Credential::Login { user, password } => {
                (user.clone(), basic(&format!("{user}:{password}")))
            }
            Credential::Absent(name) => {
                return Err(refused(
                    name,
                    "no credentials were passed ($CREDENTIALS_DIRECTORY is not set)",
                ));
            }
            Credential::Passed(path) => (path.display().to_string(), read(path, Audience::Any)?),
            Credential::Private(path) => (path.display().to_string(), read(path, Audience::Owner)?),
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| refused(&name, "it holds more than one line of plain text"))?;
        value.set_sensitive(true);
        map.insert(AUTHORIZATION, value);
        Ok(map)
    }
}

/// Who may be able to read a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Whoever passed it has seen to that.
    Any,
    /// Its owner, who is us or root.
    Owner,
}

/// What a file with a secret comes to: `user:password`, or a token.
fn read(path: &Path, audience: Audience) -> Result<String, FetchError> {
    let name = path.display().to_string();
    let failed = |cause: String| FetchError::Credential {
        name: name.clone(),
        cause,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| failed(std::io::Error::from(error).to_string()))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("not a regular file".to_owned()));
    }
    let own = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
    if audience == Audience::Owner && (metadata.mode() & 0o077 != 0 || !own) {
        return Err(failed(
            "others can read it: its mode must be 0600".to_owned(),
        ));
    }
    let mut text = String::new();
    file.take(LARGEST_SECRET)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.to_string()))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    Ok(if secret.contains(':') {
        basic(secret)
    } else {
        format!("Bearer {secret}")
    })
}

fn refused(name: &str, cause: &str) -> FetchError {
    FetchError::Credential {
        name: name.to_owned(),
        cause: cause.to_owned(),
    }
}

/// RFC 7617 section 2.
fn basic(login: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for chunk in login.as_bytes().chunks(3) {
        let mut bytes = [0; 3];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index > chunk.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}

/// Longer secrets are none, in bytes.
const LARGEST_SECRET: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn logins_are_encoded_as_the_standard_says() {
        // RFC 7617 section 2, RFC 4648 section 10.
        let table = [
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("", ""),
        ];
        for (login, wanted) in table {
            assert_eq!(basic(login), format!("Basic {wanted}"), "{login}");
        }
    }

    fn authorization(credential: Credential) -> Result<String, FetchError> {
        let access = Access {
            credential: Some(credential),
            ..Access::default()
        };
        let headers = access.headers()?;
        let value = headers.get(AUTHORIZATION).expect("a header");
        assert!(value.is_sensitive());
        Ok(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    #[test]
    fn a_secret_is_a_login_or_a_token_and_private() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_path_buf();
        let private = || Credential::Private(path.clone());
        for (content, wanted) in [
            ("token\n", Some("Bearer token")),
            ("a:b", Some("Basic YTpi")),
            ("", None),
            ("two\nlines", None),
        ] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(
                authorization(private()).ok().as_deref(),
                wanted,
                "{content:?}"
            );
        }
        std::fs::write(&path, "token").expect("written");
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(authorization(private()).is_ok(), accepted, "{mode:o}");
            assert!(
                authorization(Credential::Passed(path.clone())).is_ok(),
                "{mode:o}"
            );
        }
        for missing in [
            Credential::Absent("x".to_owned()),
            Credential::Private("/nonexistent".into()),
            Credential::Private("/".into()),
        ] {
            let error = authorization(missing).expect_err("missing");
            assert!(matches!(error, FetchError::Credential { .. }), "{error}");
        }
    }

    #[test]
    fn no_secret_is_in_what_is_printed_for_debugging() {
        let credential = Credential::Login {
            user: "u".to_owned(),
            password: "hunter2".to_owned(),
        };
        let access = Access {
            credential: Some(credential),
            headers: vec![("x-key".to_owned(), "hunter3".to_owned())],
            ..Access::default()
        };
        assert!(!format!("{:?}", access.credential).contains("hunter2"));
        assert!(!format!("{:?}", access.headers().expect("they parse")).contains("hunter"));
    }
}
