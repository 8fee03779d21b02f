//! The search along one axis: doubles the value until it fails, then halves the gap between the last value
//! that worked and the first that failed. A pure state machine: probes are sent in `mod.rs`.

/// The state of a search along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct AxisSearch {
    /// Last value known to work.
    works: u64,
    /// First value known to fail.
    refused: Option<u64>,
    /// Last value that is tried.
    limit: u64,
    /// Gap that ends the search, as a share of the value that works; at least 1.
    resolution: f64,
}

impl AxisSearch {
    /// Starts a search from a value known to work, up or down to `limit`.
    pub(super) fn new(works: u64, limit: u64, resolution: f64) -> AxisSearch {
        AxisSearch { works, refused: None, limit, resolution }
    }

    /// Returns the next value to try; `None` once the gap is within the resolution, or the limit works.
    pub(super) fn next(&self) -> Option<u64> {
        let up = self.limit >= self.works;
        match self.refused {
            None if self.works == self.limit => None,
            None if up => Some(self.works.saturating_mul(2).min(self.limit)),
            None => Some((self.works / 2).max(self.limit)),
            Some(refused) => {
                let gap = refused.abs_diff(self.works);
                if gap as f64 <= (self.resolution * self.works as f64).max(1.0) {
                    return None;
                }
                Some(refused.min(self.works) + gap / 2)
            }
        }
    }

    /// Records the result of trying `value`.
    pub(super) fn record(&mut self, value: u64, works: bool) {
        if works {
            self.works = value;
        } else {
            self.refused = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut search: AxisSearch, holds: impl Fn(u64) -> bool) -> (AxisSearch, usize) {
        let mut tries = 0;
        while let Some(value) = search.next() {
            search.record(value, holds(value));
            tries += 1;
            assert!(tries < 100, "{search:?} does not end");
        }
        (search, tries)
    }

    #[test]
    fn an_edge_upwards_is_found_exactly() {
        for edge in [1, 2, 7, 512, 8191, 8192] {
            let (found, tries) = run(AxisSearch::new(1, 1 << 20, 0.0), |value| value <= edge);
            assert_eq!((found.works, found.refused), (edge, Some(edge + 1)));
            assert!(tries <= 28, "{tries}");
        }
    }

    #[test]
    fn an_edge_downwards_is_found_within_the_resolution() {
        let edge = 777_777_777;
        let (found, _) = run(AxisSearch::new(2 << 30, 1, 0.01), |value| value >= edge);
        let refused = found.refused.unwrap();
        assert!(refused < edge && edge <= found.works, "{found:?}");
        assert!((found.works - refused) as f64 <= 0.01 * found.works as f64, "{found:?}");
    }

    #[test]
    fn a_limit_that_works_ends_the_search() {
        let (found, _) = run(AxisSearch::new(3, 100, 0.0), |_| true);
        assert_eq!((found.works, found.refused), (100, None));
        let (found, _) = run(AxisSearch::new(100, 3, 0.0), |_| true);
        assert_eq!((found.works, found.refused), (3, None));
    }
}
