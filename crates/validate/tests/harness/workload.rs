//! Prompts have exactly the requested tokens, start at words, differ, and repeat with their seed.

use std::collections::HashSet;

use crate::simulated::{PieceCounter, corpus};
use bigbatch_validate::system::{Prompt, TokenCounter};
use bigbatch_validate::workload::{Corpus, Workload};
use proptest::prelude::*;

fn prompts(corpus: &Corpus, tokens: usize, seed: u64, wanted: usize) -> Vec<Prompt> {
    let workload = Workload::new(corpus, &PieceCounter, tokens).expect("a corpus of words");
    workload.prompts(tokens, seed, wanted).expect("prompts")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_prompt_is_exact_and_starts_at_a_word(tokens in 3usize..20_000, seed: u64) {
        let corpus = corpus();
        let found = prompts(&corpus, tokens, seed, 20);
        prop_assert!(!found.is_empty());
        for prompt in &found {
            prop_assert_eq!(PieceCounter.count(prompt.text()), tokens);
            prop_assert_eq!(prompt.tokens(), tokens);
            prop_assert!(!prompt.text().starts_with(char::is_whitespace));
            let start = prompt.range().start;
            prop_assert!(start == 0 || corpus.text()[..start].ends_with(char::is_whitespace));
        }
    }
}

#[test]
fn prompts_differ_within_a_seed_and_repeat_with_it() {
    let corpus = Corpus::embedded();
    let texts = |seed| -> Vec<String> {
        prompts(&corpus, 200, seed, 500).iter().map(|prompt| prompt.text().to_owned()).collect()
    };
    let one = texts(1);
    assert_eq!(one.iter().collect::<HashSet<_>>().len(), 500);
    assert_eq!(one, texts(1));
    assert_ne!(one, texts(2));
}

#[test]
fn a_window_runs_over_the_end_of_the_corpus() {
    let corpus = corpus();
    let whole = PieceCounter.count(corpus.text());
    let long = prompts(&corpus, 2 * whole, 3, 1);
    assert_eq!(PieceCounter.count(long[0].text()), 2 * whole);
    assert!(long[0].text().len() > corpus.text().len());
}

#[test]
fn a_small_corpus_gives_as_many_prompts_as_it_has_words() {
    let found = prompts(&corpus(), 50, 1, 1_000_000);
    assert!(found.len() > 2000 && found.len() <= 4000, "{}", found.len());
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let corpus = corpus();
    let workload = Workload::new(&corpus, &PieceCounter, 100).expect("words");
    let error = workload.prompts(2, 1, 1).expect_err("only special tokens fit").to_string();
    assert!(error.contains("exactly 2 tokens") && error.contains("2 special tokens"), "{error}");
    let error = Corpus::from_text("x", "too few words").expect_err("refused").to_string();
    assert!(error.contains("3 words"), "{error}");
}
