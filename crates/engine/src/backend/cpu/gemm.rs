//! Linear layers through the `gemm` crate.

use gemm::Parallelism;

use crate::backend::View;

/// The inner dimension is summed in blocks of at most this many. The library blocks it too, but by a
/// rule that also looks at the number of rows; blocks it need not split keep a row's bits its own.
const MAX_INNER: usize = 512;

/// `out = x W^T (+ bias)`, or added to `out`.
///
/// `x` is [rows, k], `w` [n, k] row-major, `out` [rows, n]; rows and n are at least two.
pub(super) fn linear(
    x: &[f32],
    x_view: &View,
    w: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    out_view: &View,
    accumulate: bool,
) {
    let (rows, n, k) = (x_view.rows, out_view.cols, x_view.cols);
    assert!(w.len() == n * k && out_view.rows == rows);
    assert!(x.len() >= (rows - 1) * x_view.stride + k);
    assert!(out.len() >= (rows - 1) * out_view.stride + n);
    let mut read_out = accumulate;
    if let Some(bias) = bias {
        for row in out.chunks_mut(out_view.stride) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y = if accumulate { *y + b } else { *b };
            }
        }
        read_out = true;
    }
    let block = k.div_ceil(k.div_ceil(MAX_INNER));
    for start in (0..k).step_by(block) {
        let depth = block.min(k - start);
        // SAFETY: the three matrices lie inside their slices by the assertions above, `out` is not
        // aliased (it is borrowed mutably), and rayon's threads end before the call returns.
        unsafe {
            gemm::gemm(
                rows,
                n,
                depth,
                out.as_mut_ptr(),
                1,
                out_view.stride as isize,
                read_out,
                x.as_ptr().add(start),
                1,
                x_view.stride as isize,
                w.as_ptr().add(start),
                k as isize,
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::Rayon(0),
            );
        }
        read_out = true;
    }
}

/// What this machine's threads reach on one large product, as the ceiling beside other figures.
pub fn gemm_flops_per_second(repeats: u32) -> f64 {
    const SIZE: (usize, usize, usize) = (4096, 768, 2304);
    let (rows, k, n) = SIZE;
    let x = vec![0.5f32; rows * k];
    let w = vec![0.25f32; n * k];
    let mut out = vec![0.0f32; rows * n];
    let view = |cols| View::new(0, rows, cols, crate::backend::Dtype::F32);
    let mut run = || {
        let start = std::time::Instant::now();
        linear(&x, &view(k), &w, None, &mut out, &view(n), false);
        start.elapsed().as_secs_f64()
    };
    let best = (0..=repeats).map(|_| run()).fold(f64::INFINITY, f64::min);
    2.0 * (rows * k * n) as f64 / best
}
