//! exp and erf in f32, as straight-line code that vectorises.

/// e^x for x <= 0, within 2 ulp; 0 below -87.
///
/// Cody-Waite reduction to [-ln2/2, ln2/2], a degree-6 Taylor-Horner polynomial, and the power of two
/// through the exponent's bits.
#[inline(always)]
pub(super) fn exp_nonpositive(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 x 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.max(-87.0);
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { p * power }
}

/// erf(x) as x P(x^2) / Q(x^2) on [-3.925, 3.925], +-1 beyond: absolute error below 5e-7.
///
/// The coefficients are a minimax fit of relative error 5.3e-8 by reweighted least squares.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    const EDGE: f32 = 3.925;
    let x = x.clamp(-EDGE, EDGE);
    let z = x * x;
    const P: [f32; 7] = [
        1.986_953_6e-8,
        -1.956_596e-6,
        1.421_721_4e-4,
        3.719_207_7e-3,
        5.063_129e-2,
        0.200_365_68,
        std::f32::consts::FRAC_2_SQRT_PI,
    ];
    let mut p = P[0];
    for c in &P[1..] {
        p = p * z + c;
    }
    let mut q = 9.599_75e-4;
    for c in [1.439_007_7e-2, 0.115_180_21, 0.510_901_1, 1.0] {
        q = q * z + c;
    }
    (x * p / q).clamp(-1.0, 1.0)
}

/// 0.5 x (1 + erf(x / sqrt 2)): the GELU of `transformers`' "gelu", not its tanh approximation.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp() {
        for i in 0..200_000 {
            let x = -(i as f32) * 5e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_nonpositive(x)) - exact).abs();
            assert!(error <= 2.4e-7 * exact + 2e-38, "x {x} error {error:e}");
        }
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert_eq!(exp_nonpositive(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn erf_is_not_its_tanh_cousin() {
        for i in -60_000..60_000 {
            let x = i as f32 * 1e-4;
            let error = (f64::from(erf(x)) - libm::erf(f64::from(x))).abs();
            assert!(error < 5e-7, "x {x} error {error:e}");
        }
    }
}
