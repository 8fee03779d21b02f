//! Jobs over files: formats and columns of the input, formats of the output, and rows that fail. Jobs that continue are
//! in `resume`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{RunOutput, Scratch, bigbatch, text};
use crate::{keys, lines, parse};

const TEXTS: [&str; 3] = ["one", "two, \"quoted\" — naïve", "three\tand a half"];

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it was written")
}

/// Parses CSV into one object per record.
fn records(csv: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().expect("a header").clone();
    let object = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.expect("a record");
        names.iter().zip(&record).map(|(name, field)| (name.to_owned(), json!(field))).collect()
    };
    reader.records().map(object).collect()
}

#[test]
fn every_format_of_the_input_gives_the_same_answers() {
    let scratch = Scratch::new();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let under_header = |separator: &str, end: &str| {
        let row = |(n, text): (usize, &&str)| format!("{n}{separator}{}{end}", quoted(text));
        format!("id{separator}text{end}") + &TEXTS.iter().enumerate().map(row).collect::<String>()
    };
    let objects = TEXTS.map(|text| json!({"id": 7, "text": text}));
    let jsonl = objects.iter().map(|object| format!("{object}\n")).collect::<String>();
    let strings = TEXTS.map(|text| json!(text).to_string()).join("\n");
    let bom = |text: String| format!("\u{feff}{text}");
    let expected = bigbatch(["embed", "--json"].into_iter().chain(TEXTS)).output();
    for (name, content) in [
        ("a.txt", TEXTS.join("\n")),
        ("b.txt", bom(TEXTS.join("\r\n") + "\r\n")),
        ("a.jsonl", jsonl.clone()),
        ("b.ndjson", bom(strings) + "\n\n"),
        ("a.csv", under_header(",", "\n")),
        ("b.csv", bom(under_header(",", "\r\n"))),
        ("a.tsv", under_header("\t", "\n")),
        ("a.json", json!(TEXTS).to_string()),
        ("b.json", bom(json!(objects).to_string())),
    ] {
        let path = scratch.file(name, &content);
        let found = bigbatch(["embed", "--json", "--input", text(&path)]).output();
        assert_eq!(found, expected, "{name}");
    }
    // Standard input has no name, and lines are its format unless another is named.
    let from_pipe = |args: &[&str]| bigbatch([&["embed", "--json"], args].concat()).stdin(&*jsonl);
    let found = from_pipe(&["--input", "-", "--input-format", "jsonl"]).output();
    assert_eq!(found, expected);
    assert_eq!(from_pipe(&["--input-format", "jsonl"]).output(), expected);
    assert_ne!(from_pipe(&[]).output(), expected);
}

#[test]
fn fields_may_hold_line_ends_and_the_column_is_chosen() {
    let scratch = Scratch::new();
    let csv = "title,body\n\"a\nb\",one\n\"c \"\"d\"\"\",\"two\r\nlines\"\n";
    let path = scratch.file("a.csv", csv);
    let embed = |column: &str| {
        bigbatch(["embed", "--json", "--input", text(&path), "--column", column]).output()
    };
    assert_eq!(embed("title"), bigbatch(["embed", "--json", "a\nb", "c \"d\""]).output());
    assert_eq!(embed("body"), bigbatch(["embed", "--json", "one", "two\r\nlines"]).output());
    let only = scratch.file("only.csv", "body\none\n");
    let found = bigbatch(["embed", "--json", "--input", text(&only)]).output();
    assert_eq!(found, bigbatch(["embed", "--json", "one"]).output());
}

#[test]
fn another_delimiter_separates_columns() {
    let scratch = Scratch::new();
    let expected = bigbatch(["embed", "--json", "one; \"two\""]).output();
    for (name, content, delimiter) in [
        ("a.csv", "id;text\n1;\"one; \"\"two\"\"\"\n", ";"),
        ("b.csv", "id\ttext\n1\t\"one; \"\"two\"\"\"\n", "\\t"),
        ("c.csv", "a;b\n\"one; \"\"two\"\"\"\n", ","),
        ("a.tsv", "id|text\n1|\"one; \"\"two\"\"\"\n", "|"),
    ] {
        let path = scratch.file(name, content);
        let args = ["embed", "--json", "--input", text(&path), "--delimiter", delimiter];
        assert_eq!(bigbatch(args).output(), expected, "{name}");
    }
}

#[test]
fn rows_before_a_stray_quote_are_answered() {
    let scratch = Scratch::new();
    let path = scratch.file("a.csv", "text\none\ntwo\n\"three\nfour\n");
    let done = bigbatch(["embed", "--json", "--input", text(&path)]).run();
    assert_eq!((done.code, parse(&done.stdout).len()), (Some(2), 2), "{}", done.stderr);
    assert!(done.stderr.contains("the quote that opens in line 4 has no end"), "{}", done.stderr);
}

#[test]
fn ids_and_columns_pass_through() {
    let scratch = Scratch::new();
    let jsonl = scratch.file(
        "in.jsonl",
        "{\"key\": \"a-1\", \"text\": \"one\", \"n\": 12345678901234567, \"tags\": [1.5, null]}\n\
         {\"text\": \"two\", \"key\": 2, \"n\": \"x,\\\"y\\\"\\nz\"}\n",
    );
    let run = |input: &Path, options: &[&str]| {
        let args = ["classify", "--model", "embedded:jailbreak", "--input", text(input)];
        bigbatch([&args[..], options].concat()).output()
    };
    let found = parse(&run(&jsonl, &["--json", "--id-column", "key"]));
    assert_eq!(keys(&found[0]), ["index", "key", "tokens", "truncated", "labels"]);
    assert_eq!([&found[0]["key"], &found[1]["key"]], [&json!("a-1"), &json!(2)]);

    let found = parse(&run(&jsonl, &["--json", "--id-column", "key", "--keep-columns"]));
    assert_eq!(keys(&found[0]), ["index", "key", "n", "tags", "tokens", "truncated", "labels"]);
    assert_eq!(found[0]["n"], json!(12345678901234567u64));
    assert_eq!((&found[0]["tags"], &found[1]["tags"]), (&json!([1.5, null]), &Value::Null));

    let named = ["--keep-columns=n,text", "--output-format", "csv", "--top-k", "1"];
    let csv = run(&jsonl, &named);
    let found = records(&csv);
    let header = "index,n,text,line,tokens,truncated,label,score,labels,error,error_kind\n";
    assert!(csv.starts_with(header), "{csv}");
    assert_eq!(
        (&found[0]["n"], &found[1]["n"]),
        (&json!("12345678901234567"), &json!("x,\"y\"\nz"))
    );
    assert_eq!((&found[1]["text"], &found[1]["index"]), (&json!("two"), &json!("1")));
    let labels = found[0]["labels"].as_str().expect("a field");
    let labels: Value = serde_json::from_str(labels).expect("it is JSON");
    assert_eq!(
        (labels[0]["label"].as_str(), labels.as_array().map(Vec::len)),
        (found[0]["label"].as_str(), Some(1))
    );

    let csv = scratch.file("in.csv", "key,lang,text\n1,de,eins\n2,,zwei\n");
    let found =
        records(&run(&csv, &["--output-format", "csv", "--id-column", "key", "--keep-columns"]));
    assert_eq!([&found[0]["key"], &found[0]["lang"]], [&json!("1"), &json!("de")]);
    assert_eq!([&found[1]["key"], &found[1]["lang"]], [&json!("2"), &json!("")]);
    let found = parse(&run(&csv, &["--json", "--keep-columns=lang"]));
    assert_eq!(keys(&found[1]), ["index", "lang", "tokens", "truncated", "labels"]);
    assert_eq!(found[1]["lang"], "");
}

#[test]
fn each_task_has_its_columns_in_csv() {
    for (command, options, names, text) in [
        ("classify", &[][..], &["label", "score", "labels"][..], "one"),
        ("tag", &[], &["entities"], "one"),
        ("tag", &["--all-tokens"], &["entities", "token_labels"], "one"),
        ("embed", &[], &["embedding"], "one"),
        ("embed", &["--chunk"], &["embedding"], "one"),
        ("fill-mask", &[], &["masks"], "one [MASK]"),
    ] {
        let args = [&[command, "--output-format", "csv"], options, &[text]].concat();
        let found = records(&bigbatch(&args).output());
        let chunked = options.contains(&"--chunk");
        let first = ["index", "line", "tokens", "truncated"].into_iter();
        let last = names.iter().copied().chain(["error", "error_kind"]);
        let expected: Vec<&str> = first.chain(chunked.then_some("chunks")).chain(last).collect();
        assert_eq!(keys(&found[0]), expected, "{args:?}");
        let plain = [&[command, "--json"], options, &[text]].concat();
        let answer = &lines(&plain)[0];
        let list = *names.last().expect("there is one");
        let field = found[0][list].as_str().expect("a field");
        let field: Value = serde_json::from_str(field).expect("lists are JSON");
        assert_eq!(field, answer[list], "{args:?}");
    }
}

/// Lines of which some have no answer: an empty one, one of other bytes, one that is too long for [`LIMIT`].
fn lines_with_faults() -> Vec<u8> {
    let long = "word ".repeat(500);
    [b"one\n\ntwo \xff\xfe\nthree\n".as_slice(), long.as_bytes(), b"\nsix\n"].concat()
}

const LIMIT: [&str; 2] = ["--max-batch-tokens", "48"];

#[test]
fn rows_that_fail_are_reported_skipped_or_end_the_job() {
    let scratch = Scratch::new();
    let input = scratch.file("in.txt", lines_with_faults());
    let classify = |options: &[&str]| {
        let args = ["classify", "--input", text(&input), LIMIT[0], LIMIT[1]];
        bigbatch([&args[..], options].concat()).run()
    };
    let summary = "6 rows in ";
    let kinds = ": 3 answered, 3 failed (1 empty, 1 too_long, 1 not_utf8); ";
    let is_summary = |stderr: &str| {
        let found = stderr.starts_with("bigbatch: ") && stderr.lines().count() == 1;
        found
            && stderr.contains(summary)
            && stderr.contains(kinds)
            && stderr.ends_with(" tokens/s\n")
    };

    let out = scratch.path("out.jsonl");
    let done = classify(&["--output", text(&out)]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{}", done.stderr);
    assert!(is_summary(&done.stderr), "{}", done.stderr);
    let rows = parse(&read(&out));
    let indices: Vec<u64> = rows.iter().filter_map(|row| row["index"].as_u64()).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        rows[1],
        json!({"index": 1, "line": 2, "error": "the text is empty", "error_kind": "empty"})
    );
    assert_eq!(keys(&rows[2]), ["index", "line", "error", "error_kind"]);
    let kinds_of = |row: &Value| row["error_kind"].as_str().map(str::to_owned);
    assert_eq!(kinds_of(&rows[2]).as_deref(), Some("not_utf8"));
    assert_eq!(kinds_of(&rows[4]).as_deref(), Some("too_long"));
    assert!(rows[4]["error"].as_str().is_some_and(|error| error.contains("the limit is 48")));
    assert_eq!(keys(&rows[5]), ["index", "tokens", "truncated", "labels"]);

    let skipped = classify(&["--json", "--on-error", "skip"]);
    assert!(skipped.code == Some(1) && is_summary(&skipped.stderr), "{}", skipped.stderr);
    let answered: Vec<&Value> = rows.iter().filter(|row| row["error"].is_null()).collect();
    assert_eq!(parse(&skipped.stdout).iter().collect::<Vec<_>>(), answered);

    let reported = classify(&["--on-error", "report"]);
    assert!(reported.code == Some(1) && is_summary(&reported.stderr), "{}", reported.stderr);
    let printed: Vec<&str> = reported.stdout.lines().collect();
    assert_eq!((printed.len(), printed[1]), (6, "error: the text is empty"));

    let csv = scratch.path("out.csv");
    assert_eq!(classify(&["--output", text(&csv)]).code, Some(1));
    let rows = records(&read(&csv));
    assert_eq!([&rows[1]["line"], &rows[1]["error_kind"], &rows[1]["tokens"]], ["2", "empty", ""]);
    assert_eq!([&rows[5]["line"], &rows[5]["error"], &rows[5]["tokens"]], ["", "", "4"]);

    let stopped = scratch.path("stopped.jsonl");
    for options in [&["--json"][..], &["--output", text(&stopped), "--on-error", "stop"]] {
        let done = classify(options);
        let expected = format!(
            "bigbatch: line 2 of {}: the text is empty; add --on-error skip to leave such rows out, or --on-error \
             report to write their errors\n",
            input.display()
        );
        assert_eq!((done.code, done.stderr), (Some(2), expected), "{options:?}");
        let written = if options.len() == 1 { done.stdout } else { read(&stopped) };
        assert_eq!(parse(&written).len(), 1, "what came before it is written");
    }
}

#[test]
fn ragged_rows_and_missing_texts_are_row_errors() {
    let scratch = Scratch::new();
    let input = scratch.file("in.csv", "key,text\n1,one\n2\n3,\"a\nb\",c\n4,\n5,five\n");
    let out = scratch.path("out.jsonl");
    let args = ["embed", "--input", text(&input), "--id-column", "key", "--output", text(&out)];
    let done = bigbatch(args).run();
    assert!(done.code == Some(1) && done.stderr.contains("(1 empty, 2 ragged)"), "{}", done.stderr);
    let rows = parse(&read(&out));
    let reason = "the row has 1 fields, the header has 2";
    assert_eq!(
        rows[1],
        json!({"index": 1, "line": 3, "key": "2", "error": reason, "error_kind": "ragged"})
    );
    assert_eq!((&rows[2]["key"], &rows[2]["line"]), (&json!("3"), &json!(4)));
    assert_eq!((&rows[3]["key"], &rows[3]["line"]), (&json!("4"), &json!(6)));
    assert_eq!((&rows[4]["key"], &rows[4]["error"]), (&json!("5"), &Value::Null));
}

#[test]
fn strings_and_numbers_that_cannot_be_copied() {
    let scratch = Scratch::new();
    let rows = [
        "{\"key\": 18446744073709551615, \"text\": \"one\"}",
        "{\"key\": 18446744073709551616, \"text\": \"two\"}",
        "{\"key\": [-9223372036854775809], \"text\": \"three\"}",
        "{\"key\": -9223372036854775808, \"text\": \"four\"}",
        "\"five\"",
    ];
    let (input, out) = (scratch.file("in.jsonl", rows.join("\n")), scratch.path("out.jsonl"));
    let args = ["embed", "--input", text(&input), "--id-column", "key", "--output", text(&out)];
    let done = bigbatch(args).run();
    assert!(done.code == Some(1) && done.stderr.contains("(2 column)"), "{}", done.stderr);
    let found = parse(&read(&out));
    assert_eq!((&found[0]["key"], &found[3]["key"]), (&json!(u64::MAX), &json!(i64::MIN)));
    for row in &found[1..3] {
        assert!(row["error"].as_str().is_some_and(|error| error.contains("beyond 64 bits")));
    }
    assert_eq!(keys(&found[4]), ["index", "key", "tokens", "truncated", "embedding"]);
    assert_eq!(found[4]["key"], Value::Null);
}

#[test]
fn a_job_that_fails_at_its_start_leaves_no_output() {
    let scratch = Scratch::new();
    let input = scratch.file("in.jsonl", "{\"text\": \"\", \"index\": 1}\n");
    let (absent, out) = (scratch.path("absent.txt"), scratch.path("out.jsonl"));
    for options in [
        &["--input", text(&absent)][..],
        &["--input", text(&input), "--model", "/absent"],
        &["--input", text(&input), "--model", "embedded:pii"],
        &["--input", text(&input), "--column", "absent"],
        &["--input", text(&input), "--id-column", "absent"],
        &["--input", text(&input), "--id-column", "index"],
        &["--input", text(&input), "--on-error", "stop"],
        &["--input", text(&input), "--chunk=2"],
    ] {
        let done = bigbatch([&["classify", "--output", text(&out)], options].concat()).run();
        assert_eq!(done.code, Some(2), "{options:?}: {}", done.stderr);
        assert!(!out.exists(), "{options:?}");
    }
    // A job that ends without any row has an output.
    let none = scratch.file("none.txt", "");
    let done = bigbatch(["classify", "--input", text(&none), "--output", text(&out)]).run();
    assert!(done.code == Some(0) && read(&out).is_empty(), "{}", done.stderr);
}

#[test]
fn an_output_is_not_overwritten_by_accident() {
    let scratch = Scratch::new();
    let (input, out) =
        (scratch.file("in.jsonl", "\"one\"\n"), scratch.file("out.jsonl", "precious\n"));
    let run = |out: &Path, options: &[&str]| {
        let args = ["embed", "--input", text(&input), "--output", text(out)];
        bigbatch([&args[..], options].concat()).run()
    };
    let refuse = |RunOutput { code, stderr, .. }, says: &str| {
        assert!(
            code == Some(2) && stderr.lines().count() == 1 && stderr.contains(says),
            "{stderr}"
        );
    };
    refuse(
        run(&out, &[]),
        "out.jsonl exists; add --resume to continue it, --force to overwrite it",
    );
    refuse(run(&out, &["--force", "--model", "/absent"]), "/absent");
    assert_eq!(read(&out), "precious\n");
    for options in [&[][..], &["--force"], &["--resume"]] {
        refuse(run(&input, options), "is also the input");
    }
    let link = scratch.path("link.jsonl");
    fs::hard_link(&input, &link).expect("the scratch directory has links");
    for options in [&[][..], &["--force"], &["--resume"]] {
        refuse(run(&link, options), "is also the input");
        let args =
            [&["embed", "--input-format", "jsonl", "--output", text(&link)], options].concat();
        let stdin = Stdio::from(File::open(&input).expect("readable"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigbatch"));
        let done = command.args(args).stdin(stdin).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(2) && stderr.contains("is also the input"), "{stderr}");
    }
    assert_eq!(read(&input), "\"one\"\n");
    let held = File::options().append(true).open(&out).expect("writable");
    held.lock().expect("nobody holds it");
    refuse(run(&out, &["--force"]), "another process is writing");
    drop(held);
    let forced = run(&out, &["--force"]);
    assert_eq!(forced.code, Some(0), "{}", forced.stderr);
    assert_eq!(parse(&read(&out)).len(), 1);
    assert!(forced.stderr.contains("1 rows in ") && forced.stderr.contains("1 answered, 0 failed"));
}

/// Runs a command on a terminal of its own, types `keys`, and returns what the terminal got; `None` without `script`.
fn on_a_terminal(command: &str, keys: &str) -> Option<String> {
    let mut script = Command::new("timeout");
    script.args(["--foreground", "60", "script", "-qec", command, "/dev/null"]);
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let run = |mut child: Child| {
        // Without `script` nobody reads it.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(keys.as_bytes()));
        child.wait_with_output().ok()
    };
    let output = script.ok().and_then(run).filter(|output| output.status.code() != Some(127));
    let Some(output) = output else {
        // Not `eprintln!`, which a passing test does not show.
        writeln!(std::io::stderr(), "skipped: no `script` to make a terminal").expect("it is open");
        return None;
    };
    assert_ne!(output.status.code(), Some(124), "{command} does not end");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_shows_a_hint_and_the_progress() {
    let scratch = Scratch::new();
    let program = env!("CARGO_BIN_EXE_bigbatch");
    // The last key is Ctrl-D.
    let shown = on_a_terminal(&format!("{program} classify"), "one text\n\u{4}");
    let Some(shown) = shown else { return };
    for part in ["reading texts from the terminal, one per line; Ctrl-D ends them", "benign 0."] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let input = scratch.file("in.txt", "a text of a few words\n".repeat(4000));
    let out = scratch.path("out.jsonl");
    let job = format!("{program} classify --input {} --output {}", text(&input), text(&out));
    let shown = on_a_terminal(&job, "").expect("there was one before");
    for part in ["rows/s", "%", " left", "4000 rows in "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Standard error that is no terminal gets the summary alone.
    let done =
        bigbatch(["classify", "--input", text(&input), "--output", text(&out), "--force"]).run();
    assert!(done.stderr.starts_with("bigbatch: 4000 rows in ") && !done.stderr.contains('\u{1b}'));
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
}
