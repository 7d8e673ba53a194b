//! What several handlers of the key table do: a text becomes a value, or a fault.

use super::super::draft::{End, PathSetting, RelativeTo, ResourceType};
use super::super::fault::Fault;
use super::super::schema::Scope;
use super::super::transfer::Units;
use super::super::value::{self, PATH_LIMIT};
use super::{NAME_LIMIT, PATTERN_LIMIT, TEXT_LIMIT};
use crate::pattern::Pattern;
use crate::version::Version;

pub(super) fn boolean(raw: &str) -> Result<bool, Fault> {
    value::boolean(raw).map_err(Fault::Unparsable)
}

pub(super) fn version(raw: &str, scope: &Scope<'_>) -> Result<Version, Fault> {
    let text = scope.expand(raw, NAME_LIMIT)?;
    // compat: the manual knows another alphabet than that of `@v`; the program does not.
    text.parse().map_err(|_| Fault::Invalid("string", text))
}

/// Appends a web URL; the message shows it unexpanded.
pub(in super::super) fn push_url(
    list: &mut Vec<String>,
    raw: &str,
    scope: &Scope<'_>,
) -> Result<(), Fault> {
    let url = scope.expand(raw, TEXT_LIMIT)?;
    if !value::is_web_url(&url) {
        return Err(Fault::Invalid("URL", raw.to_owned()));
    }
    list.push(url);
    Ok(())
}

pub(super) fn push_unit(list: &mut Vec<String>, raw: &str) -> Result<(), Fault> {
    if !value::is_unit_name(raw) {
        return Err(Fault::Invalid("unit name", raw.to_owned()));
    }
    list.push(raw.to_owned());
    Ok(())
}

/// Adds a unit to a choice; the word `auto` is the default's name.
pub(super) fn choose_unit(units: &mut Units, raw: &str) -> Result<(), Fault> {
    if raw == "auto" {
        *units = Units::Auto;
        return Ok(());
    }
    let mut named = units.named().to_vec();
    push_unit(&mut named, raw)?;
    *units = Units::Named(named);
    Ok(())
}

pub(super) fn resource_type(end: &mut End, raw: &str) -> Result<(), Fault> {
    let found = ResourceType::ALL
        .into_iter()
        .find(|kind| kind.word() == raw);
    end.kind = Some(found.ok_or(Fault::Unparsable(value::Errno::Invalid))?);
    Ok(())
}

pub(super) fn relative_to(end: &mut End, raw: &str) -> Result<(), Fault> {
    let found = RelativeTo::ALL
        .into_iter()
        .find(|place| place.word() == raw);
    end.relative_to = found.ok_or(Fault::Unparsable(value::Errno::Invalid))?;
    Ok(())
}

pub(super) fn path(end: &mut End, raw: &str, scope: &Scope<'_>) -> Result<(), Fault> {
    end.path = match raw {
        "auto" => PathSetting::Automatic,
        _ => PathSetting::At(scope.locate(scope.expand(raw, PATH_LIMIT)?)),
    };
    Ok(())
}

pub(super) fn pattern(end: &mut End, raw: &str, scope: &Scope<'_>) -> Result<(), Fault> {
    push_pattern(end, &scope.expand(raw, NAME_LIMIT)?)
}

pub(super) fn push_pattern(end: &mut End, text: &str) -> Result<(), Fault> {
    let pattern: Pattern = text.parse().map_err(Fault::Pattern)?;
    // The list drops duplicates by looking through it: bounded, so that a huge file costs no quadratic time.
    if end.patterns.iter().len() >= PATTERN_LIMIT {
        return Err(Fault::TooMany(PATTERN_LIMIT));
    }
    end.patterns.push(pattern);
    Ok(())
}
