//! `classify`, `tag`, `embed`, `fill-mask`: texts in, one answer a text out, in the order of the input.

use std::error::Error;
use std::io::{self, BufWriter, Write, stdout};
use std::process::ExitCode;

use bigbatch_engine::{
    Answer, Chunking, Entity, LabelScore, Overlong, Pooling, RequestError, Response, Task,
    TokenScore, Truncate,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Outcome;
use super::in_flight::{InFlight, Read};
use super::options::ModelOptions;
use super::texts::TextOptions;

#[derive(Args)]
struct Common {
    #[command(flatten)]
    texts: TextOptions,
    #[command(flatten)]
    model: ModelOptions,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Cut texts that are too long instead of refusing them
    #[arg(long)]
    truncate: bool,
}

#[derive(Args)]
struct Chunk {
    /// Read texts in windows of SIZE tokens [default: the model's length], each sharing OVERLAP with the one
    /// before; labels' probabilities become their mean, or max
    #[arg(long, value_name = "SIZE[,OVERLAP[,MERGE]]", conflicts_with = "truncate", num_args = 0..=1,
        require_equals = true, default_missing_value = "")]
    chunk: Option<Chunking>,
}

/// Arguments of `classify`.
#[derive(Args)]
pub(crate) struct Classify {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    chunk: Chunk,
    /// Logits instead of probabilities
    #[arg(long)]
    raw_scores: bool,
    /// Labels printed, highest first [default: 5, or with --json all]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Read each text together with this query: reranking
    #[arg(long, value_name = "TEXT", conflicts_with = "chunk")]
    query: Option<String>,
}

/// Arguments of `tag`.
#[derive(Args)]
pub(crate) struct Tag {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    chunk: Chunk,
    /// The label of every token too, special ones included (with --json)
    #[arg(long)]
    all_tokens: bool,
}

/// Arguments of `embed`.
#[derive(Args)]
pub(crate) struct Embed {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    chunk: Chunk,
    /// Pooling [default: as 1_Pooling/config.json says, else mean]
    #[arg(long, value_enum)]
    pooling: Option<PoolingChoice>,
    /// Leave the vectors at their own length
    #[arg(long)]
    no_normalize: bool,
    /// Keep the first N dimensions (Matryoshka)
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PoolingChoice {
    Mean,
    Cls,
}

/// Arguments of `fill-mask`.
#[derive(Args)]
pub(crate) struct FillMask {
    #[command(flatten)]
    common: Common,
    /// Candidates for each mask
    #[arg(long, value_name = "K", default_value_t = 5)]
    top_k: usize,
}

pub(crate) fn classify(args: Classify) -> Outcome {
    let task = Task::Classify { raw_scores: args.raw_scores };
    let all = if args.common.json { usize::MAX } else { LABELS_FOR_EYES };
    let shown = Shown { labels: args.top_k.map_or(all, |k| k as usize), ..Shown::default() };
    answer_all(args.common, args.chunk.chunk, task, args.query, shown)
}

pub(crate) fn tag(args: Tag) -> Outcome {
    let shown = Shown { all_tokens: args.all_tokens, ..Shown::default() };
    answer_all(args.common, args.chunk.chunk, Task::Tag, None, shown)
}

pub(crate) fn embed(args: Embed) -> Outcome {
    let pooling = args.pooling.map(|pooling| match pooling {
        PoolingChoice::Mean => Pooling::Mean,
        PoolingChoice::Cls => Pooling::Cls,
    });
    let (normalize, dimensions) = (!args.no_normalize, args.dimensions);
    let task = Task::Embed { pooling, normalize, dimensions };
    answer_all(args.common, args.chunk.chunk, task, None, Shown::default())
}

pub(crate) fn fill_mask(args: FillMask) -> Outcome {
    let task = Task::FillMask { top_k: args.top_k };
    answer_all(args.common, None, task, None, Shown::default())
}

/// More than this many labels are no answer that is read.
const LABELS_FOR_EYES: usize = 5;

/// How much of an answer is printed.
#[derive(Clone, Copy, Default)]
struct Shown {
    /// Labels of a text.
    labels: usize,
    /// The label of every token too.
    all_tokens: bool,
}

/// Keeps the engine busy and prints answers in order.
fn answer_all(
    common: Common,
    chunk: Option<Chunking>,
    task: Task,
    query: Option<String>,
    shown: Shown,
) -> Outcome {
    let engine = common.model.engine(task.kind())?;
    let overlong = match chunk {
        Some(chunking) => Overlong::Chunk(chunking),
        None if common.truncate => Overlong::Truncate(Truncate::Right),
        None => Overlong::Truncate(Truncate::No),
    };
    let mut in_flight = InFlight::new(&engine, task, overlong, query);
    let mut out = BufWriter::new(stdout().lock());
    let (mut printed, mut cut) = (0, 0);
    let mut print = |read: Result<Read, RequestError>| -> Result<(), Box<dyn Error>> {
        let read = read.map_err(|error| in_text(printed, error))?;
        if common.json {
            serde_json::to_writer(&mut out, &line(printed, &read, shown))
                .map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            write_plain(&mut out, &read.response, shown)?;
        }
        printed += 1;
        cut += usize::from(read.response.truncated);
        Ok(())
    };
    let mut failed = None;
    for (index, text) in common.texts.iter()?.enumerate() {
        let submitted =
            text.and_then(|text| in_flight.submit(text).map_err(|error| in_text(index, error)));
        if let Err(error) = submitted {
            failed = Some(error);
            break;
        }
        while in_flight.is_full()
            && let Some(oldest) = in_flight.oldest()
        {
            print(oldest)?;
        }
    }
    // What came before a bad text is answered all the same.
    while let Some(oldest) = in_flight.oldest() {
        print(oldest)?;
    }
    out.flush()?;
    // Lines for eyes have no field that says so.
    if cut > 0 && !common.json {
        eprintln!("bigbatch: {cut} of {printed} texts were too long and are cut (--truncate)");
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Names the text, counted from one, unless the fault is the device's.
fn in_text(index: usize, error: RequestError) -> Box<dyn Error> {
    match error {
        RequestError::DeviceLost(_) => error.into(),
        _ => format!("text {}: {error}", index + 1).into(),
    }
}

/// A line of `--json`. Floats stay f32, so that they print with no more digits than they have.
#[derive(Serialize)]
struct Line<'a> {
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

fn line(index: usize, read: &Read, shown: Shown) -> Line<'_> {
    let answer = match &read.response.answer {
        Answer::Labels(labels) => AnswerFields::Labels {
            labels: labels.iter().take(shown.labels).map(Into::into).collect(),
        },
        Answer::Tags { entities, token_labels } => AnswerFields::Tags {
            entities: entities.iter().map(Into::into).collect(),
            token_labels: shown
                .all_tokens
                .then(|| token_labels.iter().map(|l| l.label.as_str()).collect()),
        },
        // No command asks for rows of tokens.
        Answer::Rows { rows: vector, .. } | Answer::Embedding(vector) => {
            AnswerFields::Embedding { embedding: vector }
        }
        Answer::Masks(masks) => AnswerFields::Masks {
            masks: masks.iter().map(|mask| mask.iter().map(Into::into).collect()).collect(),
        },
    };
    let Response { tokens, truncated, .. } = read.response;
    Line { index, tokens, truncated, chunks: read.chunks, answer }
}

/// For eyes: a line a text, or an indented line an entity.
fn write_plain(out: &mut dyn Write, response: &Response, shown: Shown) -> std::io::Result<()> {
    match &response.answer {
        Answer::Labels(labels) => {
            let labels = labels.iter().take(shown.labels);
            let labels: Vec<String> =
                labels.map(|l| format!("{} {:.4}", l.label, l.score)).collect();
            writeln!(out, "{}", labels.join("  "))
        }
        Answer::Tags { entities, .. } => {
            writeln!(out, "{} tokens, {} entities", response.tokens, entities.len())?;
            for Entity { label, span, text, score } in entities {
                writeln!(out, "  {label} {score:.4} [{}..{}) {text:?}", span.start, span.end)?;
            }
            Ok(())
        }
        Answer::Rows { rows: vector, .. } | Answer::Embedding(vector) => {
            serde_json::to_writer(&mut *out, vector)?;
            writeln!(out)
        }
        Answer::Masks(masks) => {
            let shown = |mask: &Vec<TokenScore>| {
                let tokens = mask.iter().map(|t| format!("{:?} {:.4}", t.token, t.score));
                tokens.collect::<Vec<_>>().join("  ")
            };
            writeln!(out, "{}", masks.iter().map(shown).collect::<Vec<_>>().join("  |  "))
        }
    }
}
