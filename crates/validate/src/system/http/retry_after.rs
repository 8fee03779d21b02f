//! `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
//!
//! A date is relative to the reply's `Date` header, if present, so that the server's clock need not agree
//! with this machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// Returns the wait that a reply requests; `None` without the header, or in an unsupported form.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let from = text(DATE).and_then(http_date);
    let from = from.or_else(|| Some(now.duration_since(UNIX_EPOCH).ok()?.as_secs()))?;
    Some(Duration::from_secs(http_date(asked)?.saturating_sub(from)))
}

/// Parses a date into seconds since 1970.
fn http_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_standard() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(http_date(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_up_to_a_date_by_the_servers_clock() {
        let headers = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().expect("a value"));
            if let Some(date) = date {
                headers.insert(DATE, date.parse().expect("a value"));
            }
            headers
        };
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        let at = "Sun, 06 Nov 1994 08:49:37 GMT";
        let earlier = Some("Sun, 06 Nov 1994 08:49:07 GMT");
        for (retry, date, seconds) in [
            ("120", None, Some(120)),
            (at, None, Some(7)),
            (at, earlier, Some(30)),
            (at, Some("Mon, 07 Nov 1994 08:49:37 GMT"), Some(0)),
            (at, Some("not a date"), Some(7)),
            ("99999999999", None, Some(99_999_999_999)),
            ("99999999999999999999999", None, None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None, Some(253_402_300_799 - 784_111_770)),
            ("-1", earlier, None),
            ("later", earlier, None),
        ] {
            let found = retry_after(&headers(retry, date), now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{retry} {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
