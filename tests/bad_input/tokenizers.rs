//! Tokenizer files that the `tokenizers` crate reads, and panics on when it is built from them or first used.

use serde_json::{Value, json};

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

#[test]
fn tokenizers_that_name_what_they_do_not_define() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "classify", "--labels", "a,b,c"]);
    let path = dir.join("tokenizer.json");
    let whole: Value = serde_json::from_slice(&std::fs::read(&path).expect("just made"))
        .expect("a tokenizer is JSON");
    let mut rule = Rule::default();
    let mut case = |what: &str, damage: &dyn Fn(&mut Value), says: &str| {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        std::fs::write(&path, damaged.to_string()).expect("writable");
        for command in
            [&["classify", "--model", text(&dir), "a text"][..], &["model", "inspect", text(&dir)]]
        {
            rule.check(what, bigbatch(command).env("RUST_BACKTRACE", "1"), says);
        }
    };
    let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    case(
        "a special token that is not defined",
        &|file| file["post_processor"]["single"][0] = special("[NONE]"),
        "its post_processor fails on a text (no entry found",
    );
    case(
        "one of a pair",
        &|file| file["post_processor"]["pair"][0] = special("[NONE]"),
        "its post_processor fails on two texts (no entry found",
    );
    case(
        "no special token is defined",
        &|file| file["post_processor"]["special_tokens"] = json!({}),
        "its post_processor fails on",
    );
    case(
        "a second text where there is one",
        &|file| file["post_processor"]["single"][1] = sequence("B"),
        "its post_processor fails on a text",
    );
    case(
        "a special token with two ids and one token",
        &|file| file["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([2, 3]),
        "a special token has not as many ids as tokens",
    );
    case(
        "the id of a special token beyond the vocabulary",
        &|file| {
            file["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([4_000_000_000_u32])
        },
        "it adds id 4000000000",
    );
    case(
        "a prefix longer than the tokens that are merged",
        &|file| file["model"]["continuing_subword_prefix"] = json!("#".repeat(200)),
        "tokenizer.json is not readable (",
    );
    case(
        "pieces of no characters",
        &|file| file["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0}),
        "tokenizer of",
    );
    case(
        "an id beyond which there is none",
        &|file| file["model"]["vocab"]["one more"] = json!(u32::MAX),
        "tokenizer.json has the id 4294967295",
    );
    rule.assert_held();
}
