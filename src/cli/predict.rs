//! `classify`, `tag`, `embed`, `fill-mask`: their options, and printing of one answer per text in the order of
//! the input. Texts are read by `texts` and run through the engine by `pipeline`.

use std::error::Error;
use std::io::{self, BufWriter, Write, stdout};
use std::process::ExitCode;

use bigbatch_engine::{
    Aggregation, Answer, Chunking, Entity, LabelScore, Overlong, RequestError, Task, TokenScore,
    Truncate,
};
use clap::Args;
use serde::Serialize;

use super::options::{ModelOptions, VectorOptions};
use super::pipeline::{Pipeline, TextAnswer};
use super::terminal::{TerminalJson, escape};
use super::texts::TextOptions;
use super::{CommandResult, note};

/// Options of all four commands.
#[derive(Args)]
struct CommonOptions {
    #[command(flatten)]
    texts: TextOptions,
    #[command(flatten)]
    model: ModelOptions,
    /// Options of `embed` alone.
    #[arg(skip)]
    vectors: VectorOptions,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Cut texts that exceed the longest input; without it they are an error
    #[arg(long)]
    truncate: bool,
}

/// The option of the three commands that can merge the answers of windows.
#[derive(Args)]
struct ChunkOptions {
    /// Read texts in windows of SIZE tokens [default: the model's length]; each shares OVERLAP tokens with the
    /// one before, and MERGE (mean or max) combines the probabilities of labels
    #[arg(long, value_name = "SIZE[,OVERLAP[,MERGE]]", conflicts_with = "truncate", num_args = 0..=1,
        require_equals = true, default_missing_value = "")]
    chunk: Option<Chunking>,
}

/// Arguments of `classify`.
#[derive(Args)]
pub(crate) struct Classify {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    chunk: ChunkOptions,
    /// Print logits instead of probabilities
    #[arg(long)]
    raw_scores: bool,
    /// Print the K highest labels per text [default: 5; with --json, all]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Score each text as a pair with this query, for rerankers
    #[arg(long, value_name = "TEXT", conflicts_with = "chunk")]
    query: Option<String>,
}

/// Arguments of `tag`.
#[derive(Args)]
pub(crate) struct Tag {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    chunk: ChunkOptions,
    /// With --json, also print the label of every token, special tokens included; with --pair, of each text's tokens
    #[arg(long, conflicts_with = "aggregation_strategy")]
    all_tokens: bool,
    /// Read each text after this context; labels and offsets are those of the text, and --truncate cuts the context
    #[arg(long, value_name = "CONTEXT", visible_alias = "context", conflicts_with = "chunk")]
    pair: Option<String>,
    /// Find entities as the pipeline of transformers does: none, simple, first, average or max
    #[arg(long, value_name = "STRATEGY")]
    aggregation_strategy: Option<Aggregation>,
}

/// Arguments of `embed`.
#[derive(Args)]
pub(crate) struct Embed {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    chunk: ChunkOptions,
    #[command(flatten)]
    vectors: VectorOptions,
    /// Keep the length of the vectors that the model and its modules compute instead of scaling them to 1
    #[arg(long)]
    no_normalize: bool,
    /// Keep the first N dimensions, for Matryoshka models
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
}

/// Arguments of `fill-mask`.
#[derive(Args)]
pub(crate) struct FillMask {
    #[command(flatten)]
    common: CommonOptions,
    /// Candidates per mask
    #[arg(long, value_name = "K", default_value_t = 5)]
    top_k: usize,
}

pub(crate) fn classify(args: Classify) -> CommandResult {
    let task = Task::Classify { raw_scores: args.raw_scores };
    let default = if args.common.json { usize::MAX } else { DEFAULT_TOP_K };
    let top_k = args.top_k.map_or(default, |k| k as usize);
    run_task(args.common, args.chunk.chunk, task, args.query, Detail { top_k, all_tokens: false })
}

pub(crate) fn tag(args: Tag) -> CommandResult {
    let detail = Detail { all_tokens: args.all_tokens, ..Detail::default() };
    let task = match args.aggregation_strategy {
        None => Task::Tag,
        Some(strategy) => Task::Aggregate { strategy, ignore_labels: vec!["O".into()] },
    };
    run_task(args.common, args.chunk.chunk, task, args.pair, detail)
}

pub(crate) fn embed(args: Embed) -> CommandResult {
    let (normalize, dimensions) = (!args.no_normalize, args.dimensions);
    let task = Task::Embed { pooling: None, normalize, dimensions };
    let common = CommonOptions { vectors: args.vectors, ..args.common };
    run_task(common, args.chunk.chunk, task, None, Detail::default())
}

pub(crate) fn fill_mask(args: FillMask) -> CommandResult {
    let task = Task::FillMask { top_k: args.top_k };
    run_task(args.common, None, task, None, Detail::default())
}

/// Labels printed per text without `--json`: a person does not read 151 of them.
const DEFAULT_TOP_K: usize = 5;

/// How much of an answer to print.
#[derive(Clone, Copy, Default)]
struct Detail {
    /// Labels per text, of `classify`.
    top_k: usize,
    /// Whether to print the label of every token, of `tag --json`.
    all_tokens: bool,
}

/// Runs a task on all texts and prints their answers. After a text that fails, the answers of the texts before
/// it are still printed.
fn run_task(
    common: CommonOptions,
    chunk: Option<Chunking>,
    task: Task,
    first_text: Option<String>,
    detail: Detail,
) -> CommandResult {
    let engine = common.model.start_engine(task.kind(), &common.vectors)?;
    let overlong = match chunk {
        Some(chunking) => Overlong::Chunk(chunking),
        None if common.truncate => Overlong::Truncate(Truncate::Right),
        None => Overlong::Truncate(Truncate::No),
    };
    let mut pipeline = Pipeline::new(&engine, task, overlong, first_text);
    let mut out = BufWriter::new(stdout().lock());
    let (mut printed, mut cut) = (0, 0);
    let mut print = |answer: Result<TextAnswer, RequestError>| -> Result<(), Box<dyn Error>> {
        let answer = answer.map_err(|error| name_text(printed, error))?;
        if common.json {
            let mut json = serde_json::Serializer::with_formatter(&mut out, TerminalJson);
            json_line(printed, &answer, detail).serialize(&mut json).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            write_text(&mut out, &answer, detail)?;
        }
        printed += 1;
        cut += usize::from(answer.truncated);
        Ok(())
    };
    let mut failed = None;
    for (index, text) in common.texts.iter()?.enumerate() {
        let submitted =
            text.and_then(|text| pipeline.submit(text).map_err(|error| name_text(index, error)));
        if let Err(error) = submitted {
            failed = Some(error);
            break;
        }
        while pipeline.is_full()
            && let Some(oldest) = pipeline.pop_oldest()
        {
            print(oldest)?;
        }
    }
    while let Some(oldest) = pipeline.pop_oldest() {
        print(oldest)?;
    }
    out.flush()?;
    // JSON lines have a field for it.
    if cut > 0 && !common.json {
        note!("bigbatch: {cut} of {printed} texts were too long and were cut (--truncate)");
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Prefixes an error with the number of its text, from 1. A lost device keeps its type, which decides the
/// exit code.
fn name_text(index: usize, error: RequestError) -> Box<dyn Error> {
    match error {
        RequestError::DeviceLost(_) => error.into(),
        _ => format!("text {}: {error}", index + 1).into(),
    }
}

/// A line of `--json`. Scores stay f32, so that they print without the digits that f64 would add.
#[derive(Serialize)]
struct JsonLine<'a> {
    index: usize,
    tokens: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<usize>,
    #[serde(flatten)]
    answer: AnswerFields<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnswerFields<'a> {
    Labels {
        labels: Vec<LabelField<'a>>,
    },
    Tags {
        entities: Vec<EntityField<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token_labels: Option<Vec<&'a str>>,
    },
    Embedding {
        embedding: &'a [f32],
    },
    Masks {
        masks: Vec<Vec<TokenField<'a>>>,
    },
}

#[derive(Serialize)]
struct LabelField<'a> {
    label: &'a str,
    score: f32,
}

#[derive(Serialize)]
struct EntityField<'a> {
    label: &'a str,
    start: usize,
    end: usize,
    text: &'a str,
    score: f32,
}

#[derive(Serialize)]
struct TokenField<'a> {
    token: &'a str,
    id: u32,
    score: f32,
}

impl<'a> From<&'a LabelScore> for LabelField<'a> {
    fn from(LabelScore { label, score, .. }: &'a LabelScore) -> Self {
        LabelField { label, score: *score }
    }
}

impl<'a> From<&'a Entity> for EntityField<'a> {
    fn from(Entity { label, span, text, score }: &'a Entity) -> Self {
        EntityField { label, start: span.start, end: span.end, text, score: *score }
    }
}

impl<'a> From<&'a TokenScore> for TokenField<'a> {
    fn from(TokenScore { token, id, score }: &'a TokenScore) -> Self {
        TokenField { token, id: *id, score: *score }
    }
}

fn json_line(index: usize, text: &TextAnswer, detail: Detail) -> JsonLine<'_> {
    let answer = match &text.answer {
        Answer::Labels(labels) => AnswerFields::Labels {
            labels: labels.iter().take(detail.top_k).map(Into::into).collect(),
        },
        Answer::Tags { entities, token_labels } => AnswerFields::Tags {
            entities: entities.iter().map(Into::into).collect(),
            token_labels: detail
                .all_tokens
                .then(|| token_labels.iter().map(|l| l.label.as_str()).collect()),
        },
        Answer::Groups(groups) => AnswerFields::Tags {
            entities: groups.iter().map(|group| (&group.entity).into()).collect(),
            token_labels: None,
        },
        // No command requests one row per token.
        Answer::Rows { rows: vector, .. } | Answer::Embedding(vector) => {
            AnswerFields::Embedding { embedding: vector }
        }
        Answer::Masks(masks) => AnswerFields::Masks {
            masks: masks.iter().map(|mask| mask.iter().map(Into::into).collect()).collect(),
        },
    };
    let TextAnswer { tokens, truncated, chunks, .. } = *text;
    JsonLine { index, tokens, truncated, chunks, answer }
}

/// Writes one line per text, and one indented line per entity.
fn write_text(out: &mut dyn Write, text: &TextAnswer, detail: Detail) -> io::Result<()> {
    match &text.answer {
        Answer::Labels(labels) => {
            let labels = labels.iter().take(detail.top_k);
            let labels: Vec<String> =
                labels.map(|l| format!("{} {:.4}", escape(&l.label), l.score)).collect();
            writeln!(out, "{}", labels.join("  "))
        }
        Answer::Tags { entities, .. } => {
            write_entities(out, text.tokens, entities.iter().collect())
        }
        Answer::Groups(groups) => {
            write_entities(out, text.tokens, groups.iter().map(|group| &group.entity).collect())
        }
        Answer::Rows { rows: vector, .. } | Answer::Embedding(vector) => {
            serde_json::to_writer(&mut *out, vector)?;
            writeln!(out)
        }
        Answer::Masks(masks) => {
            let candidates = |mask: &Vec<TokenScore>| {
                let tokens = mask.iter().map(|t| format!("{:?} {:.4}", t.token, t.score));
                tokens.collect::<Vec<_>>().join("  ")
            };
            writeln!(out, "{}", masks.iter().map(candidates).collect::<Vec<_>>().join("  |  "))
        }
    }
}

fn write_entities(out: &mut dyn Write, tokens: usize, entities: Vec<&Entity>) -> io::Result<()> {
    writeln!(out, "{tokens} tokens, {} entities", entities.len())?;
    for Entity { label, span, text, score } in entities {
        let label = escape(label);
        writeln!(out, "  {label} {score:.4} [{}..{}) {text:?}", span.start, span.end)?;
    }
    Ok(())
}
