//! The tokenizer without the model: `/tokenize` in two dialects, `/decode` and vLLM's `/detokenize`.

use axum::response::Response;
use bigbatch_engine::{RequestError, Tokens, prompted};

use super::call::Call;
use crate::error::Refusal;
use crate::footprint::{self, Footprint};
use crate::jobs::Outputs;
use crate::wire::inputs::Texts;
use crate::wire::openai::OpenAiErrors;
use crate::wire::shared::TokenizeRequest;
use crate::wire::tei::{DecodeRequest, Ids, SimpleToken, SimpleTokens, TeiErrors};
use crate::wire::vllm::{DetokenizeRequest, DetokenizedPrompt, TokenizedPrompt};

/// The answer of `/tokenize`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a name for the two shapes, in the document only")]
pub(crate) enum TokenizeAnswer<'a> {
    Inputs(Vec<Vec<SimpleToken<'a>>>),
    Prompt(TokenizedPrompt),
}

#[utoipa::path(post, path = "/tokenize", tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses((status = 200, description = "For `inputs`, the tokens of each text; offsets count characters. For \
        `prompt`, vLLM's ids", body = TokenizeAnswer), TeiErrors))]
/// Tokenizes texts.
pub(crate) async fn tokenize(call: Call, request: TokenizeRequest) -> Result<Response, Refusal> {
    // Unlike for vectors, the model's default prompt is used only if the request names it.
    let named = request.prompt_name.as_deref().map(|name| call.served.prompt(Some(name)));
    let before = named.transpose()?.flatten().map(str::to_owned);
    let of_vllm = request.prompt.is_some();
    let texts = request.prompt.map(Texts::One).or(request.inputs);
    let (texts, _) = texts.unwrap_or(Texts::Many(Vec::new())).into_vec();
    call.check_count(texts.len(), "inputs")?;
    let characters = texts.iter().map(|text| text.chars().count()).sum();
    call.charge.set(texts.iter().map(|text| footprint::of_tokenizing(text.len())).sum())?;
    let (served, special) = (call.served.clone(), request.add_special_tokens.unwrap_or(true));
    let tokens = move |text: String| {
        let text = prompted(before.as_deref(), text);
        let tokens = served.engine.model().tokenizer.tokens(&text, special)?;
        Ok((text, tokens))
    };
    let tokens = move || texts.into_iter().map(tokens).collect::<Result<Vec<_>, RequestError>>();
    let read: Vec<(String, Tokens)> = call.app.tokenizer_pool.run(&call.charge, tokens).await??;
    let footprints = read.iter().map(|(text, read)| Footprint::of_tokens(text, read.ids.len()));
    let footprint = footprints.sum();
    call.app.charge_footprint(&call.charge, footprint)?;
    let engine = &call.served.engine;
    let tokenizer = &engine.model().tokenizer;
    if of_vllm {
        let tokens: Vec<u32> = read.into_iter().flat_map(|(_, tokens)| tokens.ids).collect();
        let strings = request.return_token_strs.unwrap_or(false);
        let body = TokenizedPrompt {
            count: tokens.len(),
            max_model_len: engine.max_tokens(),
            token_strs: strings.then(|| tokens.iter().map(|&id| tokenizer.piece(id)).collect()),
            tokens,
        };
        return call.answer(characters, &Outputs::default(), body).await;
    }
    let lists = read.iter().map(|(text, tokens)| SimpleTokens { tokenizer, text, tokens });
    let lists: Vec<SimpleTokens<'_>> = lists.collect();
    call.answer(characters, &Outputs::default(), lists).await
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
    let texts = decode_lists(&call, lists, request.skip_special_tokens.unwrap_or(true)).await?;
    call.answer(0, &Outputs::default(), texts).await
}

#[utoipa::path(post, path = "/detokenize", tag = "vLLM", request_body = DetokenizeRequest,
    responses((status = 200, description = "The text", body = DetokenizedPrompt), OpenAiErrors))]
/// Decodes token ids to a text that shows special tokens.
pub(crate) async fn detokenize(
    call: Call,
    request: DetokenizeRequest,
) -> Result<Response, Refusal> {
    if request.tokens.is_empty() {
        return Err(Refusal::Empty("`tokens` cannot be empty".into()));
    }
    let prompt = decode_lists(&call, vec![request.tokens], false).await?.concat();
    call.answer(0, &Outputs::default(), DetokenizedPrompt { prompt }).await
}

/// Decodes each list of token ids.
async fn decode_lists(
    call: &Call,
    lists: Vec<Vec<u32>>,
    skip_special: bool,
) -> Result<Vec<String>, Refusal> {
    let ids = lists.iter().map(Vec::len).sum();
    let longest = call.served.engine.model().tokenizer.token_bytes_max();
    call.app.charge_footprint(&call.charge, Footprint::of_decoding(ids, longest))?;
    let served = call.served.clone();
    let decode =
        move |ids: Vec<u32>| served.engine.model().tokenizer.decode_all(&ids, skip_special);
    let decode = move || lists.into_iter().map(decode).collect::<Result<Vec<_>, _>>();
    Ok(call.app.tokenizer_pool.run(&call.charge, decode).await??)
}
