//! The memory budget that the measured load needs.
//!
//! It is the most that the process held, without the part of its arena that was never used, plus a tenth; at most
//! the budget of the run, which is known to suffice, and at least the smallest budget that the search for the
//! target's limits found to work. It is never below what the longest input needs, whether or not the plan sent one:
//! a budget bounds the tokens of a batch, and a server would refuse what it took before.

use crate::analysis::edge::EdgeAxis;
use crate::format::{bytes, count, percent_down};
use crate::results::Results;
use crate::stats::Interval;
use crate::system::MemorySample;

use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// Headroom above the highest reading.
const HEADROOM: f64 = 0.10;
const MIB: u64 = 1 << 20;
/// Budgets are rounded up to a multiple of this.
const STEP_MIB: u64 = 64;

/// The memory that the run used, and the budget that follows from it.
struct Need {
    /// `Device memory` or `Resident memory`.
    name: &'static str,
    /// The smallest and the largest of the cells' highest readings, without the unused arena.
    least: u64,
    most: u64,
    cells: usize,
    /// Bytes of the target's arena that no batch used.
    unused: u64,
    /// The smallest budget that the search for the target's limits found to work.
    smallest: Option<u64>,
    /// The budget of the run.
    budget: Option<u64>,
    /// What the longest input needs, as a clause; `None` if the target does not report it.
    needs_of_longest: Option<String>,
    /// The budget that is advised.
    advised: u64,
}

pub(super) fn advise(results: &Results) -> Recommendation {
    let Some(need) = Need::of(results) else {
        return Recommendation::missing(Topic::MemoryBudget, super::memory_unknown(results));
    };
    let mut recommendation =
        Recommendation::new(Topic::MemoryBudget, Support::Shown, need.advice());
    if need.needs_of_longest.is_none() {
        recommendation.support = Support::Partly;
        recommendation.missing = Some(
            "The target does not report the budget that its longest input needs: a smaller budget may shorten what \
             it takes. Compare the longest input that the server reports before and after."
                .into(),
        );
    }
    recommendation.evidence = need.evidence();
    recommendation.figure = Some(AdviceFigure {
        value: need.advised as f64,
        interval: Interval { low: Some(need.least as f64), high: Some(need.most as f64) },
        unit: Unit::Bytes,
        basis: "smallest and largest use of a cell".into(),
    });
    recommendation.settings.extend(need.setting());
    recommendation
}

impl Need {
    /// Computes the budget; `None` without a reading of memory.
    fn of(results: &Results) -> Option<Need> {
        let device = peaks(results, |sample| sample.device_used_bytes);
        let resident = || peaks(results, |sample| sample.rss_bytes);
        let (name, (least, most, cells)) = device
            .map(|device| ("Device memory", device))
            .or_else(|| resident().map(|resident| ("Resident memory", resident)))?;
        let unused = device.and_then(|_| unused_arena(results)).unwrap_or(0);
        let (least, most) = (least.saturating_sub(unused), most.saturating_sub(unused));
        let axes = results.analysis.edge.iter().flat_map(|edge| &edge.axes);
        let smallest =
            axes.filter(|edge| edge.axis == EdgeAxis::MemoryBudget).find_map(|edge| edge.works);
        let target = &results.target;
        let longest = target.longest_input_budget_bytes;
        let needs_of_longest = longest.zip(target.max_sequence_tokens).map(|(needed, tokens)| {
            format!("inputs of {} tokens, the longest, need {}", count(tokens), bytes(needed))
        });
        let headroom = (most as f64 * (1.0 + HEADROOM)).ceil() as u64;
        let needed = headroom.max(smallest.unwrap_or(0)).max(longest.unwrap_or(0));
        let needed = needed.div_ceil(MIB).next_multiple_of(STEP_MIB) * MIB;
        let budget = target.memory_budget_bytes;
        let advised = budget.map_or(needed, |budget| needed.min(budget));
        Some(Need { name, least, most, cells, unused, smallest, budget, needs_of_longest, advised })
    }

    fn evidence(&self) -> Vec<String> {
        let spared = match self.unused {
            0 => String::new(),
            unused => format!(", without {} of its arena that were never used", bytes(unused)),
        };
        let (name, cells) = (self.name, count(self.cells));
        let (low, high) = (bytes(self.least), bytes(self.most));
        let mut evidence = vec![format!(
            "{name} of the process, highest reading per cell: {low} to {high} over {cells} cells{spared}."
        )];
        evidence.extend(self.smallest.map(|smallest| {
            format!(
                "The smallest budget at which it answered every request is {}.",
                bytes(smallest)
            )
        }));
        let needs = self.needs_of_longest.as_ref();
        evidence.extend(needs.map(|needs| format!("By the plan of its memory, {needs}.")));
        evidence
    }

    fn advice(&self) -> String {
        let advised = bytes(self.advised);
        if Some(self.advised) == self.budget {
            return format!(
                "Keep the memory budget of {advised}: a smaller one would not hold what the run needs."
            );
        }
        let budget = self.budget.map(|budget| format!(" instead of {}", bytes(budget)));
        let needs = self.needs_of_longest.as_ref().map(|needs| format!(", and {needs}"));
        format!(
            "Set the memory budget to {advised}{}: the measured load used at most {}{}.",
            budget.unwrap_or_default(),
            bytes(self.most),
            needs.unwrap_or_default()
        )
    }

    /// Returns the setting of a target that has a budget and reports what its longest input needs.
    fn setting(&self) -> Option<Setting> {
        let (_, needs) = (self.budget?, self.needs_of_longest.as_ref()?);
        let most = bytes(self.most);
        let comment = if self.advised > self.most {
            let more = percent_down(self.advised as f64 / self.most as f64 - 1.0);
            format!("The load used at most {most}, and this is at least {more} more; {needs}.")
        } else {
            format!("The load used up to {most}; {needs}.")
        };
        Some(Setting::mebibytes("memory_budget", self.advised.div_ceil(MIB), comment))
    }
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
