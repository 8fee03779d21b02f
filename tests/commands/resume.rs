//! Jobs over files that were interrupted and continue with `--resume`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::batch::read;
use crate::parse;
use crate::support::{Scratch, bigbatch, text};

/// A job, and what its output holds when it is not interrupted.
struct Job {
    name: &'static str,
    options: Vec<String>,
    whole: String,
}

/// Returns jobs over the same input, whose outputs are in `scratch`.
fn jobs(scratch: &Scratch) -> Vec<Job> {
    let note = "\"b\"\"\n\"";
    let rows: String = (0..40)
        .map(|n| match n % 8 {
            3 => format!("{n},,{note}\n"),
            5 => format!("{n}\n"),
            _ => format!("{n},text {n},{note}\n"),
        })
        .collect();
    let input = scratch.file("in.csv", format!("key,text,note\n{rows}"));
    let kept = ["--id-column", "key", "--keep-columns"];
    [
        ("report.jsonl", "report"),
        ("skip.jsonl", "skip"),
        ("report.csv", "report"),
        ("skip.csv", "skip"),
    ]
    .map(|(name, on_error)| {
        let out = scratch.path(name);
        let args =
            ["classify", "--input", text(&input), "--output", text(&out), "--on-error", on_error];
        let options: Vec<String> = args.into_iter().chain(kept).map(str::to_owned).collect();
        let done = bigbatch(&options).run();
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        Job { name, options, whole: read(&out) }
    })
    .into()
}

#[test]
fn a_job_continues_from_any_byte() {
    let scratch = Scratch::new();
    for Job { name, options, whole } in jobs(&scratch) {
        let out = scratch.path(name);
        let resume = || bigbatch(options.iter().map(String::as_str).chain(["--resume"])).run();
        let length = whole.len();
        for cut in [0, 1, 30, length / 3, length / 2, length * 2 / 3, length - 1, length] {
            fs::write(&out, &whole.as_bytes()[..cut]).expect("writable");
            let done = resume();
            assert_eq!(done.code, Some(1), "{name} at {cut}: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "{name} at {cut}: {}", done.stderr);
            assert!(read(&out) == whole, "{name} at {cut}: {}", read(&out));
        }
        fs::remove_file(&out).expect("it is ours");
        assert_eq!(resume().code, Some(1), "without an output there is nothing to continue");
        assert!(read(&out) == whole, "{name}");
    }
}

#[test]
fn an_output_that_does_not_fit_is_refused_and_stays_as_it_is() {
    let scratch = Scratch::new();
    let input = scratch.file("in.txt", "one\ntwo\nthree\nfour\n");
    let out = scratch.path("out.jsonl");
    let args = ["classify", "--input", text(&input), "--output", text(&out)];
    assert_eq!(bigbatch(args).run().code, Some(0));
    let whole = read(&out);
    let three_rows: usize = whole.lines().take(3).map(|line| line.len() + 1).sum();
    let check = |content: &str, input: &str, options: &[&str], says: &str| {
        let input = scratch.file("in.txt", input);
        fs::write(&out, content).expect("writable");
        let args = ["classify", "--input", text(&input), "--output", text(&out), "--resume"];
        let done = bigbatch([&args[..], options].concat()).run();
        assert_eq!(done.code, Some(2), "{options:?}: {}", done.stderr);
        let one_line = done.stderr.starts_with("bigbatch: ") && done.stderr.lines().count() == 1;
        assert!(one_line && done.stderr.contains(says), "{options:?}: {}", done.stderr);
        assert_eq!(read(&out), content, "{options:?}");
    };
    let (same, half) = ("one\ntwo\nthree\nfour\n", &whole[..three_rows + 10]);
    check(half, same, &["--raw-scores"], "its row with the index 0 is another now");
    check(half, same, &["--model", "embedded:intent"], "its row with the index 0 is another now");
    check(half, "zero\ntwo\nthree\nfour\n", &[], "its row with the index 0 is another now");
    check(half, "one\ntwo\nzero\nfour\n", &[], "its row with the index 2 is another now");
    check(&whole, "one\ntwo\nthree\n", &[], "it holds more rows than the input");
    check(half, same, &["--output-format", "csv"], "its header is not that of these options");
    check("some notes\n", same, &[], "row 1 is no answer");
    check("some notes", same, &[], "row 1 is no answer");
    check(&whole[three_rows..], same, &[], "row 1 has the index 3; 0 was expected");
}

#[test]
fn a_job_continues_after_it_was_killed() {
    let scratch = Scratch::new();
    let row = |n: usize| if n % 100 == 50 { "\n".to_owned() } else { format!("text number {n}\n") };
    let (first, rest) =
        ((0..3000).map(row).collect::<String>(), (3000..4000).map(row).collect::<String>());
    let (out, input) = (scratch.path("out.jsonl"), scratch.file("in.txt", first.clone() + &rest));
    let mut killed = Command::new(env!("CARGO_BIN_EXE_bigbatch"))
        .args(["classify", "--output", text(&out)])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    // The program waits for the rest of its input, so it is killed in the middle of the job.
    let mut stdin = killed.stdin.take().expect("piped");
    stdin.write_all(first.as_bytes()).expect("it reads");
    let begun = Instant::now();
    while fs::metadata(&out).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written");
        thread::yield_now();
    }
    killed.kill().expect("it runs");
    assert_eq!(killed.wait().expect("it was killed").code(), None);
    drop(stdin);
    let before = read(&out);
    assert!(!before.is_empty() && before.lines().count() < 3000);

    let resume = ["classify", "--input", text(&input), "--output", text(&out), "--resume"];
    let done = bigbatch(resume).run();
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let rows = parse(&read(&out));
    assert_eq!(rows.len(), 4000);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["index"], json!(index));
        assert_eq!(row["error_kind"] == "empty", index % 100 == 50, "{row}");
    }
    let whole =
        bigbatch(["classify", "--json", "--on-error", "report", "--input", text(&input)]).run();
    assert!(whole.stdout == read(&out), "an interrupted job has the bytes of one that was not");
    let again = bigbatch(resume).run();
    assert!(again.code == Some(1) && again.stderr.contains("0 rows in "), "{}", again.stderr);
    assert!(whole.stdout == read(&out));
}

#[test]
fn rows_that_failed_are_neither_compared_nor_retried() {
    let scratch = Scratch::new();
    let (input, out) = (scratch.file("in.txt", "one\ntwo\nthree\n"), scratch.path("out.jsonl"));
    let classify = |input: &Path, option: &str| {
        bigbatch(["classify", "--input", text(input), "--output", text(&out), option]).run()
    };
    assert_eq!(classify(&input, "--force").code, Some(0));
    let whole = read(&out);
    let answers: Vec<&str> = whole.lines().collect();
    let failed = r#"{"index":1,"line":2,"error":"the device failed","error_kind":"device"}"#;
    fs::write(&out, format!("{}\n{failed}\n", answers[0])).expect("writable");
    let done = classify(&input, "--resume");
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let summary = ["1 answered, 0 failed; ", "before index 2 had been written; 1 failed before\n"];
    assert!(summary.iter().all(|part| done.stderr.contains(part)), "{}", done.stderr);
    assert_eq!(read(&out).lines().collect::<Vec<_>>(), [answers[0], failed, answers[2]]);

    fs::write(&out, format!("{}\n{failed}\n", answers[0])).expect("writable");
    let done = classify(&scratch.file("short.txt", "one\n"), "--resume");
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("it holds more rows than the input"), "{}", done.stderr);
}
