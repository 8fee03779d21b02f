//! A running histogram of latencies for the progress bar. No figure of a report comes from it: those are
//! computed from the raw records.
//!
//! Adding takes a few instructions; a quantile is one pass over some hundred counts, however many requests
//! there are. A bucket is as wide as a 32nd of the power of two that it lies in, so a quantile is within
//! 1.6 % of a recorded value (the idea of Tene's HdrHistogram).

/// Buckets per power of two.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;

/// Counts of values by bucket.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Count per bucket, up to the bucket of the largest value.
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(super) fn new() -> Histogram {
        Histogram::default()
    }

    pub(super) fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// Returns the approximate quantile at `share` (0 to 1) by nearest rank; `None` without values.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(middle(at))
    }
}

/// Returns the bucket of a value: one per value below [`STEPS`], then by the highest bits.
fn bucket(value: u64) -> usize {
    let shift = value.max(1).ilog2().saturating_sub(STEP_BITS);
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// Returns the value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let low = (bucket - shift * STEPS) << shift;
    low + ((1u64 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_near_all_of_its_values() {
        let far = (0..64).map(|bits| (1u64 << bits) | ((1 << bits) / 3));
        for value in (0..5000).chain(far).chain([u64::MAX]) {
            let estimate = middle(bucket(value));
            assert!(estimate.abs_diff(value) as f64 <= 0.016 * value as f64, "{value} {estimate}");
        }
        assert!((0..100_000u64).map(bucket).is_sorted(), "larger values never lie before");
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).rev().for_each(|value| histogram.add(10 * value));
        for (share, exact) in [(0.5, 5000.0), (0.95, 9500.0), (1.0, 10_000.0), (0.0, 10.0)] {
            let estimate = histogram.quantile(share).expect("values") as f64;
            assert!((estimate / exact - 1.0).abs() < 0.016, "{share}: {estimate}");
        }
    }
}
