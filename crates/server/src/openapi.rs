//! The OpenAPI document, which utoipa generates from the handlers and the wire types, and the endpoint that
//! serves it.
//!
//! Aliases and paths below `/models/NAME` are copies of the operation that the table names. The served document has
//! `examples` for the models of this server, by the name of the model that answers them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi as Document, RefOr, Required};
use utoipa::{OpenApi, PartialSchema};

use crate::app::App;
use crate::examples;
use crate::guardrails::GuardrailDoc;
use crate::models::Models;
use crate::routes::{self, Route};
use crate::terms::{PRIORITY, TIMEOUT};
use crate::wire::Dialect::Native;
use crate::wire::cohere::CohereError;
use crate::wire::openai::{OpenAiError, OpenAiErrorBody};
use crate::wire::tei::TeiError;

const PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "bigbatch",
        description = "Long-context ModernBERT encoders, in the dialects of text-embeddings-inference, \
            OpenAI's and Cohere's embeddings and vLLM's pooling models. `null` is an absent field. Fields that are not \
            listed are reported in the log, or refused, by --unknown-fields."
    ),
    components(schemas(CohereError, TeiError, OpenAiError, OpenAiErrorBody)),
    paths(
        routes::hub::hub,
        routes::embed::embed,
        routes::embed::embed_all,
        routes::embed::similarity,
        routes::predict::predict,
        routes::predict::classify,
        routes::rerank::rerank,
        routes::rerank::rerank_v1,
        routes::rerank::score,
        routes::tokens::tokenize,
        routes::tokens::decode,
        routes::tokens::detokenize,
        routes::openai::embeddings,
        routes::pooling::pooling,
        routes::cohere::embed_v2,
        routes::cohere::embed_v1,
        routes::native::tag,
        routes::native::fill_mask,
        routes::analyze::analyze,
        routes::info::info,
        routes::info::models,
        routes::info::model,
        routes::health::health,
        routes::health::ready,
        routes::metrics::metrics,
        openapi,
    )
)]
struct ApiDoc;

/// Returns the document's own rows of the route table.
pub(crate) fn routes() -> [Route; 2] {
    [
        Route::get(Native, PATH, openapi),
        Route::get(Native, "/api-doc/openapi.json", openapi).alias_of(PATH),
    ]
}

#[utoipa::path(get, path = "/openapi.json", tag = "bigbatch",
    responses((status = 200, description = "This document", body = serde_json::Value)))]
/// Returns this OpenAPI document, with examples for the models of this server.
async fn openapi(State(app): State<Arc<App>>) -> Response {
    let json = app.openapi_json.get_or_init(|| {
        let mut document = document();
        add_examples(&mut document, &app.models);
        if !app.options.guardrails.is_empty() {
            document.merge(GuardrailDoc::openapi());
        }
        // Text in maps: nothing of it fails.
        serde_json::to_vec(&document).unwrap_or_default().into()
    });
    ([(CONTENT_TYPE, "application/json")], json.clone()).into_response()
}

/// Returns the document.
pub fn document() -> Document {
    let mut document = ApiDoc::openapi();
    let paths = &mut document.paths.paths;
    let table: Vec<Route> = routes::table().into_iter().chain(routes()).collect();
    for route in &table {
        if route.method == "post"
            && let Some(operation) = paths.get_mut(route.path).and_then(|item| item.post.as_mut())
        {
            operation.parameters = Some(header_parameters());
        }
        if let Some(item) = route.alias_of.and_then(|path| paths.get(path)).cloned() {
            paths.insert(route.path.into(), with_own_ids(item, route.path));
        }
    }
    for route in &table {
        let Some(own) = route.model_path() else { continue };
        if let Some(item) = paths.get(route.path).cloned() {
            let mut item = with_own_ids(item, &own);
            let name = ParameterBuilder::new()
                .name("name")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some("Name of the model"))
                .schema(Some(<String as PartialSchema>::schema()));
            item.parameters = Some(vec![name.build().into()]);
            paths.insert(own, item);
        }
    }
    document
}

/// Returns the headers that have the terms of a request.
fn header_parameters() -> Vec<RefOr<Parameter>> {
    let header = |name: HeaderName, description, schema| {
        let header = ParameterBuilder::new().name(name.as_str()).parameter_in(ParameterIn::Header);
        header.description(Some(description)).schema(Some(schema)).build().into()
    };
    let timeout = "Milliseconds after which the answer is of no use, from 1 to 86400000; the shorter of this, \
        `timeout_ms` and --request-timeout counts";
    let priority =
        "`batch` gives way to other requests; also vLLM's integer, of which more than 0 is `batch`";
    vec![
        header(TIMEOUT, timeout, <u64 as PartialSchema>::schema()),
        header(PRIORITY, priority, <String as PartialSchema>::schema()),
    ]
}

/// Adds to each POST an example per model that can answer it.
fn add_examples(document: &mut Document, models: &Models) {
    let names: Vec<&str> = models.iter().map(|served| served.name.as_str()).collect();
    for route in routes::table() {
        let path = route.alias_of.unwrap_or(route.path);
        let bodies: Vec<(&str, Value)> = models
            .iter()
            .filter_map(|served| Some((served.name.as_str(), examples::body(path, served)?)))
            .collect();
        for (name, body) in &bodies {
            add_example(document, route.path, name, examples::with_model(body, name));
        }
        let Some(own) = route.model_path() else { continue };
        for (name, body) in bodies {
            add_example(document, &own, name, body);
        }
    }
    add_example(document, "/v1/analyze", "all models", examples::analyze(&names));
}

/// Adds an example to the body of the POST at `path`.
fn add_example(document: &mut Document, path: &str, name: &str, body: Value) {
    let operation = document.paths.paths.get_mut(path).and_then(|item| item.post.as_mut());
    let Some(RefOr::T(request)) = operation.and_then(|operation| operation.request_body.as_mut())
    else {
        return;
    };
    for content in request.content.values_mut() {
        if let RefOr::T(content) = content {
            let example = ExampleBuilder::new().value(Some(body.clone())).build();
            content.examples.insert(name.to_owned(), RefOr::T(example));
        }
    }
}

/// Gives the operations of a copied item ids of their own: ids are unique in a document.
fn with_own_ids(mut item: PathItem, path: &str) -> PathItem {
    let suffix: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
        let id = operation.operation_id.take().unwrap_or_default();
        operation.operation_id = Some(format!("{id}_{suffix}"));
    }
    item
}
