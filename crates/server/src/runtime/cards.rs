//! `GET /v1/models`: what each model is, reads and answers, from the model itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bigbatch_engine::{Dtype, Module, OperatingPoint, Pooling};
use serde::Serialize;

use super::API_VERSION;
use super::bundle::TASKS_MAX;
use super::head::{HEAD, Head, HeadKind};
use super::health::{ModelHealth, health_of_all};
use super::reading::Overflow;
use super::surface::{PROFILE, Surface};
use crate::app::App;
use crate::models::ServedModel;

/// The name of this engine.
pub(super) const ENGINE: &str = "bigbatch";

/// The answer of `/v1/models`.
#[derive(Debug, Serialize)]
pub(super) struct ModelList {
    object: &'static str,
    api_version: &'static str,
    data: Vec<Card>,
    limits: RequestLimits,
}

#[derive(Debug, Serialize)]
struct RequestLimits {
    max_bundle_tasks: usize,
    max_request_bytes: usize,
}

/// One model. Every field is the same in two processes that serve the same files on the same device.
#[derive(Debug, Serialize)]
struct Card {
    id: String,
    object: &'static str,
    owned_by: &'static str,
    family: &'static str,
    surfaces: Vec<Surface>,
    ready: bool,
    status: &'static str,
    reason: Option<String>,
    repo: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_sha256: Option<String>,
    parameters: u64,
    profile: &'static str,
    profiles: [Profile; 1],
    engine: &'static str,
    device: String,
    dtype: &'static str,
    limits: InputLimits,
    heads: Vec<HeadCard>,
    embedding: Option<EmbeddingCard>,
    rerank: Option<RerankCard>,
}

#[derive(Debug, Serialize)]
struct Profile {
    name: &'static str,
    numerics: &'static str,
    description: &'static str,
}

#[derive(Debug, Serialize)]
struct InputLimits {
    max_input_tokens: usize,
    max_inputs: usize,
}

#[derive(Debug, Serialize)]
struct HeadCard {
    name: &'static str,
    kind: HeadKind,
    inputs: &'static [&'static str],
    labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_threshold: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds: Option<Vec<f32>>,
    overflow: &'static str,
    window: Option<WindowCard>,
    reduction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operating_point_sha256: Option<String>,
}

#[derive(Debug, Serialize)]
struct WindowCard {
    tokens: usize,
    overlap: usize,
}

/// The vectors of a model.
#[derive(Debug, Serialize)]
pub(super) struct EmbeddingCard {
    /// Those that may be asked for, the whole width first.
    pub(super) dimensions: Vec<usize>,
    /// Exits, the last of which is the whole model; empty for a model without.
    pub(super) layers: Vec<usize>,
    modalities: [&'static str; 1],
    pub(super) normalized: bool,
    pooling: &'static str,
    pub(super) input_types: Vec<&'static str>,
}

/// The exits of a reranker.
#[derive(Debug, Serialize)]
pub(super) struct RerankCard {
    exits: Vec<Exit>,
    default: Exit,
}

/// After so many layers, of so many channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Exit {
    pub(super) layer: usize,
    pub(super) dimension: usize,
}

pub(super) async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    let health = health_of_all(&app).await;
    let data =
        app.models.iter().zip(health).map(|(served, health)| card(&app, served, health)).collect();
    let limits = RequestLimits {
        max_bundle_tasks: TASKS_MAX,
        max_request_bytes: super::payload_limit_bytes(&app.options),
    };
    Json(ModelList { object: "list", api_version: API_VERSION, data, limits })
}

fn card(app: &App, served: &ServedModel, health: ModelHealth) -> Card {
    let surface = Surface::of(served);
    let head = Head::of(served).filter(|_| surface == Some(Surface::Classify));
    Card {
        id: served.name.clone(),
        object: "model",
        owned_by: ENGINE,
        family: "modernbert",
        surfaces: surface.into_iter().collect(),
        ready: health.is_ready(),
        status: health.status,
        reason: health.reason,
        repo: served.source.clone(),
        model_sha256: sha256(served),
        parameters: served.engine.model().parameters(),
        profile: PROFILE,
        profiles: [Profile {
            name: PROFILE,
            numerics: numerics(served),
            description: "the model as its files have it, in the dtype of this card",
        }],
        engine: ENGINE,
        device: device(served),
        dtype: dtype(served),
        limits: InputLimits {
            max_input_tokens: served.engine.max_tokens(),
            max_inputs: surface.unwrap_or(Surface::Classify).max_inputs(&app.options),
        },
        heads: head.into_iter().map(|head| head_card(served, head)).collect(),
        embedding: (surface == Some(Surface::Embeddings)).then(|| EmbeddingCard::of(served)),
        rerank: (surface == Some(Surface::Rerank)).then(|| RerankCard::of(served)),
    }
}

fn head_card(served: &ServedModel, head: Head) -> HeadCard {
    let overflow = match head.overflow() {
        Overflow::Window { .. } => "window",
        Overflow::Truncate => "truncate",
        Overflow::Reject => "reject",
    };
    HeadCard {
        name: HEAD,
        kind: head.kind,
        inputs: head.inputs(),
        labels: served.engine.model().labels.clone(),
        default_threshold: match served.engine.model().operating_point {
            Some(OperatingPoint::Grounded { token_threshold, .. }) => Some(token_threshold as f32),
            _ => None,
        },
        overflow,
        window: head.window.map(|(tokens, overlap)| WindowCard { tokens, overlap }),
        reduction: head.reduction(),
        operating_point_sha256: served.engine.model().operating_point_sha256.clone(),
        thresholds: head.thresholds,
    }
}

impl EmbeddingCard {
    pub(super) fn of(served: &ServedModel) -> EmbeddingCard {
        let model = served.engine.model();
        let embedding = &model.embedding;
        let known = |name: &&'static str| model.prompts.names().any(|own| own == *name);
        let limit = embedding.default_dimensions.unwrap_or(embedding.width);
        let listed = model.exits.dimensions.iter().copied();
        let mut dimensions: Vec<usize> = listed.filter(|&dimensions| dimensions < limit).collect();
        dimensions.insert(0, limit);
        let layers = match model.exits.layers.as_slice() {
            [_] => Vec::new(),
            layers => layers.to_vec(),
        };
        EmbeddingCard {
            dimensions,
            layers,
            modalities: ["text"],
            normalized: matches!(embedding.modules.last(), Some(Module::Normalize)),
            pooling: match embedding.pooling {
                Pooling::Cls => "cls",
                Pooling::Mean => "mean",
            },
            input_types: ["query", "document"].into_iter().filter(|name| known(name)).collect(),
        }
    }
}

impl RerankCard {
    /// A cross-encoder has one exit: the whole model.
    pub(super) fn of(served: &ServedModel) -> RerankCard {
        let model = served.engine.model();
        let exit = |(layer, dimension)| Exit { layer, dimension };
        let whole = (model.config.layers.len(), model.config.hidden_size);
        match &model.pair_scorers {
            Some(scorers) => RerankCard {
                exits: scorers.exits().map(exit).collect(),
                default: exit(scorers.default_exit()),
            },
            None => RerankCard { exits: vec![exit(whole)], default: exit(whole) },
        }
    }

    /// Returns the exit that a request names, each part of which is by default that of the default.
    pub(super) fn exit(&self, layer: Option<usize>, dimension: Option<usize>) -> Option<Exit> {
        let exit = Exit {
            layer: layer.unwrap_or(self.default.layer),
            dimension: dimension.unwrap_or(self.default.dimension),
        };
        self.exits.contains(&exit).then_some(exit)
    }
}

/// Returns the digest of all files of a model.
pub(super) fn sha256(served: &ServedModel) -> Option<String> {
    served.engine.model().sha256.clone()
}

/// Returns `cpu`, `cuda:0`.
pub(super) fn device(served: &ServedModel) -> String {
    let name = &served.engine.device().name;
    name.split(',').next().unwrap_or(name).to_owned()
}

fn dtype(served: &ServedModel) -> &'static str {
    match served.engine.device().dtype {
        Dtype::F32 => "fp32",
        Dtype::Bf16 => "bf16",
        Dtype::F16 => "fp16",
    }
}

/// Returns whether the numbers are those of the files.
pub(super) fn numerics(served: &ServedModel) -> &'static str {
    match served.engine.device().dtype {
        Dtype::F32 => "exact",
        Dtype::Bf16 | Dtype::F16 => "approximate",
    }
}
