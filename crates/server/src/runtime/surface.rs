//! The surfaces of the contract, and a request to one of them after its checks.

use std::sync::Arc;
use std::time::Duration;

use bigbatch_engine::{Input, Task};
use serde::{Deserialize, Serialize};

use super::body::{Raw, field, object};
use super::cards;
use super::classify::{ClassifyAnswer, ClassifyRequest};
use super::embeddings::{EmbeddingsAnswer, EmbeddingsRequest};
use super::head::Head;
use super::item::ItemError;
use super::reading::Reading;
use super::rerank::{RerankAnswer, RerankRequest};
use super::run::RequestRows;
use crate::app::App;
use crate::error::Refusal;
use crate::models::{ModelKind, ServedModel};
use crate::options::Options;
use crate::wire::Dialect;

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Surface {
    Classify,
    Embeddings,
    Rerank,
    /// Questions to a model that takes them with the text, which no model here does.
    Decisions,
}

/// Most documents of a request, as in the contract. `--max-client-batch-size` may lower it.
const DOCUMENTS_MAX: usize = 1024;

impl Surface {
    /// Returns the maximum number of inputs per request.
    pub(super) fn max_inputs(self, options: &Options) -> usize {
        let limit = Dialect::Runtime.max_inputs(options);
        if self == Surface::Rerank { limit.min(DOCUMENTS_MAX) } else { limit }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Surface::Classify => "classify",
            Surface::Embeddings => "embeddings",
            Surface::Rerank => "rerank",
            Surface::Decisions => "decisions",
        }
    }

    /// Returns the only surface of a model, if it has one.
    pub(super) fn of(served: &ServedModel) -> Option<Surface> {
        match served.kind {
            ModelKind::Embedding | ModelKind::MaskedLm => Some(Surface::Embeddings),
            ModelKind::Reranker => Some(Surface::Rerank),
            ModelKind::Classifier | ModelKind::TokenClassifier => {
                Head::of(served).map(|_| Surface::Classify)
            }
        }
    }
}

/// A request to one model whose fields are all checked.
pub(super) struct SurfaceRequest {
    pub(super) served: Arc<ServedModel>,
    pub(super) common: Common,
    pub(super) inputs: Vec<Result<Input, ItemError>>,
    pub(super) reading: Reading,
    pub(super) task: Task,
    pub(super) question: Question,
}

/// What a surface asks beyond the task of each input.
pub(super) enum Question {
    Classify(ClassifyRequest),
    Embeddings(EmbeddingsRequest),
    Rerank(RerankRequest),
}

/// The answer of a surface.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Classify(ClassifyAnswer),
    Embeddings(EmbeddingsAnswer),
    Rerank(RerankAnswer),
}

impl SurfaceRequest {
    /// Returns whether its answers point into the text.
    pub(super) fn quotes_text(&self) -> bool {
        matches!(&self.question, Question::Classify(request) if request.head.finds_spans())
    }

    /// Returns the answer that the rows give.
    pub(super) fn answer(self, ran: RequestRows) -> Answer {
        let SurfaceRequest { served, common, question, .. } = self;
        match question {
            Question::Classify(request) => Answer::Classify(request.answer(&served, &common, ran)),
            Question::Embeddings(request) => {
                Answer::Embeddings(request.answer(&served, &common, ran))
            }
            Question::Rerank(request) => Answer::Rerank(request.answer(&served, &common, ran)),
        }
    }
}

/// The options that all surfaces have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Common {
    pub(super) deadline: Option<Duration>,
    pub(super) return_meta: bool,
}

impl Common {
    /// Checks the options that all surfaces have.
    pub(super) fn new(
        deadline_ms: Option<f64>,
        profile: Option<&str>,
        return_meta: Option<bool>,
    ) -> Result<Common, Refusal> {
        if let Some(profile) = profile.filter(|&profile| profile != PROFILE) {
            return Err(Refusal::Invalid(format!(
                "`options.profile` is '{profile}'; this server has the profile {PROFILE}"
            )));
        }
        let deadline = deadline_ms.map(deadline).transpose()?;
        Ok(Common { deadline, return_meta: return_meta.unwrap_or_default() })
    }
}

/// The options of a surface that reads texts whole or cut.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WholeTextOptions {
    deadline_ms: Option<f64>,
    profile: Option<String>,
    return_meta: Option<bool>,
    pub(super) overflow: Option<String>,
    pub(super) max_tokens: Option<usize>,
}

impl WholeTextOptions {
    pub(super) fn read(options: Raw<'_>) -> Result<WholeTextOptions, Refusal> {
        options.map_or_else(|| Ok(Self::default()), |options| object(options, "`options`"))
    }

    pub(super) fn common(&self) -> Result<Common, Refusal> {
        Common::new(self.deadline_ms, self.profile.as_deref(), self.return_meta)
    }
}

/// The only profile: a request never gets other numbers than the model's own.
pub(super) const PROFILE: &str = "exact";

/// Longest deadline: a day. More is a mistake in the unit.
const DEADLINE_MS_MAX: f64 = 86_400_000.0;

/// Reads a deadline in milliseconds.
pub(super) fn deadline(ms: f64) -> Result<Duration, Refusal> {
    match ms > 0.0 && ms.is_finite() {
        true => Ok(Duration::from_secs_f64(ms.min(DEADLINE_MS_MAX) / 1e3)),
        false => Err(Refusal::Invalid(format!(
            "`options.deadline_ms` is {ms}; it must be a number of milliseconds greater than 0"
        ))),
    }
}

/// Returns the model that a request names, if it serves the surface.
///
/// # Errors
/// [`Refusal::Invalid`] without a name where several models are served, [`Refusal::UnknownModel`], also where one is,
/// [`Refusal::Unavailable`], [`Refusal::WrongKind`].
pub(super) fn choose(
    app: &App,
    model: Raw<'_>,
    surface: Surface,
) -> Result<Arc<ServedModel>, Refusal> {
    let name = field::<String>(model, "model")?;
    let mut models = app.models.iter();
    let served = match (name, models.next(), models.next()) {
        (Some(name), ..) => app.models.named(&name)?,
        (None, Some(_), None) => app.models.first(),
        _ => {
            let names: Vec<_> = app.models.iter().map(|served| served.name.as_str()).collect();
            return Err(Refusal::Invalid(format!(
                "`model` is missing, and this server has several: {}",
                names.join(", ")
            )));
        }
    };
    let own = Surface::of(served);
    if own == Some(surface) {
        return Ok(served.clone());
    }
    Err(Refusal::WrongKind(format!(
        "the model '{}' has no surface {}; {}",
        served.name,
        surface.name(),
        own.map_or("it has none".into(), |own| format!("it has {}", own.name()))
    )))
}

/// Checks a budget of tokens against the model's limit.
pub(super) fn check_max_tokens(
    max_tokens: Option<usize>,
    default: usize,
    served: &ServedModel,
) -> Result<usize, Refusal> {
    let limit = served.engine.max_tokens();
    match max_tokens {
        Some(tokens) if !(1..=limit).contains(&tokens) => Err(Refusal::Invalid(format!(
            "`options.max_tokens` is {tokens}; it must lie between 1 and {limit}, the limit of '{}'",
            served.name
        ))),
        given => Ok(given.unwrap_or(default.min(limit))),
    }
}

/// Rejects an empty request and one with more inputs than the limit.
pub(super) fn check_count(count: usize, limit: usize, name: &str) -> Result<(), Refusal> {
    match count {
        0 => Err(Refusal::Empty(format!("`{name}` cannot be empty"))),
        _ if count > limit && limit == DOCUMENTS_MAX => {
            Err(Refusal::Invalid(format!("`{name}` has {count} elements; the limit is {limit}")))
        }
        _ if count > limit => {
            Err(Refusal::TooMany { count, limit, flag: "--max-client-batch-size" })
        }
        _ => Ok(()),
    }
}

/// What an answer says about the model and its times, if the request asks for it.
#[derive(Debug, Serialize)]
pub(super) struct Meta {
    #[serde(flatten)]
    pub(super) run: Option<RunMeta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) representation: Option<Representation>,
}

#[derive(Debug, Serialize)]
pub(super) struct RunMeta {
    model_id: String,
    model_sha256: Option<String>,
    profile: &'static str,
    numerics: &'static str,
    engine: &'static str,
    device: String,
    queue_ms: f64,
    compute_ms: f64,
}

/// Which vectors an answer has.
#[derive(Debug, Serialize)]
pub(super) struct Representation {
    pub(super) model_sha256: Option<String>,
    /// 0 for a model without exits.
    pub(super) layer: usize,
    pub(super) dimension: usize,
    pub(super) normalized: bool,
}

impl Meta {
    pub(super) fn of(served: &ServedModel, ran: &RequestRows) -> Meta {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let run = RunMeta {
            model_id: served.name.clone(),
            model_sha256: cards::sha256(served),
            profile: PROFILE,
            numerics: cards::numerics(served),
            engine: cards::ENGINE,
            device: cards::device(served),
            queue_ms: ms(ran.queue),
            compute_ms: ms(ran.forward),
        };
        Meta { run: Some(run), head: None, representation: None }
    }

    /// Returns what an answer with vectors says about them in any case.
    pub(super) fn of_vectors(representation: Representation) -> Meta {
        Meta { run: None, head: None, representation: Some(representation) }
    }
}

/// Tokens of the inputs of classifications and rankings; nothing is generated.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    pub(super) input_tokens: usize,
    pub(super) output_tokens: usize,
}
