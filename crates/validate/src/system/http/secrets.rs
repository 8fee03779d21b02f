//! The user's keys and headers, which are sent and never printed.
//!
//! A target may repeat a key in an error, so everything from a target is redacted before it is kept. No
//! `Debug` implementation here shows a value.

use std::fmt;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};

use super::error::TargetError;

/// Headers that the client sets.
const OURS: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];
/// Shortest value that is redacted; redacting shorter ones would make messages unreadable.
const HIDDEN_BYTES_MIN: usize = 4;
/// Replacement of a secret.
const HIDDEN: &str = "[hidden]";
/// Largest key file; a larger file is some other file.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Headers to send, and the strings to redact from everything that comes back.
#[derive(Clone, Default)]
pub struct Secrets {
    headers: HeaderMap,
    hidden: Vec<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} headers)", self.headers.len())
    }
}

impl Secrets {
    /// Parses headers written as `Name: value`.
    ///
    /// # Errors
    /// [`TargetError::Header`] with the position of the first header that cannot be sent.
    pub fn from_headers(headers: &[String]) -> Result<Secrets, TargetError> {
        let mut secrets = Secrets::default();
        for (index, header) in headers.iter().enumerate() {
            let wrong = |reason| TargetError::Header { place: index + 1, reason };
            let (name, value) = header.split_once(':').ok_or_else(|| wrong("it has no colon"))?;
            let name: HeaderName =
                name.trim().parse().map_err(|_| wrong("its name is not a header's name"))?;
            if OURS.contains(&name) {
                return Err(wrong("the client sets this header itself"));
            }
            secrets.add(name, value.trim()).ok_or_else(|| wrong("its value is not text"))?;
        }
        Ok(secrets)
    }

    /// Adds the key in a file as `Authorization: Bearer KEY`.
    ///
    /// # Errors
    /// [`TargetError::KeyFile`] if the file is unreadable, empty, larger than 64 KiB, or not one line.
    pub fn add_key_file(&mut self, path: &Path) -> Result<(), TargetError> {
        let wrong = |reason: String| TargetError::KeyFile { path: path.to_owned(), reason };
        let bytes = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if bytes > KEY_FILE_BYTES_MAX {
            return Err(wrong(format!(
                "it has {bytes} bytes, and a key file at most {KEY_FILE_BYTES_MAX}"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let key = text.trim();
        if key.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        self.add(AUTHORIZATION, &format!("Bearer {key}")).ok_or_else(|| {
            wrong(
                "it has more than one line, or characters that are not allowed in a header".into(),
            )
        })
    }

    /// Adds `user:password` as basic authentication.
    pub(super) fn add_basic(&mut self, credentials: &str) {
        self.hide(credentials);
        if let Some((_, password)) = credentials.split_once(':') {
            self.hide(password);
        }
        // Base64 is always a valid value.
        let _ = self.add(AUTHORIZATION, &format!("Basic {}", BASE64_STANDARD.encode(credentials)));
    }

    /// Redacts `text` from now on.
    pub(super) fn hide(&mut self, text: &str) {
        if text.len() >= HIDDEN_BYTES_MIN {
            self.hidden.push(text.to_owned());
            // Longest first: replacing a secret's part first would leave the rest of it.
            self.hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        }
    }

    fn add(&mut self, name: HeaderName, value: &str) -> Option<()> {
        let mut sent = HeaderValue::from_str(value).ok()?;
        sent.set_sensitive(true);
        self.headers.append(name, sent);
        self.hide(value);
        if let Some((_, key)) = value.split_once(' ') {
            self.hide(key.trim());
        }
        Some(())
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Replaces every secret in `text`.
    pub(super) fn redact(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, hidden| text.replace(hidden, HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_of_what_comes_back() {
        let headers = ["X-Key: hunter2hunter2".to_owned(), "X-Tenant: abc".to_owned()];
        let mut secrets = Secrets::from_headers(&headers).expect("fine");
        secrets.add_basic("bob:sesame99");
        let told = secrets.redact("no hunter2hunter2, no sesame99, no Ym9iOnNlc2FtZTk5, but abc");
        assert_eq!(told, "no [hidden], no [hidden], no [hidden], but abc");
        assert_eq!(secrets.headers().len(), 3);
        assert!(!format!("{secrets:?} {:?}", secrets.headers()).contains("hunter"));
    }

    #[test]
    fn headers_that_cannot_be_sent_are_named_by_place_only() {
        for bad in ["hunter2", "a b: hunter2", "X: hunter2\nY: z", "Content-Length: hunter2"] {
            let headers = ["Fine: value".to_owned(), bad.to_owned()];
            let error = Secrets::from_headers(&headers).expect_err("refused").to_string();
            assert!(error.starts_with("header 2 ") && !error.contains("hunter"), "{error}");
        }
    }
}
