//! The name that was probably meant: the nearest of those that exist.

/// The candidate with the fewest edits to `name`, when they are few for its length; case counts for nothing.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > NAME_LIMIT {
        return None;
    }
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let allowed = wanted.len().div_ceil(3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| (edits(&wanted, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between the two (Levenshtein), row by row.
fn edits(wanted: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (line, character) in candidate.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in wanted.iter().enumerate() {
            let replaced = diagonal + usize::from(*other != character);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[wanted.len()]
}

/// Longer names than any key has are not compared, in bytes.
const NAME_LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["instances_max", "match", "mode", "path"];
        for (name, found) in [
            ("instance_max", Some("instances_max")),
            ("InstancesMax", Some("instances_max")),
            ("macth", Some("match")),
            ("mach", Some("match")),
            ("moed", Some("mode")),
            ("Mode", Some("mode")),
            ("zzz", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(nearest(name, names), found, "{name}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), names), None);
    }
}
