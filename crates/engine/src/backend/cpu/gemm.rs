//! Matrix products, by the f32 kernels of the `gemm` crates (`gemm-f32`: the facade compiles complex and
//! half-precision kernels too, which nothing here runs).

use gemm_common::Parallelism;

use crate::backend::View;

/// The inner dimension is summed in blocks of at most this many. The library blocks it too, but by a
/// rule that also looks at the number of rows; blocks it need not split keep a row's bits its own.
const MAX_INNER: usize = 512;

/// Returns the least number of rows that a product of `columns` columns is computed with. Results of up to 256 elements, and
/// single rows, have code paths of their own in the library, which sum in another order.
pub fn min_rows(columns: usize) -> usize {
    256 / columns + 2
}

/// Computes `out = x W^T (+ bias)`, or adds it to `out`.
///
/// `x` is [rows, k], `w` [n, k] row-major, `out` [rows, n], with at least [`min_rows`] rows and two columns.
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
        let x = Operand { start: x[start..].as_ptr(), row_stride: x_view.stride, column_stride: 1 };
        let w = Operand { start: w[start..].as_ptr(), row_stride: 1, column_stride: k };
        let size = Size { rows, columns: n, inner: depth };
        let out = Output { start: out.as_mut_ptr(), row_stride: out_view.stride, add: read_out };
        // SAFETY: the three matrices lie inside their slices by the assertions above, and `out` is not
        // aliased: it is borrowed mutably.
        unsafe { multiply(size, out, x, w, 1.0, Parallelism::Rayon(0)) };
        read_out = true;
    }
}

/// Extents of a product.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
}

/// A factor: element (i, j) lies at `start + i row_stride + j column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) start: *const f32,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

/// The product, row-major; with `add`, the product is added to what it holds.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) start: *mut f32,
    pub(super) row_stride: usize,
    pub(super) add: bool,
}

/// Computes `out = scale a b`, or adds it to `out`.
///
/// # Safety
/// All elements that the sizes and strides reach must lie in memory that the pointers may read, and write
/// for `out`, which must overlap neither factor.
pub(super) unsafe fn multiply(
    size: Size,
    out: Output,
    a: Operand,
    b: Operand,
    scale: f32,
    parallelism: Parallelism,
) {
    let stride = |elements: usize| elements as isize;
    // The kernels want a column-major result, so this is out^T = b^T a^T.
    // SAFETY: the caller's promise; threads that the library uses end before it returns.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            size.columns,
            size.rows,
            size.inner,
            out.start,
            stride(out.row_stride),
            1,
            out.add,
            b.start,
            stride(b.row_stride),
            stride(b.column_stride),
            a.start,
            stride(a.row_stride),
            stride(a.column_stride),
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    fn product(x: &[f32], w: &[f32], rows: usize, n: usize, k: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows * n];
        let view = |cols| View::new(0, rows, cols, Dtype::F32);
        linear(&x[..rows * k], &view(k), w, None, &mut out, &view(n), false);
        out
    }

    #[test]
    fn a_rows_bits_do_not_depend_on_how_many_rows_there_are() {
        let mut rng = fastrand::Rng::with_seed(7);
        for (k, n) in
            [(128, 384), (128, 128), (128, 256), (192, 128), (64, 64), (768, 2304), (1152, 96)]
        {
            let mut draw =
                |count: usize| -> Vec<f32> { (0..count).map(|_| rng.f32() - 0.5).collect() };
            let (x, w) = (draw(300 * k), draw(n * k));
            let all = product(&x, &w, 300, n, k);
            let differing: Vec<usize> = (min_rows(n)..300)
                .filter(|&rows| product(&x, &w, rows, n, k) != all[..rows * n])
                .collect();
            assert!(differing.is_empty(), "k {k} n {n}: rows {differing:?}");
        }
    }
}
