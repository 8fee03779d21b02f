//! The capacity model: published for a server that it predicts, with its figures; else one sentence, and no advice.

use bigbatch_validate::analysis::{Capacity, analyse};
use bigbatch_validate::figures::Status;
use bigbatch_validate::recommend::{Goal, recommend};
use bigbatch_validate::report::{html, markdown};
use bigbatch_validate::{Report, Results};

use crate::analysis::run;
use crate::reports::report;

fn analysed(report: &Report) -> Capacity {
    let Results { cells, target, .. } = &report.results;
    analyse(cells, &report.requests, target).capacity.expect("batches are reported")
}

/// Returns the section of the report in Markdown.
fn section(results: &Results) -> String {
    let text = markdown::render(results);
    let from = text.find("### Capacity").expect("the report has the section");
    let rest = &text[from..];
    let to = rest[3..].find("\n### ").map_or(rest.len(), |to| to + 3);
    rest[..to].to_owned()
}

fn advice_names_it(results: &Results) -> bool {
    let all = recommend(results, Goal { p95_target_ms: Some(1e4) });
    all.iter().flat_map(|one| &one.evidence).any(|sentence| sentence.contains("capacity model"))
}

#[tokio::test(start_paused = true)]
async fn a_server_of_known_cost_is_predicted() {
    let (report, analysis) = run(false).await;
    let capacity = analysis.capacity.expect("batches are reported");
    assert_eq!(capacity.cells.len(), 9);
    for cell in &capacity.cells {
        assert!(cell.worst_error() < 0.1, "{cell:?}");
    }
    let model = capacity.model.expect("every cell is predicted");
    // 20 ms per batch, 0.1 ms per token, 0.4 us per squared token.
    assert!((model.device.batch_seconds / 20e-3 - 1.0).abs() < 0.05, "{:?}", model.device);
    assert!((model.device.token_seconds / 0.1e-3 - 1.0).abs() < 0.05, "{:?}", model.device);
    assert!((model.device.square_seconds / 0.4e-6 - 1.0).abs() < 0.05, "{:?}", model.device);
    let of_128 = &model.lengths[1];
    let concurrencies: Vec<usize> = of_128.points.iter().map(|point| point.concurrency).collect();
    assert_eq!((of_128.tokens, concurrencies), (128, vec![1, 2, 4, 5, 10, 16]));
    // Alone: 3 ms and a batch of 39 ms.
    assert!((of_128.points[0].latency_ms_p50 - 42.0).abs() < 0.5, "{of_128:?}");
    assert!(advice_names_it(&report.results));
}

#[tokio::test(start_paused = true)]
async fn one_cell_that_is_not_predicted_withholds_the_model_and_its_advice() {
    let (mut report, _) = run(false).await;
    let odd = report.results.cells.iter_mut().find(|cell| {
        (cell.spec.tokens(), cell.spec.concurrency(), cell.repeats) == (Some(128), Some(4), None)
    });
    let Some(Status::Run { figures }) = odd.map(|cell| &mut cell.status) else {
        panic!("the cell was run")
    };
    figures.requests_per_second *= 1.25;
    let capacity = analysed(&report);
    assert_eq!(capacity.model, None);
    let worst = capacity.worst().expect("nine cells");
    assert_eq!((worst.tokens, worst.concurrency), (128, 4));
    report.results.analysis.capacity = Some(capacity);
    assert!(!advice_names_it(&report.results));
    let section = section(&report.results);
    assert!(section.contains("No capacity model is published"), "{section}");
    assert!(section.contains("Worst is 128 × 4"), "{section}");
    assert!(html::render(&report.results).contains("No capacity model is published"));
}

#[tokio::test(start_paused = true)]
async fn the_section_is_what_it_was() {
    let mut results = report("capacity", "none").await.results;
    let published = section(&results);
    let capacity = capacity_of(&mut results);
    capacity.model = None;
    capacity.cells[0].latency_ms_p50.predicted = Some(14.0);
    let withheld = section(&results);
    capacity_of(&mut results).cells[0].requests_per_second.predicted = None;
    let unpredicted = section(&results);
    insta::assert_snapshot!([published, withheld, unpredicted].join("\n----\n"));
}

fn capacity_of(results: &mut Results) -> &mut Capacity {
    results.analysis.capacity.as_mut().expect("the sample has one")
}
