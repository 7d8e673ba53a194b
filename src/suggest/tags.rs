//! `SuggestOnMachineTag=`: the `TAGS=` of machine-info(5).

use std::path::Path;

use super::Scene;
use super::glob::{self, Case};
use crate::host::parse_environment;
use crate::root::Root;

const LIMIT: u64 = 1 << 20;

impl Scene<'_> {
    /// Whether a tag of this machine matches the pattern.
    pub(super) fn machine_tag(&self, pattern: &str) -> bool {
        let content = match self.machine_info {
            Some(path) => Root::host().read(path, LIMIT),
            None => self.root.read(Path::new("/etc/machine-info"), LIMIT),
        };
        let Ok(content) = content else {
            return false;
        };
        let fields = parse_environment(&String::from_utf8_lossy(&content));
        let list = fields.get("TAGS").map_or("", String::as_str);
        tags(list)
            .iter()
            .any(|tag| glob::matches(pattern, tag, Case::Sensitive))
    }
}

/// The valid tags of a colon-separated list, sorted; of several values of one key the first.
fn tags(list: &str) -> Vec<&str> {
    let mut tags: Vec<&str> = list.split(':').filter(|tag| is_valid(tag)).collect();
    tags.sort_unstable();
    tags.dedup();
    let key = |tag: &str| tag.split_once('=').map(|(key, _)| key.to_owned());
    let mut kept: Vec<&str> = Vec::with_capacity(tags.len());
    for tag in tags {
        let taken = key(tag).is_some_and(|own| {
            kept.iter()
                .any(|other| key(other).as_deref() == Some(own.as_str()))
        });
        if !taken {
            kept.push(tag);
        }
    }
    kept
}

fn is_valid(tag: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'=');
    let key = tag.split('=').next().unwrap_or_default();
    (1..=255).contains(&tag.len())
        && tag.bytes().all(sign)
        && !tag.starts_with(['-', '.', '='])
        && !key.ends_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_tags_are_dropped_and_a_key_has_one_value() {
        for (list, expected) in [
            ("a::b: c", vec!["a", "b"]),
            ("role=b:role=a", vec!["role=a"]),
            ("k=a:k=", vec!["k="]),
            ("role:role=a", vec!["role", "role=a"]),
            ("a=-", vec!["a=-"]),
            ("=x:x.:x-=1:a_b:-bad:é", vec![]),
            ("b:a:b", vec!["a", "b"]),
        ] {
            assert_eq!(tags(list), expected, "{list}");
        }
    }
}
