//! How many tokens one batch should hold: as many as make its fixed cost small, no more.
//!
//! A batch costs something however small it is (launches, reading back). Beyond the size at which
//! that is 2 % of its time, larger batches win no throughput worth having, and everyone in them
//! waits longer. The size comes from the fitted model of batch times, and only within the sizes
//! that were measured.

use crate::analysis::scaling::BatchTimeModel;
use crate::format::{count, percent, time};
use crate::results::Results;
use crate::stats::Interval;

use crate::results::recommendation::{Advised, Recommendation, Setting, Support, Topic, Unit};

/// The share of a batch's time that its fixed cost may be.
const FIXED_SHARE: f64 = 0.02;
/// Sizes are rounded up to a multiple of this.
const STEP: usize = 1024;
/// Below this the model leaves much of the batch times unexplained.
const R2_MIN: f64 = 0.9;
/// A model that misses held-out cells by more than this predicts nothing.
const ERROR_PERCENT_MAX: f64 = 25.0;

pub(super) fn advise(results: &Results) -> Recommendation {
    let topic = Topic::BatchTokens;
    let scaling = &results.analysis.scaling;
    let Some(model) = &scaling.batch_time else {
        return Recommendation::missing(
            topic,
            "The target does not tell its batches and their times, or there were too few of them to fit \
             a model of what a batch costs.",
        );
    };
    let Some(held_out) = &scaling.held_out else {
        return Recommendation::missing(
            topic,
            "The model of batch times could not be checked on cells that it was not fitted to: the plan \
             has too few.",
        );
    };
    if held_out.error_percent_median > ERROR_PERCENT_MAX {
        return Recommendation::missing(
            topic,
            format!(
                "The model of batch times misses held-out cells by {:.0} % (median); advice needs \
                 {ERROR_PERCENT_MAX} % or less.",
                held_out.error_percent_median
            ),
        );
    }
    let Some((length, longest, seen)) = measured(results) else {
        return Recommendation::missing(topic, "No cell of a fixed length told its batches.");
    };
    let cap = results.target.max_batch_tokens.unwrap_or(seen);
    let fit = format!(
        "A batch takes {} + {:.3} µs a token + {:.4} ns a pair of tokens + {:.1} µs a sequence, fitted to \
         {} batches (R² {:.3}); throughput of held-out cells was missed by {:.1} % (median), {:.1} % at most.",
        time(model.base_ms),
        model.per_token_us,
        model.per_token_pair_ns,
        model.per_sequence_us,
        count(model.batches),
        model.r2,
        held_out.error_percent_median,
        held_out.error_percent_max
    );
    let within = smallest(model, length, seen.min(cap));
    let advised = within.unwrap_or(cap).max(longest.next_multiple_of(STEP)).min(cap);
    let share = model.base_ms / batch_ms(model, advised, length);
    let mut recommendation = Recommendation::new(
        topic,
        if within.is_some() && model.r2 >= R2_MIN { Support::Shown } else { Support::Partly },
        match within {
            Some(_) => format!(
                "Let a batch hold at most {} tokens: its fixed cost is then {} of its time, so a larger \
                 one would win little and make everyone in it wait longer.",
                count(advised),
                percent(share)
            ),
            None => format!(
                "Keep batches of up to {} tokens: throughput still grows with the size at the largest \
                 that was measured.",
                count(advised)
            ),
        },
    );
    recommendation.missing = within.is_none().then(|| {
        format!(
            "The largest mean batch measured, {} tokens, still spends more than {} of its time on its \
             fixed cost. A larger --max-batch-tokens or more clients would show where that ends.",
            count(seen),
            percent(FIXED_SHARE)
        )
    });
    if within.is_some() && model.r2 < R2_MIN {
        recommendation.missing = Some(format!(
            "The model explains only {} of the variance of batch times; a quieter machine, or more batches \
             of different sizes, would make it sharper.",
            percent(model.r2)
        ));
    }
    recommendation.evidence = vec![fit];
    recommendation.figure = Some(Advised {
        value: advised as f64,
        interval: Interval::default(),
        unit: Unit::Tokens,
        basis: "fitted model, checked on held-out cells".into(),
    });
    let comment = format!("fixed cost of a batch of {} tokens: {}", count(advised), percent(share));
    recommendation.settings.push(Setting::number("max_batch_tokens", advised as u64, comment));
    recommendation
}

/// (shortest length, longest length, tokens of the largest mean batch) of the cells that told.
fn measured(results: &Results) -> Option<(usize, usize, usize)> {
    let places = results.places();
    let told: Vec<(usize, f64)> = places
        .iter()
        .flat_map(|place| place.cells.iter().map(|(_, figures)| (place.tokens, figures)))
        .filter_map(|(tokens, figures)| Some((tokens, figures.batch_mean?.tokens)))
        .collect();
    let lengths = || told.iter().map(|&(tokens, _)| tokens);
    let most = told.iter().map(|&(_, tokens)| tokens).max_by(f64::total_cmp)?;
    Some((lengths().min()?, lengths().max()?, most.round() as usize))
}

/// Smallest size, in steps, whose fixed cost is small; none up to `most`.
fn smallest(model: &BatchTimeModel, length: usize, most: usize) -> Option<usize> {
    let sizes = (1..).map(|step| step * STEP).take_while(|&size| size <= most);
    let small = |size: &usize| model.base_ms <= FIXED_SHARE * batch_ms(model, *size, length);
    sizes.into_iter().find(small)
}

/// Predicted time of a batch of `size` tokens in sequences of `length`.
fn batch_ms(model: &BatchTimeModel, size: usize, length: usize) -> f64 {
    let tokens = size as f64;
    let pairs = tokens * length as f64;
    let sequences = (tokens / length as f64).max(1.0);
    model.batch_ms(sequences, tokens, pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_batch_with_a_small_fixed_cost() {
        let model = BatchTimeModel {
            base_ms: 1.0,
            per_token_us: 5.0,
            per_token_pair_ns: 0.0,
            per_sequence_us: 0.0,
            batches: 100,
            r2: 1.0,
            error_percent_median: 0.0,
        };
        // 1 ms is 2 % of 50 ms: 49 ms of tokens are 9800 of them.
        assert_eq!(smallest(&model, 1024, 65_536), Some(10_240));
        assert_eq!(smallest(&model, 1024, 8192), None, "nothing beyond what was measured");
    }
}
