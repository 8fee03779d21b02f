//! The table of `bench memory`: what each cleanup strategy made of the same traffic.

use crate::format::{bytes, count, percent, time};
use bigbatch_allocators::{MemoryExperiment, Strategy};

use super::table::{Field, Row, Stress, Table, columns};

/// One row a strategy.
pub(in super::super) fn strategies(experiment: &MemoryExperiment) -> Table {
    Table {
        columns: columns(
            "Strategy | In the allocator, a batch> | p95> | Whole batch> | Calls a batch> | \
         High water> | Held when idle> | Fragmentation> | Failed> | Over budget>",
        )
        .collect(),
        rows: experiment.strategies.iter().map(row).collect(),
    }
}

fn row(strategy: &Strategy) -> Row {
    if let Some(reason) = &strategy.not_run {
        let mut fields = vec![Field::noted(&*strategy.name, format!("not run: {reason}"))];
        fields.extend(std::iter::repeat_n("–".into(), 9));
        return Row { fields, stress: Stress::Muted };
    }
    let us = |us: f64| time(us / 1e3);
    let dash = || Field::from("–");
    let inside = strategy.allocator_us;
    let passes = |(least, most): (f64, f64)| format!("{} to {} a pass", us(least), us(most));
    let note = if strategy.simulated { "simulated, so not timed" } else { "" };
    let fields = vec![
        Field::noted(&*strategy.name, note.to_owned()),
        inside.map_or_else(dash, |times| {
            Field::noted(us(times.median), passes(times.median_by_pass))
        }),
        inside.map_or_else(dash, |times| us(times.p95).into()),
        strategy.batch_us.map_or_else(dash, |times| us(times.median).into()),
        strategy.system_calls_per_batch.map_or_else(dash, |calls| format!("{calls:.2}").into()),
        Field::noted(
            bytes(strategy.reserved_bytes_max),
            format!("{} in use", bytes(strategy.used_bytes_max)),
        ),
        bytes(strategy.reserved_bytes_idle).into(),
        strategy.fragmentation_max.map_or_else(dash, |share| {
            let idle = strategy.fragmentation_idle_mean;
            let idle = idle.map_or(String::new(), |idle| format!("{} when idle", percent(idle)));
            Field::noted(percent(share), idle)
        }),
        count(strategy.batches_failed).into(),
        count(strategy.batches_over_budget).into(),
    ];
    Row { fields, stress: Stress::None }
}
