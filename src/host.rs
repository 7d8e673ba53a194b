//! The running host (or the system below `--root=`), read once per run.
//!
//! Owns the facts that specifiers and decisions need and how they are read. It never reads the environment: the
//! temporary directories are passed in. Whatever is missing or damaged is `None`; who needs it refuses then.

use std::collections::BTreeMap;
use std::path::Path;

use crate::root::Root;

/// Facts about the host; tests write it as a struct literal over [`Host::default`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The fields of os-release(5) inside the root, unquoted; `None` when there is no such file.
    pub os_release: Option<BTreeMap<String, String>>,
    /// The id of machine-id(5) inside the root, 32 lower-case hexadecimal digits.
    pub machine_id: Option<String>,
    /// The id of this boot, 32 lower-case hexadecimal digits; always that of the running kernel.
    pub boot_id: Option<String>,
    /// systemd's name of the machine's architecture (`x86-64`, `arm64`, …).
    pub architecture: Option<String>,
    /// The kernel's host name.
    pub hostname: String,
    /// `PRETTY_HOSTNAME=` of machine-info(5) inside the root.
    pub pretty_hostname: Option<String>,
    /// The running kernel's release.
    pub kernel_release: String,
    /// What `%T` and `%V` stand for.
    pub temporary: TemporaryDirectories,
}

/// The directories for temporary files, as the environment of the process names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporaryDirectories {
    /// Does not survive a boot (`%T`): `/tmp` by default.
    pub short_lived: String,
    /// Survives a boot (`%V`): `/var/tmp` by default.
    pub persistent: String,
}

impl Default for TemporaryDirectories {
    fn default() -> Self {
        Self {
            short_lived: "/tmp".to_owned(),
            persistent: "/var/tmp".to_owned(),
        }
    }
}

impl Host {
    /// Reads the facts: identity from inside `root`, kernel and boot from the running system.
    pub fn read(root: &Root, temporary: TemporaryDirectories) -> Self {
        let kernel = rustix::system::uname();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        Self {
            os_release: ["/etc/os-release", "/usr/lib/os-release"]
                .into_iter()
                .find_map(|path| read_text(root, path))
                .map(|text| parse_environment(&text)),
            machine_id: read_text(root, "/etc/machine-id").and_then(|text| parse_id(&text)),
            boot_id: read_text(&Root::host(), "/proc/sys/kernel/random/boot_id")
                .and_then(|text| parse_id(&text)),
            architecture: machine().map(str::to_owned),
            hostname: hostname(text(kernel.nodename())),
            pretty_hostname: read_text(root, "/etc/machine-info")
                .and_then(|text| parse_environment(&text).remove("PRETTY_HOSTNAME"))
                .filter(|name| !name.is_empty()),
            kernel_release: text(kernel.release()),
            temporary,
        }
    }
}

/// A file of the size such files have.
fn read_text(root: &Root, path: &str) -> Option<String> {
    let bytes = root.read(Path::new(path), FILE_LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The kernel says `(none)` while no name is set; systemd then says `localhost`.
fn hostname(name: String) -> String {
    if name.is_empty() || name == "(none)" {
        "localhost".to_owned()
    } else {
        name
    }
}

/// A 128-bit id, with or without dashes; the null id stands for "none" (machine-id(5)).
#[must_use]
pub fn parse_id(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim();
    let digits: String = match line.len() {
        32 => line.to_owned(),
        36 if [8, 13, 18, 23]
            .iter()
            .all(|&dash| line.as_bytes()[dash] == b'-') =>
        {
            line.replace('-', "")
        }
        _ => return None,
    };
    let valid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (valid && digits.bytes().any(|byte| byte != b'0')).then(|| digits.to_ascii_lowercase())
}

/// Reads `KEY=VALUE` lines as a shell would (os-release(5)): comments, single and double quotes, backslashes; the last
/// assignment of a key counts. Lines that are no assignment are passed over.
#[must_use]
pub fn parse_environment(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        rest = rest.trim_start();
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let key = rest[..line_end].split_once('=').map(|(key, _)| key);
        match key {
            Some(key) if is_key(key) => {
                let (value, after) = shell_value(&rest[key.len() + 1..]);
                fields.insert(key.to_owned(), value);
                rest = after;
            }
            _ => rest = &rest[line_end..],
        }
    }
    fields
}

fn is_key(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit())
}

/// The value at the start of `text`, and what follows its line. A quoted part may span lines.
fn shell_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    // Unquoted blanks count only when something follows them on the line.
    let mut solid = 0;
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match (quote, character) {
            (None, '\n') => {
                value.truncate(solid);
                return (value, &text[position..]);
            }
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => match characters.next() {
                Some((_, '\n')) | None => {}
                Some((_, escaped)) => {
                    // Inside double quotes a shell keeps the backslash before ordinary characters.
                    if quote.is_some() && !matches!(escaped, '"' | '\\' | '$' | '`') {
                        value.push('\\');
                    }
                    value.push(escaped);
                }
            },
            (None, ' ' | '\t' | '\r') => {
                if !value.is_empty() {
                    value.push(character);
                }
                continue;
            }
            (_, other) => value.push(other),
        }
        solid = value.len();
    }
    value.truncate(solid);
    (value, "")
}

/// systemd's name for the machine name of uname(2).
/// systemd's name of this machine's architecture; `None` when it has none.
#[must_use]
pub fn machine() -> Option<&'static str> {
    architecture(&rustix::system::uname().machine().to_string_lossy())
}

fn architecture(machine: &str) -> Option<&'static str> {
    if let Some((_, name)) = ARCHITECTURES.iter().find(|(kernel, _)| *kernel == machine) {
        return Some(name);
    }
    // The kernel appends the version and the byte order: armv7l, armv6b, sh4.
    if machine.starts_with("arm") {
        return Some(if machine.ends_with('b') {
            "arm-be"
        } else {
            "arm"
        });
    }
    machine.starts_with("sh").then_some("sh")
}

/// Bound for os-release and its like: some thousand times what they need.
const FILE_LIMIT: u64 = 1 << 20;

const LITTLE_ENDIAN: bool = cfg!(target_endian = "little");

/// Machine names of uname(2) and systemd's names.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("x86_64", "x86-64"),
    ("i386", "x86"),
    ("i486", "x86"),
    ("i586", "x86"),
    ("i686", "x86"),
    ("aarch64", "arm64"),
    ("aarch64_be", "arm64-be"),
    ("riscv64", "riscv64"),
    ("riscv32", "riscv32"),
    ("loongarch64", "loongarch64"),
    ("ppc64le", "ppc64-le"),
    ("ppc64", "ppc64"),
    ("ppcle", "ppc-le"),
    ("ppc", "ppc"),
    ("s390x", "s390x"),
    ("s390", "s390"),
    ("ia64", "ia64"),
    ("parisc64", "parisc64"),
    ("parisc", "parisc"),
    ("sparc64", "sparc64"),
    ("sparc", "sparc"),
    ("mips64", if LITTLE_ENDIAN { "mips64-le" } else { "mips64" }),
    ("mips", if LITTLE_ENDIAN { "mips-le" } else { "mips" }),
    ("alpha", "alpha"),
    ("sh64", "sh64"),
    ("sh5", "sh64"),
    ("m68k", "m68k"),
    ("tilegx", "tilegx"),
    ("cris", "cris"),
    ("crisv32", "cris"),
    ("arc", "arc"),
    ("arceb", "arc-be"),
    ("nios2", "nios2"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn os_release_values_are_unquoted_as_a_shell_does() {
        let text = "# comment\nID=flatcar\nNAME=\"Flatcar \\\"Linux\\\" \\n\"\nVERSION_ID='4 2'\nEMPTY=\nEMPTY2=\"\"\n\
                    junk\n1BAD=x\n B AD=x\nMIX=a'b c'\"d\"\\ e\nTRAIL=x  \t\r\nKEEP=\" x \" \nTWICE=1\nTWICE=2\nLAST=end";
        let fields = parse_environment(text);
        for (key, value) in [
            ("ID", "flatcar"),
            ("NAME", "Flatcar \"Linux\" \\n"),
            ("VERSION_ID", "4 2"),
            ("EMPTY", ""),
            ("EMPTY2", ""),
            ("MIX", "ab cd e"),
            ("TRAIL", "x"),
            ("KEEP", " x "),
            ("TWICE", "2"),
            ("LAST", "end"),
        ] {
            assert_eq!(fields.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(fields.len(), 10, "{fields:?}");
    }

    #[test]
    fn hostile_os_release_neither_panics_nor_loops() {
        for text in [
            "",
            "=",
            "A",
            "A=\"",
            "A='x",
            "A=\\",
            "A=\"\\",
            "\u{feff}A=é\"é",
            "A=\0\0",
            "====\n=\n",
            "'\n\"",
            "A=\"x\nB=y",
        ] {
            assert!(parse_environment(text).len() <= 2, "{text:?}");
        }
        assert_eq!(
            parse_environment("A=\"x\nB=y").get("A").map(String::as_str),
            Some("x\nB=y")
        );
        assert!(parse_environment(&"A\n".repeat(1 << 17)).is_empty());
    }

    #[test]
    fn ids_are_32_digits_and_never_null() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            parse_id("0123456789ABCDEF0123456789abcdef\n").as_deref(),
            Some(id)
        );
        assert_eq!(
            parse_id("01234567-89ab-cdef-0123-456789abcdef").as_deref(),
            Some(id)
        );
        for bad in [
            "",
            "uninitialized",
            "0123",
            &"0".repeat(32),
            &"g".repeat(32),
            "é123456789abcdef0123456789abcde",
            &"-".repeat(36),
        ] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn machine_names_become_systemd_names() {
        for (machine, name) in [
            ("x86_64", "x86-64"),
            ("aarch64", "arm64"),
            ("armv7l", "arm"),
            ("armv6b", "arm-be"),
            ("sh4", "sh"),
            ("ppc64le", "ppc64-le"),
        ] {
            assert_eq!(architecture(machine), Some(name));
        }
        assert_eq!(architecture("vax"), None);
    }

    #[test]
    fn identity_comes_from_the_root_and_the_kernel_from_the_host() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let root = Root::open(directory.path())?;
        let bare = Host::read(&root, TemporaryDirectories::default());
        assert_eq!(
            (
                bare.os_release.as_ref(),
                bare.machine_id.as_ref(),
                bare.pretty_hostname.as_ref()
            ),
            (None, None, None)
        );
        assert!(!bare.kernel_release.is_empty());

        fs::create_dir_all(directory.path().join("usr/lib"))?;
        fs::create_dir_all(directory.path().join("etc"))?;
        fs::write(directory.path().join("usr/lib/os-release"), "ID=a\n")?;
        fs::write(
            directory.path().join("etc/machine-id"),
            "0123456789abcdef0123456789abcdef\n",
        )?;
        fs::write(
            directory.path().join("etc/machine-info"),
            "PRETTY_HOSTNAME=\"My node\"\n",
        )?;
        let host = Host::read(&root, TemporaryDirectories::default());
        assert_eq!(
            host.os_release
                .as_ref()
                .and_then(|fields| fields.get("ID"))
                .map(String::as_str),
            Some("a")
        );
        assert_eq!(
            host.machine_id.as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
        assert_eq!(host.pretty_hostname.as_deref(), Some("My node"));

        fs::write(directory.path().join("etc/os-release"), "ID=b\n")?;
        let host = Host::read(&root, TemporaryDirectories::default());
        assert_eq!(
            host.os_release
                .as_ref()
                .and_then(|fields| fields.get("ID"))
                .map(String::as_str),
            Some("b")
        );
        Ok(())
    }
}
