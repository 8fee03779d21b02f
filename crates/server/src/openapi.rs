//! The OpenAPI document, which utoipa generates from the handlers and the wire types, and the endpoint that
//! serves it.
//!
//! Aliases and paths below `/models/NAME` are copies of the operation that the table names.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi as Document, Required};

use crate::routes::{self, Route};
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
/// Returns this OpenAPI document.
async fn openapi() -> Response {
    Json(document()).into_response()
}

/// Returns the document.
pub fn document() -> Document {
    let mut document = ApiDoc::openapi();
    let paths = &mut document.paths.paths;
    let table: Vec<Route> = routes::table().into_iter().chain(routes()).collect();
    for route in &table {
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
                .schema(Some(<String as utoipa::PartialSchema>::schema()));
            item.parameters = Some(vec![name.build().into()]);
            paths.insert(own, item);
        }
    }
    document
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
