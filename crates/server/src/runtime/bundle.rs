//! `POST /v1/bundle`: several requests in one exchange. Each has the status that it would have alone.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{Raw, field, object};
use super::surface::{Answer, Surface, SurfaceRequest, deadline};
use super::{classify, embeddings, rerank};
use crate::app::App;
use crate::error::Refusal;
use crate::wire::runtime::{self, RuntimeError};

/// Most tasks of a bundle.
pub(super) const TASKS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    tasks: Raw<'a>,
    #[serde(borrow)]
    options: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    deadline_ms: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskBody<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    classify: Raw<'a>,
    #[serde(borrow)]
    embeddings: Raw<'a>,
    #[serde(borrow)]
    rerank: Raw<'a>,
    #[serde(borrow)]
    decisions: Raw<'a>,
}

/// A task of a bundle, and its request if it is one.
pub(super) struct Task {
    pub(super) id: String,
    pub(super) request: Result<SurfaceRequest, Refusal>,
}

/// Checks a bundle.
///
/// # Errors
/// The bundle is malformed. What is wrong with a single task is in its place.
pub(super) fn prepare(app: &App, body: &RawValue) -> Result<Vec<Task>, Refusal> {
    let body: Body<'_> = object(body, "the body")?;
    let options: Options = match body.options {
        Some(options) => object(options, "`options`")?,
        None => Options::default(),
    };
    let limit = options.deadline_ms.map(deadline).transpose()?;
    let bodies: Vec<&RawValue> = field(body.tasks, "tasks")?.unwrap_or_default();
    if bodies.is_empty() {
        return Err(Refusal::Empty("`tasks` cannot be empty".into()));
    }
    if bodies.len() > TASKS_MAX {
        return Err(Refusal::TooLong(format!(
            "the bundle has {} tasks; the limit is {TASKS_MAX}",
            bodies.len()
        )));
    }
    let bodies = bodies.into_iter().map(|body| object(body, "a task"));
    let bodies: Vec<(String, Surface, &RawValue)> =
        bodies.map(|body| identify(body?)).collect::<Result<_, Refusal>>()?;
    let mut ids = HashSet::new();
    if let Some((id, ..)) = bodies.iter().find(|(id, ..)| !ids.insert(id.as_str())) {
        return Err(Refusal::Invalid(format!("two tasks have the id '{id}'")));
    }
    let task = |(id, surface, body): (String, Surface, &RawValue)| {
        let request = prepare_one(app, surface, body);
        Task { id, request: request.map(|request| with_deadline(request, limit)) }
    };
    Ok(bodies.into_iter().map(task).collect())
}

/// Returns the id of a task, its surface and the body for it.
fn identify(task: TaskBody<'_>) -> Result<(String, Surface, &RawValue), Refusal> {
    let id = field::<String>(task.id, "id")?.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Refusal::Shape("a task has no `id`, or an empty one".into()))?;
    let surfaces = [
        (Surface::Classify, task.classify),
        (Surface::Embeddings, task.embeddings),
        (Surface::Rerank, task.rerank),
        (Surface::Decisions, task.decisions),
    ];
    let mut given = surfaces.into_iter().filter_map(|(surface, body)| Some((surface, body?)));
    match (given.next(), given.next()) {
        (Some((surface, body)), None) if body.get().starts_with('{') => Ok((id, surface, body)),
        (Some((surface, _)), None) => {
            Err(Refusal::Shape(format!("`{}` of task '{id}' must be an object", surface.name())))
        }
        _ => Err(Refusal::Shape(format!(
            "task '{id}' must have exactly one of classify, embeddings, rerank and decisions"
        ))),
    }
}

/// Checks the request to one surface.
///
/// # Errors
/// The refusals of the surface.
pub(super) fn prepare_one(
    app: &App,
    surface: Surface,
    body: &RawValue,
) -> Result<SurfaceRequest, Refusal> {
    match surface {
        Surface::Classify => classify::prepare(app, body),
        Surface::Embeddings => embeddings::prepare(app, body),
        Surface::Rerank => rerank::prepare(app, body),
        Surface::Decisions => {
            Err(Refusal::WrongKind("no model of this server has the surface decisions".into()))
        }
    }
}

/// Gives a task the deadline of its bundle, unless its own is earlier.
fn with_deadline(mut request: SurfaceRequest, limit: Option<Duration>) -> SurfaceRequest {
    request.common.deadline = request.common.deadline.into_iter().chain(limit).min();
    request
}

/// The answer of a bundle.
#[derive(Debug, Serialize)]
pub(super) struct BundleAnswer {
    pub(super) results: Vec<TaskResult>,
}

/// The result of one task: the answer under the name of its surface, or an error.
#[derive(Debug, Serialize)]
pub(super) struct TaskResult {
    id: String,
    status: u16,
    #[serde(flatten)]
    result: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Classify(Answer),
    Embeddings(Answer),
    Rerank(Answer),
    Error(RuntimeError),
}

impl TaskResult {
    pub(super) fn new(id: String, result: Result<Answer, Refusal>) -> TaskResult {
        let (status, result) = match result {
            Ok(answer @ Answer::Classify(_)) => (200, Outcome::Classify(answer)),
            Ok(answer @ Answer::Embeddings(_)) => (200, Outcome::Embeddings(answer)),
            Ok(answer @ Answer::Rerank(_)) => (200, Outcome::Rerank(answer)),
            Err(refusal) => {
                (runtime::status(&refusal).as_u16(), Outcome::Error(runtime::error(&refusal)))
            }
        };
        TaskResult { id, status, result }
    }
}
