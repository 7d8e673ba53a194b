//! Whether a feature or component suggests itself: `Suggest=` and the `SuggestOn…=` conditions, as text.
//!
//! Reads and keeps them; evaluating is not done here (compat 1 section 8 judges their syntax only then).

use std::collections::BTreeMap;

use super::keys::TEXT_LIMIT;
use super::schema::{Key, Kind, Scope};
use super::value;

/// What a definition says about being suggested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// `Suggest=`: the answer, whatever the conditions say.
    pub explicit: Option<bool>,
    /// The values of each `SuggestOn…=` key (without `=`) in the order of the files: signs included, specifiers expanded.
    pub conditions: BTreeMap<&'static str, Vec<String>>,
}

/// Something that can be suggested.
pub(super) trait Suggestible {
    fn suggestion(&mut self) -> &mut Suggestion;
}

/// The keys of a section that say when it suggests itself.
pub(super) const fn suggestions<D: Suggestible>(section: &'static str) -> [Key<D>; 12] {
    [
        suggest(section),
        suggest_on(section, "SuggestOnArchitecture"),
        suggest_on(section, "SuggestOnFirmware"),
        suggest_on(section, "SuggestOnVirtualization"),
        suggest_on(section, "SuggestOnHost"),
        suggest_on(section, "SuggestOnFraction"),
        suggest_on(section, "SuggestOnKernelCommandLine"),
        suggest_on(section, "SuggestOnVersion"),
        suggest_on(section, "SuggestOnCredential"),
        suggest_on(section, "SuggestOnSecurity"),
        suggest_on(section, "SuggestOnOSRelease"),
        suggest_on(section, "SuggestOnMachineTag"),
    ]
}

/// The key `Suggest=` of a section.
const fn suggest<D: Suggestible>(section: &'static str) -> Key<D> {
    Key::new(
        section,
        "Suggest",
        &[],
        Kind::Boolean,
        "a boolean",
        |draft: &mut D, raw, _| {
            draft.suggestion().explicit =
                Some(value::boolean(raw).map_err(super::fault::Fault::Unparsable)?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.suggestion().explicit = None)
}

/// A key `SuggestOn…=` of a section.
const fn suggest_on<D: Suggestible>(section: &'static str, key: &'static str) -> Key<D> {
    Key::new(
        section,
        key,
        &[],
        Kind::List,
        "a condition",
        |draft: &mut D, raw, scope| {
            let argument = scope.expand(raw, TEXT_LIMIT)?;
            let conditions = &mut draft.suggestion().conditions;
            conditions.entry(scope.key).or_default().push(argument);
            Ok(())
        },
    )
    .resetting(|draft: &mut D, scope: &Scope<'_>| {
        draft.suggestion().conditions.remove(scope.key);
    })
}
