//! The number and weight of the time spans that contain a moment.

/// Spans of time, each with a weight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    starts: Vec<(u64, usize)>,
    ends: Vec<(u64, usize)>,
}

impl InFlight {
    /// Creates the spans from (start, end, weight); a span contains its start but not its end.
    pub(crate) fn new(spans: impl Iterator<Item = (u64, u64, usize)>) -> InFlight {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for (start, end, weight) in spans {
            starts.push((start, weight));
            ends.push((end, weight));
        }
        InFlight { starts: cumulated(starts), ends: cumulated(ends) }
    }

    /// Returns the number of spans that contain `at`, and the sum of their weights.
    pub(crate) fn at(&self, at: u64) -> (usize, usize) {
        let (started, begun) = until(&self.starts, at);
        let (ended, done) = until(&self.ends, at);
        (started - ended, begun - done)
    }
}

/// Sorts by time and replaces each weight by the sum up to it.
fn cumulated(mut moments: Vec<(u64, usize)>) -> Vec<(u64, usize)> {
    moments.sort_unstable();
    let mut sum = 0;
    for (_, weight) in &mut moments {
        sum += *weight;
        *weight = sum;
    }
    moments
}

fn until(moments: &[(u64, usize)], at: u64) -> (usize, usize) {
    let count = moments.partition_point(|(moment, _)| *moment <= at);
    (count, count.checked_sub(1).map_or(0, |last| moments[last].1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_from_their_start_until_before_their_end() {
        let spans = InFlight::new([(10, 20, 5), (15, 30, 7)].into_iter());
        let at: Vec<_> = [9, 10, 15, 19, 20, 30].into_iter().map(|at| spans.at(at)).collect();
        assert_eq!(at, [(0, 0), (1, 5), (2, 12), (2, 12), (1, 7), (0, 0)]);
        assert_eq!(InFlight::default().at(3), (0, 0));
    }
}
