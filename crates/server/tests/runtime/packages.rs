//! Packages as routers have them: scores with an operating point, grounded heads, exits of embedders and rerankers.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use bigbatch_engine::{Dtype, Engine, EngineOptions, Init, InitHead, LoadOptions, Model, Preset};
use bigbatch_server::{App, Models, Options, ServedModel};
use serde_json::{Value, json};

use crate::client::{floats, get, post_to, post_to_usual};

fn served(preset: &str) -> ServedModel {
    let preset = Preset::named(preset).unwrap();
    let head = preset.head().unwrap_or(InitHead::Base);
    let [tokenizer, config] = preset.tokenizer_files().expect("packages have a tokenizer");
    let init = Init { preset, head, seed: 3, dtype: Dtype::F32 };
    let files = (Cow::Borrowed(tokenizer), Cow::Borrowed(config));
    let checkpoint = init.checkpoint(preset.name, files.0, files.1).unwrap();
    let options = LoadOptions { hash: true, ..LoadOptions::default() };
    let model = Model::load(&checkpoint, options).unwrap();
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.threads = 1;
    ServedModel::new(preset.name, preset.name, Engine::start(model, &options).unwrap())
}

fn app() -> Arc<App> {
    static APP: LazyLock<Arc<App>> = LazyLock::new(|| {
        let names = [
            "random-scores",
            "random-grounded",
            "random-exits",
            "random-reranker-exits",
            "random-tags",
        ];
        App::new(Models::new(names.map(served).into()).unwrap(), Options::default())
    });
    APP.clone()
}

async fn post(path: &str, body: Value) -> Value {
    let reply = post_to(&app(), path, body.to_string()).await;
    assert_eq!(reply.status, 200, "{body}: {}", reply.text);
    reply.json()
}

async fn refusal(path: &str, body: Value) -> (u16, String) {
    post_to(&app(), path, body.to_string()).await.refusal()
}

async fn card(name: &str) -> Value {
    let list = get(&app(), "/v1/models").await.json();
    let cards = list["data"].as_array().unwrap().clone();
    cards.into_iter().find(|card| card["id"] == name).expect("it is served")
}

#[tokio::test]
async fn scores_are_selected_by_the_thresholds_of_the_package_over_its_windows() {
    let head = card("random-scores").await["heads"][0].clone();
    assert_eq!((&head["kind"], &head["overflow"]), (&json!("scores"), &json!("window")));
    assert_eq!(head["window"], json!({"tokens": 64, "overlap": 16}));
    assert!(head["operating_point_sha256"].as_str().is_some_and(|digest| digest.len() == 64));
    let (labels, thresholds) = (head["labels"].as_array().unwrap(), floats(&head["thresholds"]));
    assert_eq!(thresholds.len(), labels.len());
    let text = "Ada met Bob in London. ".repeat(40);
    let body = json!({"model": "random-scores", "input": [text, "Bob"]});
    let results = post("/v1/classify", body).await["results"].clone();
    let windows = results[0]["windows"].as_array().expect("the package is read in windows");
    assert!(windows.len() > 1);
    assert_eq!(windows[1]["start"], 64 - 2 - 16);
    for result in results.as_array().unwrap() {
        let scores = floats(&result["scores"]);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        let passing = (0..labels.len()).filter(|&at| scores[at] >= thresholds[at]);
        let expected: Vec<&Value> = passing.map(|at| &labels[at]).collect();
        assert_eq!(result["selected"], json!(expected));
    }
    let whole =
        json!({"model": "random-scores", "input": "Bob", "options": {"overflow": "reject"}});
    let whole = post("/v1/classify", whole).await["results"][0].clone();
    assert_eq!(whole["scores"], results[1]["scores"]);
    assert!(whole.get("windows").is_none());
}

#[tokio::test]
async fn a_grounded_head_marks_runs_of_the_answer() {
    let head = card("random-grounded").await["heads"][0].clone();
    assert_eq!((&head["inputs"], &head["reduction"]), (&json!(["grounded"]), &Value::Null));
    assert_eq!(head["default_threshold"], 0.5);
    let answer = "\u{1f600} Bob met Ada in Lo\u{301}ndon, and left.";
    let item = json!({"context": "Ada met Bob.", "question": "Who met?", "answer": answer});
    let ask = async |options: Value| {
        let body = json!({"model": "random-grounded", "input": [item], "options": options});
        post("/v1/classify", body).await["results"][0].clone()
    };
    let result = ask(json!({"return_tokens": true})).await;
    let tokens = result["tokens"].as_array().unwrap();
    let marked = |token: &Value| floats(&token["probabilities"])[1] > 0.5;
    let covered =
        |at: u64| {
            result["spans"].as_array().unwrap().iter().any(|span| {
                span["start"].as_u64().unwrap() <= at && at < span["end"].as_u64().unwrap()
            })
        };
    assert!(tokens.iter().any(marked) && !tokens.iter().all(marked), "the fixture has both");
    for token in tokens.iter().filter(|token| marked(token)) {
        assert!(covered(token["start"].as_u64().unwrap()), "{token}");
    }
    let (mut last, characters): (u64, Vec<char>) = (0, answer.chars().collect());
    for span in result["spans"].as_array().unwrap() {
        let (start, end) = (span["start"].as_u64().unwrap(), span["end"].as_u64().unwrap());
        assert!(last <= start && start < end);
        last = end;
        let slice: String = characters[start as usize..end as usize].iter().collect();
        assert_eq!((&span["text"], &span["label"]), (&json!(slice), &json!("hallucinated")));
        let inside = tokens.iter().filter(|token| {
            marked(token)
                && token["start"].as_u64() >= Some(start)
                && token["end"].as_u64() <= Some(end)
        });
        let largest = inside.map(|token| floats(&token["probabilities"])[1]).fold(0.0, f32::max);
        assert_eq!(span["probability"].as_f64().unwrap() as f32, largest);
    }
    assert_eq!(ask(json!({"threshold": 1})).await["spans"], json!([]));
    // Nothing passes strictly more than what it has.
    assert_eq!(ask(json!({"threshold": 0})).await["spans"].as_array().map(Vec::len), Some(1));
    for input in [
        json!("a"),
        json!({"text": "a"}),
        json!({"context": "a", "question": "b"}),
        json!({"answer": ""}),
    ] {
        let body = json!({"model": "random-grounded", "input": [input]});
        assert_eq!(
            post("/v1/classify", body).await["results"][0]["error"],
            "invalid_input",
            "{input}"
        );
    }
    let windows = json!({"model": "random-grounded", "input": [item], "options": {"overflow": "window", "window": {"tokens": 64}}});
    assert_eq!(refusal("/v1/classify", windows).await.0, 400);
}

/// As older routers ask for it: the usual port marks what the contract's path marks.
#[tokio::test]
async fn the_usual_port_judges_an_answer_by_its_context() {
    let (context, question) = ("Ada met Bob.", "Who met?");
    let answers = ["\u{1f600} Bob met Ada in Lo\u{301}ndon, and left.", "Ada met Bob."];
    let usual = async |path: &str, body: Value| post_to_usual(&app(), path, &body).await;
    let classify = async |body: Value| usual("/classify", body).await;
    for parameters in
        [json!({"context": context, "question": question}), json!({"context": context})]
    {
        let form = |answer: &str| {
            let mut item = parameters.clone();
            item["answer"] = json!(answer);
            item
        };
        let input = answers.map(form);
        let results = post("/v1/classify", json!({"model": "random-grounded", "input": input}));
        let results = results.await["results"].clone();
        let spans = |result: &Value| -> Vec<Value> {
            let span = |span: &Value| {
                let mut span = span.clone();
                let score = span.as_object_mut().unwrap().shift_remove("probability").unwrap();
                span["score"] = score;
                span
            };
            result["spans"].as_array().unwrap().iter().map(span).collect()
        };
        let expected: Vec<Vec<Value>> = results.as_array().unwrap().iter().map(spans).collect();
        assert!(!expected[0].is_empty());
        let ask = json!({"model": "random-grounded", "inputs": answers, "parameters": parameters});
        let reply = classify(ask).await;
        assert_eq!(reply.json(), json!(expected), "{}", reply.text);
        let tokens: u64 =
            results.as_array().unwrap().iter().filter_map(|r| r["input"]["tokens"].as_u64()).sum();
        assert_eq!(reply.headers["x-input-tokens"], tokens.to_string().as_str());
        let characters: usize =
            reply.headers["x-compute-characters"].to_str().unwrap().parse().unwrap();
        let own: usize = answers.iter().map(|answer| answer.chars().count()).sum();
        assert!(characters >= own + 2 * context.len(), "each text is read after its context");
        let one =
            json!({"model": "random-grounded", "inputs": answers[0], "parameters": parameters});
        assert_eq!(classify(one).await.json(), json!(expected[0]));
    }
    let both = json!({"context": context, "question": question});
    for (path, body) in [
        ("/classify", json!({"inputs": "a"})),
        ("/classify", json!({"inputs": "a", "parameters": null})),
        ("/classify", json!({"inputs": "a", "parameters": {"question": question}})),
        ("/classify", json!({"inputs": "a", "parameters": {"context": 1}})),
        ("/classify", json!({"inputs": "", "parameters": both})),
        ("/classify", json!({"input": "a", "parameters": both})),
        ("/classify", json!({"inputs": "a", "parameters": both, "chunk": {"size": 64}})),
        ("/classify", json!({"inputs": "a", "parameters": both, "add_special_tokens": false})),
        ("/classify", json!({"inputs": "a", "parameters": both, "model": "random-tags"})),
        ("/classify", json!({"inputs": "a", "parameters": both, "model": "random-scores"})),
        ("/tag", json!({"inputs": "a"})),
        ("/tag", json!({"inputs": [["context", "a"], "a"]})),
        ("/", json!({"inputs": "a"})),
    ] {
        let mut body = body;
        if body.get("model").is_none() {
            body["model"] = json!("random-grounded");
        }
        let reply = usual(path, body.clone()).await;
        assert!((400..500).contains(&reply.status), "{path} {body}: {}", reply.text);
    }
    let analysis = usual("/v1/analyze", json!({"text": "Ada met Bob."})).await.json();
    let results = &analysis["results"];
    assert!(
        results["random-grounded"]["error"].is_object()
            && results["random-tags"]["error"].is_null()
    );
    let empty = json!({"model": "random-tags", "inputs": "Ada met Bob.", "parameters": {}});
    assert_eq!(classify(empty).await.status, 200, "nothing is asked for");
}

#[tokio::test]
async fn a_grounded_pair_is_cut_in_its_context_only() {
    let answer = "Bob met Ada in London, and left.";
    let item =
        json!({"context": "Ada met Bob. ".repeat(50), "question": "Who met?", "answer": answer});
    let ask = async |max_tokens: usize| {
        let options =
            json!({"overflow": "truncate", "max_tokens": max_tokens, "return_tokens": true});
        let body = json!({"model": "random-grounded", "input": [item], "options": options});
        post("/v1/classify", body).await["results"][0].clone()
    };
    let cut = ask(80).await;
    assert_eq!(
        (&cut["input"]["processed_tokens"], &cut["input"]["truncated"]),
        (&json!(80), &json!(true))
    );
    let last = cut["tokens"].as_array().unwrap().last().unwrap()["end"].as_u64();
    assert_eq!(last, Some(answer.chars().count() as u64), "the answer is whole");
    assert_eq!(ask(8).await["error"], "max_length_exceeded");
}

/// Layer and width of an exit give the vector that the engine computes for it, and all exits run in one exchange.
#[tokio::test]
async fn an_embedder_answers_at_its_exits() {
    let card = card("random-exits").await;
    let layers: Vec<u64> = card["embedding"]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    let widths: Vec<u64> = card["embedding"]["dimensions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    assert!(layers.len() == 3 && layers.is_sorted() && widths.len() == 3 && widths[0] > widths[2]);
    assert_eq!(card["embedding"]["normalized"], true);
    assert!(card["model_sha256"].as_str().is_some_and(|digest| digest.len() == 64));
    let mut tasks = Vec::new();
    for layer in &layers {
        for width in &widths {
            let body = json!({"model": "random-exits", "input": "Ada met Bob.", "layer": layer, "dimensions": width});
            tasks.push(json!({"id": tasks.len().to_string(), "embeddings": body}));
        }
    }
    let results = post("/v1/bundle", json!({"tasks": tasks})).await["results"].clone();
    let mut vectors = Vec::new();
    for (task, result) in tasks.iter().zip(results.as_array().unwrap()) {
        let alone = post("/v1/embeddings", task["embeddings"].clone()).await;
        assert_eq!(result["embeddings"], alone);
        let representation = &alone["meta"]["representation"];
        assert_eq!(representation["layer"], task["embeddings"]["layer"]);
        assert_eq!(representation["model_sha256"], card["model_sha256"]);
        let vector = floats(&alone["data"][0]["embedding"]);
        assert_eq!(json!(vector.len()), task["embeddings"]["dimensions"]);
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-5, "cut before it is scaled: {norm}");
        vectors.push(vector);
    }
    assert!(vectors[0] != vectors[3] && vectors[3] != vectors[6], "exits differ");
    let plain =
        post("/v1/embeddings", json!({"model": "random-exits", "input": "Ada met Bob."})).await;
    assert_eq!(floats(&plain["data"][0]["embedding"]), vectors[6], "the whole model by default");
    for (field, value) in [("layer", 1_000), ("layer", 0), ("dimensions", 7)] {
        let mut body = json!({"model": "random-exits", "input": "a"});
        body[field] = json!(value);
        assert_eq!(refusal("/v1/embeddings", body).await, (400, "invalid_request".into()));
    }
}

#[tokio::test]
async fn a_reranker_scores_at_its_exits() {
    let card = card("random-reranker-exits").await["rerank"].clone();
    let exits = card["exits"].as_array().unwrap();
    assert!(exits.len() == 9 && exits.contains(&card["default"]));
    let rank = async |exit: Option<&Value>| {
        let mut body = json!({"model": "random-reranker-exits", "query": "Who met?", "documents": ["Ada", "Bob met Ada."]});
        if let Some(exit) = exit {
            (body["layer"], body["dimensions"]) =
                (exit["layer"].clone(), exit["dimension"].clone());
        }
        post("/v1/rerank", body).await["results"].clone()
    };
    let mut seen = Vec::new();
    for exit in exits {
        let results = rank(Some(exit)).await;
        let logit = results[0]["logit"].as_f64().unwrap();
        assert!(!seen.contains(&logit), "each exit has a scorer of its own");
        seen.push(logit);
    }
    assert_eq!(rank(None).await, rank(Some(&card["default"])).await);
    let body = json!({"model": "random-reranker-exits", "query": "q", "documents": ["a"], "layer": 1, "dimensions": 3});
    assert_eq!(refusal("/v1/rerank", body).await, (400, "invalid_request".into()));
}
