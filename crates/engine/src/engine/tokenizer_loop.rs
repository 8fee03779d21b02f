//! A tokenizer thread: takes admitted requests by turns of their clients, tokenizes them, puts them in line for a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::request::{AdmittedRequest, Request, TokenizedRequest};
use super::shared::Shared;
use super::slot::SlotHolder;
use crate::batch::Rows;
use crate::error::RequestError;
use crate::text::input::{Input, Tokens};

/// Runs until the queue is closed and empty.
pub(super) fn tokenizer_loop(shared: &Shared) {
    while let Some(admitted) = shared.queue.take_admitted() {
        let was_long = admitted.is_long();
        shared.queue.put_tokenized(tokenize(shared, admitted), was_long);
    }
}

/// Tokenizes one request. `None` if it was answered with an error, or its caller has gone.
fn tokenize(shared: &Shared, admitted: AdmittedRequest) -> Option<TokenizedRequest> {
    let AdmittedRequest { mut slot, request, reply, admitted } = admitted;
    let encoded = catch_unwind(AssertUnwindSafe(|| encode(shared, &request)))
        .unwrap_or_else(|_| Err(RequestError::Invalid("the tokenizer failed on this text".into())));
    match encoded {
        Ok((tokens, rows)) if !reply.is_closed() => {
            let tokenized = Instant::now();
            slot.work.set(shared.nanoseconds_at(tokens.ids.len(), rows.layers()));
            if !tokens.is_truncated() {
                shared.record_tokens(request.input.length(), tokens.ids.len());
            }
            let text = match request.input {
                Input::Text(text)
                | Input::Bare(text)
                | Input::Pair(_, text)
                | Input::InContext { text, .. }
                | Input::Tokens(text, _) => text,
                // Vectors quote nothing.
                Input::Prompted(..) | Input::Ids(_) => String::new(),
            };
            let task = request.task;
            Some(TokenizedRequest { slot, task, text, tokens, rows, reply, admitted, tokenized })
        }
        Ok(_) => None,
        Err(error) => {
            drop(slot);
            let _ = reply.send(Err(error));
            None
        }
    }
}

fn encode(shared: &Shared, request: &Request) -> Result<(Tokens, Rows), RequestError> {
    let model = &shared.model;
    let mut tokens = model.tokenizer.encode(&request.input, shared.max_tokens, request.truncate)?;
    if let (Input::Prompted(prompt, _), false) = (&request.input, model.embedding.include_prompt) {
        tokens.prompt = model.tokenizer.prompt_tokens(prompt, shared.max_tokens)?;
    }
    let vocab = model.config.vocab_size;
    if let Some(id) = tokens.ids.iter().find(|&&id| id as usize >= vocab) {
        return Err(RequestError::Invalid(format!("token id {id} is outside 0..{vocab}")));
    }
    let rows = request.task.rows(model, &tokens)?;
    Ok((tokens, rows))
}
