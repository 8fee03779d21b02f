//! Latency by the length of the input: whether short inputs wait for long ones shows only apart.

use super::histogram::{Histogram, Snapshot};

/// Upper ends of the classes of lengths, in tokens; the last class has none.
pub(crate) const LENGTH_CLASSES: [usize; 3] = [512, 2048, 8192];

/// Seconds from submission to response, per class of lengths.
#[derive(Debug)]
pub struct SecondsByLength([Histogram; LENGTH_CLASSES.len() + 1]);

impl SecondsByLength {
    pub(super) fn new() -> SecondsByLength {
        SecondsByLength(std::array::from_fn(|_| Histogram::seconds()))
    }

    pub(super) fn record(&self, tokens: usize, seconds: f64) {
        self.0[LENGTH_CLASSES.partition_point(|&max| max < tokens)].record(seconds);
    }

    /// Copies the content of all classes together.
    pub fn snapshot(&self) -> Snapshot {
        let [first, others @ ..] = &self.0;
        others.iter().fold(first.snapshot(), |all, one| all.and(&one.snapshot()))
    }

    /// Copies the content of each class, with the tokens of its longest inputs; the last has no such limit.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (Option<usize>, Snapshot)> {
        let ends = LENGTH_CLASSES.into_iter().map(Some).chain([None]);
        ends.zip(self.0.iter().map(Histogram::snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_end_where_they_say_and_add_up() {
        let seconds = SecondsByLength::new();
        for tokens in [1, 512, 513, 2048, 8192, 8193, 65_536] {
            seconds.record(tokens, 0.5);
        }
        let counts: Vec<_> = seconds.classes().map(|(end, one)| (end, one.count())).collect();
        assert_eq!(counts, [(Some(512), 2), (Some(2048), 2), (Some(8192), 1), (None, 2)]);
        let all = seconds.snapshot();
        assert_eq!((all.count(), all.sum()), (7, 3.5));
    }
}
