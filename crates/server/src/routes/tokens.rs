//! What the tokenizer does, without the model: `/tokenize`, `/decode`.

use axum::response::Response;
use bigbatch_engine::model::prompted;
use bigbatch_engine::tokenize::TokenPiece;

use super::call::Call;
use crate::error::Refusal;
use crate::wire::tei::{DecodeRequest, Ids, SimpleToken, TeiErrors, TokenizeRequest};

#[utoipa::path(post, path = "/tokenize", tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses((status = 200, description = "For each text its tokens; places count characters",
        body = Vec<Vec<SimpleToken>>), TeiErrors))]
/// The tokens of texts.
pub(crate) async fn tokenize(call: Call, request: TokenizeRequest) -> Result<Response, Refusal> {
    // Unlike for a vector, the model's default prompt is put before a text only where it is named.
    let named = request.prompt_name.as_deref().map(|name| call.served.prompt(Some(name)));
    let before = named.transpose()?.flatten().map(str::to_owned);
    let (texts, _) = request.inputs.into_vec();
    call.app.check_count(texts.len(), "inputs")?;
    let characters = texts.iter().map(|text| text.chars().count()).sum();
    let (served, special) = (call.served.clone(), request.add_special_tokens);
    let tokens = move |text: String| {
        served.engine.model().tokenizer.tokens(&prompted(before.as_deref(), text), special)
    };
    let tokens = move || texts.into_iter().map(tokens).collect::<Result<Vec<_>, _>>();
    let tokens = call.app.tokenizer_pool.run(tokens).await??;
    let simple = |TokenPiece { id, text, special, span }: TokenPiece| {
        let (start, stop) = span.map_or((None, None), |span| (Some(span.start), Some(span.end)));
        SimpleToken { id, text, special, start, stop }
    };
    let list = |tokens: Vec<TokenPiece>| tokens.into_iter().map(simple).collect();
    let lists: Vec<Vec<SimpleToken>> = tokens.into_iter().map(list).collect();
    Ok(call.answer(characters, &[], lists))
}

#[utoipa::path(post, path = "/decode", tag = "text-embeddings-inference",
    request_body = DecodeRequest,
    responses((status = 200, description = "A text for each list of ids", body = Vec<String>), TeiErrors))]
/// Token ids as texts.
pub(crate) async fn decode(call: Call, request: DecodeRequest) -> Result<Response, Refusal> {
    let lists = match request.ids {
        Ids::One(ids) if ids.is_empty() => Vec::new(),
        Ids::One(ids) => vec![ids],
        Ids::Many(lists) => lists,
    };
    call.app.check_count(lists.len(), "ids")?;
    if lists.iter().any(Vec::is_empty) {
        return Err(Refusal::Empty("a list of ids is empty".into()));
    }
    let (served, skip) = (call.served.clone(), request.skip_special_tokens);
    let decode = move |ids: Vec<u32>| served.engine.model().tokenizer.decode_all(&ids, skip);
    let decode = move || lists.into_iter().map(decode).collect::<Result<Vec<_>, _>>();
    let texts = call.app.tokenizer_pool.run(decode).await??;
    Ok(call.answer(0, &[], texts))
}
