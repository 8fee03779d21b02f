//! Measures the rates that this machine's threads reach at best, which other figures are compared with.

use std::time::Instant;

use rayon::prelude::*;

use super::gemm;
use crate::backend::{Ceilings, View};
use crate::dtype::Dtype;

/// Rows, inner dimension and columns of the product: the base model's `Wqkv` over 4096 tokens.
const PRODUCT: (usize, usize, usize) = (4096, 768, 2304);
const COPY_BYTES: usize = 256 << 20;
const REPEATS: usize = 5;

/// Measures on the threads of the pool that it is called in.
pub(super) fn measure() -> Ceilings {
    let (rows, k, n) = PRODUCT;
    let (x, w) = (vec![0.5f32; rows * k], vec![0.25f32; n * k]);
    let mut out = vec![0.0f32; rows * n];
    let view = |cols| View::new(0, rows, cols, Dtype::F32);
    let product = best(|| gemm::linear(&x, &view(k), &w, None, &mut out, &view(n), false));

    let from = vec![1u8; COPY_BYTES];
    let mut to = vec![0u8; COPY_BYTES];
    let piece = COPY_BYTES / rayon::current_num_threads() + 1;
    let copy = best(|| {
        to.par_chunks_mut(piece).zip(from.par_chunks(piece)).for_each(|(to, from)| {
            to.copy_from_slice(from);
        });
    });
    Ceilings {
        what: format!("{rows} x {k} x {n} product in f32, copy of 256 MiB"),
        flops_per_second: 2.0 * (rows * k * n) as f64 / product,
        bytes_per_second: 2.0 * COPY_BYTES as f64 / copy,
    }
}

/// Returns the least seconds of several runs: a ceiling is what is possible, not what is usual.
fn best(mut run: impl FnMut()) -> f64 {
    let seconds = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..=REPEATS).map(seconds).fold(f64::INFINITY, f64::min)
}
