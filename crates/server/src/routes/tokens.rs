//! What the tokenizer does, without the model: `/tokenize`, `/decode`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bigbatch_engine::model::prompted;
use bigbatch_engine::tokenize::TokenPiece;

use super::call::Call;
use super::docs::TeiErrors;
use super::embed::prompt;
use crate::App;
use crate::error::{Refusal, Tei};
use crate::wire::tei::{DecodeRequest, Ids, SimpleToken, TokenizeRequest};

#[utoipa::path(post, path = "/tokenize", tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses((status = 200, description = "For each text its tokens; places count characters",
        body = Vec<Vec<SimpleToken>>), TeiErrors))]
/// The tokens of texts.
pub(crate) async fn tokenize(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: TokenizeRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    // Unlike for a vector, the model's default prompt is put before a text only where it is named.
    let named = request.prompt_name.as_deref().map(|name| prompt(served, Some(name)));
    let before = named.transpose()?.flatten().map(str::to_owned);
    let (texts, _) = request.inputs.list();
    app.check_count(texts.len(), "inputs")?;
    let characters = texts.iter().map(|text| text.chars().count()).sum();
    let (reader, special) = (served.clone(), request.add_special_tokens);
    let tokens = move |text: String| {
        reader.engine.model().tokenizer.tokens(&prompted(before.as_deref(), text), special)
    };
    let tokens = move || texts.into_iter().map(tokens).collect::<Result<Vec<_>, _>>();
    let tokens = app.tokenizer_pool.run(tokens).await??;
    let simple = |TokenPiece { id, text, special, span }: TokenPiece| {
        let (start, stop) = span.map_or((None, None), |span| (Some(span.start), Some(span.end)));
        SimpleToken { id, text, special, start, stop }
    };
    let list = |tokens: Vec<TokenPiece>| tokens.into_iter().map(simple).collect();
    let lists: Vec<Vec<SimpleToken>> = tokens.into_iter().map(list).collect();
    Ok(call.answer(served, characters, &[], lists))
}

#[utoipa::path(post, path = "/decode", tag = "text-embeddings-inference",
    request_body = DecodeRequest,
    responses((status = 200, description = "A text for each list of ids", body = Vec<String>), TeiErrors))]
/// Token ids as texts.
pub(crate) async fn decode(State(app): State<Arc<App>>, call: Call) -> Result<Response, Tei> {
    let request: DecodeRequest = call.read()?;
    let served = call.served(&app, request.model.as_deref())?;
    let lists = match request.ids {
        Ids::One(ids) if ids.is_empty() => Vec::new(),
        Ids::One(ids) => vec![ids],
        Ids::Many(lists) => lists,
    };
    app.check_count(lists.len(), "ids")?;
    if lists.iter().any(Vec::is_empty) {
        return Err(Tei(Refusal::Empty("a list of ids is empty".into())));
    }
    let (reader, skip) = (served.clone(), request.skip_special_tokens);
    let decode = move |ids: Vec<u32>| reader.engine.model().tokenizer.decode_all(&ids, skip);
    let decode = move || lists.into_iter().map(decode).collect::<Result<Vec<_>, _>>();
    let texts = app.tokenizer_pool.run(decode).await??;
    Ok(call.answer(served, 0, &[], texts))
}
