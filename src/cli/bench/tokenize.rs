//! `bench tokenize`: the speed of a tokenizer on one thread. No model is loaded, and nothing waits in a queue.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bigbatch_engine::{Tokenizer, units};
use bigbatch_validate::workload::Corpus;
use clap::Args;
use serde_json::json;

use super::RunTimes;
use crate::cli::{CommandResult, say};

#[derive(Args)]
pub(super) struct TokenizeBench {
    /// Model whose tokenizer is measured: a directory, a Hugging Face Hub id, or `embedded[:NAME]`
    #[arg(long, visible_alias = "model-id", value_name = "SOURCE", default_value = "embedded")]
    model: String,
    /// Text to tokenize, UTF-8 [default: 400 KB of English prose]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Timed passes after the first one
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn tokenize(options: &TokenizeBench) -> CommandResult {
    let text = match &options.input {
        None => Corpus::embedded().text().to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("--input: cannot read {} ({error})", path.display()))?,
    };
    let checkpoint = bigbatch_models::resolve_tokenizer(&options.model)?;
    let start = Instant::now();
    let tokenizer = Tokenizer::open(&checkpoint)?;
    let load_s = start.elapsed().as_secs_f64();
    let pass = || -> Result<(usize, f64), Box<dyn Error>> {
        let start = Instant::now();
        let tokens = std::hint::black_box(tokenizer.encode_bare(&text)?);
        let seconds = start.elapsed().as_secs_f64();
        Ok((tokens.ids.len(), seconds))
    };
    let (tokens, cold_s) = pass()?;
    let warm: Result<Vec<f64>, _> =
        (0..options.repeats).map(|_| pass().map(|(_, seconds)| seconds)).collect();
    let warm = RunTimes::of(warm?);
    let encoder = if tokenizer.encodes_by_library() { "tokenizers" } else { "bigbatch" };
    let rate = |seconds: f64| tokens as f64 / seconds;
    if options.json {
        let found = json!({
            "model": options.model, "encoder": encoder, "bytes": text.len(), "tokens": tokens,
            "load_ms": load_s * 1e3,
            "cold_ms": cold_s * 1e3, "cold_tokens_per_second": rate(cold_s),
            "warm_ms_median": warm.median * 1e3, "warm_ms_min": warm.min * 1e3,
            "warm_ms_max": warm.max * 1e3, "warm_tokens_per_second": rate(warm.median),
        });
        say!("{found}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}, encoder: {encoder}, loaded in {:.1} ms", options.model, load_s * 1e3);
    say!("{} of text, {tokens} tokens, one thread", units::bytes(text.len() as u64));
    say!("{:<6} {:>12} {:>12} {:>12} {:>16}", "pass", "median ms", "min", "max", "M tokens/s");
    let row = |name, times: &RunTimes| {
        let [median, min, max] = [times.median, times.min, times.max].map(|s| s * 1e3);
        let rate = rate(times.median) / 1e6;
        format!("{name:<6} {median:>12.3} {min:>12.3} {max:>12.3} {rate:>16.2}")
    };
    say!("{}", row("first", &RunTimes::of(vec![cold_s])));
    say!("{}", row("later", &warm));
    Ok(ExitCode::SUCCESS)
}
