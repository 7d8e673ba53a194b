//! The note that a reboot is required, for kured and its like.

use std::io;
use std::path::Path;

use crate::root::Root;
use crate::storage::atomic;

use super::ActivateError;

/// The file whose existence asks for a reboot (an invention of Debian's, honoured by kured and others).
pub const REBOOT_REQUIRED: &str = "/run/reboot-required";

/// Adds the reasons to `/run/reboot-required`, one line each, none twice; lines of others stay. Without reasons it
/// does nothing.
///
/// # Errors
/// When the file cannot be read or written.
pub fn require_reboot(root: &Root, reasons: &[String]) -> Result<(), ActivateError> {
    if reasons.is_empty() {
        return Ok(());
    }
    let note = Path::new(REBOOT_REQUIRED);
    let before = match root.read(note, NOTE_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        // The file asks for the reboot already; there is only no room for another reason.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(()),
        Err(source) => {
            return Err(ActivateError::ReadReboot {
                path: root.outer(note),
                source,
            });
        }
    };
    let after = with_reasons(&before, reasons);
    if after == before {
        return Ok(());
    }
    atomic::write(root, note, &after, 0o644).map_err(|source| ActivateError::WriteReboot {
        path: root.outer(note),
        source,
    })
}

/// The note's lines and those reasons that are not among them.
fn with_reasons(before: &[u8], reasons: &[String]) -> Vec<u8> {
    let mut note = before.to_vec();
    if !note.is_empty() && !note.ends_with(b"\n") {
        note.push(b'\n');
    }
    for reason in reasons {
        // One line each, whatever a name contains.
        let line = reason.replace(|sign: char| sign.is_control(), " ");
        if !note
            .split(|byte| *byte == b'\n')
            .any(|known| known == line.as_bytes())
        {
            note.extend_from_slice(line.as_bytes());
            note.push(b'\n');
        }
    }
    note
}

/// Bytes of the note: a reason is a hundred at most.
const NOTE_LIMIT: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(note: Option<&[u8]>) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let run = directory.path().join("run");
        std::fs::create_dir(&run).expect("a fresh directory");
        if let Some(bytes) = note {
            crate::storage::atomic::write(
                &Root::open(directory.path()).expect("a root"),
                Path::new(REBOOT_REQUIRED),
                bytes,
                0o644,
            )
            .expect("a fresh file");
        }
        let root = Root::open(directory.path()).expect("a root");
        (directory, root)
    }

    fn reasons(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    /// The note before, the reasons, the note after.
    type Case = (
        Option<&'static [u8]>,
        &'static [&'static str],
        Option<&'static [u8]>,
    );

    #[test]
    fn reasons_are_added_once_and_the_lines_of_others_stay() {
        let cases: [Case; 8] = [
            (None, &["a 1", "b 2", "a 1"], Some(b"a 1\nb 2\n")),
            (None, &[], None),
            (Some(b""), &["a 1"], Some(b"a 1\n")),
            (Some(b"a 1\n"), &["a 1"], Some(b"a 1\n")),
            (
                Some(b"*** restart required ***\n"),
                &["a 1"],
                Some(b"*** restart required ***\na 1\n"),
            ),
            (Some(b"no newline"), &["a 1"], Some(b"no newline\na 1\n")),
            (Some(b"a 10\n\xff\n"), &["a 1"], Some(b"a 10\n\xff\na 1\n")),
            (None, &["a\n1\u{1b}"], Some(b"a 1 \n")),
        ];
        for (before, more, after) in cases {
            let (_directory, root) = root_with(before);
            require_reboot(&root, &reasons(more)).expect("it can be written");
            let found = root.read(Path::new(REBOOT_REQUIRED), 1000).ok();
            assert_eq!(found.as_deref(), after, "{before:?} {more:?}");
        }
    }

    #[test]
    fn a_full_note_stays_as_it_is() {
        let full = b"x\n".repeat(40_000);
        let (_directory, root) = root_with(Some(&full));
        require_reboot(&root, &reasons(&["a 1"])).expect("the note is there");
        assert_eq!(
            root.read(Path::new(REBOOT_REQUIRED), 1_000_000)
                .expect("it is there"),
            full
        );
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let (directory, root) = root_with(None);
        std::fs::create_dir(directory.path().join("run/reboot-required"))
            .expect("a fresh directory");
        let error =
            require_reboot(&root, &reasons(&["a 1"])).expect_err("a directory cannot be read");
        assert!(matches!(error, ActivateError::ReadReboot { .. }), "{error}");
    }
}
