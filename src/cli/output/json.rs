//! JSON as systemd's tools print it.

use std::fmt::Write as _;
use std::io;
use std::str::FromStr;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::cli::UsageError;

/// `--json=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonFormat {
    /// No JSON.
    Off,
    /// One line.
    Short,
    /// Indented with tabs.
    Pretty,
}

impl FromStr for JsonFormat {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<Self, UsageError> {
        match text {
            "off" => Ok(Self::Off),
            "short" => Ok(Self::Short),
            "pretty" => Ok(Self::Pretty),
            _ => Err(UsageError::new(format!(
                "Unknown argument to --json= switch: {text}"
            ))),
        }
    }
}

/// The text of a value and a line end.
pub(crate) fn text(format: JsonFormat, value: &impl Serialize) -> io::Result<String> {
    let mut bytes = Vec::new();
    match format {
        JsonFormat::Pretty => {
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut bytes,
                Pretty::default(),
            ))?;
        }
        JsonFormat::Short | JsonFormat::Off => {
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut bytes,
                CompactFormatter,
            ))?;
        }
    }
    bytes.push(b'\n');
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(quiet(text))
}

/// The same JSON without what could steer a terminal. The standard leaves some of it as it is (RFC 8259 section 7): only
/// texts hold such characters, where each has an escape.
fn quiet(text: String) -> String {
    let steers = |sign: char| matches!(sign, '\u{7f}'..='\u{9f}');
    if !text.contains(steers) {
        return text;
    }
    let mut quiet = String::with_capacity(text.len());
    for sign in text.chars() {
        if steers(sign) {
            // Writing to a string cannot fail.
            let _ = write!(quiet, "\\u{:04x}", u32::from(sign));
        } else {
            quiet.push(sign);
        }
    }
    quiet
}

/// Tabs, and a blank on both sides of the colon.
#[derive(Default)]
struct Pretty {
    depth: usize,
    filled: bool,
}

impl Pretty {
    fn line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"\t"))
    }

    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.line(writer)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.line(writer)?;
        }
        self.filled = true;
        writer.write_all(bracket)
    }
}

impl Formatter for Pretty {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_json_looks_like_that_of_systemd() {
        let value =
            serde_json::json!({"all": ["2", "1"], "current": null, "none": [], "nothing": {}});
        let expected = "{\n\t\"all\" : [\n\t\t\"2\",\n\t\t\"1\"\n\t],\n\t\"current\" : null,\n\t\"none\" : [],\n\t\"nothing\" : {}\n}\n";
        assert_eq!(text(JsonFormat::Pretty, &value).expect("text"), expected);
    }

    #[test]
    fn short_json_is_one_line() {
        let value = serde_json::json!({"available": null});
        assert_eq!(
            text(JsonFormat::Short, &value).expect("text"),
            "{\"available\":null}\n"
        );
    }

    #[test]
    fn what_steers_a_terminal_is_escaped_and_still_the_same() {
        let value = serde_json::json!({"n\u{9b}31m": "\u{1b}[0m \u{7f} é"});
        for format in [JsonFormat::Short, JsonFormat::Pretty] {
            let text = text(format, &value).expect("text");
            let bare = |sign: char| sign.is_control() && sign != '\n' && sign != '\t';
            assert!(!text.contains(bare), "{text:?}");
            let back: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(back, value);
        }
    }
}
