//! What web APIs say in headers: whether another page follows, and when they will answer again.
//!
//! Owns the grammar of `Link` (RFC 8288) as far as it is needed, and of the headers of rate limits, which no standard
//! has: those of GitHub, GitLab and Gitea.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap, HeaderName};

use super::super::error::Renewal;
use super::headers::{date, retry_after, text};

/// Whether another page follows this one. Where it is stays the server's word, which nobody needs.
pub(super) fn continues(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::LINK).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|part| part.trim().strip_prefix("rel="))
        .flat_map(|relations| relations.trim_matches('"').split_ascii_whitespace())
        .any(|relation| relation.eq_ignore_ascii_case("next"))
}

/// When the server will answer again, if this is the refusal of one that has been asked too often. A wait of up to
/// `patience` that it asks for by 429 is none: that is waited for.
pub(super) fn exhausted(
    status: StatusCode,
    headers: &HeaderMap,
    patience: Duration,
) -> Option<Renewal> {
    let is_strict = match status {
        StatusCode::FORBIDDEN => true,
        StatusCode::TOO_MANY_REQUESTS => false,
        _ => return None,
    };
    let number = |name: &'static str| -> Option<i64> {
        text(headers, &HeaderName::from_static(name))?.parse().ok()
    };
    if let Some(wait) = retry_after(headers) {
        if !is_strict && wait <= patience {
            return None;
        }
        let now = date(headers, &header::DATE);
        let end = now.and_then(|now| now.checked_add(wait).ok());
        return Some(end.map_or(Renewal::After(wait), Renewal::At));
    }
    if number("x-ratelimit-remaining") != Some(0) {
        return None;
    }
    let reset = number("x-ratelimit-reset").and_then(|second| Timestamp::from_second(second).ok());
    Some(reset.map_or(Renewal::Unknown, Renewal::At))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    type Rows = &'static [(&'static str, &'static str)];

    fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        rows.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn another_page_follows_when_a_link_says_next() {
        let table = [
            (
                "<https://h/?page=2>; rel=\"next\", <https://h/?page=9>; rel=\"last\"",
                true,
            ),
            ("<https://h/?page=2>; rel=next", true),
            ("<https://h/?page=2>; rel=\"last next\"", true),
            (
                "<https://h/?page=1>; rel=\"prev\", <https://h/?page=1>; rel=\"first\"",
                false,
            ),
            ("<https://h/next>", false),
            ("", false),
        ];
        for (value, wanted) in table {
            assert_eq!(continues(&headers(&[("link", value)])), wanted, "{value}");
        }
        assert!(!continues(&HeaderMap::new()));
    }

    #[test]
    fn a_limit_is_told_from_other_refusals_and_from_a_short_wait() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        const NONE: (&str, &str) = ("x-ratelimit-remaining", "0");
        const RESET: (&str, &str) = ("x-ratelimit-reset", "1790812800");
        let at = |second| Some(Renewal::At(Timestamp::from_second(second).expect("a time")));
        let (forbidden, busy) = (StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS);
        let rows: &[(StatusCode, Rows, Option<Renewal>)] = &[
            (forbidden, &[], None),
            (forbidden, &[RESET], None),
            (forbidden, &[("x-ratelimit-remaining", "1"), RESET], None),
            (forbidden, &[NONE], Some(Renewal::Unknown)),
            (forbidden, &[NONE, RESET], at(1_790_812_800)),
            (busy, &[NONE, RESET], at(1_790_812_800)),
            (
                busy,
                &[NONE, ("x-ratelimit-reset", "soon")],
                Some(Renewal::Unknown),
            ),
            (
                busy,
                &[NONE, ("x-ratelimit-reset", "9223372036854775807")],
                Some(Renewal::Unknown),
            ),
            (busy, &[("retry-after", "5")], None),
            (
                busy,
                &[("retry-after", "3600")],
                Some(Renewal::After(Duration::from_secs(3600))),
            ),
            (
                busy,
                &[("retry-after", "3600"), DATE],
                at(784_111_777 + 3600),
            ),
            (
                forbidden,
                &[("retry-after", "5"), DATE],
                at(784_111_777 + 5),
            ),
            (
                forbidden,
                &[("retry-after", "18446744073709551615"), DATE],
                Some(Renewal::After(Duration::from_secs(u64::MAX))),
            ),
            (StatusCode::NOT_FOUND, &[NONE, RESET], None),
        ];
        for (status, rows, wanted) in rows {
            let found = exhausted(*status, &headers(rows), Duration::from_secs(120));
            assert_eq!(found, *wanted, "{status} {rows:?}");
        }
    }
}
