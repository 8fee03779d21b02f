//! The dialects of guardrail gateways: LiteLLM's, FMS' and Presidio's, over guardrails of the config.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::Request;
use bigbatch_engine::InitHead;
use bigbatch_server::{Action, App, Guardrail, Models, Options, check_guardrails};
use serde_json::{Value, json};

use crate::common::{Reply, get_from, labels, post_to, send, served, too_long};

const LITELLM: &str = "/beta/litellm_basic_guardrail_api";
const FMS: &str = "/api/v1/text/contents";
const TEXT: &str = "\u{1f600} Ada Lovelace met Charles Babbage in Lo\u{301}ndon.";

fn guardrail(name: &str, model: &str, own: &[&str], action: Action) -> Guardrail {
    Guardrail {
        name: name.into(),
        model: model.into(),
        labels: labels(own),
        threshold: 0.0,
        action,
        fail_open: false,
        pass_unscanned: false,
        window_tokens: Some(64),
        window_overlap: Some(8),
    }
}

fn models() -> Models {
    let list = vec![
        served("intent", InitHead::Sequence(labels(&["billing", "travel", "code"])), 512),
        served("pii", InitHead::Token(labels(&["O", "B-NAME", "I-NAME"])), 512),
        served("rank", InitHead::Sequence(labels(&["LABEL_0"])), 512),
    ];
    Models::new(list).unwrap()
}

fn app_of(guardrails: Vec<Guardrail>) -> Arc<App> {
    let models = models();
    check_guardrails(&guardrails, &models).unwrap();
    App::new(models, Options { guardrails, ..Options::default() })
}

fn app() -> Arc<App> {
    static APP: LazyLock<Arc<App>> = LazyLock::new(|| {
        app_of(vec![
            guardrail("names", "pii", &[], Action::Mask),
            guardrail("topic", "intent", &["travel"], Action::Block),
        ])
    });
    APP.clone()
}

async fn ask(body: Value) -> Value {
    let reply = post_to(&app(), LITELLM, body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn detect(detector: Option<&str>, body: &Value) -> Reply {
    let request = Request::post(FMS).header("content-type", "application/json");
    let request =
        detector.into_iter().fold(request, |request, id| request.header("detector-id", id));
    send(&app(), request.body(Body::from(body.to_string())).unwrap()).await
}

/// Returns the spans that the model finds, by an endpoint of its own.
async fn tagged(text: &str) -> Vec<(u64, u64)> {
    let body = json!({"inputs": text, "model": "pii", "chunk": {"size": 64, "overlap": 8}});
    let answer = post_to(&app(), "/tag", body.to_string()).await.json();
    let span =
        |entity: &Value| (entity["start"].as_u64().unwrap(), entity["end"].as_u64().unwrap());
    answer["entities"].as_array().unwrap().iter().map(span).collect()
}

#[tokio::test]
async fn litellm_gets_masked_texts_or_a_reason() {
    let only = |name: &str, more: Value| {
        let mut body = json!({"input_type": "request", "litellm_version": "9", "structured_messages": null,
            "request_data": {"user_api_key_hash": "x"}, "texts": [TEXT, ""],
            "additional_provider_specific_params": {"guardrails": [name]}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let answer = ask(only("names", json!({}))).await;
    assert_eq!(answer["action"], "GUARDRAIL_INTERVENED");
    let characters: Vec<char> = TEXT.chars().collect();
    // Words are masked whole, and once.
    let spans = tagged(TEXT).await;
    let ends_word =
        |at: usize| characters.get(at).is_none_or(|c| [' ', '.', '\u{1f600}'].contains(c));
    let mut expected = String::new();
    let mut at = 0;
    while at < characters.len() {
        let end = (at..=characters.len()).find(|&end| ends_word(end)).unwrap_or(characters.len());
        let marked = |at: usize| spans.iter().any(|&(a, b)| (a..b).contains(&(at as u64)));
        if (at..end).any(marked) {
            expected += "<NAME>";
        } else {
            expected.extend(&characters[at..end]);
        }
        expected.extend(characters.get(end));
        at = end + 1;
    }
    assert_eq!(answer["texts"], json!([expected, ""]), "all texts, in order");
    let answer = ask(only("topic", json!({}))).await;
    assert_eq!(answer["action"], "BLOCKED");
    assert!(answer["blocked_reason"].as_str().unwrap().starts_with("topic: travel ("), "{answer}");
    assert!(answer.get("texts").is_none());
    // A request may ask for more to be found, not for less.
    let settings = json!({"additional_provider_specific_params": {"threshold": 1}});
    assert_eq!(ask(only("topic", settings)).await["action"], "BLOCKED");
    let mut strict = guardrail("topic", "intent", &["travel"], Action::Block);
    strict.threshold = 1.0;
    let strict = app_of(vec![strict]);
    let judged = async |body: Value| post_to(&strict, LITELLM, body.to_string()).await.json();
    assert_eq!(judged(json!({"texts": [TEXT]})).await, json!({"action": "NONE"}));
    let settings = json!({"threshold": 0});
    let body = json!({"texts": [TEXT], "additional_provider_specific_params": settings});
    assert_eq!(judged(body).await["action"], "BLOCKED");
    assert_eq!(ask(json!({"texts": null})).await, json!({"action": "NONE"}));
}

#[tokio::test]
async fn what_no_model_reads_is_not_clean() {
    for unread in
        [json!({"images": ["data:"]}), json!({"texts": [""], "tool_calls": [{"function": {}}]})]
    {
        assert_eq!(ask(unread).await["action"], "BLOCKED");
    }
    assert_eq!(ask(json!({"images": [], "tool_calls": null})).await["action"], "NONE");
    let mut own = guardrail("topic", "intent", &["travel"], Action::Block);
    (own.pass_unscanned, own.threshold) = (true, 1.0);
    let answer = post_to(&app_of(vec![own]), LITELLM, r#"{"images": ["data:"]}"#).await;
    assert_eq!(answer.json(), json!({"action": "NONE"}));
}

#[tokio::test]
async fn settings_that_are_not_known_are_refused_and_fields_are_not() {
    for settings in [
        json!({"more": 1}),
        json!({"guardrails": ["nobody"]}),
        json!({"guardrails": []}),
        json!({"threshold": 2}),
        json!({"threshold": "a"}),
    ] {
        let body = json!({"texts": ["a"], "additional_provider_specific_params": settings});
        let reply = post_to(&app(), LITELLM, body.to_string()).await;
        assert!((400..500).contains(&reply.status), "{settings}: {}", reply.text);
    }
    assert_eq!(ask(json!({"new_field": {"a": 1}, "texts": [""]})).await["action"], "NONE");
}

#[tokio::test]
async fn fms_gets_a_list_per_content() {
    let body = json!({"contents": [TEXT, "", too_long()], "detector_params": {"threshold": 0.0}});
    let answer = detect(Some("names"), &body).await.json();
    let spans = |list: &Value| -> Vec<(u64, u64)> {
        let span = |one: &Value| (one["start"].as_u64().unwrap(), one["end"].as_u64().unwrap());
        list.as_array().unwrap().iter().map(span).collect()
    };
    assert_eq!(spans(&answer[0]), tagged(TEXT).await);
    assert_eq!(answer[1], json!([]));
    assert!(!spans(&answer[2]).is_empty(), "a text longer than the model is read in windows");
    let first = &answer[0][0];
    let slice: String = TEXT
        .chars()
        .skip(spans(&answer[0])[0].0 as usize)
        .take(first["text"].as_str().unwrap().chars().count())
        .collect();
    assert_eq!(
        (&first["text"], &first["detection"], &first["detection_type"]),
        (&json!(slice), &json!("NAME"), &json!("entity"))
    );
    let whole = detect(Some("topic"), &json!({"contents": [TEXT]})).await.json();
    let length = TEXT.chars().count();
    assert_eq!((&whole[0][0]["start"], &whole[0][0]["end"]), (&json!(0), &json!(length)));
    for (detector, body, status) in [
        (Some("nobody"), json!({"contents": ["a"]}), 404),
        (None, json!({"contents": ["a"]}), 422),
        (Some("names"), json!({"contents": []}), 422),
        (Some("names"), json!({}), 422),
        (Some("names"), json!({"contents": ["a"], "detector_params": {"more": 1}}), 422),
    ] {
        let reply = detect(detector, &body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
        assert_eq!(reply.json()["code"], status);
        assert!(reply.json()["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    // A score that equals the threshold counts.
    let of = async |threshold: f64| {
        let body = json!({"contents": [TEXT], "detector_params": {"threshold": threshold}});
        detect(Some("names"), &body).await.json()[0].as_array().unwrap().clone()
    };
    let score = |one: &Value| one["score"].as_f64().unwrap();
    let largest = of(0.0).await.iter().map(score).fold(0.0, f64::max);
    assert!(of(largest).await.iter().all(|one| score(one) == largest));
    assert!(!of(largest).await.is_empty() && of(largest + 1e-6).await.is_empty());
    let unknown = detect(Some("nobody"), &json!({"contents": ["a"]})).await.json();
    let message = "no detector is called 'nobody'; this server has names, topic";
    assert_eq!(unknown["message"], message);
}

#[tokio::test]
async fn presidio_gets_entities_without_their_text() {
    let analyze = async |body: Value| post_to(&app(), "/analyze", body.to_string()).await;
    let one = analyze(json!({"text": TEXT, "language": "en"})).await;
    let tokens = one.header("x-processed-tokens").and_then(|tokens| tokens.parse::<usize>().ok());
    assert!(tokens.is_some_and(|tokens| tokens > 10) && one.header("x-input-tokens").is_some());
    let one = one.json();
    let span = |one: &Value| (one["start"].as_u64().unwrap(), one["end"].as_u64().unwrap());
    let spans: Vec<_> = one.as_array().unwrap().iter().map(span).collect();
    assert_eq!(spans, tagged(TEXT).await);
    let keys: Vec<_> = one[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["entity_type", "start", "end", "score", "analysis_explanation"]);
    let many =
        analyze(json!({"text": [TEXT, ""], "language": "en", "correlation_id": "7"})).await.json();
    assert_eq!((&many[0], &many[1]), (&one, &json!([])));
    let filter =
        json!({"text": TEXT, "language": "en", "entities": ["NAME"], "score_threshold": 1.0});
    assert_eq!(analyze(filter).await.json(), json!([]));
    for bad in [
        json!({"language": "en"}),
        json!({"text": "a"}),
        json!({"text": 3, "language": "en"}),
        json!({"text": "a", "language": "en", "entities": ["EMAIL"]}),
        json!({"text": "a", "language": "en", "score_threshold": 2}),
        json!({"text": "a", "language": "en", "ad_hoc_recognizers": [{"name": "x"}]}),
        json!({"text": "a", "language": "en", "allow_list": ["a"]}),
    ] {
        let reply = analyze(bad.clone()).await;
        assert!((400..500).contains(&reply.status), "{bad}: {}", reply.text);
        assert!(reply.json()["error"].is_string());
    }
    assert_eq!(get_from(&app(), "/supportedentities?language=en").await.json(), json!(["NAME"]));
    assert_eq!(get_from(&app(), "/recognizers").await.json(), json!(["names"]));
}

/// Guardrails over one model differ in labels, thresholds and actions, none of which the model sees.
#[tokio::test]
async fn guardrails_that_read_a_model_alike_share_its_answers() {
    let alike = |name: &str, own: &str| guardrail(name, "intent", &[own], Action::Block);
    let mut wider = alike("wider", "travel");
    wider.window_tokens = Some(128);
    for (guardrails, inputs) in [
        (vec![alike("a", "travel"), alike("b", "code"), alike("c", "billing")], 1),
        (vec![alike("a", "travel"), wider, guardrail("names", "pii", &[], Action::Mask)], 3),
    ] {
        let last = guardrails.last().unwrap().clone();
        let first_alone = app_of(guardrails[..1].to_vec());
        let app = app_of(guardrails);
        let body = json!({"texts": [TEXT]}).to_string();
        let answer = post_to(&app, LITELLM, body.clone()).await.json();
        assert_eq!(answer, post_to(&first_alone, LITELLM, body.clone()).await.json());
        let read = get_from(&app, "/metrics").await.text;
        let count = |line: &str| -> Option<f64> {
            line.strip_prefix("bigbatch_inputs_total")?.rsplit(' ').next()?.parse().ok()
        };
        assert_eq!(read.lines().filter_map(count).sum::<f64>(), f64::from(inputs));
        // Each has its own labels all the same.
        let only = json!({"texts": [TEXT],
            "additional_provider_specific_params": {"guardrails": [last.name]}});
        let shared = post_to(&app, LITELLM, only.to_string()).await.json();
        assert_eq!(shared, post_to(&app_of(vec![last]), LITELLM, body).await.json());
    }
}

#[tokio::test]
async fn a_text_that_cannot_be_judged_passes_only_where_the_guardrail_fails_open() {
    for (fail_open, status) in [(true, 200), (false, 422)] {
        let mut own = guardrail("names", "pii", &[], Action::Mask);
        own.fail_open = fail_open;
        let options =
            Options { guardrails: vec![own], answer_limit_bytes: Some(10), ..Options::default() };
        let app = App::new(models(), options);
        let reply = post_to(&app, LITELLM, json!({"texts": [TEXT]}).to_string()).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert!(!fail_open || reply.json() == json!({"action": "NONE"}));
    }
}

#[tokio::test]
async fn without_a_token_classifier_no_text_is_free_of_entities() {
    let app = app_of(vec![guardrail("topic", "intent", &["travel"], Action::Block)]);
    let reply = post_to(&app, "/analyze", json!({"text": "a", "language": "en"}).to_string()).await;
    assert!((400..500).contains(&reply.status), "{}", reply.text);
}

#[tokio::test]
async fn what_several_guardrails_find_is_there_once() {
    let twice = ["a", "b"].map(|name| guardrail(name, "pii", &[], Action::Mask));
    let body = json!({"text": TEXT, "language": "en"}).to_string();
    let once = post_to(&app(), "/analyze", body.clone()).await.json();
    assert_eq!(post_to(&app_of(twice.into()), "/analyze", body).await.json(), once);
}

#[tokio::test]
async fn entities_are_those_that_are_asked_for() {
    let tags = ["O", "B-NAME", "I-NAME", "B-MAIL", "I-MAIL"];
    let list = vec![served("two", InitHead::Token(labels(&tags)), 8)];
    let guardrails = vec![guardrail("all", "two", &[], Action::Mask)];
    let options = Options { guardrails, ..Options::default() };
    let app = App::new(Models::new(list).unwrap(), options);
    let kinds = async |entities: Value| -> Vec<String> {
        let body = json!({"text": TEXT.repeat(3), "language": "en", "entities": entities});
        let found = post_to(&app, "/analyze", body.to_string()).await.json();
        let kind = |one: &Value| one["entity_type"].as_str().unwrap().to_owned();
        let mut kinds: Vec<String> = found.as_array().unwrap().iter().map(kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(json!(null)).await, ["MAIL", "NAME"]);
    for one in ["MAIL", "NAME"] {
        assert_eq!(kinds(json!([one])).await, [one]);
    }
}

#[tokio::test]
async fn texts_are_as_many_as_a_request_may_have() {
    let options = Options {
        guardrails: vec![guardrail("names", "pii", &[], Action::Mask)],
        max_client_batch_size: Some(2),
        ..Options::default()
    };
    let app = App::new(models(), options);
    let status = async |texts: &[&str]| {
        post_to(&app, LITELLM, json!({"texts": texts}).to_string()).await.status
    };
    assert_eq!((status(&["a", "b"]).await, status(&["a", "b", "c"]).await), (200, 422));
}

#[tokio::test]
async fn without_a_guardrail_there_are_no_such_paths() {
    let app = App::new(models(), Options::default());
    for path in [LITELLM, FMS, "/analyze"] {
        assert_eq!(post_to(&app, path, "{}").await.status, 404, "{path}");
    }
}

#[test]
fn guardrails_that_cannot_be_asked_are_refused_at_the_start() {
    let models = models();
    let wrong = |change: &dyn Fn(&mut Guardrail)| {
        let mut own = guardrail("names", "pii", &["NAME"], Action::Mask);
        change(&mut own);
        check_guardrails(&[own], &models).expect_err("it cannot be asked")
    };
    assert_eq!(check_guardrails(&[guardrail("a", "pii", &[], Action::Mask)], &models), Ok(()));
    assert!(wrong(&|own| own.model = "nobody".into()).contains("no model is called 'nobody'"));
    assert!(wrong(&|own| own.model = "rank".into()).contains("'rank' is no classifier"));
    assert!(wrong(&|own| own.model = "intent".into()).contains("cannot be masked"));
    assert!(
        wrong(&|own| own.labels = labels(&["B-NAME"])).contains("no label 'B-NAME'; it has NAME")
    );
    assert!(wrong(&|own| own.threshold = 1.5).contains("`threshold` is 1.5"));
    assert!(wrong(&|own| own.window_tokens = Some(4000)).contains("takes 256"));
    assert!(wrong(&|own| own.window_tokens = Some(2)).contains("a window has 2 tokens"));
    assert!(wrong(&|own| own.name = String::new()).contains("its name is empty"));
    assert!(wrong(&|own| own.name = "a\n".into()).contains("other characters"));
    assert!(wrong(&|own| own.window_overlap = Some(64)).contains("64 of them shared"));
    let twice =
        [guardrail("a", "pii", &[], Action::Mask), guardrail("a", "pii", &[], Action::Mask)];
    assert!(check_guardrails(&twice, &models).is_err());
}
