//! `SuggestOnFirmware=`: what the firmware is, and says of the machine.

use std::path::Path;

use super::SuggestError;
use super::compare::Operator;
use super::host::{exists, read};

const DMI: &str = "/sys/class/dmi/id";

/// Whether the condition holds.
pub(super) fn holds(argument: &str) -> Result<bool, SuggestError> {
    match argument {
        "uefi" => return Ok(exists("/sys/firmware/efi")),
        "device-tree" => return Ok(exists("/sys/firmware/devicetree")),
        _ => {}
    }
    if let Some(rest) = argument.strip_prefix("device-tree-compatible(") {
        let Some(wanted) = rest.strip_suffix(')') else {
            return Ok(false);
        };
        let Ok(Some(compatible)) = read("/proc/device-tree/compatible") else {
            return Ok(false);
        };
        return Ok(compatible.split('\0').any(|one| one == wanted));
    }
    if let Some(rest) = argument.strip_prefix("smbios-field(") {
        return smbios(rest.strip_suffix(')').ok_or(SuggestError::Invalid)?);
    }
    Ok(false)
}

/// `FIELD OPERATOR VALUE`, blanks around the operator allowed.
fn smbios(expression: &str) -> Result<bool, SuggestError> {
    let start = expression
        .find(['=', '!', '<', '>', '$'])
        .ok_or(SuggestError::Invalid)?;
    let (field, rest) = expression.split_at(start);
    let field = field.trim();
    let (operator, value) = Operator::split(rest).ok_or(SuggestError::Invalid)?;
    let value = value.trim();
    let is_name = !field.is_empty() && !field.contains('/') && !matches!(field, "." | "..");
    if !is_name || value.is_empty() || value.contains(char::is_whitespace) {
        return Err(SuggestError::Invalid);
    }
    let path = Path::new(DMI).join(field);
    match read(&path)? {
        Some(content) => Ok(operator.holds(content.trim_end(), value)),
        None => Ok(false),
    }
}
