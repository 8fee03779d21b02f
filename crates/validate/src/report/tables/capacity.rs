//! Tables of the capacity model: its answers, and how well it predicts each cell.

use crate::analysis::capacity::{HeldOutCell, Prediction};
use crate::format::{change, rate, time, tokens};
use crate::results::Results;

use super::table::{Emphasis, Field, Row, Table, or_dash};

/// Returns what the model predicts for each length and concurrency; `None` if it is not published.
pub(in crate::report) fn capacity(results: &Results) -> Option<Table> {
    let model = results.analysis.capacity.as_ref()?.model.as_ref()?;
    let rows = model.lengths.iter().flat_map(|length| {
        let saturation = length.saturation.map(|point| point.concurrency);
        length.points.iter().enumerate().map(move |(index, point)| Row {
            fields: vec![
                tokens(length.tokens).into(),
                point.concurrency.to_string().into(),
                rate(point.requests_per_second).into(),
                rate(point.requests_per_second * length.tokens as f64).into(),
                time(point.latency_ms_p50).into(),
                if saturation == Some(point.concurrency) { "saturated from here on" } else { "" }
                    .into(),
            ],
            emphasis: if index == 0 { Emphasis::Break } else { Emphasis::None },
        })
    });
    Table::new("Tokens> | C> | Req/s> | Tok/s> | p50> | Throughput", rows)
}

/// Returns each position of the matrix as predicted from the others, beside what was measured.
pub(in crate::report) fn held_out(results: &Results) -> Option<Table> {
    let row = |cell: &HeldOutCell| {
        let fields = |figure: &Prediction, print: fn(f64) -> String| -> [Field; 3] {
            let error = figure.error().map(|error| change(1.0 + error));
            [
                or_dash(figure.predicted, print).into(),
                print(figure.measured).into(),
                or_dash(error, |error| error).into(),
            ]
        };
        let of_cell = [tokens(cell.tokens).into(), cell.concurrency.to_string().into()];
        let throughput = fields(&cell.requests_per_second, rate);
        let latency = fields(&cell.latency_ms_p50, time);
        of_cell.into_iter().chain(throughput).chain(latency).collect::<Vec<Field>>()
    };
    let heads = "Tokens> | C> | Req/s, predicted> | Measured> | Error> | p50, predicted> | Measured> | Error>";
    Table::new(heads, results.analysis.capacity.iter().flat_map(|found| &found.cells).map(row))
}
