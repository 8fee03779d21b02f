//! The library as a router uses it: a C program, linked against the file that a router would load. Its images are
//! Linux, and so are the file's name and the sanitizer that finds leaks.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bigbatch_engine::{Engine, InitHead};

#[path = "../../capi/tests/support/mod.rs"]
mod support;

use support::{bits, cosine, entities, texts, vector};

const LIBRARY: &str = "libonnx_semantic_router.so";

/// Tests run at once, so each has models of its own: two classifiers, a token classifier, an embedder.
fn models(test: &str) -> [PathBuf; 4] {
    let name = |model: &str| format!("onnx-{test}-{model}");
    [
        support::classifier(&name("classifier"), 1),
        support::classifier(&name("other"), 2),
        support::token_classifier(&name("tokens")),
        support::model(&name("embedder"), InitHead::Base, 4),
    ]
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)
}

fn class(engine: &Engine, text: &str) -> String {
    let (id, label, score, all) = support::class(engine, text);
    format!("{id} {label}{}{}", bits(&[score]), bits(&all))
}

/// What a function must answer, in the form of `router.c`.
fn answer([one, other, tokens, embedder]: &[Engine; 4], function: &str, text: &str) -> String {
    let first = &texts()[0];
    let embedding = |text: &str, dimensions| {
        let (vector, tokens) = vector(embedder, text, dimensions);
        format!("{} 0 {tokens}{}", vector.len(), bits(&vector))
    };
    let whole = |text: &str| vector(embedder, text, None).0;
    match function {
        "classify_text" => class(one, text),
        "classify_batch" => format!("{}, {}", class(other, text), class(other, first)),
        "detect_pii" => entities(tokens, text),
        "get_embedding" => embedding(text, None),
        "get_embedding_with_dim" => embedding(text, Some(64)),
        "get_embedding_2d_matryoshka" => embedding(text, Some(32)),
        "get_embeddings_batch" => format!("{}, {}", embedding(text, None), embedding(first, None)),
        "calculate_embedding_similarity" => {
            format!("0{}", bits(&[cosine(&whole(text), &whole(first))]))
        }
        "calculate_similarity_batch" => {
            let (one, two) =
                (cosine(&whole(text), &whole(first)), cosine(&whole(text), &whole(&texts()[1])));
            let two_first = format!("2 0 0{} 2{}", bits(&[two]), bits(&[two]));
            let one_first = format!("2 0 1{} 0{}", bits(&[one]), bits(&[two]));
            if two >= one { two_first } else { one_first }
        }
        "embedding_text_exceeds_window" => "0".into(),
        "get_embedding_models_info" => format!("mmbert 1 {} 128 0 6", support::MAX_BATCH_TOKENS),
        other => panic!("{other} has no expected answer"),
    }
}

#[test]
fn every_symbol_is_exported() {
    let names = include_str!("../../capi/symbols/onnx.txt");
    support::assert_exported(names, &support::library(LIBRARY));
}

#[test]
fn threads_get_the_engines_answers_and_free_them() {
    let library = support::library(LIBRARY);
    let models = models("router");
    let program = support::compile_checked("onnx-router", &source("router.c"), &library);
    let texts = texts();
    let mut args: Vec<&str> = models.iter().map(|path| path.to_str().unwrap()).collect();
    args.extend(texts.iter().map(String::as_str));
    let output = support::run(&program, &args, &[]);
    support::assert_success(&output);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let engines = models.each_ref().map(|path| support::engine(path));
    let long = support::vector(&engines[3], &texts[2], None).1;
    assert!(long > 512, "a cut at 512 tokens would not be seen in {long}");
    let mut called = BTreeSet::new();
    for line in stdout.lines() {
        let mut fields = line.splitn(3, '\t');
        let (function, text) = (fields.next().unwrap(), fields.next().unwrap());
        let text = &texts[text.parse::<usize>().unwrap()];
        assert_eq!(
            fields.next().unwrap(),
            answer(&engines, function, text),
            "{function} of {text}"
        );
        called.insert(function);
    }
    assert_eq!(called.len(), 11);
    assert_ne!(
        class(&engines[0], &texts[0]),
        class(&engines[1], &texts[0]),
        "slots are not tested"
    );
    support::assert_leaks_are_found(&program, &args);
}

#[test]
fn bad_input_fails_in_the_form_of_its_type() {
    let library = support::library(LIBRARY);
    let [classifier, _, tokens, embedder] = models("bad");
    let program = support::compile_checked("onnx-bad", &source("bad_input.c"), &library);
    let long = "so it goes on and on, ".repeat(400);
    let args = [&classifier, &tokens, &embedder].map(|path| path.to_str().unwrap());
    let output = support::run(&program, &[&args[..], &[long.as_str()]].concat(), &[]);
    support::assert_success(&output);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.lines().all(|line| line.starts_with("bigbatch: ")), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}
