//! `bench tokenize`: the speed of a tokenizer, on one thread and over a whole text, which may take several. No model is
//! loaded, and nothing waits in a queue.

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

/// Upper limit on the parts that a text is cut into for one thread; the tokenizer reads longer ones on several.
const PART_BYTES: usize = 32 << 10;

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
    let time = |texts: &[&str]| -> Result<(usize, f64), Box<dyn Error>> {
        let (start, mut tokens) = (Instant::now(), 0);
        for text in texts {
            tokens += std::hint::black_box(tokenizer.encode_bare(text)?).ids.len();
        }
        Ok((tokens, start.elapsed().as_secs_f64()))
    };
    let repeat = |texts: &[&str]| -> Result<RunTimes, Box<dyn Error>> {
        let times = (0..options.repeats).map(|_| time(texts).map(|(_, seconds)| seconds));
        Ok(RunTimes::of(times.collect::<Result<_, _>>()?))
    };
    let parts = parts(&text);
    let (tokens, cold_s) = time(&parts)?;
    let warm = repeat(&parts)?;
    let whole = repeat(&[&text])?;
    let encoder = if tokenizer.encodes_by_library() { "tokenizers" } else { "bigbatch" };
    let rate = |seconds: f64| tokens as f64 / seconds;
    if options.json {
        let found = json!({
            "model": options.model, "encoder": encoder, "bytes": text.len(), "tokens": tokens,
            "load_ms": load_s * 1e3,
            "cold_ms": cold_s * 1e3, "cold_tokens_per_second": rate(cold_s),
            "warm_ms_median": warm.median * 1e3, "warm_ms_min": warm.min * 1e3,
            "warm_ms_max": warm.max * 1e3, "warm_tokens_per_second": rate(warm.median),
            "whole_ms_median": whole.median * 1e3, "whole_tokens_per_second": rate(whole.median),
        });
        say!("{found}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}, encoder: {encoder}, loaded in {:.1} ms", options.model, load_s * 1e3);
    say!("{} of text, {tokens} tokens", units::bytes(text.len() as u64));
    say!("{:<21} {:>12} {:>12} {:>12} {:>16}", "", "median ms", "min", "max", "M tokens/s");
    let row = |name, times: &RunTimes| {
        let [median, min, max] = [times.median, times.min, times.max].map(|s| s * 1e3);
        let rate = rate(times.median) / 1e6;
        format!("{name:<21} {median:>12.3} {min:>12.3} {max:>12.3} {rate:>16.2}")
    };
    say!("{}", row("one thread, first", &RunTimes::of(vec![cold_s])));
    say!("{}", row("one thread, later", &warm));
    say!("{}", row("at once, as in serve", &whole));
    Ok(ExitCode::SUCCESS)
}

/// Cuts a text into parts for one thread, at white space where there is some.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while rest.len() > PART_BYTES {
        let mut end = PART_BYTES;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let space = rest[..end].rfind(char::is_whitespace).filter(|&at| at > 0);
        let (part, behind) = rest.split_at(space.unwrap_or(end));
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}
