//! Spans of token heads: in code points of the text as it was sent, whatever is in it, read whole or in windows.

use serde_json::{Value, json};

use crate::client::{TAGS, check_distribution, classify, floats, too_long};

/// Emoji of several code points, combining marks, no spaces, wide and right-to-left scripts, control characters.
const TEXTS: [&str; 6] = [
    "Ada Lovelace met Bob in London.",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} Ada \u{1f600}\u{1f600} Bob\u{1f1e9}\u{1f1ea}!",
    "e\u{301}e\u{301} A\u{30a}sa cafe\u{301} \u{6f22}\u{5b57}\u{304b}\u{306a}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627} Ada",
    "  \t\n Ada \u{a0}\u{3000} Bob \u{0} \u{7f} ",
    "AdaLovelaceAdaLovelaceAdaLovelaceAdaLovelace",
];

/// What the client checks: the slice, the order, no overlap.
fn check_spans(text: &str, result: &Value) -> Vec<(u64, u64)> {
    let characters: Vec<char> = text.chars().collect();
    let mut last = 0;
    let check = |span: &Value| {
        let number = |name: &str| span[name].as_u64().expect("a whole number");
        let (start, end) = (number("start"), number("end"));
        assert!(last <= start && start < end, "{span}");
        last = end;
        let slice: String = characters[start as usize..end as usize].iter().collect();
        assert_eq!(span["text"], slice.as_str());
        assert_eq!(slice.trim(), slice, "without white space around it");
        assert_eq!(span["label"], "NAME");
        let probability = span["probability"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&probability));
        (start, end)
    };
    result["spans"].as_array().expect("a list").iter().map(check).collect()
}

#[tokio::test]
async fn offsets_are_code_points_of_the_text_as_it_was_sent() {
    let mut found = 0;
    let results = classify("pii", json!(TEXTS), Value::Null).await;
    for (text, result) in TEXTS.iter().zip(&results) {
        found += check_spans(text, result).len();
        let options = json!({"overflow": "window", "window": {"tokens": 12, "overlap": 4}});
        let in_windows = classify("pii", json!(text), options).await.remove(0);
        check_spans(text, &in_windows);
        assert!(in_windows["input"]["windows"].as_u64().is_some_and(|windows| windows >= 1));
    }
    assert!(found >= TEXTS.len(), "the random model marks something in most: {found}");
}

#[tokio::test]
async fn tokens_are_returned_on_request_and_spans_follow_from_them() {
    for text in TEXTS {
        let options = json!({"return_tokens": true});
        let result = classify("pii", json!(text), options).await.remove(0);
        let tokens = result["tokens"].as_array().expect("a list");
        let mut expected: Vec<(u64, u64)> = Vec::new();
        let mut open = false;
        for token in tokens {
            let row = floats(&token["probabilities"]);
            check_distribution(&row);
            let best =
                (0..TAGS.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
            let (start, end) = (token["start"].as_u64().unwrap(), token["end"].as_u64().unwrap());
            match (best, expected.last_mut()) {
                (2, Some(last)) if open => last.1 = last.1.max(end),
                (1 | 2, Some(last)) if start < last.1 => last.1 = last.1.max(end),
                (1 | 2, _) => expected.push((start, end)),
                _ => {}
            }
            open = best != 0;
        }
        let spans = check_spans(text, &result);
        let within =
            |(start, end): &(u64, u64)| expected.iter().any(|(a, b)| a <= start && end <= b);
        assert!(spans.iter().all(within), "{text}: {spans:?} of {expected:?}");
    }
    let plain = classify("pii", json!("Ada"), Value::Null).await;
    assert!(plain[0].get("tokens").is_none());
}

/// A token belongs to the window in which its shorter side is longest: windows that overlap enough give each token the row
/// of one window, and all rows together are those of the whole text.
#[tokio::test]
async fn each_token_has_one_row_in_windows_too() {
    let text = "Ada met Bob in London. ".repeat(12);
    let whole = classify("pii", json!(text), json!({"return_tokens": true})).await.remove(0);
    let places = |result: &Value| -> Vec<(Value, Value)> {
        let tokens = result["tokens"].as_array().expect("a list");
        tokens.iter().map(|token| (token["start"].clone(), token["end"].clone())).collect()
    };
    for (size, overlap) in [(16, 0), (17, 7), (32, 16), (20, 17)] {
        let options = json!({"return_tokens": true, "overflow": "window",
            "window": {"tokens": size, "overlap": overlap}});
        let result = classify("pii", json!(text), options).await.remove(0);
        assert_eq!(places(&result), places(&whole), "{size} {overlap}");
        check_spans(&text, &result);
    }
}

#[tokio::test]
async fn a_threshold_drops_spans_and_a_cut_text_has_spans_of_what_was_read() {
    let all = classify("pii", json!(TEXTS[0]), json!({"threshold": 0})).await.remove(0);
    let none = classify("pii", json!(TEXTS[0]), json!({"threshold": 1})).await.remove(0);
    assert_eq!(all["spans"], classify("pii", json!(TEXTS[0]), Value::Null).await[0]["spans"]);
    assert_eq!(none["spans"], json!([]));
    let text = too_long();
    let options = json!({"overflow": "truncate", "max_tokens": 20});
    let cut = classify("pii", json!(text), options).await.remove(0);
    assert_eq!(cut["input"]["truncated"], true);
    assert!(cut["input"]["processed_tokens"].as_u64().is_some_and(|tokens| tokens <= 20));
    let ends = check_spans(&text, &cut);
    assert!(ends.iter().all(|(_, end)| *end < 100), "{ends:?}");
}

/// Several tokens stand for one of these characters, and a cut leaves none of them in part.
#[tokio::test]
async fn a_text_is_not_cut_within_a_character() {
    let text = "\u{1f9ff}\u{1fae0}".repeat(40);
    let mut below = 0;
    for max_tokens in 6..20 {
        let options = json!({"overflow": "truncate", "max_tokens": max_tokens});
        let cut = classify("pii", json!(text), options).await.remove(0);
        let read = cut["input"]["processed_tokens"].as_u64().expect("a whole number");
        assert!(read <= max_tokens, "{read} of {max_tokens}");
        below += u64::from(read < max_tokens);
        check_spans(&text, &cut);
    }
    assert!(below > 3, "most budgets end within a character: {below}");
}
