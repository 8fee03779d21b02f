//! `bench`: one part of the engine at a time, each figure with its ceiling beside it.

mod memory;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use bigbatch_engine::backend::{Ceilings, Op};
use bigbatch_engine::{
    Device, LayerKind, Model, PackedBatch, Pooling, Rows, Sequence, TaskKind, attention_flops,
    forward_flops,
};
use clap::{Args, Subcommand};

use super::options::ModelOptions;
use super::{Outcome, say};

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Whole forward passes, ids in and rows out
    Forward {
        #[command(flatten)]
        options: BenchOptions,
        /// The share of each kind of operation, launched alone
        #[arg(long)]
        shares: bool,
    },
    /// Attention alone, full and windowed, a layer
    Attention(BenchOptions),
    /// The model's linear layers alone, a product each
    Gemm(BenchOptions),
    /// Ways of finding memory for the buffers of real batches, replayed side by side
    Memory(memory::MemoryBench),
}

#[derive(Args)]
struct BenchOptions {
    #[command(flatten)]
    model: ModelOptions,
    /// Batches of B sequences of S tokens
    #[arg(long, value_name = "BxS,...", value_delimiter = ',', value_parser = cell,
          default_value = "1x128,1x512,8x512,1x2048")]
    cells: Vec<Cell>,
    /// Timed runs a figure, after some that are not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
}

/// A batch: sequences and the tokens of each.
#[derive(Clone, Copy)]
struct Cell(usize, usize);

fn cell(text: &str) -> Result<Cell, String> {
    let bad = || format!("'{text}' is not a batch; write 8x512 for 8 sequences of 512 tokens");
    let (b, s) = text.split_once('x').ok_or_else(bad)?;
    match (b.parse(), s.parse()) {
        (Ok(b), Ok(s)) if (1..=4096).contains(&b) && (1..=1 << 20).contains(&s) => Ok(Cell(b, s)),
        _ => Err(bad()),
    }
}

pub(crate) fn bench(args: Bench) -> Outcome {
    match args.part {
        Part::Forward { options, shares } => Bed::open(&options)?
            .each_cell(&options, if shares { forward_and_shares } else { forward }),
        Part::Attention(options) => Bed::open(&options)?.each_cell(&options, attention),
        Part::Gemm(options) => Bed::open(&options)?.each_cell(&options, gemm),
        Part::Memory(options) => memory::memory(&options),
    }
}

/// Measures one batch and prints its rows.
type Figure = fn(&mut Bed, Cell, &PackedBatch, &BenchOptions) -> Result<(), Box<dyn Error>>;

/// The device that is measured, and its ceilings.
struct Bed {
    model: Model,
    device: Device,
    ceilings: Ceilings,
}

/// Median, minimum and maximum, in seconds.
struct Spread(f64, f64, f64);

impl Spread {
    fn of(mut seconds: Vec<f64>) -> Spread {
        seconds.sort_by(f64::total_cmp);
        Spread(seconds[seconds.len() / 2], seconds[0], seconds[seconds.len() - 1])
    }
}

impl Bed {
    fn open(options: &BenchOptions) -> Result<Bed, Box<dyn Error>> {
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
            "what",
            "ms median",
            "min",
            "max",
            "tokens/s",
            "TFLOP/s",
            "of ceiling"
        );
        Ok(Bed { model, device, ceilings })
    }

    fn each_cell(mut self, options: &BenchOptions, figure: Figure) -> Outcome {
        for &at in &options.cells {
            let Cell(sequences, tokens) = at;
            let most = self.device.max_batch_tokens();
            if sequences * tokens > most || sequences > self.device.max_batch_sequences() {
                say!("{:>12} not run: a batch holds {most} tokens", name(at));
                continue;
            }
            let vocabulary = self.model.tokenizer.vocab_end();
            // Ids all over the vocabulary: repeated ones would leave the embedding in the cache.
            let id = |i: u32| i.wrapping_mul(2_654_435_761) % vocabulary;
            let ids: Vec<u32> = (0..(sequences * tokens) as u32).map(id).collect();
            let wants = Rows::Pooled(Pooling::Mean);
            let pieces = ids.chunks(tokens).map(|token_ids| Sequence { token_ids, wants: &wants });
            figure(&mut self, at, &PackedBatch::pack(pieces), options)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// One row; `flops` of 0 for what moves bytes only.
    fn row(
        &self,
        at: Cell,
        what: &str,
        Spread(median, min, max): &Spread,
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
            "{:>12} {what:<26} {:>10} {:>10} {:>10} {:>11.0} {rates}",
            name(at),
            significant(median * 1e3),
            significant(min * 1e3),
            significant(max * 1e3),
            (at.0 * at.1) as f64 / median,
        );
        Ok(())
    }
}

/// A figure to four digits, however small: nothing but zero is printed as zero.
fn significant(figure: f64) -> String {
    let magnitude = if figure > 0.0 { figure.log10().floor() as i32 } else { 0 };
    format!("{figure:.*}", (3 - magnitude).clamp(0, 12) as usize)
}

fn name(Cell(sequences, tokens): Cell) -> String {
    format!("{sequences}x{tokens}")
}

fn forward(
    bed: &mut Bed,
    at: Cell,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    whole(bed, at, batch, options).map(drop)
}

fn forward_and_shares(
    bed: &mut Bed,
    at: Cell,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    let whole = whole(bed, at, batch, options)?;
    for (kind, select) in KINDS {
        let spread = Spread::of(bed.device.time(batch, select, options.repeats.into())?);
        let what = format!("  {kind} {:.1}%", 100.0 * spread.0 / whole.0);
        bed.row(at, &what, &spread, 0.0)?;
    }
    Ok(())
}

/// The row of a whole forward pass.
fn whole(
    bed: &mut Bed,
    at: Cell,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<Spread, Box<dyn Error>> {
    let mut seconds = Vec::new();
    for repeat in 0..=options.repeats {
        let start = Instant::now();
        bed.device.forward(batch)?;
        if repeat > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let whole = Spread::of(seconds);
    let flops = forward_flops(&bed.model.config, std::iter::repeat_n(at.1, at.0));
    bed.row(at, "forward, copies included", &whole, flops)?;
    Ok(whole)
}

type Select = fn(&Op) -> bool;

/// Every operation of a forward pass, by what it is.
const KINDS: [(&str, Select); 7] = [
    ("linear", |op| matches!(op, Op::Linear { .. } | Op::LinearRows { .. })),
    ("attention, full", |op| matches!(op, Op::Attention { window: None, .. })),
    ("attention, windowed", |op| matches!(op, Op::Attention { window: Some(_), .. })),
    ("norm, embedding", |op| matches!(op, Op::Norm { .. } | Op::Embed { .. })),
    ("geglu", |op| matches!(op, Op::GeGlu { .. } | Op::Gelu { .. })),
    ("rope", |op| matches!(op, Op::Rope { .. })),
    ("pool, gather", |op| matches!(op, Op::Pool { .. } | Op::Gather { .. })),
];

fn attention(
    bed: &mut Bed,
    at: Cell,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    for (what, kind, select) in
        [("full", LayerKind::Full, KINDS[1].1), ("windowed", LayerKind::Sliding, KINDS[2].1)]
    {
        let layers = bed.model.config.layers.iter().filter(|&&layer| layer == kind).count();
        if layers == 0 {
            continue;
        }
        let all = bed.device.time(batch, select, options.repeats.into())?;
        let spread = Spread::of(all.into_iter().map(|seconds| seconds / layers as f64).collect());
        let flops = at.0 as f64 * attention_flops(&bed.model.config, kind, at.1);
        bed.row(at, what, &spread, flops)?;
    }
    Ok(())
}

fn gemm(
    bed: &mut Bed,
    at: Cell,
    batch: &PackedBatch,
    options: &BenchOptions,
) -> Result<(), Box<dyn Error>> {
    let config = &bed.model.config;
    let (h, i, layers) = (config.hidden_size, config.intermediate_size, config.layers.len());
    for (what, inputs, outputs, residual) in [
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
        let all = bed.device.time(batch, select, options.repeats.into())?;
        let spread = Spread::of(all.into_iter().map(|seconds| seconds / layers as f64).collect());
        let flops = 2.0 * (batch.tokens() * inputs * outputs) as f64;
        bed.row(at, &format!("{what} {inputs}x{outputs}"), &spread, flops)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn a_small_figure_keeps_its_digits() {
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
