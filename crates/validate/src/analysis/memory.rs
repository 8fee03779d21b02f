//! Memory: whether it returns after each cell, leaks over cells, or fragments.
//!
//! A leak shows while the target is idle: before the first cell and between cells. Each gap between cells is one
//! plateau. Memory leaks if the slope of the plateaus (Theil and Sen) rises (Mann and Kendall) and is not shown to
//! stay within a tolerance (two one-sided tests). A slope that is shown to stay within it is clean. Everything else,
//! and fewer than eight plateaus, is inconclusive.
//!
//! A resumed run is judged by its last sitting, because the process may be a new one. Resident memory is judged from
//! the end of the heaviest load: an allocator keeps what its largest load needed, so a run that begins with light
//! cells would grow without a leak.

use serde::{Deserialize, Serialize};

use super::in_flight::InFlight;
use super::records::MeasuredCell;
use super::stage::device_span_us;
use crate::format::labelled;
use crate::stats::{Interval, Trend};
use crate::system::{MemoryPhase, MemoryPoint, MemorySample};

/// Fewest idle plateaus for a verdict.
pub const PLATEAUS_MIN: usize = 8;
/// Growth that counts as none, in percent per cell: of device memory and of an arena, whose sizes are exact, and of
/// resident memory, which allocators and page caches change.
const TOLERANCE_PERCENT: f64 = 0.1;
const TOLERANCE_PERCENT_RSS: f64 = 1.0;
/// A load with this share of the most tokens ever in flight counts as the heaviest.
const HEAVIEST_SHARE: f64 = 0.95;

/// The memory findings of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryFindings {
    /// Whether memory returned, per cell that ran and quantity that the target reports.
    pub returned: Vec<MemoryReturn>,
    /// One per quantity that the target reports.
    pub leaks: Vec<Leak>,
    /// Fragmentation of the arena, if the target has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragmentation: Option<Fragmentation>,
    /// The load at each reading, one series per cell.
    pub aligned: Vec<AlignedSeries>,
}

labelled! {
    /// A kind of memory reading.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum MemoryQuantity {
        /// Device memory of the target's process.
        Device = "device memory",
        /// Memory in use on the whole card, judged only if the process's is not reported.
        Card = "memory of the card",
        /// Bytes in use in the target's arena.
        ArenaUsed = "arena in use",
        /// Resident memory of the target's process.
        Rss = "resident memory",
    }
}

impl MemoryQuantity {
    /// Returns the quantities that the target reported in these cells.
    fn reported(ran: &[MeasuredCell]) -> Vec<MemoryQuantity> {
        use MemoryQuantity::{ArenaUsed, Card, Device, Rss};
        let samples = || ran.iter().flat_map(|ran| &ran.cell.memory).map(|point| &point.sample);
        let reported = |quantity: &MemoryQuantity| samples().any(|s| quantity.bytes(s).is_some());
        let device = if reported(&Device) { Device } else { Card };
        [device, ArenaUsed, Rss].into_iter().filter(reported).collect()
    }

    fn bytes(self, sample: &MemorySample) -> Option<u64> {
        match self {
            MemoryQuantity::Device => sample.device_used_bytes,
            MemoryQuantity::Card => sample.card_used_bytes,
            MemoryQuantity::ArenaUsed => sample.arena.map(|arena| arena.used_bytes),
            MemoryQuantity::Rss => sample.rss_bytes,
        }
    }

    /// Returns the base of the tolerance: the reading, or an arena's capacity, since an idle arena may be empty.
    fn whole(self, sample: &MemorySample) -> Option<u64> {
        match self {
            MemoryQuantity::ArenaUsed => sample.arena.map(|arena| arena.capacity_bytes),
            _ => self.bytes(sample),
        }
    }

    fn tolerance_percent(self) -> f64 {
        match self {
            MemoryQuantity::Rss => TOLERANCE_PERCENT_RSS,
            _ => TOLERANCE_PERCENT,
        }
    }
}

/// One quantity before and after one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryReturn {
    /// The cell.
    pub cell: usize,
    /// The quantity.
    pub quantity: MemoryQuantity,
    /// Idle, before the cell's first request, in bytes.
    pub before_bytes: u64,
    /// Highest reading under its load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Idle, after its last request.
    pub after_bytes: u64,
    /// How much more than before counts as returned.
    pub tolerance_bytes: u64,
    /// Whether `after_bytes` is at most `before_bytes` plus the tolerance.
    pub returned: bool,
}

/// Whether one quantity grows from cell to cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// The quantity.
    pub quantity: MemoryQuantity,
    /// The verdict.
    pub verdict: LeakVerdict,
    /// Idle plateaus: (milliseconds since the start of the run, bytes).
    pub plateaus: Vec<(f64, u64)>,
    /// Theil and Sen's slope, in bytes per cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope_bytes_per_cell: Option<f64>,
    /// Its 95 % interval.
    pub interval_bytes_per_cell: Interval,
    /// Mann and Kendall's two-sided p of "no trend".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend_p: Option<f64>,
    /// The growth that counts as none, in bytes per cell.
    pub tolerance_bytes_per_cell: f64,
    /// The same in percent of the first reading, or of an arena's whole capacity.
    pub tolerance_percent_per_cell: f64,
    /// The cause in one clause.
    pub reason: String,
}

labelled! {
    /// The verdict on idle plateaus.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum LeakVerdict {
        /// Growth is shown to stay within the tolerance.
        Clean = "clean",
        /// It grows, and may grow beyond the tolerance.
        Leak = "leak",
        /// Neither is shown.
        Inconclusive = "inconclusive",
    }
}

/// `1 - largest free / free` over the readings of an arena that was not full.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fragmentation {
    /// Readings.
    pub readings: usize,
    /// Mean, 0 to 1.
    pub mean: f64,
    /// Largest, 0 to 1.
    pub max: f64,
    /// When the largest was read, in milliseconds since the start of the run.
    pub max_at_ms: f64,
    /// The cell in which it was read.
    pub max_cell: usize,
}

/// The load at each of a cell's memory readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlignedSeries {
    /// The cell.
    pub cell: usize,
    /// One per reading, in their order.
    pub points: Vec<AlignedPoint>,
}

/// The load when memory was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlignedPoint {
    /// Time of the reading, in milliseconds since the start of the run.
    pub at_ms: f64,
    /// Phase of the reading.
    pub moment: MemoryPhase,
    /// Requests that were sent and had no answer yet.
    pub requests_in_flight: usize,
    /// Their tokens.
    pub tokens_in_flight: usize,
    /// Tokens of the batches on the device; `None` if the target reports no batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
}

/// Computes the findings over cells in the order run.
pub(crate) fn find(ran: &[MeasuredCell]) -> MemoryFindings {
    let reported = MemoryQuantity::reported(ran);
    let aligned: Vec<AlignedSeries> = ran.iter().map(aligned).collect();
    let from = last_sitting(ran);
    let heaviest_ms = heaviest_end_ms(&aligned[from..]);
    let leak = |&quantity: &MemoryQuantity| {
        let settled_ms = if quantity == MemoryQuantity::Rss { heaviest_ms } else { None };
        let mut leak = leak(&ran[from..], quantity, settled_ms)?;
        if from > 0 {
            leak.reason += "; plateaus before the run was resumed are excluded";
        }
        Some(leak)
    };
    MemoryFindings {
        returned: ran.iter().flat_map(|ran| returned(ran, &reported)).collect(),
        leaks: reported.iter().filter_map(leak).collect(),
        fragmentation: fragmentation(ran),
        aligned,
    }
}

/// Returns the index of the first cell of the last sitting.
fn last_sitting(ran: &[MeasuredCell]) -> usize {
    let last = ran.iter().map(|ran| ran.cell.sitting).max();
    ran.iter().position(|ran| Some(ran.cell.sitting) == last).unwrap_or(0)
}

fn at_moment(points: &[MemoryPoint], moment: MemoryPhase) -> impl Iterator<Item = &MemoryPoint> {
    points.iter().filter(move |point| point.moment == moment)
}

fn returned(ran: &MeasuredCell, reported: &[MemoryQuantity]) -> Vec<MemoryReturn> {
    let memory = &ran.cell.memory;
    let of = |quantity: MemoryQuantity| {
        let before = at_moment(memory, MemoryPhase::Before).next()?.sample;
        let after_bytes = quantity.bytes(&at_moment(memory, MemoryPhase::After).last()?.sample)?;
        let before_bytes = quantity.bytes(&before)?;
        let share = quantity.tolerance_percent() / 100.0;
        let tolerance_bytes = (quantity.whole(&before)? as f64 * share) as u64;
        let during = at_moment(memory, MemoryPhase::During);
        Some(MemoryReturn {
            cell: ran.cell.index,
            quantity,
            before_bytes,
            peak_bytes: during.filter_map(|point| quantity.bytes(&point.sample)).max(),
            after_bytes,
            tolerance_bytes,
            returned: after_bytes <= before_bytes + tolerance_bytes,
        })
    };
    reported.iter().copied().filter_map(of).collect()
}

/// Returns one idle reading per gap between cells: the lowest in it, because requests of the cell before may still
/// be ending.
fn plateaus(ran: &[MeasuredCell], quantity: MemoryQuantity) -> Vec<(f64, u64)> {
    let mut plateaus: Vec<(f64, u64)> = Vec::new();
    let mut in_gap = false;
    for point in ran.iter().flat_map(|ran| &ran.cell.memory) {
        let Some(bytes) = quantity.bytes(&point.sample) else { continue };
        if point.moment == MemoryPhase::During {
            in_gap = false;
            continue;
        }
        match plateaus.last_mut() {
            Some(last) if in_gap && point.moment == MemoryPhase::Before => {
                if bytes <= last.1 {
                    *last = (point.at_ms, bytes);
                }
            }
            _ => plateaus.push((point.at_ms, bytes)),
        }
        in_gap = point.moment == MemoryPhase::After;
    }
    plateaus
}

/// Returns the time of the last reading of the first of the heaviest cells.
fn heaviest_end_ms(aligned: &[AlignedSeries]) -> Option<f64> {
    let most = |series: &AlignedSeries| series.points.iter().map(|p| p.tokens_in_flight).max();
    let overall = aligned.iter().filter_map(most).max()? as f64;
    let heaviest = aligned
        .iter()
        .find(|cell| most(cell).is_some_and(|n| n as f64 >= HEAVIEST_SHARE * overall));
    heaviest?.points.last().map(|point| point.at_ms)
}

/// Judges the plateaus from `settled_ms` on.
fn leak(ran: &[MeasuredCell], quantity: MemoryQuantity, settled_ms: Option<f64>) -> Option<Leak> {
    let whole = ran
        .iter()
        .flat_map(|ran| &ran.cell.memory)
        .find_map(|point| quantity.whole(&point.sample))?;
    let mut plateaus = plateaus(ran, quantity);
    let all = plateaus.len();
    plateaus.retain(|&(at_ms, _)| settled_ms.is_none_or(|settled| at_ms >= settled));
    let left_out = all - plateaus.len();
    let mut leak = judge_plateaus(quantity, plateaus, whole);
    if left_out > 0 {
        leak.reason +=
            &format!("; {} before the end of the heaviest load excluded", plateaus_of(left_out));
    }
    Some(leak)
}

/// Judges idle plateaus (milliseconds, bytes), one per cell; the tolerance is a share of `whole_bytes`.
pub fn judge_plateaus(
    quantity: MemoryQuantity,
    plateaus: Vec<(f64, u64)>,
    whole_bytes: u64,
) -> Leak {
    let percent = quantity.tolerance_percent();
    let tolerance = whole_bytes as f64 * percent / 100.0;
    let bytes: Vec<f64> = plateaus.iter().map(|&(_, bytes)| bytes as f64).collect();
    let trend = Trend::fit(&bytes);
    let (verdict, reason) = match trend {
        _ if plateaus.len() < PLATEAUS_MIN => {
            let reason = format!("{}, a verdict needs {PLATEAUS_MIN}", plateaus_of(plateaus.len()));
            (LeakVerdict::Inconclusive, reason)
        }
        None => (LeakVerdict::Inconclusive, "no trend can be computed".to_owned()),
        // Readings are whole bytes, so a slope is known to a byte at best.
        Some(trend) if trend.stays_below(tolerance - 1.0) => {
            let reason = format!("growth is shown to stay below {percent} % per cell");
            (LeakVerdict::Clean, reason)
        }
        Some(trend) if trend.rises() => {
            let reason =
                format!("growth is significant and not shown to stay below {percent} % per cell");
            (LeakVerdict::Leak, reason)
        }
        Some(_) => {
            let reason =
                format!("neither growth nor its absence (below {percent} % per cell) is shown");
            (LeakVerdict::Inconclusive, reason)
        }
    };
    Leak {
        quantity,
        verdict,
        plateaus,
        slope_bytes_per_cell: trend.map(|trend| trend.slope),
        interval_bytes_per_cell: Interval {
            low: trend.map(|trend| trend.low),
            high: trend.map(|trend| trend.high),
        },
        trend_p: trend.map(|trend| trend.p),
        tolerance_bytes_per_cell: tolerance,
        tolerance_percent_per_cell: percent,
        reason,
    }
}

fn plateaus_of(count: usize) -> String {
    if count == 1 { "1 idle plateau".into() } else { format!("{count} idle plateaus") }
}

fn fragmentation(ran: &[MeasuredCell]) -> Option<Fragmentation> {
    let mut found: Option<Fragmentation> = None;
    for ran in ran {
        for point in &ran.cell.memory {
            let Some(arena) = point.sample.arena else { continue };
            if arena.free_bytes() == 0 {
                continue;
            }
            let share = arena.fragmentation();
            let so_far = found.get_or_insert(Fragmentation {
                readings: 0,
                mean: 0.0,
                max: share,
                max_at_ms: point.at_ms,
                max_cell: ran.cell.index,
            });
            so_far.readings += 1;
            so_far.mean += (share - so_far.mean) / so_far.readings as f64;
            if share > so_far.max {
                so_far.max = share;
                so_far.max_at_ms = point.at_ms;
                so_far.max_cell = ran.cell.index;
            }
        }
    }
    found
}

fn aligned(ran: &MeasuredCell) -> AlignedSeries {
    let requests = InFlight::new(
        ran.of_group.iter().map(|record| (record.sent_us, record.ended_us, record.tokens)),
    );
    let mut seen = std::collections::HashSet::new();
    let mut batches = Vec::new();
    for record in &ran.of_group {
        if let (Some(batch), Some((from, to))) = (record.batch, device_span_us(record))
            && seen.insert(batch.id)
        {
            batches.push((from, to, batch.tokens));
        }
    }
    let reported = !batches.is_empty();
    let batches = InFlight::new(batches.into_iter());
    let point = |point: &MemoryPoint| {
        let at = (point.at_ms * 1e3) as u64;
        let (requests_in_flight, tokens_in_flight) = requests.at(at);
        AlignedPoint {
            at_ms: point.at_ms,
            moment: point.moment,
            requests_in_flight,
            tokens_in_flight,
            batch_tokens: reported.then(|| batches.at(at).1),
        }
    };
    AlignedSeries { cell: ran.cell.index, points: ran.cell.memory.iter().map(point).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(cell: usize, tokens_in_flight: usize) -> AlignedSeries {
        let point = |at_ms, moment, tokens_in_flight| AlignedPoint {
            at_ms,
            moment,
            requests_in_flight: usize::from(tokens_in_flight > 0),
            tokens_in_flight,
            batch_tokens: None,
        };
        let start = 10.0 * cell as f64;
        let points = vec![
            point(start, MemoryPhase::Before, 0),
            point(start + 4.0, MemoryPhase::During, tokens_in_flight),
            point(start + 8.0, MemoryPhase::After, 0),
        ];
        AlignedSeries { cell, points }
    }

    /// A cell before, under and after whose load resident memory was this.
    fn cell(index: usize, sitting: usize, mib: u64) -> crate::figures::Cell {
        let point = |after_ms: f64, moment| MemoryPoint {
            at_ms: 10.0 * index as f64 + after_ms,
            moment,
            sample: MemorySample { rss_bytes: Some(mib << 20), ..MemorySample::default() },
        };
        crate::figures::Cell {
            index,
            spec: crate::plan::CellSpec::matrix(64, 1),
            run: 0,
            repeats: None,
            sitting,
            span_ms: None,
            status: crate::figures::Status::NotRun { reason: String::new() },
            memory: vec![
                point(0.0, MemoryPhase::Before),
                point(4.0, MemoryPhase::During),
                point(8.0, MemoryPhase::After),
            ],
        }
    }

    #[test]
    fn a_resumed_run_is_judged_by_its_last_sitting() {
        let verdict = |second: fn(usize) -> u64, first_mib: u64| {
            let cells: Vec<_> = (0..24)
                .map(|n| if n < 12 { cell(n, 0, first_mib) } else { cell(n, 1, second(n)) })
                .collect();
            let ran: Vec<MeasuredCell> = cells
                .iter()
                .map(|cell| MeasuredCell { cell, records: Vec::new(), of_group: Vec::new() })
                .collect();
            let [leak] = &find(&ran).leaks[..] else { panic!("one quantity") };
            assert!(
                leak.reason.contains("before the run was resumed are excluded"),
                "{}",
                leak.reason
            );
            leak.verdict
        };
        // A new process that begins low and grows, and one that begins high and stays there.
        assert_eq!(verdict(|n| 100 + 5 * n as u64, 500), LeakVerdict::Leak);
        assert_eq!(verdict(|_| 500, 100), LeakVerdict::Clean);
    }

    #[test]
    fn resident_memory_is_judged_from_the_end_of_the_first_of_the_heaviest_loads() {
        let cells = [series(0, 100), series(1, 960), series(2, 50), series(3, 1000)];
        assert_eq!(heaviest_end_ms(&cells), Some(18.0));
        assert_eq!(heaviest_end_ms(&[]), None);
    }
}
