//! Prints the latency that the generator, the network and HTTP add to each request: latency from the
//! intended start, minus the time that the target reports.
//!
//! `cargo run --release -p bigbatch-validate --example added_latency -- REPORT_DIRECTORY`
//!
//! It reads the raw records of a report. With `mock_server`, which reports microseconds, the result is exact;
//! with servers that report whole milliseconds, the error is up to one millisecond.

use std::path::Path;
use std::process::ExitCode;

use bigbatch_validate::load::Phase;
use bigbatch_validate::report::json;

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: added_latency REPORT_DIRECTORY");
        return ExitCode::from(2);
    };
    let report = match json::read_report(Path::new(&directory)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    println!("cell  requests  failed  added p50 ms  p99 ms  max ms  lag p99 ms  requests/s");
    for cell in &report.results.cells {
        let measured = report
            .requests
            .iter()
            .filter(|record| record.cell == cell.index && record.phase == Phase::Measured);
        let answered = || measured.clone().filter(|record| record.succeeded());
        let mut added: Vec<u64> = answered()
            .filter_map(|record| Some(record.latency_us().saturating_sub(record.stages?.total_us)))
            .collect();
        let mut lag: Vec<u64> = answered().map(|record| record.lag_us()).collect();
        let failed = measured.clone().count() - lag.len();
        let rate = cell.figures().map_or(0.0, |figures| figures.requests_per_second);
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| nearest_rank_ms(&mut added, q));
        println!(
            "{:>4}  {:>8}  {failed:>6}  {p50:>12.3}  {p99:>6.3}  {max:>6.3}  {:>10.3}  {rate:>10.1}",
            cell.index,
            added.len(),
            nearest_rank_ms(&mut lag, 0.99),
        );
    }
    ExitCode::SUCCESS
}

/// Returns the value at the nearest rank ceil(q n), in milliseconds; NaN without values.
fn nearest_rank_ms(values_us: &mut [u64], q: f64) -> f64 {
    values_us.sort_unstable();
    let rank = (q * values_us.len() as f64).ceil() as usize;
    values_us.get(rank.saturating_sub(1)).map_or(f64::NAN, |&us| us as f64 / 1e3)
}
