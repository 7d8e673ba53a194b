//! What conditions ask of the host: architecture, virtualization, identity, versions, credentials, security.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::compare::Operator;
use super::glob::{self, Case};
use super::{Scene, SuggestError};
use crate::definition::quoted_words;
use crate::host::parse_id;
use crate::root::Root;

/// Files of the kernel that are read here are smaller, in bytes.
const LIMIT: u64 = 1 << 20;

impl Scene<'_> {
    pub(super) fn architecture(&self, argument: &str) -> Result<bool, SuggestError> {
        if argument == "native" {
            return Ok(true);
        }
        let own = self.host.architecture.as_deref();
        Ok(own.ok_or(SuggestError::Invalid)? == argument)
    }

    /// Asks systemd-detect-virt(1), which knows them all.
    pub(super) fn virtualization(&self, argument: &str) -> Result<bool, SuggestError> {
        let detect = |arguments: &[&str]| Ok((self.run)("systemd-detect-virt", arguments)?);
        let found = |arguments: &[&str]| detect(arguments).map(|(_, success)| success);
        match argument {
            "vm" => return found(&["--quiet", "--vm"]),
            "container" => return found(&["--quiet", "--container"]),
            "private-users" => return found(&["--quiet", "--private-users"]),
            _ => {}
        }
        if let Some(wanted) = boolean(argument) {
            return Ok(found(&["--quiet"])? == wanted);
        }
        let (id, _) = detect(&[])?;
        Ok(id.trim() == argument && argument != "none")
    }

    pub(super) fn is_host(&self, argument: &str) -> bool {
        if let Some(id) = parse_id(argument) {
            let product = read("/sys/class/dmi/id/product_uuid").ok().flatten();
            let ids = [
                self.host.machine_id.clone(),
                self.host.boot_id.clone(),
                product.and_then(|text| parse_id(&text)),
            ];
            return ids.into_iter().flatten().any(|one| one == id);
        }
        glob::matches(argument, &self.host.hostname, Case::Ignored)
    }

    /// `[TAG ]PERCENT`: whether this machine belongs to that part of all machines.
    pub(super) fn fraction(&self, argument: &str) -> Result<bool, SuggestError> {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        let (tag, text) = match words[..] {
            [percent] => ("", percent),
            [tag, percent] => (tag, percent),
            _ => return Err(SuggestError::Invalid),
        };
        let parts = ten_thousandths(text)?;
        match parts {
            0 => return Ok(false),
            10_000 => return Ok(true),
            _ => {}
        }
        let missing = || SuggestError::Unreadable("No such file or directory".to_owned());
        let id = self.host.machine_id.as_deref().ok_or_else(missing)?;
        let key: Vec<u8> = (0..id.len() / 2)
            .filter_map(|index| u8::from_str_radix(&id[2 * index..2 * index + 2], 16).ok())
            .collect();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SuggestError::Invalid)?;
        mac.update(format!("systemd-fraction-{tag}").as_bytes());
        let digest = mac.finalize().into_bytes();
        let value = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Ok(u64::from(value) * 10_000 < (1_u64 << 32) * parts)
    }

    /// `[SUBJECT] EXPRESSION…`: the kernel's, systemd's or the C library's version.
    pub(super) fn version(&self, argument: &str) -> Result<bool, SuggestError> {
        let words = quoted_words(argument).ok_or(SuggestError::Invalid)?;
        let mut words = words.iter().map(String::as_str).peekable();
        let subject = words.next_if(|word| matches!(*word, "kernel" | "systemd" | "glibc"));
        if words.peek().is_none() {
            return Ok(subject.is_some());
        }
        let own = match subject {
            Some("systemd") => self.number_after("systemctl", &["--version"], "systemd ")?,
            Some("glibc") => self.number_after("getconf", &["GNU_LIBC_VERSION"], "glibc ")?,
            _ => self.host.kernel_release.clone(),
        };
        let mut is_first = true;
        while let Some(word) = words.next() {
            let (operator, value) = match Operator::split(word) {
                None => (Operator::Matches, word),
                Some((operator, rest)) => (operator, rest.trim_start()),
            };
            // Only one that stands alone may have a blank after its operator.
            let apart = value.is_empty();
            let value = match value {
                "" if is_first => words.next().ok_or(SuggestError::Invalid)?,
                "" => return Err(SuggestError::Invalid),
                value => value,
            };
            if !operator.holds(&own, value) {
                return Ok(false);
            }
            if apart && words.peek().is_some() {
                return Err(SuggestError::Invalid);
            }
            is_first = false;
        }
        Ok(true)
    }

    fn number_after(
        &self,
        program: &str,
        arguments: &[&str],
        prefix: &str,
    ) -> Result<String, SuggestError> {
        let (output, _) = (self.run)(program, arguments)?;
        let rest = output.trim_start().strip_prefix(prefix);
        let number = rest.and_then(|rest| rest.split_whitespace().next());
        Ok(number.ok_or(SuggestError::Invalid)?.to_owned())
    }

    pub(super) fn credential(&self, name: &str) -> Result<bool, SuggestError> {
        let is_name = !name.is_empty() && name.len() <= 255 && !matches!(name, "." | "..");
        if !is_name || name.contains('/') || name.chars().any(|sign| sign.is_ascii_control()) {
            return Ok(false);
        }
        for directory in self.credentials {
            let found = Root::host()
                .directory(directory)
                .and_then(|opened| opened.stat(OsStr::new(name)));
            match found {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    pub(super) fn security(&self, argument: &str) -> bool {
        const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
        let byte = |name: &str| {
            let path = Path::new(EFI_VARIABLES).join(name);
            let content = Root::host().read(&path, LIMIT).ok();
            // Four bytes of attributes come first.
            content.and_then(|bytes| bytes.get(4).copied())
        };
        let starts = |path: &str, sign: char| {
            read(path).is_ok_and(|text| text.is_some_and(|text| text.starts_with(sign)))
        };
        let measured = || byte("StubPcrKernelImage-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f").is_some();
        match argument {
            "selinux" => exists("/sys/fs/selinux/enforce"),
            "smack" => exists("/sys/fs/smackfs"),
            "apparmor" => starts("/sys/module/apparmor/parameters/enabled", 'Y'),
            "audit" => exists("/proc/self/loginuid"),
            "ima" => exists("/sys/kernel/security/ima"),
            "tomoyo" => exists("/sys/kernel/security/tomoyo/version"),
            "uefi-secureboot" => byte("SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c") == Some(1),
            "tpm2" => exists("/dev/tpmrm0"),
            "cvm" => (self.run)("systemd-detect-virt", &["--cvm", "--quiet"])
                .is_ok_and(|(_, success)| success),
            "measured-uki" | "measured-os" => measured(),
            _ => false,
        }
    }

    /// A list of `KEYopVALUE`; all must hold.
    pub(super) fn os_release(&self, argument: &str) -> Result<bool, SuggestError> {
        let words = quoted_words(argument).ok_or(SuggestError::Invalid)?;
        let fields = self.host.os_release.as_ref();
        for word in &words {
            let start = word
                .find(['=', '!', '<', '>', '$'])
                .ok_or(SuggestError::Invalid)?;
            let (key, rest) = word.split_at(start);
            let (operator, value) = Operator::split(rest).ok_or(SuggestError::Invalid)?;
            let is_key = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
            let good = !key.is_empty()
                && key.chars().all(is_key)
                && !key.starts_with(|sign: char| sign.is_ascii_digit());
            if !good || value.is_empty() || value.starts_with(char::is_whitespace) {
                return Err(SuggestError::Invalid);
            }
            let own = fields.and_then(|fields| fields.get(key));
            if !operator.holds(own.map_or("", String::as_str), value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A word of the kernel's command line, or its key.
pub(super) fn command_line(argument: &str) -> Result<bool, SuggestError> {
    let contained = exists("/run/systemd/container") || exists("/run/host/container-manager");
    let text = if contained {
        let missing = || SuggestError::Unreadable("No such file or directory".to_owned());
        // There the words end with NUL bytes.
        read("/proc/1/cmdline")?
            .ok_or_else(missing)?
            .replace('\0', " ")
    } else {
        read("/proc/cmdline")?.unwrap_or_default()
    };
    let words = quoted_words(&text).unwrap_or_default();
    Ok(words.iter().any(|word| {
        word == argument
            || !argument.contains('=')
                && word
                    .strip_prefix(argument)
                    .is_some_and(|rest| rest.starts_with('='))
    }))
}

/// `50%`, `12.34%`, `500‰`, `5000‱`, in ten-thousandths.
fn ten_thousandths(text: &str) -> Result<u64, SuggestError> {
    let (number, scale, decimals) = [("%", 100, 2), ("‰", 10, 1), ("‱", 1, 0)]
        .into_iter()
        .find_map(|(unit, scale, decimals)| Some((text.strip_suffix(unit)?, scale, decimals)))
        .ok_or(SuggestError::Invalid)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_part = number.contains('.');
    if !digits(whole) || has_part && (!digits(part) || part.len() > decimals) {
        return Err(SuggestError::Invalid);
    }
    let whole: u64 = whole.parse().map_err(|_| SuggestError::OutOfRange)?;
    let mut rest: u64 = format!("{part:0<decimals$}").parse().unwrap_or(0);
    if decimals == 0 {
        rest = 0;
    }
    let total = whole
        .checked_mul(scale)
        .and_then(|sum| sum.checked_add(rest));
    total
        .filter(|total| *total <= 10_000)
        .ok_or(SuggestError::OutOfRange)
}

fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 6]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(["1", "yes", "y", "true", "t", "on"]) {
        return Some(true);
    }
    is(["0", "no", "n", "false", "f", "off"]).then_some(false)
}

/// Whether something is there.
pub(super) fn exists(path: &str) -> bool {
    Root::host().stat(Path::new(path)).is_ok()
}

/// A file of the kernel's as text; `None` when there is none.
pub(super) fn read(path: impl AsRef<Path>) -> Result<Option<String>, SuggestError> {
    match Root::host().read(path.as_ref(), LIMIT) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
