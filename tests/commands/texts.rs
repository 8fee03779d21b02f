//! Reading of texts, and the numbering, token counts, order and truncation of their answers.

use serde_json::{Value, json};

use crate::support::{Scratch, bigbatch, text};
use crate::{line, lines, parse};

fn tokens(answer: &Value) -> u64 {
    answer["tokens"].as_u64().expect("a count")
}

#[test]
fn six_hundred_lines_are_answered_in_order() {
    // More texts than the pipeline holds and the engine admits, with lengths that batches mix.
    let words = |i: usize| 1 + i * 7 % 41;
    let input: String =
        (0..600).map(|i| "a ".repeat(words(i)).trim_end().to_owned() + "\n").collect();
    let answers = parse(&bigbatch(["classify", "--json"]).stdin(input).output());
    assert_eq!(answers.len(), 600);
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(answer["index"], json!(i));
        assert_eq!(tokens(answer), words(i) as u64 + 2, "line {i} got another line's answer");
    }
}

#[test]
fn arguments_lines_and_files_give_the_same_answers() {
    let texts = ["one", "two and a half — naïve", "three"];
    let scratch = Scratch::new();
    let file = scratch.file("texts.json", json!(texts).to_string());
    let arguments = bigbatch(["embed", "--json"].into_iter().chain(texts)).output();
    assert_eq!(arguments.lines().count(), 3);
    let from_file = bigbatch(["embed", "--json", "--input", text(&file)]).output();
    assert_eq!(from_file, arguments);
    // Line ends of both kinds, with and without the last one.
    for stdin in [texts.join("\n"), texts.join("\r\n") + "\r\n"] {
        assert_eq!(bigbatch(["embed", "--json"]).stdin(stdin).output(), arguments);
    }
    assert_eq!(bigbatch(["embed", "--json"]).output(), "", "no text, no answer");
    let plain = bigbatch(["classify"].into_iter().chain(texts)).output();
    assert_eq!(plain.lines().count(), 3, "one line per text without --json too");
}

#[test]
fn a_hyphen_alone_is_standard_input() {
    let embed = |args: &[&str]| bigbatch([&["embed", "--json"], args].concat()).stdin("one\n");
    assert_eq!(embed(&["-"]).output(), embed(&["one"]).output());
    assert_eq!(parse(&embed(&["-", "-"]).output()).len(), 2, "one of several is a text");
}

#[test]
fn a_text_of_a_file_may_contain_line_ends() {
    let scratch = Scratch::new();
    let file = scratch.file("texts.json", r#"["one\ntwo", "three"]"#);
    assert_eq!(lines(&["embed", "--json", "--input", text(&file)]).len(), 2);
}

#[test]
fn tokens_include_special_ones_and_truncation_and_padding_of_the_tokenizer_are_off() {
    assert_eq!(tokens(&line(&["embed", "--json", "a"])), 3, "[CLS] a [SEP]");
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &[]);
    let tokenizer = std::fs::read(dir.join("tokenizer.json")).expect("just made");
    let mut tokenizer: Value = serde_json::from_slice(&tokenizer).expect("it is JSON");
    let long = "a ".repeat(30);
    let embed = || line(&["embed", "--json", "--model", text(&dir), &long]);
    let before = embed();
    tokenizer["truncation"] = json!({
        "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0
    });
    tokenizer["padding"] = json!({
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
    });
    scratch.file("model/tokenizer.json", tokenizer.to_string());
    assert_eq!(embed(), before, "truncation and padding of tokenizer.json are ignored");
    assert!(tokens(&before) > 30);
}

#[test]
fn the_length_of_the_model_is_a_limit() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &[]);
    let config = std::fs::read(dir.join("config.json")).expect("just made");
    let mut config: Value = serde_json::from_slice(&config).expect("it is JSON");
    config["rope_scaling"] = Value::Null;
    config["max_position_embeddings"] = json!(20);
    scratch.file("model/config.json", config.to_string());
    let long = "a ".repeat(18).trim_end().to_owned();
    let model = ["embed", "--json", "--model", text(&dir)];
    let whole = line(&[&model[..], &[long.as_str()]].concat());
    assert_eq!((tokens(&whole), &whole["truncated"]), (20, &json!(false)));
    let longer = format!("{long} a");
    let cut = line(&[&model[..], &["--truncate", longer.as_str()]].concat());
    assert_eq!((tokens(&cut), &cut["truncated"]), (20, &json!(true)));
    assert_eq!(cut["embedding"], whole["embedding"]);
}

/// Text output has no field for truncation, so standard error reports it once.
#[test]
fn truncation_is_reported() {
    let long = "a ".repeat(100);
    let masked = format!("[MASK] {long}");
    let limit = ["--truncate", "--max-batch-tokens", "34"];
    for command in ["classify", "tag", "embed", "fill-mask"] {
        let texts = [masked.as_str(), "A [MASK]", masked.as_str()];
        let done = bigbatch([&[command], &limit[..], &texts].concat()).run();
        assert_eq!(done.code, Some(0), "{command}: {}", done.stderr);
        let warning = "bigbatch: 2 of 3 texts were too long and were cut (--truncate)\n";
        assert_eq!(done.stderr, warning, "{command}");
        let whole = bigbatch([&[command], &limit[..], &["A [MASK]"]].concat()).run();
        assert_eq!((whole.code, whole.stderr.as_str()), (Some(0), ""), "{command}");
        let read = line(&[&[command, "--json"], &limit[..], &[masked.as_str()]].concat());
        assert_eq!(read["truncated"], json!(true), "{command}");
    }
}

#[test]
fn chunks_read_long_texts_and_are_counted() {
    let long = "a ".repeat(100);
    let long = long.trim_end();
    let limit = ["--max-batch-tokens", "34"];
    for (command, answer) in [("classify", "labels"), ("tag", "entities"), ("embed", "embedding")] {
        let read = line(&[&[command, "--json", "--chunk"], &limit[..], &[long]].concat());
        assert_eq!(tokens(&read), 102, "{command}: two of them special, counted once");
        assert_eq!((&read["chunks"], &read["truncated"]), (&json!(4), &json!(false)), "{command}");
        assert!(!read[answer].is_null(), "{read}");
        let chunk = "--chunk=12,5,max";
        let small = line(&[&[command, "--json", chunk], &limit[..], &[long]].concat());
        assert_eq!(small["chunks"], json!(19), "{command}");
        // A text of one window has the answer that it has without --chunk.
        let plain = line(&[command, "--json", "a short text"]);
        let mut one = line(&[command, "--json", "--chunk", "a short text"]);
        let chunks = one.as_object_mut().expect("it is an object").shift_remove("chunks");
        assert_eq!((one, chunks), (plain, Some(json!(1))), "{command}");
    }
}

#[test]
fn a_text_may_have_more_windows_than_the_engine_admits() {
    let long = "a ".repeat(1500);
    let read = line(&["classify", "--json", "--chunk=4", long.trim_end()]);
    assert_eq!((tokens(&read), &read["chunks"]), (1502, &json!(750)));
}
