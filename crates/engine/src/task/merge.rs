//! Texts read in windows: the task of each window, and their answers merged into one.
//!
//! [`Chunks`] cuts the text and knows no task; this gives it the two methods that do. Submitting the windows is
//! the caller's, see [`crate::Response::merge`].

use std::ops::Range;

use super::{Answer, Task, aggregator};
use crate::error::RequestError;
use crate::model::{Model, to_unit_length};
use crate::text::aggregate::{Aggregation, Group, resolve_overlaps};
use crate::text::chunk::{Chunks, Merge, shares};
use crate::text::entities::{LabelScore, entities};

impl Chunks {
    /// Returns the task of each window, for a task on the whole text.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] for a task whose answers cannot be merged, and for a grounded classifier.
    pub fn task(model: &Model, task: &Task) -> Result<Task, RequestError> {
        if model.is_grounded() {
            return Err(RequestError::Invalid(
                "the model labels an answer after its context, which is not read in windows".into(),
            ));
        }
        match task {
            Task::Classify { .. } | Task::Tag => Ok(task.clone()),
            // Scaled once, after the mean. The dimensions are those of the whole text: without any, the model's own
            // number would hold for the windows.
            Task::Embed { pooling, dimensions, layer, .. } => Ok(Task::Embed {
                pooling: *pooling,
                normalize: false,
                dimensions: *dimensions,
                layer: *layer,
            }),
            Task::Aggregate { strategy: Aggregation::None, .. } => Err(RequestError::Invalid(
                "aggregation_strategy none is for texts read whole; choose simple, first, average or \
                 max for windows"
                    .into(),
            )),
            // Labels are joined after the windows' places are known, with the characters before each.
            Task::Aggregate { .. } => Ok(Task::TokenScores { raw_scores: false }),
            _ => Err(RequestError::Invalid(
                "chunks are for classification, tags and embeddings of whole texts".into(),
            )),
        }
    }

    /// Merges the windows' answers into the answer to the whole text. `task` is the one asked of the text, `model`
    /// the one that answered.
    ///
    /// # Panics
    /// Unless there is one answer per window, of the kind that [`Chunks::task`] asks for.
    pub fn merge(&self, model: &Model, task: &Task, answers: Vec<Answer>) -> Answer {
        assert_eq!(answers.len(), self.count(), "one answer per window");
        match task {
            Task::Tag => self.merge_tags(model, answers),
            Task::Aggregate { strategy, ignore_labels } => {
                Answer::Groups(self.merge_groups(model, *strategy, ignore_labels, answers))
            }
            Task::Embed { normalize, dimensions, .. } => {
                let mut vector = self.merge_vectors(answers);
                vector.truncate(dimensions.unwrap_or(vector.len()));
                if *normalize {
                    to_unit_length(&mut vector);
                }
                Answer::Embedding(vector)
            }
            _ => self.merge_labels(answers),
        }
    }

    fn merge_labels(&self, answers: Vec<Answer>) -> Answer {
        let count = answers.len() as f64;
        let mut merged: Vec<(LabelScore, f64)> = Vec::new();
        for answer in answers {
            let Answer::Labels(mut labels) = answer else { panic!("{OTHER_KIND}") };
            labels.sort_by_key(|label| label.id);
            if merged.is_empty() {
                merged = labels
                    .into_iter()
                    .map(|label| (label.clone(), f64::from(label.score)))
                    .collect();
                continue;
            }
            for ((_, score), label) in merged.iter_mut().zip(labels) {
                *score = match self.merge {
                    Merge::Mean => *score + f64::from(label.score),
                    Merge::Max => score.max(f64::from(label.score)),
                };
            }
        }
        let divisor = if self.merge == Merge::Mean { count } else { 1.0 };
        let score = |(label, score)| LabelScore { score: (score / divisor) as f32, ..label };
        let mut labels: Vec<LabelScore> = merged.into_iter().map(score).collect();
        labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        Answer::Labels(labels)
    }

    /// Merges the labels, then joins entities over all of them: an entity that the end of a window cuts in two
    /// is whole again, and one in an overlap appears once.
    fn merge_tags(&self, model: &Model, answers: Vec<Answer>) -> Answer {
        let before = self.frame.before.len();
        let last = answers.len() - 1;
        let mut token_labels = Vec::with_capacity(self.tokens());
        let shares = shares(&self.windows);
        for (n, answer) in answers.into_iter().enumerate() {
            let Answer::Tags { token_labels: mut own, .. } = answer else { panic!("{OTHER_KIND}") };
            let (window, share) = (&self.windows[n], &shares[n]);
            let first = if n == 0 { 0 } else { before + share.start - window.start };
            let end = if n == last { own.len() } else { before + share.end - window.start };
            token_labels.extend(own.drain(first..end));
        }
        let whole = self.frame.wrap(&self.bare, 0..self.bare.ids.len());
        let own = whole.own;
        let (labels, spans) = (&token_labels[own.clone()], &whole.spans[own]);
        let entities = entities(&self.text, &model.tags, labels, spans);
        Answer::Tags { entities, token_labels }
    }

    /// Finds the entities of each window, and of overlapping ones keeps the longest, as `transformers` does.
    fn merge_groups(
        &self,
        model: &Model,
        strategy: Aggregation,
        ignore_labels: &[String],
        answers: Vec<Answer>,
    ) -> Vec<Group> {
        let aggregator = aggregator(model, &self.text, strategy, ignore_labels);
        let of_window = |(answer, window): (Answer, &Range<usize>)| {
            let Answer::Rows { rows, .. } = answer else { panic!("{OTHER_KIND}") };
            aggregator.groups(&self.frame.wrap(&self.bare, window.clone()), &rows)
        };
        let groups = answers.into_iter().zip(&self.windows).flat_map(of_window).collect();
        if self.count() > 1 { resolve_overlaps(groups) } else { groups }
    }

    /// Returns the mean of the vectors, each window weighted by its tokens.
    fn merge_vectors(&self, answers: Vec<Answer>) -> Vec<f32> {
        let mut sums: Vec<f64> = Vec::new();
        let mut total = 0.0;
        for (answer, window) in answers.into_iter().zip(&self.windows) {
            let Answer::Embedding(vector) = answer else { panic!("{OTHER_KIND}") };
            let weight = (window.len() + self.frame.len()) as f64;
            sums.resize(vector.len(), 0.0);
            sums.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * f64::from(x));
            total += weight;
        }
        sums.into_iter().map(|sum| (sum / total) as f32).collect()
    }
}

const OTHER_KIND: &str = "an answer of another kind than the task asks for";
