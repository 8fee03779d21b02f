//! Classifies error replies and broken exchanges into the kinds of failure that reports count.
//!
//! Servers disagree about statuses, so the message counts too: out of memory is 424, 500 or 507, and a
//! text that is too long is 400, 413 or 422. The order of the rules matters: out of memory wins over any
//! status, and 429 and 503 are refusals whatever the message.

use serde_json::Value;

use super::client::{Exchange, ExchangeError};
use super::secrets::Secrets;
use crate::system::target::{Failure, FailureKind};

/// Characters of a target's message that are kept.
const MESSAGE_CHARS_MAX: usize = 240;

/// Messages of targets out of memory, in lower case.
const OUT_OF_MEMORY: [&str; 3] = ["out of memory", "out_of_memory", "outofmemory"];
/// Messages of targets for texts that are too long, in lower case.
const TOO_LONG: [&str; 9] = [
    "too long",
    "too many tokens",
    "must have less than",
    "must have at most",
    "maximum context length",
    "context_length_exceeded",
    "maximum sequence length",
    "max_model_len",
    "longer than the maximum",
];

/// Classifies a reply with a status other than 200.
pub(super) fn status_failure(exchange: &Exchange, secrets: &Secrets) -> Failure {
    let status = exchange.status.as_u16();
    let text = error_message(&exchange.body);
    let mut failure =
        Failure::new(kind(status, &text), format!("HTTP {status}: {}", sanitize(&text, secrets)));
    failure.retry_after = exchange.retry_after();
    failure
}

/// Classifies an exchange without a complete reply.
pub(super) fn exchange_failure(fault: &ExchangeError, secrets: &Secrets) -> Failure {
    let kind = match fault {
        ExchangeError::Generator(_) => FailureKind::Generator,
        ExchangeError::Connect(_) | ExchangeError::Connection(_) => FailureKind::Transport,
        ExchangeError::NotHttp(_) => FailureKind::BadReply,
    };
    Failure::new(kind, sanitize(fault.message(), secrets))
}

fn kind(status: u16, text: &str) -> FailureKind {
    let text = text.to_ascii_lowercase();
    let has = |pieces: &[&str]| pieces.iter().any(|piece| text.contains(piece));
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric());
    if has(&OUT_OF_MEMORY) || words().any(|word| word == "oom") {
        return FailureKind::OutOfMemory;
    }
    match status {
        429 | 503 => FailureKind::Refused,
        413 => FailureKind::TooLong,
        400 | 422 if has(&TOO_LONG) => FailureKind::TooLong,
        _ => FailureKind::Server,
    }
}

/// Returns the message of an error's body, in any of the dialects; else the body as text.
pub(super) fn error_message(body: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        let error = &value["error"];
        let candidates = [&error["message"], error, &value["message"], &value["detail"]];
        let found = candidates.into_iter().find(|candidate| !candidate.is_null())?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    });
    message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// Cuts text to one line of at most [`MESSAGE_CHARS_MAX`] characters without secrets. It stays untrusted:
/// escape it before printing.
pub(super) fn sanitize(text: &str, secrets: &Secrets) -> String {
    let text = secrets.redact(text);
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.chars().map(visible).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "no message".into();
    }
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_from_status_and_words() {
        use FailureKind::{OutOfMemory, Refused, Server, TooLong};
        for (status, body, expected) in [
            (429, r#"{"error":"Model is overloaded","error_type":"Overloaded"}"#, Refused),
            (503, "", Refused),
            (413, r#"{"error":"`inputs` must have less than 512 tokens. Given: 600"}"#, TooLong),
            (422, r#"{"error":"`inputs` must have less than 512 tokens. Given: 600"}"#, TooLong),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 512 tokens.","code":400}}"#,
                TooLong,
            ),
            (422, r#"{"error":"batch size 64 > maximum allowed batch size 32"}"#, Server),
            (
                424,
                r#"{"error":"DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"}"#,
                OutOfMemory,
            ),
            (500, "CUDA out of memory. Tried to allocate 2.00 GiB", OutOfMemory),
            (429, r#"{"error":"device OOM"}"#, OutOfMemory),
            (500, "no room in the classroom", Server),
            (424, r#"{"error":"backend","error_type":"Backend"}"#, Server),
            (500, "<html>Internal Server Error</html>", Server),
            (301, "", Server),
        ] {
            assert_eq!(kind(status, &error_message(body.as_bytes())), expected, "{status} {body}");
        }
    }

    #[test]
    fn messages_are_found_in_every_dialect() {
        for (body, expected) in [
            (r#"{"error":"plain","error_type":"Backend"}"#, "plain"),
            (r#"{"error":{"message":"nested"}}"#, "nested"),
            (r#"{"object":"error","message":"old vLLM"}"#, "old vLLM"),
            (r#"{"detail":"Not Discovery"}"#, "Not Discovery"),
            (r#"{"detail":[{"loc":["body"]}]}"#, r#"[{"loc":["body"]}]"#),
            ("plain text", "plain text"),
        ] {
            assert_eq!(error_message(body.as_bytes()), expected);
        }
    }

    #[test]
    fn messages_are_one_bounded_line_without_secrets() {
        let secrets = Secrets::from_headers(&["X-Key: sesame99".into()]).expect("fine");
        let text = format!("a\nb\u{7}\tsesame99 {}", "ä".repeat(1000));
        let shown = sanitize(&text, &secrets);
        assert!(shown.starts_with("a b [hidden] ä") && shown.ends_with("..."), "{shown}");
        assert_eq!(shown.chars().count(), MESSAGE_CHARS_MAX + 3);
        assert_eq!(sanitize(" \r\n", &secrets), "no message");
    }
}
