//! ModernBERT's own tokenizer against ids that were checked with the `tokenizers` library.
//!
//! The tokenizer is no part of the repository. `python/tools/modernbert_tokenizer.py DIR` rebuilds it, and
//! this test reads the DIR that `BIGBATCH_MODERNBERT_TOKENIZER` names; `.ci/run` sees to both. Without
//! the variable it prints so and checks nothing.

use std::io::{Write, stderr};
use std::path::Path;

use bigbatch_engine::{Checkpoint, Input, Tokenizer, Truncate};
use serde::Deserialize;

const DIRECTORY: &str = "BIGBATCH_MODERNBERT_TOKENIZER";

#[derive(Deserialize)]
struct Gold {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn modernbert_texts_have_their_gold_ids() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        // Not `eprintln!`, which a passing test does not show.
        writeln!(
            stderr(),
            "skipped: {DIRECTORY} is not set; run python/tools/modernbert_tokenizer.py DIR"
        )
        .expect("standard error is open");
        return;
    };
    let golds: Vec<Gold> =
        serde_json::from_str(include_str!("data/gold_tokens.json")).expect("the golds are JSON");
    assert_eq!(golds.len(), 13);
    let tokenizer = Tokenizer::open(&Checkpoint::directory(Path::new(&dir)))
        .unwrap_or_else(|e| panic!("{DIRECTORY} is set, but: {e}"));
    assert_eq!(tokenizer.vocab_end(), 50368);
    assert_eq!(tokenizer.mask_token().as_deref(), Some("[MASK]"));
    for Gold { text, ids } in golds {
        let tokens = tokenizer.encode(&Input::Text(text.clone()), 8192, Truncate::No);
        assert_eq!(tokens.expect("it fits").ids, ids, "{text:?}");
        assert_eq!(tokenizer.count(&text), Ok(ids.len()), "{text:?}");
    }
}
