//! The dialects and their endpoints: the body of a request, and the check of a reply.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::client::Exchange;
use super::error::TargetError;
use super::{openai, tei, vllm};
use crate::system::target::Reply;

/// A wire dialect, or its detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Api {
    /// Detect the dialect.
    #[default]
    Auto,
    /// Text-embeddings-inference.
    Tei,
    /// OpenAI's embeddings.
    OpenAi,
    /// vLLM's pooling models.
    Vllm,
}

/// One endpoint of one dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/embed`
    TeiEmbed,
    /// `/predict`
    TeiPredict,
    /// `/v1/embeddings`
    OpenAi,
    /// `/embeddings`, of servers without the version
    OpenAiPlain,
    /// `/classify`
    VllmClassify,
    /// `/pooling`
    VllmPooling,
}

impl Endpoint {
    const ALL: [Endpoint; 6] = [
        Endpoint::TeiEmbed,
        Endpoint::TeiPredict,
        Endpoint::OpenAi,
        Endpoint::OpenAiPlain,
        Endpoint::VllmClassify,
        Endpoint::VllmPooling,
    ];

    /// Returns the endpoint's path.
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::TeiEmbed => "/embed",
            Endpoint::TeiPredict => "/predict",
            Endpoint::OpenAi => "/v1/embeddings",
            Endpoint::OpenAiPlain => "/embeddings",
            Endpoint::VllmClassify => "/classify",
            Endpoint::VllmPooling => "/pooling",
        }
    }

    /// Returns the endpoint's dialect.
    pub fn api(self) -> Api {
        match self {
            Endpoint::TeiEmbed | Endpoint::TeiPredict => Api::Tei,
            Endpoint::OpenAi | Endpoint::OpenAiPlain => Api::OpenAi,
            Endpoint::VllmClassify | Endpoint::VllmPooling => Api::Vllm,
        }
    }

    /// Finds the endpoint of `api` with this path, which may lack its slash.
    ///
    /// # Errors
    /// [`TargetError::Endpoint`] with the dialect's endpoints.
    pub fn find(api: Api, path: &str) -> Result<Endpoint, TargetError> {
        let of_api = Endpoint::ALL.into_iter().filter(|e| api == Api::Auto || e.api() == api);
        let name = path.trim().trim_matches('/');
        of_api.clone().find(|endpoint| endpoint.path()[1..] == *name).ok_or_else(|| {
            let known: Vec<&str> = of_api.map(Endpoint::path).collect();
            TargetError::Endpoint { given: path.to_owned(), known: known.join(", ") }
        })
    }

    /// Returns the endpoint's tasks, most common first; empty if it has only one.
    pub(super) fn tasks(self) -> &'static [&'static str] {
        match self {
            Endpoint::VllmPooling => &vllm::POOLING_TASKS,
            _ => &[],
        }
    }

    /// Builds the body of a request for `text`.
    pub(super) fn body(self, model: Option<&str>, task: Option<&str>, text: &str) -> Vec<u8> {
        let body: Value = match self.api() {
            Api::Tei | Api::Auto => tei::body(model, text),
            Api::OpenAi => openai::body(model, text),
            Api::Vllm => vllm::body(model, task, text),
        };
        body.to_string().into_bytes()
    }

    /// Checks a reply of status 200 and reads its headers; the error is the fault in one line.
    pub(super) fn read(self, exchange: &Exchange) -> Result<Reply, String> {
        let body = exchange.body.as_slice();
        let counted = match self {
            Endpoint::TeiEmbed => tei::check_embed(body).map(|()| None),
            Endpoint::TeiPredict => tei::check_predict(body).map(|()| None),
            Endpoint::OpenAi | Endpoint::OpenAiPlain => openai::check(body),
            Endpoint::VllmClassify => vllm::check_classify(body),
            Endpoint::VllmPooling => vllm::check_pooling(body),
        };
        let counted = counted.map_err(|error| format!("{}: {error}", self.path()))?;
        if !exchange.is_json() {
            return Err(format!("{}: the reply's content type is not JSON", self.path()));
        }
        Ok(Reply {
            tokens: counted.or_else(|| tei::tokens(&exchange.headers)),
            stages: tei::stages(&exchange.headers),
            batch: tei::batch(&exchange.headers),
        })
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::Auto => "auto",
            Api::Tei => "tei",
            Api::OpenAi => "openai",
            Api::Vllm => "vllm",
        })
    }
}

impl FromStr for Api {
    type Err = String;

    fn from_str(text: &str) -> Result<Api, String> {
        let all = [Api::Auto, Api::Tei, Api::OpenAi, Api::Vllm];
        let found = all.into_iter().find(|api| api.to_string() == text);
        found.ok_or_else(|| "APIs are auto, tei, openai and vllm".into())
    }
}
