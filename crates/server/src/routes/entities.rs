//! Which entities a request asks for: the engine's own, or those of a strategy of `transformers`.
//!
//! `POST /` and `/tag` take the same fields and answer in shapes of their own.

use bigbatch_engine::{Aggregation, Answer, Entity, Group, Task};

use crate::error::Refusal;
use crate::jobs::Output;
use crate::wire::hub::HubEntity;

/// The label of tokens outside of entities, which is not returned by default.
const OUTSIDE: &str = "O";

/// The fields of a request on entities, checked.
pub(super) struct EntityChoice {
    strategy: Option<Aggregation>,
    ignore_labels: Vec<String>,
}

impl EntityChoice {
    /// Reads the fields.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unknown strategy, and for labels to ignore without `O` unless a strategy makes
    /// entities of it.
    pub(super) fn new(
        strategy: Option<&str>,
        ignore_labels: Option<Vec<String>>,
    ) -> Result<EntityChoice, Refusal> {
        let strategy = strategy.map(str::parse).transpose().map_err(Refusal::Invalid)?;
        let ignore_labels = ignore_labels.unwrap_or_else(|| vec![OUTSIDE.into()]);
        if strategy.is_none() && !ignore_labels.iter().any(|label| label == OUTSIDE) {
            return Err(Refusal::Invalid(
                "`ignore_labels` without \"O\" returns what is outside of entities, which needs an \
                 `aggregation_strategy`; add one, or \"O\""
                    .into(),
            ));
        }
        Ok(EntityChoice { strategy, ignore_labels })
    }

    /// Returns whether `transformers`' entities are asked for.
    pub(super) fn is_aggregated(&self) -> bool {
        self.strategy.is_some()
    }

    /// Returns the task that finds the entities.
    pub(super) fn task(&self) -> Task {
        match self.strategy {
            None => Task::Tag,
            Some(strategy) => {
                Task::Aggregate { strategy, ignore_labels: self.ignore_labels.clone() }
            }
        }
    }

    /// Takes the entities out of an output.
    pub(super) fn take_groups(&self, output: &mut Output) -> impl Iterator<Item = Group> {
        let whole = |entity: Entity| Group { word: entity.text.clone(), entity, index: None };
        let (entities, groups) = match &mut output.answer {
            Answer::Tags { entities, .. } => (std::mem::take(entities), Vec::new()),
            Answer::Groups(groups) => (Vec::new(), std::mem::take(groups)),
            _ => (Vec::new(), Vec::new()),
        };
        let ignored = |entity: &Entity| self.ignore_labels.contains(&entity.label);
        let entities = entities.into_iter().filter(move |entity| !ignored(entity));
        entities.map(whole).chain(groups)
    }
}

impl From<Group> for HubEntity {
    fn from(Group { entity, word, index }: Group) -> HubEntity {
        let Entity { label, span, score, .. } = entity;
        let (token, group) = match index {
            Some(_) => (Some(label), None),
            None => (None, Some(label)),
        };
        let (start, end) = (span.start, span.end);
        HubEntity { entity: token, entity_group: group, score, index, word, start, end }
    }
}
