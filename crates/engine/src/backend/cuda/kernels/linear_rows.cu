// Linear layers that are too narrow, or have too few rows, to be worth a GEMM: classifiers, and the dense layer of a
// head on pooled rows. A GEMM library switches its summation order with the shape; this never does.
//
//   out[r, n] = sum_k x[r, k] * w[n, k] + bias[n]
//
// Shapes: x [R, H], elem for linear_rows and f32 for linear_rows_f32 (pooled rows); w elem [N, H]; bias f32 [N] or null;
// out f32 [R, N]; H a multiple of 64.
// A warp owns one row and LINEAR_LABELS outputs: lane l sums columns l * 8 .. + 7, l * 8 + 256 .., then a butterfly.
// The order depends on H alone, so a row's bits do not depend on R, N or its place.
// Launch: grid = (ceil(R / LINEAR_ROWS), ceil(N / LINEAR_LABELS)), block = LINEAR_THREADS, no shared memory.
// Tolerance: absolute 2e-6 * sum_k |x * w| (f32 sums).

#define LINEAR_ROWS 4
#define LINEAR_LABELS 8
#define LINEAR_THREADS 128

template <class T>
__device__ __forceinline__ void linear(const T* x, const elem* w, const float* bias, float* out, int rows, int labels,
                                       int hidden) {
    const int row = blockIdx.x * LINEAR_ROWS + (threadIdx.x >> 5), first = blockIdx.y * LINEAR_LABELS;
    const int lane = threadIdx.x & 31;
    if (row >= rows) return;
    float sum[LINEAR_LABELS] = {};
    for (int k = lane * 8; k < hidden; k += 256) {
        float a[8];
        load8(x + (u64)row * hidden + k, a);
#pragma unroll
        for (int n = 0; n < LINEAR_LABELS; n++) {
            float b[8];
            load8(w + (u64)min(first + n, labels - 1) * hidden + k, b);
#pragma unroll
            for (int j = 0; j < 8; j++) sum[n] = fmaf(a[j], b[j], sum[n]);
        }
    }
#pragma unroll
    for (int n = 0; n < LINEAR_LABELS; n++) {
        const float total = warp_sum(sum[n]);
        if (lane == n && first + n < labels)
            out[(u64)row * labels + first + n] = total + (bias ? bias[first + n] : 0.0f);
    }
}

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS)
    linear_rows(const elem* x, const elem* w, const float* bias, float* out, int rows, int labels, int hidden) {
    linear(x, w, bias, out, rows, labels, hidden);
}

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS)
    linear_rows_f32(const float* x, const elem* w, const float* bias, float* out, int rows, int labels, int hidden) {
    linear(x, w, bias, out, rows, labels, hidden);
}
