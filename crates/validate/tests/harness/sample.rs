//! Results in which every field and every finding is present, for the tests of the reports.

use bigbatch_allocators::{MemoryExperiment, Strategy, TimelinePoint, Times, TrafficSummary};
use bigbatch_engine::{CostModel, CudaDevice};
use bigbatch_validate::analysis::capacity::{
    CapacityModel, CapacityPoint, HeldOutCell, LengthCapacity, Prediction,
};
use bigbatch_validate::analysis::edge::{
    Edge, EdgeAxis, EdgeFailure, EdgeFindings, EdgeProbe, PredictionMatch, Recovery,
    RecoveryVerdict,
};
use bigbatch_validate::analysis::failures::FailureGroup;
use bigbatch_validate::analysis::latency::{
    CellLatency, HeatMap, HeatWindow, LatencyFindings, Spike, Spikes, TailRatio,
};
use bigbatch_validate::analysis::memory::{
    AlignedPoint, AlignedSeries, Fragmentation, Leak, LeakVerdict, MemoryFindings, MemoryQuantity,
    MemoryReturn,
};
use bigbatch_validate::analysis::scaling::{Bottleneck, LengthScaling, Scaling, ScalingPoint};
use bigbatch_validate::analysis::{Analysis, Capacity, Stage};
use bigbatch_validate::figures::Cell;
use bigbatch_validate::preflight::{
    ComputeLocation, Finding, Host, MachineFacts, OpenFiles, RequestCounts, judge,
};
use bigbatch_validate::recommend::{Goal, recommend};
use bigbatch_validate::stats::{Interval, mean_over_runs};
use bigbatch_validate::system::FailureKind;
use bigbatch_validate::{MemoryPhase, PublishedFigures, Report, Results};

/// Puts findings of every kind into a report whose first cells ran, and advises again.
pub(crate) fn with_findings(mut report: Report, message: &str) -> Report {
    report.results.analysis = Analysis {
        scaling: scaling(&report.results),
        capacity: Some(capacity(&report.results)),
        memory: memory(&report.results),
        latency: LatencyFindings {
            cells: ran(&report.results).map(|c| latency(c, &report)).collect(),
        },
        failures: failures(&report.results, message),
        edge: Some(edge(message)),
        cleanup: Some(cleanup(message)),
    };
    report.results.published = published(&report.results);
    report.results.preflight = preflight(message);
    report.results.recommendations = recommend(&report.results, Goal::default());
    report
}

/// One finding of each kind, on a card with a name that is not to be trusted.
fn preflight(name: &str) -> Vec<Finding> {
    let card = CudaDevice {
        name: name.into(),
        capability: (9, 0),
        memory_bytes: 80 << 30,
        free_bytes: Some(70 << 30),
        cuda_version: (13, 0),
        driver_version: Some("580.1".into()),
    };
    judge(&MachineFacts {
        host: Host {
            free_bytes: Some(60 << 30),
            total_bytes: Some(64 << 30),
            threads: 16,
            processors: 16,
            load: Some(0.5),
        },
        disk: Some((50 << 30, 64 << 30)),
        needs: RequestCounts { requests_min: 1000, requests_max: 2000 },
        open_files: OpenFiles { limit: Some(4096), needed: 72 },
        computes: ComputeLocation::Card { budget_bytes: 2 << 30, card: Ok(card) },
    })
}

fn ran(results: &Results) -> impl Iterator<Item = &Cell> {
    results.cells.iter().filter(|cell| cell.figures().is_some())
}

fn interval(low: f64, high: f64) -> Interval {
    Interval { low: Some(low), high: Some(high) }
}

fn scaling(results: &Results) -> Scaling {
    let matrix: Vec<&Cell> =
        results.matrix().into_iter().filter(|cell| cell.figures().is_some()).collect();
    let point = |cell: &&Cell| {
        let figures = cell.figures().expect("it ran");
        ScalingPoint {
            cells: vec![cell.index],
            concurrency: cell.spec.concurrency().expect("a closed loop"),
            requests_per_second: figures.requests_per_second,
            tokens_per_second: figures.tokens_per_second,
            speedup: Some(1.0),
            efficiency: Some(1.0),
        }
    };
    Scaling {
        lengths: vec![LengthScaling { tokens: 64, points: matrix.iter().map(point).collect() }],
        bottlenecks: matrix
            .iter()
            .map(|cell| Bottleneck {
                cell: cell.index,
                stage: Stage::Compute,
                shares: Stage::ALL.map(|stage| (stage, 1.0 / 6.0)).to_vec(),
                device_busy: Some(0.93),
                evidence: "The device computes 93 % of the time.".into(),
            })
            .collect(),
    }
}

/// A model that was published, with a length that is saturated.
fn capacity(results: &Results) -> Capacity {
    let matrix = results.matrix();
    let held_out = matrix.iter().filter_map(|cell| {
        let figures = cell.figures()?;
        let measured_ms = figures.latency.p50.nearest_rank_ms?;
        Some(HeldOutCell {
            tokens: cell.spec.tokens()?,
            concurrency: cell.spec.concurrency()?,
            requests_per_second: Prediction {
                predicted: Some(1.02 * figures.requests_per_second),
                measured: figures.requests_per_second,
            },
            latency_ms_p50: Prediction {
                predicted: Some(0.99 * measured_ms),
                measured: measured_ms,
            },
        })
    });
    let point = |concurrency, requests_per_second, latency_ms_p50| CapacityPoint {
        concurrency,
        requests_per_second,
        latency_ms_p50,
    };
    let points = vec![point(1, 40.0, 21.0), point(5, 210.0, 22.5), point(8, 213.0, 37.0)];
    Capacity {
        cells: held_out.collect(),
        model: Some(CapacityModel {
            device: CostModel {
                batch_seconds: 2e-3,
                token_seconds: 1e-5,
                square_seconds: 1e-9,
                sequence_seconds: 1e-4,
            },
            lengths: vec![LengthCapacity { tokens: 64, saturation: Some(points[1]), points }],
        }),
    }
}

fn memory(results: &Results) -> MemoryFindings {
    let plateau = |cell: &Cell| {
        let point = cell.memory.first().expect("a reading");
        (point.at_ms, point.sample.device_used_bytes.unwrap_or(600 << 20))
    };
    let aligned = |cell: &Cell| AlignedSeries {
        cell: cell.index,
        points: cell
            .memory
            .iter()
            .map(|point| AlignedPoint {
                at_ms: point.at_ms,
                moment: point.moment,
                requests_in_flight: usize::from(point.moment == MemoryPhase::During) * 8,
                tokens_in_flight: usize::from(point.moment == MemoryPhase::During) * 8 * 64,
                batch_tokens: Some(256),
            })
            .collect(),
    };
    MemoryFindings {
        returned: ran(results)
            .map(|cell| MemoryReturn {
                cell: cell.index,
                quantity: MemoryQuantity::Device,
                before_bytes: 600 << 20,
                peak_bytes: Some(900 << 20),
                after_bytes: 600 << 20,
                tolerance_bytes: 1 << 20,
                returned: true,
            })
            .collect(),
        leaks: vec![Leak {
            quantity: MemoryQuantity::Device,
            verdict: LeakVerdict::Inconclusive,
            plateaus: ran(results).map(plateau).collect(),
            slope_bytes_per_cell: Some(0.0),
            interval_bytes_per_cell: interval(-4096.0, 4096.0),
            trend_p: Some(1.0),
            tolerance_bytes_per_cell: 629_145.0,
            tolerance_percent_per_cell: 0.1,
            reason: "three plateaus are too few; eight are needed".into(),
        }],
        fragmentation: Some(Fragmentation {
            readings: 12,
            mean: 0.0,
            max: 0.01,
            max_at_ms: 5.0,
            max_cell: 0,
        }),
        aligned: ran(results).map(aligned).collect(),
    }
}

fn latency(cell: &Cell, report: &Report) -> CellLatency {
    let mut records: Vec<_> =
        report.requests.iter().filter(|r| r.cell == cell.index && r.succeeded()).collect();
    let levels = vec![0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
    let windows = records.chunks(records.len().div_ceil(12).max(1)).map(|window| {
        let mut sorted: Vec<u64> = window.iter().map(|record| record.latency_us()).collect();
        sorted.sort_unstable();
        let at =
            |level: &f64| sorted[((level * sorted.len() as f64) as usize).min(sorted.len() - 1)];
        HeatWindow {
            from_ms: window[0].intended_us as f64 / 1e3,
            to_ms: window[window.len() - 1].intended_us as f64 / 1e3 + 5.0,
            requests: window.len(),
            latency_ms: levels.iter().map(|level| at(level) as f64 / 1e3).collect(),
        }
    });
    let windows = windows.collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.latency_us()));
    let spike = |record: &&bigbatch_validate::load::RequestRecord| Spike {
        at_ms: record.intended_us as f64 / 1e3,
        latency_ms: record.latency_us() as f64 / 1e3,
        tokens: record.tokens,
        client: record.client,
        ordinal: record.ordinal,
        batch: record.batch,
        in_batch: 2,
        stage: Some(Stage::Queue),
        excess_ms: Some(4.0),
    };
    CellLatency {
        cell: cell.index,
        tail_ratio: Some(TailRatio { ratio: 1.4, at_least: false, interval: interval(1.3, 1.6) }),
        spikes: Spikes {
            threshold_ms: 23.0,
            count: 4,
            longest: records.iter().take(3).map(spike).collect(),
        },
        heat: HeatMap { levels, windows },
    }
}

fn failures(results: &Results, message: &str) -> Vec<FailureGroup> {
    let group = |cell: &Cell| {
        let (from, to) = cell.span_ms.expect("it ran");
        FailureGroup {
            cell: cell.index,
            load: "64 tokens, C = 8".into(),
            kind: FailureKind::Refused,
            count: cell.figures().map_or(0, |figures| figures.requests - figures.successes),
            percent: 11.0,
            first_at_ms: from + (to - from) * 0.2,
            last_at_ms: to,
            tokens: (64, 64),
            in_flight: (8, 8),
            messages: 2,
            example: message.into(),
        }
    };
    ran(results).map(group).collect()
}

/// As if the first cell had been run five times.
fn published(results: &Results) -> Vec<PublishedFigures> {
    let over =
        |value: f64| mean_over_runs(&[0.97, 0.99, 1.0, 1.01, 1.03].map(|factor| factor * value));
    let cell = ran(results).next().expect("one ran");
    vec![PublishedFigures {
        spec: cell.spec.clone(),
        runs: 5,
        requests: 600,
        successes: 533,
        latency_ms_p50: over(22.0),
        latency_ms_p95: over(24.0),
        latency_ms_p99: None,
        requests_per_second: over(30.0),
        tokens_per_second: over(1920.0),
    }]
}

/// Two strategies over three operations, one of them not run.
fn cleanup(message: &str) -> MemoryExperiment {
    let times = Times { median: 40.0, p95: 50.0, max: 60.0, median_by_pass: (39.0, 41.0) };
    let held =
        |step, mib: u64| TimelinePoint { step, reserved_bytes: 4 << 20, used_bytes: mib << 20 };
    let arena = Strategy {
        name: "arena".into(),
        simulated: false,
        not_run: None,
        allocator_us: Some(times),
        batch_us: Some(times),
        system_calls_per_batch: Some(0.0),
        reserved_bytes_max: 4 << 20,
        used_bytes_max: 3 << 20,
        reserved_bytes_idle: 4 << 20,
        fragmentation_max: Some(0.0),
        fragmentation_idle_mean: Some(0.0),
        batches_failed: 0,
        batches_over_budget: 0,
        timeline: vec![held(0, 1), held(1, 3), held(2, 2)],
    };
    let absent = Strategy {
        name: "pool".into(),
        not_run: Some(message.into()),
        allocator_us: None,
        batch_us: None,
        timeline: Vec::new(),
        ..arena.clone()
    };
    MemoryExperiment {
        model: message.into(),
        device: "a clock".into(),
        dtype: "f32".into(),
        traffic: TrafficSummary {
            origin: message.into(),
            batches: 1,
            sequences: 2,
            sequence_tokens: (16, 48),
            batch_tokens: (64, 64),
        },
        repeats: 5,
        budget_bytes: 8 << 20,
        demand_bytes_max: 3 << 20,
        buffers_per_batch: 3.0,
        strategies: vec![arena, absent],
        demand: vec![(0, 1 << 20), (1, 3 << 20), (2, 2 << 20)],
        timeline_batches: vec![0],
    }
}

fn edge(message: &str) -> EdgeFindings {
    let probe =
        |value, works: bool| EdgeProbe { value, requests: 64, failed: usize::from(!works), works };
    EdgeFindings {
        axes: vec![Edge {
            axis: EdgeAxis::Concurrency,
            works: Some(512),
            refused: Some(513),
            predicted: Some(512),
            difference_percent: Some(0.0),
            agreement: PredictionMatch::Agrees,
            probes: vec![probe(512, true), probe(513, false)],
            note: Some("as far as the rules go".into()),
        }],
        failures: vec![EdgeFailure {
            axis: EdgeAxis::Concurrency,
            value: 513,
            first_at_ms: 100.0,
            last_at_ms: 110.0,
            kind: Some(FailureKind::Refused),
            count: 1,
            concurrency: 513,
            tokens: 64,
            memory_budget_bytes: Some(1 << 30),
            message: message.into(),
        }],
        recoveries: vec![Recovery {
            axis: EdgeAxis::Concurrency,
            requests: 40,
            rounds: 2,
            seconds: 1.7,
            failed: 0,
            before_ms_p50: 22.0,
            after_ms_p50: Some(22.4),
            after_ms_max: Some(31.0),
            ratio: Some(1.01),
            ratio_interval: Some((0.98, 1.05)),
            ratio_normal_max: 1.2,
            verdict: RecoveryVerdict::Yes,
        }],
    }
}
