//! Activations of all elements in place, alone or multiplied by a gate.
//!
//! GELU, SiLU and their kin are straight-line code that vectorises; the functions that no published model has
//! are calls of the standard library.

use std::f64::consts::FRAC_1_SQRT_2;

use super::math::{erf, exp_nonpositive, gelu};
use super::rows::each_rows;
use crate::backend::activation::{Activation, LAPLACE_DEVIATION, LAPLACE_MEAN};

/// Computes `x = f(x)`.
pub(super) fn activate(activation: Activation, x: &mut [f32], width: usize) {
    each_rows(x, width, |_, rows| apply(activation, rows, |_, y| y));
}

/// Computes `x[:, ..n] = f(x[:, ..n]) * x[:, n..]`, where `n` is half of `width`.
pub(super) fn gated(activation: Activation, x: &mut [f32], width: usize) {
    each_rows(x, width, |_, rows| {
        for row in rows.chunks_mut(width) {
            let (input, gate) = row.split_at_mut(width / 2);
            let gate = &gate[..input.len()];
            apply(activation, input, |i, y| y * gate[i]);
        }
    });
}

/// Replaces each element by `finish(its index, f(element))`.
#[inline(always)]
fn apply(activation: Activation, x: &mut [f32], finish: impl Fn(usize, f32) -> f32) {
    match activation {
        Activation::Gelu => map(x, gelu, finish),
        Activation::Gelu10 => map(x, |x| gelu(x).clamp(-10.0, 10.0), finish),
        // 1 + tanh(u) is 2 sigmoid(2 u), without the cancellation.
        Activation::GeluTanh => {
            map(x, |x| x * sigmoid(x * (1.595_769 + 0.071_354_814 * x * x)), finish)
        }
        Activation::QuickGelu => map(x, |x| x * sigmoid(1.702 * x), finish),
        Activation::Silu => map(x, |x| x * sigmoid(x), finish),
        Activation::Mish => map(x, mish, finish),
        Activation::Hardswish => map(x, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0, finish),
        Activation::Relu => map(x, relu, finish),
        Activation::Relu2 => map(x, |x| relu(x) * relu(x), finish),
        Activation::Relu6 => map(x, |x| x.clamp(0.0, 6.0), finish),
        Activation::LeakyRelu => map(x, |x| if x < 0.0 { 0.01 * x } else { x }, finish),
        Activation::Sigmoid => map(x, |x| 1.0 / (1.0 + (-x).exp()), finish),
        Activation::Tanh => map(x, f32::tanh, finish),
        Activation::Laplace => {
            let mean = LAPLACE_MEAN as f32;
            let scale = (FRAC_1_SQRT_2 / LAPLACE_DEVIATION) as f32;
            map(x, |x| 0.5 * (1.0 + erf((x - mean) * scale)), finish);
        }
        Activation::SqrtSoftplus => {
            map(x, |x| (x.max(0.0) + (-x.abs()).exp().ln_1p()).sqrt(), finish);
        }
        Activation::Linear => map(x, |x| x, finish),
    }
}

#[inline(always)]
fn map(x: &mut [f32], f: impl Fn(f32) -> f32, finish: impl Fn(usize, f32) -> f32) {
    for (i, x) in x.iter_mut().enumerate() {
        *x = finish(i, f(*x));
    }
}

/// Unlike `f32::max`, keeps NaN.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// 1 / (1 + e^-x), for a factor of x: NaN is lost.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp_nonpositive(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2); for x > 0 both are divided by e^2x.
#[inline(always)]
fn mish(x: f32) -> f32 {
    let e = exp_nonpositive(-x.abs());
    let (n, two) = if x < 0.0 { (e * (e + 2.0), 2.0) } else { (1.0 + 2.0 * e, 2.0 * e * e) };
    x * n / (n + two)
}
