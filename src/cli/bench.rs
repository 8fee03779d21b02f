//! `bench`: one part of the engine at a time, each figure with its ceiling beside it.

use std::process::ExitCode;
use std::time::Instant;

use bigbatch_engine::device::Device;
use bigbatch_engine::model::{LayerKind, Model, Pooling};
use bigbatch_engine::pack::{PackedBatch, Rows, Sequence};
use bigbatch_engine::task::TaskKind;
use clap::{Args, Subcommand};

use super::Outcome;
use super::options::ModelOptions;

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Forward passes of packed batches of B sequences of S tokens
    Forward(Forward),
}

#[derive(Args)]
struct Forward {
    #[command(flatten)]
    model: ModelOptions,
    /// Batches as BxS
    #[arg(long, value_name = "BxS,...", value_delimiter = ',', value_parser = cell,
          default_value = "1x128,1x512,8x512,1x2048")]
    cells: Vec<(usize, usize)>,
    /// Timed runs a batch, after one that is not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

fn cell(text: &str) -> Result<(usize, usize), String> {
    let bad = || format!("'{text}' is not a batch; write 8x512 for 8 sequences of 512 tokens");
    let (b, s) = text.split_once('x').ok_or_else(bad)?;
    match (b.parse(), s.parse()) {
        (Ok(b), Ok(s)) if (1..=4096).contains(&b) && (1..=1 << 20).contains(&s) => Ok((b, s)),
        _ => Err(bad()),
    }
}

pub(crate) fn bench(args: Bench) -> Outcome {
    match args.part {
        Part::Forward(args) => forward(&args),
    }
}

fn forward(args: &Forward) -> Outcome {
    let model = args.model.load(TaskKind::Embed)?;
    let mut device = Device::start(&model, &args.model.device()?)?;
    let ceiling = bigbatch_engine::backend::cpu::gemm_flops_per_second(args.repeats);
    println!("ceiling: GEMM 4096 x 768 x 2304 f32, {:.1} GFLOP/s", ceiling / 1e9);
    println!(
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "batch", "ms median", "min", "max", "tokens/s", "of GEMM"
    );
    for &(sequences, tokens) in &args.cells {
        let total = sequences * tokens;
        if total > device.max_batch_tokens() || sequences > device.max_batch_sequences() {
            println!(
                "{sequences:>5}x{tokens:<5} not run: a batch holds {} tokens",
                device.max_batch_tokens()
            );
            continue;
        }
        let ids: Vec<u32> = (0..tokens as u32).map(|i| i % model.tokenizer.vocab_end()).collect();
        let wants = Rows::Pooled(Pooling::Mean);
        let batch =
            PackedBatch::pack((0..sequences).map(|_| Sequence { token_ids: &ids, wants: &wants }));
        device.forward(&batch)?;
        let mut seconds = Vec::new();
        for _ in 0..args.repeats {
            let start = Instant::now();
            device.forward(&batch)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        println!(
            "{:>10} {:>10.2} {:>10.2} {:>10.2} {:>10.0} {:>7.0}%",
            format!("{sequences}x{tokens}"),
            median * 1e3,
            seconds[0] * 1e3,
            seconds[seconds.len() - 1] * 1e3,
            total as f64 / median,
            100.0 * flops(&model, sequences, tokens) / median / ceiling
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Multiplications and additions of the linear layers and of attention.
fn flops(model: &Model, sequences: usize, tokens: usize) -> f64 {
    let config = &model.config;
    let (h, i) = (config.hidden_size as f64, config.intermediate_size as f64);
    let linear = 2.0 * (4.0 * h * h + 3.0 * h * i) * config.layers.len() as f64;
    let seen = |kind: &LayerKind| match kind {
        LayerKind::Full => tokens as f64,
        LayerKind::Sliding => tokens.min(2 * config.window + 1) as f64,
    };
    let attention: f64 = config.layers.iter().map(|kind| 4.0 * h * seen(kind)).sum();
    (sequences * tokens) as f64 * (linear + attention)
}
