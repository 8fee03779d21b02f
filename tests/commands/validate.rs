//! `validate` on the engine in this process: reports, preflight, exit codes, resuming, open loops and the edge.

use std::path::Path;

use bigbatch_validate::load::records::read_requests;
use bigbatch_validate::report;
use serde_json::{Value, json};

use crate::support::{RunOutput, Scratch, bigbatch, text};

const PLAN: &str = r#"
name = "tiny"
tokens = [16, 24]
concurrency = [1, 3]

[cell]
requests_min = 30
batches_min = 0
"#;

fn bar(limit: &str) -> String {
    format!("{PLAN}\n[[bar]]\ntokens = 16\nconcurrency = 1\n{limit}\n")
}

/// A bar that every run meets.
const LOW: &str = "success_rate_min = 0.2";
/// A bar that no run meets: an answer within a microsecond.
const HIGH: &str = "latency_seconds_p95_max = 0.000001";
/// A bar that 30 requests cannot show to be met.
const FINE: &str = "success_rate_min = 0.999";

fn validate(plan: &Path, out: &Path, options: &[&str]) -> RunOutput {
    let args = ["validate", "--plan", text(plan), "--out", text(out)];
    bigbatch([&args[..], options].concat()).run()
}

fn results(out: &Path) -> Value {
    let json = std::fs::read(out.join("results.json")).expect("results.json was written");
    serde_json::from_slice(&json).expect("it is JSON")
}

#[test]
fn a_run_writes_its_reports() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", bar(LOW));
    let out = scratch.path("new/out");
    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let html = out.join("report.html");
    assert!(stdout.contains(text(&html)), "the report's path is printed: {stdout}");

    let results = results(&out);
    assert_eq!(results["conclusion"]["passed"], 1);
    assert_eq!(results["verdicts"][0]["outcome"], "pass");
    let cells = results["cells"].as_array().expect("an array");
    assert_eq!(cells.len(), 5, "four cells, and the repeat of the first");
    let requests = std::fs::File::open(out.join("requests.jsonl.zst")).expect("it was written");
    let requests = read_requests(requests).expect("records");
    let requests: Vec<Value> =
        requests.iter().map(|r| serde_json::to_value(r).expect("JSON")).collect();
    for (index, cell) in cells.iter().enumerate() {
        let figures = &cell["status"]["figures"];
        assert_eq!(figures["successes"], figures["requests"], "{cell}");
        let of_cell = |r: &&Value| r["cell"] == json!(index) && r["phase"] == "measured";
        let measured: Vec<&Value> = requests.iter().filter(of_cell).collect();
        assert_eq!(json!(measured.len()), figures["requests"], "one record per request");
        assert!(measured.len() >= 30);
        assert!(measured.iter().all(|r| r["tokens"] == cell["tokens"]), "exact lengths");
    }

    let markdown = std::fs::read_to_string(out.join("report.md")).expect("it was written");
    let html = std::fs::read_to_string(html).expect("it was written");
    for report in [&markdown, &html] {
        for piece in ["tiny", "p95", "p99", "pass"] {
            assert!(report.contains(piece), "{piece}");
        }
    }
    assert!(html.contains("<svg") && !html.contains("<script"), "charts without scripts");
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!html.contains(outside), "{outside}: the report is self-contained");
    }
}

#[test]
fn preflight_checks_the_machine() {
    let scratch = Scratch::new();
    let plan = PLAN.replace("[16, 24]", "[16]").replace("[1, 3]", "[1]");
    let (plan, out) = (scratch.file("plan.toml", plan), scratch.path("out"));
    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &["--device", "cpu"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let found = results(&out)["preflight"].as_array().expect("an array").clone();
    let subjects: Vec<&str> = found.iter().filter_map(|of| of["subject"].as_str()).collect();
    assert_eq!(subjects, ["gpu", "host_memory", "disk", "processor"]);
    assert!(found.iter().all(|of| of["judgement"] != "problem"), "{found:?}");
    assert!(found[2]["free_bytes"].as_u64() > found[2]["needed_bytes"].as_u64(), "{found:?}");
    assert!(stderr.contains("preflight ok       GPU: none used"), "{stderr}");
    assert_eq!(stderr.matches("preflight ").count(), 4, "{stderr}");
    for report in ["report.md", "report.html"] {
        let report = std::fs::read_to_string(out.join(report)).expect("it was written");
        assert!(report.contains("Preflight") && report.contains("host memory"), "{report}");
    }
}

#[test]
fn the_exit_code_follows_the_verdicts() {
    let scratch = Scratch::new();
    // A p95 needs 100 batches.
    let high = bar(HIGH).replace("requests_min = 30", "requests_min = 120");
    for (name, plan, options, code, outcome) in [
        ("fail", high, &[][..], 1, "fail"),
        ("unclear", bar(FINE), &[], 0, "not_shown"),
        ("strict", bar(FINE), &["--strict"], 1, "not_shown"),
        ("no bar", PLAN.into(), &["--strict"], 0, ""),
    ] {
        // One cell is enough.
        let plan = plan.replace("[16, 24]", "[16]").replace("[1, 3]", "[1]");
        let plan = scratch.file("plan.toml", plan);
        let out = scratch.path(name);
        let done = validate(&plan, &out, options);
        assert_eq!(done.code, Some(code), "{name}: {}{}", done.stdout, done.stderr);
        let verdict = &results(&out)["verdicts"][0]["outcome"];
        assert_eq!(verdict.as_str().unwrap_or_default(), outcome, "{name}");
    }
}

#[test]
fn recommended_settings_are_refused_for_another_model() {
    let scratch = Scratch::new();
    let plan = PLAN.replace("[16, 24]", "[16]").replace("[1, 3]", "[1]");
    let (plan, out) = (scratch.file("plan.toml", plan), scratch.path("out"));
    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &["--model", "embedded:intent"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let config = out.join("recommended.toml");
    let settings = std::fs::read_to_string(&config).expect("it was written");
    let name =
        settings.lines().find(|line| line.starts_with("for_model = ")).expect("it names one");
    assert!(name.contains("intent") && name.contains(" tokens"), "{name}");

    let serve = |options: &[&str]| {
        let args = ["serve", "--port", "0", "--config", text(&config)];
        bigbatch([&args[..], options].concat()).run()
    };
    let RunOutput { code, stderr, .. } =
        serve(&["--model", "embedded:pii", "--log-level", "error"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--for-model is") && stderr.contains("pii"), "{stderr}");
    let RunOutput { code, stdout, .. } = serve(&["--model", "embedded:intent", "--print-config"]);
    assert_eq!(code, Some(0));
    let printed = stdout.lines().find(|line| line.starts_with("for_model = ")).expect("printed");
    assert!(printed.starts_with(name) && printed.contains("recommended.toml"), "{printed}");
}

#[test]
fn prompts_are_cut_from_the_given_corpus() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("prose")).expect("writable");
    let prose: String = (0..4000).map(|i| format!("word{} of the tale ", i % 97)).collect();
    scratch.file("prose/tale.txt", prose);
    let plan = PLAN.replace("[16, 24]", "[16]").replace("[1, 3]", "[2]");
    let plan = scratch.file("plan.toml", plan);
    let (out, corpus) = (scratch.path("out"), scratch.path("prose"));
    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &["--corpus", text(&corpus)]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(results(&out)["prompts"]["corpus"], json!(text(&corpus)));
}

#[test]
fn an_interrupted_run_is_resumed() {
    let scratch = Scratch::new();
    let (plan, out) = (scratch.file("plan.toml", PLAN), scratch.path("out"));
    assert_eq!(validate(&plan, &out, &[]).code, Some(0));
    let first = results(&out);
    // The journal of a process that was killed in its third cell.
    let journal = out.join(report::JOURNAL);
    let whole = std::fs::read_to_string(&journal).expect("it was written");
    let cells: Vec<usize> = whole.match_indices("\n{\"cell\":").map(|(at, _)| at + 1).collect();
    let third = cells[1] + whole[cells[1]..].find('\n').expect("a line") + 1000;
    std::fs::write(&journal, &whole[..third]).expect("writable");

    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &["--resume"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains("resuming: 2 finished cells are in the journal"), "{stderr}");
    let second = results(&out);
    let cells = |results: &Value| results["cells"].as_array().expect("an array").clone();
    assert_eq!((cells(&second).len(), &cells(&second)[..2]), (5, &cells(&first)[..2]));
    assert_eq!(second["resumed_at"].as_array().map(Vec::len), Some(1));

    let other = scratch.file("other.toml", PLAN.replace("= 30", "= 31"));
    let RunOutput { code, stdout, stderr } = validate(&other, &out, &["--resume"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("plan.cell.requests_min was 30, now it is 31"), "{stderr}");
}

#[test]
fn the_report_of_another_run_is_not_overwritten() {
    let scratch = Scratch::new();
    let plan = PLAN.replace("[16, 24]", "[16]").replace("[1, 3]", "[1]");
    let (plan, out) = (scratch.file("plan.toml", plan), scratch.path("out"));
    std::fs::create_dir(&out).expect("writable");
    scratch.file("out/letter.txt", "to a friend");
    assert_eq!(validate(&plan, &out, &[]).code, Some(0), "no file of another name is in its way");
    let report = || std::fs::read(out.join("report.html")).expect("it was written");
    let first = report();
    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &[]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(2), "", 1), "{stderr}");
    for part in ["of another run; add --resume", "--force", "--out"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(report() == first);
    assert_eq!(validate(&plan, &out, &["--force"]).code, Some(0));
    assert!(report() != first, "it has other times");
    assert!(out.join("letter.txt").exists());
}

#[test]
fn scenarios_run_an_open_loop_and_a_replay() {
    let scratch = Scratch::new();
    scratch.file("trace.csv", "seconds,tokens\n0,16\n0.05,24\n0.3,16\n");
    let plan = scratch.file(
        "plan.toml",
        "name = \"open\"\nrepeat_first = false\n[cell]\nwarmup_seconds = 0.2\n\
         [[scenario]]\nname = \"steady\"\nlengths = [{ tokens = 16 }, { tokens = 24 }]\n\
         load = { kind = \"open\", rate_per_second = 50, seconds = 1 }\n\
         [[scenario]]\nname = \"again\"\nload = { kind = \"replay\", file = \"trace.csv\" }\n",
    );
    let out = scratch.path("out");
    let RunOutput { code, stdout, stderr } = validate(&plan, &out, &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let results = results(&out);
    let named = |name: &str| {
        let cells = results["cells"].as_array().expect("an array");
        cells.iter().find(|cell| cell["scenario"] == name).expect("it was run").clone()
    };
    assert_eq!(named("again")["status"]["figures"]["requests"], 3);
    let figures = &named("steady")["status"]["figures"];
    // On a machine that is busy at first, part of the phase is excluded; both parts add up to its second.
    let seconds = |value: &Value| value.as_f64().expect("a number");
    let steady = &figures["steady"];
    let excluded = steady.get("excluded_seconds").map_or(0.0, seconds);
    assert!((seconds(&figures["measured_seconds"]) + excluded - 1.0).abs() < 1e-9, "{figures}");
    assert_eq!(figures["failures"], json!({}), "{figures}");
}

#[test]
fn the_edge_search_finds_the_limits_that_the_engine_predicts() {
    let scratch = Scratch::new();
    let edge = "[edge]\ntokens = 16\nrequests = 10\nconcurrency_max = 4\ntokens_max = 200\n";
    let plan = PLAN.replace("[16, 24]", "[16]").replace("[1, 3]", "[1]");
    let plan = scratch.file("plan.toml", format!("{plan}\n{edge}"));
    let out = scratch.path("out");
    let RunOutput { code, stdout, stderr } =
        validate(&plan, &out, &["--device", "cpu", "--max-batch-tokens", "128"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let found = &results(&out)["analysis"]["edge"];
    let [concurrency, tokens, budget] = &found["axes"].as_array().expect("an array")[..] else {
        panic!("three axes: {found}");
    };
    assert!(concurrency["note"].as_str().is_some_and(|note| note.contains("up to 4")), "{found}");
    assert_eq!((&tokens["works"], &tokens["refused"]), (&json!(128), &json!(129)));
    for axis in [tokens, budget] {
        assert_eq!(axis["agreement"], "agrees", "{axis}");
    }
    let failures = found["failures"].as_array().expect("an array");
    assert!(failures.iter().any(|failure| failure["kind"] == "too_long"), "{found}");
    assert!(stdout.contains("edge of memory budget"), "{stdout}");
}
