//! Why a request is refused, in no dialect.
//!
//! How a dialect spells a refusal is in its file below `wire`; [`Dialect::render`](crate::Dialect::render)
//! picks it.

use std::time::Duration;

use bigbatch_engine::error::RequestError;

/// `Retry-After` where nothing predicts the wait, and the least that is said.
const RETRY_AFTER_SECONDS_MIN: u64 = 1;
/// The most that is said: a prediction from few batches may be far off.
const RETRY_AFTER_SECONDS_MAX: u64 = 60;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is no JSON.
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    /// The body is JSON of another shape than the endpoint takes.
    #[error("{0}")]
    Shape(String),
    /// The body is not declared to be JSON.
    #[error("the content type must be application/json")]
    ContentType,
    /// More bytes than the limit.
    #[error("the body is larger than {limit_bytes} bytes, the limit ({flag})")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
        /// What sets it.
        flag: &'static str,
    },
    /// Nothing to work on.
    #[error("{0}")]
    Empty(String),
    /// A value that cannot be honoured.
    #[error("{0}")]
    Invalid(String),
    /// More tokens than the model or its budget takes.
    #[error("{0}")]
    TooLong(String),
    /// More inputs than the limit.
    #[error("{count} inputs, the limit is {limit} ({flag})")]
    TooMany {
        /// Inputs sent.
        count: usize,
        /// The limit.
        limit: usize,
        /// What sets it.
        flag: &'static str,
    },
    /// The model does something else.
    #[error("{0}")]
    WrongKind(String),
    /// No such model.
    #[error("no model is called '{asked}'; there are {known}")]
    UnknownModel {
        /// The name sent.
        asked: String,
        /// The names that there are.
        known: String,
    },
    /// No such endpoint.
    #[error("there is no {0}; /docs lists the endpoints")]
    NoRoute(String),
    /// The endpoint takes another method.
    #[error("{0} does not take this method; /docs says which")]
    Method(String),
    /// Too many requests wait.
    #[error("{message}")]
    Overloaded {
        /// One line for a person.
        message: String,
        /// How long those that wait will take, where it can be predicted.
        wait: Option<Duration>,
    },
    /// The device failed on this batch.
    #[error("{0}")]
    Backend(String),
    /// No key, or one that is not known.
    #[error(
        "this server needs an API key: send `Authorization: Bearer KEY` with one that it knows"
    )]
    Unauthorized,
    /// The body is compressed in a way that is not taken.
    #[error("the body's content-encoding must be gzip, deflate or identity, and one of them only")]
    Encoding,
    /// The body did not come in time.
    #[error("the body did not come within {seconds} s (--body-timeout)")]
    SlowBody {
        /// The limit.
        seconds: u64,
    },
    /// The answer did not come in time.
    #[error("no answer within {seconds} s (--request-timeout); try again later")]
    Late {
        /// The limit.
        seconds: u64,
    },
    /// The device is lost, or the server is stopping.
    #[error("{0}")]
    Unavailable(String),
}

/// Every value of [`Refusal::reason`], and `other`.
pub const REASONS: [&str; 20] = [
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
    "unavailable",
    "no_route",
    "method",
    OTHER_REASON,
];

/// Why something was refused that never became a [`Refusal`].
pub(crate) const OTHER_REASON: &str = "other";

/// Rides on a refusal's response, for the counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) &'static str);

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        let said = error.to_string();
        match error {
            RequestError::Empty => Refusal::Empty(said),
            RequestError::TooLong { tokens, limit } => {
                // TEI's own words stand at the front: clients look for them.
                Refusal::TooLong(format!(
                    "`inputs` must have less than {limit} tokens. Given: {tokens}; ask for truncation to cut it"
                ))
            }
            RequestError::Overloaded { wait, .. } => Refusal::Overloaded { message: said, wait },
            RequestError::WrongTask { .. } => Refusal::WrongKind(said),
            RequestError::Invalid(_) => Refusal::Invalid(said),
            RequestError::Device(_) | RequestError::NotFinite => Refusal::Backend(said),
            RequestError::DeviceLost(_) | RequestError::Stopped => Refusal::Unavailable(said),
        }
    }
}

impl Refusal {
    /// When to come again, where coming again can help: once those that wait now are answered.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        let wait = match self {
            Refusal::Overloaded { wait, .. } => wait.unwrap_or_default(),
            Refusal::Unavailable(_) | Refusal::Late { .. } => Duration::ZERO,
            _ => return None,
        };
        let seconds = wait.as_secs_f64().ceil() as u64;
        Some(seconds.clamp(RETRY_AFTER_SECONDS_MIN, RETRY_AFTER_SECONDS_MAX))
    }

    /// One of [`REASONS`]: what counters and logs call it.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Syntax(_) => "syntax",
            Refusal::Shape(_) => "shape",
            Refusal::ContentType => "content_type",
            Refusal::TooLarge { .. } => "too_large",
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
            Refusal::Unavailable(_) => "unavailable",
            Refusal::NoRoute(_) => "no_route",
            Refusal::Method(_) => "method",
        }
    }
}
