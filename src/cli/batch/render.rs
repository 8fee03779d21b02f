//! The answer to a row, or why it has none, as text for a person, a JSON line, or a record of CSV.

use std::io::{self, Write};

use bigbatch_engine::{Answer, Entity, LabelScore, TaskKind, TextAnswer, TokenScore};
use clap::ValueEnum;
use csv::WriterBuilder;
use serde::Serialize;
use serde_json::Value;

use super::row::{Kept, Row, RowError};
use crate::cli::terminal::{TerminalJson, escape, escape_lines};

/// The formats of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// One line per text, for a person
    #[value(skip)]
    Text,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values under a header
    Csv,
}

/// How much of an answer to print.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Detail {
    /// Labels per text, of `classify`; `None`: 5 for a person, who does not read 151 of them, else all.
    pub(crate) top_k: Option<usize>,
    /// Whether to print the label of every token, of `tag`.
    pub(crate) all_tokens: bool,
}

/// Labels per text for a person.
const DEFAULT_TOP_K: usize = 5;

/// Renders rows.
pub(super) struct Renderer {
    pub(super) format: OutputFormat,
    pub(super) task: TaskKind,
    /// Whether texts are read in windows.
    pub(super) in_windows: bool,
    pub(super) detail: Detail,
    /// The kept columns, for CSV, whose records all have the same fields.
    pub(super) kept_names: Vec<String>,
    /// Whether a terminal shows the output, which fields of CSV must not control.
    pub(super) on_terminal: bool,
}

impl Renderer {
    /// Returns what comes before the first row.
    pub(super) fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = Vec::new();
        if self.format == OutputFormat::Csv {
            let mut names = vec!["index".to_owned()];
            names.extend(self.kept_names.iter().cloned());
            names.extend(["line", "tokens", "truncated"].map(str::to_owned));
            names.extend(self.in_windows.then(|| "chunks".to_owned()));
            names.extend(self.answer_names().iter().map(|name| name.to_string()));
            names.extend(["error", "error_kind"].map(str::to_owned));
            self.write_record(&mut header, names)?;
        }
        Ok(header)
    }

    fn answer_names(&self) -> &'static [&'static str] {
        match self.task {
            TaskKind::Classify => &["label", "score", "labels"],
            TaskKind::Tag if self.detail.all_tokens => &["entities", "token_labels"],
            TaskKind::Tag => &["entities"],
            TaskKind::Embed => &["embedding"],
            TaskKind::FillMask => &["masks"],
        }
    }

    /// Renders a row with its line end.
    pub(super) fn row(
        &self,
        out: &mut Vec<u8>,
        row: &Row,
        outcome: Result<&TextAnswer, &RowError>,
    ) -> io::Result<()> {
        match (self.format, outcome) {
            (OutputFormat::Text, Ok(answer)) => write_text(out, answer, self.top_k()),
            (OutputFormat::Text, Err(error)) => writeln!(out, "error: {}", escape(&error.reason)),
            (OutputFormat::Jsonl, Ok(answer)) => {
                let TextAnswer { tokens, truncated, chunks, .. } = *answer;
                let (index, kept) = (row.index, &row.kept);
                let answer = self.fields(answer);
                write_json(out, &AnswerLine { index, kept, tokens, truncated, chunks, answer })
            }
            (OutputFormat::Jsonl, Err(error)) => {
                let Row { index, line, ref kept } = *row;
                let (error, error_kind) = (&error.reason, error.kind.to_string());
                write_json(out, &ErrorLine { index, line, kept, error, error_kind })
            }
            (OutputFormat::Csv, outcome) => self.write_record(out, self.record(row, outcome)?),
        }
    }

    fn top_k(&self) -> usize {
        let default = match self.format {
            OutputFormat::Text => DEFAULT_TOP_K,
            OutputFormat::Jsonl | OutputFormat::Csv => usize::MAX,
        };
        self.detail.top_k.unwrap_or(default)
    }

    /// Returns the fields of a record in the order of the header.
    fn record(
        &self,
        row: &Row,
        outcome: Result<&TextAnswer, &RowError>,
    ) -> io::Result<Vec<String>> {
        let mut record = vec![row.index.to_string()];
        let kept = |name: &String| row.kept.0.iter().find(|(kept, _)| **kept == **name);
        record.extend(self.kept_names.iter().map(|name| kept(name).map_or_else(String::new, cell)));
        match outcome {
            Ok(answer) => {
                record.extend([String::new(), answer.tokens.to_string()]);
                record.push(answer.truncated.to_string());
                record.extend(answer.chunks.map(|chunks| chunks.to_string()));
                record.extend(self.fields(answer).cells()?);
                record.extend([String::new(), String::new()]);
            }
            Err(error) => {
                record.push(row.line.map_or_else(String::new, |line| line.to_string()));
                let empty = 2 + usize::from(self.in_windows) + self.answer_names().len();
                record.extend(std::iter::repeat_n(String::new(), empty));
                record.extend([error.reason.clone(), error.kind.to_string()]);
            }
        }
        Ok(record)
    }

    fn write_record(&self, out: &mut Vec<u8>, mut record: Vec<String>) -> io::Result<()> {
        if self.on_terminal {
            record.iter_mut().for_each(|field| *field = escape_lines(field).into_owned());
        }
        let mut csv = WriterBuilder::new().buffer_capacity(1 << 10).from_writer(out);
        csv.write_record(record)?;
        csv.flush()
    }

    fn fields<'a>(&self, answer: &'a TextAnswer) -> AnswerFields<'a> {
        match &answer.answer {
            Answer::Labels(labels) => AnswerFields::Labels {
                labels: labels.iter().take(self.top_k()).map(Into::into).collect(),
            },
            Answer::Tags { entities, token_labels } => AnswerFields::Tags {
                entities: entities.iter().map(Into::into).collect(),
                token_labels: self
                    .detail
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
        }
    }
}

/// Returns a kept value as a field of CSV: strings as they are, null as nothing, the rest as JSON.
fn cell((_, value): &(std::sync::Arc<str>, Value)) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn write_json(out: &mut Vec<u8>, line: &impl Serialize) -> io::Result<()> {
    let mut json = serde_json::Serializer::with_formatter(&mut *out, TerminalJson);
    line.serialize(&mut json)?;
    writeln!(out)
}

/// A JSON line. Scores stay f32, so that they print without the digits that f64 would add.
#[derive(Serialize)]
struct AnswerLine<'a> {
    index: usize,
    #[serde(flatten)]
    kept: &'a Kept,
    tokens: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<usize>,
    #[serde(flatten)]
    answer: AnswerFields<'a>,
}

/// A JSON line of a row without an answer.
#[derive(Serialize)]
struct ErrorLine<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(flatten)]
    kept: &'a Kept,
    error: &'a str,
    error_kind: String,
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

impl AnswerFields<'_> {
    /// Returns the fields of a record of CSV; lists are JSON.
    fn cells(&self) -> serde_json::Result<Vec<String>> {
        Ok(match self {
            AnswerFields::Labels { labels } => {
                let best = labels.first();
                let label = best.map_or_else(String::new, |best| best.label.to_owned());
                let score = best.map(|best| serde_json::to_string(&best.score)).transpose()?;
                vec![label, score.unwrap_or_default(), serde_json::to_string(labels)?]
            }
            AnswerFields::Tags { entities, token_labels } => {
                let labels = token_labels.as_ref().map(serde_json::to_string).transpose()?;
                std::iter::once(serde_json::to_string(entities)?).chain(labels).collect()
            }
            AnswerFields::Embedding { embedding } => vec![serde_json::to_string(embedding)?],
            AnswerFields::Masks { masks } => vec![serde_json::to_string(masks)?],
        })
    }
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

/// Writes one line per text, and one indented line per entity.
fn write_text(out: &mut Vec<u8>, text: &TextAnswer, top_k: usize) -> io::Result<()> {
    match &text.answer {
        Answer::Labels(labels) => {
            let labels = labels.iter().take(top_k);
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

fn write_entities(out: &mut Vec<u8>, tokens: usize, entities: Vec<&Entity>) -> io::Result<()> {
    let noun = if entities.len() == 1 { "entity" } else { "entities" };
    writeln!(out, "{tokens} tokens, {} {noun}", entities.len())?;
    for Entity { label, span, text, score } in entities {
        let label = escape(label);
        writeln!(out, "  {label} {score:.4} [{}..{}) {text:?}", span.start, span.end)?;
    }
    Ok(())
}
