//! `compare` and `report` read finished runs: verdicts, exit codes, and the files that `report` writes.

use std::path::Path;

use bigbatch_validate::figures::Status;
use bigbatch_validate::plan::CellSpec;
use bigbatch_validate::report::json;
use bigbatch_validate::results::Results;
use bigbatch_validate::stats::{Interval, Percentile, PercentileFigure};

use crate::support::{RunOutput, Scratch, bigbatch, text};

const PLAN: &str = r#"
name = "five"
tokens = [16]
concurrency = [1]
repeats = 5
repeat_first = false

[cell]
requests_min = 120
batches_min = 0
"#;

/// Runs the plan and reads its results.
fn measure(scratch: &Scratch) -> Results {
    let plan = scratch.file("plan.toml", PLAN);
    let out = scratch.path("out");
    let args = ["validate", "--plan", text(&plan), "--out", text(&out)];
    let done = bigbatch(args).run();
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    json::read_results(&out.join(json::RESULTS)).expect("it was written")
}

/// Writes a copy of the results in which the latencies of each run are multiplied by its factor.
fn write_scaled(results: &Results, factors: [f64; 5], to: &Path) {
    let mut results = results.clone();
    for (cell, factor) in results.cells.iter_mut().zip(factors) {
        let Status::Run { figures } = &mut cell.status else { panic!("every cell was run") };
        let stretch = |percentile: &mut Percentile| {
            let ms = 10.0 * factor;
            percentile.shown = PercentileFigure::Exactly { ms };
            percentile.interval_ms = Interval { low: Some(0.95 * ms), high: Some(1.05 * ms) };
        };
        stretch(&mut figures.latency_over_all.p50);
        stretch(&mut figures.latency_over_all.p95);
        figures.tokens_per_second = 1000.0 / factor;
    }
    let mut file = std::fs::File::create(to).expect("writable");
    json::results(&results, &mut file).expect("written");
}

const EVEN: [f64; 5] = [0.999, 1.001, 1.0, 1.002, 0.998];
const UNEVEN: [f64; 5] = [0.9, 1.1, 1.0, 1.05, 0.95];

#[test]
fn a_regression_exits_with_1_and_noise_is_inconclusive() {
    let scratch = Scratch::new();
    let results = measure(&scratch);
    let write = |name: &str, factors: [f64; 5]| {
        let path = scratch.path(name);
        write_scaled(&results, factors, &path);
        path
    };
    let before = write("before.json", EVEN);
    let slower = write("slower.json", EVEN.map(|factor| factor * 1.05));
    let noisy = write("noisy.json", UNEVEN);
    let compare = |after: &Path, options: &[&str]| -> RunOutput {
        bigbatch([&["compare", text(&before), text(after)], options].concat()).run()
    };
    for (after, options, code, word) in [
        (&slower, &[][..], 1, "**Regression**"),
        (&slower, &["--margin", "10%"], 0, "**No regression**"),
        (&before, &["--strict"], 0, "**No regression**"),
        (&noisy, &[], 0, "**Inconclusive**"),
        (&noisy, &["--strict"], 1, "**Inconclusive**"),
    ] {
        let done = compare(after, options);
        assert_eq!(done.code, Some(code), "{options:?}: {}{}", done.stdout, done.stderr);
        assert!(done.stdout.starts_with(word), "{options:?}: {}", done.stdout);
    }
    let done = compare(&slower, &[]);
    assert!(done.stdout.contains("1.050 | 1.04"), "the ratio and its interval: {}", done.stdout);
    assert!(done.stdout.contains("do not alternate"), "{}", done.stdout);
}

#[test]
fn one_run_per_side_is_inconclusive_and_reported_as_such() {
    let scratch = Scratch::new();
    let mut results = measure(&scratch);
    results.cells.truncate(1);
    let write = |name: &str, factor: f64| {
        let path = scratch.path(name);
        write_scaled(&results, [factor; 5], &path);
        path
    };
    let (before, after) = (write("before.json", 1.0), write("after.json", 1.5));
    let compare = |options: &[&str]| {
        bigbatch([&["compare", text(&before), text(&after)], options].concat()).run()
    };
    let done = compare(&[]);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.starts_with("**Inconclusive**"), "{}", done.stdout);
    // Each side has an interval of 5 %: ln(1.05)² + ln(0.95)² is the square of 0.0708.
    let row = "| 1 and 1 | 1.500 | 1.397 to 1.610, within run |";
    assert!(done.stdout.contains(row), "{}", done.stdout);
    assert!(done.stdout.contains("and decide no verdict"), "{}", done.stdout);
    assert_eq!(compare(&["--strict"]).code, Some(1));
}

#[test]
fn results_that_cannot_be_compared_exit_with_2_and_the_reason() {
    let scratch = Scratch::new();
    let results = measure(&scratch);
    let before = scratch.path("before.json");
    write_scaled(&results, EVEN, &before);
    let other = scratch.path("other.json");
    let compare = |changed: &Results, options: &[&str]| {
        write_scaled(changed, EVEN, &other);
        bigbatch([&["compare", text(&before), text(&other)], options].concat()).run()
    };
    let refused = |done: RunOutput, pieces: &[&str]| {
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        for piece in pieces {
            assert!(done.stderr.contains(piece), "{piece} in {}", done.stderr);
        }
    };

    let mut changed = results.clone();
    changed.target.device = "another device".into();
    changed.plan.cell.requests_min = 121;
    let differences = [
        "the device differs",
        "plan differs: cell.requests_min was 120, now it is 121",
        "--anyway",
    ];
    refused(compare(&changed, &[]), &differences);
    let done = compare(&changed, &["--anyway"]);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("another device"), "{}", done.stdout);
    // Neither the bars nor the name of a plan change the load.
    let mut changed = results.clone();
    changed.plan.name = "another name".into();
    changed.plan.bars.clear();
    assert_eq!(compare(&changed, &[]).code, Some(0));

    let mut changed = results.clone();
    changed.schema_version += 1;
    refused(compare(&changed, &[]), &["other.json", "schema_version is "]);
    let mut changed = results;
    changed.cells.iter_mut().for_each(|cell| cell.spec = CellSpec::matrix(24, 1));
    refused(compare(&changed, &[]), &["no cell was run on both sides"]);
    let absent = scratch.path("absent.json");
    refused(bigbatch(["compare", text(&before), text(&absent)]).run(), &["absent.json"]);
    let thrice = format!("{0},{0}", text(&before));
    refused(bigbatch(["compare", &thrice, text(&before)]).run(), &["is given twice"]);
}

#[test]
fn a_report_is_regenerated_from_its_results() {
    let scratch = Scratch::new();
    measure(&scratch);
    let out = scratch.path("out");
    let html = std::fs::read(out.join("report.html")).expect("it was written");
    std::fs::remove_file(out.join("report.html")).expect("it was there");
    let done = bigbatch(["report", text(&out)]).run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        std::fs::read(out.join("report.html")).expect("it was written") == html,
        "the same page"
    );

    // Another p95 target changes the advice and no measured figure.
    let done = bigbatch(["report", text(&out), "--p95-target", "30"]).run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let markdown = std::fs::read_to_string(out.join("report.md")).expect("it was written");
    assert!(markdown.contains("limit 30 s, as requested"), "{markdown}");

    // The experiment of `bench memory` on this traffic appears in the same report.
    let requests = out.join(json::REQUESTS);
    let bench =
        ["bench", "memory", "--requests", text(&requests), "--repeats", "2", "--out", text(&out)];
    let done = bigbatch(bench).run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(bigbatch(["report", text(&out)]).run().code, Some(0));
    for file in ["report.html", "report.md"] {
        let report = std::fs::read_to_string(out.join(file)).expect("it was written");
        assert!(report.contains("allocate per operation"), "{file}: {report}");
    }
    std::fs::write(out.join("memory.json"), "{").expect("writable");
    let done = bigbatch(["report", text(&out)]).run();
    assert_eq!(done.code, Some(2), "{}", done.stdout);
    assert!(done.stderr.contains("memory.json"), "{}", done.stderr);

    let done = bigbatch(["report", text(&scratch.path("absent"))]).run();
    assert_eq!(done.code, Some(2), "{}", done.stdout);
    assert!(done.stderr.contains("give the directory of a finished report"), "{}", done.stderr);
}
