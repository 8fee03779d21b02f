//! The single-request benchmark of the Big Batch Test Plan: the time of each stage of a request, at 512 to
//! 32768 tokens.
//!
//! `cargo run --release --example benchmark_performance [-- --model SOURCE --max-tokens N]`, on a GPU with
//! `--features cuda` (or `cuda,flash-attn`). The column `memory` is the device memory on a GPU, and the
//! resident memory of the process on a CPU.

use std::error::Error;

use bigbatch_engine::{
    DeviceKind, Engine, EngineOptions, HubOptions, Input, Model, Request, Response, RopeOverride,
    Task, TaskKind, Truncate, units,
};
use bigbatch_validate::system::process_rss_bytes;
use bigbatch_validate::workload::{Corpus, Workload};
use clap::Parser;

const SEED: u64 = 1;
const TOKENS: [usize; 7] = [512, 1024, 2048, 4096, 8192, 16384, 32768];

#[derive(Parser)]
struct Args {
    /// Model: a directory, a Hugging Face Hub id, or `embedded[:NAME]`
    #[arg(long, default_value = "embedded")]
    model: String,
    /// Longest input to measure, in tokens
    #[arg(long, default_value_t = 32768)]
    max_tokens: usize,
    /// Timed requests per length, after one that is not timed
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let checkpoint =
        bigbatch_models::resolve(&args.model, TaskKind::Embed, &HubOptions::default())?;
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
    let mut options = EngineOptions::default();
    options.device.kind = DeviceKind::auto();
    let engine = Engine::start(model, &options)?;
    println!("{} on {}", engine.model().name, engine.device().name);
    let corpus = Corpus::embedded();
    let lengths: Vec<usize> =
        TOKENS.into_iter().filter(|&n| n <= args.max_tokens.min(engine.max_tokens())).collect();
    let longest = lengths
        .last()
        .copied()
        .ok_or("no length fits: the shortest is 512 tokens; raise --max-tokens")?;
    let workload = Workload::new(&corpus, &engine.model().tokenizer, longest)?;
    println!("median of {} requests, in milliseconds", args.repeats);
    println!(
        "{:>7} {:>10} {:>10} {:>10} {:>10} {:>12} {:>10}",
        "tokens", "tokenize", "copy", "forward", "total", "tokens/s", "memory"
    );
    for tokens in lengths {
        let mut responses = Vec::new();
        // The first request is not timed: it touches memory that the others find warm.
        for prompt in workload.prompts(tokens, SEED, args.repeats + 1)? {
            let task =
                Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
            let input = Input::Text(prompt.text().into());
            responses.push(engine.submit(Request::new(input, task, Truncate::No))?.wait()?);
        }
        responses.remove(0);
        let ms = |f: fn(&Response) -> std::time::Duration| {
            let mut times: Vec<f64> = responses.iter().map(|r| f(r).as_secs_f64() * 1e3).collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let total = ms(|r| r.timings.total);
        println!(
            "{tokens:>7} {:>10.2} {:>10.2} {:>10.2} {total:>10.2} {:>12.0} {:>10}",
            ms(|r| r.timings.tokenize),
            ms(|r| r.timings.copy),
            ms(|r| r.timings.compute),
            tokens as f64 / total * 1e3,
            engine
                .device_used_bytes()
                .or_else(process_rss_bytes)
                .map_or("unknown".into(), units::bytes)
        );
    }
    Ok(())
}
