//! Why a request is refused, independent of the dialect.
//!
//! How a dialect spells a refusal is in its file below `wire`; [`Dialect::render`](crate::Dialect::render)
//! picks it.

use std::fmt::Display;
use std::time::Duration;

use bigbatch_engine::RequestError;

/// `Retry-After` where nothing predicts the wait, and its minimum elsewhere.
const RETRY_AFTER_SECONDS_MIN: u64 = 1;
/// Maximum of `Retry-After`: a prediction from few batches may be far off.
const RETRY_AFTER_SECONDS_MAX: u64 = 60;

/// Bytes of a message that are sent.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    /// The body is JSON, but not of the shape that the endpoint takes.
    #[error("{0}")]
    Shape(String),
    /// The body is not declared to be JSON.
    #[error("the content type must be application/json")]
    ContentType,
    /// The body has more bytes than the limit.
    #[error("the body is larger than {limit_bytes} bytes, the limit ({flag})")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
        /// The option that sets the limit.
        flag: &'static str,
    },
    /// The body grows too much when it is decompressed.
    #[error(
        "the decompressed body is more than {ratio_max} times as large as the body sent, the limit \
         (--compression-ratio-limit); send it uncompressed"
    )]
    Ratio {
        /// The limit, as a multiple of the bytes sent.
        ratio_max: usize,
    },
    /// The request could hold more of the host's memory than one request may.
    #[error(
        "the request could take {needed_bytes} bytes of the server's memory; the limit for one request is \
         {limit_bytes} (--host-memory-budget); send fewer or shorter texts"
    )]
    NeedsMemory {
        /// The bytes that it could take.
        needed_bytes: usize,
        /// The bytes that it may take.
        limit_bytes: usize,
    },
    /// The request has no input, or an empty one.
    #[error("{0}")]
    Empty(String),
    /// A field has a value outside its range.
    #[error("{0}")]
    Invalid(String),
    /// The input has more tokens than the model or a limit allows.
    #[error("{0}")]
    TooLong(String),
    /// The request has more inputs than the limit.
    #[error("the request has {count} inputs; the limit is {limit} ({flag})")]
    TooMany {
        /// Number of inputs sent.
        count: usize,
        /// Maximum number of inputs.
        limit: usize,
        /// The option that sets the limit.
        flag: &'static str,
    },
    /// The model has no head for this task.
    #[error("{0}")]
    WrongKind(String),
    /// No model has the name that was sent.
    #[error("no model is called '{name}'; this server has {known}")]
    UnknownModel {
        /// The name that was sent.
        name: String,
        /// The names of all models, joined by commas.
        known: String,
    },
    /// The head names no host, or several.
    #[error("an HTTP/1.1 request has exactly one Host header; this one has {0}")]
    Host(usize),
    /// No endpoint has this path.
    #[error("there is no {path}; {document} lists the endpoints")]
    NoRoute {
        /// The path that was asked for.
        path: String,
        /// The page that lists the endpoints of the listener.
        document: &'static str,
    },
    /// No guardrail has this name, which is a part of the address in the dialect of FMS.
    #[error("no detector is called '{name}'; this server has {known}")]
    UnknownDetector {
        /// The name that was sent.
        name: String,
        /// The names of all guardrails, joined by commas.
        known: String,
    },
    /// The path exists, but not for this method.
    #[error("{path} does not support this method; {document} lists the methods")]
    Method {
        /// The path that was asked for.
        path: String,
        /// The page that lists the endpoints of the listener.
        document: &'static str,
    },
    /// The queue is full.
    #[error("{message}")]
    Overloaded {
        /// One line for a person.
        message: String,
        /// Predicted time until the queued requests are answered, where it can be predicted.
        wait: Option<Duration>,
    },
    /// The device failed while it ran the batch of this request.
    #[error("{0}")]
    Backend(String),
    /// The API key is missing or unknown.
    #[error("this server needs an API key; send `Authorization: Bearer KEY` with a valid key")]
    Unauthorized,
    /// The body has an unsupported `content-encoding`.
    #[error("the content-encoding must be a single one of gzip, deflate and identity")]
    Encoding,
    /// The body did not arrive in time.
    #[error("the body did not arrive within {seconds} s (--body-timeout)")]
    SlowBody {
        /// The limit in seconds.
        seconds: u64,
    },
    /// The request was not answered in time.
    #[error("no answer within {seconds} s (--request-timeout); try again later")]
    Late {
        /// The limit in seconds.
        seconds: u64,
    },
    /// The client has more inputs in flight than its share.
    #[error(
        "this client has {held} inputs in flight of the {limit} that the model takes (--max-concurrent-requests), and \
         others wait; send the request again when some are answered"
    )]
    OverShare {
        /// Inputs of the client in flight.
        held: usize,
        /// Slots of the engine.
        limit: usize,
        /// Predicted time until the queued requests are answered, where it can be predicted.
        wait: Option<Duration>,
    },
    /// The answer is predicted to be later than the request's own deadline.
    #[error(
        "the answer is predicted to take {} ms; the limit is {} ms, a part of the deadline of {} ms (`timeout_ms` or \
         x-request-timeout-ms); try again later, or give the request more time",
        wait.as_millis(),
        limit.as_millis(),
        deadline.as_millis()
    )]
    DeadlineTooShort {
        /// Predicted time until the request and those before it are answered.
        wait: Duration,
        /// Upper limit on it: the rest of the deadline's time is for errors of the prediction and for other requests.
        limit: Duration,
        /// The deadline, from the arrival of the request.
        deadline: Duration,
    },
    /// The request's own deadline passed before it was answered.
    #[error("{0}")]
    DeadlinePassed(String),
    /// The device is lost, or the server is stopping.
    #[error("{0}")]
    Unavailable(String),
}

/// An input that was refused, among others of its request.
#[derive(Debug, Clone)]
pub(crate) struct FailedInput {
    /// Index of the input in the request.
    pub(crate) index: usize,
    pub(crate) refusal: Refusal,
}

/// Why a request got no answer, and the input at fault, if it is one.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) index: Option<usize>,
    pub(crate) refusal: Refusal,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure { index: None, refusal }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        Failure::from(Refusal::from(error))
    }
}

impl From<FailedInput> for Failure {
    fn from(FailedInput { index, refusal }: FailedInput) -> Failure {
        Failure { index: Some(index), refusal }
    }
}

/// The values of [`Refusal::reason`], and `other`.
pub const REASONS: [&str; 25] = [
    "syntax",
    "shape",
    "content_type",
    "too_large",
    "empty",
    "invalid",
    "too_long",
    "too_many",
    "wrong_kind",
    "unknown_model",
    "overloaded",
    "backend",
    "unauthorized",
    "encoding",
    "slow_body",
    "late",
    "over_share",
    "deadline_too_short",
    "deadline_passed",
    "unavailable",
    "no_route",
    "method",
    HEAD_REASON,
    SLOW_HEAD_REASON,
    OTHER_REASON,
];

/// The reason of a request whose head is malformed or larger than `--header-limit`.
pub(crate) const HEAD_REASON: &str = "head";

/// The reason of a request whose head took longer than `--header-timeout`.
pub(crate) const SLOW_HEAD_REASON: &str = "slow_head";

/// The reason of an error that the framework answered without a [`Refusal`].
pub(crate) const OTHER_REASON: &str = "other";

/// The page that lists the endpoints of the usual listener.
pub(crate) const DOCUMENT: &str = "/docs";

/// The reason for a refusal, in the extensions of its response, for the counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) &'static str);

/// The message of a refusal without the client's text, in the extensions of its response, for the dashboard.
#[derive(Debug, Clone)]
pub(crate) struct PublicMessage(pub(crate) String);

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        let message = error.to_string();
        match error {
            RequestError::Empty => Refusal::Empty(message),
            RequestError::TooLong { tokens, at_least, limit } => {
                let given = if at_least { "at least " } else { "" };
                // The beginning is TEI's own message: clients search for it.
                Refusal::TooLong(format!(
                    "`inputs` must have less than {limit} tokens. Given: {given}{tokens}; set `truncate` to cut it"
                ))
            }
            RequestError::Overloaded { wait, .. } => Refusal::Overloaded { message, wait },
            RequestError::WaitTooLong { wait, limit } => Refusal::Overloaded {
                message: format!(
                    "the answer is predicted to take {:.1} s; the limit is {:.1} s, four fifths of --request-timeout; \
                     try again later",
                    wait.as_secs_f64(),
                    limit.as_secs_f64()
                ),
                wait: Some(wait.saturating_sub(limit)),
            },
            RequestError::TooMuchWork { wait, limit } => Refusal::Overloaded {
                message: format!(
                    "the inputs after the first are predicted to take {:.1} s with those of other requests; the limit \
                     is {:.1} s, two fifths of --request-timeout; send fewer inputs per request",
                    wait.as_secs_f64(),
                    limit.as_secs_f64()
                ),
                wait: Some(wait.saturating_sub(limit)),
            },
            RequestError::DeadlinePassed => Refusal::DeadlinePassed(message),
            RequestError::WrongTask { .. } => Refusal::WrongKind(message),
            RequestError::Invalid(_) => Refusal::Invalid(message),
            RequestError::Device(_) | RequestError::NotFinite => Refusal::Backend(message),
            RequestError::DeviceLost(_) | RequestError::Stopped => Refusal::Unavailable(message),
        }
    }
}

impl Refusal {
    /// Returns one line for a person. A long one, which repeats what the client has sent, loses its middle.
    pub(crate) fn message(&self) -> String {
        let message = self.to_string();
        if message.len() <= MESSAGE_BYTES_MAX {
            return message;
        }
        let (half, is_boundary) =
            (MESSAGE_BYTES_MAX / 2, |at: &usize| message.is_char_boundary(*at));
        let head = (0..=half).rfind(is_boundary).unwrap_or(0);
        let tail = (message.len() - half..message.len()).find(is_boundary).unwrap_or(message.len());
        format!("{} [...] {}", &message[..head], &message[tail..])
    }

    /// Returns when to retry, where a retry can help: once the queued requests are answered.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        let wait = match self {
            Refusal::Overloaded { wait, .. } => wait.unwrap_or_default(),
            Refusal::OverShare { wait, .. } => wait.unwrap_or_default(),
            Refusal::DeadlineTooShort { wait, limit, .. } => wait.saturating_sub(*limit),
            Refusal::Unavailable(_) | Refusal::Late { .. } | Refusal::DeadlinePassed(_) => {
                Duration::ZERO
            }
            _ => return None,
        };
        let seconds = wait.as_secs_f64().ceil() as u64;
        Some(seconds.clamp(RETRY_AFTER_SECONDS_MIN, RETRY_AFTER_SECONDS_MAX))
    }

    /// Adds to the message which part of the request is at fault.
    pub(crate) fn of_part(self, part: impl Display) -> Refusal {
        let add = |message: String| format!("{message} ({part})");
        match self {
            Refusal::Empty(message) => Refusal::Empty(add(message)),
            Refusal::Invalid(message) => Refusal::Invalid(add(message)),
            Refusal::TooLong(message) => Refusal::TooLong(add(message)),
            Refusal::Backend(message) => Refusal::Backend(add(message)),
            other => other,
        }
    }

    /// Returns the message as others than the client may read it: without the client's own text, and cut to
    /// [`PUBLIC_CHARACTERS`], because it is kept.
    pub(crate) fn public_message(&self) -> String {
        let message = match self {
            Refusal::UnknownModel { known, .. } => {
                format!("no model is called '…'; this server has {known}")
            }
            &Refusal::NoRoute { document, .. } => {
                Refusal::NoRoute { path: "such path".into(), document }.to_string()
            }
            &Refusal::Method { document, .. } => {
                Refusal::Method { path: "the path".into(), document }.to_string()
            }
            other => without_quotations(&other.to_string()),
        };
        message.chars().take(PUBLIC_CHARACTERS).collect()
    }

    /// Returns the name of the refusal in counters and logs: one of [`REASONS`].
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Syntax(_) => "syntax",
            Refusal::Shape(_) => "shape",
            Refusal::ContentType => "content_type",
            Refusal::TooLarge { .. } | Refusal::Ratio { .. } | Refusal::NeedsMemory { .. } => {
                "too_large"
            }
            Refusal::Empty(_) => "empty",
            Refusal::Invalid(_) => "invalid",
            Refusal::TooLong(_) => "too_long",
            Refusal::TooMany { .. } => "too_many",
            Refusal::WrongKind(_) => "wrong_kind",
            Refusal::UnknownModel { .. } => "unknown_model",
            Refusal::Overloaded { .. } => "overloaded",
            Refusal::Backend(_) => "backend",
            Refusal::Unauthorized => "unauthorized",
            Refusal::Encoding => "encoding",
            Refusal::SlowBody { .. } => "slow_body",
            Refusal::Late { .. } => "late",
            Refusal::OverShare { .. } => "over_share",
            Refusal::DeadlineTooShort { .. } => "deadline_too_short",
            Refusal::DeadlinePassed(_) => "deadline_passed",
            Refusal::Unavailable(_) => "unavailable",
            Refusal::Host(_) => HEAD_REASON,
            Refusal::NoRoute { .. } | Refusal::UnknownDetector { .. } => "no_route",
            Refusal::Method { .. } => "method",
        }
    }
}

/// Characters that are kept of a message for others than the client.
const PUBLIC_CHARACTERS: usize = 300;

/// Where a message quotes the client: serde_json's quotations of values and of unknown names, and the quotes of our own
/// messages.
const QUOTATIONS: [&str; 8] = [
    "\"",
    " '",
    "unknown variant `",
    "unknown field `",
    "character `",
    "integer `",
    "floating point `",
    "boolean `",
];

/// Replaces what a message quotes of the client with `…`, from the first quotation to the last mark of its kind: the
/// quoted text may hold any character, the mark included.
fn without_quotations(message: &str) -> String {
    let find = |opening: &&str| message.find(*opening).map(|at| at + opening.len());
    let Some(start) = QUOTATIONS.iter().filter_map(find).min() else { return message.into() };
    let (before, quoted) = message.split_at(start);
    let mark = before.chars().next_back().unwrap_or('"');
    // The one that closes is not within a word, as an apostrophe is.
    let closes = |(at, _): &(usize, &str)| {
        !quoted[at + mark.len_utf8()..].starts_with(|c: char| c.is_alphanumeric())
    };
    let rest = quoted.rmatch_indices(mark).find(closes).map_or("", |(end, _)| &quoted[end..]);
    format!("{before}…{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_do_not_read_what_a_client_sent() {
        let secret = "SECRET";
        let refusals = [
            Refusal::UnknownModel { name: secret.into(), known: "a, b".into() },
            Refusal::UnknownDetector { name: secret.into(), known: "a, b".into() },
            Refusal::NoRoute { path: format!("/{secret}"), document: "/docs" },
            Refusal::Method { path: format!("/{secret}"), document: "/docs" },
            Refusal::Shape(format!(
                "`inputs`: invalid type: string \"x\\\" {secret}\", expected u8"
            )),
            Refusal::Shape(format!("unknown variant `a` {secret}`, expected `b`")),
            Refusal::Shape(format!("unknown field `{secret}`; leave it out")),
            Refusal::Invalid(format!("`models` names 'a' {secret}' twice; name each model once")),
        ];
        for refusal in refusals {
            let message = refusal.public_message();
            assert!(!message.contains(secret) && message.contains(['…', '/']), "{message}");
        }
        let long = Refusal::Backend("x".repeat(1000));
        assert_eq!(long.public_message().chars().count(), PUBLIC_CHARACTERS);
        let own = Refusal::Empty("`inputs` cannot be empty".into());
        assert_eq!(own.public_message(), "`inputs` cannot be empty");
        let known = Refusal::UnknownModel { name: secret.into(), known: "a, b".into() };
        assert_eq!(known.public_message(), "no model is called '…'; this server has a, b");
    }
}
