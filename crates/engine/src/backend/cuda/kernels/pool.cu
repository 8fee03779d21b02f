// Pooling of packed sequences to one f32 row each, and the gather of single rows.
//
//   pool         out[r, :] = mean of x over the rows of segment s
//   gather_rows  out[r, :] = x[rows[r], :]
//
// Shapes: x [T, H]; bounds i32: rows bounds[s] to bounds[s + 1] - 1 of x are segment s, so that both cu_seqlens and
// pairs of first and end row will do; segments i32 [R] names the segment s that row r pools; out f32 [R, H] for pool,
// elem [R, H] for gather_rows; rows i32 [R]. H a multiple of 64. Segments are not empty.
// pool: a block owns one segment and 64 columns. Eight lanes cover the columns (16 bytes each), POOL_LANES row lanes
// stride over the tokens, eight loads in flight, and add up in f32; a tree in shared memory joins the row lanes. The
// order is fixed by the segment's own length. One 32K sequence occupies H / 64 blocks only and still takes tens of
// microseconds, against tens of milliseconds for the layers before it: no second stage is worth having.
// Launch: pool: grid = (H / 64, R), block = POOL_THREADS, static shared memory 8 KiB.
//         gather_rows: grid = ceil(R * (H / 8) / GATHER_THREADS), block = GATHER_THREADS.
// Tolerance: pool relative 1e-5 of the mean of |x| (f32 sums of up to 32768 terms); gather_rows exact.

#define POOL_THREADS 256
#define POOL_LANES (POOL_THREADS / 8)
#define GATHER_THREADS 256

__device__ __forceinline__ void add8(float (&sum)[8], const float (&v)[8]) {
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] += v[j];
}

extern "C" __global__ void __launch_bounds__(POOL_THREADS)
    pool(const elem* x, const int* bounds, const int* segments, float* out, int hidden) {
    __shared__ float partial[POOL_LANES][64];
    const int segment = segments[blockIdx.y];
    const int start = bounds[segment], len = bounds[segment + 1] - start;
    const int lane = threadIdx.x >> 3, column = (threadIdx.x & 7) * 8;
    const elem* p = x + (u64)start * hidden + blockIdx.x * 64 + column;
    float sum[8] = {};
    int row = lane;
    for (; row + 7 * POOL_LANES < len; row += 8 * POOL_LANES) {
        uint4 packed[8];
#pragma unroll
        for (int i = 0; i < 8; i++) packed[i] = *(const uint4*)(p + (u64)(row + i * POOL_LANES) * hidden);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float v[8];
            unpack8(packed[i], v);
            add8(sum, v);
        }
    }
    for (; row < len; row += POOL_LANES) {
        float v[8];
        load8(p + (u64)row * hidden, v);
        add8(sum, v);
    }
    store8(&partial[lane][column], sum);
#pragma unroll
    for (int half = POOL_LANES / 2; half > 0; half >>= 1) {
        __syncthreads();
        if (lane < half) {
            float v[8];
            load8(&partial[lane + half][column], v);
            add8(sum, v);
            store8(&partial[lane][column], sum);
        }
    }
    if (lane == 0) {
#pragma unroll
        for (int j = 0; j < 8; j++) sum[j] /= len;
        store8(out + (u64)blockIdx.y * hidden + blockIdx.x * 64 + column, sum);
    }
}

extern "C" __global__ void __launch_bounds__(GATHER_THREADS)
    gather_rows(const elem* x, const int* rows, elem* out, int count, int hidden) {
    const u32 vectors = hidden / 8;
    const u32 index = blockIdx.x * GATHER_THREADS + threadIdx.x;
    if (index >= count * vectors) return;
    const u32 row = index / vectors, column = index - row * vectors;
    ((uint4*)out)[index] = ((const uint4*)x)[(u64)rows[row] * vectors + column];
}
