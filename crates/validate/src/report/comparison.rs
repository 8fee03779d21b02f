//! A comparison of two systems as Markdown, for a pull request or a terminal.

use std::fmt::Write;

use crate::results::compare::{Change, Compared, Comparison};

use super::markdown::escaped;

/// The whole comparison, the verdict first.
pub fn render(comparison: &Comparison) -> String {
    let margin = comparison.margin * 100.0;
    let mut out = match comparison.outcome {
        Compared::Regression => {
            format!("**Regression**: slower than the margin of {margin} % allows\n")
        }
        Compared::NonInferior => {
            format!("**No regression**: everything is shown to stay within {margin} %\n")
        }
        Compared::Inconclusive => {
            format!(
                "**Inconclusive**: neither a regression beyond {margin} % nor its absence is shown\n"
            )
        }
    };
    for difference in &comparison.differences {
        let _ = writeln!(out, "\nNot the same on both sides: {}.", escaped(difference));
    }
    if comparison.changes.is_empty() {
        out.push_str("\nThe two have no cell in common that was run on both sides.\n");
        return out;
    }
    out.push_str(
        "\n| Cell | What | Runs | Cost, after / before | 95 % interval | p | Smallest regression seen | Verdict |\n\
         |---|---|--:|--:|--:|--:|--:|---|\n",
    );
    for change in &comparison.changes {
        row(&mut out, change);
    }
    out.push_str(
        "\nCost is latency, or the inverse of throughput: above 1 is slower, whatever is measured. The unit is \
         the run; p is that of “within the margin”, one-sided, and verdicts are corrected for the number of \
         rows (Holm). The smallest regression seen is what four of five such comparisons would call one. A row \
         without a ratio has a p only where the second no longer reaches the latency: that of “no larger share \
         of its requests fails”.\n",
    );
    if comparison.changes.iter().any(one_sided) {
        out.push_str(
            "\nA row with no runs on a side is of a cell that was not run there, or of a figure that no run \
             there tells; it shows nothing, so neither does the whole.\n",
        );
    }
    if comparison.changes.iter().any(|change| change.worse.within_run) {
        out.push_str(
            "\nA side has a single run: its intervals are within the run and tell nothing of how much runs \
             differ, so no verdict rests on them. Give at least two runs of each, better five: a plan with \
             `repeats = 5`, or several results with commas between them.\n",
        );
    }
    if !comparison.publishable {
        out.push_str("\nFewer than five runs on a side: not to be published.\n");
    }
    if !comparison.interleaved {
        out.push_str(
            "\nThe runs of the two do not alternate, so whatever drifted on the machine between them is in \
             the ratio. Run one, then the other, and again.\n",
        );
    }
    out
}

fn one_sided(change: &Change) -> bool {
    change.worse.runs.0.min(change.worse.runs.1) == 0
}

fn row(out: &mut String, change: &Change) {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
    let worse = &change.worse;
    let interval = match (worse.interval.low, worse.interval.high) {
        (None, None) => "–".to_owned(),
        (low, high) => {
            let within = if worse.within_run { ", within run" } else { "" };
            format!("{} to {}{within}", number(low), number(high))
        }
    };
    let verdict = match change.outcome {
        Compared::Regression => "**regression**",
        Compared::NonInferior => "within the margin",
        Compared::Inconclusive => "inconclusive",
    };
    let _ = writeln!(
        out,
        "| {} | {} | {} and {} | {} | {interval} | {} | {} | {verdict} |",
        escaped(&change.cell),
        change.metric.label(),
        worse.runs.0,
        worse.runs.1,
        number(worse.ratio),
        worse.p.map_or("–".to_owned(), |p| format!("{p:.4}")),
        number(worse.detectable_ratio),
    );
}
