//! Every refusal, and how each dialect spells it.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bigbatch_engine::RequestError;
use serde::Serialize;
use utoipa::ToSchema;

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

/// Whose error shape a route answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error", "error_type"}`.
    Tei,
    /// `{"error": {message, type, param, code}}`, used by OpenAI and vLLM alike.
    OpenAi,
}

impl Dialect {
    /// The dialect of a path, for what is refused before its body is read.
    pub(crate) fn of(path: &str) -> Dialect {
        let path = match path.strip_prefix("/models/") {
            Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
            None => path,
        };
        let open_ai = path.starts_with("/v1/") || path.starts_with("/v2/");
        match path {
            "/embeddings" | "/pooling" | "/score" => Dialect::OpenAi,
            _ if open_ai => Dialect::OpenAi,
            _ => Dialect::Tei,
        }
    }
}

/// A refusal as text-embeddings-inference spells it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeiError {
    /// One line for a person.
    error: String,
    /// `Validation`, `Empty`, `Overloaded`, `Backend`, `Unhealthy` or `Unauthorized`.
    error_type: &'static str,
}

/// A refusal as OpenAI and vLLM spell it: what stands under `error`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    /// One line for a person.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `not_found_error`, `overloaded_error` or
    /// `server_error`.
    r#type: &'static str,
    /// The field at fault, where it is known.
    param: Option<&'static str>,
    /// The status.
    code: u16,
}

/// The body of such a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiErrorBody {
    error: OpenAiError,
}

/// What a handler of text-embeddings-inference's dialect fails with.
#[derive(Debug)]
pub(crate) struct Tei(pub(crate) Refusal);

/// What a handler of OpenAI's and vLLM's dialect fails with.
#[derive(Debug)]
pub(crate) struct OpenAi(pub(crate) Refusal);

impl<E: Into<Refusal>> From<E> for Tei {
    fn from(error: E) -> Tei {
        Tei(error.into())
    }
}

impl<E: Into<Refusal>> From<E> for OpenAi {
    fn from(error: E) -> OpenAi {
        OpenAi(error.into())
    }
}

impl IntoResponse for Tei {
    fn into_response(self) -> Response {
        self.0.answer(Dialect::Tei)
    }
}

impl IntoResponse for OpenAi {
    fn into_response(self) -> Response {
        self.0.answer(Dialect::OpenAi)
    }
}

impl Refusal {
    /// As an answer of this dialect.
    pub fn answer(self, dialect: Dialect) -> Response {
        let (tei_status, error_type, openai_status, _) = self.spelling();
        let message = self.to_string();
        let mut response = match dialect {
            Dialect::Tei => {
                (tei_status, axum::Json(TeiError { error: message, error_type })).into_response()
            }
            Dialect::OpenAi => {
                let error = self.openai();
                (openai_status, axum::Json(OpenAiErrorBody { error })).into_response()
            }
        };
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Reason(self.reason()));
        response
    }

    /// When to come again, where coming again can help: once those that wait now are answered.
    fn retry_after_seconds(&self) -> Option<u64> {
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

    /// What stands under `error` in OpenAI's dialect.
    pub(crate) fn openai(&self) -> OpenAiError {
        let (_, _, status, kind) = self.spelling();
        let param = match self {
            Refusal::Empty(_) | Refusal::TooLong(_) | Refusal::TooMany { .. } => Some("input"),
            Refusal::UnknownModel { .. } => Some("model"),
            _ => None,
        };
        OpenAiError { message: self.to_string(), r#type: kind, param, code: status.as_u16() }
    }

    /// TEI's status and type, OpenAI's status and type.
    fn spelling(&self) -> (StatusCode, &'static str, StatusCode, &'static str) {
        use StatusCode as S;
        const BAD: &str = "invalid_request_error";
        match self {
            Refusal::Syntax(_) => (S::BAD_REQUEST, "Validation", S::BAD_REQUEST, BAD),
            Refusal::Empty(_) => (S::BAD_REQUEST, "Empty", S::BAD_REQUEST, BAD),
            Refusal::ContentType | Refusal::Encoding => {
                (S::UNSUPPORTED_MEDIA_TYPE, "Validation", S::UNSUPPORTED_MEDIA_TYPE, BAD)
            }
            Refusal::TooLarge { .. } => {
                (S::PAYLOAD_TOO_LARGE, "Validation", S::PAYLOAD_TOO_LARGE, BAD)
            }
            Refusal::Shape(_)
            | Refusal::Invalid(_)
            | Refusal::TooLong(_)
            | Refusal::TooMany { .. } => {
                (S::UNPROCESSABLE_ENTITY, "Validation", S::BAD_REQUEST, BAD)
            }
            Refusal::WrongKind(_) => (S::FAILED_DEPENDENCY, "Backend", S::BAD_REQUEST, BAD),
            Refusal::UnknownModel { .. } => {
                (S::NOT_FOUND, "Validation", S::NOT_FOUND, "not_found_error")
            }
            Refusal::NoRoute(_) => (S::NOT_FOUND, "Validation", S::NOT_FOUND, "not_found_error"),
            Refusal::Method(_) => (S::METHOD_NOT_ALLOWED, "Validation", S::METHOD_NOT_ALLOWED, BAD),
            Refusal::Overloaded { .. } => {
                (S::TOO_MANY_REQUESTS, "Overloaded", S::TOO_MANY_REQUESTS, "overloaded_error")
            }
            Refusal::Unauthorized => {
                (S::UNAUTHORIZED, "Unauthorized", S::UNAUTHORIZED, "authentication_error")
            }
            Refusal::SlowBody { .. } => (S::REQUEST_TIMEOUT, "Validation", S::REQUEST_TIMEOUT, BAD),
            Refusal::Late { .. } => {
                (S::SERVICE_UNAVAILABLE, "Overloaded", S::SERVICE_UNAVAILABLE, "overloaded_error")
            }
            Refusal::Backend(_) => {
                (S::FAILED_DEPENDENCY, "Backend", S::INTERNAL_SERVER_ERROR, "server_error")
            }
            Refusal::Unavailable(_) => {
                (S::SERVICE_UNAVAILABLE, "Unhealthy", S::SERVICE_UNAVAILABLE, "server_error")
            }
        }
    }
}
