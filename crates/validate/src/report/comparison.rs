//! A comparison of two systems as Markdown, for a pull request or a terminal.

use std::fmt::Write;

use crate::results::compare::{Change, Comparison, ComparisonOutcome};

use super::markdown::{escaped, rows};
use super::sentences::ends;
use super::tables::Table;
use super::tables::table::or_dash;

/// Renders the whole comparison, its outcome first.
pub fn render(comparison: &Comparison) -> String {
    let margin = comparison.margin * 100.0;
    let mut out = match comparison.outcome {
        ComparisonOutcome::Regression => {
            format!(
                "**Regression**: the second system is slower than the margin of {margin} % allows\n"
            )
        }
        ComparisonOutcome::NonInferior => {
            format!("**No regression**: every figure is shown to stay within {margin} %\n")
        }
        ComparisonOutcome::Inconclusive => format!(
            "**Inconclusive**: neither a regression beyond {margin} % nor its absence is shown\n"
        ),
    };
    for difference in &comparison.differences {
        let _ = writeln!(out, "\nDifferent on the two sides: {}.", escaped(difference));
    }
    let heads = "Cell | Metric | Runs> | Cost, after / before> | 95 % interval> | p> | Smallest detectable regression> | \
                 Verdict";
    let Some(table) = Table::new(heads, comparison.changes.iter().map(row)) else {
        out.push_str("\nThe two have no cell in common that was run on both sides.\n");
        return out;
    };
    let _ = write!(out, "\n{}", rows(&table));
    let one_sided = |change: &Change| change.cost.runs.0.min(change.cost.runs.1) == 0;
    let notes = [
        (
            true,
            "Cost is latency, or the inverse of throughput: above 1 the second system is slower. The unit is the run; p is \
             the one-sided p of “within the margin”, and verdicts are corrected for the number of rows (Holm). The smallest \
             detectable regression is the one that four of five such comparisons would report. A row without a ratio has a \
             p only if the second system no longer reaches the latency: the p of “no larger share of its requests fails”.",
        ),
        (
            comparison.changes.iter().any(one_sided),
            "A row with no runs on one side is a cell that was not run there, or a figure that no run there has; it is \
             inconclusive, and so is the comparison.",
        ),
        (
            comparison.changes.iter().any(|change| change.cost.within_run),
            "One side has a single run: intervals are within the run, do not include the difference between runs, and \
             decide no verdict. Compare at least two runs of each side, better five: a plan with `repeats = 5`, or several \
             results separated by commas.",
        ),
        (!comparison.publishable, "Fewer than five runs on one side: not enough to publish."),
        (
            !comparison.interleaved,
            "The runs of the two sides do not alternate, so the ratio includes any drift of the machine between them. Run \
             one, then the other, and repeat.",
        ),
    ];
    for (_, note) in notes.into_iter().filter(|(applies, _)| *applies) {
        let _ = writeln!(out, "\n{note}");
    }
    out
}

fn row(change: &Change) -> Vec<super::tables::Field> {
    let number = |value: f64| format!("{value:.3}");
    let cost = &change.cost;
    let interval = ends(cost.interval, number);
    let within = if cost.within_run && !interval.is_empty() { ", within run" } else { "" };
    let verdict = match change.outcome {
        ComparisonOutcome::Regression => "regression",
        ComparisonOutcome::NonInferior => "within the margin",
        ComparisonOutcome::Inconclusive => "inconclusive",
    };
    let interval = Some(interval).filter(|interval| !interval.is_empty());
    vec![
        change.cell.as_str().into(),
        change.metric.label().into(),
        format!("{} and {}", cost.runs.0, cost.runs.1).into(),
        or_dash(cost.ratio, number).into(),
        format!("{}{within}", or_dash(interval, |interval| interval)).into(),
        or_dash(cost.p, |p| format!("{p:.4}")).into(),
        or_dash(cost.detectable_ratio, number).into(),
        verdict.into(),
    ]
}
