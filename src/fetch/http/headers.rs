//! What is said in headers: conditions and ranges in requests, validators and parts in answers.
//!
//! Owns the grammar of these fields (RFC 9110 sections 8.8, 13 and 14), and the distrust of them.

use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::super::{FetchError, Part, Range, Validators};

/// The headers that ask for a range, and only of what the validators stand for.
pub(super) fn partial(range: Range, validators: Option<&Validators>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let last = range.end.map(|end| end.saturating_sub(1).to_string());
    let wanted = format!("bytes={}-{}", range.start, last.unwrap_or_default());
    let mut insert = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    insert(header::RANGE, &wanted);
    let Some(validators) = validators else {
        return headers;
    };
    // A weak tag may be shared by two states whose bytes differ (RFC 9110 section 13.1.5).
    let tag = validators.etag.as_deref();
    let strong = tag.filter(|tag| is_entity_tag(tag) && !tag.starts_with("W/"));
    if let Some(condition) = strong.or(validators.last_modified.as_deref()) {
        insert(header::IF_RANGE, condition);
    }
    headers
}

/// Which part of the whole an answer to a request for a range is, `None` when it is no part.
///
/// # Errors
/// [`FetchError::OutOfRange`] for 416, [`FetchError::WrongRange`] when it is not the part asked for.
pub(super) fn part(
    url: &str,
    range: Range,
    response: &reqwest::Response,
) -> Result<Option<Part>, FetchError> {
    let content_range = text(response.headers(), &header::CONTENT_RANGE);
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let length = content_range.and_then(|text| text.strip_prefix("bytes */"));
            return Err(FetchError::OutOfRange {
                url: url.to_owned(),
                length: length.and_then(|length| length.parse().ok()),
            });
        }
        _ => return Ok(None),
    }
    let wrong = |cause: String| FetchError::WrongRange {
        url: url.to_owned(),
        cause,
    };
    let Some(content_range) = content_range else {
        return Err(wrong("it has no Content-Range".to_owned()));
    };
    let part = content_range.parse().map_err(|()| {
        wrong(format!(
            "Content-Range is '{}'",
            content_range.escape_debug()
        ))
    })?;
    let Part { start, end, .. } = part;
    if start != range.start || range.end.is_some_and(|wanted| end > wanted) {
        let wanted = range.end.map_or_else(String::new, |end| end.to_string());
        return Err(wrong(format!(
            "asked for {}..{wanted}, got {start}..{end}",
            range.start
        )));
    }
    match response.content_length() {
        Some(length) if length != end - start => Err(wrong(format!(
            "Content-Range is '{content_range}', but Content-Length {length}"
        ))),
        _ => Ok(Some(part)),
    }
}

/// Whether an answer says that it is less than the whole. compat: 206 alone is as good as 200 (compat 2, B8.1).
pub(super) fn is_fragment(response: &reqwest::Response) -> bool {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return false;
    }
    match text(response.headers(), &header::CONTENT_RANGE).map(str::parse) {
        None => false,
        Some(Ok(Part { start, end, total })) => start > 0 || total != Some(end),
        Some(Err(())) => true,
    }
}

/// A `Content-Range` of bytes; there is nothing to say about one that cannot be read.
impl std::str::FromStr for Part {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| digits).ok_or(())
        };
        let (range, total) = text
            .strip_prefix("bytes ")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(())?;
        let (first, last) = range.split_once('-').ok_or(())?;
        let (start, end) = (number(first)?, number(last)?.checked_add(1).ok_or(())?);
        let total = match total {
            "*" => None,
            total => Some(number(total)?),
        };
        if start >= end || total.is_some_and(|total| end > total) {
            return Err(());
        }
        Ok(Self { start, end, total })
    }
}

pub(super) fn conditions(validators: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let fields = [
        (header::IF_NONE_MATCH, &validators.etag),
        (header::IF_MODIFIED_SINCE, &validators.last_modified),
    ];
    for (name, value) in fields {
        if name == header::IF_NONE_MATCH && !value.as_deref().is_none_or(is_entity_tag) {
            continue;
        }
        // What cannot stand in a header was not sent by a server in one: a damaged record must not stop the request.
        if let Some(value) = value
            .as_ref()
            .and_then(|value| HeaderValue::from_str(value).ok())
        {
            headers.insert(name, value);
        }
    }
    headers
}

/// The validators of an answer, as far as they can be trusted later ([`Body::validators`]).
///
/// A change within the same second as the answer would leave `Last-Modified` as it is, and with many servers the
/// `ETag`, which they derive from it.
pub(super) fn validators(headers: &HeaderMap) -> Option<Validators> {
    let etag = text(headers, &header::ETAG)
        .filter(|tag| is_entity_tag(tag))
        .map(str::to_owned);
    let mut last_modified = text(headers, &header::LAST_MODIFIED).map(str::to_owned);
    match (
        date(headers, &header::LAST_MODIFIED),
        date(headers, &header::DATE),
    ) {
        (Some(modified), Some(now)) if now.as_second() - modified.as_second() < 1 => return None,
        (Some(_), Some(_)) => {}
        _ => last_modified = None,
    }
    (etag.is_some() || last_modified.is_some()).then_some(Validators {
        etag,
        last_modified,
    })
}

/// Whether the text is one entity-tag (RFC 9110 section 8.8.3). Anything else, `*` above all, would make every later
/// request conditional on nothing, and an honest server would answer 304 for ever.
pub(super) fn is_entity_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| inner.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e)))
}

/// How long a server asks to be left alone (RFC 9110 section 10.2.3), by its own clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<std::time::Duration> {
    let value = text(headers, &header::RETRY_AFTER)?;
    let seconds = if let Ok(seconds) = value.parse() {
        seconds
    } else {
        let until = date(headers, &header::RETRY_AFTER)?;
        let now = date(headers, &header::DATE)?;
        u64::try_from(until.as_second() - now.as_second()).unwrap_or(0)
    };
    Some(std::time::Duration::from_secs(seconds))
}

/// A header's value, if it is reasonable text: these are kept on disk.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .filter(|value| !value.is_empty() && value.len() <= LONGEST_VALIDATOR)
}

pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<jiff::Timestamp> {
    let date = jiff::fmt::rfc2822::parse(text(headers, name)?)
        .ok()?
        .timestamp();
    (date.as_second() >= 0).then_some(date)
}

pub(super) fn microseconds(date: jiff::Timestamp) -> u64 {
    u64::try_from(date.as_microsecond()).unwrap_or(0)
}

/// Longer `ETag`s are not worth keeping, in bytes.
pub(super) const LONGEST_VALIDATOR: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        let part = |start, end, total| Ok(Part { start, end, total });
        let table = [
            ("bytes 0-0/1", part(0, 1, Some(1))),
            ("bytes 5-9/*", part(5, 10, None)),
            ("bytes 0-65535/70000", part(0, 65536, Some(70000))),
            ("bytes 5-4/9", Err(())),
            ("bytes 0-9/9", Err(())),
            ("bytes */9", Err(())),
            ("bytes 0-18446744073709551615/*", Err(())),
            ("bytes +0-1/2", Err(())),
            ("bytes -1/2", Err(())),
            ("items 0-1/2", Err(())),
            ("", Err(())),
        ];
        for (text, wanted) in table {
            assert_eq!(text.parse::<Part>(), wanted, "{text}");
        }
    }

    #[test]
    fn a_server_asks_to_wait_in_seconds_or_until_a_time() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let table = [
            (vec![("retry-after", "120")], Some(120)),
            (
                vec![
                    ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
                    ("date", date),
                ],
                Some(30),
            ),
            (
                vec![
                    ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT"),
                    ("date", date),
                ],
                Some(0),
            ),
            (vec![("retry-after", date)], None),
            (vec![("retry-after", "-1"), ("date", date)], None),
            (vec![("retry-after", "soon")], None),
            (vec![], None),
        ];
        for (headers, wanted) in table {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            let wanted = wanted.map(std::time::Duration::from_secs);
            assert_eq!(retry_after(&map), wanted, "{headers:?}");
        }
    }

    #[test]
    fn a_range_is_conditional_on_strong_validators_only() {
        let range = Range {
            start: 3,
            end: None,
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let table = [
            (None, None, None),
            (Some("\"x\""), Some(date), Some("\"x\"")),
            (Some("W/\"x\""), Some(date), Some(date)),
            (Some("W/\"x\""), None, None),
            (Some("x\r\nEvil: 1"), None, None),
        ];
        for (etag, last_modified, wanted) in table {
            let validators = Validators {
                etag: etag.map(str::to_owned),
                last_modified: last_modified.map(str::to_owned),
            };
            let headers = partial(range, Some(&validators));
            assert_eq!(text(&headers, &header::RANGE), Some("bytes=3-"));
            assert_eq!(text(&headers, &header::IF_RANGE), wanted, "{validators:?}");
        }
        let range = Range {
            start: 0,
            end: Some(10),
        };
        assert_eq!(
            text(&partial(range, None), &header::RANGE),
            Some("bytes=0-9")
        );
    }
}
