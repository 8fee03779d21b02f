//! The memory budget that the measured load needs.
//!
//! It is the most that the process held, without the part of its arena that was never used, plus a tenth; at most
//! the budget of the run, which is known to suffice, and at least the smallest budget that the search for the
//! target's limits found to work. It is never below what the longest input needs, whether or not the plan sent one:
//! a budget bounds the tokens of a batch, and a server would refuse what it took before.

use crate::analysis::edge::EdgeAxis;
use crate::format::{bytes, bytes as format_bytes, count, percent_down};
use crate::results::Results;
use crate::stats::Interval;
use crate::system::MemorySample;

use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// Headroom above the highest reading.
const HEADROOM: f64 = 0.10;
const MIB: u64 = 1 << 20;
/// Budgets are rounded up to a multiple of this.
const STEP_MIB: u64 = 64;

pub(super) fn advise(results: &Results) -> Recommendation {
    let device = peaks(results, |sample| sample.device_used_bytes);
    let resident = || peaks(results, |sample| sample.rss_bytes);
    let Some((name, (least, most, cells))) = device
        .map(|device| ("Device memory", device))
        .or_else(|| resident().map(|resident| ("Resident memory", resident)))
    else {
        return Recommendation::missing(Topic::MemoryBudget, super::memory_unknown(results));
    };
    let unused = device.and_then(|_| unused_arena(results)).unwrap_or(0);
    let (least, most) = (least.saturating_sub(unused), most.saturating_sub(unused));
    let spared = if unused > 0 {
        format!(", without {} of its arena that were never used", bytes(unused))
    } else {
        String::new()
    };
    let (low, high, cells) = (bytes(least), bytes(most), count(cells));
    let mut evidence = vec![format!(
        "{name} of the process, highest reading per cell: {low} to {high} over {cells} cells{spared}."
    )];
    let axes = results.analysis.edge.iter().flat_map(|edge| &edge.axes);
    let smallest =
        axes.filter(|edge| edge.axis == EdgeAxis::MemoryBudget).find_map(|edge| edge.works);
    evidence.extend(smallest.map(|smallest| {
        format!("The smallest budget at which it answered every request is {}.", bytes(smallest))
    }));
    let longest = results.target.longest_input_budget_bytes;
    let headroom = (most as f64 * (1.0 + HEADROOM)).ceil() as u64;
    let needed = headroom.max(smallest.unwrap_or(0)).max(longest.unwrap_or(0));
    let needed = needed.div_ceil(MIB).next_multiple_of(STEP_MIB) * MIB;
    let budget = results.target.memory_budget_bytes;
    let advised = budget.map_or(needed, |budget| needed.min(budget));
    let least_for_longest =
        longest.zip(results.target.max_sequence_tokens).map(|(bytes, tokens)| {
            format!("inputs of {} tokens, the longest, need {}", count(tokens), format_bytes(bytes))
        });
    evidence.extend(
        least_for_longest.as_ref().map(|needs| format!("By the plan of its memory, {needs}.")),
    );
    let advice = if Some(advised) == budget {
        format!(
            "Keep the memory budget of {}: a smaller one would not hold what the run needs.",
            bytes(advised)
        )
    } else {
        let budget = budget.map(|budget| format!(" instead of {}", bytes(budget)));
        format!(
            "Set the memory budget to {}{}: the measured load used at most {}{}.",
            bytes(advised),
            budget.unwrap_or_default(),
            bytes(most),
            least_for_longest.as_ref().map_or(String::new(), |needs| format!(", and {needs}"))
        )
    };
    let mut recommendation = Recommendation::new(Topic::MemoryBudget, Support::Shown, advice);
    if longest.is_none() {
        recommendation.support = Support::Partly;
        recommendation.missing = Some(
            "The target does not report the budget that its longest input needs: a smaller budget may shorten what \
             it takes. Compare the longest input that the server reports before and after."
                .into(),
        );
    }
    recommendation.evidence = evidence;
    recommendation.figure = Some(AdviceFigure {
        value: advised as f64,
        interval: Interval { low: Some(least as f64), high: Some(most as f64) },
        unit: Unit::Bytes,
        basis: "smallest and largest use of a cell".into(),
    });
    if let (Some(_), Some(needs)) = (budget, least_for_longest) {
        let more = percent_down(advised as f64 / most as f64 - 1.0);
        let comment = if advised > most {
            format!(
                "The load used at most {}, and this is at least {more} more; {needs}.",
                bytes(most)
            )
        } else {
            format!("The load used up to {}; {needs}.", bytes(most))
        };
        let setting = Setting::mebibytes("memory_budget", advised.div_ceil(MIB), comment);
        recommendation.settings.push(setting);
    }
    recommendation
}

/// Returns the smallest and the largest of the cells' highest readings, and the number of cells.
fn peaks(results: &Results, of: fn(&MemorySample) -> Option<u64>) -> Option<(u64, u64, usize)> {
    let peak = |cell: &crate::figures::Cell| {
        cell.memory.iter().filter_map(|point| of(&point.sample)).max()
    };
    let peaks: Vec<u64> = results.cells.iter().filter_map(peak).collect();
    Some((*peaks.iter().min()?, *peaks.iter().max()?, peaks.len()))
}

/// Returns the bytes of the target's arena that no batch used.
fn unused_arena(results: &Results) -> Option<u64> {
    let (_, capacity, _) = peaks(results, |sample| sample.arena.map(|arena| arena.capacity_bytes))?;
    let (_, used, _) = peaks(results, |sample| sample.arena.map(|arena| arena.high_water_bytes))?;
    Some(capacity.saturating_sub(used))
}
