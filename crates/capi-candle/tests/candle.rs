//! The library as a router uses it: a C program, linked against the file that a router would load. Its images are
//! Linux, and so are the file's name and the sanitizer that finds leaks.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bigbatch_engine::{Engine, InitHead};

#[path = "../../capi/tests/support/mod.rs"]
mod support;

use support::{bits, class, cosine, entities, texts, vector};

const LIBRARY: &str = "libcandle_semantic_router.so";

struct Models {
    classifier: PathBuf,
    other: PathBuf,
    tokens: PathBuf,
    embedder: PathBuf,
}

impl Models {
    /// Tests run at once, so each has models of its own.
    fn new(test: &str) -> Models {
        let name = |model: &str| format!("candle-{test}-{model}");
        Models {
            classifier: support::classifier(&name("classifier"), 1),
            other: support::classifier(&name("other"), 2),
            tokens: support::token_classifier(&name("tokens")),
            embedder: support::model(&name("embedder"), InitHead::Base, 4),
        }
    }
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)
}

/// The engines that the slots of `router.c` stand for.
struct Engines {
    classifier: Engine,
    other: Engine,
    tokens: Engine,
    embedder: Engine,
}

impl Engines {
    /// What a function must answer, in the form of `router.c`.
    fn answer(&self, function: &str, text: &str) -> String {
        let classifier =
            if function.contains("mmbert_32k") { &self.classifier } else { &self.other };
        let embedding = |dimensions| {
            let (vector, tokens) = vector(&self.embedder, text, dimensions);
            format!("{} 2 {tokens}{}", vector.len(), bits(&vector))
        };
        let whole = |text: &str| vector(&self.embedder, text, None).0;
        match function {
            "classify_mmbert_32k_pii_tokens"
            | "classify_modernbert_pii_tokens"
            | "classify_candle_bert_tokens" => entities(&self.tokens, text),
            _ if function.starts_with("classify_") => {
                let (id, _, score, all) = class(classifier, text);
                let all = if function.ends_with("_with_probabilities") {
                    bits(&all)
                } else {
                    String::new()
                };
                format!("{id}{}{all}", bits(&[score]))
            }
            "get_embedding_2d_matryoshka" | "get_embedding_with_dim" => embedding(Some(32)),
            "get_embedding_with_model_type" => embedding(Some(64)),
            "get_embedding_batched" | "get_embedding_smart" => embedding(None),
            "calculate_embedding_similarity" => {
                format!("2{}", bits(&[cosine(&whole(text), &whole(&texts()[0]))]))
            }
            "calculate_similarity_batch" => {
                let of = |index: usize| cosine(&whole(text), &whole(&texts()[index]));
                let (one, two) = (of(0), of(1));
                let two_first = format!("2 2 0{} 2{}", bits(&[two]), bits(&[two]));
                let one_first = format!("2 2 1{} 0{}", bits(&[one]), bits(&[two]));
                if two >= one { two_first } else { one_first }
            }
            "embedding_text_exceeds_window" => "0".into(),
            "get_embedding_models_info" => format!("mmbert 1 {} 128", support::MAX_BATCH_TOKENS),
            other => panic!("{other} has no expected answer"),
        }
    }
}

#[test]
fn every_symbol_is_exported() {
    let names = include_str!("../../capi/symbols/candle.txt");
    support::assert_exported(names, &support::library(LIBRARY));
}

#[test]
fn threads_get_the_engines_answers_and_free_them() {
    let library = support::library(LIBRARY);
    let models = Models::new("router");
    let program = support::compile_checked("candle-router", &source("router.c"), &library);
    let texts = texts();
    let paths = [&models.classifier, &models.other, &models.tokens, &models.embedder];
    let mut args: Vec<&str> = paths.map(|path| path.to_str().unwrap()).into();
    args.extend(texts.iter().map(String::as_str));
    let output = support::run(&program, &args, &[]);
    support::assert_success(&output);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let engines = Engines {
        classifier: support::engine(&models.classifier),
        other: support::engine(&models.other),
        tokens: support::engine(&models.tokens),
        embedder: support::engine(&models.embedder),
    };
    let long = support::vector(&engines.embedder, &texts[2], None).1;
    assert!(long > 512, "a cut at 512 tokens would not be seen in {long}");
    let mut called: BTreeMap<&str, usize> = BTreeMap::new();
    for line in stdout.lines() {
        let mut fields = line.splitn(3, '\t');
        let (function, text) = (fields.next().unwrap(), fields.next().unwrap());
        let text = &texts[text.parse::<usize>().unwrap()];
        assert_eq!(fields.next().unwrap(), engines.answer(function, text), "{function} of {text}");
        *called.entry(function).or_default() += 1;
    }
    assert_eq!(called.len(), 27);
    assert!(engines_differ(&engines, &texts), "two models that answer alike test no slots");
    support::assert_leaks_are_found(&program, &args);
}

fn engines_differ(engines: &Engines, texts: &[String]) -> bool {
    let all = |engine| texts.iter().map(|text| class(engine, text).3).collect::<Vec<_>>();
    all(&engines.classifier) != all(&engines.other)
}

#[test]
fn bad_input_fails_in_the_form_of_its_type() {
    let library = support::library(LIBRARY);
    let models = Models::new("bad");
    let program = support::compile_checked("candle-bad", &source("bad_input.c"), &library);
    let long = "so it goes on and on, ".repeat(400);
    let args = [&models.classifier, &models.tokens, &models.embedder];
    let args = args.map(|path| path.to_str().unwrap());
    let output = support::run(&program, &[&args[..], &[long.as_str()]].concat(), &[]);
    support::assert_success(&output);
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines = |what: &str| errors.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("classify_nli is not served"), 1, "{errors}");
    assert!(errors.lines().all(|line| line.starts_with("bigbatch: ")), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn a_setting_that_cannot_be_used_fails_the_load_and_is_named() {
    let library = support::library(LIBRARY);
    let models = Models::new("setting");
    let program = support::compile_checked("candle-setting", &source("router.c"), &library);
    let paths = [&models.classifier, &models.other, &models.tokens, &models.embedder];
    let mut args: Vec<&str> = paths.map(|path| path.to_str().unwrap()).into();
    args.extend(["a", "b"]);
    let setting = ("BIGBATCH_MEMORY_BUDGET", "1MiB");
    for setting in [setting, ("BIGBATCH_THREADS", "many")] {
        let output = support::run(&program, &args, &[setting]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let named = if setting.1 == "many" { "BIGBATCH_THREADS: 'many'" } else { "1 MiB" };
        assert!(errors.contains("bigbatch: init_mmbert_32k_intent_classifier: "), "{errors}");
        assert!(errors.contains(named), "{errors}");
    }
}

#[test]
fn results_fit_the_layouts_of_every_release() {
    let library = support::library(LIBRARY);
    for layout in ["-DLAYOUT=3", "-DLAYOUT=4"] {
        let name = format!("candle-layout{layout}");
        let program = support::compile(&name, &source("old_layouts.c"), &library, &[layout]);
        support::assert_success(&support::run(&program.unwrap(), &[], &[]));
    }
}
