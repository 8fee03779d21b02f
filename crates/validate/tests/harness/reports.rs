//! The written reports: the schema, escaping, and that nothing is fetched or run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sample::with_findings;
use crate::simulated::{PieceCounter, SimulatedTarget, batched, corpus, failed};
use bigbatch_validate::load::records;
use bigbatch_validate::plan::{Arrival, Bar, Lengths, Load, Scenario};
use bigbatch_validate::recommend::{Goal, recommend};
use bigbatch_validate::report::compact::compact;
use bigbatch_validate::report::fill::fill;
use bigbatch_validate::report::{OutputDir, html, json, markdown, text, write_reports};
use bigbatch_validate::system::FailureKind;
use bigbatch_validate::{Machine, Plan, Report, RunOptions, Silent, run_async};

/// Two lengths at two concurrencies, with failures, bars of every outcome, and a cell not run.
pub(crate) async fn report(name: &str, model: &str) -> Report {
    let mut plan = Plan::matrix(name, &[64, 16_384], &[1, 8]);
    plan.description = "Made up.".into();
    (plan.cell.requests_min, plan.cell.batches_min) = (40, 30);
    let bar = |tokens, concurrency, rate, seconds| Bar {
        success_rate_min: Some(rate),
        latency_seconds_p95_max: Some(seconds),
        ..Bar::on(tokens, concurrency)
    };
    plan.bars = vec![bar(64, 1, 0.8, 1.0), bar(64, 8, 0.99, 0.001), bar(16_384, 1, 0.5, 1.0)];
    plan.scenarios = vec![Scenario::new(
        format!("rising {name}"),
        Lengths::Fixed(64),
        Load::Ramp {
            from_per_second: 20.0,
            to_per_second: 60.0,
            seconds: 3.0,
            arrival: Arrival::Constant,
            latency_seconds_p95_max: Some(0.5),
            failure_rate_max: 0.01,
        },
    )];
    let mut target = SimulatedTarget::new(|n| match n % 9 {
        8 => (Duration::from_millis(2), failed(FailureKind::Refused)),
        _ => (Duration::from_millis(20 + n % 5), batched(n / 4, 4)),
    });
    target.info.model = model.into();
    let options = RunOptions { corpus: corpus(), ..RunOptions::default() };
    let report = run_async(&plan, Arc::new(target), &PieceCounter, &options, &Silent).await;
    let mut report = report.expect("the run is set up");
    report.results.started_at = "2026-01-01T00:00:00Z".into();
    report.results.machine =
        Machine { cpu: "a machine".into(), cpu_threads: 2, ..Machine::default() };
    with_findings(report, model)
}

pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[tokio::test(start_paused = true)]
async fn a_page_gets_its_tables_and_keeps_its_words() {
    let results = report("filled", "none").await.results;
    let page = "# Words\n\n<!-- bigbatch cells -->\nold\n<!-- /bigbatch -->\nbetween\n\
                <!-- bigbatch machine -->\n<!-- /bigbatch -->\n<!-- bigbatch advice -->\n<!-- /bigbatch -->\nend\n";
    let filled = fill(page, &results).expect("it is well formed");
    for part in [
        "# Words\n",
        "| Tokens | C | Success |",
        "\nbetween\n",
        "| Target | simulated 1 |",
        "\nend\n",
    ] {
        assert!(filled.contains(part), "{part}: {filled}");
    }
    assert!(!filled.contains("old"), "{filled}");
    assert_eq!(fill(&filled, &results).as_ref(), Ok(&filled), "filled again it is the same");
    let nothing =
        fill("<!-- bigbatch nothing -->\n<!-- /bigbatch -->\n", &results).expect_err("no table");
    assert!(
        nothing.starts_with("line 1: there is no table \"nothing\"; there are verdicts"),
        "{nothing}"
    );
    let open = fill("x\n<!-- bigbatch cells -->\n", &results).expect_err("no end");
    assert!(open.starts_with("line 2: cells has no end"), "{open}");
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_docs_can_be_filled() {
    let results = report("pages", "none").await.results;
    for page in [
        include_str!("../../../../docs/performance-validation.md"),
        include_str!("../../../../docs/deployment-guide.md"),
    ] {
        let filled = fill(page, &results).expect("its markers are right");
        assert!(page.matches("<!-- bigbatch ").count() >= 6, "{page}");
        assert!(
            !filled.contains("Not filled yet") && !filled.contains("\nNone in this run.\n"),
            "{filled}"
        );
        assert_eq!(fill(&filled, &results), Ok(filled), "filled again it is the same");
    }
}

#[tokio::test(start_paused = true)]
async fn the_schema_of_results_json_is_what_it_was() {
    let report = report("schema", "none").await;
    let mut results = report.results;
    for cell in &mut results.cells {
        cell.memory.truncate(2);
        if let bigbatch_validate::figures::Status::Run { figures } = &mut cell.status {
            figures.distribution.truncate(2);
        }
    }
    for series in &mut results.analysis.memory.aligned {
        series.points.truncate(2);
    }
    for cell in &mut results.analysis.latency.cells {
        cell.heat.windows.truncate(1);
    }
    results.harness_version = "0".into();
    let analysis = &mut results.analysis;
    analysis.scaling.bottlenecks.truncate(1);
    analysis.memory.aligned.truncate(1);
    analysis.memory.aligned[0].points.truncate(1);
    analysis.memory.returned.truncate(1);
    analysis.latency.cells.truncate(1);
    analysis.latency.cells[0].heat.windows.truncate(1);
    analysis.latency.cells[0].spikes.longest.truncate(1);
    analysis.failures.truncate(1);
    results.recommendations.truncate(2);
    insta::assert_json_snapshot!(results);
}

#[tokio::test(start_paused = true)]
async fn compact_results_say_the_same_without_series() {
    let mut results = report("compact", "none").await.results;
    // A peak of each quantity at a moment of its own, between the ends.
    let long = results.cells.iter_mut().find(|cell| cell.memory.len() > 6).expect("a long cell");
    long.memory[2].sample.rss_bytes = Some(900 << 20);
    long.memory[3].sample.device_used_bytes = Some(1 << 30);
    long.memory[4].sample.arena.as_mut().expect("an arena").used_bytes = 450 << 20;
    long.memory[5].sample.arena.as_mut().expect("an arena").high_water_bytes = 460 << 20;
    let small = compact(results.clone());
    assert!(small != results && compact(small.clone()) == small, "made once it stays");
    let told = |results| (markdown::render(results), text::render(results));
    let (whole, compacted) = (told(&results), told(&small));
    assert_eq!(whole, compacted, "tables and words");
    assert_eq!(recommend(&small, Goal::default()), recommend(&results, Goal::default()), "advice");
    assert!(html::render(&small).contains("Distribution of latency"));
    let size = |results| {
        let mut out = Vec::new();
        json::results(results, &mut out).expect("a vector takes it");
        out.len()
    };
    assert!(size(&small) < size(&results), "{} {}", size(&small), size(&results));
    assert!(small.analysis.memory.aligned.is_empty());
    let most = small.cells.iter().map(|cell| cell.memory.len()).max();
    assert!(most.is_some_and(|most| most <= 7), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_reads_back() {
    let report = report("roundtrip", "none").await;
    let output = OutputDir::create(&folder("roundtrip/deeper")).expect("writable");
    let written = write_reports(&report, &output).expect("written");
    let read = json::read_report(output.path()).expect("the schema");
    assert!(read.results == report.results, "what is read differs from what was written");
    assert!(read.requests == report.requests, "what is read differs from what was written");
    for path in [&written.rendered.markdown, &written.rendered.html] {
        assert!(std::fs::metadata(path).expect("there").len() > 1000);
    }
    let left: Vec<_> = std::fs::read_dir(output.path()).expect("there").collect();
    assert_eq!(left.len(), 6, "no temporary files: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_of_another_schema_or_cut_short_is_refused() {
    let report = report("foreign", "none").await;
    let output = OutputDir::create(&folder("foreign")).expect("writable");
    let written = write_reports(&report, &output).expect("written");
    let complaint = || {
        let text = json::read_report(output.path()).expect_err("refused").to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };

    let records = std::fs::read(&written.requests).expect("there");
    std::fs::write(&written.requests, &records[..records.len() / 2]).expect("writable");
    assert!(complaint().contains("requests.jsonl.zst"), "{}", complaint());

    let results = std::fs::read_to_string(&written.results).expect("there");
    let version = format!("\"schema_version\": {}", report.results.schema_version);
    assert!(results.contains(&version), "{}", &results[..200]);
    let other = results.replace(&version, "\"schema_version\": 1000");
    std::fs::write(&written.results, other).expect("writable");
    assert!(complaint().contains("its schema_version is 1000"), "{}", complaint());
}

#[tokio::test(start_paused = true)]
async fn records_of_several_runs_can_be_put_one_after_the_other() {
    let records = report("twice", "none").await.requests;
    let mut file = Vec::new();
    records::write_requests(&records[..10], &mut file).expect("a vector takes it");
    records::write_requests(&records[10..], &mut file).expect("a vector takes it");
    assert!(records::read_requests(&file[..]).expect("records") == records);
    let plain: usize =
        records.iter().map(|record| serde_json::to_string(record).expect("JSON").len() + 1).sum();
    assert!(file.len() * 5 < plain, "{} of {plain} bytes", file.len());
}

#[tokio::test(start_paused = true)]
async fn strings_of_targets_and_plans_stay_text() {
    let hostile = "</title><script>alert(1)</script><img src=x onerror=\"y\">|`*";
    let report = report(hostile, hostile).await;
    let page = html::render(&report.results);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("onerror=\"y"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert_eq!(
        page.matches("</title></head>").count() + page.matches("</title>\n<style>").count(),
        1
    );
    let text = markdown::render(&report.results);
    assert!(!text.contains("<script") && text.contains("\\|\\`\\*"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_page_needs_nothing_but_itself() {
    let page = html::render(&report("alone", "none").await.results);
    for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let targets: Vec<&str> =
        page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for target in &targets {
        let id = target.strip_prefix('#').expect("a link stays on the page");
        assert!(page.contains(&format!("id=\"{id}\"")), "{target} leads nowhere");
    }
    let parts = page.matches("class=\"chapter\"").count();
    assert!(
        targets.len() > parts && parts == 4,
        "the contents name parts and sections: {targets:?}"
    );
    assert!(page.contains("prefers-color-scheme: dark"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    // The latency of the length that was run and of the scenario, its ramp, failures, two of throughput,
    // stages, a heat map for each of the three cells, memory and what ran, and the strategies' timeline.
    assert_eq!(page.matches("<svg").count(), 13);
    assert!(!page.contains("NaN") && !page.contains("inf,"), "coordinates are numbers");
}

/// A late generator beside a busy device: the device is the limit, in the remark as in the table of limits.
#[tokio::test(start_paused = true)]
async fn a_late_generator_is_not_the_limit_of_a_busy_target() {
    let mut results = report("late", "none").await.results;
    let limited = results.analysis.scaling.bottlenecks[0].cell;
    let cell = results.cells.iter_mut().find(|cell| cell.index == limited).expect("it ran");
    if let bigbatch_validate::figures::Status::Run { figures } = &mut cell.status {
        figures.generator.bottleneck = Some("its timer woke late".into());
    }
    for page in [html::render(&results), markdown::render(&results), text::render(&results)] {
        assert!(page.contains("latency includes the generator"), "{page}");
        assert!(!page.contains("limited by the generator"), "{page}");
    }
    assert!(html::render(&results).contains("which did not limit the cell (compute did)"));
    results.analysis.scaling.bottlenecks[0].stage = bigbatch_validate::analysis::Stage::Generator;
    assert!(text::render(&results).contains("limited by the generator"));
}

/// A remark stands below its row in full width, and a keyboard can scroll what is wide.
#[tokio::test(start_paused = true)]
async fn remarks_stand_below_their_row_and_wide_tables_take_the_focus() {
    let page = html::render(&report("wide", "none").await.results);
    assert!(!page.contains(">Remarks<"), "no column is cut off at the right");
    assert!(page.contains("<tr class=\"below"), "a cell has a remark");
    let scrolling =
        page.matches("class=\"scroll\"").count() + page.matches("class=\"wide\"").count();
    let regions = page.matches("tabindex=\"0\" role=\"region\" aria-label=\"").count();
    assert_eq!((scrolling, scrolling > 10), (regions, true));
    assert_eq!(page.matches("<figure").count(), page.matches("<figcaption").count());
}

/// The subjects of the recommendations each have one card, and their figures say what they are of.
#[tokio::test(start_paused = true)]
async fn a_subject_has_one_card() {
    let results = report("cards", "none").await.results;
    let page = html::render(&results);
    let mut topics: Vec<_> = results.recommendations.iter().map(|one| one.topic).collect();
    let recommendations = topics.len();
    topics.dedup();
    assert_eq!(page.matches("<article>").count(), topics.len());
    assert_eq!(page.matches("class=\"item\"").count(), recommendations);
    assert!(recommendations > topics.len(), "several on one subject: {topics:?}");
    assert!(page.contains("of free memory outside its largest block"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn all_reports_say_the_same() {
    let report = report("same", "none").await;
    let results = &report.results;
    let headline = "2 of 6 limits are missed";
    assert_eq!(results.conclusion.failed, 2, "{:?}", results.verdicts);
    for text in [html::render(results), markdown::render(results), text::render(results)] {
        assert!(text.contains(headline), "{text}");
        assert!(text.contains("not run: the target takes sequences of at most 8192 tokens"));
        assert!(text.contains("refused"));
    }
}

#[test]
fn an_output_directory_that_cannot_be_is_refused_at_once() {
    let blocked = folder("blocked");
    std::fs::create_dir_all(&blocked).expect("writable");
    std::fs::write(blocked.join("file"), "x").expect("writable");
    let error = OutputDir::create(&blocked.join("file/under")).expect_err("a file is in the way");
    let text = error.to_string();
    assert!(
        text.contains("cannot write to the output directory") && text.contains("--out"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

/// Results of an earlier version advise on the tokens of a batch, by a model that is no longer published.
#[test]
fn advice_of_the_removed_batch_time_model_is_not_read() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/results/2026-11-24-h100/big-batch-url.json");
    let written = std::fs::read_to_string(&path).expect("it is in the repository");
    let topics = written.matches("\"topic\":").count();
    assert_eq!(written.matches("\"topic\": \"batch_tokens\"").count(), 1);
    let results = json::read_results(&path).expect("an earlier version's results are read");
    assert_eq!(results.recommendations.len(), topics - 1);
    let mut settings = results.recommendations.iter().flat_map(|one| &one.settings);
    assert!(settings.all(|setting| setting.key != "max_batch_tokens"));
}
