//! The models and limits of the server: `/info` of text-embeddings-inference and `/v1/models` of OpenAI.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use bigbatch_engine::{Dtype, Pooling};

use crate::app::App;
use crate::error::{DOCUMENT, Refusal};
use crate::models::{ModelKind, ServedModel};
use crate::wire::Dialect;
use crate::wire::openai::{ModelCard, ModelList, OpenAiErrors};
use crate::wire::tei::{Info, LabelMaps, ModelInfo, ModelType};

#[utoipa::path(get, path = "/info", tag = "text-embeddings-inference",
    responses((status = 200, description = "The first model and the limits; `models` lists all models", body = Info)))]
/// Describes the models and the limits.
pub(crate) async fn info(State(app): State<Arc<App>>) -> Response {
    let served = app.models.first();
    let (engine, options) = (&served.engine, &app.options);
    let info = Info {
        model_id: served.source.clone(),
        model_sha: None,
        model_dtype: dtype(served),
        model_type: model_type(served),
        max_concurrent_requests: engine.max_concurrent_requests(),
        max_input_length: engine.max_tokens(),
        max_batch_tokens: engine.limits().max_batch_tokens,
        max_batch_requests: Some(engine.limits().max_batch_sequences),
        max_client_batch_size: Dialect::Tei.max_inputs(options),
        auto_truncate: options.auto_truncate,
        tokenization_workers: engine.tokenizer_threads(),
        version: env!("CARGO_PKG_VERSION"),
        sha: None,
        docker_label: None,
        models: app.models.iter().map(model_info).collect(),
    };
    Json(info).into_response()
}

#[utoipa::path(get, path = "/v1/models", tag = "OpenAI",
    responses((status = 200, description = "All models", body = ModelList)))]
/// Lists all models.
pub(crate) async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    let data = app.models.iter().map(|served| card(&app, served)).collect();
    Json(ModelList { object: "list", data })
}

#[utoipa::path(get, path = "/v1/models/{name}", tag = "OpenAI",
    params(("name" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The model", body = ModelCard), OpenAiErrors))]
/// Describes one model.
pub(crate) async fn model(
    State(app): State<Arc<App>>,
    uri: Uri,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelCard>, Response> {
    // It is rejected if it is not UTF-8, and no model is called so.
    let name =
        name.map_err(|_| Refusal::NoRoute { path: uri.path().to_owned(), document: DOCUMENT });
    let served = name.and_then(|Path(name)| app.models.named(&name));
    let served = served.map_err(|refusal| Dialect::OpenAi.render(&refusal))?;
    Ok(Json(card(&app, served)))
}

fn card(app: &App, served: &ServedModel) -> ModelCard {
    ModelCard {
        id: served.name.clone(),
        object: "model",
        created: app.started_unix_s,
        owned_by: "bigbatch",
        root: served.source.clone(),
        max_model_len: served.engine.max_tokens(),
        kind: served.kind.name(),
    }
}

fn model_info(served: &ServedModel) -> ModelInfo {
    let engine = &served.engine;
    ModelInfo {
        name: served.name.clone(),
        source: served.source.clone(),
        kind: served.kind.name(),
        device: engine.device().name.clone(),
        dtype: dtype(served),
        max_input_length: engine.max_tokens(),
        max_batch_tokens: engine.limits().max_batch_tokens,
        labels: engine.model().labels.clone(),
        prompts: engine.model().prompts.names().map(str::to_owned).collect(),
    }
}

fn dtype(served: &ServedModel) -> &'static str {
    match served.engine.device().dtype {
        Dtype::F32 => "float32",
        Dtype::Bf16 => "bfloat16",
        Dtype::F16 => "float16",
    }
}

fn model_type(served: &ServedModel) -> ModelType {
    let model = served.engine.model();
    let labels = || LabelMaps {
        id2label: model.labels.iter().cloned().enumerate().collect(),
        label2id: model.labels.iter().cloned().zip(0..).collect(),
    };
    match served.kind {
        ModelKind::Embedding | ModelKind::MaskedLm => ModelType::Embedding {
            pooling: match model.embedding.pooling {
                Pooling::Cls => "cls",
                Pooling::Mean => "mean",
            },
        },
        ModelKind::Classifier => ModelType::Classifier(labels()),
        ModelKind::Reranker => ModelType::Reranker(labels()),
        ModelKind::TokenClassifier => ModelType::TokenClassifier(labels()),
    }
}
