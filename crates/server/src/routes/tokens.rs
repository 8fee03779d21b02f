//! The tokenizer without the model: `/tokenize` in two dialects, `/decode` and vLLM's `/detokenize`.

use axum::response::Response;
use bigbatch_engine::{TokenPiece, prompted};

use super::call::Call;
use crate::error::Refusal;
use crate::jobs::Outputs;
use crate::wire::inputs::Texts;
use crate::wire::openai::OpenAiErrors;
use crate::wire::shared::TokenizeRequest;
use crate::wire::tei::{DecodeRequest, Ids, SimpleToken, TeiErrors};
use crate::wire::vllm::{DetokenizeRequest, DetokenizedPrompt, TokenizedPrompt};

/// The answer of `/tokenize`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a name for the two shapes, in the document only")]
pub(crate) enum TokenizeAnswer {
    Inputs(Vec<Vec<SimpleToken>>),
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
    let (served, special) = (call.served.clone(), request.add_special_tokens.unwrap_or(true));
    let tokens = move |text: String| {
        served.engine.model().tokenizer.tokens(&prompted(before.as_deref(), text), special)
    };
    let tokens = move || texts.into_iter().map(tokens).collect::<Result<Vec<_>, _>>();
    let tokens = call.app.tokenizer_pool.run(tokens).await??;
    if of_vllm {
        let strings = request.return_token_strs.unwrap_or(false);
        let body = tokenized_prompt(&call, tokens.into_iter().flatten(), strings);
        return Ok(call.answer(characters, &Outputs::default(), body));
    }
    let simple = |TokenPiece { id, text, special, span }: TokenPiece| {
        let (start, stop) = span.map_or((None, None), |span| (Some(span.start), Some(span.end)));
        SimpleToken { id, text, special, start, stop }
    };
    let list = |tokens: Vec<TokenPiece>| tokens.into_iter().map(simple).collect();
    let lists: Vec<Vec<SimpleToken>> = tokens.into_iter().map(list).collect();
    Ok(call.answer(characters, &Outputs::default(), lists))
}

/// Returns vLLM's answer for the tokens of one text.
fn tokenized_prompt(
    call: &Call,
    tokens: impl Iterator<Item = TokenPiece>,
    strings: bool,
) -> TokenizedPrompt {
    let engine = &call.served.engine;
    let tokens: Vec<u32> = tokens.map(|token| token.id).collect();
    let tokenizer = &engine.model().tokenizer;
    TokenizedPrompt {
        count: tokens.len(),
        max_model_len: engine.max_tokens(),
        token_strs: strings.then(|| tokens.iter().map(|&id| tokenizer.piece(id)).collect()),
        tokens,
    }
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
    Ok(call.answer(0, &Outputs::default(), texts))
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
    Ok(call.answer(0, &Outputs::default(), DetokenizedPrompt { prompt }))
}

/// Decodes each list of token ids.
async fn decode_lists(
    call: &Call,
    lists: Vec<Vec<u32>>,
    skip_special: bool,
) -> Result<Vec<String>, Refusal> {
    let served = call.served.clone();
    let decode =
        move |ids: Vec<u32>| served.engine.model().tokenizer.decode_all(&ids, skip_special);
    let decode = move || lists.into_iter().map(decode).collect::<Result<Vec<_>, _>>();
    Ok(call.app.tokenizer_pool.run(decode).await??)
}
