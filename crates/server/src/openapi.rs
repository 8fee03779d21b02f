//! Every endpoint and shape as an OpenAPI document, made by utoipa from the handlers and the wire types.

use utoipa::OpenApi;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi as Document, Required};

use crate::error::{OpenAiError, OpenAiErrorBody, TeiError};
use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "bigbatch",
        description = "Long-context ModernBERT encoders, in the dialects of text-embeddings-inference, \
            OpenAI's embeddings and vLLM's pooling models. Fields that an endpoint does not know are ignored."
    ),
    components(schemas(TeiError, OpenAiError, OpenAiErrorBody)),
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
        routes::openai::embeddings,
        routes::openai::pooling,
        routes::native::tag,
        routes::native::fill_mask,
        routes::analyze::analyze,
        routes::info::info,
        routes::info::models,
        routes::info::model,
        routes::health::health,
        routes::health::ready,
        routes::metrics::metrics,
        routes::docs::openapi,
    )
)]
struct Annotated;

/// The document.
pub fn document() -> Document {
    let mut document = Annotated::openapi();
    let paths = &mut document.paths.paths;
    for (alias, path) in routes::ALIASES {
        if let Some(item) = paths.get(path).cloned() {
            paths.insert(alias.into(), renamed(item, alias));
        }
    }
    for path in routes::inference_paths() {
        let own = routes::of_model(path);
        if let Some(item) = paths.get(path).cloned() {
            let mut item = renamed(item, &own);
            let name = ParameterBuilder::new()
                .name("name")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some("A model's name"))
                .schema(Some(<String as utoipa::PartialSchema>::schema()));
            item.parameters = Some(vec![name.build().into()]);
            paths.insert(own, item);
        }
    }
    document
}

/// Operations are told apart by their ids.
fn renamed(mut item: PathItem, path: &str) -> PathItem {
    let suffix: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
        let id = operation.operation_id.take().unwrap_or_default();
        operation.operation_id = Some(format!("{id}_{suffix}"));
    }
    item
}
