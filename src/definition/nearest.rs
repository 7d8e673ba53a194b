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

/// Insertions, deletions, replacements and swaps of neighbours between the two (Damerau and Levenshtein), row by row.
fn edits(wanted: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.to_lowercase().chars().collect();
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for line in 0..candidate.len() {
        let mut next = vec![line + 1];
        for column in 0..wanted.len() {
            let replaced = row[column] + usize::from(wanted[column] != candidate[line]);
            let mut fewest = replaced.min(row[column + 1] + 1).min(next[column] + 1);
            let swapped = line > 0
                && column > 0
                && wanted[column] == candidate[line - 1]
                && wanted[column - 1] == candidate[line];
            if swapped {
                fewest = fewest.min(above[column - 1] + 1);
            }
            next.push(fewest);
        }
        above = std::mem::replace(&mut row, next);
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
            ("apth", Some("path")),
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
