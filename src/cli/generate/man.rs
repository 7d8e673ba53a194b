//! The man pages: sysupdate(8) from the command line, sysupdate.toml(5) from the table of settings in the README and the
//! commented example of config.toml, so that nothing is said twice.

use std::fmt::Write as _;

use super::CommandOption;
use crate::cli::verb::ARGUMENTS;

const README: &str = include_str!("../../../README.md");
const CONFIG: &str = include_str!("../../../config.toml.example");

/// sysupdate(8).
pub(super) fn command(options: &[CommandOption]) -> String {
    let mut page = head(
        "SYSUPDATE",
        8,
        "sysupdate",
        "keeps versioned artifacts on this host current",
    );
    page.push_str(
        ".SH SYNOPSIS\n.B sysupdate\n[\\fIOPTION\\fR...] [\\fICOMMAND\\fR] [\\fIARGUMENT\\fR...]\n.SH DESCRIPTION\n",
    );
    for paragraph in [
        "Transfer definitions describe where versioned artifacts come from and where they go: system extension images first, \
         and any other file. The newest version that fits this system is downloaded and verified beside what runs, switched \
         to by moving a symlink, and activated: extensions are merged again, units reloaded and restarted, their health \
         checked. A version that fails goes back by itself.",
        "Definitions are read from /etc, /run, /usr/local/lib and /usr/lib: sysupdate/transfer.d/NAME.toml, see \
         sysupdate.toml(5), and the files of sysupdate.d(5), unchanged.",
    ] {
        let _ = writeln!(page, "{}\n.PP", escaped(paragraph));
    }
    page.push_str(".SH COMMANDS\n");
    for (name, arguments, _, help) in ARGUMENTS {
        item(&mut page, &format!("{name} {arguments}"), help);
    }
    page.push_str(".SH OPTIONS\n");
    for option in options {
        let short = option
            .short
            .map_or_else(String::new, |short| format!("-{short}, "));
        let value = option
            .value
            .as_ref()
            .map_or_else(String::new, |value| format!("={value}"));
        item(
            &mut page,
            &format!("{short}--{}{value}", option.long),
            &option.help,
        );
    }
    page.push_str(".SH EXIT STATUS\n");
    rows(&mut page, "## Exit codes");
    page.push_str(".SH ENVIRONMENT\n");
    rows(&mut page, "## Environment");
    page.push_str(".SH FILES\n");
    rows(&mut page, "## What is kept on disk");
    page.push_str(
        ".SH SEE ALSO\n.BR sysupdate.toml (5),\n.BR sysupdate.d (5),\n.BR systemd\\-sysext (8)\n",
    );
    page
}

/// sysupdate.toml(5).
pub(super) fn settings() -> String {
    let mut page = head(
        "SYSUPDATE.TOML",
        5,
        "sysupdate.toml",
        "definitions of versioned artifacts, and global settings",
    );
    page.push_str(".SH SYNOPSIS\n/etc/sysupdate/transfer.d/NAME.toml\n.br\n/etc/sysupdate/config.toml\n.SH DESCRIPTION\n");
    let text = "One file in transfer.d is one component; also below /run, /usr/local/lib and /usr/lib, where a file hides those of the \
                same name in later directories. Each setting is shown with its name in systemd's form, where it has one, so that \
                both forms can say the same. What is not understood is an error.";
    let _ = writeln!(page, "{}\n.SH SETTINGS", escaped(text));
    for (name, systemd, meaning) in setting_rows() {
        let title = if systemd.is_empty() {
            name
        } else {
            format!("{name} ({systemd})")
        };
        item(&mut page, &title, &meaning);
    }
    page.push_str(".SH GLOBAL SETTINGS\n.nf\n");
    for line in CONFIG.lines() {
        let _ = writeln!(page, "{}", escaped(line));
    }
    page.push_str(".fi\n.SH SEE ALSO\n.BR sysupdate (8),\n.BR sysupdate.d (5)\n");
    page
}

/// The rows of the README's table of settings: TOML, systemd's form, meaning.
pub(super) fn setting_rows() -> Vec<(String, String, String)> {
    let start = README
        .find("| TOML | systemd's form |")
        .unwrap_or(README.len());
    let lines = README[start..].lines().skip(2);
    let table = lines.take_while(|line| line.starts_with('|'));
    table.filter_map(cells).collect()
}

fn cells(line: &str) -> Option<(String, String, String)> {
    let plain = |text: &str| text.trim().replace('`', "").replace("\\|", "|");
    let mut cells = line.trim().trim_matches('|').splitn(3, " | ");
    Some((
        plain(cells.next()?),
        plain(cells.next()?),
        cells.next().map(plain).unwrap_or_default(),
    ))
}

/// A table of the README's below a heading: its first two columns. The third says which tests hold it.
fn rows(page: &mut String, heading: &str) {
    let start = README.find(heading).unwrap_or(README.len());
    let lines = README[start..].lines().skip(1);
    let table = lines
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    // Two lines are its head.
    for line in table.skip(2) {
        let mut cells = line.trim().trim_matches('|').split(" | ");
        if let (Some(name), Some(meaning)) = (cells.next(), cells.next()) {
            item(
                page,
                &name.trim().replace('`', ""),
                &meaning.trim().replace('`', ""),
            );
        }
    }
}

fn head(title: &str, section: u8, name: &str, what: &str) -> String {
    format!(
        ".TH {title} {section} \"\" \"sysupdate {}\"\n.SH NAME\n{} \\- {what}\n",
        env!("CARGO_PKG_VERSION"),
        escaped(name)
    )
}

fn item(page: &mut String, title: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        ".TP\n\\fB{}\\fR\n{}",
        escaped(title.trim()),
        escaped(&unlinked(text))
    );
}

/// The text without the targets of Markdown's links.
fn unlinked(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(&before.replacen('[', "", 1));
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain.replace("**", "")
}

/// Text as roff takes it: no line that begins with its commands, dashes that can be copied.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('…', "...");
    let lines = text.lines().map(|line| {
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
