//! The embedded models answer sentences that are in no training set (`tests/data/embedded_sentences.json`)
//! correctly, with the default options.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Scratch, bigbatch, text};
use crate::{line, numbers, parse};

fn fixture(task: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/embedded_sentences.json");
    let json = std::fs::read_to_string(path).expect("it is in the repository");
    let mut json: Value = serde_json::from_str(&json).expect("it is JSON");
    serde_json::from_value(json[task].take()).expect("a list")
}

/// Runs a command on the texts of all cases, and pairs each case with its answer.
fn answers(cases: Vec<Value>, command: &[&str]) -> Vec<(Value, Value)> {
    let scratch = Scratch::new();
    let texts: Vec<&Value> = cases.iter().map(|case| &case["text"]).collect();
    let file = scratch.file("texts.json", json!(texts).to_string());
    let args = [command, &["--json", "--input", text(&file)]].concat();
    let answers = parse(&bigbatch(args).output());
    assert_eq!(answers.len(), cases.len());
    cases.into_iter().zip(answers).collect()
}

/// Sentences that a model gets wrong; `pii` reads the name in the second as two parts. The fixture is in no training set; two faults that it exposed, with capitals
/// and with requests to translate, were fixed for all texts. When a retrained model gets a sentence right, the
/// test fails: remove the sentence here.
const KNOWN_WRONG: [&str; 2] = [
    "Will I need an umbrella in Lisbon this weekend?",
    "Please write to Hannah Whitfield at hannah.whitfield@example.org about the lease.",
];

/// Asserts that every answer is correct, except those of [`KNOWN_WRONG`], which must be wrong.
fn assert_correct_except_known(answers: &[(Value, Value)], right: impl Fn(&Value, &Value) -> bool) {
    for (case, answer) in answers {
        let text = case["text"].as_str().expect("a text");
        let known = KNOWN_WRONG.contains(&text);
        assert_eq!(right(case, answer), !known, "{text}: {answer}");
    }
}

fn best(answer: &Value) -> &str {
    answer["labels"][0]["label"].as_str().expect("a label")
}

#[test]
fn classify_separates_injections_from_questions() {
    let cases = fixture("jailbreak");
    assert_eq!(cases.len(), 20);
    let answers = answers(cases, &["classify"]);
    assert_correct_except_known(&answers, |case, answer| case["label"] == best(answer));
}

#[test]
fn intent_classifies_requests() {
    let cases = fixture("intent");
    assert_eq!(cases.len(), 10);
    let answers = answers(cases, &["classify", "--model", "embedded:intent"]);
    assert_correct_except_known(&answers, |case, answer| {
        let Some((domain, intent)) = best(answer).split_once('/') else { return false };
        let intents = case["intents"].as_array().expect("a list");
        case["domain"] == domain && intents.iter().any(|name| name == intent)
    });
}

#[test]
fn tag_finds_personal_data() {
    let cases = fixture("pii");
    assert_eq!(cases.len(), 10);
    let answers = answers(cases, &["tag"]);
    assert_correct_except_known(&answers, |case, answer| {
        let entities = answer["entities"].as_array().expect("a list").iter();
        let found: Vec<Value> = entities.map(|e| json!([e["label"], e["text"]])).collect();
        case["entities"] == json!(found)
    });
}

#[test]
fn text_output_has_five_labels_and_json_all() {
    let request = "How many calories does a bowl of lentil soup have?";
    let model = ["classify", "--model", "embedded:intent", request];
    let run = |options: &[&str]| bigbatch([&model[..], options].concat()).output();
    let printed = run(&[]);
    let first = printed.split("  ").next().and_then(|first| first.split_once(' '));
    let (label, score) = first.unwrap_or_else(|| panic!("{printed}"));
    let score: f64 = score.parse().unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert!(label == "kitchen_and_dining/calories" && (0.9..=1.0).contains(&score), "{printed}");
    assert_eq!(printed.split("  ").count(), 5, "{printed}");
    assert_eq!(run(&["--top-k", "2"]).split("  ").count(), 2);
    assert_eq!(run(&["--top-k", "200"]).split("  ").count(), 151, "all labels of the model");
    let count = |options: &[&str]| {
        let answer = line(&[&model[..], &["--json"], options].concat());
        answer["labels"].as_array().expect("a list").len()
    };
    assert_eq!((count(&[]), count(&["--top-k", "3"])), (151, 3));
}

#[test]
fn embed_separates_topics_and_fill_mask_finds_words() {
    let texts = [
        "How do I get to the airport from here?",
        "What is the quickest way to the train station?",
        "Please transfer fifty dollars to my savings account.",
    ];
    let answers = parse(&bigbatch(["embed", "--json"].into_iter().chain(texts)).output());
    let vectors: Vec<Vec<f64>> = answers.iter().map(|a| numbers(&a["embedding"])).collect();
    let cosine = |a: usize, b: usize| -> f64 {
        vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum()
    };
    let (like, unlike) = (cosine(0, 1), cosine(0, 2));
    assert!(like > unlike + 0.2, "{like} and {unlike}");

    for (text, word) in [
        ("We must work together for the people of the United [MASK].", " States"),
        ("The capital of France is [MASK].", " Paris"),
    ] {
        assert_eq!(line(&["fill-mask", "--json", text])["masks"][0][0]["token"], word, "{text}");
    }
}

#[test]
fn embed_places_two_wordings_of_one_meaning_together() {
    let texts = ["Where is my parcel?", "My package has not arrived.", "Book a table for two."];
    let answers = parse(&bigbatch(["embed", "--json"].into_iter().chain(texts)).output());
    let vectors: Vec<Vec<f64>> = answers.iter().map(|a| numbers(&a["embedding"])).collect();
    let cosine = |a: usize, b: usize| -> f64 {
        vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum()
    };
    assert!(cosine(0, 1) > 0.6 && cosine(0, 2) < 0.3, "{} {}", cosine(0, 1), cosine(0, 2));
}

#[test]
fn a_query_is_answered_by_the_embedded_reranker() {
    let passages = [
        "Our office is closed on Sundays.",
        "You can follow your parcel with the tracking number.",
        "Refunds are paid to the card you paid with.",
    ];
    let query = ["classify", "--json", "--query", "Where is my parcel?"];
    let answers = parse(&bigbatch(query.into_iter().chain(passages)).output());
    let relevance = |at: usize| answers[at]["labels"][0]["score"].as_f64().expect("a number");
    assert_eq!(answers[0]["labels"][0]["label"], "relevance");
    assert!(relevance(1) > 0.5 && relevance(1) > relevance(0).max(relevance(2)), "{answers:?}");
}

#[test]
fn a_single_entity_is_in_the_singular() {
    let found = bigbatch(["tag", "--model", "embedded:pii", "I am Laura Bennett"]).output();
    assert!(found.starts_with("11 tokens, 1 entity\n"), "{found}");
}
