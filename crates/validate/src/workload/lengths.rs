//! Lengths drawn from a mixture, one per request.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::plan::{LengthComponent, LengthDist};
use crate::system::TokenCounter;

/// Draws outside the ends of a distribution before the nearer end is used.
const DRAWS_MAX: usize = 1000;

/// A mixture of lengths whose documents have been read and counted.
#[derive(Debug, Clone)]
pub(crate) struct Mixture {
    /// Components, each with the sum of the weights up to and including its own.
    parts: Vec<(f64, Component)>,
}

#[derive(Debug, Clone)]
enum Component {
    Fixed(usize),
    LogNormal { ln_median: f64, sigma: f64, min: usize, max: usize },
    Documents(Vec<usize>),
}

impl Mixture {
    /// Reads and counts the documents that `parts` name. Relative paths start at `folder`.
    pub(crate) fn new(
        parts: &[LengthComponent],
        folder: &Path,
        counter: &dyn TokenCounter,
    ) -> Result<Mixture, Error> {
        let mut sum = 0.0;
        let part = |weighted: &LengthComponent| {
            sum += weighted.weight;
            let part = match &weighted.lengths {
                LengthDist::Fixed(tokens) => Component::Fixed(*tokens),
                &LengthDist::LogNormal { median, sigma, min, max } => {
                    Component::LogNormal { ln_median: median.ln(), sigma, min, max }
                }
                LengthDist::Documents { path, max } => {
                    Component::Documents(document_lengths(&folder.join(path), *max, counter)?)
                }
            };
            Ok((sum, part))
        };
        Ok(Mixture { parts: parts.iter().map(part).collect::<Result<_, Error>>()? })
    }

    /// Returns the longest length that can be drawn, in tokens.
    pub(crate) fn longest(&self) -> usize {
        let longest = |(_, part): &(f64, Component)| match part {
            Component::Fixed(tokens) => *tokens,
            Component::LogNormal { max, .. } => *max,
            Component::Documents(lengths) => lengths.iter().copied().max().unwrap_or(0),
        };
        self.parts.iter().map(longest).max().unwrap_or(0)
    }

    /// Draws the length of one request, in tokens.
    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let total = self.parts.last().map_or(0.0, |&(sum, _)| sum);
        let at = random.f64() * total;
        let index = self.parts.partition_point(|&(sum, _)| sum <= at);
        match &self.parts[index.min(self.parts.len() - 1)].1 {
            Component::Fixed(tokens) => *tokens,
            Component::Documents(lengths) => lengths[random.usize(..lengths.len())],
            &Component::LogNormal { ln_median, sigma, min, max } => {
                let mut tokens = 0;
                for _ in 0..DRAWS_MAX {
                    tokens = (ln_median + sigma * normal(random)).exp().round() as usize;
                    if (min..=max).contains(&tokens) {
                        break;
                    }
                }
                tokens.clamp(min, max)
            }
        }
    }
}

/// Counts the tokens of the user's documents, each at most `max`.
fn document_lengths(
    path: &Path,
    max: usize,
    counter: &dyn TokenCounter,
) -> Result<Vec<usize>, Error> {
    let unreadable = |source| Error::DocumentsUnreadable { path: path.to_owned(), source };
    let mut texts = Vec::new();
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|extension| extension == "txt") {
                texts.push((file.clone(), fs::read_to_string(&file).map_err(unreadable)?));
            }
        }
        texts.sort();
    } else {
        let whole = fs::read_to_string(path).map_err(unreadable)?;
        texts.extend(whole.lines().map(|line| (path.to_owned(), line.to_owned())));
    }
    let lengths: Vec<usize> = texts
        .iter()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(_, text)| counter.count(text).min(max))
        .collect();
    if lengths.is_empty() {
        return Err(Error::DocumentsEmpty { path: path.to_owned() });
    }
    Ok(lengths)
}

/// Draws a standard normal variate (Box and Muller 1958).
pub(crate) fn normal(random: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (TAU * random.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes;

    impl TokenCounter for Bytes {
        fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
            (0..text.len()).map(|at| (at, at + 1)).collect()
        }
        fn count(&self, text: &str) -> usize {
            text.len()
        }
    }

    fn drawn(parts: &[(f64, LengthDist)], count: usize) -> Vec<usize> {
        let parts: Vec<LengthComponent> = parts
            .iter()
            .map(|(weight, lengths)| LengthComponent { weight: *weight, lengths: lengths.clone() })
            .collect();
        let mixture = Mixture::new(&parts, Path::new(""), &Bytes).expect("no files");
        let mut random = fastrand::Rng::with_seed(5);
        (0..count).map(|_| mixture.draw(&mut random)).collect()
    }

    #[test]
    fn parts_come_as_often_as_their_weights_say() {
        let parts = [(3.0, LengthDist::Fixed(10)), (1.0, LengthDist::Fixed(20))];
        let lengths = drawn(&parts, 40_000);
        let tens = lengths.iter().filter(|&&tokens| tokens == 10).count();
        assert!((tens as f64 / 40_000.0 - 0.75).abs() < 0.01, "{tens}");
    }

    #[test]
    fn a_log_normal_has_its_median_its_spread_and_its_ends() {
        let wide = LengthDist::LogNormal { median: 400.0, sigma: 0.8, min: 1, max: 1 << 20 };
        let mut lengths = drawn(&[(1.0, wide)], 40_000);
        lengths.sort_unstable();
        let at = |share: f64| lengths[(share * 40_000.0) as usize] as f64;
        assert!((at(0.5) / 400.0 - 1.0).abs() < 0.03, "{}", at(0.5));
        // One standard deviation of the logarithm above the median.
        assert!((at(0.8413) / at(0.5)).ln() - 0.8 < 0.03, "{}", at(0.8413));
        let cut = LengthDist::LogNormal { median: 400.0, sigma: 2.0, min: 300, max: 500 };
        assert!(drawn(&[(1.0, cut)], 1000).iter().all(|tokens| (300..=500).contains(tokens)));
        let narrow = LengthDist::LogNormal { median: 400.0, sigma: 4.0, min: 400, max: 400 };
        assert!(drawn(&[(1.0, narrow)], 10).iter().all(|&tokens| tokens == 400));
    }

    #[test]
    fn documents_give_their_own_lengths() {
        let folder = std::env::temp_dir().join(format!("bigbatch-lengths-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("writable");
        for (name, text) in [("a.txt", "12345"), ("b.txt", "1234567890"), ("c.md", "1")] {
            fs::write(folder.join(name), text).expect("writable");
        }
        fs::write(folder.join("lines.jsonl"), "123\n\n1234\n").expect("writable");
        let of = |path: &str| {
            let lengths = LengthDist::Documents { path: path.into(), max: 8 };
            let parts = [LengthComponent { weight: 1.0, lengths }];
            let mixture = Mixture::new(&parts, &folder, &Bytes).expect("readable");
            let mut random = fastrand::Rng::with_seed(5);
            let mut found: Vec<usize> = (0..100).map(|_| mixture.draw(&mut random)).collect();
            found.sort_unstable();
            found.dedup();
            (mixture.longest(), found)
        };
        assert_eq!(of(""), (8, vec![5, 8]));
        assert_eq!(of("lines.jsonl"), (4, vec![3, 4]));
        let missing = LengthComponent {
            weight: 1.0,
            lengths: LengthDist::Documents { path: "none".into(), max: 8 },
        };
        let error = Mixture::new(&[missing], &folder, &Bytes).expect_err("missing").to_string();
        assert!(error.contains("none") && error.lines().count() == 1, "{error}");
        fs::remove_dir_all(&folder).expect("removable");
    }
}
