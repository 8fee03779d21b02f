//! The tokenizer without the model: `/tokenize`, `/decode`.

use axum::response::Response;
use bigbatch_engine::{TokenPiece, prompted};

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::Outputs;
use crate::wire::tei::{DecodeRequest, Ids, SimpleToken, TeiErrors, TokenizeRequest};

#[utoipa::path(post, path = "/tokenize", tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses((status = 200, description = "The tokens of each text; offsets count characters",
        body = Vec<Vec<SimpleToken>>), TeiErrors))]
/// Tokenizes texts.
pub(crate) async fn tokenize(call: Call, request: TokenizeRequest) -> Result<Response, Refusal> {
    // Unlike for vectors, the model's default prompt is used only if the request names it.
    let named = request.prompt_name.as_deref().map(|name| call.served.prompt(Some(name)));
    let before = named.transpose()?.flatten().map(str::to_owned);
    let (texts, _) = request.inputs.into_vec();
    call.check_count(texts.len(), "inputs")?;
    let characters = texts.iter().map(|text| text.chars().count()).sum();
    let (served, special) = (call.served.clone(), request.add_special_tokens.unwrap_or(true));
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
    Ok(call.answer(characters, &Outputs::default(), lists))
}

#[utoipa::path(post, path = "/decode", tag = "text-embeddings-inference",
    request_body = DecodeRequest,
    responses((status = 200, description = "One text per list of ids", body = Vec<String>), TeiErrors))]
/// Decodes token ids to texts.
pub(crate) async fn decode(call: Call, request: DecodeRequest) -> Result<Response, Refusal> {
    let lists = match request.ids {
        Ids::One(ids) if ids.is_empty() => Vec::new(),
        Ids::One(ids) => vec![ids],
        Ids::Many(lists) => lists,
    };
    call.check_count(lists.len(), "ids")?;
    if lists.iter().any(Vec::is_empty) {
        return Err(Refusal::Empty(
            "`ids` holds an empty list; give at least one id per list".into(),
        ));
    }
    let (served, skip) = (call.served.clone(), request.skip_special_tokens.unwrap_or(true));
    let decode = move |ids: Vec<u32>| served.engine.model().tokenizer.decode_all(&ids, skip);
    let decode = move || lists.into_iter().map(decode).collect::<Result<Vec<_>, _>>();
    let texts = call.app.tokenizer_pool.run(decode).await??;
    Ok(call.answer(0, &Outputs::default(), texts))
}
