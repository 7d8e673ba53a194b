//! How results and talk look: tables and JSON from the same values, progress on stderr.

pub(crate) mod frontend;
pub(crate) mod glyphs;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;

use std::borrow::Cow;
use std::io::{self, Write as _};

/// Writes data to stdout. A reader that has gone away ends the output quietly.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Asks on the terminal, and waits for a line.
pub(crate) fn ask(question: &str) -> io::Result<String> {
    io::stderr().write_all(question.as_bytes())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer)
}

/// Writes a line of talk to stderr. There is nobody to tell when that fails.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// The text without what could steer a terminal: names from manifests and servers are part of what is printed.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    // Marks of direction let a name look like another one (Unicode Standard Annex 9).
    let turns = |sign: char| matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |sign: char| (sign.is_control() && sign != '\n' && sign != '\t') || turns(sign);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let escaped = |sign: char| {
        if steers(sign) {
            sign.escape_default().to_string()
        } else {
            sign.to_string()
        }
    };
    Cow::Owned(text.chars().map(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_lines_stay() {
        assert_eq!(
            printable("a\u{1b}[31m\u{9b}b\nc\té\u{202e}war"),
            "a\\u{1b}[31m\\u{9b}b\nc\té\\u{202e}war"
        );
    }
}
