//! `model inspect`, `model init` and `model list`: print what a checkpoint contains, write one with random
//! weights, list the embedded models. Reading and validating checkpoints is the engine's.

use std::path::PathBuf;
use std::process::ExitCode;

use bigbatch_engine::{
    Checkpoint, Dtype, Embedding, Exits, Head, HubOptions, Init, InitHead, LayerKind, Model,
    Module, OperatingPoint, PRESETS, Pooling, Preset, Rope, RopeOverride, Scaling, TaskKind, units,
};
use bigbatch_models::EmbeddedModel;
use clap::{Args, Subcommand, ValueEnum};

use super::terminal::escape;
use super::{CommandResult, say};

/// Arguments of `model`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bigbatch model list
  bigbatch model inspect embedded:pii
  bigbatch model init --preset modernbert-base-32k --dtype bf16 random-weights")]
pub(crate) struct ModelCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print the configuration and the sizes of a checkpoint
    Inspect {
        /// Checkpoint: a directory, a Hugging Face Hub id (OWNER/NAME or OWNER/NAME@REVISION), or
        /// `embedded[:NAME]`
        #[arg(value_name = "SOURCE")]
        source: String,
        /// Also print the name, type and shape of every tensor
        #[arg(long)]
        tensors: bool,
    },
    /// Write a checkpoint with random weights, for benchmarks and tests
    Init(InitArgs),
    /// List the embedded models, and the presets of `model init`
    List,
}

#[derive(Args)]
struct InitArgs {
    /// Preset of sizes; `model list` prints their names
    #[arg(long, default_value = "modernbert-base-32k")]
    preset: String,
    /// Seed of the random weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Head after the encoder [default: masked-lm, or that of the preset]
    #[arg(long, value_enum)]
    head: Option<HeadChoice>,
    /// Labels of the classify or tag head
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    labels: Vec<String>,
    /// Element type of the stored weights
    #[arg(long, value_enum, default_value_t = DtypeChoice::F32)]
    dtype: DtypeChoice,
    /// Tokenizer to copy, a tokenizer.json [default: the embedded one, or that of the preset]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Replace the checkpoint in DIR
    #[arg(long)]
    force: bool,
    /// Directory to write, absent or empty unless --force is given
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum HeadChoice {
    Base,
    MaskedLm,
    Classify,
    Tag,
}

#[derive(Clone, Copy, ValueEnum)]
enum DtypeChoice {
    F32,
    Bf16,
    F16,
}

pub(crate) fn model(args: ModelCommand) -> CommandResult {
    match args.action {
        Action::Inspect { source, tensors } => inspect(&source, tensors),
        Action::Init(args) => init(args),
        Action::List => list(),
    }
}

fn list() -> CommandResult {
    say!("embedded models:");
    for EmbeddedModel { name, tasks, about, data, .. } in &bigbatch_models::MODELS {
        say!("  embedded:{name:<12} {about}");
        let Some(&first) = tasks.first() else { continue };
        let model =
            Model::load(&bigbatch_models::checkpoint(name, first)?, RopeOverride::Checkpoint)?;
        let (size, tokens) = (units::bytes(weight_bytes(&model)), model.config.max_tokens);
        let commands: Vec<&str> = tasks.iter().map(|&task| command_name(task)).collect();
        let millions = model.parameters() as f64 / 1e6;
        say!("    {}; {millions:.1} M parameters in {size}; {tokens} tokens", commands.join(", "));
        if !model.labels.is_empty() {
            say!("    labels: {}", summarize_labels(&model.labels));
        }
        say!("    trained on: {data}");
    }
    say!("presets of `model init`:");
    for preset in PRESETS {
        say!("  {preset}");
    }
    Ok(ExitCode::SUCCESS)
}

fn weight_bytes(model: &Model) -> u64 {
    model.weights.iter().map(|(_, tensor)| tensor.stored_bytes()).sum()
}

/// Returns the command that runs a task.
fn command_name(task: TaskKind) -> &'static str {
    match task {
        TaskKind::Classify => "classify",
        TaskKind::Tag => "tag",
        TaskKind::Embed => "embed",
        TaskKind::FillMask => "fill-mask",
    }
}

/// Joins labels; of more than 20, only the first two and the last.
fn summarize_labels(labels: &[String]) -> String {
    const MAX_LISTED: usize = 20;
    match labels {
        [first, second, .., last] if labels.len() > MAX_LISTED => {
            format!("{first}, {second}, ..., {last} ({} labels)", labels.len())
        }
        _ => labels.join(", "),
    }
}

fn init(args: InitArgs) -> CommandResult {
    let preset = Preset::named(&args.preset)?;
    let (embedded_tokenizer, embedded_config) = bigbatch_models::tokenizer_files();
    let own = preset.tokenizer_files();
    let [tokenizer, tokenizer_config] = own.unwrap_or([embedded_tokenizer, embedded_config]);
    let (tokenizer, tokenizer_config) = match &args.tokenizer {
        None => (tokenizer.to_vec(), tokenizer_config.to_vec()),
        Some(path) => {
            let json = std::fs::read(path)
                .map_err(|e| format!("--tokenizer: cannot read {}: {e}", path.display()))?;
            (json, br#"{"mask_token": "[MASK]"}"#.to_vec())
        }
    };
    let given = args.head.is_some() || !args.labels.is_empty() || args.tokenizer.is_some();
    if preset.head().is_some() && given {
        return Err(format!(
            "--preset {}: it has a head, labels and a tokenizer of its own; remove --head, --labels and --tokenizer, or \
             choose --preset random",
            preset.name
        )
        .into());
    }
    let choice = args.head.unwrap_or(HeadChoice::MaskedLm);
    if !args.labels.is_empty() && !matches!(choice, HeadChoice::Classify | HeadChoice::Tag) {
        return Err(
            "--labels needs --head classify or --head tag; other heads have no labels".into()
        );
    }
    let labels = |default: &[&str]| {
        let default = || default.iter().map(|l| l.to_string()).collect();
        if args.labels.is_empty() { default() } else { args.labels.clone() }
    };
    let chosen = || match choice {
        HeadChoice::Base => InitHead::Base,
        HeadChoice::MaskedLm => InitHead::MaskedLm,
        HeadChoice::Classify => InitHead::Sequence(labels(&["LABEL_0", "LABEL_1"])),
        HeadChoice::Tag => InitHead::Token(labels(&["O", "B-RANDOM", "I-RANDOM"])),
    };
    let head = preset.head().unwrap_or_else(chosen);
    let dtype = match args.dtype {
        DtypeChoice::F32 => Dtype::F32,
        DtypeChoice::Bf16 => Dtype::Bf16,
        DtypeChoice::F16 => Dtype::F16,
    };
    let init = Init { preset, head, seed: args.seed, dtype };
    init.write(&args.dir, &tokenizer, &tokenizer_config, args.force)?;
    let model = Model::load(&Checkpoint::directory(&args.dir), RopeOverride::Checkpoint)?;
    say!(
        "wrote {}: {} with random weights, {:.1} M parameters, {dtype}",
        args.dir.display(),
        args.preset,
        model.parameters() as f64 / 1e6
    );
    Ok(ExitCode::SUCCESS)
}

fn inspect(source: &str, tensors: bool) -> CommandResult {
    let checkpoint = bigbatch_models::resolve(source, TaskKind::Embed, &HubOptions::default())?;
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
    let config = &model.config;
    let head = match &config.head {
        Head::Base => "none: embeddings".into(),
        Head::MaskedLm { .. } => "masked language model; embeddings".into(),
        Head::Sequence { pooling, scoring } => {
            let scoring = scoring.name();
            format!("sequence classification, {pooling:?} pooling, {scoring}").to_lowercase()
        }
        Head::Token => "token classification".into(),
        Head::PairScorers => "scores of pairs, one scorer per exit".into(),
    };
    let full = config.layers.iter().filter(|kind| **kind == LayerKind::Full).count();
    let size = units::bytes(weight_bytes(&model));
    say!("model              {}", escape(&model.name));
    say!("head               {head}");
    if !model.labels.is_empty() {
        say!("labels             {}", join_escaped(model.labels.iter().map(String::as_str)));
    }
    say!("parameters         {:.1} M in {size}", model.parameters() as f64 / 1e6);
    say!("hidden size        {}", config.hidden_size);
    say!("intermediate size  {}", config.intermediate_size);
    say!("attention heads    {} of {} dimensions", config.num_attention_heads, config.head_dim());
    say!(
        "layers             {} ({full} full, {} sliding, {} tokens to each side)",
        config.layers.len(),
        config.layers.len() - full,
        config.window
    );
    say!(
        "vocabulary         {} ({} in the tokenizer)",
        config.vocab_size,
        model.tokenizer.vocab_end()
    );
    match (config.max_tokens, model.max_positions) {
        (limit, positions) if limit < positions => {
            say!("longest input      {limit} of {positions} tokens (--max-seq-length)");
        }
        (limit, _) => say!("longest input      {limit} tokens"),
    }
    if matches!(config.head, Head::Base | Head::MaskedLm { .. }) {
        say!("vectors            {}", describe_embedding(&model.embedding));
    }
    if let Some(exits) = describe_exits(&model) {
        say!("exits              {exits}");
    }
    if let Some(point) = &model.operating_point {
        say!("operating point    {}", describe_operating_point(point, &model.labels));
    }
    if let Ok(Some(prompt)) = model.prompts.get(None) {
        say!("default prompt     {prompt:?}");
    }
    let prompts = join_escaped(model.prompts.names());
    if !prompts.is_empty() {
        say!("prompts            {prompts}");
    }
    say!("rope, full         {}", describe_rope(&config.rope_full));
    say!("rope, sliding      {}", describe_rope(&config.rope_sliding));
    if tensors {
        for (name, tensor) in model.weights.iter() {
            say!("{}  {} {:?}", escape(name), tensor.dtype, tensor.shape);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Joins names that come from the model's files.
fn join_escaped<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(escape).collect::<Vec<_>>().join(", ")
}

/// Describes the way from hidden states to a vector: `mean pooling, Dense, Normalize: 256 of 512 dimensions`.
fn describe_embedding(embedding: &Embedding) -> String {
    let mut steps = vec![match embedding.pooling {
        Pooling::Cls => "cls pooling".to_owned(),
        Pooling::Mean if embedding.include_prompt => "mean pooling".to_owned(),
        Pooling::Mean => "mean pooling without the prompt".to_owned(),
    }];
    steps.extend(embedding.modules.iter().map(|module| match module {
        Module::Dense(_) => "Dense".to_owned(),
        Module::Normalize => "Normalize".to_owned(),
    }));
    let dimensions = match embedding.default_dimensions {
        Some(some) if some < embedding.width => format!("{some} of {}", embedding.width),
        _ => embedding.width.to_string(),
    };
    format!("{}: {dimensions} dimensions", steps.join(", "))
}

/// Describes where the encoder may stop: `after 3, 6, 11 or 22 layers; 64 or 768 dimensions`.
fn describe_exits(model: &Model) -> Option<String> {
    if let Some(scorers) = &model.pair_scorers {
        let exits = scorers.exits().map(|(layer, width)| format!("{layer}/{width}"));
        return Some(format!("layers/dimensions {}", exits.collect::<Vec<_>>().join(", ")));
    }
    let list =
        |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let Exits { layers, dimensions } = &model.exits;
    (layers.len() > 1 || dimensions.len() > 1)
        .then(|| format!("after layers {}; dimensions {}", list(layers), list(dimensions)))
}

/// Describes what a classifier was calibrated with: `violence >= 0.41, weapons >= 0.5; windows of 2048 tokens, 1023 shared`.
fn describe_operating_point(point: &OperatingPoint, labels: &[String]) -> String {
    let sign = |inclusive: bool| if inclusive { ">=" } else { ">" };
    match point {
        OperatingPoint::Scores { thresholds, inclusive, window, max_document_tokens } => {
            let pairs = labels.iter().zip(thresholds);
            let pairs = pairs
                .map(|(label, least)| format!("{} {} {least}", escape(label), sign(*inclusive)));
            let mut parts = vec![pairs.collect::<Vec<_>>().join(", ")];
            parts.extend(
                window.map(|(tokens, overlap)| {
                    format!("windows of {tokens} tokens, {overlap} shared")
                }),
            );
            parts.extend(max_document_tokens.map(|tokens| format!("texts up to {tokens} tokens")));
            parts.join("; ")
        }
        OperatingPoint::Grounded {
            token_threshold, inclusive, max_input_tokens, positive, ..
        } => {
            format!(
                "marks tokens of an answer with {} {} {token_threshold}, after its question and context; pairs up to \
                 {max_input_tokens} tokens",
                escape(&labels[*positive]),
                sign(*inclusive)
            )
        }
    }
}

fn describe_rope(rope: &Rope) -> String {
    let scaling = match &rope.scaling {
        Scaling::None => "plain".into(),
        Scaling::Linear { factor } => format!("linear, factor {factor}"),
        Scaling::Yarn { factor, original_max_tokens, attention_factor, .. } => format!(
            "yarn, factor {factor} over {original_max_tokens}, attention factor {attention_factor:.4}"
        ),
    };
    format!("theta {}, {scaling}", rope.theta)
}
