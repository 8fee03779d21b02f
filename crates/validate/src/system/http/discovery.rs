//! Detects a target's dialect, the kind of its model and its limits.
//!
//! Only requests without side effects are sent, the most specific first: `/info` belongs to
//! text-embeddings-inference, `/v1/models` distinguishes vLLM from other servers of OpenAI's dialect. No
//! route reports which of vLLM's endpoints a model supports, so one short text is sent to each until one
//! answers. Values that the user gave are kept; the requests then only fill in the report.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::CONTENT_ENCODING;
use serde_json::Value;
use tokio::time::timeout;

use super::client::{Client, Exchange, ExchangeError};
use super::dialect::{Api, Endpoint};
use super::error::TargetError;
use super::failure::{error_message, sanitize};
use super::secrets::Secrets;
use super::url::BaseUrl;
use super::{openai, tei};
use crate::system::target::{TargetInfo, Terms};

/// The short text that a target is tried with.
pub(super) const PROBE: &str = "Is anybody there?";

/// Time limit of each request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The dialect, endpoint and description that were detected.
pub(super) struct Discovery {
    pub(super) endpoint: Endpoint,
    pub(super) info: TargetInfo,
    /// The model's name, if the target lists its models.
    pub(super) model: Option<String>,
    /// The software, for the summary line.
    pub(super) software: &'static str,
}

/// A client with the target's address, for requests before the load.
pub(super) struct Prober<'a> {
    pub(super) client: &'a Client,
    pub(super) url: &'a BaseUrl,
    pub(super) secrets: &'a Secrets,
}

impl Prober<'_> {
    /// Detects the dialect, endpoint and model. Values of the user in `api`, `endpoint` and `model` are kept.
    pub(super) async fn discover(
        &self,
        api: Api,
        endpoint: Option<Endpoint>,
        model: Option<&str>,
    ) -> Result<Discovery, TargetError> {
        let api = endpoint.map_or(api, Endpoint::api);
        let mut tried = Vec::new();
        if matches!(api, Api::Auto | Api::Tei) {
            if let Some(found) = self.discover_tei(endpoint, &mut tried).await? {
                return Ok(found);
            }
            if api == Api::Tei {
                let endpoint = endpoint.unwrap_or(Endpoint::TeiEmbed);
                return Ok(Discovery::new(
                    endpoint,
                    "a server of text-embeddings-inference's dialect",
                ));
            }
        }
        let listed = self.first_model(&mut tried).await?;
        let vllm = listed.as_ref().is_some_and(|listed| listed.owner == "vllm");
        let mut found = match (endpoint, api) {
            (Some(endpoint), _) => Discovery::new(endpoint, "a server"),
            (None, Api::OpenAi) => Discovery::new(
                listed.as_ref().map_or(Endpoint::OpenAi, ListedModel::embeddings),
                "a server",
            ),
            (None, _) if vllm || api == Api::Vllm => {
                let name = model.or(listed.as_ref().map(|listed| listed.model.as_str()));
                let candidates: &[Endpoint] = if api == Api::Vllm {
                    &[Endpoint::VllmClassify, Endpoint::VllmPooling]
                } else {
                    &[Endpoint::OpenAi, Endpoint::VllmClassify, Endpoint::VllmPooling]
                };
                Discovery::new(self.first_answering(candidates, name).await?, "a server")
            }
            (None, _) => match &listed {
                Some(listed) => Discovery::new(listed.embeddings(), "a server"),
                None => {
                    return Err(TargetError::NotRecognised {
                        target: self.url.name(),
                        tried: tried.join(", "),
                    });
                }
            },
        };
        found.software = if vllm { "vLLM" } else { "a server of OpenAI's dialect" };
        if vllm && let Ok(Some(reply)) = self.get_json("/version", &mut tried).await {
            found.info.version = reply["version"].as_str().unwrap_or_default().to_owned();
        }
        if let Some(listed) = listed {
            found.info.model = listed.model.clone();
            found.info.max_sequence_tokens = listed.longest;
            found.model = Some(listed.model);
        }
        Ok(found)
    }

    async fn discover_tei(
        &self,
        endpoint: Option<Endpoint>,
        tried: &mut Vec<String>,
    ) -> Result<Option<Discovery>, TargetError> {
        let Some(reply) = self.get_json("/info", tried).await? else { return Ok(None) };
        let Some((info, own)) = tei::info(&reply) else { return Ok(None) };
        let endpoint = endpoint.or(own).unwrap_or(Endpoint::TeiEmbed);
        let found = Discovery::new(endpoint, "text-embeddings-inference or a server like it");
        Ok(Some(Discovery { info, ..found }))
    }

    /// Returns the first model that the target lists, at `/v1/models` or at `/models`.
    async fn first_model(
        &self,
        tried: &mut Vec<String>,
    ) -> Result<Option<ListedModel>, TargetError> {
        for path in ["/v1/models", "/models"] {
            let reply = self.get_json(path, tried).await?;
            if let Some((model, owner, longest)) = reply.as_ref().and_then(openai::first_model) {
                let versioned = path.starts_with("/v1");
                return Ok(Some(ListedModel { model, owner, longest, versioned }));
            }
        }
        Ok(None)
    }

    /// Returns the first endpoint that answers a short text; if none does, the first candidate, so that
    /// the user sees its error.
    async fn first_answering(
        &self,
        candidates: &[Endpoint],
        model: Option<&str>,
    ) -> Result<Endpoint, TargetError> {
        for &endpoint in candidates {
            if self.answers(endpoint, model, None).await
                || self.find_task(endpoint, model).await.is_some()
            {
                return Ok(endpoint);
            }
        }
        Ok(candidates[0])
    }

    /// Returns the first of the endpoint's tasks with which it answers a short text. `None`, if the
    /// endpoint has no tasks or answers none, sends texts without a task.
    pub(super) async fn find_task(
        &self,
        endpoint: Endpoint,
        model: Option<&str>,
    ) -> Option<&'static str> {
        for &task in endpoint.tasks() {
            if self.answers(endpoint, model, Some(task)).await {
                return Some(task);
            }
        }
        None
    }

    async fn answers(&self, endpoint: Endpoint, model: Option<&str>, task: Option<&str>) -> bool {
        let body = endpoint.body(model, task, PROBE);
        let asked = self.client.post(self.url.join(endpoint.path()), body, Terms::default());
        let reply = timeout(ANSWER_TIMEOUT, asked).await.ok().and_then(Result::ok);
        reply.is_some_and(|reply| reply.status.is_success())
    }

    /// Returns the JSON at `path`, if any, and notes the result in `tried`.
    async fn get_json(
        &self,
        path: &str,
        tried: &mut Vec<String>,
    ) -> Result<Option<Value>, TargetError> {
        let request = format!("GET {}{path}", self.url.name());
        let reply = match timeout(ANSWER_TIMEOUT, self.client.get(self.url.join(path))).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(ExchangeError::Connect(reason) | ExchangeError::Generator(reason))) => {
                return Err(self.unreachable(&reason));
            }
            Ok(Err(fault)) => {
                tried.push(format!("{path}: {}", sanitize(fault.message(), self.secrets)));
                return Ok(None);
            }
            Err(_) => {
                tried.push(format!("{path}: no answer within {} s", ANSWER_TIMEOUT.as_secs()));
                return Ok(None);
            }
        };
        if let Some(error) = self.key_error(&request, &reply) {
            return Err(error);
        }
        let value = serde_json::from_slice(&reply.body).ok();
        let encoding = reply.headers.get(CONTENT_ENCODING).map(|name| format!("{name:?}"));
        let unread = match encoding.filter(|_| value.is_none()) {
            Some(encoding) => format!(" in the encoding {encoding}, which was not asked for"),
            None => String::new(),
        };
        tried.push(format!("{path}: {}{unread}", reply.status.as_u16()));
        Ok(value.filter(|_| reply.status.is_success()))
    }

    /// Checks that a connection that begins with HTTP/2 gets a reply of any status.
    pub(super) async fn check_http2(&self) -> Result<(), TargetError> {
        match timeout(ANSWER_TIMEOUT, self.client.get(self.url.join("/health"))).await {
            Ok(Err(ExchangeError::Connect(reason) | ExchangeError::Generator(reason))) => {
                Err(self.unreachable(&reason))
            }
            Ok(Err(fault)) => Err(TargetError::Http2 {
                target: self.url.name(),
                reason: sanitize(fault.message(), self.secrets),
            }),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Makes the error for a target that cannot be reached.
    pub(super) fn unreachable(&self, reason: &str) -> TargetError {
        TargetError::Unreachable { target: self.url.name(), reason: sanitize(reason, self.secrets) }
    }

    /// Makes the error for a reply that rejects the key.
    pub(super) fn key_error(&self, request: &str, reply: &Exchange) -> Option<TargetError> {
        matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN).then(|| {
            TargetError::Key {
                request: request.to_owned(),
                status: reply.status.as_u16(),
                message: sanitize(&error_message(&reply.body), self.secrets),
            }
        })
    }
}

/// The first model in a target's list of models.
struct ListedModel {
    model: String,
    owner: String,
    longest: Option<usize>,
    versioned: bool,
}

impl ListedModel {
    fn embeddings(&self) -> Endpoint {
        if self.versioned { Endpoint::OpenAi } else { Endpoint::OpenAiPlain }
    }
}

impl Discovery {
    /// A target of which only the endpoint is known.
    fn new(endpoint: Endpoint, software: &'static str) -> Discovery {
        Discovery { endpoint, info: TargetInfo::default(), model: None, software }
    }
}
