//! vLLM's `/tokenize` and `/detokenize`, and its limits on the texts of a pair.

use serde_json::{Value, json};

use crate::common::{ok, post};

/// Returns the ids of the answer of `/tokenize` to `inputs`.
async fn ids(text: &str, special: bool) -> Vec<Value> {
    let tokens = ok("/tokenize", json!({"inputs": text, "add_special_tokens": special})).await;
    tokens[0].as_array().unwrap().iter().map(|token| token["id"].clone()).collect()
}

#[tokio::test]
async fn a_prompt_is_tokenized_as_vllm_does() {
    let text = "Where is my parcel?";
    for special in [true, false] {
        let body = json!({"prompt": text, "model": "embed", "add_special_tokens": special});
        let answer = ok("/tokenize", body).await;
        let expected = ids(text, special).await;
        assert_eq!(
            answer,
            json!({
                "count": expected.len(), "max_model_len": 256, "tokens": expected, "token_strs": null
            })
        );
    }
    let body = json!({"prompt": text, "return_token_strs": true});
    let answer = ok("/models/intent/tokenize", body).await;
    let strings: Vec<&str> = answer["token_strs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    assert_eq!(strings.len(), answer["count"]);
    assert_eq!((strings[0], strings[strings.len() - 1]), ("[CLS]", "[SEP]"));
    assert_eq!(strings[1..strings.len() - 1].concat(), "Where\u{120}is\u{120}my\u{120}parcel?");
    // As `transformers` decodes by default: special tokens are shown.
    let body = json!({"model": "embed", "tokens": answer["tokens"]});
    assert_eq!(ok("/detokenize", body).await, json!({"prompt": format!("[CLS]{text}[SEP]")}));
}

#[tokio::test]
async fn chats_and_wrong_bodies_are_refused_by_name() {
    let messages = json!([{"role": "user", "content": "a"}]);
    for (path, body, status, name) in [
        ("/tokenize", json!({"messages": messages}), 422, "`messages`"),
        ("/tokenize", json!({"prompt": "a", "messages": messages}), 422, "`messages`"),
        ("/tokenize", json!({"prompt": "a", "chat_template": "x"}), 422, "`chat_template`"),
        ("/tokenize", json!({}), 422, "`inputs` or `prompt`"),
        ("/tokenize", json!({"inputs": "a", "prompt": "a"}), 422, "`inputs` or `prompt`"),
        ("/tokenize", json!({"inputs": "a", "return_token_strs": true}), 422, "return_token_strs"),
        ("/tokenize", json!({"prompt": ["a"]}), 422, "`prompt`"),
        ("/tokenize", json!({"prompt": "a", "prompt_name": "none"}), 400, "none"),
        ("/detokenize", json!({"tokens": []}), 400, "`tokens`"),
        ("/detokenize", json!({"tokens": [4_000_000_000u32]}), 400, "4000000000"),
        ("/detokenize", json!({"tokens": ["a"]}), 400, "`tokens[0]`"),
        ("/detokenize", json!({}), 400, "`tokens`"),
    ] {
        let reply = post(path, &body).await;
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text);
        assert!(reply.text.contains(name), "{path} {body}: {}", reply.text);
    }
}

/// Cohere's clients send `max_tokens_per_doc` with every ranking.
#[tokio::test]
async fn each_text_of_a_pair_is_cut_by_its_own_limit() {
    let (query, long) = ("Where is it?", "It left our warehouse today, and will come soon.");
    let bare = ok("/tokenize", json!({"inputs": [query, long], "add_special_tokens": false})).await;
    // The text up to the end of its third token.
    let cut = |text: &str, of: usize| -> String {
        text.chars().take(bare[of][2]["stop"].as_u64().unwrap() as usize).collect()
    };
    let (short_query, short) = (cut(query, 0), cut(long, 1));
    for model in ["rank", "embed"] {
        let url = |path: &str| format!("/models/{model}{path}");
        let scores = async |query: &str, document: &str, more: Value| {
            let mut body = json!({"queries": query, "documents": ["a", document]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let reply = post(&url("/score"), &body).await;
            assert_eq!(reply.status, 200, "{body}: {}", reply.text);
            let truncated = reply.header("x-truncated") == Some("true");
            (reply.json()["data"][1]["score"].clone(), truncated)
        };
        let none = json!({});
        let whole = scores(query, long, none.clone()).await;
        for (limits, query_read, document_read) in [
            (json!({"max_tokens_per_doc": 3}), query, short.as_str()),
            (json!({"max_tokens_per_query": 3}), short_query.as_str(), long),
            (json!({"max_tokens_per_query": 3, "max_tokens_per_doc": 3}), &short_query, &short),
        ] {
            let found = scores(query, long, limits.clone()).await;
            let (expected, _) = scores(query_read, document_read, none.clone()).await;
            assert_eq!(found, (expected, true), "{model} {limits}");
            assert_ne!(found, whole, "{model} {limits}");
        }
        let enough = json!({"max_tokens_per_query": 0, "max_tokens_per_doc": 4096});
        assert_eq!(scores(query, long, enough).await, (whole.0, false), "{model}");
    }
    // The answer repeats the documents as they were sent.
    let body = json!({"query": query, "documents": [long], "max_tokens_per_doc": 3});
    let ranked = ok("/models/rank/v2/rerank", body).await;
    assert_eq!(ranked["results"][0]["document"]["text"], long);
    let body = json!({"query": query, "texts": [long], "max_tokens_per_doc": 3});
    let score = &ok("/models/rank/rerank", body).await[0]["score"];
    let body = json!({"query": query, "texts": [short]});
    assert_eq!(score, &ok("/models/rank/rerank", body).await[0]["score"]);
}
