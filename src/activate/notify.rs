//! Tells those who asked for it that an update is complete: one Varlink call to each socket in a directory (compat 3,
//! section 3.5), among them systemd's own refresh of extensions.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::event::{Event, Reporter, Severity};
use crate::root::Root;

const DIRECTORY: &str = "/run/systemd/sysupdate/notify";
/// How long a subscriber may take.
const LIMIT: Duration = Duration::from_secs(30);
/// An answer has some ten bytes.
const ANSWER: usize = 64 * 1024;

/// What was installed by one transfer.
#[derive(Debug, Serialize)]
pub struct Installed {
    /// The transfer's id.
    pub transfer: String,
    /// The file or directory.
    pub path: String,
}

#[derive(Serialize)]
struct Call<'a> {
    method: &'static str,
    parameters: Parameters<'a>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a str>,
    version: &'a str,
    resources: &'a [Installed],
}

/// Tells every subscriber, in the order of their names; who fails gets a word of warning, no more.
pub fn notify(
    root: &Root,
    component: Option<&str>,
    version: &str,
    resources: &[Installed],
    reporter: &dyn Reporter,
) {
    let Ok(directory) = root.directory(Path::new(DIRECTORY)) else {
        return;
    };
    let mut names: Vec<_> = directory
        .entries()
        .unwrap_or_default()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    let call = Call {
        method: "io.systemd.SysUpdate.Notify.OnCompletedUpdate",
        parameters: Parameters {
            component,
            version,
            resources,
        },
    };
    let mut message = serde_json::to_vec(&call).unwrap_or_default();
    message.push(0);
    for name in names {
        let path = root.outer(&directory.path().join(name));
        if let Err(why) = tell(&path, &message) {
            let text = format!(
                "Notification subscriber '{}' returned error, ignoring: {why}",
                path.display()
            );
            reporter.report(&Event::Message(Severity::Warning, text));
        }
    }
}

fn tell(path: &Path, message: &[u8]) -> Result<(), String> {
    let answer = exchange(path, message).map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Err(error.chars().filter(|sign| !sign.is_control()).collect()),
        None => Ok(()),
    }
}

/// One call and its answer, without the NUL byte at its end.
fn exchange(path: &Path, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(message)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..length]);
        if let Some(end) = answer.iter().position(|byte| *byte == 0) {
            answer.truncate(end);
            return Ok(answer);
        }
        if answer.len() > ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Talk(Mutex<Vec<String>>);

    impl Reporter for Talk {
        fn report(&self, event: &Event<'_>) {
            if let Event::Message(_, text) = event {
                self.0.lock().expect("unpoisoned").push(text.clone());
            }
        }
    }

    /// What each of the subscribers has heard, and what was said; each answers with its own text.
    fn told(answers: &[(&str, &'static [u8])]) -> (Vec<String>, Vec<String>) {
        let outer = tempfile::tempdir().expect("a directory");
        let place = outer.path().join("run/systemd/sysupdate/notify");
        std::fs::create_dir_all(&place).expect("created");
        let hearers: Vec<_> = answers
            .iter()
            .map(|(name, answer)| {
                let listener = UnixListener::bind(place.join(name)).expect("bound");
                let answer: &'static [u8] = answer;
                std::thread::spawn(move || {
                    let (mut stream, _) = listener.accept().expect("a call");
                    let mut heard = Vec::new();
                    let mut byte = [0];
                    while stream.read(&mut byte).expect("read") == 1 && byte[0] != 0 {
                        heard.push(byte[0]);
                    }
                    let _ = stream.write_all(answer);
                    String::from_utf8(heard).expect("text")
                })
            })
            .collect();
        let root = Root::open(outer.path()).expect("opened");
        let installed = [Installed {
            transfer: "1".to_owned(),
            path: "/srv/t/sub-1/a.bin".to_owned(),
        }];
        let talk = Talk::default();
        notify(&root, Some("app"), "1", &installed, &talk);
        let heard = hearers
            .into_iter()
            .map(|hearer| hearer.join().expect("it ends"))
            .collect();
        let said = talk.0.into_inner().expect("unpoisoned");
        let outer = outer.path().display().to_string();
        (
            heard,
            said.iter().map(|text| text.replace(&outer, "")).collect(),
        )
    }

    #[test]
    fn every_subscriber_is_told_and_none_can_make_it_fail() {
        let (heard, said) = told(&[
            ("a", b"{\"parameters\":{}}\0"),
            ("b", b"{\"error\":\"org.example.No\"}\0"),
            ("c", b"junk\0"),
            ("d", b""),
        ]);
        let call = "{\"method\":\"io.systemd.SysUpdate.Notify.OnCompletedUpdate\",\"parameters\":{\"component\":\"app\",\
                    \"version\":\"1\",\"resources\":[{\"transfer\":\"1\",\"path\":\"/srv/t/sub-1/a.bin\"}]}}";
        assert_eq!(heard, [call; 4]);
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(
            said[0],
            "Notification subscriber '/run/systemd/sysupdate/notify/b' returned error, ignoring: org.example.No"
        );
    }

    #[test]
    fn without_subscribers_nothing_happens() {
        assert_eq!(told(&[]), (vec![], vec![]));
    }
}
