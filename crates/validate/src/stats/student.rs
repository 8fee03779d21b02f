//! Tail probabilities of Student's t and of the normal distribution.

use std::f64::consts::FRAC_2_PI;

/// Returns P(T > t) of Student's t with a whole number of degrees of freedom.
///
/// The finite series of Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3-4.
pub(crate) fn upper_tail(t: f64, degrees: usize) -> f64 {
    if degrees == 0 || !t.is_finite() {
        return if t > 0.0 && degrees > 0 { 0.0 } else { 0.5 };
    }
    let angle = (t.abs() / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let mut term = if degrees % 2 == 1 { cosine } else { 1.0 };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    let mut k = 2 + degrees % 2;
    while k <= degrees.saturating_sub(2) {
        term *= cosine * cosine * (k - 1) as f64 / k as f64;
        sum += term;
        k += 2;
    }
    let within = if degrees % 2 == 1 { FRAC_2_PI * (angle + sine * sum) } else { sine * sum };
    let tail = (1.0 - within) / 2.0;
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// Returns the t that is exceeded with probability `tail`, which is below one half.
pub(crate) fn critical(tail: f64, degrees: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while upper_tail(high, degrees) > tail && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if upper_tail(middle, degrees) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Returns P(|Z| > z) of the standard normal distribution, with an error of at most 1.5e-7.
///
/// Abramowitz and Stegun, 7.1.26.
pub(crate) fn normal_two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    polynomial * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_printed_tables() {
        for (degrees, tail, t) in [
            (1, 0.025, 12.706),
            (2, 0.025, 4.303),
            (3, 0.05, 2.353),
            (4, 0.025, 2.776),
            (5, 0.005, 4.032),
            (8, 0.025, 2.306),
            (29, 0.025, 2.045),
            (120, 0.025, 1.980),
        ] {
            let found = critical(tail, degrees);
            assert!((found - t).abs() < 6e-4, "{degrees} {tail}: {found}");
            assert!((upper_tail(-found, degrees) - (1.0 - tail)).abs() < 1e-9);
        }
        assert!((normal_two_sided(1.959_964) - 0.05).abs() < 1e-6);
        assert!((normal_two_sided(-2.575_829) - 0.01).abs() < 1e-6);
    }
}
