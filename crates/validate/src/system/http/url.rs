//! The URL of a target, split into the part that may be printed and the secrets.
//!
//! Credentials and query are separated when the URL is parsed, so that [`BaseUrl::name`] can be printed
//! anywhere. Errors name the fault without repeating the URL.

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use percent_encoding::percent_decode_str;

use super::error::TargetError;

/// A URL to which the paths of endpoints are appended.
#[derive(Clone)]
pub(super) struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a trailing slash.
    path: String,
    query: Option<String>,
    credentials: Option<String>,
}

impl BaseUrl {
    /// Parses a URL; errors name it `what`.
    pub(super) fn parse(text: &str, what: &'static str) -> Result<BaseUrl, TargetError> {
        let wrong = |reason| TargetError::Url { what, reason };
        let uri: Uri = text.trim().parse().map_err(|_| wrong("it is not a URL"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(|| wrong("it has no http:// in front"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(wrong("it is neither http nor https"));
        }
        let whole = parts.authority.ok_or_else(|| wrong("it names no host"))?;
        let (credentials, host) = match whole.as_str().rsplit_once('@') {
            Some((credentials, host)) => {
                (Some(percent_decode_str(credentials).decode_utf8_lossy().into_owned()), host)
            }
            None => (None, whole.as_str()),
        };
        let authority: Authority = host.parse().map_err(|_| wrong("it names no host"))?;
        if authority.host().is_empty() {
            return Err(wrong("it names no host"));
        }
        let rest = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let path = rest.path().trim_end_matches('/').to_owned();
        let query = rest.query().map(str::to_owned);
        Ok(BaseUrl { scheme, authority, path, query, credentials })
    }

    /// Returns the URL for reports, without credentials and query.
    pub(super) fn name(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.path)
    }

    /// Returns `user:password`, if the URL has them.
    pub(super) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }

    /// Returns the query, which may contain a key.
    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Appends `endpoint`, which begins with a slash or is empty.
    pub(super) fn join(&self, endpoint: &str) -> Uri {
        let query = self.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{endpoint}", self.path);
        let path = if path.is_empty() { "/" } else { &path };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{path}{query}"))
            .build()
            .expect("each part was read from a valid URL, and endpoints are plain paths")
    }

    /// Returns true if keys for one URL may be sent to the other.
    pub(super) fn same_origin(&self, other: &BaseUrl) -> bool {
        self.scheme == other.scheme && self.authority == other.authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_neither_credentials_nor_queries() {
        let url =
            BaseUrl::parse("http://bob:p%40ss@host:81/base/?key=abc", "target").expect("fine");
        assert_eq!(url.name(), "http://host:81/base");
        assert_eq!(url.credentials(), Some("bob:p@ss"));
        assert_eq!(url.join("/embed"), "http://host:81/base/embed?key=abc");
        let bare = BaseUrl::parse("https://host", "target").expect("fine");
        assert_eq!((bare.name().as_str(), bare.credentials()), ("https://host", None));
        assert_eq!(bare.join("/v1/models"), "https://host/v1/models");
        assert_eq!(bare.join(""), "https://host/");
        let six = BaseUrl::parse("http://[::1]:80", "target").expect("fine");
        assert_eq!(six.join("/x"), "http://[::1]:80/x");
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for text in ["", "host:80", "/path", "ftp://secret@host", "http://", "http://se cret@h/"] {
            let error = BaseUrl::parse(text, "target's URL").err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("{text} was taken"));
            assert!(error.starts_with("the target's URL cannot be used: "), "{error}");
            assert!(!error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let url = |text| BaseUrl::parse(text, "target").expect("fine");
        assert!(url("http://a:1/x").same_origin(&url("http://u:p@a:1/metrics")));
        assert!(!url("http://a:1").same_origin(&url("http://a:2")));
        assert!(!url("http://a:1").same_origin(&url("https://a:1")));
    }
}
