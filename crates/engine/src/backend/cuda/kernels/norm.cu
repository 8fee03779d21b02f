// Layer norm over rows, alone and behind the embedding lookup.
//
//   embed_norm      out[t, :] = norm(embedding[ids[t], :])
//   layer_norm      out[t, :] = norm(x[t, :])                        x == out allowed
//   layer_norm_f32  the same on f32 rows (pooled rows)
//
//   norm(v) = (v - mean v) / sqrt(var v + eps) * weight + bias, var biased (Ba, Kiros, Hinton 2016, arXiv:1607.06450)
//
// Shapes: x, out [rows, H]; embedding [V, H]; weight, bias f32 [H], bias may be null (ModernBERT has none);
// ids i32 [rows], checked against V by the host. H is a multiple of 64, at most 2048.
// One warp owns a row and keeps it in registers, so that device memory is read once and written once; the mean comes
// first and the squared deviations second, both from registers (no E[x^2] - mean^2 cancellation).
// Launch: all: grid = ceil(rows / NORM_ROWS), block = NORM_THREADS, no shared memory.
// Tolerance: bf16 within 1 ulp of the f64 formula plus 2e-6 of the largest |weight * normalised value| (f32 sums).

#define NORM_ROWS 4
#define NORM_THREADS 128
// Blocks of a norm that share a multiprocessor: at most 102 registers. Unbounded, ptxas loads the weights before the
// sums are known and takes 127.
#define NORM_BLOCKS 5

// VECTORS: how many 8-wide vectors a lane holds; lane l owns vectors l, l + 32, ...
template <int VECTORS, class T>
__device__ __forceinline__ void norm_row(const T* x, const float* weight, const float* bias, T* out, int hidden,
                                         float eps) {
    const int lane = threadIdx.x & 31;
    float v[VECTORS][8];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        const int column = (i * 32 + lane) * 8;
        if (column < hidden) load8(x + column, v[i]);
    }
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        if ((i * 32 + lane) * 8 < hidden) {
#pragma unroll
            for (int j = 0; j < 8; j++) sum += v[i][j];
        }
    }
    const float mean = warp_sum(sum) / hidden;
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        if ((i * 32 + lane) * 8 < hidden) {
#pragma unroll
            for (int j = 0; j < 8; j++) squares = fmaf(v[i][j] - mean, v[i][j] - mean, squares);
        }
    }
    const float inverse_std = rsqrtf(warp_sum(squares) / hidden + eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        const int column = (i * 32 + lane) * 8;
        if (column >= hidden) continue;
        float scale[8], shift[8] = {};
        load8(weight + column, scale);
        if (bias) load8(bias + column, shift);
#pragma unroll
        for (int j = 0; j < 8; j++) v[i][j] = fmaf((v[i][j] - mean) * inverse_std, scale[j], shift[j]);
        store8(out + column, v[i]);
    }
}

// Picks the narrowest register array that holds a row; uniform over the grid.
template <class T>
__device__ __forceinline__ void norm_any(const T* x, const float* weight, const float* bias, T* out, int hidden,
                                         float eps) {
    if (hidden <= 512) norm_row<2>(x, weight, bias, out, hidden, eps);
    else if (hidden <= 768) norm_row<3>(x, weight, bias, out, hidden, eps);
    else if (hidden <= 1024) norm_row<4>(x, weight, bias, out, hidden, eps);
    else norm_row<8>(x, weight, bias, out, hidden, eps);
}

__device__ __forceinline__ int norm_row_index() { return blockIdx.x * NORM_ROWS + (threadIdx.x >> 5); }

extern "C" __global__ void __launch_bounds__(NORM_THREADS, NORM_BLOCKS)
    embed_norm(const int* ids, const elem* embedding, const float* weight, const float* bias, elem* out, int rows,
               int hidden, float eps) {
    const int row = norm_row_index();
    if (row >= rows) return;
    norm_any(embedding + (u64)ids[row] * hidden, weight, bias, out + (u64)row * hidden, hidden, eps);
}

extern "C" __global__ void __launch_bounds__(NORM_THREADS, NORM_BLOCKS)
    layer_norm(const elem* x, const float* weight, const float* bias, elem* out, int rows, int hidden, float eps) {
    const int row = norm_row_index();
    if (row >= rows) return;
    norm_any(x + (u64)row * hidden, weight, bias, out + (u64)row * hidden, hidden, eps);
}

extern "C" __global__ void __launch_bounds__(NORM_THREADS, NORM_BLOCKS)
    layer_norm_f32(const float* x, const float* weight, const float* bias, float* out, int rows, int hidden,
                   float eps) {
    const int row = norm_row_index();
    if (row >= rows) return;
    norm_any(x + (u64)row * hidden, weight, bias, out + (u64)row * hidden, hidden, eps);
}
