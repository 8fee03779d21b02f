//! Texts that cannot be read, that exceed the longest input, or that do not suit the task.

use serde_json::Value;

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

#[test]
fn texts_on_standard_input() {
    let mut rule = Rule::default();
    let cases: [(&str, &[u8], &str); 5] = [
        ("an empty line", b"one\n\nthree\n", "line 2 of standard input: the text is empty"),
        ("only a line end", b"\n", "line 1 of standard input: the text is empty"),
        ("invalid UTF-8", b"one\ntwo \xff\xfe\nthree\n", "line 2 of standard input"),
        ("half a character at the end", b"one\ncaf\xc3", "line 2 of standard input"),
        ("UTF-16", b"\xff\xfeo\0n\0e\0\n\0", "line 1 of standard input"),
    ];
    for (what, stdin, says) in cases {
        rule.check(what, bigbatch(["embed"]).stdin(stdin), says);
    }
    let says = "text 2: the text is empty; add --on-error skip to leave such rows out";
    rule.check("an empty argument", bigbatch(["embed", "one", ""]), says);
    rule.assert_held();
}

#[test]
fn files_of_texts() {
    let scratch = Scratch::new();
    let mut rule = Rule::default();
    const NO_ARRAY: &str = "texts.json is not a JSON array of strings or objects";
    let cases: [(&str, &[u8], &str); 8] = [
        ("not JSON", b"one\ntwo\n", NO_ARRAY),
        ("cut", b"[\"one\", \"tw", NO_ARRAY),
        ("an object", b"{\"text\": \"one\"}", NO_ARRAY),
        ("an array of numbers", b"[1, 2]", "text 1: it is a number, not a string or an object"),
        ("an array of arrays", b"[[\"one\"]]", "text 1: it is an array, not a string or an object"),
        ("empty", b"", NO_ARRAY),
        ("invalid UTF-8", b"[\"\xff\"]", NO_ARRAY),
        (
            "no text",
            b"[{\"a\": \"one\", \"b\": \"two\"}]",
            "name the column with the texts by --column",
        ),
    ];
    for (what, content, says) in cases {
        let path = scratch.file("texts.json", content);
        rule.check(what, bigbatch(["embed", "--input", text(&path)]), says);
    }
    let path = scratch.file("texts.json", r#"["one", ""]"#);
    let run = bigbatch(["embed", "--input", text(&path)]);
    rule.check("an empty text", run, "text 2: the text is empty");
    let absent = scratch.path("absent.json");
    rule.check("no file", bigbatch(["embed", "--input", text(&absent)]), "absent.json");
    let folder = scratch.path("folder.csv");
    std::fs::create_dir(&folder).expect("writable");
    rule.check("a folder", bigbatch(["embed", "--input", text(&folder)]), "it is a directory");
    rule.assert_held();
}

#[test]
fn columns_and_formats_that_do_not_fit() {
    let scratch = Scratch::new();
    let mut rule = Rule::default();
    let jsonl = "{\"text\": \"one\", \"index\": 1}\n";
    let keyed = "{\"text\": \"one\", \"key\": 1}\n";
    let misspelt = "there is no column 'kye'; the columns are 'text', 'key'";
    let to_null = ["--output", "/dev/null", "--output-format", "csv", "--resume"];
    for (name, content, options, says) in [
        ("a.csv", "", &[][..], "its first row must name the columns"),
        ("a.csv", "a,b\n1,2\n", &[], "the columns are 'a', 'b'"),
        ("a.csv", "a,b\n1,2\n", &["--column", "c"], "there is no column 'c'"),
        ("a.csv", "text,b\n1,2\n", &["--id-column", "c"], "there is no column 'c'"),
        ("a.csv", "text,b\n1,2\n", &["--keep-columns=b,c"], "there is no column 'c'"),
        ("a.csv", "text,text\n1,2\n", &[], "two columns are named 'text'"),
        ("a.csv", "text,index\n1,2\n", &["--keep-columns"], "'index' has the name of a field"),
        ("a.csv", "\u{fffd}", &["--column", "text"], "there is no column 'text'"),
        ("a.tsv", "text,b\n1,2\n", &["--column", "b"], "there is no column 'b'"),
        ("a.jsonl", jsonl, &["--id-column", "index"], "'index' has the name of a field"),
        ("a.jsonl", jsonl, &["--keep-columns"], "'index' has the name of a field"),
        ("a.jsonl", keyed, &["--id-column", "kye"], misspelt),
        ("a.jsonl", keyed, &["--keep-columns=key,kye"], misspelt),
        ("a.json", "[{\"text\": \"one\", \"key\": 1}]", &["--id-column", "kye"], misspelt),
        ("a.jsonl", "\"one\"\n", &["--id-column", "key"], "a string comes before the first object"),
        (
            "a.jsonl",
            "{\"id\": \"r-1\"}\n\n{\"id\": \"r-2\", \"text\": \"one\"}\n",
            &[],
            "line 3 has a column 'text'",
        ),
        ("a.json", "[{\"id\": \"r-1\"}, {\"text\": \"one\"}]", &[], "text 2 has a column 'text'"),
        ("a.jsonl", "\"one\n", &[], "line 1 of "),
        ("a.jsonl", jsonl, &["--keep-columns", "--output-format", "csv"], "name the columns"),
        (
            "a.csv",
            "id;text\n1;one\n",
            &[],
            "the only column is named \"id;text\"; if ';' separates columns",
        ),
        ("a.tsv", "id|text\n1|one\n", &[], "add --delimiter '|'"),
        ("a.csv", "id\ttext\n1\tone\n", &[], "add --delimiter '\\t'"),
        ("a.txt", "one\n", &["--delimiter", ";"], "--delimiter is for --input-format csv and tsv"),
        ("a.csv", "id,text\n1,\"one\n2,two\n", &[], "the quote that opens in line 2 has no end"),
        (
            "a.csv",
            "id,text\n1,\"one\n2,\"two\"\n",
            &[],
            "opens in line 2 is followed by text where it ends",
        ),
        ("a.tsv", "text\n\"one\"two\n", &[], "opens in line 2 is followed by text where it ends"),
        ("a.txt", "one\n", &["--column", "text"], "plain lines have no columns"),
        ("a.txt", "one\n", &["--keep-columns"], "plain lines have no columns"),
        ("a.log", "one\n", &[], "add --input-format"),
        ("a.txt", "one\n", &["--output", "a.parquet"], "add --output-format"),
        ("a.txt", "one\n", &["--output", "/absent/a.csv"], "cannot write /absent/a.csv"),
        ("a.txt", "one\n", &to_null, "is no regular file"),
    ] {
        let path = scratch.file(name, content);
        let mut args = [&["embed", "--input", text(&path)], options].concat();
        args.extend(options.iter().all(|o| !o.starts_with("--output")).then_some("--json"));
        rule.check(&format!("{name} {options:?}"), bigbatch(&args), says);
    }
    rule.assert_held();
}

#[test]
fn options_without_an_effect_on_text() {
    let scratch = Scratch::new();
    let mut rule = Rule::default();
    let path = scratch.file("a.csv", "key,text\n1,one\n");
    for (args, option) in [
        (["classify", "--input", text(&path), "--id-column=key"], "--id-column"),
        (["embed", "--input", text(&path), "--keep-columns"], "--keep-columns"),
        (["tag", "--all-tokens", "one", "two"], "--all-tokens"),
    ] {
        let says = format!("`{option}` needs `--json` or `--output`");
        rule.check(&args.join(" "), bigbatch(args), &says);
    }
    rule.assert_held();
}

#[test]
fn a_text_that_is_too_long_is_an_error_without_truncate() {
    let long = "word ".repeat(500);
    let mut rule = Rule::default();
    let limits = ["--max-batch-tokens", "48"];
    for command in ["embed", "classify", "tag"] {
        let args = || [command, "--json", limits[0], limits[1]].into_iter().chain([long.as_str()]);
        let says = "the limit is 48; add --truncate to cut it, or --chunk to read it in windows";
        rule.check(command, bigbatch(args()), says);
        let line = bigbatch(args().chain(["--truncate"])).output();
        let answer: Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(answer["tokens"], 48, "{command}");
        assert_eq!(answer["truncated"], true, "{command}");
        // `truncated` marks texts that were cut, not the use of the option.
        let short = bigbatch([command, "--json", limits[0], limits[1], "--truncate", "short"]);
        let answer: Value = serde_json::from_str(&short.output()).expect("one JSON object");
        assert_eq!(answer["truncated"], false, "{command}");
    }
    let masked = long.clone() + "[MASK]";
    let run = bigbatch(["fill-mask", limits[0], limits[1], &masked]);
    rule.check("fill-mask", run, "the limit is 48; add --truncate to cut it; add --on-error");
    let no_room = ["embed", "--truncate", "--max-batch-tokens", "2", "a text"];
    rule.check("no room beside the special tokens", bigbatch(no_room), "no room for text");
    for (chunk, said) in
        [("--chunk=49", "the limit is 48"), ("--chunk=10,8", "it must be at least 11")]
    {
        rule.check(chunk, bigbatch(["tag", limits[0], limits[1], chunk, "a text"]), said);
    }
    rule.assert_held();
}

#[test]
fn tasks_without_a_head_in_the_model() {
    let scratch = Scratch::new();
    let heads = ["base", "masked-lm", "classify", "tag"];
    let able = [
        ("embed", &["base", "masked-lm"][..]),
        ("fill-mask", &["masked-lm"]),
        ("classify", &["classify"]),
        ("tag", &["tag"]),
    ];
    let says = |head| match head {
        "base" => "this model does embeddings, not ",
        "masked-lm" => "; use `bigbatch embed` or `bigbatch fill-mask`",
        "classify" => "; use `bigbatch classify`",
        _ => "; use `bigbatch tag`",
    };
    let mut rule = Rule::default();
    for head in heads {
        let dir = scratch.checkpoint(head, &["--head", head]);
        for (command, with) in able {
            let run = bigbatch([command, "--model", text(&dir), "a [MASK]"]);
            if with.contains(&head) {
                run.output();
            } else {
                rule.check(&format!("{command} on {head}"), run, says(head));
            }
        }
    }
    rule.assert_held();
}

#[test]
fn option_values_that_the_task_rejects() {
    let mut rule = Rule::default();
    for (args, says) in [
        (["embed", "--dimensions", "0", "x"], "between 1 and 128"),
        (["embed", "--dimensions", "129", "x"], "between 1 and 128"),
        (["fill-mask", "--top-k", "0", "a [MASK]"], "between 1 and 5120"),
        (["fill-mask", "--top-k", "5121", "a [MASK]"], "between 1 and 5120"),
        (["fill-mask", "--top-k", "5", "no mask"], "the text has no [MASK]"),
        (["classify", "--query", "", "x"], "empty"),
    ] {
        rule.check(&args.join(" "), bigbatch(args), says);
    }
    let masks = "[MASK] ".repeat(2000);
    rule.check("too many masks", bigbatch(["fill-mask", &masks]), "2000 [MASK], the limit is");
    rule.assert_held();
}
