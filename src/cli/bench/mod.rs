//! `bench forward`, `attention` and `gemm`: time one part of the engine on synthetic batches, and print each
//! figure as a share of the device's measured ceiling. Load, queueing and tokenizing are not in these figures;
//! `validate` measures those. `bench memory` is in `memory`, `bench tokenize` in `tokenize`, `bench schedule` in `schedule`.

mod memory;
mod schedule;
mod tokenize;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Instant;

use bigbatch_engine::backend::{Ceilings, Op};
use bigbatch_engine::{
    Device, LayerKind, Model, PackedBatch, Pooling, Rows, Sequence, TaskKind, attention_flops,
    forward_flops,
};
use clap::{Args, Subcommand};

use super::options::ModelOptions;
use super::{CommandResult, say};

/// Arguments of `bench`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bigbatch bench forward --cells 1x512,8x512 --shares
  bigbatch bench memory
  bigbatch bench schedule --html schedule.html
  bigbatch bench tokenize --model embedded:pii")]
pub(crate) struct Bench {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Time whole forward passes, from token ids to rows of floats
    Forward {
        #[command(flatten)]
        options: BenchOptions,
        /// Also time each kind of operation by itself, as a share of the forward pass
        #[arg(long)]
        shares: bool,
    },
    /// Time attention by itself, full and windowed, per layer
    Attention(BenchOptions),
    /// Time the linear layers by themselves, per matrix product
    Gemm(BenchOptions),
    /// Compare memory allocation strategies on the buffers of real batches
    Memory(memory::MemoryBench),
    /// Simulate the planner and simpler policies on traces of requests
    Schedule(schedule::ScheduleBench),
    /// Time a tokenizer on one thread, at its first pass over a text and at later ones
    Tokenize(tokenize::TokenizeBench),
}

#[derive(Args)]
struct BenchOptions {
    #[command(flatten)]
    model: ModelOptions,
    /// Batches to time, each of B sequences of S tokens
    #[arg(long, value_name = "BxS,...", value_delimiter = ',', value_parser = parse_shape,
          default_value = "1x128,1x512,8x512,1x2048")]
    cells: Vec<BatchShape>,
    /// Timed runs per figure, after untimed ones
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
}

/// The shape of a batch of sequences of one length.
#[derive(Clone, Copy)]
struct BatchShape {
    sequences: usize,
    /// Tokens of each sequence.
    tokens: usize,
}

impl BatchShape {
    fn total_tokens(self) -> usize {
        self.sequences * self.tokens
    }
}

impl fmt::Display for BatchShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.sequences, self.tokens))
    }
}

fn parse_shape(text: &str) -> Result<BatchShape, String> {
    let bad = || format!("'{text}' is not a batch; write 8x512 for 8 sequences of 512 tokens");
    let (b, s) = text.split_once('x').ok_or_else(bad)?;
    match (b.parse(), s.parse()) {
        (Ok(sequences), Ok(tokens))
            if (1..=4096).contains(&sequences) && (1..=1 << 20).contains(&tokens) =>
        {
            Ok(BatchShape { sequences, tokens })
        }
        _ => Err(bad()),
    }
}

pub(crate) fn bench(args: Bench) -> CommandResult {
    match args.benchmark {
        Benchmark::Forward { options, shares } => TestBed::start(&options)?
            .measure_each(&options, if shares { forward_and_shares } else { forward }),
        Benchmark::Attention(options) => {
            TestBed::start(&options)?.measure_each(&options, attention)
        }
        Benchmark::Gemm(options) => TestBed::start(&options)?.measure_each(&options, gemm),
        Benchmark::Memory(options) => memory::memory(&options),
        Benchmark::Schedule(options) => schedule::schedule(&options),
        Benchmark::Tokenize(options) => tokenize::tokenize(&options),
    }
}

/// Times one batch and prints its rows of the table.
type Measure =
    fn(&mut TestBed, BatchShape, &PackedBatch, &BenchOptions) -> Result<(), Box<dyn Error>>;

/// The device under test, its model and its measured ceilings.
struct TestBed {
    model: Model,
    device: Device,
    ceilings: Ceilings,
}

/// Median, minimum and maximum of timed runs, in seconds.
struct RunTimes {
    median: f64,
    min: f64,
    max: f64,
}

impl RunTimes {
    fn of(mut seconds: Vec<f64>) -> RunTimes {
        seconds.sort_by(f64::total_cmp);
        let (min, max) = (seconds[0], seconds[seconds.len() - 1]);
        RunTimes { median: seconds[seconds.len() / 2], min, max }
    }
}

impl TestBed {
    /// Starts the device, measures its ceilings and prints the head of the table.
    fn start(options: &BenchOptions) -> Result<TestBed, Box<dyn Error>> {
        let model = options.model.load(TaskKind::Embed)?;
        let mut device = Device::start(&model, &options.model.device()?)?;
        let ceilings = device.ceilings()?;
        say!("{} on {}, {}", model.name, device.info().name, device.info().dtype);
        say!(
            "ceilings: {} TFLOP/s, {:.0} GB/s ({})",
            significant(ceilings.flops_per_second / 1e12),
            ceilings.bytes_per_second / 1e9,
            ceilings.what
        );
        say!(
            "{:>12} {:<26} {:>10} {:>10} {:>10} {:>11} {:>9} {:>11}",
            "batch",
            "operation",
            "ms median",
            "min",
            "max",
            "tokens/s",
            "TFLOP/s",
            "of ceiling"
        );
        Ok(TestBed { model, device, ceilings })
    }

    /// Runs `measure` on each batch of `--cells` that the device holds.
    fn measure_each(mut self, options: &BenchOptions, measure: Measure) -> CommandResult {
        for &shape in &options.cells {
            let max_tokens = self.device.max_batch_tokens();
            let max_sequences = self.device.max_batch_sequences();
            if shape.total_tokens() > max_tokens || shape.sequences > max_sequences {
                say!(
                    "{shape:>12} not run: a batch holds at most {max_tokens} tokens in {max_sequences} sequences"
                );
                continue;
            }
            let vocabulary = self.model.tokenizer.vocab_end();
            // Spread over the vocabulary: repeated ids would keep the embedding in the cache.
            let id = |i: u32| i.wrapping_mul(2_654_435_761) % vocabulary;
            let ids: Vec<u32> = (0..shape.total_tokens() as u32).map(id).collect();
            let wants = Rows::Pooled(Pooling::Mean);
            let sequences =
                ids.chunks(shape.tokens).map(|token_ids| Sequence { token_ids, wants: &wants });
            measure(&mut self, shape, &PackedBatch::pack(sequences), options)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Times the selected operations of all `layers`, and divides by their number.
    fn time_per_layer(
        &mut self,
        batch: &PackedBatch,
        select: impl Fn(&Op) -> bool,
        options: &BenchOptions,
        layers: usize,
    ) -> Result<RunTimes, Box<dyn Error>> {
        let all = self.device.time(batch, select, options.repeats.into())?;
        Ok(RunTimes::of(all.into_iter().map(|seconds| seconds / layers as f64).collect()))
    }

    /// Prints a row of the table; with `flops` 0, without a rate.
    fn print_row(
        &self,
        shape: BatchShape,
        operation: &str,
        &RunTimes { median, min, max }: &RunTimes,
        flops: f64,
    ) -> std::io::Result<()> {
        let rate = flops / median;
        let rates = if flops > 0.0 {
            let share = 100.0 * rate / self.ceilings.flops_per_second;
            format!("{:>9} {share:>10.0}%", significant(rate / 1e12))
        } else {
            String::new()
        };
        say!(
            "{shape:>12} {operation:<26} {:>10} {:>10} {:>10} {:>11.0} {rates}",
            significant(median * 1e3),
            significant(min * 1e3),
            significant(max * 1e3),
            shape.total_tokens() as f64 / median,
        );
        Ok(())
    }
}

/// Formats a figure with four significant digits, so that only zero is printed as zero.
fn significant(figure: f64) -> String {
    let magnitude = if figure > 0.0 { figure.log10().floor() as i32 } else { 0 };
    format!("{figure:.*}", (3 - magnitude).clamp(0, 12) as usize)
}

fn forward(
    bed: &mut TestBed,
    shape: BatchShape,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    time_forward(bed, shape, batch, options).map(drop)
}

fn forward_and_shares(
    bed: &mut TestBed,
    shape: BatchShape,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    let whole = time_forward(bed, shape, batch, options)?;
    for (kind, select) in OPERATION_KINDS {
        let spread = RunTimes::of(bed.device.time(batch, select, options.repeats.into())?);
        let operation = format!("  {kind} {:.1}%", 100.0 * spread.median / whole.median);
        bed.print_row(shape, &operation, &spread, 0.0)?;
    }
    Ok(())
}

/// Times whole forward passes, copies to and from the device included, and prints their row.
fn time_forward(
    bed: &mut TestBed,
    shape: BatchShape,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<RunTimes, Box<dyn Error>> {
    let mut seconds = Vec::new();
    for repeat in 0..=options.repeats {
        let start = Instant::now();
        bed.device.forward(batch)?;
        if repeat > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let whole = RunTimes::of(seconds);
    let flops =
        forward_flops(&bed.model.config, std::iter::repeat_n(shape.tokens, shape.sequences));
    bed.print_row(shape, "forward, copies included", &whole, flops)?;
    Ok(whole)
}

type Select = fn(&Op) -> bool;

/// The operations of a forward pass by kind; together they cover all of it.
const OPERATION_KINDS: [(&str, Select); 7] = [
    ("linear", |op| matches!(op, Op::Linear { .. } | Op::LinearRows { .. })),
    ("attention, full", |op| matches!(op, Op::Attention { window: None, .. })),
    ("attention, windowed", |op| matches!(op, Op::Attention { window: Some(_), .. })),
    ("norm, embedding", |op| matches!(op, Op::Norm { .. } | Op::Embed { .. })),
    ("activation", |op| matches!(op, Op::Gated { .. } | Op::Activate { .. })),
    ("rope", |op| matches!(op, Op::Rope { .. })),
    ("pool, gather", |op| matches!(op, Op::Pool { .. } | Op::Gather { .. })),
];

fn attention(
    bed: &mut TestBed,
    shape: BatchShape,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    for (operation, kind, select) in [
        ("full", LayerKind::Full, OPERATION_KINDS[1].1),
        ("windowed", LayerKind::Sliding, OPERATION_KINDS[2].1),
    ] {
        let layers = bed.model.config.layers.iter().filter(|&&layer| layer == kind).count();
        if layers == 0 {
            continue;
        }
        let spread = bed.time_per_layer(batch, select, options, layers)?;
        let flops = shape.sequences as f64 * attention_flops(&bed.model.config, kind, shape.tokens);
        bed.print_row(shape, operation, &spread, flops)?;
    }
    Ok(())
}

fn gemm(
    bed: &mut TestBed,
    shape: BatchShape,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    let config = &bed.model.config;
    let (h, i, layers) = (config.hidden_size, config.intermediate_size, config.layers.len());
    for (operation, inputs, outputs, residual) in [
        ("Wqkv", h, 3 * h, false),
        ("attn.Wo + residual", h, h, true),
        ("mlp.Wi", h, 2 * i, false),
        ("mlp.Wo + residual", i, h, true),
    ] {
        let select = |op: &Op| match op {
            Op::Linear { x, out, accumulate, .. } => {
                (x.cols, out.cols, *accumulate) == (inputs, outputs, residual)
            }
            _ => false,
        };
        let spread = bed.time_per_layer(batch, select, options, layers)?;
        let flops = 2.0 * (batch.tokens() * inputs * outputs) as f64;
        bed.print_row(shape, &format!("{operation} {inputs}x{outputs}"), &spread, flops)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn small_figures_keep_four_digits() {
        for (figure, printed) in [
            (0.0, "0.000"),
            (0.000_312_345, "0.0003123"),
            (0.5, "0.5000"),
            (12.345_6, "12.35"),
            (98_765.4, "98765"),
        ] {
            assert_eq!(significant(figure), printed);
        }
    }
}
